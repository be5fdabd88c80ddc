import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { WINDOW_CASES } from '../../bench/cases';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function bench(...args: string[]): Promise<Outcome> {
  const root = join(__dirname, '../..');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['-r', 'ts-node/register', 'bench/main.ts', ...args],
      { cwd: root },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

test('the flops of an MNIST step are those that its products have', () => {
  // Twice the multiplications: forward and weight gradients on all 89400 weights, activations' gradients on all but the
  // first layer's, then a second forward; batch 100.
  expect(WINDOW_CASES[0].flopsPerStep).toBe(2 * 100 * (2 * 89400 + 11000) + 2 * 100 * 89400);
});

test('a line of JSON a row, with the documented fields', async () => {
  const { code, stdout, stderr } = await bench(
    'influence',
    '--json',
    '--rounds',
    '1',
    '--engines',
    'tfjs:cpu,tfjs:wasm',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('differ from float64 by') as string });
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(rows.map(({ engine }) => engine)).toEqual(['tfjs:cpu', 'tfjs:wasm']);
  for (const row of rows) {
    expect(Object.keys(row)).toEqual([
      ...['case', 'engine', 'particles', 'window', 'particleStepsPerSecond', 'gflops', 'peakBytes'],
    ]);
    expect(row).toMatchObject({ case: 'influence', particles: 1000, window: 1 });
    const { particleStepsPerSecond, gflops, peakBytes } = row as Record<string, number>;
    expect(gflops).toBeCloseTo((particleStepsPerSecond * 95) / 1e9, 12);
    // Node alone takes 40 MB; TensorFlow.js and the engine stay under a gigabyte.
    expect(peakBytes).toBeGreaterThan(40e6);
    expect(peakBytes).toBeLessThan(1e9);
  }
}, 120_000);

test.each([
  [['no-such-case'], 'Unknown case "no-such-case". Known: mnist-window'],
  [['influence', '--engines', 'gpu'], 'Unknown engine "gpu". Known: '],
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
