import type { Scalar, Tensor } from '@tensorflow/tfjs';
import type { Batch, Dataset, Split } from './dataset';
import type { HorizonSchedule } from './horizon';
import type { KeyedRandom } from './random';
import type { Tree } from './tree';

export type TensorTree = Tree<Tensor>;

/** Value and gradient of a scalar function of a tree; `aux` is whatever else the function returned. */
export interface ValueAndGradient<P, A> {
  readonly value: Scalar;
  readonly gradient: P;
  readonly aux: A;
}

/** What `step` (and `finish`) of a problem sees besides θ and the state. */
export interface Inner {
  /** The inner step within the episode: an int32 scalar tensor, which differs between particles. From 0. */
  readonly t: Scalar;
  /** Keyed by (seed, worker, episode, t); stream `user`. */
  readonly random: KeyedRandom;
  /** A minibatch drawn with replacement; the n-th call within a step draws its own rows; stream `batch`. */
  batch(split: Split): Batch;
  /**
   * Rows fixed for the whole episode (same worker and episode: same rows at every t); stream `batch`. For objectives
   * that compare one minibatch across steps.
   */
  episodeBatch(split: Split): Batch;
  /** Every row of a split in order. Meant for `finish`. */
  wholeSplit(split: Split): Batch;
  /** Gradient of a scalar function of one tree, by reverse mode on the graph; may be nested. */
  grad<P extends TensorTree>(f: (params: P) => Tensor): (params: P) => P;
  /** Like `grad`, with the value; `f` may return `{value, aux}` to hand out more. */
  valueAndGrad<P extends TensorTree, A = undefined>(
    f: (params: P) => Tensor | { readonly value: Tensor; readonly aux: A },
  ): (params: P) => ValueAndGradient<P, A>;
  /** The same numbers with a zero derivative. */
  stopGradient<P extends TensorTree>(tree: P): P;
}

export interface StepResult<S> {
  /** Same structure, shapes and dtypes as the state that came in. */
  readonly state: S;
  /** Scalar float32: what is minimised, at this step. */
  readonly loss: Tensor;
  /** Scalars that are reported, not minimised. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
}

/** What θ means to a person: numbers in natural units, and curves over t. For tables and pictures. */
export interface ThetaDescription {
  readonly values: Readonly<Record<string, number>>;
  readonly curves?: Readonly<Record<string, { readonly t: readonly number[]; readonly value: readonly number[] }>>;
}

/**
 * How θ is judged apart from training: a problem of its own, run from fresh starts with unperturbed θ on the engine of
 * the run (conventions.md's `evaluate`, as data instead of a function, so that it runs wherever windows run).
 */
export interface Evaluation {
  /** Name of the number, e.g. `test accuracy`. */
  readonly metric: string;
  /** Whether less is better. */
  readonly minimise: boolean;
  /** Must have a finite horizon and the same θ. */
  readonly problem: UnrolledProblem;
  /** Independent fresh starts; the reported standard error is over them. */
  readonly particles: number;
  /** The number of each particle: mean loss over steps, loss of the last step, or an output of `finish`. */
  readonly measure: 'mean' | 'last' | { readonly finish: string };
  /** Name of a step metric whose curve over t the report draws; the loss if absent. */
  readonly curve?: string;
}

/**
 * s_{t+1}, L_t = step(θ, s_t, x_t), t = 0 … horizon−1; minimise the mean of L_t over θ (design.md §1).
 * Written for ONE particle as plain TensorFlow.js functions over trees of tensors. `initState`, `step` and `finish` are
 * traced once and must not read values; `initTheta` runs eagerly.
 */
export interface UnrolledProblem<Theta extends TensorTree = TensorTree, State extends TensorTree = TensorTree> {
  readonly name: string;
  /** Inner steps of an episode, a positive integer, or Infinity: never reset. */
  readonly horizon: number;
  /**
   * Lengths of the episodes that estimators train on, where they differ; `horizon` is then the longest of them, and what
   * evaluations run. A step cannot see how long its episode is.
   */
  readonly horizonSchedule?: HorizonSchedule;
  /** Feeds `inner.batch`. */
  readonly dataset?: Dataset;
  /** Rows of `inner.batch`; needed with `dataset`. */
  readonly batchSize?: number;
  /** float32 leaves. Runs eagerly; the caller disposes the tensors. */
  initTheta(random: KeyedRandom): Theta;
  /** Stream `init`, keyed by (seed, worker, episode). */
  initState(theta: Theta, random: KeyedRandom): State;
  step(theta: Theta, state: State, inner: Inner): StepResult<State>;
  /** Scalars computed once from the last state of an episode. */
  finish?(theta: Theta, state: State, inner: Inner): Readonly<Record<string, Tensor>>;
  readonly evaluation?: Evaluation;
  /** Runs eagerly on θ's leaves. */
  describeTheta?(theta: Theta): ThetaDescription;
}
