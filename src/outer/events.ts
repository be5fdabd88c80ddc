/** What a run tells its listeners: progress bars, metrics files, checkpoints, reports. */
import type { Counted, DataProgress, DataWatch, Estimate, ThetaDescription, ThetaLayout } from '../contracts';
import type { StepSizes } from './step-sizes';

/** The number that a run is judged by: mean and standard error over n fresh starts. */
export interface Measurement {
  readonly metric: string;
  readonly minimise: boolean;
  readonly mean: number;
  /** Sample standard deviation / √n; 0 for n = 1. */
  readonly standardError: number;
  readonly n: number;
  /** Per-start numbers, in order. */
  readonly values: readonly number[];
  /** Mean over starts of the curve metric (or the loss) against the inner step. */
  readonly curve: { readonly name: string; readonly t: readonly number[]; readonly value: readonly number[] };
  /** Of an optimizer on a task. */
  readonly stepSizes?: StepSizes;
  /** Of several tasks: the mean of each, by its name, without weight and normaliser. */
  readonly members?: Readonly<Record<string, number>>;
  /** The same θ on the tasks of `evaluation.tasks`, by name. */
  readonly heldOut?: Readonly<Record<string, HeldOutMeasurement>>;
}

/** On a task that θ is never trained on. */
export interface HeldOutMeasurement extends Measurement {
  /** Mean over starts and inner steps of what the run's objective minimises, unclipped; `curve` is that against the inner step. */
  readonly metaLoss: number;
}

export interface IterationRecord {
  /** From 0. */
  readonly iteration: number;
  readonly estimate: Estimate;
  /** After this iteration's update. */
  readonly theta: Float64Array;
  readonly gradientNorm: number;
  readonly updateNorm: number;
  /** Cumulative, both partners counted, without burn-in. */
  readonly innerSteps: number;
  readonly burnInSteps: number;
  /** Since the run's start, resumed time included. */
  readonly wallSeconds: number;
  /** Where the configuration's `evaluation.every` asked for one. */
  readonly evaluation?: Measurement;
}

export type RunEvent =
  | {
      readonly type: 'start';
      readonly problem: string;
      readonly engine: string;
      /** Why this engine. */
      readonly engineReason: string;
      /** What the estimator's `droppedPairs` count. */
      readonly counts: Counted;
      readonly iterations: number;
      /** First iteration to run: 0, or where a resumed run goes on. */
      readonly firstIteration: number;
      readonly layout: ThetaLayout;
      readonly theta: Float64Array;
      readonly description?: ThetaDescription;
    }
  | { readonly type: 'phase'; readonly phase: 'compile' | 'evaluate-before' | 'train' | 'evaluate-after' }
  | { readonly type: 'evaluation'; readonly when: 'before' | 'after'; readonly measurement: Measurement }
  | { readonly type: 'iteration'; readonly record: IterationRecord; readonly description?: ThetaDescription }
  | { readonly type: 'checkpoint'; readonly path: string; readonly iteration: number }
  /** Something worth knowing that is no error: of the engine, or of the run's course (advice.ts). Each text once a run. */
  | { readonly type: 'notice'; readonly text: string }
  /** A data set that is not here yet arrives; before everything else. */
  | ({ readonly type: 'data' } & DataProgress)
  /** `stopped`: finished too, before its last iteration (`evaluation.patience`). */
  | { readonly type: 'end'; readonly reason: 'finished' | 'stopped' | 'interrupted'; readonly iterations: number };

export type RunListener = (event: RunEvent) => void;

/** Where engines put their notices: an event for each text that is new. */
export function noticesTo(listeners: readonly RunListener[]): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (told.has(text)) return;
    told.add(text);
    for (const listener of listeners) listener({ type: 'notice', text });
  };
}

/** Who watches while the data of a run are loaded. */
export function dataWatch(listeners: readonly RunListener[], signal: AbortSignal | undefined): DataWatch {
  return {
    onProgress: (progress) => {
      for (const listener of listeners) listener({ type: 'data', ...progress });
    },
    ...(signal === undefined ? {} : { signal }),
  };
}
