/** What an engine knows on the host about every particle: integers only (design.md, "Noise is a seed"). */
import { EngineError, type ArrayBundle, type Differentiation, type NamedArray } from '../../contracts';

/** Worker, episode and inner step of each particle of a population. */
export class ParticleTable {
  readonly workers: Int32Array;
  readonly episodes: Int32Array;
  /** Inner step within the episode. */
  readonly t: Int32Array;
  /** 1 once the particle has been reset. */
  readonly started: Uint8Array;

  constructor(readonly size: number) {
    if (!Number.isInteger(size) || size < 1) {
      throw new EngineError(`a population needs a positive whole number of particles, got ${String(size)}.`);
    }
    this.workers = new Int32Array(size);
    this.episodes = new Int32Array(size);
    this.t = new Int32Array(size);
    this.started = new Uint8Array(size);
  }

  /** @throws EngineError unless the particles are distinct, in range and, if asked, hold a state. */
  check(call: string, particles: Int32Array, needState: boolean): void {
    const seen = new Uint8Array(this.size);
    for (let i = 0; i < particles.length; i++) {
      const particle = particles[i];
      if (particle < 0 || particle >= this.size) {
        throw new EngineError(`${call}: expected particles in [0, ${this.size}), got ${particle}.`);
      }
      if (seen[particle] !== 0) throw new EngineError(`${call}: expected distinct particles, got ${particle} twice.`);
      seen[particle] = 1;
      if (needState && this.started[particle] === 0) {
        throw new EngineError(`${call}: particle ${particle} holds no state; reset it first.`);
      }
    }
  }

  start(particle: number, worker: number, episode: number): void {
    this.workers[particle] = worker;
    this.episodes[particle] = episode;
    this.t[particle] = 0;
    this.started[particle] = 1;
  }

  copy(from: number, to: number): void {
    for (const column of [this.workers, this.episodes, this.t, this.started]) column[to] = column[from];
  }

  save(): Record<string, NamedArray> {
    const shape = [this.size];
    return {
      worker: { shape, data: this.workers.slice() },
      episode: { shape, data: this.episodes.slice() },
      t: { shape, data: this.t.slice() },
      started: { shape, data: this.started.slice() },
    };
  }

  load(bundle: ArrayBundle): void {
    for (const [name, column] of [
      ['worker', this.workers],
      ['episode', this.episodes],
      ['t', this.t],
      ['started', this.started],
    ] as const) {
      column.set(bundleArray(bundle, name, [this.size]).data);
    }
  }
}

/** The array of a bundle under a name. @throws EngineError if it is absent or of another shape. */
export function bundleArray(bundle: ArrayBundle, name: string, shape: readonly number[]): NamedArray {
  const array = (bundle as Partial<ArrayBundle>)[name];
  const size = shape.reduce((a, b) => a * b, 1);
  const fits =
    array?.shape.length === shape.length && array.shape.every((n, i) => n === shape[i]) && array.data.length === size;
  if (array === undefined || !fits) {
    const got = array === undefined ? 'none' : `[${array.shape.join(',')}] with ${array.data.length} numbers`;
    throw new EngineError(
      `load: expected an array "${name}" of shape [${shape.join(',')}], got ${got}. ` +
        'The bundle belongs to another problem or population.',
    );
  }
  return array;
}

/** @throws EngineError unless `from` and `to` have one length and no particle in common. */
export function checkCopy(table: ParticleTable, from: Int32Array, to: Int32Array): void {
  if (from.length !== to.length) {
    throw new EngineError(`copy: expected as many targets as sources, got ${to.length} for ${from.length}.`);
  }
  for (const particle of from) table.check('copy', Int32Array.of(particle), true);
  table.check('copy', to, false);
  const targets = new Set(to);
  const both = from.find((particle) => targets.has(particle));
  if (both !== undefined) throw new EngineError(`copy: particle ${both} is both source and target.`);
}

/** @throws EngineError unless a window has a positive whole number of steps. */
export function checkSteps(steps: number): void {
  if (Number.isSafeInteger(steps) && steps >= 1) return;
  throw new EngineError(`advance: expected a positive whole number of steps, got ${String(steps)}.`);
}

/**
 * @throws EngineError for a reverse window longer than what memory was planned for, or one that is to count the share of
 * initState and does not begin with the episode.
 */
export function checkReverseSteps(
  reverse: Extract<Differentiation, { readonly mode: 'reverse' }>,
  steps: number,
  t: Int32Array,
  particles: Int32Array,
): void {
  checkSteps(steps);
  if (steps > reverse.steps) {
    throw new EngineError(`differentiate: expected at most ${reverse.steps} steps, as planned for, got ${steps}.`);
  }
  const late = reverse.start === true ? particles.find((particle) => t[particle] !== 0) : undefined;
  if (late === undefined) return;
  throw new EngineError(
    `differentiate: expected particles at inner step 0, as the gradient goes through initState; particle ${late} is at ${t[late]}.`,
  );
}
