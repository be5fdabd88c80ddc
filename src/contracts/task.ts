import type { Scalar, Tensor } from '@tensorflow/tfjs';
import type { Batch, Dataset } from './dataset';
import type { NamedConfig } from './plugin';
import type { TensorTree, ThetaDescription } from './problem';
import type { KeyedRandom } from './random';

/** What is trained inside: parameters, a loss, and the data it is measured on. */
export interface Task<P extends TensorTree = TensorTree> {
  readonly name: string;
  readonly dataset?: Dataset;
  /** Rows of a minibatch; needed with `dataset`. */
  readonly batchSize?: number;
  /** Fresh inner parameters (float32 leaves). Traced. */
  init(random: KeyedRandom): P;
  /**
   * Scalar loss on a batch (an empty one, `xs` and `ys` of shape [0], without a data set); `state` for a task that has one.
   * Traced.
   */
  loss(params: P, batch: Batch, random: KeyedRandom, state?: TensorTree): Tensor;
  /**
   * What training carries from step to step beside the params, such as batch normalisation's averages: no gradient is
   * taken by it and no optimizer sees it. A task that has it has `lossWithState` too. `asInit` is the generator that `init`
   * was given, as it was then: it draws again what `init` has drawn. Traced.
   */
  initState?(params: P, random: KeyedRandom, asInit: KeyedRandom): TensorTree;
  /** The loss that is trained on (by default the number that `loss` gives), and the state after the step. Traced. */
  lossWithState?(params: P, batch: Batch, random: KeyedRandom, state: TensorTree): TaskLoss;
  /** What the optimizer is given in place of the training loss' gradients. Traced. */
  gradients?(gradients: P, random: KeyedRandom): P;
  /** Further scalars on a batch, e.g. `accuracy` in [0, 1]; `state` for a task that has one. Traced. */
  metrics?(params: P, batch: Batch, state?: TensorTree): Readonly<Record<string, Tensor>>;
}

export interface TaskLoss {
  readonly loss: Tensor;
  readonly state: TensorTree;
}

export interface OptimizerUpdate<P, S> {
  readonly params: P;
  readonly gradients: P;
  readonly state: S;
  /** int32 scalar, from 0. */
  readonly t: Scalar;
  /** Training loss of the batch that gave the gradients. */
  readonly loss: Scalar;
  readonly random: KeyedRandom;
}

/** A pair of pure functions over trees; state is explicit. */
export interface UpdateRule<P extends TensorTree = TensorTree, S extends TensorTree = TensorTree> {
  init(params: P): S;
  update(args: OptimizerUpdate<P, S>): { readonly params: P; readonly state: S };
}

/** Traced. */
export interface Optimizer<P extends TensorTree = TensorTree, S extends TensorTree = TensorTree> extends UpdateRule<
  P,
  S
> {
  /**
   * The same parameters, up to rounding, in fewer and larger ops, for where TensorFlow.js runs op after op: within
   * `model.fit`. Its state is its own. Absent: the rule is run as it is.
   */
  readonly eager?: UpdateRule<P, S>;
}

/**
 * An optimizer with meta-parameters θ. Hand-designed optimizers are of this type too: their θ holds the hyperparameters
 * that were wrapped with `meta.*`, and is an empty tree if none was.
 */
export interface LearnedOptimizer<Theta extends TensorTree = TensorTree> {
  readonly name: string;
  /**
   * Raised when the same θ comes to mean something else: another set, order or scale of features; or the same state, that of the
   * eager form included. Files of weights and saved states record it, and are refused under another. 1 if absent.
   */
  readonly featureVersion?: number;
  /**
   * What makes it again by the name that it is registered by, as plain data (`withConfig`). Absent: files cannot hold it, and
   * θ of it is of use in this process only.
   */
  readonly config?: NamedConfig;
  initTheta(random: KeyedRandom): Theta;
  optimizer(theta: Theta): Optimizer;
  /** θ in natural units: hyperparameters, schedules over t = 0 … horizon−1. Eager. */
  describeTheta?(theta: Theta, horizon: number): ThetaDescription;
  /** The same optimizer with what its schedules left to the horizon filled in; `unroll` asks for it. */
  forHorizon?(horizon: number): LearnedOptimizer<Theta>;
}
