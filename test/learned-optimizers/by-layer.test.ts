/** Hyperparameters that differ between layers: each layer moves as it would under an optimizer of its own. */
import * as tf from '@tensorflow/tfjs';
import { createContainer } from '../../src/container';
import {
  ConfigurationError,
  meta,
  treeFlatten,
  treeLeaves,
  treeMap,
  type ConfigObject,
  type LearnedOptimizer,
  type NamedConfig,
  type TensorTree,
} from '../../src/contracts';
import { TrainableOptimizer } from '../../src/deploy/tf-optimizer';
import { prepareOptimizer } from '../../src/outer';
import { layoutOfOptimizer } from '../../src/outer/theta';
import { EagerRandom, foldIn, seedKey } from '../../src/random';
import { adam, adamW, clipGradients, cosine, piecewiseLinear, sgd } from '../../learned-optimizers';

const container = createContainer();
beforeAll(() => tf.setBackend('cpu'));

const build = (config: NamedConfig): Promise<LearnedOptimizer> => prepareOptimizer(config, container);

/** Two layers, the second one nested in a list. */
const params = (): { first: TensorTree; rows: TensorTree } => ({
  first: { kernel: tf.tensor([1, -2, 0.5, 3, 0.1, -0.4], [2, 3]), bias: tf.tensor([0.3, -0.2, 0.7]) },
  rows: [tf.tensor([2, -1]), { kernel: tf.tensor([0.6, 0.2, -0.9, 1.1], [2, 2]) }],
});

/** The parameters by path after each of 6 updates; gradients depend on path, parameter and step. */
function courseOf(optimizer: LearnedOptimizer, start: TensorTree, theta?: TensorTree): Record<string, number[]>[] {
  return tf.tidy(() => {
    const random = new EagerRandom(seedKey(1));
    const rule = optimizer.optimizer(theta ?? optimizer.initTheta(random));
    let now = start;
    let state = rule.init(now);
    return Array.from({ length: 6 }, (_, t) => {
      const gradients = treeMap<tf.Tensor, tf.Tensor>(now, (p) => tf.add(tf.sin(tf.mul(p, 3)), 0.2 * t + 0.1));
      const args = { t: tf.scalar(t, 'int32'), loss: tf.scalar(1), random: new EagerRandom(foldIn(seedKey(2), t)) };
      ({ params: now, state } = rule.update({ params: now, gradients, state, ...args }));
      return Object.fromEntries(treeLeaves<tf.Tensor>(now).map(({ path, value }) => [path, [...value.dataSync()]]));
    });
  });
}

const OPTIMIZERS = [
  ...['sgd', 'momentum', 'nesterov', 'rmsprop', 'adagrad', 'adam', 'adamw', 'nadamw', 'adabelief'],
  ...['yogi', 'radam', 'adafactor', 'lars', 'lamb', 'lion'],
];

test.each(OPTIMIZERS)('%s: a layer with numbers of its own moves as under an optimizer of its own', async (name) => {
  const { options } = container.registration('optimizer', name);
  const defaults = options!.parse({}) as Record<string, number | boolean>;
  const numbers = Object.entries(defaults).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  // Within every range.
  const other = (value: number): number => (value > 1 ? 0.9 * value : 0.7 * value + 0.001);
  const each = <T>(of: (value: number) => T): Record<string, T> =>
    Object.fromEntries(numbers.map(([key, value]) => [key, of(value)]));
  const plain = await build({ name, ...each((value) => value) });
  const moved = await build({ name, ...each(other) });
  const both = await build({
    name,
    ...(each((value) => ({ first: value, rows: `meta.linear(${other(value)})` })) as ConfigObject),
  });
  expect(layoutOfOptimizer(both).leaves.map(({ path }) => path)).toEqual(numbers.map(([key]) => `${key}.rows`).sort());
  const { first, rows } = params();
  const expected = [courseOf(plain, { first }), courseOf(moved, { rows })];
  const got = courseOf(both, { first, rows });
  got.forEach((after, t) => expect(after).toEqual({ ...expected[0][t], ...expected[1][t] }));
  expect(courseOf(plain, { rows })).not.toEqual(expected[1]);
});

test('rest stands for what is not named, at its level; schedules take the horizon', () => {
  const learningRate = {
    first: { bias: 0.3, rest: cosine({ initial: meta.log(0.1) }) },
    rest: [meta.log(0.2), { kernel: 0.4 }],
  };
  const momentum = { rest: { rest: meta.logit(0.5) } };
  const optimizer = sgd({ learningRate, momentum: { rows: 0.5, ...momentum } }).forHorizon!(12);
  const theta = optimizer.initTheta(new EagerRandom(seedKey(0)));
  const { values, curves } = optimizer.describeTheta!(theta, 12);
  const expected = {
    'learningRate.first.rest.initial': 0.1,
    'learningRate.rest.0': 0.2,
    'momentum.rest.rest': 0.5,
  };
  expect(Object.keys(values).sort()).toEqual(Object.keys(expected));
  for (const [path, value] of Object.entries(expected)) expect(values[path]).toBeCloseTo(value, 6);
  expect(Object.keys(curves!)).toEqual(['learningRate.first.rest']);

  const { first, rows } = params();
  const of = (rate: Parameters<typeof sgd>[0]): LearnedOptimizer => sgd({ ...rate, momentum: 0.5 }).forHorizon!(12);
  const { kernel, bias } = first as Record<string, tf.Tensor>;
  const [vector, { kernel: matrix }] = rows as [tf.Tensor, Record<string, tf.Tensor>];
  const got = courseOf(optimizer, { first, rows })[5];
  const alone = (rate: Parameters<typeof sgd>[0], tensor: tf.Tensor): number[] =>
    courseOf(of(rate), { tensor })[5].tensor;
  const close = (path: string, wanted: readonly number[]): void => {
    wanted.forEach((value, i) => expect(Math.abs(got[path][i] - value)).toBeLessThan(1e-5));
  };
  close('first.bias', alone({ learningRate: 0.3 }, bias));
  close('first.kernel', alone({ learningRate: cosine({ initial: 0.1 }) }, kernel));
  close('rows.0', alone({ learningRate: 0.2 }, vector));
  close('rows.1.kernel', alone({ learningRate: 0.4 }, matrix));
});

test('its config makes the same again', async () => {
  const optimizer = clipGradients({
    maxNorm: 2,
    optimizer: adamW({
      learningRate: { first: piecewiseLinear({ values: [meta.log(0.1), 0] }), rows: [0.1, meta.log(0.2)] },
      weightDecay: { first: { kernel: meta.log(0.1), rest: 0 }, rest: 0 },
    }),
  }).forHorizon!(6);
  const again = await build(JSON.parse(JSON.stringify(optimizer.config)) as NamedConfig);
  expect(again.config).toEqual(optimizer.config);
  expect(layoutOfOptimizer(again)).toEqual(layoutOfOptimizer(optimizer));
  expect(courseOf(again, params())).toEqual(courseOf(optimizer, params()));
});

describe('mistakes', () => {
  test.each<[string, Parameters<typeof sgd>[0]]>([
    [
      'learningRate.second: expected a layer or parameter there is (first, rows) or rest, got "second".',
      {
        learningRate: { first: 0.1, second: meta.log(0.1), rest: 0.1 },
      },
    ],
    [
      'learningRate.first.kernels: expected a layer or parameter there is (kernel, bias) or rest, got "kernels".',
      {
        learningRate: { first: { kernels: 0.1, rest: 0.1 }, rows: 1 },
      },
    ],
    [
      'learningRate.rows: expected a number for this layer or parameter, or rest, got none.',
      {
        learningRate: { first: 0.1 },
      },
    ],
    [
      'momentum.rows: expected as many numbers as the list of parameters has (2), got 3.',
      {
        momentum: { first: 0.1, rows: [0.1, 0.2, 0.3] },
      },
    ],
    ['momentum: expected a record by first, rows, got a list.', { momentum: [0.1, 0.2] }],
    [
      'learningRate.first.bias: expected one number, as there are no layers below, got x.',
      {
        learningRate: { first: { kernel: 0.1, bias: { x: 0.1 } }, rest: 0.1 },
      },
    ],
  ])('%s', (message, options) => {
    const rule = sgd(options).optimizer(sgd(options).initTheta(new EagerRandom(seedKey(0))));
    expect(() => rule.init(params())).toThrow(ConfigurationError);
    expect(() => rule.init(params())).toThrow(message);
  });

  test.each<[string, () => unknown]>([
    [
      'beta1.first.0: expected a finite number at least 0 below 1, got 1',
      () => adam({ beta1: { first: [1], rest: 0 } }),
    ],
    ['learningRate.first: expected numbers by layer, got none', () => sgd({ learningRate: { first: {} } })],
  ])('%s', (message, make) => {
    expect(make).toThrow(message);
  });

  test.each<[string, NamedConfig]>([
    [
      'optimizer.beta1.first.0: expected a finite number at least 0 below 1, got "meta.linear(2)"',
      { name: 'adam', beta1: { first: ['meta.linear(2)'], rest: 0 } },
    ],
    ['optimizer.learningRate.first: expected numbers by layer, got {}', { name: 'sgd', learningRate: { first: {} } }],
    ['unknown schedule "cosin"', { name: 'sgd', learningRate: { first: { name: 'cosin' }, rest: 1 } }],
  ])('%s', async (message, config) => {
    await expect(build(config)).rejects.toThrow(message);
  });

  test('names are refused where tensors come in a row; a list is taken in order', () => {
    const named = sgd({ learningRate: { 0: 0.1, rest: 0.2 } });
    const variables = [tf.variable(tf.ones([2])), tf.variable(tf.ones([3]))];
    const train = (optimizer: LearnedOptimizer): number[] => {
      const weights = { layout: { leaves: [], size: 0 }, theta: new Float32Array(0) };
      const trainable = new TrainableOptimizer(weights as never, optimizer);
      const named = variables.map((variable) => ({ name: variable.name, tensor: tf.ones(variable.shape) }));
      trainable.applyGradients(named);
      return treeFlatten<tf.Tensor>(variables).map((variable) => variable.dataSync()[0]);
    };
    expect(() => train(named)).toThrow('learningRate: expected parameters with names, got a list of 2 tensors.');
    expect(train(sgd({ learningRate: [0.25, 0.5] }))).toEqual([0.75, 0.5]);
    tf.dispose(variables);
  });
});
