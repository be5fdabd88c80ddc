/**
 * The outer loop: estimate → optimizer → θ, with every observable thing an event. It knows nothing of files; whoever
 * keeps checkpoints is handed whole states.
 */
import {
  DivergenceError,
  type ArrayBundle,
  type Estimate,
  type EstimatorPopulation,
  type GradientEstimator,
  type OuterOptimizer,
  type ThetaDescription,
  type UnrollProgram,
} from '../contracts';
import { isPatienceOver, withEvaluation, type BestEvaluation } from './best';
import { afterGrace, unlessCancelled } from './cancel';
import type { IterationRecord, Measurement, RunListener } from './events';
import { allFinite, norm } from './theta';

/** Everything that the rest of a run depends on, between two iterations. */
export interface LoopState {
  /** Iterations done. */
  readonly iteration: number;
  readonly theta: Float64Array;
  /** Σ (1 − d)·d^(n−1−i)·θᵢ over the n iterations done, if an average is kept; see `averagedTheta`. */
  readonly average?: Float64Array;
  readonly optimizer: ArrayBundle;
  /** The estimator's workers; absent before the first iteration. */
  readonly population?: ArrayBundle;
  readonly innerSteps: number;
  readonly burnInSteps: number;
  readonly wallSeconds: number;
  /** Iterations in a row, up to now, without a valid pair. */
  readonly invalidStreak: number;
  /** Of the evaluations up to now; absent where there are none. */
  readonly best?: BestEvaluation;
}

/** Keeps states: a run directory, or a test. */
export interface CheckpointSink {
  /** Asked after every iteration; `true` has the state saved. */
  due(): boolean;
  /** Returns where the state went. */
  write(state: LoopState): Promise<string>;
}

export interface LoopOptions {
  readonly program: UnrollProgram;
  readonly estimator: GradientEstimator;
  readonly outerOptimizer: OuterOptimizer;
  /** Keys offsets, noise and inner randomness. */
  readonly seed: number;
  readonly iterations: number;
  readonly start: LoopState;
  /** Decay of the average in (0, 1); needs `start.average`. */
  readonly thetaAverage?: number;
  /** Called where `evaluation.every` asks for it, with the θ to judge. */
  readonly evaluate?: {
    readonly every: number;
    /** The loop ends after so many evaluations in a row without a better one. */
    readonly patience?: number;
    /** Called with each evaluation that is better than all before. */
    readonly onBest?: (best: BestEvaluation) => void;
    measure(theta: Float64Array, signal: AbortSignal): Promise<Measurement>;
  };
  readonly describe?: (theta: Float64Array) => ThetaDescription | undefined;
  readonly listener: RunListener;
  readonly checkpoints?: CheckpointSink;
  /**
   * Ends the loop after the running iteration, with a checkpoint, if that comes within the grace; otherwise the iteration
   * is cancelled, and the run goes on later from its last checkpoint.
   */
  readonly signal?: AbortSignal;
  /** Milliseconds that an iteration may go on after `signal`; 2000 by default. */
  readonly grace?: number;
}

/** After so many iterations in a row without a valid pair the run stops. */
export const INVALID_ITERATIONS = 10;

/** A checkpoint after the iteration loses nothing, so that short iterations are waited for; milliseconds. */
const GRACE = 2000;

/** Milliseconds after which timers and signals get their turn: an engine may never leave the microtask queue. */
const YIELD_AFTER = 50;

/** θ₀ and nothing done. */
export function initialState(theta: Float64Array, optimizer: OuterOptimizer, average: boolean): LoopState {
  return {
    iteration: 0,
    theta,
    ...(average ? { average: new Float64Array(theta.length) } : {}),
    optimizer: optimizer.init(theta.length),
    innerSteps: 0,
    burnInSteps: 0,
    wallSeconds: 0,
    invalidStreak: 0,
  };
}

function accumulated(sum: Float64Array, theta: Float64Array, decay: number): Float64Array {
  return sum.map((old, i) => decay * old + (1 - decay) * theta[i]);
}

/**
 * What is judged: θ, or its exponential average with the weights normalised (as in Adam's bias correction), so that
 * an early average leans neither to 0 nor to θ₀.
 */
export function averagedTheta(
  state: Pick<LoopState, 'iteration' | 'theta' | 'average'>,
  decay: number | undefined,
): Float64Array {
  if (state.average === undefined || decay === undefined || state.iteration === 0) return state.theta;
  const weight = 1 - decay ** state.iteration;
  return state.average.map((sum) => sum / weight);
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((x, i) => x - b[i]);
}

/**
 * Runs iterations `start.iteration … iterations − 1`, or as many as `evaluate.patience` allows. The same start and seed give the same θ bit for bit, wherever
 * the start came from.
 * @throws DivergenceError, naming the last checkpoint that is good
 */
export async function runOuterLoop(options: LoopOptions): Promise<LoopState> {
  const population = await options.estimator.populate(options.program, options.seed);
  const cancellation = afterGrace(options.signal, options.grace ?? GRACE);
  try {
    if (options.start.population !== undefined) await population.load(options.start.population);
    return await iterate(options, population, cancellation.signal);
  } finally {
    cancellation.dispose();
    await population.dispose();
  }
}

async function iterate(
  options: LoopOptions,
  population: EstimatorPopulation,
  cancellation: AbortSignal,
): Promise<LoopState> {
  const { estimator, outerOptimizer, iterations, listener, checkpoints, signal, thetaAverage, evaluate } = options;
  let state = options.start;
  let saved: string | undefined;
  const clock = stopwatch(state.wallSeconds);
  const save = async (): Promise<void> => {
    if (checkpoints === undefined) return;
    const workers = state.iteration > 0 ? { population: await population.save() } : {};
    saved = await checkpoints.write({ ...state, ...workers, wallSeconds: clock() });
    listener({ type: 'checkpoint', path: saved, iteration: state.iteration });
  };
  const lastGood = (): string => {
    if (checkpoints === undefined) return 'The run keeps no checkpoints.';
    if (saved !== undefined) return `The last good checkpoint is ${saved}.`;
    const { iteration } = options.start;
    return iteration === 0
      ? 'There is no checkpoint yet.'
      : `The last good checkpoint is that of iteration ${String(iteration)}, which this run went on from.`;
  };
  /** The workers are between two iterations: what is whole is the last checkpoint, or the start. */
  const cancelled = async (): Promise<LoopState> => {
    if (state.iteration === 0) await save();
    return state;
  };
  let yielded = performance.now();
  while (state.iteration < iterations && !isPatienceOver(state.best, evaluate?.patience) && signal?.aborted !== true) {
    const { iteration, theta: before } = state;
    const estimate = await unlessCancelled(estimator.estimate(before, population, iteration, cancellation));
    if (estimate === undefined) return cancelled();
    const valid = estimate.validPairs > 0 || estimate.theta !== undefined;
    const updated = moved(outerOptimizer, state, estimate);
    const { theta } = updated;
    if (!allFinite(theta)) {
      // No checkpoint here: the workers have advanced beyond the θ that is still good, and the two are no state of a run.
      const cause = allFinite(estimate.gradient) ? 'the outer optimizer made it so' : 'the gradient was not finite';
      throw new DivergenceError(
        `θ is not finite after outer iteration ${String(iteration)} (${cause}; mean loss ${String(estimate.meanLoss)}). ` +
          lastGood() +
          ' Lower the outer learning rate, or clip the gradient.',
        iteration,
      );
    }
    const next: LoopState = {
      iteration: iteration + 1,
      theta,
      ...(state.average === undefined || thetaAverage === undefined
        ? {}
        : { average: accumulated(state.average, theta, thetaAverage) }),
      optimizer: updated.state,
      innerSteps: state.innerSteps + estimate.innerSteps,
      burnInSteps: state.burnInSteps + estimate.burnInSteps,
      wallSeconds: clock(),
      invalidStreak: valid ? 0 : state.invalidStreak + 1,
      ...(state.best === undefined ? {} : { best: state.best }),
    };
    let evaluation: Measurement | undefined;
    if (evaluate !== undefined && next.iteration % evaluate.every === 0 && next.iteration < iterations) {
      const judged = averagedTheta(next, thetaAverage);
      evaluation = await unlessCancelled(evaluate.measure(judged, cancellation));
      if (evaluation === undefined) return cancelled();
      const { iteration: done, innerSteps } = next;
      const best = withEvaluation(state.best, { iteration: done, innerSteps, theta: judged, measurement: evaluation });
      if (best.since === 0) evaluate.onBest?.(best);
      state = { ...next, best };
    } else state = next;
    const record: IterationRecord = {
      iteration,
      estimate,
      theta,
      gradientNorm: norm(estimate.gradient),
      updateNorm: norm(difference(theta, before)),
      innerSteps: state.innerSteps,
      burnInSteps: state.burnInSteps,
      wallSeconds: clock(),
      ...(evaluation === undefined ? {} : { evaluation }),
    };
    const description = options.describe?.(theta);
    listener({ type: 'iteration', record, ...(description === undefined ? {} : { description }) });
    if (state.invalidStreak >= INVALID_ITERATIONS) {
      // θ has not moved since the last valid iteration.
      await save();
      const first = state.iteration - state.invalidStreak;
      const { counts = 'pairs' } = estimator;
      throw new DivergenceError(
        `no valid ${counts.slice(0, -1)} in ${String(state.invalidStreak)} outer iterations in a row: every loss, or its gradient, was NaN or infinite ` +
          `(iterations ${String(first)} to ${String(iteration)}, ` +
          `${String(estimate.droppedPairs)} ${counts} dropped in the last). ${lastGood()} ` +
          'Lower the outer learning rate or sigma, or start from another θ.',
        first,
      );
    }
    // Within a streak of invalid iterations nothing new is learned that would be worth an older state's place.
    if (state.invalidStreak === 0 && state.iteration < iterations && checkpoints?.due() === true) await save();
    if (performance.now() - yielded > YIELD_AFTER) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      yielded = performance.now();
    }
  }
  if (state.iteration === 0 || state !== options.start) await save();
  return state;
}

/** θ and the optimizer's state after an estimate. */
function moved(
  optimizer: OuterOptimizer,
  { theta, optimizer: state, iteration }: LoopState,
  estimate: Estimate,
): { readonly theta: Float64Array; readonly state: ArrayBundle } {
  if (estimate.theta !== undefined) return { theta: estimate.theta, state };
  // Without a valid pair there is no direction: momentum must not move θ on.
  return estimate.validPairs > 0 ? optimizer.update(theta, estimate.gradient, state, iteration) : { theta, state };
}

/** Seconds since now, on top of what was spent before. */
function stopwatch(before: number): () => number {
  const start = performance.now();
  return () => before + (performance.now() - start) / 1000;
}
