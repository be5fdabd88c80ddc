/** The best of a run's evaluations, and when there has been no better one for long enough. */
import { ConfigurationError } from '../contracts';
import type { Measurement } from './events';

/** Which θ a run ends with: that of its last iteration, or the best of those that were evaluated. */
export const SELECTIONS = ['last', 'best'] as const;
export type Selection = (typeof SELECTIONS)[number];

/** An evaluated θ. */
export interface EvaluatedTheta {
  /** Iterations done; 0 is θ₀. */
  readonly iteration: number;
  readonly innerSteps: number;
  /** What was judged: the average, of a run that keeps one. */
  readonly theta: Float64Array;
  readonly measurement: Measurement;
}

export interface BestEvaluation extends EvaluatedTheta {
  /** Evaluations after it, none of which was better. */
  readonly since: number;
}

/** Strictly better, by however little; a NaN is worse than any number. */
function isBetter(a: Measurement, b: Measurement): boolean {
  if (Number.isNaN(a.mean) || Number.isNaN(b.mean)) return !Number.isNaN(a.mean);
  return a.minimise ? a.mean < b.mean : a.mean > b.mean;
}

/** The best after one more evaluation; of equals the earlier one. */
export function withEvaluation(best: BestEvaluation | undefined, found: EvaluatedTheta): BestEvaluation {
  if (best === undefined || isBetter(found.measurement, best.measurement)) return { ...found, since: 0 };
  return { ...best, since: best.since + 1 };
}

/** Whether so many evaluations in a row were no better than the best before them. */
export function isPatienceOver(best: BestEvaluation | undefined, patience: number | undefined): boolean {
  return patience !== undefined && best !== undefined && best.since >= patience;
}

/** Settings that ask for evaluations in the course of a run. */
export interface CourseSettings {
  readonly every?: number;
  readonly patience?: number;
  readonly select?: Selection;
}

/** @throws ConfigurationError for what needs evaluations where there are none */
export function checkCourse({ every, patience, select }: CourseSettings): void {
  const key = patience !== undefined ? 'patience' : select === 'best' ? 'select' : undefined;
  if (key === undefined || every !== undefined) return;
  const got = `nothing beside evaluation.${key}`;
  throw new ConfigurationError('evaluation.every', 'the number of iterations from one evaluation to the next', got);
}

/**
 * Why a run has ended before its last iteration.
 * @param again whether an earlier process had ended it already
 */
export function stoppedNote(best: BestEvaluation, done: number, iterations: number, again: boolean): string {
  const { iteration, measurement, since } = best;
  const where = iteration === 0 ? 'that of the start' : `that after iteration ${String(iteration)}`;
  const text =
    `stopped after ${String(done)} of ${String(iterations)} iterations: ${String(since)} ` +
    `${since === 1 ? 'evaluation' : 'evaluations in a row'} without a better ${measurement.metric} than ${where}.`;
  return again ? `${text} Nothing was left to do: a new run with a larger evaluation.patience goes further.` : text;
}
