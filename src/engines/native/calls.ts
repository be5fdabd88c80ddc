/** What the calls of a native population are made of, in TypeScript and in C's memory. */
import type { ParticleSelection } from '../../contracts';
import type { Pace } from './pace';
import type { Address } from './runtime';

export type Job = 'reset' | 'advance' | 'reverse' | 'finish' | 'restore';

export type StateArray = Float32Array | Int32Array | Uint8Array;

/** Where a call finds its records, and a `struct ol_request` that says so. */
export interface Place {
  readonly words: BigInt64Array;
  /** The same bytes. */
  readonly doubles: Float64Array;
  readonly address: Address;
}

/** Columns by entry of a request rather than by particle. */
export interface Fresh {
  readonly workers: Int32Array;
  readonly episodes: Int32Array;
  readonly t: Int32Array;
}

/** A request in native form, and everything that its addresses point to. */
export interface NativeRequest {
  readonly words: BigInt64Array;
  /** The same bytes. */
  readonly doubles: Float64Array;
  /** Of the words. */
  readonly context: Address;
  readonly arrays: ArrayBufferView[];
  /** double [results × count]. */
  readonly results: Float64Array;
}

export interface Backup {
  readonly address: Address;
  readonly bytes: number;
  readonly begun: Uint8Array;
  readonly cancel: Int32Array;
}

/** A window forward, or forward and back. */
export interface StepsCall {
  readonly call: 'advance' | 'differentiate';
  readonly job: 'advance' | 'reverse';
  readonly scratch: number;
  /** Numbers of a particle's row of derivatives. */
  readonly width: number;
  readonly pace: Pace;
  /** Further fields of the request. */
  readonly fill?: (native: NativeRequest) => void;
}

export interface ChunkedCall {
  readonly job: 'reset' | 'advance' | 'reverse' | 'finish';
  readonly request: ParticleSelection;
  /** Of the results. */
  readonly rows: number;
  readonly scratch: number;
  readonly steps?: number;
  /** Further fields of the request. */
  readonly fill?: ((native: NativeRequest) => void) | undefined;
  /** By entry of the request; absent: the population's own. */
  readonly fresh?: Fresh;
}
