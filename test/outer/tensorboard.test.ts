/** Event files of TensorBoard: their framing by published checksums, their contents by TensorBoard's own reader. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigurationError, meta, nres, quadraticTask, sgd, tune } from '../../src';
import { parseOverride, resolveConfig, type ResolvedConfig, type RunEvent } from '../../src/outer';
import { readMetrics, resumeRun, startRun } from '../../src/outer/run-directory';
import { crc32c, firstEvents, frame, scalarEvent } from '../../src/outer/run-directory/event-file';
import { scalarsOf } from '../../src/outer/run-directory/tensorboard';
import { tensorboardPython } from '../support/tensorboard';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const resolver = testContainer();
const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TASK = {
  task: 'quadratic',
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.05)', momentum: 'meta.linear(0.5)' },
  estimator: { name: 'nres', pairs: 4, window: 5, sigma: 0.1 },
  engine: 'reference',
  horizon: 20,
  iterations: 8,
  evaluation: { every: 3, tasks: [{ name: 'other', task: 'quadratic' }] },
  checkpoint: { seconds: 1e-7, keep: 20 },
};
const configure = (...sets: string[]): ResolvedConfig => resolveConfig(TASK, sets.map(parseOverride), resolver);
const eventFiles = (run: string): string[] => readdirSync(join(run, 'tensorboard'));

test.each([
  ['32 zero bytes', Buffer.alloc(32), 0x8a9136aa],
  ['32 bytes of ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
  ['0 … 31', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
  ['digits', Buffer.from('123456789'), 0xe3069283],
])('the CRC-32C of RFC 3720: %s', (_, bytes, sum) => {
  expect(crc32c(bytes)).toBe(sum);
});

test('a record is its length, both with masked checksums', () => {
  const record = frame(Buffer.from('123456789'));
  expect(record.readBigUInt64LE(0)).toBe(9n);
  expect(record.subarray(12, 21).toString()).toBe('123456789');
  // ((0xe3069283 >>> 15) | (0xe3069283 << 17)) + 0xa282ead8 modulo 2³².
  expect(record.readUInt32LE(21)).toBe(0xc78ab0e5);
  expect(record).toHaveLength(25);
});

/** A run of eight iterations that stops after six, and goes on from the checkpoint of four. */
async function resumed(run: string, first: boolean): Promise<string[]> {
  const controller = new AbortController();
  const abort = (event: RunEvent): void => {
    if (event.type === 'iteration' && event.record.iteration === 5) controller.abort();
  };
  const config = configure();
  await startRun({ config, resolver, out: run, tensorboard: first, listeners: [abort], signal: controller.signal });
  const before = first ? eventFiles(run) : [];
  await resumeRun(run, { resolver, checkpoint: 4, ...(first ? {} : { tensorboard: true }) });
  return before;
}

test('a resumed run has one file, which viewers read after the earlier one; without the option there is none', async () => {
  const run = join(folder, 'names');
  const before = await resumed(run, true);
  const after = eventFiles(run);
  expect([before.length, after.length]).toEqual([1, 1]);
  expect([...after, ...before].sort()).toEqual([...before, ...after]);
  const plain = join(folder, 'plain');
  await startRun({ config: configure(), resolver, out: plain });
  expect(readdirSync(plain)).not.toContain('tensorboard');
});

test('in code it needs a folder', async () => {
  const config = configure();
  await expect(startRun({ config, resolver, tensorboard: true })).rejects.toThrow(ConfigurationError);
  const options = { task: quadraticTask(), optimizer: sgd({ learningRate: meta.log(0.05) }), horizon: 5 };
  const estimator = nres({ pairs: 2, window: 5, sigma: 0.1 });
  const more = { ...options, estimator, iterations: 2, engine: 'reference', tensorboard: true };
  await expect(tune(more)).rejects.toThrow(ConfigurationError);
  await tune({ ...more, out: join(folder, 'tuned') });
  expect(eventFiles(join(folder, 'tuned'))).toHaveLength(1);
});

if (tensorboardPython() === undefined) {
  test.skip('tensorboard is not tested: scripts/install-tensorboard.sh has not been run', () => undefined);
} else {
  type Scalars = Readonly<Record<string, readonly (readonly [wall: number, step: number, value: string])[]>>;
  const read = (path: string): Scalars => {
    const script = join(__dirname, '..', 'support', 'read_events.py');
    const output = execFileSync(tensorboardPython()!, [script, path], { encoding: 'utf8', stdio: 'pipe' });
    return JSON.parse(output) as Scalars;
  };
  const NAMES = ['learningRate', 'momentum'];

  /** That TensorBoard sees every number of metrics.jsonl, in order, once. */
  function expectMetrics(run: string, iterations = 8): Scalars {
    const expected: Record<string, [number, number][]> = {};
    const lines = readMetrics(run).slice(0, iterations);
    for (const line of lines) {
      for (const [tag, value] of Object.entries(scalarsOf(line, NAMES))) {
        (expected[tag] ??= []).push([line.iteration, Math.fround(value)]);
      }
    }
    const got = read(join(run, 'tensorboard'));
    const numbers = Object.entries(got).map(([tag, all]) => [tag, all.map(([, step, value]) => [step, Number(value)])]);
    expect(Object.fromEntries(numbers)).toEqual(expected);
    const walls = got['training/meta-loss'].map(([wall]) => wall);
    const began = walls[0] - lines[0].wallSeconds;
    walls.forEach((wall, i) => expect(Math.abs(wall - began - lines[i].wallSeconds)).toBeLessThan(1e-5));
    expect(Math.abs(began - Date.now() / 1000)).toBeLessThan(600);
    return got;
  }

  test('TensorBoard reads what metrics.jsonl has', async () => {
    const run = join(folder, 'whole');
    await startRun({ config: configure(), resolver, out: run, tensorboard: true });
    const got = expectMetrics(run);
    const [line] = readMetrics(run);
    expect(Number(got['training/meta-loss'][0][2])).toBe(Math.fround(line.meanLoss!));
    expect(got['evaluation/mean'].map(([, step]) => step)).toEqual([2, 5]);
    expect(Object.keys(got)).toEqual(
      expect.arrayContaining([
        ...['training/gradient norm', 'training/update norm', 'training/inner steps', 'training/dropped pairs'],
        ...['theta/learningRate', 'theta/momentum', 'diagnostics/sigma'],
        ...['evaluation/standard error', 'held-out/other/mean', 'held-out/other/meta-loss'],
      ]),
    );
  });

  test.each([true, false])('and of a resumed run, nothing that was given up (from its start: %s)', async (first) => {
    const run = join(folder, `resumed-${String(first)}`);
    await resumed(run, first);
    expectMetrics(run);
  });

  test('a record that was cut short spoils none before it', async () => {
    const run = join(folder, 'cut');
    await startRun({ config: configure(), resolver, out: run, tensorboard: true });
    const file = join(run, 'tensorboard', eventFiles(run)[0]);
    truncateSync(file, readFileSync(file).length - 7);
    expectMetrics(run, 7);
  });

  test('where the earlier file is still there, the later one stands', async () => {
    const run = join(folder, 'both');
    await startRun({ config: configure('seed=1'), resolver, out: run, tensorboard: true });
    const [earlier] = eventFiles(run);
    const kept = join(folder, earlier);
    copyFileSync(join(run, 'tensorboard', earlier), kept);
    await resumeRun(run, { resolver, checkpoint: 2 });
    copyFileSync(kept, join(run, 'tensorboard', earlier));
    expect(eventFiles(run)).toHaveLength(2);
    expectMetrics(run);
  });

  test('numbers that are not finite, large steps, tags of any letters', () => {
    const place = join(folder, 'numbers');
    mkdirSync(place);
    const values = { 'θ/å': NaN, [`long/${'x'.repeat(300)}`]: -1.5e-30, inf: Infinity };
    const bytes = Buffer.concat([firstEvents(1.5e9), scalarEvent(1.5e9 + 0.25, 2 ** 40 + 1, values)]);
    writeFileSync(join(place, 'events.out.tfevents.1500000000.here.1'), bytes);
    const at = [1.5e9 + 0.25, 2 ** 40 + 1];
    const got = read(place);
    expect(got['θ/å']).toEqual([[...at, 'nan']]);
    expect(got.inf).toEqual([[...at, 'inf']]);
    expect(Number(got[`long/${'x'.repeat(300)}`][0][2])).toBe(Math.fround(-1.5e-30));
  });
}
