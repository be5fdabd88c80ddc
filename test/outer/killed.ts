/** Runs in processes of their own that are killed, resumed and held against one that nobody touched. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { listCheckpoints, readCheckpoint, readMetrics, readSummary } from '../../src/outer/run-directory';
import type { MetricsLine } from '../../src/outer';
import { CompiledSources, temporaryFolder, type Finished } from './compiled';

export const ITERATIONS = 12;
/** A checkpoint after every iteration, so that a kill meets every part of writing one. */
export const OVERRIDES = [
  `iterations=${String(ITERATIONS)}`,
  'horizon=20',
  'pairs=4',
  'window=10',
  'engine=reference',
  'thetaAverage=0.8',
  'outerOptimizer={name: adam, learningRate: 0.05}',
  'evaluation.every=5',
  'checkpoint.seconds=0.0000001',
];

interface Order {
  readonly resume?: boolean;
  readonly killAt?: number;
  readonly overrides?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

/** What two runs must have in common: everything but wall time. */
interface Outcome {
  readonly lines: Omit<MetricsLine, 'wallSeconds'>[];
  readonly state: unknown;
  readonly summary: unknown;
}

export function outcome(dir: string): Outcome {
  const lines = readMetrics(dir).map(({ wallSeconds: _, ...line }) => line);
  const { wallSeconds: _state, ...state } = readCheckpoint(listCheckpoints(dir)[0].path).state;
  const { wallSeconds: _summary, ...summary } = readSummary(dir)!;
  return { lines, state, summary };
}

/** Bit for bit: toEqual compares numbers by value, the file holds the bits. */
function bits(path: string): string {
  return Buffer.from(readCheckpoint(listCheckpoints(path)[0].path).state.theta.buffer).toString('hex');
}

export class KilledRuns {
  readonly folder = temporaryFolder();
  private readonly sources = new CompiledSources();

  /** @param resumed Environment of the processes that resume; it must not matter. */
  constructor(
    private readonly preset = 'quadratic',
    private readonly overrides: readonly string[] = OVERRIDES,
    private readonly resumed: NodeJS.ProcessEnv = {},
  ) {}

  run(dir: string, { environment, ...order }: Order = {}): Promise<Finished> {
    const whole = { dir, preset: this.preset, overrides: this.overrides, ...order };
    return this.sources.run(join('test', 'outer', 'child', 'run.js'), [JSON.stringify(whole)], { environment });
  }

  /** `places`: at which of so many calls that change files a run is killed, each time one of its own. */
  async expectSameEnd(places: (calls: number) => readonly number[]): Promise<void> {
    const whole = join(this.folder, 'whole');
    const { stdout } = await this.run(whole);
    const calls = Number(stdout);
    expect(calls).toBeGreaterThan(8 * ITERATIONS);
    // Two at a time: most of it is Node starting.
    const chosen = places(calls);
    for (let i = 0; i < chosen.length; i += 2) {
      await Promise.all(chosen.slice(i, i + 2).map((at) => this.torment(at, whole)));
    }
  }

  dispose(): void {
    this.sources.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Killed, resumed and killed again, then resumed to the end. */
  private async torment(at: number, whole: string): Promise<void> {
    const dir = join(this.folder, `killed-${String(at)}`);
    expect((await this.run(dir, { killAt: at })).signal).toBe('SIGKILL');
    for (const killAt of [5 + (at % 13) * 3, undefined]) {
      // Before config.json is there, nothing has begun.
      const resume = existsSync(join(dir, 'config.json'));
      const again = await this.run(dir, { resume, killAt, environment: this.resumed });
      if (killAt === undefined) expect(again).toMatchObject({ code: 0, stderr: '' });
    }
    expect(outcome(dir)).toEqual(outcome(whole));
    // Beside the best θ, of a run that is evaluated.
    const kept = readdirSync(join(dir, 'checkpoints')).filter((file) => file.startsWith('iteration-'));
    expect(kept).toHaveLength(5);
    expect(readdirSync(dir).sort()).toEqual(readdirSync(whole).sort());
    expect(bits(dir)).toBe(bits(whole));
  }
}
