import {
  ConfigurationError,
  SPLITS,
  type DataColumn,
  type Dataset,
  type DataSplit,
  type DataTable,
  type Split,
} from '../src/contracts';
import { tableDataset } from './table-dataset';

/** Row-major numbers. A plain array becomes int32 where class labels are meant, float32 otherwise. */
export type Numbers = Uint8Array | Int32Array | Float32Array | readonly number[];

/** Inputs and targets, row by row. */
export interface SplitArrays {
  readonly xs: Numbers;
  readonly ys: Numbers;
}

interface Layout {
  /** Part of the tables' names; `arrays` if absent. */
  readonly name?: string;
  /** Shape of one input; [] for one number a row. */
  readonly inputShape: readonly number[];
  /** Shape of one target; [] by default. */
  readonly targetShape?: readonly number[];
  /** Number of classes, if the targets are class labels 0 … classes − 1. */
  readonly classes?: number;
  /** The name of each class, where they have names. */
  readonly classNames?: readonly string[];
  /** Decoding of the inputs, `raw·scale + offset`; without it uint8 and int32 inputs are int32 tensors. */
  readonly decode?: DataColumn['decode'];
}

/**
 * Arrays of all rows, cut in order into train, validation and test by their shares (0.8, 0.1, 0.1 by default; they sum
 * to 1), or the arrays of each split.
 */
export type ArrayDatasetOptions = Layout &
  (
    | (SplitArrays & { readonly shares?: Readonly<Record<Split, number>> })
    | { readonly splits: Readonly<Record<Split, SplitArrays>> }
  );

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** FNV-1a over the bytes, forwards and backwards, 64 bits in all: two sets of one name and other numbers must not share a copy on a device. */
function contentHash({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  let forward = 0x811c9dc5;
  let backward = 0x9e3779b9;
  for (let i = 0; i < bytes.length; i++) {
    forward = Math.imul(forward ^ bytes[i], 0x01000193);
    backward = Math.imul(backward ^ bytes[bytes.length - 1 - i], 0x01000193);
  }
  return [forward, backward].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

function typed(values: Numbers, integers: boolean): DataTable['values'] {
  if (values instanceof Uint8Array || values instanceof Int32Array || values instanceof Float32Array) return values;
  return integers ? Int32Array.from(values) : Float32Array.from(values);
}

/** The first value that breaks `ok`, with its index, for messages. */
function firstBad(values: Numbers, ok: (value: number) => boolean): string | undefined {
  const index = values.findIndex((value) => !ok(value));
  return index < 0 ? undefined : `${String(values[index])} at index ${index}`;
}

function checkShape(key: string, shape: readonly number[]): void {
  if (!shape.every((size) => Number.isInteger(size) && size > 0)) {
    throw new ConfigurationError(key, 'positive integers', `[${shape.join(', ')}]`);
  }
}

/** The number of rows of both columns. */
function checkedRows(key: string, { xs, ys }: SplitArrays, layout: Layout): number {
  const { inputShape, targetShape = [], classes } = layout;
  const inputs = sizeOf(inputShape);
  const targets = sizeOf(targetShape);
  const rows = xs.length / inputs;
  if (rows === 0 || !Number.isInteger(rows)) {
    throw new ConfigurationError(`${key}.xs`, `a positive multiple of ${inputs} numbers`, `${xs.length} numbers`);
  }
  if (ys.length !== rows * targets) {
    throw new ConfigurationError(`${key}.ys`, `${rows} rows of ${targets} numbers`, `${ys.length} numbers`);
  }
  const bad = (column: 'xs' | 'ys', values: Numbers): void => {
    const found = firstBad(values, (value) => Number.isFinite(value));
    if (found !== undefined) throw new ConfigurationError(`${key}.${column}`, 'finite numbers', found);
  };
  bad('xs', xs);
  bad('ys', ys);
  if (classes !== undefined) {
    const found = firstBad(ys, (label) => Number.isInteger(label) && label >= 0 && label < classes);
    if (found !== undefined) {
      throw new ConfigurationError(`${key}.ys`, `class labels, integers from 0 to ${classes - 1}`, found);
    }
  }
  return rows;
}

/** First and one past the last row of each split. */
function cut(
  rows: number,
  shares: Readonly<Record<Split, number>>,
): Readonly<Record<Split, readonly [number, number]>> {
  const given = SPLITS.map((split) => `${split} ${shares[split]}`).join(', ');
  const total = SPLITS.reduce((sum, split) => sum + shares[split], 0);
  if (!SPLITS.every((split) => shares[split] > 0) || Math.abs(total - 1) > 1e-9) {
    throw new ConfigurationError('arrayDataset.shares', 'positive shares that sum to 1', given);
  }
  const first = Math.round(rows * shares.train);
  const second = Math.round(rows * (shares.train + shares.validation));
  if (first === 0 || second === first || second === rows) {
    throw new ConfigurationError('arrayDataset.shares', `a row or more in each split of ${rows} rows`, given);
  }
  return { train: [0, first], validation: [first, second], test: [second, rows] };
}

/**
 * A data set from arrays. Typed arrays are used where they lie, not copied: leave them unchanged afterwards.
 * @throws ConfigurationError for lengths that do not fit the shapes, NaN or infinite numbers, labels out of range,
 * shares that do not sum to 1 or leave a split empty.
 */
export function arrayDataset(options: ArrayDatasetOptions): Dataset {
  const { name = 'arrays', inputShape, targetShape = [], classes, classNames, decode } = options;
  checkShape('arrayDataset.inputShape', inputShape);
  checkShape('arrayDataset.targetShape', targetShape);
  if (classes !== undefined && !(Number.isInteger(classes) && classes > 0)) {
    throw new ConfigurationError('arrayDataset.classes', 'a positive integer', String(classes));
  }

  if (classNames !== undefined && classNames.length !== classes) {
    throw new ConfigurationError('arrayDataset.classNames', `${classes ?? 'no'} names`, String(classNames.length));
  }

  const column = (
    split: Split,
    which: 'xs' | 'ys',
    values: DataTable['values'],
    rowShape: readonly number[],
  ): DataColumn => {
    const dtype = values instanceof Uint8Array ? 'uint8' : values instanceof Int32Array ? 'int32' : 'float32';
    const table: DataTable = {
      name: `${name}/${split}/${which}[${rowShape.join('x')}]:${dtype}:${contentHash(values)}`,
      values,
      dtype,
      rows: values.length / sizeOf(rowShape),
      rowShape,
    };
    return which === 'xs' && decode !== undefined ? { table, decode } : { table };
  };
  const splitOf = (split: Split, xs: DataTable['values'], ys: DataTable['values']): DataSplit => ({
    rows: xs.length / sizeOf(inputShape),
    xs: column(split, 'xs', xs, inputShape),
    ys: column(split, 'ys', ys, targetShape),
  });

  const bySplit = (make: (split: Split) => DataSplit): Record<Split, DataSplit> => ({
    train: make('train'),
    validation: make('validation'),
    test: make('test'),
  });
  const labelled = classes !== undefined;
  let splits: Record<Split, DataSplit>;
  if ('splits' in options) {
    splits = bySplit((split) => {
      const arrays = options.splits[split];
      checkedRows(`arrayDataset.splits.${split}`, arrays, options);
      return splitOf(split, typed(arrays.xs, false), typed(arrays.ys, labelled));
    });
  } else {
    const rows = checkedRows('arrayDataset', options, options);
    const ranges = cut(rows, options.shares ?? { train: 0.8, validation: 0.1, test: 0.1 });
    const xs = typed(options.xs, false);
    const ys = typed(options.ys, labelled);
    const slice = (values: DataTable['values'], [from, to]: readonly [number, number], shape: readonly number[]) =>
      values.subarray(from * sizeOf(shape), to * sizeOf(shape));
    splits = bySplit((split) =>
      splitOf(split, slice(xs, ranges[split], inputShape), slice(ys, ranges[split], targetShape)),
    );
  }
  return tableDataset({
    name,
    inputShape,
    ...(labelled ? { classes } : {}),
    ...(classNames === undefined ? {} : { classNames }),
    splits,
  });
}
