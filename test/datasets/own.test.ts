/** Data sets of the user's own, against numbers written by hand. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { csvDataset, tfDataset, type CsvOptions } from '../../datasets';
import { DATASET_PROPERTIES } from '../../src/conformance';
import { ConfigurationError, DataFileError, DatasetUnavailableError, SPLITS, type Dataset } from '../../src/contracts';

let folder: string;
beforeAll(() => {
  // Blanks and letters beyond ASCII in the path of everything below.
  folder = join(mkdtempSync(join(tmpdir(), 'outerloop-own-')), 'meine Dateien für 学習');
  mkdirSync(folder);
});
afterAll(() => rmSync(join(folder, '..'), { recursive: true }));

function file(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, contents);
  return path;
}

/** Twenty rows x = i, y = i², of the classes even and odd. */
const NUMBERS = Array.from({ length: 20 }, (_, i) => i);
const TABLE = ['x,y,kind', ...NUMBERS.map((i) => `${i},${i * i},${i % 2 === 0 ? 'even' : 'odd'}`)].join('\n');

function rowsOf(dataset: Dataset, split: (typeof SPLITS)[number]): number[][] {
  const { rows, xs, ys } = dataset.splits[split];
  const width = xs.table.values.length / rows;
  return Array.from({ length: rows }, (_, row) => [
    ...xs.table.values.subarray(row * width, (row + 1) * width),
    ys.table.values[row],
  ]);
}
const every = (dataset: Dataset): number[][] => SPLITS.flatMap((split) => rowsOf(dataset, split));
const ascending = (rows: number[][]): number[][] => rows.sort((a, b) => a[0] - b[0]);

describe('csv', () => {
  const raw = { label: 'kind', normalise: 'none' } as const;

  test.each(DATASET_PROPERTIES)('$name', async (property) => {
    const path = file('table.csv', TABLE);
    expect(await property.check(() => csvDataset(path, { label: 'kind' }))).toBeUndefined();
  });

  test('every row is in one split, shuffled by the seed', async () => {
    const path = file('table.csv', TABLE);
    const dataset = await csvDataset(path, raw);
    expect([dataset.classes, dataset.classNames, dataset.inputShape]).toEqual([2, ['even', 'odd'], [2]]);
    expect(SPLITS.map((split) => dataset.splits[split].rows)).toEqual([16, 2, 2]);
    expect(ascending(every(dataset))).toEqual(NUMBERS.map((i) => [i, i * i, i % 2]));
    expect(every(dataset)).not.toEqual(every(await csvDataset(path, { ...raw, seed: 1 })));
    expect(every(await csvDataset(path, { ...raw, order: 'source' }))).toEqual(NUMBERS.map((i) => [i, i * i, i % 2]));
  });

  test('columns are standardised by what they are in train', async () => {
    const { splits } = await csvDataset(file('table.csv', TABLE), { label: 'kind', columns: ['x'], order: 'source' });
    // 0 … 15: mean 15/2, variance (16² − 1)/12.
    const expected = NUMBERS.map((i) => (i - 7.5) / Math.sqrt(255 / 12));
    SPLITS.flatMap((split) => [...splits[split].xs.table.values]).forEach((x, i) =>
      expect(x).toBeCloseTo(expected[i], 6),
    );
  });

  test('a file each; numbers to predict; quotes, line ends, a byte order mark and blanks', async () => {
    const train = file('train.csv', '\ufeff"a ""1""";target\r\n 1.5 ;-2e1\r\n\r\n"+.5";3.\r\n4;5');
    const test = file('test.csv', '"a ""1""";target\n7;8');
    const options = { label: 'target', classes: false, delimiter: ';', order: 'source', normalise: 'none' } as const;
    const dataset = await csvDataset(
      { train, test },
      { ...options, shares: { train: 0.6, validation: 0.3, test: 0.1 } },
    );
    expect(dataset.classes).toBeUndefined();
    expect(SPLITS.map((split) => rowsOf(dataset, split))).toEqual([
      [
        [1.5, -20],
        [0.5, 3],
      ],
      [[4, 5]],
      [[7, 8]],
    ]);
  });

  test('without a header columns have numbers; integer labels are in numeric order', async () => {
    const path = file('plain.csv', '10,1\n2,2\n10,3\n9,4\n2,5');
    const dataset = await csvDataset(path, {
      ...{ label: 0, header: false, normalise: 'none', order: 'source' },
      shares: { train: 0.6, validation: 0.2, test: 0.2 },
    });
    expect(dataset.classNames).toEqual(['2', '9', '10']);
    expect(every(dataset)).toEqual([
      [1, 2],
      [2, 0],
      [3, 2],
      [4, 1],
      [5, 0],
    ]);
  });

  test.each<[string, string | Uint8Array, CsvOptions, string]>([
    ['empty cell', 'x,l\n1,a\n,b', { label: 'l' }, ', line 3, column "x": expected a number, got an empty cell'],
    ['text', 'x,l\n1,a\nabc,b', { label: 'l' }, ', line 3, column "x": expected a number, got "abc"'],
    ['hexadecimal', 'x,l\n0x10,a', { label: 'l' }, ', line 2, column "x": expected a number, got "0x10"'],
    ['NaN', 'x,l\nNaN,a', { label: 'l' }, ', line 2, column "x": expected a number, got "NaN"'],
    ['Infinity', 'x,l\n-Infinity,a', { label: 'l' }, ', line 2, column "x": expected a number, got "-Infinity"'],
    ['too large', 'x,l\n1e39,a', { label: 'l' }, 'got 1e39, which float32 cannot hold'],
    ['short row', 'x,y,l\n1,2,a\n\n1,a', { label: 'l' }, ', line 4: expected 3 cells, got 2'],
    ['long row', 'x,l\n1,a,', { label: 'l' }, ', line 2: expected 2 cells, got 3'],
    ['row after a quoted line end', 'x,l\n1,"a\nb"\n2', { label: 'l' }, ', line 4: expected 2 cells, got 1'],
    ['open quote', 'x,l\n1,"a', { label: 'l' }, ', line 2: expected CSV, got Quote Not Closed'],
    ['no label', 'x,l\n1,a\n1,', { label: 'l' }, ', line 3, column "l": expected a label, got an empty cell'],
    [
      'label out of range',
      'x,l\n1,0\n2,3',
      { label: 'l', classes: 3 },
      ', line 3, column "l": expected a label from 0 to 2, got "3"',
    ],
    ['negative label', 'x,l\n1,-1', { label: 'l', classes: 3 }, 'expected a label from 0 to 2, got "-1"'],
    ['unknown class', 'x,l\n1,c', { label: 'l', classes: ['a', 'b'] }, 'expected one of the classes "a", "b", got "c"'],
    ['text to predict', 'x,l\n1,c', { label: 'l', classes: false }, ', line 2, column "l": expected a number, got "c"'],
    ['one class', 'x,l\n1,c\n2,c', { label: 'l' }, 'expected labels of two classes or more, got "c" throughout'],
    ['empty file', '', { label: 'l' }, 'expected rows, got an empty file'],
    ['header only', 'x,l\n', { label: 'l' }, 'expected rows, got none below the header'],
    ['name twice', 'x,x,l\n1,2,a', { label: 'l' }, ', line 1: expected a name for each column, got "x" twice'],
    ['binary', Uint8Array.of(120, 44, 0), { label: 'l' }, ', byte 2: expected UTF-8 text, got a zero byte'],
    ['Latin-1', Uint8Array.of(120, 10, 49, 10, 0xe9, 10), { label: 'l' }, ', line 3, byte 4: expected UTF-8 text'],
  ])('%s: file, place, expected, got', async (_, contents, options, message) => {
    const path = file('bad.csv', contents);
    const refused = csvDataset(path, options);
    await expect(refused).rejects.toThrow(DataFileError);
    await expect(refused).rejects.toThrow(`${path}${message.startsWith(',') ? message : ''}`);
    await expect(refused).rejects.toThrow(message);
  });

  test.each<[CsvOptions, string]>([
    [{ label: 'none' }, 'data.label: expected a column of'],
    [{ label: 7 }, 'data.label: expected a column of'],
    [{ label: 'kind', columns: ['z'] }, 'data.columns.0: expected a column of'],
    [{ label: 'kind', columns: ['x', 'kind'] }, 'data.columns: expected columns other than the label, got "kind"'],
    [{ label: 'kind', shares: { train: 0.5, validation: 0.1, test: 0.1 } }, 'a sum of 0.7'],
    [{ label: 'kind', shares: { train: 0.98, validation: 0.01, test: 0.01 } }, 'expected rows for each of train'],
    [{ label: 'kind', seed: -1 }, 'data.seed: expected'],
  ])('%j is refused', async (options, message) => {
    const refused = csvDataset(file('table.csv', TABLE), options);
    await expect(refused).rejects.toThrow(ConfigurationError);
    await expect(refused).rejects.toThrow(message);
  });

  test('a number to predict is not taken for a class; files that are none', async () => {
    const numbers = csvDataset(file('numbers.csv', 'x,l\n1,0.5\n2,1.5'), { label: 'l' });
    await expect(numbers).rejects.toThrow('If it is a number to predict, say classes: false.');
    await expect(csvDataset(join(folder, 'none.csv'), { label: 'l' })).rejects.toThrow(DatasetUnavailableError);
    await expect(csvDataset(folder, { label: 'l' })).rejects.toThrow('expected a file, got a folder');
  });
});

describe('tf.data', () => {
  const elements = NUMBERS.map((i) => ({ xs: [i, i * i], ys: i % 2 }));
  const make = () => tf.data.array(elements) as tf.data.Dataset<tf.TensorContainer>;

  test.each(DATASET_PROPERTIES)('$name', async (property) => {
    expect(await property.check(() => tfDataset(make(), { classes: 2 }))).toBeUndefined();
  });

  test.each([
    ['{xs, ys}', make, {}],
    [
      '[xs, ys]',
      () => make().map((e) => [(e as { xs: tf.Tensor }).xs, (e as { ys: tf.Tensor }).ys] as tf.TensorContainer),
      {},
    ],
    ['batches', () => make().batch(3), { batched: true }],
  ])('of %s: every row once, and no tensor left', async (_, source, options) => {
    const before = tf.memory().numTensors;
    const dataset = await tfDataset(source(), { classes: 2, order: 'source', ...options });
    expect(tf.memory().numTensors).toBe(before);
    expect([dataset.classes, dataset.inputShape]).toEqual([2, [2]]);
    expect(every(dataset)).toEqual(NUMBERS.map((i) => [i, i * i, i % 2]));
    const shuffled = every(await tfDataset(source(), { classes: 2, ...options }));
    expect(shuffled).not.toEqual(every(dataset));
    expect(ascending(shuffled)).toEqual(every(dataset));
  });

  const of = (items: unknown[]) => tf.data.array(items as tf.TensorContainer[]);
  test.each<[string, () => tf.data.Dataset<tf.TensorContainer>, object, string]>([
    ['without an end', () => make().repeat(), {}, 'expected a finite data set of at most'],
    [
      'without an end, which does not say so',
      () =>
        tf.data.generator(function* () {
          for (;;) yield { xs: 1, ys: 1 };
        }),
      { mostNumbers: 100 },
      'got more in its first 51 elements',
    ],
    ['empty', () => of([]), {}, 'expected elements {xs, ys}, got none'],
    ['of one thing', () => of([{ xs: 1 }]), {}, 'tfDataset: element 0: expected {xs, ys} or [xs, ys], got {xs}'],
    [
      'of different shapes',
      () =>
        of([
          { xs: [1, 2], ys: 1 },
          { xs: [1], ys: 1 },
        ]),
      {},
      'xs of element 1: expected rows of [2], got [1]',
    ],
    ['of text', () => of([{ xs: ['a'], ys: 1 }]), {}, 'xs of element 0: expected numbers, got string'],
    [
      'with NaN',
      () => of(elements.map((e, i) => (i === 4 ? { ...e, xs: [NaN, 1] } : e))),
      {},
      'expected finite numbers, got NaN',
    ],
    ['with a label out of range', make, { classes: 1 }, 'expected class labels, integers from 0 to 0, got 1'],
  ])('%s: refused', async (_, source, options, message) => {
    const refused = tfDataset(source(), options);
    await expect(refused).rejects.toThrow(ConfigurationError);
    await expect(refused).rejects.toThrow(message);
  });
});
