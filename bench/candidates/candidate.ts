/** Whoever takes part in a round: an engine, or a peer. Each lives in a process of its own. */

/** What a candidate says before it is timed. */
export interface Readiness {
  /** Seconds a round will take, roughly. */
  readonly seconds: number;
  /** Seconds of its compiler, tracing included; absent where nothing is compiled, or not by the candidate itself. */
  readonly compileSeconds?: number;
}

export interface Candidate {
  /** As in tables: `native`, `jax`, `reference C`. */
  readonly name: string;
  /**
   * Largest relative deviation of its losses from float64, and how it was found; undefined where the candidate's own
   * program has checked itself.
   * @throws Error if it is more than rounding explains
   */
  check(): Promise<string>;
  start(): Promise<Readiness>;
  /** Seconds of one round. */
  round(): Promise<number>;
  /** Most bytes that its process has held; undefined where it does not say. */
  peak(): Promise<number | undefined>;
  close(): void;
}
