/** The optimizer that `tune` has found: used at once, written to a file, read from the run's folder. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {
  adam,
  clipGradients,
  cosine,
  definePlugin,
  encodeWeights,
  loadOptimizer,
  meta,
  nres,
  outer,
  pes,
  quadraticProblem,
  quadraticTask,
  RunDirectoryError,
  sgd,
  tune,
  use,
  UserError,
  WeightsError,
  withConfig,
  type LearnedOptimizer,
  type TrainableOptimizer,
  type TuneOptions,
} from 'outerloop';
import { optimizerOfRun, readRunConfig } from '../../src/outer/run-directory';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => tf.setBackend('cpu'));

const HORIZON = 20;
const options = {
  task: quadraticTask({ size: 3 }),
  // The timescale is left to the horizon.
  optimizer: sgd({ learningRate: cosine({ initial: meta.log(0.05), warmup: 0.2 }), momentum: 0.5 }),
  horizon: HORIZON,
  estimator: nres({ pairs: 4, sigma: 0.1, window: 10 }),
  outerOptimizer: outer.adam({ learningRate: 0.2 }),
  iterations: 5,
  engine: 'reference',
} as const satisfies TuneOptions;

const X = [
  [1, 0.5, -1],
  [0.25, -2, 0.75],
  [-1.5, 1, 0.5],
  [0.5, 0.25, 2],
];
const Y = [1, -0.5, 2, 0.25];
const [W0, EPOCHS] = [[0.5, -0.25, 0.125], 12];

/** Losses of fitting y = xw + b by its mean squared error, the whole data at each step. */
async function lossesBy(
  optimizer: tf.Optimizer,
  callback?: tf.Callback,
  calls: readonly number[] = [EPOCHS],
): Promise<number[]> {
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [3] })] });
  model.setWeights([tf.tensor2d(W0, [3, 1]), tf.tensor1d([0])]);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const losses: number[] = [];
  for (const epochs of calls) {
    const { history } = await model.fit(tf.tensor2d(X), tf.tensor2d(Y, [4, 1]), {
      ...{ epochs, batchSize: 4, shuffle: false, yieldEvery: 'never' },
      ...(callback === undefined ? {} : { callbacks: [callback] }),
    });
    losses.push(...(history.loss as number[]));
  }
  return losses;
}

/** The same in float64: v = 0.5v + g, p −= α(t)v with α half a cosine from the tuned rate, after a warm-up over a fifth. */
function lossesByHand(rate: number): number[] {
  const [w, v] = [
    [...W0, 0],
    [0, 0, 0, 0],
  ];
  return Array.from({ length: EPOCHS }, (_, t) => {
    const rows = X.map((x) => [...x, 1]);
    const errors = rows.map((x, i) => x.reduce((sum, xj, j) => sum + xj * w[j], -Y[i]));
    const done = t / HORIZON;
    const falling = (rate * (1 + Math.cos(Math.PI * Math.max(0, (done - 0.2) / 0.8)))) / 2;
    const alpha = falling * Math.min(1, done / 0.2);
    for (let j = 0; j < 4; j++) {
      v[j] = 0.5 * v[j] + rows.reduce((sum, x, i) => sum + (2 * errors[i] * x[j]) / 4, 0);
      w[j] -= alpha * v[j];
    }
    return errors.reduce((sum, e) => sum + e * e, 0) / 4;
  });
}

test('trains a model with the losses of its recurrence, at the rate that was found', async () => {
  const out = join(folder, 'run');
  const result = await tune({ ...options, out });
  const [stored] = result.theta;
  expect(Math.abs(stored - Math.log(0.05))).toBeGreaterThan(0.1);
  const expected = lossesByHand(Math.exp(stored));
  const optimizer = result.optimizer();
  expect(optimizer).toBeInstanceOf(tf.Optimizer);
  const losses = await lossesBy(optimizer);
  expected.forEach((loss, t) => expect(Math.abs(losses[t] / loss - 1)).toBeLessThan(2e-6));
  // What it moves by, and what the rate that it started from would have given, are far from that.
  expect(losses[EPOCHS - 1]).toBeLessThan(0.9 * losses[0]);
  const untuned = lossesByHand(0.05)[EPOCHS - 1];
  expect(Math.abs(untuned / losses[EPOCHS - 1] - 1)).toBeGreaterThan(1e-2);
  // Each call's state is its own.
  expect(await lossesBy(result.optimizer())).toEqual(losses);

  const file = join(folder, 'tuned.safetensors');
  await result.save(file);
  const exported = encodeWeights(await optimizerOfRun(out, testContainer()));
  expect(Buffer.compare(readFileSync(file), exported)).toBe(0);
  for (const path of [file, out]) expect(await lossesBy(await loadOptimizer(path))).toEqual(losses);
  const { weights } = await loadOptimizer(file);
  expect(weights.optimizer).toEqual({
    name: 'sgd',
    learningRate: { name: 'cosine', initial: 'meta.log(0.05)', final: 0, warmup: 0.2, timescale: HORIZON },
    momentum: 0.5,
    nesterov: false,
  });
  expect(weights.record).toMatchObject({
    iterations: 5,
    seed: 0,
    task: { name: 'quadratic' },
    horizon: HORIZON,
    estimator: { name: 'nres', sigma: 0.1 },
    after: { mean: result.after!.mean },
  });
});

describe('the schedule that was found, as a callback of model.fit', () => {
  const far = (losses: readonly number[], expected: readonly number[]): number =>
    Math.max(...expected.map((loss, t) => Math.abs(losses[t] / loss - 1)));

  test('gives an optimizer of tf.train its rate step by step, from fit to fit', async () => {
    const result = await tune(options);
    const expected = lossesByHand(Math.exp(result.theta[0]));
    for (const calls of [[EPOCHS], [3, 4, EPOCHS - 7]]) {
      const losses = await lossesBy(tf.train.momentum(123, 0.5), result.callback(), calls);
      expect(far(losses, expected)).toBeLessThan(2e-6);
    }
  });

  test('a rate that is the same at every step; optimizers that keep theirs as a number', async () => {
    const constant = await tune({ ...options, optimizer: adam({ learningRate: meta.log(0.05) }) });
    const rate = constant.description!.values.learningRate;
    expect(Math.abs(rate / 0.05 - 1)).toBeGreaterThan(0.1);
    const losses = await lossesBy(tf.train.adam(123, 0.9, 0.999, 1e-8), constant.callback());
    expect(far(losses, await lossesBy(tf.train.adam(rate, 0.9, 0.999, 1e-8)))).toBeLessThan(1e-6);
  });

  test.each<[string, TuneOptions, string]>([
    [
      'more than the rate',
      { ...options, optimizer: sgd({ learningRate: meta.log(0.05), momentum: meta.logit(0.5) }) },
      'expected a run that tuned "learningRate", got learningRate, momentum. Compile the model with result.optimizer()',
    ],
    [
      'another number',
      { ...options, optimizer: sgd({ learningRate: 0.05, momentum: meta.logit(0.5) }) },
      'expected a run that tuned "learningRate", got momentum.',
    ],
  ])('refused, where what was tuned is %s', async (_, given, message) => {
    const result = await tune({ ...given, iterations: 1 });
    expect(() => result.callback()).toThrow(UserError);
    expect(() => result.callback()).toThrow(message);
  });

  test('refused by a model whose optimizer has no rate', async () => {
    const result = await tune({ ...options, iterations: 1 });
    await expect(lossesBy(result.optimizer(), result.callback())).rejects.toThrow(
      'expected one of tf.train, got a OuterloopOptimizer without such a number',
    );
  });
});

test.each([
  ['an average of θ', { thetaAverage: 0.5 }],
  ['the best θ', { outerOptimizer: outer.adam({ learningRate: 3 }), evaluation: { every: 1, select: 'best' } }],
  [
    'the best θ beside held-out tasks',
    {
      outerOptimizer: outer.adam({ learningRate: 3 }),
      evaluation: { every: 1, select: 'best', tasks: [{ name: 'longer', task: options.task, horizon: 2 * HORIZON }] },
    },
  ],
] as const)('is of %s, where the run ends with that', async (what, more) => {
  const out = join(folder, what.replaceAll(' ', '-'));
  const result = await tune({ ...options, ...more, out });
  const theta = result.best?.theta ?? result.thetaAverage!;
  const { weights } = result.optimizer();
  expect(weights.theta).toEqual(Float32Array.from(theta));
  if (result.best === undefined) expect(weights.theta).not.toEqual(Float32Array.from(result.theta));
  else expect(weights.record.iterations).toBeLessThan(5);
  const file = `${out}.safetensors`;
  await result.save(file);
  expect(Buffer.compare(readFileSync(file), encodeWeights(await optimizerOfRun(out, testContainer())))).toBe(0);
});

test('a run that was cut short gives what it has', async () => {
  const controller = new AbortController();
  const result = await tune({
    ...options,
    signal: controller.signal,
    onEvent: ({ type }) => (type === 'iteration' ? controller.abort() : undefined),
  });
  expect(result).toMatchObject({ interrupted: true, iterations: 1 });
  const { theta, record } = result.optimizer().weights;
  expect(theta).toEqual(Float32Array.from(result.theta));
  expect(record).toMatchObject({ iterations: 1, after: null });
});

/** SGD at twice its rate, of parameters that are a list. */
const own = (): LearnedOptimizer => ({
  ...sgd({ learningRate: meta.log(0.05) }),
  name: 'mine',
  forHorizon: undefined,
  optimizer: (theta) => ({
    init: () => ({}),
    update: ({ params, gradients, state }) => ({
      params: (params as tf.Tensor[]).map((p, i) =>
        tf.sub(
          p,
          tf.mul(tf.mul(tf.exp((theta as { learningRate: tf.Scalar }).learningRate), 2), (gradients as tf.Tensor[])[i]),
        ),
      ),
      state,
    }),
  }),
});
/** How far one step goes at a gradient of 1. */
function stepOf(optimizer: TrainableOptimizer): number {
  const variable = tf.variable(tf.scalar(1));
  optimizer.applyGradients([{ name: variable.name, tensor: tf.scalar(1) }]);
  return 1 - variable.dataSync()[0];
}
const listTask = {
  name: 'bowl',
  init: () => [tf.tensor1d([1, -2])],
  loss: (params: tf.Tensor[]) => tf.sum(tf.square(params[0])),
} as unknown as (typeof options)['task'];

test('one without a config is of use in this process, and says what a file lacks', async () => {
  const out = join(folder, 'own');
  const result = await tune({ ...options, task: listTask, optimizer: own(), out });
  expect(stepOf(result.optimizer()) / (2 * Math.exp(result.theta[0]))).toBeCloseTo(1, 6);
  const says = /the optimizer "mine" cannot be built again .* expected its config, \{name, …options\}, got none/;
  const file = join(folder, 'own.safetensors');
  const saving = result.save(file);
  await expect(saving).rejects.toThrow(WeightsError);
  await expect(saving).rejects.toThrow(says);
  await expect(saving).rejects.toThrow('Register it in a plugin');
  expect(() => readFileSync(file)).toThrow('ENOENT');
  expect(() => result.optimizer().getConfig()).toThrow(says);
  await expect(loadOptimizer(out)).rejects.toThrow(says);
  // One around it cannot be built either.
  const clipped = await tune({
    ...options,
    task: listTask,
    optimizer: clipGradients({ maxNorm: 9, optimizer: own() }),
  });
  await expect(clipped.save(file)).rejects.toThrow('the optimizer "clip-gradients(mine)" cannot be built again');
});

test('one of a plugin is read with the plugin', async () => {
  const out = join(folder, 'plugin');
  const file = `${out}.safetensors`;
  const plugin = definePlugin(({ optimizer }) => optimizer('mine', own));
  const result = await tune({ ...options, task: listTask, optimizer: withConfig('mine', {}, own()), out });
  await result.save(file);
  const container = use(plugin);
  const step = stepOf(result.optimizer());
  for (const path of [file, out]) expect(stepOf(await loadOptimizer(path, { container }))).toBe(step);
  await expect(loadOptimizer(file)).rejects.toThrow(WeightsError);
  await expect(loadOptimizer(out)).rejects.toThrow(RunDirectoryError);
  for (const path of [file, out]) {
    await expect(loadOptimizer(path)).rejects.toThrow(/unknown optimizer "mine".* Hand in the plugin that brings it/);
  }
});

test('a problem has no optimizer', async () => {
  const out = join(folder, 'problem');
  const result = await tune({
    problem: quadraticProblem({ horizon: 20 }),
    ...{ estimator: pes({ pairs: 2, sigma: 0.1, window: 10 }), iterations: 1, engine: 'reference', out },
  });
  expect(() => result.optimizer()).toThrow(UserError);
  await expect(result.save(join(folder, 'problem.safetensors'))).rejects.toThrow('which has no optimizer');
  await expect(loadOptimizer(out)).rejects.toThrow('expected a run of a task and an optimizer');
});

test('a run of an earlier version, which recorded a name alone, is not taken for one of its defaults', async () => {
  const out = join(folder, 'earlier');
  await tune({ ...options, out, iterations: 1 });
  const { run, ...config } = readRunConfig(out);
  const { namedOptimizer, ...before } = run;
  expect(namedOptimizer).toBe(true);
  writeFileSync(join(out, 'config.json'), JSON.stringify({ ...config, optimizer: { name: 'sgd' }, run: before }));
  await expect(loadOptimizer(out)).rejects.toThrow('expected its config');
});

test('another fixed number is another run; one without an end is resumed', async () => {
  const out = join(folder, 'resumed');
  const endless = {
    ...{ ...options, horizon: Infinity, estimator: pes({ pairs: 2, sigma: 0.1, window: 10 }) },
    ...{ optimizer: adam({ learningRate: meta.log(0.05), beta1: 0.8 }), iterations: 1, out },
  } as const satisfies TuneOptions;
  await tune(endless);
  const resumed = { ...endless, iterations: 2, resume: true };
  await expect(tune({ ...resumed, optimizer: adam({ learningRate: meta.log(0.05) }) })).rejects.toThrow(
    'was run with other settings (optimizer:',
  );
  const result = await tune(resumed);
  expect(result.iterations).toBe(2);
  expect((await loadOptimizer(out)).weights.theta).toEqual(Float32Array.from(result.theta));
});
