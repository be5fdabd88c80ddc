/** What is timed. A window case is one row: a problem, how many particles, how many inner steps a window. */
import * as tf from '@tensorflow/tfjs';
import { mnist } from '../../datasets';
import { inverseTime, sgd } from '../../learned-optimizers';
import { meta, type StepResult, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { influenceBalancing, lorenz, mlp } from '../../tasks';
import type { JaxProgram } from '../candidates/jax';
import { convFlops, convolutional } from './conv';
import { GRADIENT_CASES } from './gradient';
import { ADAFAC, largeLopt, PER_PARAMETER, smallAdafac, smallLopt } from './lopt';

export interface BenchCase {
  readonly name: string;
  /** Tells rows of one name and size apart: the objective, the inner network; '' where there is but one. */
  readonly variant: string;
  readonly particles: number;
  /** W. */
  readonly window: number;
  /** Windows that a round times, one after the other; 1 where a window is long enough for a clock. */
  readonly windows: number;
  /** σ of the perturbation, that of the published experiment. */
  readonly sigma: number;
  /** Floating-point operations of one inner step of one particle, counted by hand; how, stands at each case. */
  readonly flopsPerStep: number;
  readonly problem: () => Promise<UnrolledProblem>;
  /** A window of the engine is held against the same window of the float64 reference. */
  readonly check: {
    readonly particles: number;
    readonly steps: number;
    /** Largest deviation of a particle's loss, summed and last, relative to its size. */
    readonly tolerance: number;
  };
  /** The same in JAX: a program of peers/jax/programs and its options. */
  readonly jax: JaxProgram;
  /** The hand-written C of the same window, if there is one (peers/reference-c.ts): program and arguments. */
  readonly reference?: { readonly program: 'mnist' | 'lopt' | 'lor' | 'inf'; readonly arguments: readonly string[] };
}

/** Tuning the two-parameter schedule of SGD with momentum on an MLP on MNIST, on a fresh validation batch a step. */
async function mnistSchedule(
  size: number,
  hidden: readonly number[],
  batchSize: number,
  horizon: number,
  metric: 'loss' | 'accuracy' = 'loss',
): Promise<UnrolledProblem> {
  return unroll({
    task: mlp({ data: await mnist({ size }), hidden, activation: 'relu', batchSize }),
    optimizer: sgd({
      momentum: 0.9,
      learningRate: inverseTime({ initial: meta.log(0.003), decay: meta.log(30), timescale: horizon }),
    }),
    objective: { metric, split: 'validation', over: 'sum' },
    horizon,
  });
}

/**
 * Products of an MLP only, as everyone counts: training forward, weight gradients and the gradients by activations (not
 * by the inputs), and a second forward on the validation batch.
 */
function mlpFlops(widths: readonly number[], batch: number): number {
  const weights = widths.slice(1).reduce((sum, width, i) => sum + widths[i] * width, 0);
  const behindFirst = weights - widths[0] * widths[1];
  return 2 * batch * (2 * weights + behindFirst) + 2 * batch * weights;
}

/**
 * The inner MLP's, and those of the optimizer's network at every parameter. Of the network's first product only the
 * features that differ between parameters count: the eleven of time are one vector for all.
 */
function loptFlops(widths: readonly number[], batch: number, network: readonly number[]): number {
  const parameters = widths.slice(1).reduce((sum, width, i) => sum + (widths[i] + 1) * width, 0);
  const products = network.slice(1).reduce((sum, width, i) => sum + network[i] * width, 0);
  return mlpFlops(widths, batch) + 2 * parameters * products;
}

/** 784-100-100-10, batch 100: 55.8 MFLOP a step. float32 losses of three steps from one state agree to about 1e-6. */
const mnistWindow = {
  name: 'mnist-window',
  variant: 'loss',
  windows: 1,
  sigma: 0.1,
  flopsPerStep: mlpFlops([784, 100, 100, 10], 100),
  problem: () => mnistSchedule(28, [100, 100], 100, 5000),
  check: { particles: 2, steps: 3, tolerance: 1e-4 },
};
function mnistRow(particles: number, window: number): BenchCase {
  return {
    ...mnistWindow,
    particles,
    window,
    jax: { program: 'mnist', options: { particles, window } },
    reference: { program: 'mnist', arguments: [String(particles), String(window)] },
  };
}

/** θ's noise is small and the first updates are of 1e-3, so that losses agree to about 1e-7. */
const loptWindow = {
  name: 'lopt-window',
  windows: 1,
  sigma: 0.01,
  check: { particles: 2, steps: 3, tolerance: 1e-5 },
};
function loptRow(particles: number, window: number): BenchCase {
  return {
    ...loptWindow,
    variant: '64-32-32-32-10',
    particles,
    window,
    flopsPerStep: loptFlops([64, 32, 32, 32, 10], 128, PER_PARAMETER),
    problem: smallLopt,
    jax: { program: 'lopt', options: { particles, window } },
    reference: { program: 'lopt', arguments: [String(particles), String(window)] },
  };
}

function adafacRow(particles: number, window: number): BenchCase {
  return {
    ...loptWindow,
    name: 'adafac-window',
    variant: '64-32-32-32-10',
    particles,
    window,
    flopsPerStep: loptFlops([64, 32, 32, 32, 10], 128, ADAFAC),
    problem: smallAdafac,
    jax: { program: 'adafac', options: { particles, window } },
  };
}

/**
 * Influence balancing with its matrix written as a matrix: s' = A·s + θ·sign, the form of the hand-written C that the
 * case is held against. The registered problem shifts and adds instead, and is a row of its own.
 */
export function denseInfluenceBalancing(): UnrolledProblem {
  const size = 23;
  const positive = 10;
  const half = (i: number, j: number): number => (i === j || j === i + 1 ? 0.5 : 0);
  const rows = Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => half(i, j)));
  return {
    name: 'influence-balancing (dense)',
    horizon: Infinity,
    initTheta: () => ({ theta: tf.scalar(0.5) }),
    initState: () => ({ s: tf.ones([size, 1]) }),
    step: (theta: TensorTree, state: TensorTree): StepResult<TensorTree> => {
      const { theta: value } = theta as { theta: tf.Scalar };
      const { s: before } = state as { s: tf.Tensor2D };
      const sign = tf.tensor2d(Array.from({ length: size }, (_, i) => [i < positive ? 1 : -1]));
      const s = tf.add(tf.matMul(tf.tensor2d(rows), before), tf.mul(value, sign));
      return { state: { s }, loss: tf.mul(tf.square(tf.sub(tf.reshape(tf.slice(s, [0, 0], [1, 1]), []), 1)), 0.5) };
    },
  };
}

const influence = {
  name: 'influence',
  particles: 1000,
  window: 1,
  windows: 300,
  sigma: 0.1,
  check: { particles: 8, steps: 50, tolerance: 1e-4 },
};

export const WINDOW_CASES: readonly BenchCase[] = [
  mnistRow(100, 10),
  {
    ...mnistWindow,
    variant: 'accuracy',
    particles: 100,
    window: 10,
    problem: () => mnistSchedule(28, [100, 100], 100, 5000, 'accuracy'),
    // Of 100 rows one may fall to another class where its two largest logits are equal to float32; accuracies here are
    // of 0.1 and more, so that one row of one step is at most a tenth.
    check: { particles: 2, steps: 3, tolerance: 0.1 },
    jax: { program: 'mnist', options: { particles: 100, window: 10, metric: 'accuracy' } },
  },
  mnistRow(16, 100),
  mnistRow(1000, 10),
  loptRow(20, 10),
  loptRow(200, 1),
  {
    ...loptWindow,
    variant: '784-32-10',
    particles: 8,
    window: 10,
    flopsPerStep: loptFlops([784, 32, 10], 128, PER_PARAMETER),
    problem: largeLopt,
    jax: { program: 'lopt', options: { particles: 8, window: 10, widths: [784, 32, 10] } },
  },
  {
    name: 'lorenz-window',
    variant: '',
    particles: 4000,
    window: 100,
    // One takes a tenth of a millisecond: the clock, and threads that have slept, would be measured.
    windows: 100,
    sigma: 0.04,
    // Two trajectories: x 4, y 5, z 5 operations each; the squared difference 2.
    flopsPerStep: 30,
    problem: () => Promise.resolve(lorenz()),
    // Rounding errors grow with the system's own rate, by less than ten over half a time unit.
    check: { particles: 8, steps: 100, tolerance: 1e-3 },
    jax: { program: 'lorenz', options: { particles: 4000, window: 100, windows: 100 } },
    reference: { program: 'lor', arguments: ['4000'] },
  },
  {
    ...influence,
    variant: 'dense',
    // A s: 2·23² operations; θ·sign: a product and an addition an element; the loss 3.
    flopsPerStep: 2 * 23 * 23 + 2 * 23 + 3,
    problem: () => Promise.resolve(denseInfluenceBalancing()),
    jax: { program: 'influence', options: { particles: 1000, dense: true } },
    reference: { program: 'inf', arguments: [] },
  },
  {
    ...influence,
    variant: 'banded',
    // A s as a banded product: an addition and a halving an element; θ·sign: a product and an addition; the loss 3.
    flopsPerStep: 4 * 23 + 3,
    problem: () => Promise.resolve(influenceBalancing()),
    jax: { program: 'influence', options: { particles: 1000, dense: false } },
  },
  {
    name: 'conv-window',
    variant: '32-32-32-32',
    particles: 10,
    window: 10,
    windows: 1,
    sigma: 0.1,
    flopsPerStep: convFlops(),
    problem: convolutional,
    check: { particles: 2, steps: 1, tolerance: 1e-5 },
    jax: { program: 'conv', options: { particles: 10, window: 10 } },
  },
  // At the end: others are known by their place.
  adafacRow(20, 10),
  adafacRow(200, 1),
];

/** What the overhead beyond the kernels is measured on, 100 particles each. */
export const OVERHEAD_CASES: readonly BenchCase[] = [
  { ...WINDOW_CASES[0], window: 2 },
  {
    ...WINDOW_CASES[0],
    // A network as small as those that documentation is full of.
    name: 'mnist-small',
    window: 20,
    flopsPerStep: mlpFlops([64, 32, 10], 32),
    problem: () => mnistSchedule(8, [32], 32, 200),
  },
  { ...WINDOW_CASES[7], particles: 100, windows: 1 },
  { ...WINDOW_CASES[9], particles: 100, window: 20, windows: 1 },
];

/** The window case on whose problem compile times, threads and curves are measured. */
export const MAIN_CASE = 0;
/** Rows that are also measured on one thread. */
export const THREAD_CASES: readonly number[] = [0, 4, 7];

/** The problem of the curves, at a horizon of one's choice. */
export const curveProblem = (horizon: number): Promise<UnrolledProblem> => mnistSchedule(28, [100, 100], 100, horizon);

export const CASE_NAMES = [
  ...new Set([...WINDOW_CASES, ...GRADIENT_CASES].map(({ name }) => name)),
  'outer',
  'compile',
  'threads',
  'curves',
  'fit',
  'tfjs-overhead',
  'tfjs-forms',
];
