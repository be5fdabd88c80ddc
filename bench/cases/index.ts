/** What is timed. A case is one row: a problem, how many particles, how many inner steps a window. */
import { mnist } from '../../datasets';
import { inverseTime, sgd } from '../../learned-optimizers';
import { meta, type UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { influenceBalancing, lorenz, mlp } from '../../tasks';

export interface BenchCase {
  readonly name: string;
  readonly particles: number;
  /** W. */
  readonly window: number;
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
}

/** Tuning the two-parameter schedule of SGD with momentum on an MLP on MNIST, on a fresh validation batch a step. */
async function mnistSchedule(size: number, hidden: readonly number[], batchSize: number, horizon: number) {
  return unroll({
    task: mlp({ data: await mnist({ size }), hidden, activation: 'relu', batchSize }),
    optimizer: sgd({
      momentum: 0.9,
      learningRate: inverseTime({ initial: meta.log(0.003), decay: meta.log(30), timescale: horizon }),
    }),
    objective: { metric: 'loss', split: 'validation', over: 'sum' },
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

/** 784-100-100-10, batch 100: 55.8 MFLOP a step. float32 losses of three steps from one state agree to about 1e-6. */
const mnistWindow = {
  name: 'mnist-window',
  sigma: 0.1,
  flopsPerStep: mlpFlops([784, 100, 100, 10], 100),
  problem: () => mnistSchedule(28, [100, 100], 100, 5000),
  check: { particles: 2, steps: 3, tolerance: 1e-4 },
};

export const WINDOW_CASES: readonly BenchCase[] = [
  { ...mnistWindow, particles: 100, window: 10 },
  { ...mnistWindow, particles: 16, window: 100 },
  {
    name: 'lorenz-window',
    particles: 4000,
    window: 100,
    sigma: 0.04,
    // Two trajectories: x 4, y 5, z 5 operations each; the squared difference 2.
    flopsPerStep: 30,
    problem: () => Promise.resolve(lorenz()),
    // Rounding errors grow with the system's own rate, by less than ten over half a time unit.
    check: { particles: 8, steps: 100, tolerance: 1e-3 },
  },
  {
    name: 'influence',
    particles: 1000,
    window: 1,
    sigma: 0.1,
    // A s as a banded product: an addition and a halving an element; θ·sign: a product and an addition; the loss 3.
    flopsPerStep: 4 * 23 + 3,
    problem: () => Promise.resolve(influenceBalancing()),
    check: { particles: 8, steps: 50, tolerance: 1e-4 },
  },
];

/** What the overhead beyond the kernels is measured on, 100 particles each. */
export const OVERHEAD_CASES: readonly BenchCase[] = [
  { ...mnistWindow, particles: 100, window: 2 },
  {
    ...mnistWindow,
    // The network of the preset that `npm start` runs.
    name: 'mnist-lr',
    particles: 100,
    window: 20,
    flopsPerStep: mlpFlops([64, 32, 10], 32),
    problem: () => mnistSchedule(8, [32], 32, 200),
  },
  { ...WINDOW_CASES[2], particles: 100 },
  { ...WINDOW_CASES[3], particles: 100, window: 20 },
];

/** Cases in the order in which they run; the last two are not windows of several engines. */
export const CASE_NAMES = ['mnist-window', 'lorenz-window', 'influence', 'tfjs-overhead', 'tfjs-forms'] as const;
export type CaseName = (typeof CASE_NAMES)[number];
