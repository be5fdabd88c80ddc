import * as tf from '@tensorflow/tfjs';
import { bits, drawWord, EagerRandom, foldIn, integers, normals, seedKey, uniforms } from '../../src/random';
import { ConfigurationError, type KeyedRandom } from '../../src/contracts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const make = (seed = 5): KeyedRandom => new EagerRandom(seedKey(seed));
const numbers = (tensor: tf.Tensor): number[] => [...tensor.dataSync()];

test('the same key gives the same numbers', () => {
  expect(numbers(make().normal([3, 4]))).toEqual(numbers(make().normal([3, 4])));
  expect(numbers(make().normal([3, 4]))).not.toEqual(numbers(make(6).normal([3, 4])));
});

test('each draw of a generator has its own numbers, keyed by its place', () => {
  const random = make();
  const drawn = [random.normal([4]), random.uniform([4]), random.integer([4], 0, 1000), random.normal([4])];
  const keys = drawn.map((_, n) => foldIn(seedKey(5), drawWord(n)));
  expect(numbers(drawn[0])).toEqual([...normals(keys[0], 4)]);
  expect(numbers(drawn[1])).toEqual([...uniforms(keys[1], 4)]);
  expect(numbers(drawn[2])).toEqual([...integers(keys[2], 4, 0, 1000)]);
  expect(numbers(drawn[3])).toEqual([...normals(keys[3], 4)]);
  expect(numbers(drawn[3])).not.toEqual(numbers(drawn[0]));
});

test('children differ from each other and from their parent, and do not depend on what it drew', () => {
  const random = make();
  const child = numbers(random.foldIn(3).normal([8]));
  random.normal([100]);
  expect(numbers(random.foldIn(3).normal([8]))).toEqual(child);
  const parts = [random, ...random.split(5), random.foldIn(5), random.foldIn(0).foldIn(1), random.foldIn(1).foldIn(0)];
  const draws = parts.map((part) => numbers(part.normal([8])).join());
  expect(new Set(draws).size).toBe(draws.length);
});

test('split(n) starts with split(m) for m < n', () => {
  const few = make().split(2);
  const many = make().split(7);
  expect(few).toHaveLength(2);
  expect(many).toHaveLength(7);
  few.forEach((part, i) => expect(numbers(part.uniform([3]))).toEqual(numbers(many[i].uniform([3]))));
});

test.each([
  ['normal', (random: KeyedRandom, shape: number[]) => random.normal(shape), 'float32'],
  ['uniform', (random: KeyedRandom, shape: number[]) => random.uniform(shape), 'float32'],
  ['integer', (random: KeyedRandom, shape: number[]) => random.integer(shape, 2, 9), 'int32'],
] as const)('%s has the shape asked for and its dtype', (_, draw, dtype) => {
  for (const shape of [[], [1], [5], [2, 3], [2, 1, 3]]) {
    const tensor = draw(make(), shape);
    expect([tensor.shape, tensor.dtype]).toEqual([shape, dtype]);
  }
});

test('mean and standard deviation, low and high are applied', () => {
  const n = 1 << 16;
  const z = numbers(make().normal([n], { mean: 3, std: 0.5 }));
  const mean = z.reduce((a, b) => a + b, 0) / n;
  const std = Math.sqrt(z.reduce((a, b) => a + (b - mean) ** 2, 0) / n);
  // 4 standard errors: 0.5/√n of the mean, 0.5/√(2n) of the standard deviation.
  expect(Math.abs(mean - 3)).toBeLessThan((4 * 0.5) / Math.sqrt(n));
  expect(Math.abs(std - 0.5)).toBeLessThan((4 * 0.5) / Math.sqrt(2 * n));

  const u = numbers(make().uniform([n], { low: -2, high: 6 }));
  expect(u.every((value) => value >= -2 && value < 6)).toBe(true);
  // The least and largest of n uniforms on 8 units are within 8·10/n of the ends at confidence 1 − 2·e⁻¹⁰.
  expect(u.reduce((a, b) => Math.min(a, b))).toBeLessThan(-2 + 80 / n);
  expect(u.reduce((a, b) => Math.max(a, b))).toBeGreaterThan(6 - 80 / n);
});

test.each([
  [
    'foldIn of a negative integer',
    () => make().foldIn(-1),
    'random.foldIn: expected an integer from 0 to 2147483647, got -1',
  ],
  ['foldIn of a fraction', () => make().foldIn(0.5), 'got 0.5'],
  ['foldIn beyond 31 bits', () => make().foldIn(2 ** 31), 'got 2147483648'],
  [
    'an empty range of integers',
    () => make().integer([1], 3, 3),
    'random.integer: expected integers low < high, got low 3 and high 3',
  ],
  ['a fraction as a bound', () => make().integer([1], 0, 1.5), 'got low 0 and high 1.5'],
  ['a range beyond 31 bits', () => make().integer([1], -(2 ** 31), 2 ** 31 - 1), 'expected integers'],
])('%s is refused', (_, draw, message) => {
  expect(draw).toThrow(ConfigurationError);
  expect(draw).toThrow(message);
});

test('an affine uniform never reaches its upper end', () => {
  // The largest draw is 1 − 2⁻²⁴, and 1 + (1 − 2⁻²⁴) is halfway between 2 − 2⁻²³ and 2, of which float32 takes 2. One
  // draw in 2²⁴ does so: the first word that has its upper 24 bits set is looked for, then drawn.
  const n = 1 << 16;
  const keyOf = (i: number) => foldIn(foldIn(seedKey(5), i), drawWord(0));
  let i = 0;
  while (bits(keyOf(i), n).every((word) => word < 0xffffff00)) i++;
  const u = numbers(make().foldIn(i).uniform([n], { low: 1, high: 2 })).reduce((a, b) => Math.max(a, b));
  expect(u).toBe(2 - 2 ** -23);
});
