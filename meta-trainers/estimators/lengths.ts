/** How long the episodes of workers are, where they differ. */
import { horizonEnds, type HorizonSchedule, type UnrolledProblem } from '../../src/contracts';
import { ConfigurationError } from '../../src/contracts/errors';
import { notDividing } from '../../src/contracts/options';
import { uniforms } from '../../src/random/draws';
import { episodeKey, foldIn, seedKey, STREAMS } from '../../src/random/keys';
import { stratifiedUniforms, workerOffsets, type OffsetRule } from './offsets';

/** Where workers begin: the length of each one's first episode, and the step of its first scored window. */
export interface FirstEpisodes {
  readonly lengths: Float64Array;
  readonly offsets: Int32Array;
}

/** Lengths are multiples of a unit, the estimator's window (1 where it has none). */
export interface EpisodeLengths {
  /** Of an episode that begins at an outer iteration. A function of its arguments alone. */
  of(worker: number, episode: number, iteration: number): number;
  /** Expectation over workers and episodes. */
  mean(iteration: number): number;
  /**
   * Workers that are somewhere in their episodes, as they would be after running for ever: a window is then met with the
   * frequency that it has among all windows.
   */
  spread(rule: OffsetRule, workers: number): FirstEpisodes;
}

/**
 * The lengths of a problem's schedule; undefined if all episodes have its horizon.
 * @throws ConfigurationError unless `unit` divides the ends of the schedule
 */
export function episodeLengths(
  { horizonSchedule: schedule }: Pick<UnrolledProblem, 'horizonSchedule'>,
  unit: number,
  seed: number,
): EpisodeLengths | undefined {
  if (schedule === undefined) return undefined;
  for (const end of Object.values(horizonEnds(schedule))) {
    if (end % unit !== 0) throw notDividing('estimator.window', unit, end);
  }
  return schedule.name === 'growing' ? growing(schedule, unit, seed) : logUniform(schedule, unit, seed);
}

/** In [0, 1). */
const draw = (seed: number, worker: number, episode: number): number =>
  uniforms(episodeKey(seed, 'lengths', worker, episode), 1)[0];

/**
 * Linear, so that step-unlocked workers stay spread over the whole episode while it grows: whoever begins i iterations
 * later has an episode longer in proportion, and the phases of all stretch with the length. Geometric growth, which is
 * faster than any line in the end, leaves them bunched. Rounded up or down by chance, so that workers which began
 * together part; the mean is what the line says.
 */
function growing(
  { from, to, iterations }: Extract<HorizonSchedule, { name: 'growing' }>,
  unit: number,
  seed: number,
): EpisodeLengths {
  const mean = (iteration: number): number => from + (to - from) * Math.min(1, iteration / iterations);
  return {
    of: (worker, episode, iteration) => unit * Math.floor(mean(iteration) / unit + draw(seed, worker, episode)),
    mean,
    spread: (rule, workers) => ({
      lengths: new Float64Array(workers).fill(from),
      offsets: workerOffsets(rule, seed, workers, from, unit),
    }),
  };
}

/** m units with the probability that a log-uniform length is nearest to m: ln of its cell's ends, cut off at the schedule's. */
function logUniform(
  { low, high }: Extract<HorizonSchedule, { name: 'log-uniform' }>,
  unit: number,
  seed: number,
): EpisodeLengths {
  const [first, last] = [low / unit, high / unit];
  const probability = (m: number): number =>
    Math.log(Math.min(last, m + 0.5) / Math.max(first, m - 0.5)) / Math.log(last / first);
  let mean = 0;
  for (let m = first; m <= last; m++) mean += m * probability(m);
  return {
    of: (worker, episode) => unit * Math.round(first * (last / first) ** draw(seed, worker, episode)),
    mean: () => unit * mean,
    spread: (rule, workers) => {
      // One window of all those that an endless row of episodes has: an episode of m has m chances, each of its windows one.
      const key = foldIn(seedKey(seed), STREAMS.lengths);
      const places = stratifiedUniforms(rule, key, workers, last);
      const lengths = new Float64Array(workers);
      const offsets = new Int32Array(workers);
      places.forEach((u, w) => {
        let left = u * mean;
        let m = first;
        while (m < last && left >= m * probability(m)) {
          left -= m * probability(m);
          m++;
        }
        lengths[w] = unit * m;
        offsets[w] = unit * Math.min(m - 1, Math.floor(left / probability(m)));
      });
      return { lengths, offsets };
    },
  };
}

/** @throws ConfigurationError if episodes differ in length, for an estimator that compares whole ones */
export function checkOneLength({ horizonSchedule }: UnrolledProblem, name: string): void {
  if (horizonSchedule === undefined) return;
  throw new ConfigurationError(
    'horizon',
    `a number of steps for ${name}`,
    `the schedule "${horizonSchedule.name}"`,
    'These take schedules: nres, pes, gpes, pes-analytic, full-es, truncated-es, tbptt, bptt, rtrl, uoro, dodge.',
  );
}
