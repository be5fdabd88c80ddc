import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { WINDOW_CASES } from '../../bench/cases';
import { verdicts } from '../../bench/targets';
import { median, medianRatio, ratiosTo, type WindowTiming } from '../../bench/timings';

const ROOT = join(__dirname, '../..');

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function script(file: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['-r', 'ts-node/register', file, ...args], { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const bench = (...args: string[]): Promise<Outcome> => script('bench/main.ts', ...args);

function caseOf(name: string, variant: string) {
  const found = WINDOW_CASES.find((one) => one.name === name && one.variant === variant);
  if (found === undefined) throw new Error(`no case ${name} ${variant}`);
  return found;
}

describe('operations of an inner step', () => {
  test('MNIST: those that its products have', () => {
    // Twice the multiplications: forward and weight gradients on all 89400 weights, activations' gradients on all but
    // the first layer's, then a second forward; batch 100.
    expect(caseOf('mnist-window', 'loss').flopsPerStep).toBe(2 * 100 * (2 * 89400 + 11000) + 2 * 100 * 89400);
  });

  test('per-parameter MLP: its inner products, and its own at 4522 parameters', () => {
    // 64·32 + 32·32 + 32·32 + 32·10 weights and 106 biases; 8 inputs of the network differ between parameters.
    const inner = 2 * 128 * (2 * 4416 + 2368) + 2 * 128 * 4416;
    const network = 2 * 4522 * (8 * 32 + 32 * 32 + 32 * 2);
    expect(caseOf('lopt-window', '64-32-32-32-10').flopsPerStep).toBe(inner + network);
  });
});

describe('ratios', () => {
  test('are of one round, then the median', () => {
    // A machine that is three times as slow in the last round is so for both: the ratio of medians would be 6.
    expect(medianRatio([2, 2, 6], [1, 1, 3])).toBe(2);
    expect(medianRatio([6, 2, null], [1, 1, 5])).toBe(4);
    expect(medianRatio([null], [1])).toBeUndefined();
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(ratiosTo(0, ['a', 'b'], [[1], [3]])).toEqual({ b: 3 });
  });
});

describe('targets', () => {
  const row = (candidate: string, more: Partial<WindowTiming>): WindowTiming => ({
    ...{ case: 'mnist-window', variant: 'loss', candidate, particles: 1000, window: 10, check: '', rounds: [1] },
    ...{ particleStepsPerSecond: 1, gflops: 1, fasterThan: {}, ...more },
  });
  const verdict = (...timings: WindowTiming[]) =>
    verdicts(timings).find(({ row: name }) => name.includes('N = 1000, W = 10'));

  test('nothing measured is neither met nor missed', () => {
    expect(verdict()).toMatchObject({ measured: 'not measured', met: undefined });
  });

  test.each([
    ['both bounds hold', 4.1, 24, undefined, true],
    ['too slow', 3.9, 24, undefined, false],
    ['too large', 4.1, 26, undefined, false],
    ['too slow, but as fast as the C', 3.9, 24, 0.9, true],
    ['as fast as the C, but too large', 4.1, 26, 0.95, false],
    ['too slow, and slower than the C', 3.9, 24, 0.89, false],
  ])('%s', (_, jax, peakBytes, reference, met) => {
    const fasterThan = { jax, ...(reference === undefined ? {} : { 'reference C': reference }) };
    expect(verdict(row('native', { fasterThan, peakBytes }), row('jax', { peakBytes: 100 }))).toMatchObject({ met });
  });
});

test('docs/performance.md is what npm run bench:docs writes', async () => {
  expect(await script('bench/docs.ts', '--check')).toEqual({ code: 0, stdout: '', stderr: '' });
}, 60_000);

test('a line of JSON a row, with the documented fields', async () => {
  const { code, stdout, stderr } = await bench(
    ...['influence', '--json', '--rounds', '1', '--peers', 'none', '--engines', 'tfjs:cpu,tfjs:wasm'],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('differ from float64 by') as string });
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as WindowTiming);
  expect(rows.map(({ candidate, variant }) => [candidate, variant])).toEqual([
    ['tfjs:cpu', 'dense'],
    ['tfjs:wasm', 'dense'],
    ['tfjs:cpu', 'banded'],
    ['tfjs:wasm', 'banded'],
  ]);
  for (const row of rows) {
    expect(Object.keys(row)).toEqual([
      ...['case', 'variant', 'particles', 'window', 'candidate', 'particleStepsPerSecond', 'gflops'],
      ...['fasterThan', 'peakBytes', 'compileSeconds', 'rounds', 'check'],
    ]);
    expect(row).toMatchObject({ case: 'influence', particles: 1000, window: 1 });
    const { particleStepsPerSecond, gflops, peakBytes = 0, variant, rounds } = row;
    expect(particleStepsPerSecond).toBeCloseTo((1000 * 300) / Number(rounds[0]), 6);
    expect(gflops).toBeCloseTo((particleStepsPerSecond * (variant === 'dense' ? 1107 : 95)) / 1e9, 12);
    // Node alone takes 40 MB; TensorFlow.js and the engine stay under a gigabyte.
    expect(peakBytes).toBeGreaterThan(40e6);
    expect(peakBytes).toBeLessThan(1e9);
  }
  // One round: the ratio is that of the two times, and its inverse.
  expect(rows[0].fasterThan['tfjs:wasm']).toBeCloseTo(Number(rows[1].rounds[0]) / Number(rows[0].rounds[0]), 12);
  expect(rows[1].fasterThan['tfjs:cpu']).toBeCloseTo(1 / rows[0].fasterThan['tfjs:wasm'], 12);
}, 240_000);

test.each([
  [['no-such-case'], 'Unknown case "no-such-case". Known: mnist-window'],
  [['influence', '--engines', 'gpu'], 'Unknown engine "gpu". Known: '],
  [['influence', '--peers', 'torch'], 'Unknown peer "torch". Known: jax'],
  [['influence', '--rounds', '0'], 'Expected a positive number'],
])(
  '%j is refused',
  async (args, message) => {
    const { code, stderr } = await bench(...args);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  },
  60_000,
);
