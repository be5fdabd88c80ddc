/**
 * Lengths of training episodes that differ, in inner steps; each is rounded to a multiple of the estimator's window.
 * - `log-uniform`: each episode of each worker (both partners of a pair) draws its own, the logarithm uniform between
 *   those of `low` and `high`, to the nearest multiple; `LogUniformLengthSchedule` of google/learned_optimization is the peer.
 * - `growing`: an episode that begins at outer iteration i has from + (to − from)·i/iterations, and `to` from `iterations` on;
 *   rounded up or down by chance, this is its mean.
 */
export type HorizonSchedule =
  | { readonly name: 'log-uniform'; readonly low: number; readonly high: number }
  | { readonly name: 'growing'; readonly from: number; readonly to: number; readonly iterations: number };

export const HORIZON_SCHEDULES: readonly HorizonSchedule['name'][] = ['log-uniform', 'growing'];

/** The shortest and the longest episode of a schedule, by the keys that state them. */
export function horizonEnds(schedule: HorizonSchedule): Readonly<Record<string, number>> {
  return schedule.name === 'growing'
    ? { from: schedule.from, to: schedule.to }
    : { low: schedule.low, high: schedule.high };
}

/** Inner steps of the longest episode; of a number, itself. */
export function longestHorizon(horizon: number | HorizonSchedule): number {
  return typeof horizon === 'number' ? horizon : Math.max(...Object.values(horizonEnds(horizon)));
}
