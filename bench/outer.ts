/** Whole outer iterations in rounds: the run's own loop, stopped between rounds, with the time in windows apart. */
import type { Population, UnrollEngine, UnrollProgram } from '../src/contracts';
import { initialState, initialTheta, runOuterLoop, type Measurement } from '../src/outer';
import type { OuterCase } from './cases/outer';
import type { Answers } from './protocol';

/** Adds up the seconds within `advance`. */
class WindowClock {
  seconds = 0;

  population(population: Population): Population {
    return {
      size: population.size,
      reset: (request) => population.reset(request),
      advance: async (request) => {
        const start = performance.now();
        const result = await population.advance(request);
        this.seconds += (performance.now() - start) / 1000;
        return result;
      },
      copy: (from, to) => population.copy(from, to),
      finish: (request) => population.finish(request),
      phases: () => population.phases(),
      save: () => population.save(),
      load: (bundle) => population.load(bundle),
      dispose: () => population.dispose(),
    };
  }

  program(program: UnrollProgram): UnrollProgram {
    return {
      engine: program.engine,
      problem: program.problem,
      theta: program.theta,
      stateSize: program.stateSize,
      metrics: program.metrics,
      finishes: program.finishes,
      createPopulation: async (options) => this.population(await program.createPopulation(options)),
      combine: (keys, weights) => program.combine(keys, weights),
      differentiate: (differentiation) => program.differentiate(differentiation),
      dispose: () => program.dispose(),
    };
  }
}

const SEED = 1;

/**
 * `runOuterLoop` as a run calls it. It is stopped between rounds in the hook by which θ is judged every so many
 * iterations, so that a round holds whole iterations and nothing else.
 */
export class OuterRounds {
  private readonly clock = new WindowClock();
  private resume: () => void = () => undefined;
  private reached: () => void = () => undefined;
  private failed: (error: unknown) => void = () => undefined;

  private constructor(private readonly iterations: number) {}

  /** Starts the run; its first iterations, offsets and burn-in included, are done when this resolves. */
  static async start(outerCase: OuterCase, engine: UnrollEngine): Promise<OuterRounds> {
    const { problem, estimator, outerOptimizer } = await outerCase.plan();
    const { iterations } = outerCase;
    const rounds = new OuterRounds(iterations);
    const program = rounds.clock.program(await engine.compile(problem));
    const first = rounds.arrival();
    runOuterLoop({
      program,
      estimator,
      outerOptimizer,
      seed: SEED,
      iterations: Infinity,
      start: initialState(initialTheta(problem, SEED), outerOptimizer, false),
      listener: () => undefined,
      evaluate: { every: iterations, measure: () => rounds.pause() },
    }).catch((error: unknown) => rounds.failed(error));
    await first;
    return rounds;
  }

  async round(): Promise<Answers['roundOuter']> {
    const before = this.clock.seconds;
    const start = performance.now();
    const done = this.arrival();
    this.resume();
    await done;
    const seconds = (performance.now() - start) / 1000;
    return {
      secondsPerIteration: seconds / this.iterations,
      inWindows: (this.clock.seconds - before) / seconds,
    };
  }

  /** Resolves when the loop stands still the next time; rejects if it fails before. */
  private arrival(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.reached = resolve;
      this.failed = reject;
    });
  }

  private async pause(): Promise<Measurement> {
    const resumed = new Promise<void>((resolve) => {
      this.resume = resolve;
    });
    this.reached();
    await resumed;
    const nothing = { name: '', t: [], value: [] };
    return { metric: '', minimise: true, mean: 0, standardError: 0, n: 1, values: [0], curve: nothing };
  }
}
