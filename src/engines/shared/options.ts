/** What engines are opened with, and what they say of themselves. */
import { ConfigurationError } from '../../contracts';

/** Bounds on what an engine takes of the machine. No number that it computes depends on them. */
export interface EngineLimits {
  /**
   * Bytes of particle state and working memory that a population should stay within; where it would not, an engine that can
   * runs its particles in chunks. Absent: what the engine thinks fit. On tfjs engines it bounds what reverse windows keep;
   * forward windows run in groups as they always do.
   */
  readonly memoryBytes?: number;
  /** Threads that windows run on, at least 1. Absent: what the engine thinks fit; engines of one thread ignore it. */
  readonly threads?: number;
}

export interface EngineOptions extends EngineLimits {
  /** Told things worth knowing that are no errors ("runs in chunks of 64 particles"), in one sentence each. */
  readonly notice?: (text: string) => void;
}

/** What `describeNative()` finds out for `outerloop doctor`, without compiling a problem. */
export interface NativeDescription {
  /** Absent where none was found. */
  readonly compiler?: {
    readonly path: string;
    /** First line of its `--version`. */
    readonly version: string;
  };
  /** Vector instructions that code is compiled for: `avx512`, `avx2`, `neon`, `portable` … */
  readonly isa: string;
  /** Threads that windows run on by default. */
  readonly threads: number;
  /** Compiled programs that are kept between runs. */
  readonly cache: { readonly folder: string; readonly files: number; readonly bytes: number };
  /** What the engine lacks here and how to install it, a sentence each; empty where it runs. */
  readonly missing: readonly string[];
}

/** Label and text of each line of a description. */
export function nativeDetails({ compiler, isa, threads, cache }: NativeDescription): Readonly<Record<string, string>> {
  return {
    compiler: compiler === undefined ? 'none found' : `${compiler.version} (${compiler.path})`,
    instructions: isa,
    threads: String(threads),
    cache: `${cache.folder} (${String(cache.files)} files, ${(cache.bytes / 2 ** 20).toFixed(1)} MiB)`,
  };
}

/** @throws ConfigurationError unless the bounds are positive whole numbers */
export function checkLimits({ memoryBytes, threads }: EngineLimits): void {
  for (const [key, value] of Object.entries({ memoryBytes, threads })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new ConfigurationError(key, 'a positive whole number', String(value));
    }
  }
}
