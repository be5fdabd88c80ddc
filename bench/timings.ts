/** What a bench run says: the lines of `--json`, and what is kept under results/. */
import type { ReverseMemory } from '../src/contracts';
import type { CurvePoint } from './protocol';
import type { FitRound } from './fit';
import type { FormTiming } from './forms';
import type { OverheadBreakdown } from './overhead';

/** JAX on the graphics card. */
export const JAX_GPU = 'jax, GPU';

export interface WindowTiming {
  readonly case: string;
  readonly variant: string;
  /** An engine, `jax`, `jax, GPU`, or `reference C`. */
  readonly candidate: string;
  readonly particles: number;
  readonly window: number;
  /** Medians over rounds. */
  readonly particleStepsPerSecond: number;
  readonly gflops: number;
  /** Median over rounds of gflops over the FMA peak measured in the same round. */
  readonly shareOfPeak?: number;
  /** By candidate: how many times as long as this one it took, the median of the rounds' ratios. */
  readonly fasterThan: Readonly<Record<string, number>>;
  readonly peakBytes?: number;
  readonly compileSeconds?: number;
  /** Seconds of each round; null where the candidate took no part. */
  readonly rounds: readonly (number | null)[];
  /** What the check before found. */
  readonly check: string;
}
/** Candidates of a gradient case beside `native`, whose reverse windows keep everything. */
export const RECOMPUTING = 'native, recomputing';
export const FORWARD = 'native, forward';
export const TANGENT = 'native, tangent';

/** A window of a gradient case: of a reverse window unless the candidate's name says otherwise. */
export interface GradientTiming {
  readonly case: 'tbptt-window';
  readonly variant: string;
  readonly candidate: string;
  readonly particles: number;
  readonly window: number;
  /** Median over rounds. */
  readonly secondsPerWindow: number;
  /** As in `WindowTiming`. */
  readonly fasterThan: Readonly<Record<string, number>>;
  /** What it stated before its first window. */
  readonly reverse?: ReverseMemory;
  /** By how much its process grew over its first window, at most. */
  readonly grownBytes?: number;
  readonly peakBytes?: number;
  readonly rounds: readonly (number | null)[];
  readonly check: string;
}
/** A candidate that was not timed, and why. */
export interface LeftOut {
  readonly case: string;
  readonly variant: string;
  readonly particles: number;
  readonly window: number;
  readonly candidate: string;
  readonly reason: string;
}
export interface OuterTiming {
  readonly case: 'outer';
  readonly problem: string;
  readonly candidate: string;
  readonly iterationsPerSecond: number;
  readonly fasterThan: Readonly<Record<string, number>>;
  /** Share of the time within windows; engines only. */
  readonly inWindows?: number;
  readonly rounds: readonly number[];
}
export interface CompileTiming {
  readonly case: 'compile';
  readonly candidate: string;
  /** Medians of seconds: the first time, and with everything kept from an earlier process, tracing included. */
  readonly first: number;
  readonly again?: number;
  /** From cache lookup to loaded function. */
  readonly load?: number;
}
export interface ThreadTiming {
  readonly case: 'threads';
  readonly problem: string;
  readonly candidate: string;
  /** Median of the rounds' ratios: one thread's seconds over two threads'. */
  readonly speedup: number;
  /** The same ratio of the FMA peak, which two threads on this machine reach at most. */
  readonly peakSpeedup?: number;
}
export interface CurveTiming {
  readonly case: 'curves';
  readonly candidate: string;
  readonly against: string;
  readonly point: CurvePoint;
  /** Median over rounds. */
  readonly microsecondsPerStep: number;
}
export interface OverheadTiming extends OverheadBreakdown {
  readonly case: 'tfjs-overhead';
  readonly problem: string;
  readonly engine: string;
  readonly particles: number;
  readonly window: number;
}
export interface FormsTiming extends FormTiming {
  readonly case: 'tfjs-forms';
  readonly engine: string;
}
/** Within `model.fit`: an update beside the gradients of the model that it is made by. */
export interface FitTiming {
  readonly case: 'fit';
  readonly optimizer: string;
  readonly engine: string;
  /** Medians over rounds, of a call. */
  readonly gradientSeconds: number;
  readonly updateSeconds: number;
  /** Median of the rounds' ratios of the update to the gradients. */
  readonly ratio: number;
  readonly rounds: readonly FitRound[];
  readonly check: string;
}
export type Timing =
  | WindowTiming
  | GradientTiming
  | LeftOut
  | OuterTiming
  | CompileTiming
  | ThreadTiming
  | CurveTiming
  | OverheadTiming
  | FormsTiming
  | FitTiming;

export const isWindow = (timing: Timing): timing is WindowTiming => 'particleStepsPerSecond' in timing;
export const isGradient = (timing: Timing): timing is GradientTiming => 'secondsPerWindow' in timing;
export const isLeftOut = (timing: Timing): timing is LeftOut => 'reason' in timing;
/** Rows of a case that is none of the windows'. */
export function rowsOf<C extends 'outer' | 'compile' | 'threads' | 'curves' | 'tfjs-overhead' | 'tfjs-forms' | 'fit'>(
  timings: readonly Timing[],
  name: C,
): readonly Extract<Timing, { readonly case: C }>[] {
  return timings.filter((timing): timing is Extract<Timing, { readonly case: C }> => timing.case === name);
}

/** A file of results/. */
export interface SavedResults {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    /** `AVX-512`, `AVX2`; absent where it is not known. */
    readonly vectors?: string;
    readonly memoryBytes: number;
    readonly node: string;
    /** First line of the C compiler's version; absent where there is none. */
    readonly compiler?: string;
    /** The first one of NVIDIA's, and its driver; absent where there is none. */
    readonly gpu?: string;
    /** Of five minutes, before and after: above 0 before, other work shared the cores. */
    readonly loadAverage: readonly [number, number];
    readonly platform: string;
  };
  /** The command lines that the results are of, in order; of a case that several timed, the last counts. */
  readonly commands: readonly string[];
  readonly results: readonly Timing[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median over the rounds that both took part in of theirs/own; undefined if there is none. */
export function medianRatio(theirs: readonly (number | null)[], own: readonly (number | null)[]): number | undefined {
  const ratios: number[] = [];
  own.forEach((seconds, round) => {
    const other = theirs.at(round) ?? null;
    if (seconds !== null && other !== null) ratios.push(other / seconds);
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

/** medianRatio against each other candidate, by name. */
export function ratiosTo(
  own: number,
  names: readonly string[],
  rounds: readonly (readonly (number | null)[])[],
): Record<string, number> {
  const ratios: Record<string, number> = {};
  names.forEach((name, other) => {
    const ratio = other === own ? undefined : medianRatio(rounds[other], rounds[own]);
    if (ratio !== undefined) ratios[name] = ratio;
  });
  return ratios;
}
