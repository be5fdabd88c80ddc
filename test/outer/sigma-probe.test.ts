/** The probe of σ against losses whose slopes and bends are known exactly. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  probeSigma,
  resolveConfig,
  sigmaAdvice,
  type ProbedDirection,
  type ProbeOptions,
  type RunEvent,
  type SigmaProbe,
} from '../../src/outer';
import { quadraticClosedForm } from '../../tasks';
import { readRunResult, startRun } from '../../src/outer/run-directory';
import { renderReport, sigmaLine, sigmaTable } from '../../src/report';
import { plainProgram, type PlainProgram } from '../support/plain-program';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const T = 7;
const SIGMA = 0.1;

/**
 * Σ ½hθ² + gθ at every step, plus worker·(θ₀ + 100) and t: the differences between episodes that all points share cancel,
 * those in the slope along θ₀ do not.
 */
const quadratic = (h: readonly number[], g: readonly number[]): PlainProgram =>
  plainProgram({
    name: 'bowl',
    horizon: T,
    thetaSize: h.length,
    stateSize: 1,
    init: (_theta, state) => state.fill(0),
    step: (theta, _state, t, worker) =>
      h.reduce(
        (sum, curvature, k) => sum + (curvature * theta[k] ** 2) / 2 + g[k] * theta[k],
        worker * (theta[0] + 100) + t,
      ),
  });

const probe = (program: PlainProgram, options: Partial<ProbeOptions> = {}): Promise<SigmaProbe> => {
  const theta = new Float64Array(program.theta.size);
  return probeSigma({
    program,
    theta,
    initialTheta: theta,
    sigma: SIGMA,
    seed: 3,
    episodes: 3,
    budget: Infinity,
    measure: 'mean',
    ...options,
  });
};

describe('numbers', () => {
  const [h, g] = [
    [4, -2],
    [1, 3],
  ];
  const theta = Float64Array.of(0.5, -1);

  test('along coordinates: σ(hθ + g) and σ²h/2, with their errors over episodes', async () => {
    const program = quadratic(h, g);
    const found = await probe(program, { theta, initialTheta: Float64Array.of(1.5, -1) });
    expect(found).toMatchObject({ sigma: SIGMA, episodes: 3, steps: T });
    // Workers 0, 1, 2 add a slope of 0, 1, 2 along θ₀: 1 ± 1/√3. t has mean 3.
    const [first, second] = found.directions;
    expect([first.name, second.name]).toEqual(['[0]', '[1]'].map((index) => `theta${index}`));
    expect(first.slope.mean).toBeCloseTo(SIGMA * (4 * 0.5 + 1 + 1), 12);
    expect(first.slope.standardError).toBeCloseTo(SIGMA / Math.sqrt(3), 12);
    expect(first.bend.mean).toBeCloseTo((SIGMA ** 2 * 4) / 2, 12);
    expect(first.bend.standardError).toBeCloseTo(0, 12);
    expect(second.slope.mean).toBeCloseTo(SIGMA * (-2 * -1 + 3), 12);
    expect(second.slope.standardError).toBeCloseTo(0, 12);
    expect(second.bend.mean).toBeCloseTo((SIGMA ** 2 * -2) / 2, 12);
    expect(found.loss?.mean).toBeCloseTo(0.5 * 4 * 0.25 + 0.5 - 1 - 3 + 100.5 + 3, 12);
    // ½·4·(1.5² − 0.5²) + (1 + worker)·1.
    expect(found.gain?.mean).toBeCloseTo(4 + 2, 12);
    expect(found.gain?.standardError).toBeCloseTo(1 / Math.sqrt(3), 12);
    // One population of (θ₀, θ, two a coordinate) points × three episodes.
    expect(program.steps).toBe(6 * 3 * T);
  });

  test('the last loss instead of the mean', async () => {
    const found = await probe(quadratic(h, g), { measure: 'last', episodes: 1 });
    expect(found.loss?.mean).toBeCloseTo(T - 1, 12);
    expect(found.directions[0].bend.mean).toBeCloseTo((SIGMA ** 2 * 4) / 2, 12);
  });

  test('a larger θ: four directions as long as the noise, other ones for another seed', async () => {
    const d = 9;
    const program = quadratic(new Array<number>(d).fill(6), new Array<number>(d).fill(0));
    const found = await probe(program, { episodes: 1 });
    expect(found.directions.map(({ name }) => name)).toEqual([1, 2, 3, 4].map((n) => `random ${String(n)}`));
    for (const { bend } of found.directions) expect(bend.mean).toBeCloseTo((SIGMA ** 2 * d * 6) / 2, 12);
    const slopes = async (seed: number): Promise<number[]> => {
      const sloped = quadratic(new Array<number>(d).fill(0), new Array<number>(d).fill(1));
      return (await probe(sloped, { episodes: 1, seed })).directions.map(({ slope }) => slope.mean);
    };
    const one = await slopes(1);
    expect(new Set([...one, ...(await slopes(2))]).size).toBe(8);
    expect(await slopes(1)).toEqual(one);
  });

  test('as many episodes as the budget has room for; none where that is too few', async () => {
    const points = 6;
    const run = async (budget: number, episodes: number): Promise<[number, number]> => {
      const program = quadratic(h, g);
      const found = await probe(program, { budget, episodes });
      expect(found.skipped === undefined).toBe(found.episodes > 0);
      return [found.episodes, program.steps];
    };
    expect(await run(points * T * 5 + 1, 100)).toEqual([5, points * T * 5]);
    expect(await run(points * T * 2, 100)).toEqual([2, points * T * 2]);
    expect(await run(points * T * 2 - 1, 100)).toEqual([0, 0]);
    expect(await run(points * T, 1)).toEqual([1, points * T]);
    expect(await run(points * T - 1, 1)).toEqual([0, 0]);
  });
});

describe('in words', () => {
  const direction = (slope: number, bend: number, error = 0): ProbedDirection => ({
    name: 'x',
    slope: { mean: slope, standardError: error },
    bend: { mean: bend, standardError: error },
  });
  const advice = (directions: readonly ProbedDirection[], gain: number, error = 0): string | undefined =>
    sigmaAdvice({ sigma: SIGMA, episodes: 5, steps: T, gain: { mean: gain, standardError: error }, directions });

  test.each<[string, ProbedDirection[], number]>([
    ['a slope above the bend', [direction(-2, 1), direction(2, -1)], 0],
    ['a bend above the slope along half of the directions', [direction(1, 2), direction(2, 1)], 0],
    ['a minimum that was worth ten times the bend', [direction(0, 1), direction(0, 1)], 10],
    ['a minimum whose bend is of chance', [direction(0, 1, 0.6), direction(1.3, 0, 0.6)], 1],
  ])('nothing: %s', (_, directions, gain) => {
    expect(advice(directions, gain)).toBeUndefined();
  });

  test('σ too large: the bend is above the slope along most directions, and is no small share of what was won', () => {
    for (const gain of [-5, 0, 9.9]) {
      expect(advice([direction(0.5, -1), direction(0, 1), direction(2, 1)], gain)).toBe(
        'at θ ± sigma (0.1) the meta-loss bends by 1 and differs by 0.5: sigma is larger than what the loss varies on. A smaller sigma.',
      );
    }
  });

  test('σ too small, or a flat loss: nothing clear along most directions, and nothing won', () => {
    const flat = [direction(1.9, 1.9, 1), direction(-1.9, 0, 1), direction(9, 0, 1)];
    expect(advice(flat, 1, 0.6)).toMatch(/differs by no more than two standard errors of 5 episodes.*A larger sigma/);
    expect(advice(flat, 1, 0.4)).toBeUndefined();
    expect(advice([direction(2.1, 0, 1), direction(0, 1, 1)], 0)).toBeUndefined();
  });

  test('σ that leads where the loss is not finite', () => {
    const lost = [direction(NaN, Infinity), direction(NaN, NaN), direction(1, 0)];
    expect(advice(lost, 1)).toBe('the meta-loss is not finite at θ ± sigma (0.1): a smaller sigma.');
    expect(advice(lost.slice(1), 1)).toBeUndefined();
  });

  test('the real thing: a bowl in whose middle σ has nothing but the bend', async () => {
    const bowl = quadratic([4, 8], [-1, 0]);
    // The mean slope of workers 0, 1, 2 along θ₀ is 1.
    expect(sigmaAdvice(await probe(bowl))).toContain('A smaller sigma.');
    expect(sigmaAdvice(await probe(bowl, { initialTheta: Float64Array.of(0, 1) }))).toBeUndefined();
  });
});

describe('of a whole run', () => {
  let root: string;
  beforeAll(() => {
    root = temporaryFolder();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  type Sets = Readonly<Record<string, string | number | boolean>>;
  /** 12 iterations of 2·8·10 inner steps, of which a twentieth is room for 6 points × 10 steps × one episode. */
  async function run(name: string, more: Sets = { pairs: 8 }): Promise<[string, RunEvent[]]> {
    const sets: Sets = { horizon: 10, window: 10, iterations: 12, ...more };
    const overrides = Object.entries(sets).map(([key, value]) => ({ key, value }));
    const resolver = testContainer();
    const config = resolveConfig({ preset: 'quadratic', engine: 'reference' }, overrides, resolver);
    const out = join(root, name);
    const events: RunEvent[] = [];
    await startRun({ config, resolver, out, listeners: [(event) => events.push(event)] });
    return [out, events];
  }
  const kept = (path: string): SigmaProbe | undefined => readRunResult(path).sigmaProbe;

  test('evaluation.json keeps it, the report and the terminal show it', async () => {
    const [path] = await run('probed');
    const found = kept(path)!;
    expect(found.directions.length).toBeGreaterThan(0);
    expect(found).toMatchObject({ episodes: 1, steps: 10 });
    const result = readRunResult(path);
    const [a, b] = result.theta;
    const at = (x: number, y: number): number => quadraticClosedForm([a + x, b + y], 10).meanLoss;
    const { sigma } = found;
    for (const [i, [x, y]] of [
      [sigma, 0],
      [0, sigma],
    ].entries()) {
      expect(found.directions[i].slope.mean).toBeCloseTo((at(x, y) - at(-x, -y)) / 2, 6);
      expect(found.directions[i].bend.mean).toBeCloseTo((at(x, y) + at(-x, -y)) / 2 - at(0, 0), 6);
    }
    expect(found.gain?.mean).toBeCloseTo(quadraticClosedForm([0, 0], 10).meanLoss - at(0, 0), 6);
    const html = await renderReport({ title: 'x', result, config: {}, seed: 0, reproduce: '' });
    expect(html).toContain('<h2>The meta-loss at θ ± σ</h2>');
    expect(html).toContain(sigmaTable(found)[1][1]);
    expect(sigmaLine(found)).toMatch(
      /^Meta-loss \S+; at θ ± σ \(σ = \S+\) it differs by \S+ and bends by \S+ \(.*1 episode\)\.$/,
    );
    expect(JSON.parse(readFileSync(join(path, 'evaluation.json'), 'utf8'))).toHaveProperty('sigmaProbe.loss.mean');
  });

  test('a run that is short beside it goes without, and says so', async () => {
    const [path] = await run('short', { iterations: 1, pairs: 2 });
    expect(kept(path)?.skipped).toMatch(/^\d+ points of 10 steps are more than a twentieth of the run$/);
    expect(sigmaLine(kept(path)!)).toContain('was not measured');
  });

  test('σ far above what the loss varies on is told', async () => {
    const [path, events] = await run('large', { pairs: 8, sigma: 5 });
    const notes = events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
    expect(notes).toEqual([sigmaAdvice(kept(path)!)]);
    expect(notes[0]).toMatch(/(smaller|A smaller) sigma\.$/);
  });

  test.each<[string, Sets]>([
    ['switched off', { pairs: 8, 'evaluation.probe': false }],
    ['without a σ', { estimator: 'tbptt' }],
  ])('none: %s', async (name, sets) => {
    const [path] = await run(name, sets);
    expect(existsSync(join(path, 'evaluation.json'))).toBe(true);
    expect(kept(path)).toBeUndefined();
  });
});
