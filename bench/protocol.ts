/** What the bench asks of the process that holds one engine: one answer a request, in order. */
import type { FormTiming } from './forms';
import type { OverheadBreakdown } from './overhead';

export interface Requests {
  /** Opens the engine and compiles the problem of WINDOW_CASES[case]. */
  open: { readonly engine: string; readonly case: number };
  /** Losses of the check's window. */
  check: Record<string, never>;
  /** A population, warmed up; answers what a window will take, estimated from two steps. */
  start: Record<string, never>;
  /** One window, timed from the call to the losses on the host. */
  round: Record<string, never>;
  peak: Record<string, never>;
  /** Of a process that is asked nothing else. */
  overhead: { readonly engine: string; readonly case: number; readonly rounds: number };
  forms: { readonly engine: string };
}

export interface Answers {
  open: { readonly engine: string };
  check: { readonly lossSum: readonly number[]; readonly lastLoss: readonly number[] };
  start: { readonly secondsPerWindow: number };
  round: { readonly seconds: number };
  peak: { readonly bytes: number };
  overhead: OverheadBreakdown;
  forms: { readonly timings: readonly FormTiming[] };
}

export type RequestName = keyof Requests;
export type Request = { [K in RequestName]: { readonly name: K; readonly body: Requests[K] } }[RequestName];
export type Reply = { readonly ok: true; readonly body: unknown } | { readonly ok: false; readonly error: string };
