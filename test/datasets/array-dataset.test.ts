import { arrayDataset, type ArrayDatasetOptions } from '../../datasets';
import { ConfigurationError } from '../../src/contracts';

const labelled = {
  xs: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  ys: [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
  inputShape: [],
  classes: 2,
};

test('rows are cut in order, by default into 80, 10 and 10 %', () => {
  const { train, validation, test: held } = arrayDataset(labelled).splits;
  expect([...train.xs.table.values]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...validation.xs.table.values]).toEqual([9]);
  expect([...held.xs.table.values]).toEqual([10]);
  expect([...held.ys.table.values]).toEqual([1]);
});

test('shares that are not binary fractions still use each row once', () => {
  const ys = Array.from({ length: 1000 }, (_, i) => i);
  const { splits } = arrayDataset({ xs: ys, ys, inputShape: [], shares: { train: 0.7, validation: 0.2, test: 0.1 } });
  expect([splits.train.rows, splits.validation.rows, splits.test.rows]).toEqual([700, 200, 100]);
});

test('plain labels become int32, other plain numbers float32; typed arrays keep their type and place', () => {
  expect(arrayDataset(labelled).splits.train.ys.table.dtype).toBe('int32');
  expect(arrayDataset({ ...labelled, classes: undefined }).splits.train.ys.table.dtype).toBe('float32');
  const xs = Uint8Array.from(labelled.xs);
  const decode = { scale: 0.5, offset: 1 };
  const { table, decode: kept } = arrayDataset({ ...labelled, xs, decode }).splits.train.xs;
  expect([table.dtype, table.values.buffer === xs.buffer, kept]).toEqual(['uint8', true, decode]);
});

test('a table name tells its numbers, its shape and its type apart', () => {
  const nameOf = (options: Partial<ArrayDatasetOptions>): string =>
    arrayDataset({ ...labelled, ...options }).splits.train.xs.table.name;
  expect(nameOf({})).toBe(nameOf({}));
  const names = [
    nameOf({}),
    nameOf({ xs: [2, ...labelled.xs.slice(1)] }),
    nameOf({ xs: Int32Array.from(labelled.xs) }),
    nameOf({ inputShape: [1] }),
    nameOf({ name: 'other' }),
  ];
  expect(new Set(names).size).toBe(names.length);
});

test.each<[string, Partial<ArrayDatasetOptions>, string]>([
  [
    'inputs that do not fill rows',
    { inputShape: [3] },
    'arrayDataset.xs: expected a positive multiple of 3 numbers, got 10 numbers',
  ],
  ['no rows', { xs: [], ys: [] }, 'arrayDataset.xs: expected a positive multiple of 1 numbers, got 0 numbers'],
  ['too few targets', { ys: [0, 1] }, 'arrayDataset.ys: expected 10 rows of 1 numbers, got 2 numbers'],
  ['targets of another shape', { targetShape: [2] }, 'arrayDataset.ys: expected 10 rows of 2 numbers, got 10 numbers'],
  [
    'a NaN input',
    { xs: [1, 2, NaN, 4, 5, 6, 7, 8, 9, 10] },
    'arrayDataset.xs: expected finite numbers, got NaN at index 2',
  ],
  [
    'an infinite target',
    { ys: [0, 1, 0, 1, 0, 1, 0, 1, 0, -Infinity] },
    'arrayDataset.ys: expected finite numbers, got -Infinity at index 9',
  ],
  [
    'a label out of range',
    { classes: 1 },
    'arrayDataset.ys: expected class labels, integers from 0 to 0, got 1 at index 1',
  ],
  ['a label that is no integer', { ys: [0.5, 1, 0, 1, 0, 1, 0, 1, 0, 1] }, 'got 0.5 at index 0'],
  [
    'shares that do not sum to 1',
    { shares: { train: 0.8, validation: 0.1, test: 0.2 } },
    'arrayDataset.shares: expected positive shares that sum to 1, got train 0.8, validation 0.1, test 0.2',
  ],
  ['a share of nothing', { shares: { train: 0.9, validation: 0.1, test: 0 } }, 'positive shares'],
  [
    'a split without rows',
    { shares: { train: 0.98, validation: 0.01, test: 0.01 } },
    'a row or more in each split of 10 rows',
  ],
  ['an impossible shape', { inputShape: [0] }, 'arrayDataset.inputShape: expected positive integers, got [0]'],
  ['no classes', { classes: 0 }, 'arrayDataset.classes: expected a positive integer, got 0'],
])('%s: refused', (_, change, message) => {
  const make = (): unknown => arrayDataset({ ...labelled, ...change });
  expect(make).toThrow(ConfigurationError);
  expect(make).toThrow(message);
});

test('a wrong split is named', () => {
  const good = { xs: [1], ys: [1] };
  const make = (): unknown =>
    arrayDataset({ inputShape: [], splits: { train: good, validation: { xs: [1, 2], ys: [1] }, test: good } });
  expect(make).toThrow('arrayDataset.splits.validation.ys: expected 2 rows of 1 numbers, got 1 numbers');
});
