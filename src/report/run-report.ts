import type { ConfigObject, ThetaDescription } from '../contracts';
import type { Measurement } from '../outer/events';

/** One line of metrics.jsonl. */
export interface MetricsLine {
  readonly iteration: number;
  /** null where no pair was valid. */
  readonly meanLoss: number | null;
  readonly gradientNorm: number;
  readonly updateNorm: number;
  /** Cumulative. */
  readonly innerSteps: number;
  readonly droppedPairs: number;
  readonly wallSeconds: number;
  readonly theta?: readonly number[];
}

/** θ at one end of the run: what it means, and how it was measured. */
export interface ReportedTheta {
  readonly description?: ThetaDescription;
  readonly measurement?: Measurement;
}

/** Everything the report shows; read from a run folder or taken from a run in memory. */
export interface RunReport {
  readonly title: string;
  readonly engine: string;
  readonly engineReason: string;
  readonly seed: number;
  readonly wallSeconds: number;
  readonly innerSteps: number;
  /** Resolved configuration. */
  readonly config: ConfigObject;
  readonly metrics: readonly MetricsLine[];
  /** Names of θ's numbers, in order; empty if there are too many to list. */
  readonly thetaNames: readonly string[];
  readonly before: ReportedTheta;
  readonly after: ReportedTheta;
  /** A command that runs it again. */
  readonly reproduce: string;
}
