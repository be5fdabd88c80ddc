/** `outerloop variance`: what it prints and writes, and what it refuses before any work. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { VarianceReport } from '../../src/report';
import { here } from '../support/command-line';
import { lorenzLoss } from '../support/lorenz';
import { temporaryFolder } from '../outer/compiled';

jest.setTimeout(60_000);

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]): string => join(folder, ...path);

const LORENZ = ['--engine', 'reference', '--set', 'horizon=20', '--set', 'window=10'];
const varianceOf = (...more: string[]) =>
  here('variance', 'lorenz', ...LORENZ, '--repeats', '4', '--output', at('page.html'), ...more);
const report = (): VarianceReport => JSON.parse(readFileSync(at('page.json'), 'utf8')) as VarianceReport;

/** Gradient of the mean loss by central differences. */
function lorenzSlopes(theta: readonly number[]): number[] {
  const h = 1e-5;
  return [0, 1].map((k) => {
    const moved = (by: number): number =>
      lorenzLoss(
        theta.map((x, i) => (i === k ? x + by : x)),
        20,
      );
    return (moved(h) - moved(-h)) / (2 * h);
  });
}

test('estimators at equal inner steps; exact ones have neither variance nor bias against bptt', async () => {
  const { code, stdout, stderr } = await varianceOf(
    ...['--estimators', 'bptt,tbptt,truncated-es,pes', '--windows', '20,10'],
    ...['--reference', 'bptt', '--theta', '3.1,3.7', '--pairs', '3'],
  );
  expect(stderr).toContain('problem lorenz, engine reference');
  expect(code).toBe(0);
  const { at: places, budget, sigma } = report();
  expect([places.length, budget, sigma]).toEqual([1, 3 * 2 * 20, undefined]);
  const [{ rows, reference, theta }] = places;
  expect(theta).toEqual([3.1, 3.7]);
  // 120 steps: 6 workers of 20 steps, 12 or 6 of 10 or 20, 4 or 2 with three particles, 6 or 3 pairs.
  expect(rows.map(({ estimator, window, count, innerSteps }) => [estimator, window, count, innerSteps])).toEqual([
    ['bptt', undefined, 6, 120],
    ['tbptt', 10, 12, 120],
    ['tbptt', 20, 6, 120],
    ['truncated-es', 10, 4, 120],
    ['truncated-es', 20, 2, 120],
    ['pes', 10, 6, 120],
    ['pes', 20, 3, 120],
  ]);
  const slopes = lorenzSlopes(theta);
  expect(reference.squaredNorm / slopes.reduce((sum, g) => sum + g * g, 0)).toBeCloseTo(1, 6);
  const [bptt, short, whole, ...evolution] = rows.map(({ errors }) => errors);
  expect(bptt?.totalVariance).toEqual({ value: 0, low: 0, high: 0 });
  expect(Math.abs(bptt?.biasSquared.value ?? 1)).toBeLessThan(1e-20 * reference.squaredNorm);
  // One window over the whole episode is BPTT (the start depends on no θ); two are not.
  expect(Math.abs(whole?.biasSquared.value ?? 1)).toBeLessThan(1e-20 * reference.squaredNorm);
  expect(short?.biasSquared.low).toBeGreaterThan(1e-3 * reference.squaredNorm);
  for (const errors of evolution) expect(errors?.totalVariance.low).toBeGreaterThan(0);
  expect(stdout).toContain('It is the gradient without smoothing');
  expect(readFileSync(at('page.html'), 'utf8')).toMatch(/<h1>Variance: lorenz<\/h1>[\s\S]*<svg/);
});

test('episodes in the place of estimates: the same mean and variance, N as asked for, no burn-in', async () => {
  const { code, stdout } = await varianceOf(
    ...['--estimators', 'nres,full-es', '--theta', '3.1,3.7', '--repeats', '50', '--sample', 'episodes'],
  );
  expect(code).toBe(0);
  const { at: places, reproduce } = report();
  const [nres, fullEs] = places[0].rows;
  expect(reproduce).toContain('--sample episodes');
  // 40 steps: two pairs of ten steps, or one pair of twenty.
  expect([nres.count, nres.innerSteps, nres.burnInSteps, nres.episodes]).toEqual([2, 40, 0, true]);
  expect([fullEs.count, fullEs.innerSteps, fullEs.episodes]).toEqual([1, 40, undefined]);
  // Nothing is random but the noise, which both rows share, and losses are near linear in it: with stratified offsets, NRES
  // has (d+1)·mean‖g_τ‖²/N to FullES's (d+1)‖ḡ‖², whatever the noise.
  const ratioOf = (of: (row: typeof nres) => number | undefined): number => (of(nres) ?? NaN) / (of(fullEs) ?? NaN);
  const measured = ratioOf(({ errors }) => errors?.totalVariance.value);
  expect(Math.abs(measured / ratioOf(({ predicted }) => predicted?.value) - 1)).toBeLessThan(0.02);
  expect(stdout).toContain('50 episodes of one worker a row');
});

test('predictions stand beside measured variances: in the table, in the notes, in the picture and as numbers', async () => {
  const { code, stdout } = await varianceOf('--estimators', 'nres,full-es,tbptt', '--theta', '3.1,3.7', '--pairs', '2');
  expect(code).toBe(0);
  const [{ rows, predictions, theta }] = report().at;
  const [nres, fullEs, tbptt] = rows;
  const squaredNorm = lorenzSlopes(theta).reduce((sum, g) => sum + g * g, 0);
  // FullES, two pairs: (d+1)‖ḡ‖²/2. Every episode of Lorenz is the same.
  expect((fullEs.predicted?.value ?? 0) / ((3 * squaredNorm) / 2)).toBeCloseTo(1, 6);
  expect(fullEs.predicted?.standardError).toBe(0);
  expect(predictions).toEqual({ episodes: 1 });
  // Stratified: (d+1)·mean‖g_τ‖²/N, and mean‖g_τ‖² ≥ ‖ḡ‖²; N = 4.
  expect(nres.predicted?.value).toBeGreaterThan((3 * squaredNorm) / 4);
  expect(tbptt.predicted).toBeUndefined();
  expect(stdout).toMatch(/ predicted +│ ratio /);
  expect(stdout.replace(/\s+/g, ' ')).toContain('Predicted: by the formulas for losses that are linear in the noise');
  const page = readFileSync(at('page.html'), 'utf8');
  expect(page).toContain('stroke-dasharray');
  expect(page).toContain('Dashed, with open points: predicted.');
});

describe('predictions that are not there', () => {
  const quiet = ['--estimators', 'nres,full-es', '--windows', '10'];
  test('not asked for', async () => {
    const { code, stdout } = await varianceOf(...quiet, '--predict', 'never');
    expect({ code, predictions: report().at[0].predictions }).toEqual({ code: 0, predictions: undefined });
    expect(stdout).not.toMatch(/predict/i);
  });

  test('more work than the measurement, unless it is to be done all the same', async () => {
    const pes = ['--estimators', 'pes', '--windows', '1', '--repeats', '2'];
    const refused = await varianceOf(...pes);
    // 20 chunks of two numbers: five particles of eight tangents run 20, 16 … 4 steps, the last one 16 before; two episodes
    // of 76 · (1 + 2 · 8). PES: 2 · 20 steps and 9.5 times as many of burn-in, the reference 4 · 2 · 20, twice.
    expect(refused.stdout.replace(/\s+/g, ' ')).toContain(
      'No prediction: 40 tangents of an episode (θ of 2, 20 chunks of noise), in two episodes, are the work of 2,584 inner ' +
        'steps, and the measurement is that of 1,160 (--predict always does it all the same).',
    );
    expect(refused.stdout).not.toContain('│ ratio');
    const { code, stdout } = await varianceOf(...pes, '--predict', 'always');
    expect(code).toBe(0);
    expect(stdout).toMatch(/ predicted +│ ratio /);
    expect(report().at[0].predictions).toEqual({ episodes: 1 });
  });

  test('an objective without derivatives', async () => {
    const small = ['--engine', 'reference', '--set', 'horizon=4', '--set', 'data.size=4', '--set', 'task.hidden=[4]'];
    const batch = ['--set', 'task.batchSize=4', '--set', 'window=2'];
    const rest = ['--estimators', 'nres', '--repeats', '20', '--output', at('page.html')];
    const { code, stdout } = await here('variance', 'mnist-lr-small', ...small, ...batch, ...rest);
    expect(code).toBe(0);
    expect(stdout).toContain(
      'No prediction: the objective of "sgd on mlp" has no derivative, and the formulas are of gradients.',
    );
    expect(stdout).not.toContain('│ ratio');
  });
});

test("by default the preset's estimator and full-es, where runs went through, in one JSON object", async () => {
  const train = ['train', 'lorenz', ...LORENZ, '--set', 'iterations=4', '--set', 'pairs=2'];
  const run = await here(...train, '--set', 'evaluation.particles=1', '--quiet', '--output', at('run'));
  expect(run).toMatchObject({ code: 0, stderr: '' });
  const { code, stdout, stderr } = await varianceOf('--runs', at('run'), '--points', '3', '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const printed = JSON.parse(stdout) as VarianceReport;
  expect(printed).toMatchObject({ type: 'variance', report: at('page.html') });
  expect(printed.at.map(({ label }) => label)).toEqual([0, 2, 4].map((i) => `iteration ${i} of nres`));
  expect(printed.at[0].rows.map(({ estimator, window }) => [estimator, window])).toEqual([
    ['nres', 10],
    ['full-es', undefined],
  ]);
  const lines = readFileSync(at('run', 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  expect(printed.at[2].theta).toEqual((JSON.parse(lines[3]) as { theta: number[] }).theta);
  expect(report().sigma).toBe(0.04);
  const first = readFileSync(at('page.json'), 'utf8');
  const withoutTime = (text: string): string => text.replace(/"seconds": .*/, '');
  await varianceOf('--runs', at('run'), '--points', '3', '--json');
  expect(withoutTime(readFileSync(at('page.json'), 'utf8'))).toBe(withoutTime(first));
});

describe('mistakes are one line, before any work', () => {
  test.each<[string, string[], string]>([
    ['an unknown estimator', ['--estimators', 'nress'], 'unknown estimator "nress". Did you mean "nres"?'],
    ['one without a gradient', ['--estimators', 'random-search'], '"random-search" estimates no gradient.'],
    ['an option that it lacks', ['--estimators', 'bptt:sigma=1'], 'unknown key of estimator "bptt": "estimator.sigma"'],
    ['a window that does not divide', ['--windows', '7'], 'estimator.window: expected'],
    ['windows that are none', ['--windows', '0'], '--windows: expected different numbers of steps'],
    ['one repeat', ['--repeats', '1'], '--repeats: expected an integer of at least 2, got "1".'],
    [
      'another reference',
      ['--reference', 'pes'],
      '--reference: expected full-es or bptt, which are unbiased, got "pes".',
    ],
    ['a θ of another size', ['--theta', '1,2,3'], '--theta: expected 2 numbers, got 3.'],
    ['a θ that is none', ['--theta', '1,x'], '--theta: expected numbers as stored, such as 3.1,3.7, got "1,x".'],
    ['predictions otherwise', ['--predict', 'maybe'], '--predict: expected auto, always, never, got "maybe".'],
    ['two kinds of θ', ['--theta', '1,2', '--runs', folder], '--theta and --runs both name θ.'],
    ['no page', ['--output', 'x'], '--output: expected the name of an .html file, got "x".'],
  ])('%s', async (_name, args, expected) => {
    rmSync(at('page.html'), { force: true });
    const { code, stdout, stderr } = await varianceOf(...args);
    expect(stderr).toContain(expected);
    expect({ code, stdout, lines: stderr.split('\n').length }).toEqual({ code: 2, stdout: '', lines: 2 });
    expect(existsSync(at('page.html'))).toBe(false);
  });

  test('an endless problem', async () => {
    const { code, stderr } = await here('variance', 'influence-balancing', '--engine', 'reference');
    expect(stderr).toContain('horizon: expected a number of steps, since the reference is of whole episodes');
    expect(code).toBe(2);
  });
});
