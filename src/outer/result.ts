/** What a run leaves behind, in memory and as lines of metrics.jsonl. */
import type { Counted, ThetaDescription, ThetaLayout } from '../contracts';
import type { BestEvaluation, Selection } from './best';
import type { IterationRecord, Measurement } from './events';
import type { SigmaProbe } from './sigma-probe';

/** One line of metrics.jsonl. Numbers that are not finite are null there. */
export interface MetricsLine {
  readonly iteration: number;
  readonly meanLoss: number | null;
  readonly gradientNorm: number | null;
  readonly updateNorm: number | null;
  /** Cumulative, both partners counted, without burn-in. */
  readonly innerSteps: number;
  readonly burnInSteps: number;
  /** Of this iteration: inner steps that are run one after another; absent where the estimator does not say. */
  readonly sequentialSteps?: number;
  /** Of this iteration. */
  readonly droppedPairs: number;
  readonly wallSeconds: number;
  /** After the update; only when it has at most 64 numbers. */
  readonly theta?: readonly (number | null)[];
  readonly metrics?: Readonly<Record<string, number | null>>;
  readonly diagnostics?: Readonly<Record<string, number | null>>;
  /** Where `evaluation.every` asked for one. */
  readonly evaluation?: ShortMeasurement;
  /** Of that evaluation, on the tasks of `evaluation.tasks`, by name. */
  readonly heldOut?: Readonly<Record<string, HeldOutLine>>;
}

/** A measurement on a held-out task as it stands in files. */
export interface HeldOutLine extends ShortMeasurement {
  readonly metric: string;
  /** See `HeldOutMeasurement`. */
  readonly metaLoss: number | null;
}

/** θ is written to metrics.jsonl up to this many numbers. */
export const THETA_IN_METRICS = 64;

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
const finiteRecord = (values: Readonly<Record<string, number>>): Record<string, number | null> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, finite(value)]));
const shortOf = (m: Measurement): ShortMeasurement => ({
  mean: finite(m.mean),
  standardError: finite(m.standardError),
  n: m.n,
});
const heldOutLines = (measured: Measurement | undefined): { heldOut?: Readonly<Record<string, HeldOutLine>> } => {
  if (measured?.heldOut === undefined) return {};
  const lines = Object.entries(measured.heldOut).map(([name, one]): [string, HeldOutLine] => [
    name,
    { metric: one.metric, ...shortOf(one), metaLoss: finite(one.metaLoss) },
  ]);
  return { heldOut: Object.fromEntries(lines) };
};
const filled = (values: Readonly<Record<string, number>>): boolean => Object.keys(values).length > 0;

/** The line of one iteration, keys in a fixed order. */
export function metricsLine(record: IterationRecord): MetricsLine {
  const { estimate, theta, evaluation } = record;
  return {
    iteration: record.iteration,
    meanLoss: finite(estimate.meanLoss),
    gradientNorm: finite(record.gradientNorm),
    updateNorm: finite(record.updateNorm),
    innerSteps: record.innerSteps,
    burnInSteps: record.burnInSteps,
    ...(estimate.sequentialSteps === undefined ? {} : { sequentialSteps: estimate.sequentialSteps }),
    droppedPairs: estimate.droppedPairs,
    wallSeconds: record.wallSeconds,
    ...(theta.length <= THETA_IN_METRICS ? { theta: Array.from(theta, finite) } : {}),
    ...(filled(estimate.metrics) ? { metrics: finiteRecord(estimate.metrics) } : {}),
    ...(filled(estimate.diagnostics) ? { diagnostics: finiteRecord(estimate.diagnostics) } : {}),
    ...(evaluation === undefined ? {} : { evaluation: shortOf(evaluation) }),
    ...heldOutLines(evaluation),
  };
}

/** θ before and after, and what it was worth. */
export interface RunResult {
  readonly problem: string;
  readonly engine: string;
  readonly engineReason: string;
  readonly layout: ThetaLayout;
  /** What `droppedPairs` of the history count; absent: pairs. */
  readonly counts?: Counted;
  /** Absent when the result is read from a folder. */
  readonly initialTheta?: Float64Array;
  readonly initialDescription?: ThetaDescription;
  /** After the last iteration, or that of `best` where `select` says so. */
  readonly theta: Float64Array;
  /** The exponential average of `theta`, if the run kept one and ends with the last; `after` and `description` are of it. */
  readonly thetaAverage?: Float64Array;
  readonly description?: ThetaDescription;
  /** Absent when the problem states no evaluation. */
  readonly before?: Measurement;
  /** Absent when the problem states no evaluation or the run was interrupted. */
  readonly after?: Measurement;
  /** The meta-loss at θ ± σ; absent where the estimator has no σ, nothing is evaluated, or it was switched off. */
  readonly sigmaProbe?: SigmaProbe;
  /** One line an iteration, those before a resume included. */
  readonly history: readonly MetricsLine[];
  /** Iterations done. */
  readonly iterations: number;
  readonly innerSteps: number;
  readonly wallSeconds: number;
  readonly interrupted: boolean;
  /** Which θ the run ends with. */
  readonly select: Selection;
  /** The best evaluated θ, of a run with `evaluation.every`; θ₀ and the last count too. */
  readonly best?: BestEvaluation;
  /** Whether it ended before its last iteration since no evaluation was better (`evaluation.patience`). */
  readonly stopped: boolean;
  /** The run's folder, if it has one. */
  readonly directory?: string;
}

interface ShortMeasurement {
  readonly mean: number | null;
  readonly standardError: number | null;
  readonly n: number;
}

interface SummaryMeasurement extends ShortMeasurement {
  /** On the tasks of `evaluation.tasks`, by name. */
  readonly heldOut?: Readonly<Record<string, HeldOutLine>>;
}

/** summary.json (conventions.md, "Configuration and results"). */
export interface RunSummary {
  readonly before: SummaryMeasurement | null;
  readonly after: SummaryMeasurement | null;
  /** Name of the reported metric; null when the problem states no evaluation. */
  readonly metric: string | null;
  readonly innerSteps: number;
  readonly wallSeconds: number;
  readonly engine: string;
  readonly iterations: number;
  /** Why there are not more iterations: these were all, or `evaluation.patience` was over. */
  readonly ended: 'iterations' | 'patience';
  /** Which θ `after` is of. */
  readonly select: Selection;
  /** The best evaluation and the iterations done by then; null without `evaluation.every`. */
  readonly best: (ShortMeasurement & { readonly iteration: number }) | null;
}

/** A measurement as it stands in summary.json and in records of weights. */
export const summarised = (m: Measurement): SummaryMeasurement => ({ ...shortOf(m), ...heldOutLines(m) });
const short = (m: Measurement | undefined): RunSummary['before'] => (m === undefined ? null : summarised(m));

export function runSummary(result: RunResult): RunSummary {
  return {
    before: short(result.before),
    after: short(result.after),
    metric: (result.after ?? result.before)?.metric ?? null,
    innerSteps: result.innerSteps,
    wallSeconds: result.wallSeconds,
    engine: result.engine,
    iterations: result.iterations,
    ended: result.stopped ? 'patience' : 'iterations',
    select: result.select,
    best: result.best === undefined ? null : { iteration: result.best.iteration, ...shortOf(result.best.measurement) },
  };
}
