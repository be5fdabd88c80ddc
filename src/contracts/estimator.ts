import type { ArrayBundle, EngineCapability, UnrollProgram } from './engine';
import type { ConfigObject } from './plugin';

/** One estimate of the gradient of the mean loss per inner step over the horizon (conventions.md, "Scale"). */
export interface Estimate {
  /** θ's size. All zeros if no pair was valid, and where `theta` is given. */
  readonly gradient: Float64Array;
  /**
   * Where θ goes, of methods that have no gradient (random and grid search): the outer optimizer is not asked then, and
   * an estimate without a valid candidate counts as one that stays where it is.
   */
  readonly theta?: Float64Array;
  /** Mean per inner step of what is minimised, over valid pairs; NaN if there was none. */
  readonly meanLoss: number;
  /**
   * Inner steps of this estimate, both partners counted, without burn-in: forward steps, whatever derivatives cost beside
   * them.
   */
  readonly innerSteps: number;
  /**
   * Those of them that are run one after another, however many particles run beside one another: W for estimators of
   * windows, T for those of whole episodes. Absent: not known.
   */
  readonly sequentialSteps?: number;
  /** Unscored steps of this estimate (offsets, re-entry after a NaN). */
  readonly burnInSteps: number;
  /** Pairs, or what the estimator `counts` instead. */
  readonly validPairs: number;
  /** Those that were left out because a loss, or a worker's gradient, was NaN or infinite. */
  readonly droppedPairs: number;
  /** Means per inner step of the problem's metrics, over valid pairs. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Further numbers of interest, by name. */
  readonly diagnostics: Readonly<Record<string, number>>;
}

/** An estimator's workers at work: particles on the engine and whatever the estimator keeps beside them. */
export interface EstimatorPopulation {
  readonly program: UnrollProgram;
  /** Everything that later estimates depend on, θ and the iteration number aside. */
  save(): Promise<ArrayBundle>;
  load(bundle: ArrayBundle): Promise<void>;
  dispose(): Promise<void>;
}

/** What an estimate is a mean over, or the best of: a noun for messages. */
export type Counted = 'pairs' | 'workers' | 'candidates';

export interface GradientEstimator<P extends EstimatorPopulation = EstimatorPopulation> {
  readonly name: string;
  /**
   * The options it was made with, defaults included, as plain data; a function is a string that says so. Recorded with
   * a run that is made in code, and compared when that code resumes it.
   */
  readonly settings?: ConfigObject;
  /** Capabilities an engine must have. */
  readonly needs: readonly EngineCapability[];
  /** What `validPairs` and `droppedPairs` count; absent: antithetic pairs. */
  readonly counts?: Counted;
  /** Allocates workers; no inner step is run before the first `estimate`. Checks W, K and T against one another. */
  populate(program: UnrollProgram, seed: number): Promise<P>;
  /**
   * `iteration` (from 0) drives schedules such as σ's. Hands `signal` down to every engine call, and rejects with
   * CancelledError once it is aborted; the population is then between two estimates, good for `load` and `dispose` only.
   */
  estimate(theta: Float64Array, population: P, iteration: number, signal?: AbortSignal): Promise<Estimate>;
}

/** A number that depends on the outer iteration: a constant, or a function of it. */
export type IterationSchedule = (iteration: number) => number;

/** Turns gradients into steps of θ. Pure: state is explicit, float64. */
export interface OuterOptimizer {
  readonly name: string;
  /**
   * The options it was made with, defaults included, as plain data; a function is a string that says so. Recorded with
   * a run that is made in code, and compared when that code resumes it.
   */
  readonly settings?: ConfigObject;
  init(size: number): ArrayBundle;
  /** θ and state after one step that minimises; inputs are left as they are. */
  update(
    theta: Float64Array,
    gradient: Float64Array,
    state: ArrayBundle,
    iteration: number,
  ): { readonly theta: Float64Array; readonly state: ArrayBundle };
}
