/** Data sets of TensorFlow.js (`tf.data`), collected once. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { ConfigurationError, SPLITS, type Dataset, type Split } from '../src/contracts';
import { arrayDataset, type SplitArrays } from './array-dataset';
import { checkedOptions, deal, dealtSplits, orderOptions, type BySplit } from './deal';

export const tfDatasetOptions = orderOptions.extend({
  /** Part of the data set's name. */
  name: z.string().min(1).default('tf.data'),
  /** Number of classes, if `ys` are class labels 0 … classes − 1. */
  classes: z.int().positive().optional(),
  /** Elements are batches, as `model.fitDataset` takes them: [rows, …] instead of one row. */
  batched: z.boolean().default(false),
  /** Numbers that are collected at most; more of them are taken for a set without an end. */
  mostNumbers: z
    .int()
    .positive()
    .default(2 ** 28),
});
export type TfDatasetOptions = z.input<typeof tfDatasetOptions>;
type Settings = z.output<typeof tfDatasetOptions>;
type Source = tf.data.Dataset<tf.TensorContainer>;

interface Column {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  readonly chunks: (Float32Array | Int32Array)[];
  rows: number;
}

const isTensor = (value: unknown): value is tf.Tensor => value instanceof tf.Tensor;
const shown = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** {xs, ys} or [xs, ys] of one element. */
function pairOf(element: unknown, place: string): readonly [unknown, unknown] {
  if (Array.isArray(element) && element.length === 2) return [element[0], element[1]];
  if (typeof element === 'object' && element !== null && 'xs' in element && 'ys' in element) {
    return [element.xs, element.ys];
  }
  const got = typeof element === 'object' && element !== null ? `{${Object.keys(element).join(', ')}}` : typeof element;
  throw new ConfigurationError(place, '{xs, ys} or [xs, ys]', got);
}

async function collect(source: Source, place: string, settings: Settings) {
  const { batched, mostNumbers } = settings;
  const tooMany = (got: string): never => {
    throw new ConfigurationError(place, `a finite data set of at most ${mostNumbers} numbers`, got, 'Use take(n).');
  };
  if (source.size === Infinity) tooMany('one without an end');
  const columns: { xs?: Column; ys?: Column } = {};
  let [numbers, index] = [0, 0];
  const add = async (which: 'xs' | 'ys', value: unknown): Promise<number> => {
    const at = `${place}: ${which} of element ${index}`;
    const tensor: tf.Tensor = isTensor(value) ? value : tf.tensor(value as tf.TensorLike);
    const { dtype, shape } = tensor;
    const data = await tensor.data();
    tensor.dispose();
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool')
      throw new ConfigurationError(at, 'numbers', dtype);
    if (batched && shape.length === 0) throw new ConfigurationError(at, 'a batch [rows, …]', '[]');
    const row = batched ? shape.slice(1) : shape;
    const column: Column = (columns[which] ??= {
      shape: row,
      dtype: dtype === 'float32' ? 'float32' : 'int32',
      chunks: [],
      rows: 0,
    });
    if (shown(row) !== shown(column.shape))
      throw new ConfigurationError(at, `rows of ${shown(column.shape)}`, shown(row));
    numbers += data.length;
    if (numbers > mostNumbers) tooMany(`more in its first ${index + 1} elements`);
    const rows = batched ? shape[0] : 1;
    column.chunks.push(column.dtype === 'float32' ? Float32Array.from(data) : Int32Array.from(data));
    column.rows += rows;
    return rows;
  };
  const iterator = await source.iterator();
  for (let next = await iterator.next(); !next.done; next = await iterator.next(), index++) {
    const [xs, ys] = pairOf(next.value, `${place}: element ${index}`);
    const [inputs, targets] = [await add('xs', xs), await add('ys', ys)];
    if (inputs === targets) continue;
    throw new ConfigurationError(`${place}: ys of element ${index}`, `${inputs} rows`, String(targets));
  }
  const { xs, ys } = columns;
  if (xs === undefined || ys === undefined) throw new ConfigurationError(place, 'elements {xs, ys}', 'none');
  return { xs: joined(xs), ys: joined(ys) };
}

function joined({ shape, dtype, chunks, rows }: Column) {
  const values = new (dtype === 'float32' ? Float32Array : Int32Array)(chunks.reduce((sum, c) => sum + c.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    values.set(chunk, at);
    at += chunk.length;
  }
  return { shape, rows, values };
}

function gathered(order: Int32Array, { values, rows }: ReturnType<typeof joined>): Float32Array | Int32Array {
  const width = values.length / rows;
  const out = new (values instanceof Float32Array ? Float32Array : Int32Array)(order.length * width);
  order.forEach((row, i) => out.set(values.subarray(row * width, (row + 1) * width), i * width));
  return out;
}

/**
 * Any finite `tf.data.Dataset` of {xs, ys} or [xs, ys], tensors or numbers; it is run through once, and its tensors are disposed
 * of. Rows are permuted by `seed` (0) and cut by `shares` (0.8, 0.1, 0.1); with `order: 'source'` they are cut as they come. Given
 * {train, validation?, test?}, what has no set of its own is dealt out of that of `train`.
 * @throws ConfigurationError for a set that never ends or has more than `mostNumbers`, elements of different shapes, numbers
 * that are not finite, labels out of range
 */
export async function tfDataset(
  source: tf.data.Dataset<tf.TensorContainer> | BySplit<tf.data.Dataset<tf.TensorContainer>>,
  options: TfDatasetOptions = {},
): Promise<Dataset> {
  const settings = checkedOptions(tfDatasetOptions, options, 'tfDataset');
  const { name, classes } = settings;
  const given: BySplit<Source> = 'iterator' in source ? { train: source } : source;
  const train = await collect(given.train, 'tfDataset', settings);
  const order = deal('tfDataset', train.xs.rows, dealtSplits(given), settings);
  const splits: { [split in Split]?: SplitArrays } = {};
  for (const split of SPLITS) {
    const dealt = order[split];
    const own = given[split];
    const { xs, ys } =
      own === undefined || split === 'train' ? train : await collect(own, `tfDataset: ${split}`, settings);
    for (const [column, wanted] of [[xs, train.xs] as const, [ys, train.ys] as const]) {
      if (shown(column.shape) === shown(wanted.shape)) continue;
      throw new ConfigurationError(`tfDataset: ${split}`, `rows of ${shown(wanted.shape)}`, shown(column.shape));
    }
    const rows = (column: typeof xs) => (dealt === undefined ? column.values : gathered(dealt, column));
    const targets = rows(ys);
    splits[split] = { xs: rows(xs), ys: classes === undefined ? targets : Array.from(targets) };
  }
  return arrayDataset({
    name,
    inputShape: train.xs.shape,
    targetShape: train.ys.shape,
    ...(classes === undefined ? {} : { classes }),
    splits: splits as Record<Split, SplitArrays>,
  });
}
