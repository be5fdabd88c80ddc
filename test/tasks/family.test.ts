import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import {
  ConfigurationError,
  treeLeaves,
  UnknownNameError,
  type FactoryContext,
  type TaskFamily,
} from '../../src/contracts';
import { parseOptions } from '../../src/outer/config-check';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { taskFamily, type MlpRanges } from '../../tasks';
import { testContainer } from '../outer/support';

const dataOf = (inputs: number, name: string) =>
  arrayDataset({
    name,
    xs: normals([5, inputs], 30 * inputs),
    ys: Array.from({ length: 30 }, (_, i) => i % 3),
    inputShape: [inputs],
    classes: 3,
  });
const [small, large] = [dataOf(2, 'small'), dataOf(5, 'large')];

const RANGES = {
  width: [3, 9],
  depth: [0, 2],
  activation: ['relu', 'tanh'],
  init: ['he'],
  initScale: [0.1, 10],
  batchSize: [1, 4],
} as const satisfies MlpRanges;

const container = testContainer();
function registered(options: object): TaskFamily {
  const registration = container.registration('family', 'mlp');
  const parsed = parseOptions(registration, options as never, 'tasks.family', 'family "mlp"');
  return registration.create(parsed, {} as FactoryContext) as TaskFamily;
}
interface Drawn {
  readonly task: {
    readonly hidden: readonly number[];
    readonly activation: string;
    readonly initScale: number;
    readonly batchSize: number;
  };
  readonly data: string;
}
const drawn = (ranges: object, n: number): Drawn[] => {
  const family = registered({ ...ranges, data: ['a', 'b', 'c'] });
  return Array.from({ length: n }, (_, seed) => family.sample(seed) as unknown as Drawn);
};

beforeAll(() => tf.setBackend('cpu'));

describe('what is drawn', () => {
  const N = 2000;
  const all = drawn(RANGES, N);
  /** χ² of counts against probabilities. */
  const chiSquare = <T>(values: readonly T[], expected: ReadonlyMap<T, number>): number => {
    expect(values.every((value) => expected.has(value))).toBe(true);
    return [...expected].reduce((sum, [value, p]) => {
      const n = values.filter((other) => other === value).length;
      return sum + (n - values.length * p) ** 2 / (values.length * p);
    }, 0);
  };
  const logInteger = (low: number, high: number): Map<number, number> =>
    new Map(
      Array.from({ length: high - low + 1 }, (_, i) => [
        low + i,
        Math.log((low + i + 1) / (low + i)) / Math.log((high + 1) / low),
      ]),
    );
  const uniform = <T>(values: readonly T[]): Map<T, number> =>
    new Map(values.map((value) => [value, 1 / values.length]));

  // Each bound is passed by chance once in 1000.
  test('widths and batch sizes are log-uniform integers, depths uniform, ends included', () => {
    const widths = all.flatMap(({ task }) => task.hidden.slice(0, 1));
    expect(chiSquare(widths, logInteger(3, 9))).toBeLessThan(22.5); // 6 degrees of freedom
    expect(
      chiSquare(
        all.map(({ task }) => task.batchSize),
        logInteger(1, 4),
      ),
    ).toBeLessThan(16.3); // 3
    expect(
      chiSquare(
        all.map(({ task }) => task.hidden.length),
        uniform([0, 1, 2]),
      ),
    ).toBeLessThan(13.8); // 2
    expect(all.every(({ task: { hidden } }) => new Set(hidden).size < 2)).toBe(true);
  });

  test('activations and data sets are equally likely; scales are log-uniform', () => {
    expect(
      chiSquare(
        all.map(({ task }) => task.activation),
        uniform(['relu', 'tanh']),
      ),
    ).toBeLessThan(10.8); // 1
    expect(
      chiSquare(
        all.map(({ data }) => data),
        uniform(['a', 'b', 'c']),
      ),
    ).toBeLessThan(13.8); // 2
    const shares = all.map(({ task }) => Math.log(task.initScale / 0.1) / Math.log(100)).sort((a, b) => a - b);
    const distance = Math.max(...shares.map((u, i) => Math.max(u - i / N, (i + 1) / N - u)));
    expect(distance).toBeLessThan(1.95 / Math.sqrt(N));
  });

  test('the seed decides; another range of one field leaves the others as they were', () => {
    expect(drawn(RANGES, 20)).toEqual(all.slice(0, 20));
    const deeper = drawn({ ...RANGES, depth: [7, 7] }, 20);
    deeper.forEach(({ task, data }, i) => {
      expect(task.hidden).toHaveLength(7);
      expect({ ...task, hidden: [] }).toEqual({ ...all[i].task, hidden: [] });
      expect(data).toBe(all[i].data);
    });
  });

  test('in code: the same shapes, as tasks', () => {
    const family = taskFamily({ ...RANGES, data: [small, large, small] });
    for (let seed = 0; seed < 12; seed++) {
      const { task, data } = all[seed];
      const sampled = family.sample(seed);
      const dataset = data === 'b' ? large : small;
      expect(sampled.dataset).toBe(dataset);
      expect(sampled.batchSize).toBe(task.batchSize);
      const widths = [dataset.inputShape[0], ...task.hidden, 3];
      const shapes = treeLeaves<tf.Tensor>(sampled.init(new EagerRandom(seedKey(0)))).map(({ value }) => value.shape);
      expect(shapes).toEqual(widths.slice(1).flatMap((out, i) => [[out], [widths[i], out]]));
    }
  });
});

describe('bad input names the field', () => {
  const regression = arrayDataset({ xs: normals([5, 1], 40), ys: normals([5, 2], 20), inputShape: [2] });
  test.each<[object, string]>([
    [{ width: [0, 4] }, 'family.width: expected two integers [low, high], 1 ≤ low ≤ high, got [0,4].'],
    [{ width: [8, 4] }, 'family.width: expected two integers [low, high], 1 ≤ low ≤ high, got [8,4].'],
    [{ depth: [1, 2.5] }, 'family.depth: expected two integers [low, high], 0 ≤ low ≤ high, got [1,2.5].'],
    [{ batchSize: [4] }, 'family.batchSize: expected two integers [low, high], 1 ≤ low ≤ high, got [4].'],
    [{ initScale: [0, 1] }, 'family.initScale: expected two numbers [low, high], 0 < low ≤ high, got [0,1].'],
    [{ activation: [] }, 'family.activation: expected one or more of relu, tanh,'],
    [{ init: ['xavier'] }, 'family.init: expected one or more of lecun, he, glorot, got "xavier".'],
    [{ data: [] }, 'family.data: expected one or more data sets, got none.'],
    [{ data: [regression] }, 'data: expected a data set with class labels for the task "mlp"'],
  ])('%#', (options, message) => {
    const make = () => taskFamily({ data: [small], ...options });
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });

  test('seeds', () => {
    expect(() => taskFamily({ data: [small] }).sample(-1)).toThrow('seed: expected an integer of at least 0, got -1.');
  });

  test('of a configuration', () => {
    expect(() => registered({ width: [8, 4] })).toThrow(
      'tasks.family.width: expected two integers [low, high], 1 ≤ low ≤ high, got [8,4].',
    );
    expect(() => registered({ activation: ['rely'] })).toThrow(ConfigurationError);
    expect(() => registered({ dept: [1, 2] })).toThrow(UnknownNameError);
    expect(() => registered({ dept: [1, 2] })).toThrow('Did you mean "tasks.family.depth"?');
    expect(() => registered({ data: [] })).toThrow(ConfigurationError);
  });
});
