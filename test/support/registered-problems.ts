/** Problems that the native engine is held to as a whole: what is registered, what presets make of it, and the bench's. */
import * as tf from '@tensorflow/tfjs';
import { smallLopt, largeLopt } from '../../bench/cases/lopt';
import { arrayDataset } from '../../datasets';
import { adam, cosine, inverseTime, learnableSgdm, sgd } from '../../learned-optimizers';
import { createContainer } from '../../src/container';
import { meta, type UnrolledProblem } from '../../src/contracts';
import type { TracedProblem } from '../../src/graph/program';
import { prepareRun, resolveConfig, unroll } from '../../src/outer';
import { normals } from '../../src/random';
import {
  influenceBalancing,
  layersModelTask,
  lorenz,
  manyHyperparameters,
  mlp,
  quadraticProblem,
  quadraticTask,
} from '../../tasks';
import { initialTheta } from './run-problem';

export interface ProblemCase {
  readonly name: string;
  readonly problem: () => Promise<UnrolledProblem>;
}

const CLASSES = 3;

/** Sixty rows of four features and three classes. */
function tinyData() {
  const rows = 60;
  const labels = Array.from({ length: rows }, (_, i) => (i * 7) % CLASSES);
  return arrayDataset({ xs: normals([3, 1], rows * 4), ys: labels, inputShape: [4], classes: CLASSES });
}

const tinyMlp = () => mlp({ data: tinyData(), hidden: [5], activation: 'gelu', batchSize: 8 });

/** A model of TensorFlow.js' layers: dropout draws at every step, layer normalisation reduces by rows. */
function tinyLayers() {
  const model = (): tf.LayersModel =>
    tf.sequential({
      layers: [
        tf.layers.dense({ units: 6, activation: 'elu', inputShape: [4] }),
        tf.layers.dropout({ rate: 0.5 }),
        tf.layers.layerNormalization(),
        tf.layers.dense({ units: CLASSES, activation: 'softmax' }),
      ],
    });
  return layersModelTask(model, { data: tinyData(), loss: 'sparseCategoricalCrossentropy', batchSize: 8 });
}

const objective = { metric: 'loss', split: 'validation', over: 'sum' } as const;

/** Whatever is registered, small: a second of the compiler's each. */
export const SMALL_PROBLEMS: readonly ProblemCase[] = [
  { name: 'quadratic', problem: () => Promise.resolve(quadraticProblem()) },
  { name: 'influence-balancing', problem: () => Promise.resolve(influenceBalancing()) },
  { name: 'lorenz', problem: () => Promise.resolve(lorenz()) },
  {
    name: 'quadratic task, learnable momentum',
    problem: () =>
      Promise.resolve(
        unroll({
          task: quadraticTask({ size: 5 }),
          optimizer: learnableSgdm(),
          objective: { metric: 'loss', split: 'train', over: 'sum' },
          horizon: 50,
        }),
      ),
  },
  {
    name: 'mlp, SGD with momentum on a schedule',
    problem: () =>
      Promise.resolve(
        unroll({
          task: tinyMlp(),
          optimizer: sgd({
            momentum: 0.9,
            nesterov: true,
            learningRate: inverseTime({ initial: meta.log(0.05), decay: meta.log(30), timescale: 50 }),
          }),
          objective,
          horizon: 50,
        }),
      ),
  },
  {
    name: 'layers model, Adam',
    problem: () =>
      Promise.resolve(
        unroll({
          task: tinyLayers(),
          optimizer: adam({ learningRate: cosine({ initial: meta.log(0.01), final: 1e-3, warmup: 0.1 }) }),
          objective,
          horizon: 50,
        }),
      ),
  },
  {
    name: 'many-hyperparameters',
    problem: () =>
      Promise.resolve(manyHyperparameters({ data: tinyData(), layers: 2, units: 6, batchSize: 8, horizon: 50 })),
  },
];

/** What a preset trains on instead of data that would have to be fetched: MNIST, of the same shape, or as small images. */
const INSTEAD: Readonly<
  Record<string, readonly { readonly key: string; readonly value: string | boolean | number }[]>
> = {
  'fashion-mnist': [{ key: 'data.name', value: 'mnist' }],
  'cifar-10': [
    { key: 'data.name', value: 'mnist' },
    { key: 'data.flatten', value: false },
    { key: 'data.size', value: 8 },
  ],
};

async function presetProblem(preset: string): Promise<UnrolledProblem> {
  const container = createContainer();
  const { data } = container.preset(preset).config as { readonly data?: { readonly name: string } };
  const overrides = INSTEAD[data?.name ?? ''] ?? [];
  return (await prepareRun(resolveConfig({ preset }, overrides, container), container)).plan.problem;
}

export const PRESET_PROBLEMS: readonly ProblemCase[] = createContainer()
  .names('preset')
  .map((name) => ({ name: `preset ${name}`, problem: () => presetProblem(name) }));

export const BENCH_PROBLEMS: readonly ProblemCase[] = [
  { name: 'lopt 64-32-32-32-10', problem: smallLopt },
  { name: 'lopt 784-32-10', problem: largeLopt },
];

/** θ₀ for each of `count` particles, each number moved by up to ±`spread` of its own size (at least of 1). */
export function spreadThetas(traced: TracedProblem, count: number, spread: number): Float64Array {
  const base = initialTheta(traced.problem).flat();
  const moves = normals([17, count], count * base.length);
  return Float64Array.from({ length: count * base.length }, (_, at) => {
    const value = base[at % base.length];
    return value + spread * Math.max(1, Math.abs(value)) * Math.tanh(moves[at]);
  });
}
