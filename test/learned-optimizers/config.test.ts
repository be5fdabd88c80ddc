/** `config` of optimizers and schedules made in code: read as a configuration, it makes the same again. */
import * as tf from '@tensorflow/tfjs';
import { createContainer } from '../../src/container';
import {
  meta,
  treeFlatten,
  treeMap,
  withConfig,
  type LearnedOptimizer,
  type NamedConfig,
  type Schedule,
  type TensorTree,
} from '../../src/contracts';
import { prepareOptimizer } from '../../src/outer';
import { fillDefaults, optionKeys } from '../../src/outer/config-check';
import { layoutOfOptimizer } from '../../src/outer/theta';
import { EagerRandom, foldIn, seedKey } from '../../src/random';
import * as made from '../../learned-optimizers';

const container = createContainer();
beforeAll(() => tf.setBackend('cpu'));

const learningRate = meta.log(0.02);
const scales = { stepMultiplier: 0.02, magnitudeMultiplier: 0.003, outputScale: 0.7 };

/** By the name that it is registered by; no option has its default. */
const OPTIMIZERS: Readonly<Record<string, LearnedOptimizer>> = {
  sgd: made.sgd({ learningRate, momentum: meta.logit(0.5), nesterov: true }),
  adam: made.adam({
    learningRate,
    beta1: 0.8,
    beta2: meta.logit(0.9),
    epsilon: 1e-3,
    weightDecay: meta.linear(0.1 / 3),
  }),
  adamw: made.adamW({ learningRate, beta1: 0.8, beta2: 0.99, epsilon: meta.log(1e-7), weightDecay: 0.3 }),
  rmsprop: made.rmsProp({ learningRate, decay: meta.logit(0.8), momentum: 0.3, epsilon: 1e-3, centered: true }),
  adagrad: made.adagrad({ learningRate, epsilon: 1e-3, initialAccumulator: meta.log(0.1) }),
  nadamw: made.nadamW({ learningRate, beta1: meta.logit(0.7), beta2: 0.9, epsilon: 1e-3, weightDecay: 0.2 }),
  adabelief: made.adaBelief({ learningRate, beta1: 0.7, beta2: meta.logit(0.99), epsilon: 1e-3 }),
  yogi: made.yogi({ learningRate, beta1: 0.7, beta2: 0.9, epsilon: 1e-2, initialAccumulator: meta.log(0.01) }),
  radam: made.rAdam({ learningRate, beta1: 0.7, beta2: meta.logit(0.9), epsilon: 1e-3, threshold: 4 }),
  adafactor: made.adafactor({
    ...{ learningRate, decayExponent: meta.log(0.7), epsilon1: 1e-20, epsilon2: 1e-2, clippingThreshold: 0.5 },
  }),
  lars: made.lars({ learningRate, momentum: 0.5, weightDecay: meta.linear(0.1), trustCoefficient: 0.3 }),
  lamb: made.lamb({ learningRate, beta1: 0.7, beta2: 0.9, epsilon: 1e-3, weightDecay: meta.linear(0.2) }),
  lion: made.lion({ learningRate, beta1: 0.7, beta2: 0.9, weightDecay: meta.linear(0.2) }),
  'clip-gradients': made.clipGradients({
    ...{ maxNorm: meta.log(0.5), maxTensorNorm: 0.4, maxValue: made.constant({ value: meta.log(0.3) }) },
    optimizer: made.sgd({ learningRate }),
  }),
  'weight-decay': made.withWeightDecay({ weightDecay: meta.linear(0.02), optimizer: made.adam({ learningRate }) }),
  graft: made.graft({ direction: made.adam({ beta1: meta.logit(0.8) }), magnitude: made.sgd({ learningRate }) }),
  'accumulate-gradients': made.accumulateGradients({ batches: 2, optimizer: made.lion({ learningRate }) }),
  'learnable-sgd': made.learnableSgd({ learningRate: 0.3 }),
  'learnable-sgdm': made.learnableSgdm({ learningRate: 0.3, momentum: 0.4 }),
  'learnable-adam': made.learnableAdam({ learningRate: 0.3, beta1: 0.7, beta2: 0.8, epsilon: 1e-3 }),
  'per-parameter-mlp': made.perParameterMlp({ hidden: [3], decays: [0.5, 0.7], timeScales: [2, 5], ...scales }),
  'adafac-mlp': made.adafacMlp({
    ...{ hidden: [3], momentumDecays: [0.5, 0.7], rmsDecay: 0.8, adafactorDecays: [0.6, 0.9], ...scales },
  }),
  'nn-adam': made.nnAdam({ units: 3, learningRate: 0.3, beta1: 0.7, beta2: 0.8, epsilon: 1e-3, outputScale: 0.5 }),
  'rnn-mlp': made.rnnMlp({
    ...{ hidden: [3], units: 4, fromNetwork: 2, fromAll: 3, toNetwork: 5, decays: [0.5, 0.7], ...scales },
  }),
  'lstm-coordinatewise': made.lstmCoordinatewise({
    ...{ units: [3, 2], preprocess: 5, stepMultiplier: 0.02, outputScale: 0.5 },
  }),
};

/** Other names of what is made in code by the first. */
const ALIASES = ['momentum', 'nesterov'];

/** By the name that it is registered by; no option has its default. */
const SCHEDULES: Readonly<Record<string, Schedule>> = {
  constant: made.constant({ value: meta.log(0.03) }),
  'inverse-time': made.inverseTime({ initial: meta.log(0.03), decay: 2, timescale: meta.log(3) }),
  exponential: made.exponential({ initial: 0.03, rate: meta.logit(0.4), timescale: 3 }),
  'piecewise-linear': made.piecewiseLinear({ values: [0.01, meta.log(0.03)], places: [0.2, 0.7], timescale: 5 }),
  cosine: made.cosine({ initial: meta.log(0.03), final: 0.01, warmup: 0.3, timescale: 5 }),
};

const PARAMS = { matrix: [2, 3], scalar: [], vector: [3] };

/** θ₀ of a seed and the parameters after each of 6 updates, bit for bit. */
function courseOf(optimizer: LearnedOptimizer): number[][] {
  return tf.tidy(() => {
    const theta = optimizer.initTheta(new EagerRandom(seedKey(1)));
    const rule = optimizer.optimizer(theta);
    const wave = (shape: number[], t: number): tf.Tensor =>
      tf.sin(
        tf.add(
          tf.reshape(
            tf.range(
              0,
              shape.reduce((a, b) => a * b, 1),
            ),
            shape,
          ),
          1.3 * t + 0.2,
        ),
      );
    let params: TensorTree = Object.fromEntries(Object.entries(PARAMS).map(([name, shape]) => [name, wave(shape, 0)]));
    let state = rule.init(params);
    const numbers = (tree: TensorTree): number[] =>
      treeFlatten<tf.Tensor>(tree).flatMap((leaf) => [...leaf.dataSync()]);
    const course = [numbers(theta)];
    for (let t = 0; t < 6; t++) {
      const gradients = treeMap(params, (p: tf.Tensor) => wave(p.shape, t + 1)) as TensorTree;
      const random = new EagerRandom(foldIn(seedKey(2), t));
      const loss = tf.scalar(1 / (t + 1));
      ({ params, state } = rule.update({ params, gradients, state, t: tf.scalar(t, 'int32'), loss, random }));
      course.push(numbers(params));
    }
    return course;
  });
}

/** Through the text of a file. */
const again = (config: NamedConfig | undefined): Promise<LearnedOptimizer> =>
  prepareOptimizer(JSON.parse(JSON.stringify(config)) as NamedConfig, container);

async function expectSame(optimizer: LearnedOptimizer): Promise<void> {
  const built = await again(optimizer.config);
  expect(built.name).toBe(optimizer.name);
  expect(layoutOfOptimizer(built)).toEqual(layoutOfOptimizer(optimizer));
  const course = courseOf(optimizer);
  expect(course.flat().every(Number.isFinite)).toBe(true);
  expect(course[6]).not.toEqual(course[5]);
  expect(courseOf(built)).toEqual(course);
  expect(built.config).toEqual(optimizer.config);
}

/** That no option of a registered thing is left out, or has its default, which could have come from nowhere. */
function expectAllOptions(kind: 'optimizer' | 'schedule', config: NamedConfig): void {
  const { options } = container.registration(kind, config.name);
  const defaults = fillDefaults(options, {});
  expect(Object.keys(config).sort()).toEqual(['name', ...optionKeys(options)].sort());
  for (const [key, value] of Object.entries(defaults)) expect([key, config[key]]).not.toEqual([key, value]);
}

test('every registered optimizer and schedule has its row', () => {
  expect([...Object.keys(OPTIMIZERS), ...ALIASES].sort()).toEqual(container.names('optimizer'));
  expect(Object.keys(SCHEDULES).sort()).toEqual(container.names('schedule'));
});

test.each(Object.entries(OPTIMIZERS))('%s', async (name, optimizer) => {
  expect(optimizer.config!.name).toBe(name);
  expectAllOptions('optimizer', optimizer.config!);
  await expectSame(optimizer);
});

test.each(ALIASES)('%s, which is sgd with other defaults', async (name) => {
  const optimizer = await again({ name, learningRate: 'meta.log(0.02)' });
  expect(optimizer.config!.name).toBe('sgd');
  await expectSame(optimizer);
});

test.each(Object.entries(SCHEDULES))('schedule %s', async (name, schedule) => {
  expect(schedule.config!.name).toBe(name);
  expectAllOptions('schedule', schedule.config!);
  await expectSame(made.sgd({ learningRate: schedule, momentum: schedule }));
});

test('what was left to the horizon is in the config of what it was bound to, in updates where these are fewer', async () => {
  const rate = made.cosine({ initial: meta.log(0.1), warmup: 0.25 });
  const config = { name: 'cosine', initial: 'meta.log(0.1)', final: 0, warmup: 0.25 };
  const optimizer = made.sgd({ learningRate: rate });
  expect(optimizer.config).toEqual({ name: 'sgd', learningRate: config });
  const knots = made.piecewiseLinear({ values: [0.1, meta.log(0.2)] });
  expect(knots.forHorizon!(7).config).toEqual({
    name: 'piecewise-linear',
    values: [0.1, 'meta.log(0.2)'],
    timescale: 7,
  });
  const inner = made.accumulateGradients({ batches: 3, optimizer: made.withWeightDecay({ optimizer }) });
  const bound = inner.forHorizon!(13);
  expect(bound.config).toMatchObject({ optimizer: { optimizer: { learningRate: { ...config, timescale: 5 } } } });
  await expectSame(bound);
});

describe('without a name there is no config', () => {
  const at = (): tf.Tensor => tf.scalar(0.1);
  const schedule: Schedule = { kind: 'schedule', name: 'cosine', parameters: {}, at };
  const own: LearnedOptimizer = { ...made.adam(), optimizer: (theta) => made.sgd().optimizer(theta) };

  test.each<[string, LearnedOptimizer]>([
    ['a schedule of its own', made.sgd({ learningRate: schedule })],
    ['a copy that does something else', own],
    ['one around such a one', made.clipGradients({ maxNorm: 1, optimizer: own })],
    ['one that grafts such a one', made.graft({ direction: made.adam(), magnitude: own })],
    ['a schedule that is a copy', made.adam({ beta1: { ...made.constant({ value: 0.5 }), at } })],
  ])('%s', (_, optimizer) => {
    expect(optimizer.config).toBeUndefined();
  });

  test('one that is given a name has it, and those around it', () => {
    const named = withConfig('mine', { width: 3, rate: meta.log(0.1) }, { ...own });
    expect(named.config).toEqual({ name: 'mine', width: 3, rate: 'meta.log(0.1)' });
    expect(made.clipGradients({ maxNorm: 1, optimizer: named }).config).toEqual({
      name: 'clip-gradients',
      maxNorm: 1,
      optimizer: named.config,
    });
  });
});
