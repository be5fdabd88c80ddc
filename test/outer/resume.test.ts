/** SIGKILL at any moment, then resume: the same bits as a run that nobody touched. Real processes, reference engine. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { listCheckpoints, readCheckpoint, readMetrics, readSummary } from '../../src/outer/run-directory';
import type { MetricsLine } from '../../src/outer';
import { CompiledSources, temporaryFolder, type Finished } from './compiled';

const ITERATIONS = 12;
/** A checkpoint after every iteration, so that a kill meets every part of writing one. */
const OVERRIDES = [
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

let sources: CompiledSources;
let folder: string;
beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

interface Order {
  readonly resume?: boolean;
  readonly killAt?: number;
  readonly overrides?: readonly string[];
}

function run(dir: string, order: Order = {}): Promise<Finished> {
  const whole = { dir, preset: 'quadratic', overrides: OVERRIDES, ...order };
  return sources.run(join('test', 'outer', 'child', 'run.js'), [JSON.stringify(whole)]);
}

/** What two runs must have in common: everything but wall time. */
function outcome(dir: string): { lines: Omit<MetricsLine, 'wallSeconds'>[]; state: unknown; summary: unknown } {
  const lines = readMetrics(dir).map(({ wallSeconds: _, ...line }) => line);
  const { wallSeconds: _state, ...state } = readCheckpoint(listCheckpoints(dir)[0].path).state;
  const { wallSeconds: _summary, ...summary } = readSummary(dir)!;
  return { lines, state, summary };
}

test('same seed, same bits in two processes; another seed, other bits', async () => {
  const dirs = ['first', 'second', 'other'].map((name) => join(folder, name));
  const done = await Promise.all([run(dirs[0]), run(dirs[1]), run(dirs[2], { overrides: [...OVERRIDES, 'seed=1'] })]);
  expect(done.map(({ code, stderr }) => ({ code, stderr }))).toEqual(dirs.map(() => ({ code: 0, stderr: '' })));
  const [first, second, other] = dirs.map(outcome);
  expect(first.lines).toHaveLength(ITERATIONS);
  expect(first.lines.map(({ evaluation }) => evaluation !== undefined)).toEqual(
    Array.from({ length: ITERATIONS }, (_, i) => i === 4 || i === 9),
  );
  expect(second).toEqual(first);
  expect(other.lines[0].theta).not.toEqual(first.lines[0].theta);
}, 60000);

test('killed at calls all over its work, again and again, it ends as if untouched', async () => {
  const whole = join(folder, 'whole');
  const { stdout } = await run(whole);
  const calls = Number(stdout);
  expect(calls).toBeGreaterThan(8 * ITERATIONS);
  const expected = outcome(whole);

  // Bit for bit: toEqual compares numbers by value, the file holds the bits.
  const bits = (path: string): string =>
    Buffer.from(readCheckpoint(listCheckpoints(path)[0].path).state.theta.buffer).toString('hex');
  /** Killed, resumed and killed again, then resumed to the end. */
  const torment = async (at: number): Promise<void> => {
    const dir = join(folder, `killed-${String(at)}`);
    expect((await run(dir, { killAt: at })).signal).toBe('SIGKILL');
    for (const killAt of [5 + (at % 13) * 3, undefined]) {
      // Before config.json is there, nothing has begun.
      const again = await run(dir, { resume: existsSync(join(dir, 'config.json')), killAt });
      if (killAt === undefined) expect(again).toMatchObject({ code: 0, stderr: '' });
    }
    expect(outcome(dir)).toEqual(expected);
    expect(readdirSync(join(dir, 'checkpoints'))).toHaveLength(5);
    expect(readdirSync(dir).sort()).toEqual(readdirSync(whole).sort());
    expect(bits(dir)).toBe(bits(whole));
  };
  const places = [3, 17, 31, 74];
  // Two at a time: most of it is Node starting.
  for (let i = 0; i < places.length; i += 2) await Promise.all(places.slice(i, i + 2).map(torment));
}, 120000);
