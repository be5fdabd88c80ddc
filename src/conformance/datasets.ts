/** Properties of data sets. */
import * as tf from '@tensorflow/tfjs';
import { SPLITS, type DataColumn, type Dataset } from '../contracts';
import { firstDifference, PropertyError, type Make, type Property } from './property';

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const shown = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** Number `at` of a column, decoded in float64. */
const decoded = ({ table, decode }: DataColumn, at: number): number =>
  table.values[at] * (decode?.scale ?? 1) + (decode?.offset ?? 0);

const ARRAYS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

const tables: Property<Make<Dataset>> = {
  name: 'tables are as long as their shapes say, of their dtype, and each has a name of its own',
  first: true,
  check: async (make) => {
    const { splits, inputShape } = await make();
    const names = new Set<string>();
    for (const split of SPLITS) {
      const { rows, xs, ys } = splits[split];
      const place = (what: string): string => `${what} of split "${split}"`;
      if (shown(xs.table.rowShape) !== shown(inputShape)) {
        const advice = 'Both are the shape of one example.';
        throw new PropertyError(
          `${place('rows')} of inputShape ${shown(inputShape)}`,
          shown(xs.table.rowShape),
          advice,
        );
      }
      for (const { table } of [xs, ys]) {
        const expected = rows * size(table.rowShape);
        if (table.rows !== rows || table.values.length !== expected) {
          throw new PropertyError(
            `${expected} numbers in ${place('a table')}, ${rows} rows of ${shown(table.rowShape)}`,
            `${table.values.length} in ${table.rows} rows`,
            'arrayDataset makes tables that fit.',
          );
        }
        // The class itself: a Buffer is a Uint8Array too, but its `slice` does not copy.
        if (table.values.constructor !== ARRAYS[table.dtype]) {
          const advice = 'Copy the numbers into one: Uint8Array.from(buffer).';
          throw new PropertyError(`a ${ARRAYS[table.dtype].name}`, table.values.constructor.name, advice);
        }
        if (names.has(table.name)) {
          const advice = 'Engines keep one copy for each name: say the split and the column in it.';
          throw new PropertyError('a name for each table', `"${table.name}" twice`, advice);
        }
        names.add(table.name);
      }
    }
    return undefined;
  },
};

const finite: Property<Make<Dataset>> = {
  name: 'numbers are finite, labels within the classes, and no split is empty',
  check: async (make) => {
    const { splits, classes } = await make();
    for (const split of SPLITS) {
      const { rows, xs, ys } = splits[split];
      if (rows < 1)
        throw new PropertyError(`rows in split "${split}"`, 'none', 'Every split needs one: give it a share.');
      for (const { table } of [xs, ys]) {
        if (table.dtype !== 'float32') continue;
        const wrong = (table.values as Float32Array).findIndex((x) => !Number.isFinite(x));
        if (wrong >= 0) {
          const got = `${String(table.values[wrong])} in "${table.name}", number ${wrong}`;
          throw new PropertyError('finite numbers', got, 'Leave the row out, or fill it in.');
        }
      }
      if (classes === undefined) continue;
      const wrong = Array.from(ys.table.values).find((x) => !Number.isInteger(x) || x < 0 || x >= classes);
      if (wrong !== undefined) {
        const expected = `labels from 0 to ${classes - 1} in split "${split}"`;
        throw new PropertyError(expected, String(wrong), 'Number the classes from 0, or state more of them.');
      }
    }
    return undefined;
  },
};

const examples: Property<Make<Dataset>> = {
  name: 'examples are the tables, in their order',
  check: async (make) => {
    const dataset = await make();
    for (const split of SPLITS) {
      const { rows, xs, ys } = dataset.splits[split];
      const before = tf.memory().numTensors;
      const iterator = await dataset.examples(split).iterator();
      const some = Math.min(rows, 50);
      for (let i = 0; i < some; i++) {
        const { value } = (await iterator.next()) as { value?: { xs: tf.Tensor; ys: tf.Tensor } };
        if (value === undefined) {
          throw new PropertyError(`${rows} examples of split "${split}"`, String(i), 'Give one for each row.');
        }
        for (const [column, tensor] of [[xs, value.xs] as const, [ys, value.ys] as const]) {
          if (shown(tensor.shape) !== shown(column.table.rowShape)) {
            const advice = 'An example has the shape of a row.';
            throw new PropertyError(`an example of ${shown(column.table.rowShape)}`, shown(tensor.shape), advice);
          }
          const got = await tensor.data();
          const length = size(column.table.rowShape);
          for (let j = 0; j < length; j++) {
            const number = decoded(column, i * length + j);
            // Scale, offset, product and sum are rounded to float32: each by 2⁻²⁴ of itself, and there is little cancelling.
            if (!(Math.abs(got[j] - number) <= 2 ** -20 * Math.max(1, Math.abs(number)))) {
              const place = `row ${i} of split "${split}"`;
              const advice = 'A decoded number is raw·scale + offset, in the order of the table.';
              throw new PropertyError(`${number} in ${place}`, String(got[j]), advice);
            }
          }
          tensor.dispose();
        }
      }
      const left = tf.memory().numTensors - before;
      if (left !== 0) throw new PropertyError('no tensors left', String(left), 'Make an example when it is asked for.');
    }
    return undefined;
  },
};

/** By words of four bytes: tables may be of hundreds of megabytes. */
function sameBytes(a: DataColumn['table']['values'], b: DataColumn['table']['values']): boolean {
  if (a.byteLength !== b.byteLength) return false;
  const isAligned = a.byteOffset % 4 === 0 && b.byteOffset % 4 === 0;
  const words = isAligned ? Math.floor(a.byteLength / 4) : 0;
  const [wordsA, wordsB] = isAligned
    ? [new Uint32Array(a.buffer, a.byteOffset, words), new Uint32Array(b.buffer, b.byteOffset, words)]
    : [];
  if (wordsA !== undefined && wordsB !== undefined) {
    for (let i = 0; i < words; i++) if (wordsA[i] !== wordsB[i]) return false;
  }
  const bytesA = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  const bytesB = new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
  for (let i = 4 * words; i < bytesA.length; i++) if (bytesA[i] !== bytesB[i]) return false;
  return true;
}

const loadedTwice: Property<Make<Dataset>> = {
  name: 'loaded twice, it is the same',
  check: async (make) => {
    const [one, again] = [await make(), await make()];
    for (const split of SPLITS) {
      for (const column of ['xs', 'ys'] as const) {
        const [a, b] = [one.splits[split][column], again.splits[split][column]];
        const difference =
          a.table.name === b.table.name
            ? sameBytes(a.table.values, b.table.values)
              ? undefined
              : (firstDifference(a.table.values, b.table.values) ?? 'other bytes')
            : `names "${a.table.name}" and "${b.table.name}"`;
        if (difference !== undefined || JSON.stringify(a.decode) !== JSON.stringify(b.decode)) {
          const got = `${difference ?? 'another decoding'} in ${column} of split "${split}"`;
          throw new PropertyError('the same tables twice', got, 'Shuffle and draw by fixed seeds, or not at all.');
        }
      }
    }
    return undefined;
  },
};

export const DATASET_PROPERTIES: readonly Property<Make<Dataset>>[] = [tables, finite, examples, loadedTwice];
