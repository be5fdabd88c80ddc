/** The best evaluated θ of a run, and the end of a run that does not get better: what is kept, and what is made of it. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigurationError } from '../../src/contracts';
import { loadOptimizer, meta, nres, outer, quadraticTask, sgd, tune, type TuneOptions } from '../../src';
import { parseOverride, resolveConfig, type RunEvent, type RunResult } from '../../src/outer';
import {
  evaluateRun,
  optimizerOfRun,
  readMetrics,
  readRunResult,
  readSummary,
  resumeRun,
  startRun,
} from '../../src/outer/run-directory';
import { renderReport } from '../../src/report';
import { quadraticClosedForm } from '../../tasks';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const resolver = testContainer();
const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let next = 0;
const fresh = (): string => join(folder, `run-${String(next++)}`);

const ITERATIONS = 40;
const PATIENCE = 3;
/** Adam's steps are so long here that θ swings around where it should go. */
const SETS = [
  `iterations=${String(ITERATIONS)}`,
  'horizon=20',
  'pairs=2',
  'window=10',
  'engine=reference',
  'outerOptimizer={name: adam, learningRate: 0.1}',
  'evaluation.every=2',
  'checkpoint.seconds=0.0000001',
];

interface Run {
  readonly result: RunResult;
  readonly path: string;
  readonly events: readonly RunEvent[];
}

async function run(sets: readonly string[], preset = 'quadratic', abortAfter?: number): Promise<Run> {
  const path = fresh();
  const config = resolveConfig({ preset }, [...SETS, ...sets].map(parseOverride), resolver);
  const controller = new AbortController();
  const events: RunEvent[] = [];
  const listener = (event: RunEvent): void => {
    events.push(event);
    if (event.type === 'iteration' && event.record.iteration + 1 === abortAfter) controller.abort();
  };
  const result = await startRun({ config, resolver, out: path, listeners: [listener], signal: controller.signal });
  return { result, path, events };
}

/** What θ is worth, in closed form. */
const worth = (theta: readonly (number | null)[]): number =>
  quadraticClosedForm([Number(theta[0]), Number(theta[1])], 20).meanLoss;

/** When a run of these θ ends, and with which best one, by the rule in words; θ₀ is 0. */
function expectedEnd(thetas: readonly (readonly (number | null)[])[]): { stop: number; best: number; value: number } {
  let [best, value, since] = [0, worth([0, 0]), 0];
  for (let done = 2; done < ITERATIONS; done += 2) {
    const now = worth(thetas[done - 1]);
    if (now < value) [best, value, since] = [done, now, 0];
    else if (++since === PATIENCE) return { stop: done, best, value };
  }
  return { stop: ITERATIONS, best, value };
}

const notes = ({ events }: Pick<Run, 'events'>): string[] =>
  events.flatMap((event) => (event.type === 'notice' && event.text.startsWith('stopped') ? [event.text] : []));

describe('a run that stops', () => {
  let whole: Run;
  let stopped: Run;
  let expected: ReturnType<typeof expectedEnd>;
  beforeAll(async () => {
    whole = await run([]);
    stopped = await run([`evaluation.patience=${String(PATIENCE)}`, 'checkpoint.keep=1']);
    expected = expectedEnd(readMetrics(whole.path).map(({ theta }) => theta!));
  });

  it('ends where the closed form says, with what it did up to there, and says so', () => {
    const { stop, best } = expected;
    expect(stop).toBeLessThan(ITERATIONS);
    expect(best).toBeGreaterThan(0);
    expect(stopped.result).toMatchObject({ iterations: stop, stopped: true, interrupted: false, select: 'last' });
    const thetas = (of: Run): unknown[] => readMetrics(of.path).map(({ theta }) => theta);
    expect(thetas(stopped)).toEqual(thetas(whole).slice(0, stop));
    expect(stopped.events.at(-1)).toEqual({ type: 'end', reason: 'stopped', iterations: stop });
    expect(notes(stopped)).toEqual([
      `stopped after ${String(stop)} of 40 iterations: 3 evaluations in a row without a better mean loss than that after iteration ${String(best)}.`,
    ]);
    expect(whole.result.stopped).toBe(false);
    expect(whole.events.at(-1)).toMatchObject({ reason: 'finished' });
  });

  it('has the best in its summary, and its θ as a file that is not one of those it keeps', () => {
    const { stop, best, value } = expected;
    expect(readSummary(stopped.path)).toMatchObject({
      iterations: stop,
      ended: 'patience',
      select: 'last',
      best: { iteration: best, mean: expect.closeTo(value, 6) as number, n: 1 },
    });
    expect(readdirSync(join(stopped.path, 'checkpoints'))).toEqual([
      'best.safetensors',
      `iteration-${String(stop).padStart(8, '0')}.safetensors`,
    ]);
    const { theta } = readMetrics(whole.path)[best - 1];
    expect(Array.from(stopped.result.best!.theta)).toEqual(theta);
    expect(Array.from(stopped.result.theta)).not.toEqual(theta);
  });

  it('is read back as it was returned, and its report has the course', async () => {
    const { initialTheta: _theta, ...rest } = stopped.result;
    // How many evaluations came after the best, only the running run needs to know.
    const { best, ...read } = readRunResult(stopped.path);
    expect({ ...read, best: { ...best, since: rest.best!.since } }).toEqual(rest);
    const page = await renderReport({ title: 't', result: stopped.result, config: {}, seed: 0, reproduce: '' });
    expect(page).toContain('stopped early (evaluation.patience)');
    expect(page).toContain(`after iteration ${String(expected.best)}; the run ends with its last θ`);
    expect(page).toContain('<figcaption>Evaluations</figcaption>');
  });

  it('has nothing left to do when it is resumed, and says so', async () => {
    const events: RunEvent[] = [];
    const again = await resumeRun(stopped.path, { resolver, listeners: [(event) => events.push(event)] });
    expect(again).toMatchObject({ iterations: expected.stop, stopped: true });
    expect(again.theta).toEqual(stopped.result.theta);
    expect(notes({ events })[0]).toContain('Nothing was left to do');
  });

  it('is resumed to the same end, wherever it was cut or goes back to', async () => {
    const { stop, best } = expected;
    for (const cut of [1, best, stop - 1]) {
      const part = await run([`evaluation.patience=${String(PATIENCE)}`], 'quadratic', cut);
      expect(part.result).toMatchObject({ interrupted: true, stopped: false, iterations: cut });
      const { best: kept, ...end } = await resumeRun(part.path, { resolver });
      expect(end).toMatchObject({ iterations: stop, stopped: true, theta: stopped.result.theta });
      expect(kept).toEqual(stopped.result.best);
    }
    const back = await run([`evaluation.patience=${String(PATIENCE)}`, 'checkpoint.keep=100']);
    const part = await resumeRun(back.path, { resolver, checkpoint: 1, signal: AbortSignal.abort() });
    expect(part.iterations).toBe(1);
    // The best of what was given up is none any more.
    expect(readRunResult(back.path).best!.iteration).toBe(0);
    expect((await resumeRun(back.path, { resolver })).best).toEqual(stopped.result.best);
  });
});

describe('a run that ends with its best', () => {
  const OWN = ['task={name: quadratic, size: 3}', 'optimizer={name: sgd, learningRate: meta.log(0.01)}'];
  const config = {
    task: 'quadratic',
    optimizer: 'sgd',
    objective: { over: 'mean' },
    estimator: { name: 'nres', pairs: 2, window: 10, sigma: 0.1 },
    horizon: 20,
  };
  const sets = [...OWN, 'outerOptimizer.learningRate=2', 'iterations=12'];
  let last: RunResult;
  let best: RunResult;
  const [lastPath, bestPath] = [fresh(), fresh()];
  beforeAll(async () => {
    const start = (path: string, more: string[]): Promise<RunResult> =>
      startRun({
        config: resolveConfig(config, [...SETS, ...sets, ...more].map(parseOverride), resolver),
        resolver,
        out: path,
      });
    last = await start(lastPath, []);
    best = await start(bestPath, ['evaluation.select=best']);
  });

  it('gives that θ and its worth, which was not that of the last', () => {
    expect(best.best!.iteration).toBeLessThan(12);
    expect(best.theta).toEqual(last.best!.theta);
    expect(best.theta).not.toEqual(last.theta);
    expect(best.after).toEqual(best.best!.measurement);
    expect(best.after!.mean).toBeLessThan(last.after!.mean);
    expect(readSummary(bestPath)).toMatchObject({
      select: 'best',
      ended: 'iterations',
      after: { mean: best.after!.mean },
    });
    expect(readRunResult(bestPath).theta).toEqual(best.theta);
  });

  it('is exported, loaded and judged with it; any run with its best, when asked', async () => {
    const exported = async (path: string, checkpoint?: number | 'best'): Promise<unknown[]> => {
      const { theta, record } = await optimizerOfRun(path, resolver, checkpoint);
      return [Array.from(theta), record.iterations];
    };
    const float32 = (theta: Float64Array): number[] => Array.from(Float32Array.from(theta));
    const bestPair = [float32(best.theta), best.best!.iteration];
    expect(await exported(bestPath)).toEqual(bestPair);
    expect(await exported(lastPath, 'best')).toEqual(bestPair);
    expect(await exported(lastPath)).toEqual([float32(last.theta), 12]);
    expect(await exported(bestPath, 12)).toEqual([float32(last.theta), 12]);
    expect((await loadOptimizer(bestPath)).getConfig()).toEqual(
      (await loadOptimizer(lastPath, { checkpoint: 'best' })).getConfig(),
    );
    expect((await evaluateRun(bestPath, { resolver })).mean).toBe(best.after!.mean);
    expect((await evaluateRun(lastPath, { resolver })).mean).toBe(last.after!.mean);
    expect((await evaluateRun(lastPath, { resolver, checkpoint: 'best' })).mean).toBe(best.after!.mean);
  });

  it('a file of it that is damaged is named; a run without one cannot be asked for it', async () => {
    const file = join(bestPath, 'checkpoints', 'best.safetensors');
    writeFileSync(file, 'no such thing');
    await expect(evaluateRun(bestPath, { resolver })).rejects.toThrow('best.safetensors');
    rmSync(file);
    await expect(evaluateRun(bestPath, { resolver })).rejects.toThrow(ConfigurationError);
  });
});

test('in code: the best θ, an average of θs if there is one; without a folder too', async () => {
  const options = {
    task: quadraticTask({ size: 3 }),
    optimizer: sgd({ learningRate: meta.log(0.01) }),
    horizon: 20,
    estimator: nres({ pairs: 2, sigma: 0.1, window: 10 }),
    outerOptimizer: outer.adam({ learningRate: 2 }),
    iterations: 12,
    engine: 'reference',
    thetaAverage: 0.5,
    evaluation: { every: 2, patience: 2, select: 'best' },
  } as const satisfies TuneOptions;
  const result = await tune(options);
  expect(result.theta).toEqual(result.best!.theta);
  expect(result).not.toHaveProperty('thetaAverage');
  expect(result.schedule.at(0)).toEqual({});
  const { patience: _, ...long } = options.evaluation;
  const all = await tune({ ...options, evaluation: { ...long, select: 'last' } });
  expect(result.stopped && !all.stopped).toBe(true);
  expect(all.thetaAverage).not.toEqual(all.best!.theta);
});

describe('mistakes', () => {
  test.each([
    [['evaluation.patience=2'], 'evaluation.every: expected the number of iterations'],
    [['evaluation.select=best'], 'got nothing beside evaluation.select'],
    [['evaluation.every=2', 'evaluation.patience=0'], 'evaluation.patience: expected a positive integer, got 0'],
    [['evaluation.select=first'], 'evaluation.select: expected one of last, best, got "first"'],
  ])('%s', (sets, message) => {
    expect(() => resolveConfig({ preset: 'quadratic' }, sets.map(parseOverride), resolver)).toThrow(message);
  });

  test('patience with a problem that states no evaluation, before anything is written', async () => {
    const path = fresh();
    const endless = ['horizon=infinite', 'evaluation.patience=2', 'evaluation.every=1'];
    const base = {
      task: 'quadratic',
      optimizer: 'learnable-sgd',
      estimator: { name: 'nres', pairs: 1, sigma: 1, window: 1 },
    };
    const config = resolveConfig(base, ['engine=reference', ...endless].map(parseOverride), resolver);
    await expect(startRun({ config, resolver, out: path })).rejects.toThrow(
      'evaluation.patience: expected nothing, got 2. "learnable-sgd on quadratic" states no evaluation.',
    );
    expect(existsSync(path)).toBe(false);
  });
});
