import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { WINDOW_CASES } from '../../bench/cases';
import { GRADIENT_CASES } from '../../bench/cases/gradient';
import { gradientDeviation } from '../../bench/candidates/gradient-process';
import { directionOf } from '../../bench/gradient-windows';
import { verdicts } from '../../bench/targets';
import { median, medianRatio, ratiosTo, type GradientTiming, type WindowTiming } from '../../bench/timings';

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

describe('targets of windows that give gradients', () => {
  const MIB = 2 ** 20;
  const [{ name, variant, particles, window }] = GRADIENT_CASES;
  const row = (forward: number | undefined, jax: number | undefined, grownBytes: number | undefined) => {
    const fasterThan = {
      ...(forward === undefined ? {} : { 'native, forward': 1 / forward }),
      ...(jax === undefined ? {} : { jax }),
    };
    const timing: GradientTiming = {
      ...{ case: name, variant, candidate: 'native', particles, window, check: '', rounds: [1] },
      ...{ secondsPerWindow: 1, fasterThan, reverse: { keeps: 'everything', bytes: 50 * MIB, atOnce: 2 } },
      ...(grownBytes === undefined ? {} : { grownBytes }),
    };
    return verdicts([timing]).find(({ row: said }) => said.includes(variant) && said.includes('everything kept'));
  };

  test.each([
    ['all three bounds hold', 3.4, 2.1, 119 * MIB, true],
    ['too slow beside the forward window', 3.6, 2.1, 100 * MIB, false],
    ['too slow beside JAX', 3.4, 1.9, 100 * MIB, false],
    ['more memory than was stated', 3.4, 2.1, 121 * MIB, false],
    ['less memory than was stated', 3.4, 2.1, 79 * MIB, false],
    ['a miss, though JAX took no part', 3.6, undefined, 100 * MIB, false],
    ['undecided without JAX', 3.4, undefined, 100 * MIB, undefined],
    ['undecided where memory is not known', 3.4, 2.1, undefined, undefined],
    ['nothing measured', undefined, undefined, undefined, undefined],
  ])('%s', (_, forward, jax, grown, met) => {
    expect(row(forward, jax, grown)).toMatchObject({ met });
  });
});

describe('deviation of gradients', () => {
  // Two particles, two numbers of θ; norms 5 and 1.
  const expected = { lossSum: [2, 4], lastLoss: [1, 1], derivatives: [3, 4, 0, 1] };

  test('is relative to the norm of the particle, and of its worst one', () => {
    const got = { lossSum: [2, 4.4], lastLoss: [1, 1], derivatives: [3, 4.5, 0, 1.2] };
    const found = gradientDeviation(got, expected, 'reverse');
    expect(found.loss).toBeCloseTo(0.1, 12);
    expect(found.gradient).toBeCloseTo(0.2, 12);
  });

  test('of a tangent is that of the derivative along a direction of length one', () => {
    const [a, b] = directionOf(2);
    expect(a * a + b * b).toBeCloseTo(1, 12);
    const got = { ...expected, derivatives: [3 * a + 4 * b + 0.5, b] };
    expect(gradientDeviation(got, expected, 'tangent').gradient).toBeCloseTo(0.1, 12);
  });

  test('a NaN, or a gradient that is missing, is a deviation', () => {
    const broken = { ...expected, derivatives: [3, NaN, 0, 1] };
    expect(gradientDeviation(broken, expected, 'reverse').gradient).toBeNaN();
    expect(gradientDeviation({ ...expected, derivatives: [] }, expected, 'reverse').gradient).toBeNaN();
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
