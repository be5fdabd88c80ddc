/** Populations that hold several runs of one program, each with its own seed, θ and σ. */
import { EngineError, type PopulationOptions } from '../../contracts';

/** The runs of the particles of one call. */
export interface EntryRuns {
  readonly count: number;
  /** By entry of the call. */
  readonly of: Int32Array;
}

/** Which run each particle of a population belongs to: of one run, or of several. */
export class RunTable {
  /** One a run. */
  readonly seeds: readonly number[];
  /** By particle; absent where all are of one run. */
  readonly of: Int32Array | undefined;

  /** @throws EngineError unless every particle has a run. */
  constructor({ size, seed, runs }: PopulationOptions) {
    this.seeds = runs?.seeds ?? [seed];
    this.of = runs?.of;
    if (runs === undefined) return;
    const { seeds, of } = runs;
    if (of.length !== size) {
      throw new EngineError(`createPopulation, runs: expected one for each of ${size} particles, got ${of.length}.`);
    }
    const stray = of.find((run) => run < 0 || run >= seeds.length);
    if (stray === undefined) return;
    throw new EngineError(`createPopulation, runs: expected numbers in [0, ${seeds.length}), got ${stray}.`);
  }

  get count(): number {
    return this.seeds.length;
  }

  seedOf(particle: number): number {
    return this.seeds[this.of?.[particle] ?? 0];
  }

  /** Of a call's particles; undefined where all are of one run. */
  entries(particles: Int32Array): EntryRuns | undefined {
    const { of, count } = this;
    return of === undefined ? undefined : { count, of: particles.map((particle) => of[particle]) };
  }

  /** @throws EngineError where a particle would be copied into another run. */
  checkCopy(from: Int32Array, to: Int32Array): void {
    const { of } = this;
    const stray = of === undefined ? -1 : from.findIndex((source, i) => of[source] !== of[to[i]]);
    if (stray < 0) return;
    throw new EngineError(`copy: particles ${from[stray]} and ${to[stray]} are of different runs.`);
  }
}

/** @throws EngineError: for engines whose populations are of one run */
export function refuseRuns(engine: string, { runs }: PopulationOptions): void {
  if (runs === undefined) return;
  throw new EngineError(`createPopulation, runs: engine ${engine} keeps one run a population; see sharesPopulations.`);
}
