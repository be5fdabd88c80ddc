/** Problems with a closed form: what estimators and optimizers can be held against. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { Registrar, StepResult, Task, TensorTree, UnrolledProblem } from '../src/contracts';
import { checkPositiveInteger } from './with-data';

export interface QuadraticTaskOptions {
  /** Number of parameters; 10 by default. */
  readonly size?: number;
  /** Ratio of the largest to the smallest curvature; 10 by default, at least 1. */
  readonly condition?: number;
}

/** Curvatures from 1/condition to 1, evenly spaced in logarithm; 1 alone for one parameter. */
export function quadraticCurvatures({ size = 10, condition = 10 }: QuadraticTaskOptions = {}): number[] {
  return Array.from({ length: size }, (_, i) => condition ** (size === 1 ? 0 : i / (size - 1) - 1));
}

/**
 * ½ Σ hᵢxᵢ² from x = 1, without data. Gradient descent at a constant rate α is known in closed form: xᵢ = (1 − αhᵢ)^t
 * after t steps.
 */
export function quadraticTask(options: QuadraticTaskOptions = {}): Task {
  checkPositiveInteger('task.size', options.size ?? 10);
  const curvatures = quadraticCurvatures(options);
  return {
    name: 'quadratic',
    init: () => ({ x: tf.ones([curvatures.length]) }),
    loss: (params) => {
      const { x } = params as { x: tf.Tensor };
      return tf.mul(tf.sum(tf.mul(tf.tensor1d(curvatures), tf.square(x))), 0.5);
    },
  };
}

type Matrix = readonly [readonly [number, number], readonly [number, number]];
type Vector = readonly [number, number];

/** s' = A s + B θ from s₀ = START, loss ½‖s' − TARGET‖²; the eigenvalues of A are 0.9 ± 0.2i. */
const A: Matrix = [
  [0.9, 0.2],
  [-0.2, 0.9],
];
const B: Matrix = [
  [0.5, 0],
  [0.2, 0.4],
];
const START: Vector = [1, -1];
const TARGET: Vector = [1, 0.5];

const apply = (m: Matrix, v: Vector): Vector => [m[0][0] * v[0] + m[0][1] * v[1], m[1][0] * v[0] + m[1][1] * v[1]];
const times = (m: Matrix, n: Matrix): Matrix => [
  [m[0][0] * n[0][0] + m[0][1] * n[1][0], m[0][0] * n[0][1] + m[0][1] * n[1][1]],
  [m[1][0] * n[0][0] + m[1][1] * n[1][0], m[1][0] * n[0][1] + m[1][1] * n[1][1]],
];
const plus = (m: Matrix, n: Matrix): Matrix => [
  [m[0][0] + n[0][0], m[0][1] + n[0][1]],
  [m[1][0] + n[1][0], m[1][1] + n[1][1]],
];

/**
 * Mean loss over the horizon and its gradient by θ, in float64, from s_t = A^t s₀ + (Σ_{k<t} A^k) B θ. The loss is
 * quadratic in θ, so that smoothing with any Gaussian of mean 0 leaves the gradient as it is: this is what every unbiased
 * evolutionary estimator estimates, PES with its fresh noise in each window included.
 */
export function quadraticClosedForm(
  theta: readonly [number, number],
  horizon: number,
): { readonly meanLoss: number; readonly gradient: [number, number] } {
  let power: Matrix = [
    [1, 0],
    [0, 1],
  ];
  let sum: Matrix = [
    [0, 0],
    [0, 0],
  ];
  let loss = 0;
  const gradient: [number, number] = [0, 0];
  for (let t = 1; t <= horizon; t++) {
    sum = plus(sum, power);
    power = times(A, power);
    const jacobian = times(sum, B);
    const free = apply(power, START);
    const driven = apply(jacobian, theta);
    const error: Vector = [free[0] + driven[0] - TARGET[0], free[1] + driven[1] - TARGET[1]];
    loss += (error[0] ** 2 + error[1] ** 2) / 2;
    gradient[0] += jacobian[0][0] * error[0] + jacobian[1][0] * error[1];
    gradient[1] += jacobian[0][1] * error[0] + jacobian[1][1] * error[1];
  }
  return { meanLoss: loss / horizon, gradient: [gradient[0] / horizon, gradient[1] / horizon] };
}

/** A linear system with quadratic loss: θ of size 2, state of size 2; see `quadraticClosedForm`. */
export function quadraticProblem({ horizon = 100 }: { readonly horizon?: number } = {}): UnrolledProblem {
  const matrix = (m: Matrix): tf.Tensor2D => tf.tensor2d(m.flat(), [2, 2]);
  const product = (m: Matrix, v: tf.Tensor): tf.Tensor =>
    tf.reshape(tf.matMul(matrix(m), tf.reshape<tf.Rank.R2>(v, [2, 1])), [2]);
  const problem = {
    name: 'quadratic',
    horizon,
    initTheta: () => ({ theta: tf.zeros([2]) }),
    initState: () => ({ s: tf.tensor1d([...START]) }),
    step: (theta: TensorTree, state: TensorTree): StepResult<TensorTree> => {
      const { theta: control } = theta as { theta: tf.Tensor };
      const s = tf.add(product(A, (state as { s: tf.Tensor }).s), product(B, control));
      const loss = tf.mul(tf.sum(tf.square(tf.sub(s, tf.tensor1d([...TARGET])))), 0.5);
      return { state: { s }, loss };
    },
    describeTheta: (theta: TensorTree) => {
      const [first, second] = (theta as { theta: tf.Tensor }).theta.dataSync();
      return { values: { 'theta.0': first, 'theta.1': second } };
    },
  };
  if (!Number.isFinite(horizon)) return problem;
  return {
    ...problem,
    // Nothing here is random: one start says it all.
    evaluation: { metric: 'mean loss', minimise: true, problem, particles: 1, measure: 'mean' },
  };
}

export function registerQuadratic({ task, problem, preset }: Registrar): void {
  task('quadratic', {
    description: '½ Σ hᵢxᵢ², without data; gradient descent on it has a closed form',
    options: z.strictObject({
      size: z.int().positive().default(10),
      condition: z.number().min(1).default(10),
    }),
    create: quadraticTask,
  });
  problem('quadratic', {
    description: 'a linear system with quadratic loss, whose smoothed gradient has a closed form',
    create: (_, { horizon }) => quadraticProblem({ horizon }),
  });
  preset('quadratic', {
    description: 'the closed-form quadratic by NRES; seconds',
    config: {
      problem: { name: 'quadratic' },
      horizon: 100,
      estimator: { name: 'nres', pairs: 16, sigma: 0.1, window: 10 },
      outerOptimizer: { name: 'sgd', learningRate: 0.05 },
      iterations: 200,
      seed: 0,
    },
  });
}
