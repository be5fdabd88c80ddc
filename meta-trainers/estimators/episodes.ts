/**
 * Where each worker of an estimator of windows is in its episode, how it gets there, and what of it a checkpoint keeps.
 * What particles a worker has and what θ they run with, the classes that extend this one say.
 */
import { z } from 'zod';
import type {
  ArrayBundle,
  EstimatorPopulation,
  NamedArray,
  Population,
  UnrolledProblem,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import { CheckpointError, ConfigurationError } from '../../src/contracts/errors';
import { notDividing } from '../../src/contracts/options';
import type { EpisodeLengths } from './lengths';
import { workerOffsets, type OffsetRule } from './offsets';

/** A whole number from 1. */
export const count = z.number().int().min(1);

/** Options of estimators that update θ every W inner steps. */
export const episodeOptions = {
  /** W: inner steps of a truncation window; divides the horizon. */
  window: count,
  /** All workers start at inner step 0. */
  lockstep: z.boolean().default(false),
  /** How step-unlocked workers are spread over {0, W, …, T−W}. */
  offsets: z.enum(['stratified', 'independent']).default('stratified'),
};

/** @throws ConfigurationError unless `window` divides the horizon; an infinite one any window does */
export function checkWindow(window: number, horizon: number): void {
  if (Number.isFinite(horizon) && horizon % window !== 0) throw notDividing('estimator.window', window, horizon);
}

/** @throws ConfigurationError if there are no whole episodes for an estimator that scores such */
export function checkFinite(horizon: number, name: string): void {
  if (Number.isFinite(horizon)) return;
  throw new ConfigurationError(
    'horizon',
    `a number of steps for ${name}`,
    String(horizon),
    'Use an estimator of windows.',
  );
}

/** Which episodes workers run, apart from what they run with. */
export interface EpisodePlan {
  readonly seed: number;
  readonly workers: number;
  /** Inner steps of an episode, of the longest where they differ; may be Infinity. */
  readonly horizon: number;
  /** Where episodes differ in length. */
  readonly lengths?: EpisodeLengths;
  /** Of each worker's first episode, where its length is none that `lengths` draws. */
  readonly firstLengths?: Float64Array;
  /** First inner step of each worker's first scored window. */
  readonly offsets: Int32Array;
}

/**
 * Where workers of windows start.
 * @param together all of them at step 0
 */
export function startsOf(
  { horizon }: Pick<UnrolledProblem, 'horizon'>,
  lengths: EpisodeLengths | undefined,
  together: boolean,
  { rule, seed, workers, window }: StartRule,
): Omit<EpisodePlan, 'seed' | 'workers'> {
  const own = lengths === undefined ? {} : { lengths };
  if (together || !Number.isFinite(horizon)) return { horizon, ...own, offsets: new Int32Array(workers) };
  if (lengths === undefined) return { horizon, offsets: workerOffsets(rule, seed, workers, horizon, window) };
  const { lengths: firstLengths, offsets } = lengths.spread(rule, workers);
  return { horizon, lengths, firstLengths, offsets };
}

interface StartRule {
  readonly rule: OffsetRule;
  readonly seed: number;
  readonly workers: number;
  readonly window: number;
}

/** What a call runs with, and what cancels it: the workers are then good for `load` and `dispose` only. */
export interface EpisodeSetting {
  readonly theta: Float64Array;
  /** Outer iteration, from 0. */
  readonly iteration: number;
  readonly signal?: AbortSignal;
}

const particlePrefix = 'particles.';

/** @typeParam S what every call of the estimator hands down */
export abstract class EpisodeWorkers<S extends EpisodeSetting = EpisodeSetting> implements EstimatorPopulation {
  /** Episode of each worker; −1 before the first. */
  readonly episodes: Int32Array;
  /** Inner step within the episode of each worker. At the episode's length: it is over. */
  readonly phases: Int32Array;
  /** Inner steps of each worker's episode. */
  readonly lengths: Float64Array;
  /** 0, 1, … */
  protected readonly all: Int32Array;

  protected constructor(
    readonly program: UnrollProgram,
    protected readonly population: Population,
    readonly plan: EpisodePlan,
  ) {
    this.episodes = new Int32Array(plan.workers).fill(-1);
    this.phases = new Int32Array(plan.workers);
    this.lengths = new Float64Array(plan.workers).fill(plan.horizon);
    this.all = Int32Array.from({ length: plan.workers }, (_, i) => i);
  }

  /** Particles of a worker that run unscored. */
  protected abstract readonly entering: number;

  /** Starts the present episodes of some workers, whose phases are 0, on the engine. */
  protected abstract restart(workers: Int32Array, setting: S): Promise<void>;

  /** Advances the entering particles of workers that are at one phase; `phases` follows from it. */
  protected abstract advanceUnscored(workers: Int32Array, steps: number, setting: S): Promise<WindowResult>;

  /** The first step after t at which something changes for workers that run unscored. */
  protected abstract nextChange(t: number): number;

  /** Starts the episodes of workers that are new or at their episode's end. Returns the particle-steps run unscored. */
  async begin(setting: S): Promise<number> {
    const { offsets, lengths, firstLengths } = this.plan;
    const { episodes, phases } = this;
    const entering = chosen(this.all, (w) => episodes[w] < 0 || phases[w] === this.lengths[w]);
    if (entering.length === 0) return 0;
    const targets = new Int32Array(entering.length);
    for (let i = 0; i < targets.length; i++) {
      const w = entering[i];
      targets[i] = episodes[w] < 0 ? offsets[w] : 0;
      if (lengths === undefined) continue;
      const first = episodes[w] < 0 ? firstLengths?.[w] : undefined;
      this.lengths[w] = first ?? lengths.of(w, episodes[w] + 1, setting.iteration);
    }
    return this.enter(entering, targets, setting);
  }

  /** New episodes for broken workers, as long as theirs were and up to the phases they had. Returns the particle-steps run unscored. */
  async reenter(workers: Int32Array, setting: S): Promise<number> {
    // At the end of its episode the next estimate starts a new one anyway.
    const within = workers.filter((w) => this.phases[w] !== this.lengths[w]);
    return this.enter(
      within,
      within.map((w) => this.phases[w]),
      setting,
    );
  }

  /** `save` and `load` of what the extending class keeps beside, once an episode has begun and is not over. */
  protected saveOwn(): Record<string, NamedArray> {
    return {};
  }
  protected loadOwn(_bundle: ArrayBundle): void | Promise<void> {
    // Nothing more is kept.
  }

  async save(): Promise<ArrayBundle> {
    const shape = [this.plan.workers];
    const bundle: Record<string, NamedArray> = {
      episodes: { shape, data: this.episodes.slice() },
      phases: { shape, data: this.phases.slice() },
      ...(this.plan.lengths === undefined ? {} : { lengths: { shape, data: this.lengths.slice() } }),
    };
    if (this.betweenEpisodes()) return bundle;
    Object.assign(bundle, this.saveOwn());
    for (const [name, array] of Object.entries(await this.population.save())) bundle[particlePrefix + name] = array;
    return bundle;
  }

  async load(bundle: ArrayBundle): Promise<void> {
    this.episodes.set(readArray(bundle, 'episodes', Int32Array, this.plan.workers));
    this.phases.set(readArray(bundle, 'phases', Int32Array, this.plan.workers));
    if (this.plan.lengths !== undefined) {
      this.lengths.set(readArray(bundle, 'lengths', Float64Array, this.plan.workers));
    }
    if (this.betweenEpisodes()) return;
    await this.loadOwn(bundle);
    await this.population.load(
      Object.fromEntries(
        Object.entries(bundle)
          .filter(([name]) => name.startsWith(particlePrefix))
          .map(([name, array]) => [name.slice(particlePrefix.length), array]),
      ),
    );
  }

  async dispose(): Promise<void> {
    await this.population.dispose();
  }

  /** What a finished episode has left behind, nothing depends on. */
  private betweenEpisodes(): boolean {
    return this.phases.every((t, w) => t === this.lengths[w] || this.episodes[w] < 0);
  }

  /** Starts the next episode of each worker and runs it, unscored, to its target step. */
  private async enter(workers: Int32Array, targets: Int32Array, setting: S): Promise<number> {
    if (workers.length === 0) return 0;
    for (let i = 0; i < workers.length; i++) {
      this.episodes[workers[i]]++;
      this.phases[workers[i]] = 0;
    }
    await this.restart(workers, setting);

    let steps = 0;
    let t = 0;
    for (;;) {
      const reached = t;
      const places = chosen(workers, (_, i) => targets[i] > reached, true);
      const active = places.map((place) => workers[place]);
      if (active.length === 0) return steps;
      // One call as far as neither a worker arrives nor anything changes.
      let next = this.nextChange(t);
      for (const place of places) next = Math.min(next, targets[place]);
      await this.advanceUnscored(active, next - t, setting);
      steps += active.length * this.entering * (next - t);
      t = next;
    }
  }
}

/** Workers that meet a condition, or their places; much faster than a typed array's `filter`. */
export function chosen(
  workers: Int32Array,
  meets: (worker: number, place: number) => boolean,
  places = false,
): Int32Array {
  const out = new Int32Array(workers.length);
  let found = 0;
  for (let i = 0; i < workers.length; i++) {
    if (meets(workers[i], i)) out[found++] = places ? i : workers[i];
  }
  return out.slice(0, found);
}

/** @throws CheckpointError if the array is absent, or of another type or length */
export function readArray<A extends Int32Array | Float32Array | Float64Array>(
  bundle: ArrayBundle,
  name: string,
  type: new (length: number) => A,
  length: number,
): A {
  const found = bundle[name] as NamedArray | undefined;
  if (!(found?.data instanceof type) || found.data.length !== length) {
    throw new CheckpointError(
      `checkpoint array "${name}": expected ${length} numbers (${type.name}), got ${
        found === undefined ? 'nothing' : `${found.data.length} (${found.data.constructor.name})`
      }. It was written with other estimator settings or is damaged.`,
    );
  }
  return found.data;
}

/** Mean length of the workers' episodes, where they differ, for an estimate's diagnostics. */
export function episodeLength({ plan, lengths }: EpisodeWorkers): Record<string, number> {
  return plan.lengths === undefined ? {} : { episodeLength: mean(lengths) };
}

/** NaN if there are none. A plain loop: for tiny problems an iteration is a tenth of a millisecond. */
export function mean(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}
