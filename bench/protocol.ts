/** What the bench asks of the process that holds one engine: one answer a request, in order. */
import type { ReverseMemory } from '../src/contracts';
import type { FitRound } from './fit';
import type { FormTiming } from './forms';
import type { OverheadBreakdown } from './overhead';

export interface EngineRequest {
  readonly engine: string;
  /** Of the engines that run on several; by default those that the engine takes. */
  readonly threads?: number;
}

/**
 * What a window of a gradient case gives: losses alone, the gradient by θ (everything kept, or so little memory that steps
 * are run again), or the derivative along one direction.
 */
export type GradientKind = 'forward' | 'reverse' | 'recomputing' | 'tangent';

export interface GradientRequest {
  readonly engine: string;
  readonly kind: GradientKind;
  readonly particles: number;
  /** Whether the process's growth over its first window is measured; of reverse windows. */
  readonly grown: boolean;
}

/** One point of a curve. */
export interface CurvePoint {
  readonly particles: number;
  readonly window: number;
  readonly horizon: number;
  /** Windows that were done before the timed ones. */
  readonly before: number;
  /** Windows that are timed together. */
  readonly windows: number;
}

export interface Requests {
  /** Opens the engine and compiles the problem of WINDOW_CASES[case]. */
  open: EngineRequest & { readonly case: number };
  /** Losses of the check's window. */
  check: Record<string, never>;
  /** A population, warmed up; answers what a round will take, estimated from a few steps. */
  start: Record<string, never>;
  /** The case's windows, timed from the first call to the last losses on the host. */
  round: Record<string, never>;
  peak: Record<string, never>;
  /** Opens the engine on the problem of OUTER_CASES[case] and starts its run. */
  openOuter: EngineRequest & { readonly case: number };
  /** Some outer iterations, timed. */
  roundOuter: Record<string, never>;
  /** Opens the engine on the problem of GRADIENT_CASES[case], with a population at the start of its episodes. */
  openGradient: GradientRequest & { readonly case: number };
  /** Losses and derivatives of the check's window. */
  checkGradient: Record<string, never>;
  /** Warms up; answers what a round will take, estimated from a few steps. */
  startGradient: Record<string, never>;
  /** A window, timed from the call to losses and derivatives on the host. */
  roundGradient: Record<string, never>;
  /** Engine and the populations of these points, warmed up. */
  openCurve: EngineRequest & { readonly points: readonly CurvePoint[] };
  roundCurve: { readonly point: number };
  /** Of what the native engine kept: lookup of the library and loading it. */
  load: Record<string, never>;
  /** Of a process that is asked nothing else. */
  overhead: EngineRequest & { readonly case: number; readonly rounds: number };
  forms: { readonly engine: string };
  /** Losses of the first updates of FIT_CASES[case], by the reference engine. */
  expectFit: { readonly case: number };
  /** A model on the engine's backend, in training by FIT_CASES[case]; its first losses are held against these. */
  openFit: { readonly engine: string; readonly case: number; readonly losses: readonly number[] };
  roundFit: Record<string, never>;
}

export interface Answers {
  open: { readonly engine: string; readonly compileSeconds: number };
  check: { readonly lossSum: readonly number[]; readonly lastLoss: readonly number[] };
  start: { readonly seconds: number };
  round: { readonly seconds: number };
  peak: { readonly bytes: number };
  openOuter: { readonly engine: string };
  roundOuter: {
    readonly secondsPerIteration: number;
    /** Share of that time within `advance`: windows, and waiting for them. */
    readonly inWindows: number;
  };
  openGradient: { readonly reverse?: ReverseMemory; readonly grownBytes?: number };
  checkGradient: Answers['check'] & {
    /** One row a particle, as `DerivativeResult` has them; empty of windows that give none. */
    readonly derivatives: readonly number[];
  };
  startGradient: { readonly seconds: number };
  roundGradient: { readonly seconds: number };
  openCurve: { readonly engine: string };
  roundCurve: { readonly secondsPerStep: number };
  load: { readonly seconds: number };
  overhead: OverheadBreakdown;
  forms: { readonly timings: readonly FormTiming[] };
  expectFit: { readonly losses: readonly number[] };
  openFit: { readonly check: string };
  roundFit: FitRound;
}

export type RequestName = keyof Requests;
export type Request = { [K in RequestName]: { readonly name: K; readonly body: Requests[K] } }[RequestName];
export type Reply = { readonly ok: true; readonly body: unknown } | { readonly ok: false; readonly error: string };
