/** `outerloop surface`: what it prints and writes, and what it refuses before any work. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { here } from '../support/command-line';
import { lorenzLoss } from '../support/lorenz';
import { temporaryFolder } from '../outer/compiled';

jest.setTimeout(60_000);

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]): string => join(folder, ...path);

interface Numbers {
  readonly x: { readonly name: string; readonly stored: number[]; readonly natural: number[] };
  readonly y: { readonly stored: number[] };
  readonly meanLoss: number[][];
  readonly least: { readonly mean: number };
  readonly paths: { readonly label: string; readonly points: { readonly iteration: number; readonly x: number }[] }[];
}

const LORENZ = ['--engine', 'reference', '--set', 'horizon=100', '--set', 'window=50'];
const surfaceOf = (...more: string[]) =>
  here('surface', 'lorenz', ...LORENZ, '--grid', '4x3', '--output', at('page.html'), ...more);

test('the loss at every point, θ of runs over it, a page and the numbers', async () => {
  const train = ['train', 'lorenz', ...LORENZ, '--set', 'iterations=3', '--set', 'pairs=2'];
  for (const seed of ['0', '1']) {
    const run = await here(
      ...train,
      '--set',
      'evaluation.particles=1',
      '--seed',
      seed,
      '--quiet',
      '--output',
      at(seed),
    );
    expect(run).toMatchObject({ code: 0, stderr: '' });
  }
  const { code, stdout, stderr } = await surfaceOf('--range=2:4,3:4', '--steps', '60', '--runs', at('0'), at('1'));
  expect(stderr).toContain('problem lorenz, engine reference');
  expect(code).toBe(0);
  const numbers = JSON.parse(readFileSync(at('page.json'), 'utf8')) as Numbers;
  expect(numbers.x.stored).toEqual([2, 2 + 2 / 3, 2 + 4 / 3, 4]);
  numbers.x.natural.forEach((value, i) => expect(value / Math.exp(numbers.x.stored[i])).toBeCloseTo(1, 6));
  const expected = [3, 3.5, 4].map((lnR) => numbers.x.stored.map((lnA) => lorenzLoss([lnA, lnR], 60)));
  expected.forEach((row, j) => row.forEach((loss, i) => expect(numbers.meanLoss[j][i] / loss).toBeCloseTo(1, 5)));
  expect(numbers.least.mean).toBe(Math.min(...numbers.meanLoss.flat()));
  expect(stdout).toMatch(/least on the grid/);
  expect(stdout).toContain('An episode has 100 steps: only its beginning is shown.');
  // θ₀, then one θ an iteration, as recorded.
  const lines = readFileSync(at('0', 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  const recorded = lines.map((line) => (JSON.parse(line) as { theta: number[] }).theta[0]);
  expect(numbers.paths.map(({ label }) => label)).toEqual(['nres seed 0', 'nres seed 1']);
  expect(numbers.paths[0].points.map(({ x }) => x)).toEqual([Math.fround(3.116), ...recorded]);
  expect(numbers.paths[0].points.map(({ iteration }) => iteration)).toEqual([0, 1, 2, 3]);
  expect(readFileSync(at('page.html'), 'utf8')).toMatch(/<h1>Surface: lorenz<\/h1>[\s\S]*<svg/);
});

test('--json prints one object', async () => {
  const { code, stdout, stderr } = await surfaceOf('--axes', 'r,a', '--steps', '2', '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({ type: 'surface', axes: ['r', 'a'], report: at('page.html') });
});

describe('mistakes are one line, before any work', () => {
  test.each<[string, string[], string]>([
    [
      'a grid that is none',
      ['--grid', '20'],
      '--grid: expected columns x rows, both from 2 up, such as 20x20, got "20".',
    ],
    ['a grid of one column', ['--grid', '1x5'], '--grid: expected'],
    ['a range that is empty', ['--range=2:2,0:1'], '--range: expected low:high,low:high for the two axes'],
    ['a range of one axis', ['--range=2:3'], '--range: expected'],
    ['a range without an end', ['--range=2:,0:1'], '--range: expected'],
    ['an unknown axis', ['--axes', 'a,R2'], 'unknown coordinate of θ "R2". Did you mean "r"?'],
    ['one axis twice', ['--axes', 'a,a'], '--axes: expected two different coordinates of θ, such as a,b, got "a,a".'],
    ['more steps than there are', ['--steps', '101'], '--steps: expected at most the horizon 100, got 101.'],
    ['no page', ['--output', 'x.json'], '--output: expected the name of an .html file, got "x.json".'],
    ['a folder that is no run', ['--runs', folder], 'config.json'],
  ])('%s', async (_name, args, expected) => {
    rmSync(at('page.html'), { force: true });
    const { code, stdout, stderr } = await surfaceOf(...args);
    expect(stderr).toContain(expected);
    expect({ code, stdout, lines: stderr.split('\n').length }).toEqual({ code: 2, stdout: '', lines: 2 });
    expect(existsSync(at('page.html'))).toBe(false);
  });

  test('a θ of one number', async () => {
    const { code, stderr } = await here('surface', 'influence-balancing', '--engine', 'reference');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr:
        'error: a surface needs two coordinates of θ, and influence-balancing has one (theta). Take a preset with more, ' +
        'or wrap another hyperparameter with meta.*.\n',
    });
  });

  test('a run of something else', async () => {
    const { code, stderr } = await surfaceOf('--set', 'horizon=50', '--runs', at('0'));
    expect(stderr).toBe(
      `error: ${at('0')} is a run of something else than lorenz (horizon: 50 → 100). Leave it out, or set the same.\n`,
    );
    expect(code).toBe(2);
  });

  test('a problem without an end needs --steps', async () => {
    const { code, stderr } = await here('surface', 'lorenz', '--set', 'horizon=infinite', '--engine', 'reference');
    expect(stderr).toContain('--steps: expected a number of steps, since lorenz has no end, got nothing.');
    expect(code).toBe(2);
  });
});
