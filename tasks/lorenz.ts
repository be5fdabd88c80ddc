import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { KeyedRandom, Registrar, StepResult, TensorTree, UnrolledProblem } from '../src/contracts';

/** The constants of Lorenz 1963; b is known. */
const TRUE = { a: 10, r: 28, b: 8 / 3 } as const;
const DT = 0.005;
const START = [1.2, 1.3, 1.6] as const;
/** ln a and ln r at the start of training (Li et al. 2023, §5.1). */
const INITIAL = { a: 3.116, r: 3.7 } as const;

interface Position extends Record<string, TensorTree> {
  x: tf.Tensor;
  y: tf.Tensor;
  z: tf.Tensor;
}
interface LorenzState extends Record<string, TensorTree> {
  position: Position;
  /** The trajectory of the true constants from the same start. */
  target: Position;
}

/** One Euler step. */
function advance({ x, y, z }: Position, a: tf.Tensor | number, r: tf.Tensor | number): Position {
  const euler = (value: tf.Tensor, slope: tf.Tensor): tf.Tensor => tf.add(value, tf.mul(slope, DT));
  return {
    x: euler(x, tf.mul(a, tf.sub(y, x))),
    y: euler(y, tf.sub(tf.mul(x, tf.sub(r, z)), y)),
    z: euler(z, tf.sub(tf.mul(x, y), tf.mul(z, TRUE.b))),
  };
}

export interface LorenzOptions {
  /** Inner steps of an episode; 2000 by default. */
  readonly horizon?: number;
  /** Starts of the evaluation; 1000 by default. */
  readonly evaluationStarts?: number;
}

/**
 * Fitting the constants of a Lorenz system (Li et al. 2023, §5.1): θ = {a: ln a, r: ln r}; Euler steps of 0.005 from the
 * fixed start (1.2, 1.3, 1.6); L_t = (z − z*)² after the step, z* of the trajectory that the true constants give from the
 * same start. Evaluated over the horizon from the start plus N(0, I).
 */
export function lorenz({ horizon = 2000, evaluationStarts = 1000 }: LorenzOptions = {}): UnrolledProblem {
  const from = (start: (axis: number) => tf.Tensor): LorenzState => {
    const position = { x: start(0), y: start(1), z: start(2) };
    return { position, target: { ...position } };
  };
  const problem = {
    name: 'lorenz',
    horizon,
    initTheta: () => ({ a: tf.scalar(INITIAL.a), r: tf.scalar(INITIAL.r) }),
    initState: () => from((axis) => tf.scalar(START[axis])),
    step: (theta: TensorTree, state: TensorTree): StepResult<TensorTree> => {
      const { a, r } = theta as { a: tf.Scalar; r: tf.Scalar };
      const before = state as LorenzState;
      const position = advance(before.position, tf.exp(a), tf.exp(r));
      const target = advance(before.target, TRUE.a, TRUE.r);
      return { state: { position, target }, loss: tf.squaredDifference(position.z, target.z) };
    },
    describeTheta: (theta: TensorTree) => {
      const { a, r } = theta as { a: tf.Scalar; r: tf.Scalar };
      return { values: { a: Math.exp(a.dataSync()[0]), r: Math.exp(r.dataSync()[0]) } };
    },
  };
  const evaluation = {
    ...problem,
    name: 'lorenz (evaluation)',
    initState: (_: TensorTree, random: KeyedRandom) => {
      const noise = random.normal([START.length]) as tf.Tensor1D;
      return from((axis) => tf.add(tf.reshape(tf.slice1d(noise, axis, 1), []), START[axis]));
    },
  };
  return {
    ...problem,
    ...(Number.isFinite(horizon) && {
      evaluation: {
        metric: 'test loss',
        minimise: true,
        problem: evaluation,
        particles: evaluationStarts,
        measure: 'mean' as const,
      },
    }),
  };
}

export function registerLorenz({ problem, preset }: Registrar): void {
  problem('lorenz', {
    description: "fitting two constants of Lorenz's chaotic system",
    options: z.strictObject({ evaluationStarts: z.int().positive().default(1000) }),
    create: (options, { horizon }) => lorenz({ ...options, horizon }),
  });
  preset('lorenz', {
    description: 'Lorenz system by NRES, as published (NRES §5.1)',
    config: {
      problem: { name: 'lorenz' },
      horizon: 2000,
      estimator: { name: 'nres', pairs: 200, sigma: 0.04, window: 100 },
      outerOptimizer: { name: 'sgd', learningRate: 1e-5 },
      iterations: 5000,
      seed: 0,
    },
  });
}
