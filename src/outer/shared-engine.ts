/**
 * One engine for several runs of one problem that go on side by side: what each of them knows as its population is a part
 * of one that all of them share, and windows that they ask for at the same time are one call of the engine. Particles
 * have the bits that they have in a population of their own (`UnrollEngine.sharesPopulations`).
 */
import {
  EngineError,
  type DerivativePopulation,
  type DerivativeProgram,
  type Differentiation,
  type Population,
  type PopulationOptions,
  type UnrolledProblem,
  type UnrollEngine,
  type UnrollProgram,
} from '../contracts';
import { Meeting, type Asked } from './meeting';
import { JointPopulation, PopulationPart } from './shared-population';

/** Bytes of particles' states that a shared population has at most: beyond, sharing fills nothing that is idle. */
const MOST_BYTES = 2 ** 28;

/** Something that is made once and disposed of with its last user. */
class Shared<T extends { dispose(): Promise<void> }> {
  private users = 0;
  private made: Promise<T> | undefined;

  constructor(
    private readonly make: () => Promise<T>,
    private readonly gone: () => void,
  ) {}

  take(): Promise<T> {
    this.users += 1;
    return (this.made ??= this.make());
  }

  async release(): Promise<void> {
    this.users -= 1;
    if (this.users > 0) return;
    this.gone();
    await (await this.made)?.dispose();
  }
}

/** Makes each thing once for all that ask for it by one key. */
class SharedByKey<Key, T extends { dispose(): Promise<void> }> {
  private readonly things = new Map<Key, Shared<T>>();

  of(key: Key, make: () => Promise<T>): Shared<T> {
    let shared = this.things.get(key);
    if (shared === undefined) {
      const fresh = new Shared<T>(make, () => {
        if (this.things.get(key) === fresh) this.things.delete(key);
      });
      shared = fresh;
      this.things.set(key, fresh);
    }
    return shared;
  }
}

/** What runs of one problem have in common: its program, and those that it was differentiated to. */
class Common {
  readonly derivatives = new SharedByKey<string, DerivativeProgram>();

  constructor(readonly program: UnrollProgram) {}

  dispose(): Promise<void> {
    return this.program.dispose();
  }
}

/** What the runs of one engine have in common. */
export class SharedEngine {
  private readonly meeting: Meeting;
  private readonly programs = new SharedByKey<UnrolledProblem, Common>();
  private left: number;

  /** @param engine with `sharesPopulations`; disposed of with the last run */
  constructor(
    private readonly engine: UnrollEngine,
    runs: number,
  ) {
    if (engine.sharesPopulations !== true) {
      throw new EngineError(`engine ${engine.name} keeps one run a population; run them one after another.`);
    }
    this.meeting = new Meeting(runs);
    this.left = runs;
  }

  /**
   * The engine as a run sees it. Runs that compile the very same problem share its program. To be disposed of, by each
   * run once, also by one that never used it: the others wait for it otherwise.
   */
  of(run: number): UnrollEngine {
    const { engine, meeting } = this;
    let disposed = false;
    return {
      name: engine.name,
      capabilities: engine.capabilities,
      ...(engine.fingerprint === undefined ? {} : { fingerprint: engine.fingerprint }),
      compile: async (problem) => {
        const shared = this.programs.of(problem, async () => new Common(await engine.compile(problem)));
        try {
          return new ProgramOfRun(await shared.take(), run, meeting, () => shared.release());
        } catch (error) {
          await shared.release().catch(() => undefined);
          throw error;
        }
      },
      dispose: async () => {
        if (disposed) return;
        disposed = true;
        meeting.leave(run);
        this.left -= 1;
        if (this.left === 0) await engine.dispose();
      },
    };
  }
}

type Creating = Asked<PopulationOptions, DerivativePopulation>;

/** Makes one population for all that ask, or one for each where they would be too large. */
async function createTogether(
  program: Pick<DerivativeProgram, 'createPopulation' | 'theta'>,
  asked: readonly Creating[],
  meeting: Meeting,
  bytesEach: number,
): Promise<void> {
  const total = asked.reduce((sum, { request }) => sum + request.size, 0);
  if (asked.length === 1 || total * bytesEach > MOST_BYTES) {
    for (const { request, resolve, reject } of asked) await program.createPopulation(request).then(resolve, reject);
    return;
  }
  const sizes = asked.map(({ request }) => request.size);
  const seeds = asked.map(({ request }) => request.seed);
  const of = Int32Array.from(sizes.flatMap((size, run) => Array.from({ length: size }, () => run)));
  const whole = await program.createPopulation({ size: total, seed: seeds[0], runs: { seeds, of } });
  const joint = new JointPopulation(whole, sizes, program.theta.size);
  asked.forEach(({ run, resolve }, index) => {
    resolve(new PopulationPart(joint, index, run, meeting));
  });
}

/** A shared program as one run sees it. */
class ProgramOfRun implements UnrollProgram {
  readonly engine;
  readonly problem;
  readonly theta;
  readonly stateSize;
  readonly metrics;
  readonly finishes;

  constructor(
    private readonly common: Common,
    private readonly run: number,
    private readonly meeting: Meeting,
    private readonly release: () => Promise<void>,
  ) {
    const { program } = common;
    this.engine = program.engine;
    this.problem = program.problem;
    this.theta = program.theta;
    this.stateSize = program.stateSize;
    this.metrics = program.metrics;
    this.finishes = program.finishes;
  }

  createPopulation(options: PopulationOptions): Promise<Population> {
    const { common, meeting, run } = this;
    const { program } = common;
    const serve = (asked: readonly Creating[]): Promise<void> =>
      // What a program without derivatives makes is asked for none.
      createTogether(program as unknown as DerivativeProgram, asked, meeting, 4 * program.stateSize);
    return meeting.ask(run, { key: program, detail: 'create', serve }, options);
  }

  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array> {
    return this.common.program.combine(keys, weights);
  }

  async differentiate(differentiation: Differentiation): Promise<DerivativeProgram> {
    const { common, run, meeting } = this;
    const { program } = common;
    const shared = common.derivatives.of(JSON.stringify(differentiation), () => program.differentiate(differentiation));
    let made: DerivativeProgram;
    try {
      made = await shared.take();
    } catch (error) {
      await shared.release().catch(() => undefined);
      throw error;
    }
    return {
      engine: made.engine,
      problem: made.problem,
      theta: made.theta,
      metrics: made.metrics,
      finishes: made.finishes,
      differentiation: made.differentiation,
      derivatives: made.derivatives,
      ...(made.reverse === undefined ? {} : { reverse: made.reverse }),
      createPopulation: (options) => {
        const serve = (asked: readonly Creating[]): Promise<void> =>
          createTogether(made, asked, meeting, 4 * program.stateSize);
        return meeting.ask(run, { key: made, detail: 'create', serve }, options);
      },
      dispose: () => shared.release(),
    };
  }

  dispose(): Promise<void> {
    return this.release();
  }
}
