import type { Tensor } from '@tensorflow/tfjs';

/**
 * Keyed randomness: every number is a function of integers (design.md §3), never of a global generator.
 *
 * The n-th draw from one `KeyedRandom` has its own numbers, so two calls of `normal` differ; `foldIn` and `split` give
 * independent generators. Inside `step` and `initState` the draws are recorded in the graph and keyed anew for every
 * (seed, worker, episode, t); antithetic partners see the same numbers.
 */
export interface KeyedRandom {
  /** An independent generator named by an integer in [0, 2³¹). */
  foldIn(data: number): KeyedRandom;
  /** `count` independent generators: those of `foldIn(0)` … `foldIn(count − 1)`. */
  split(count: number): KeyedRandom[];
  /** Normal draws, float32 of the given shape; mean 0 and standard deviation 1 unless told otherwise. */
  normal(shape: readonly number[], options?: { readonly mean?: number; readonly std?: number }): Tensor;
  /** Uniform draws on [low, high) (by default [0, 1)), float32 of the given shape. */
  uniform(shape: readonly number[], options?: { readonly low?: number; readonly high?: number }): Tensor;
  /** Uniform integers on [low, high), int32 of the given shape. */
  integer(shape: readonly number[], low: number, high: number): Tensor;
}
