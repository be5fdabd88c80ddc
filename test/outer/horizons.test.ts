/** Schedules of the horizon in configurations and in code: what is refused, what is run, and that it is resumed. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { longestHorizon, meta, nres, outer, quadraticTask, sgd, tune, type TuneOptions } from '../../src';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import { parseOverride, prepareRun, resolveConfig, type ResolvedConfig } from '../../src/outer';
import { readMetrics, resumeRun, startRun } from '../../src/outer/run-directory';
import { metaTestTasks } from '../../src/outer/meta-test-tasks';
import { temporaryFolder } from './compiled';
import { HAS_COMPILER } from '../support/native';
import { testContainer } from './support';

const resolver = testContainer();
const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BASE = {
  task: 'quadratic',
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.05)' },
  estimator: { name: 'nres', pairs: 4, window: 5, sigma: 0.1 },
  engine: 'reference',
  iterations: 12,
};
const LOG = 'horizon={name: log-uniform, low: 5, high: 40}';
const GROWING = 'horizon={name: growing, from: 5, to: 40, iterations: 8}';
const configure = (...sets: string[]): ResolvedConfig => resolveConfig(BASE, sets.map(parseOverride), resolver);

test.each([LOG, GROWING])('%s: a problem of the longest horizon, which is what is evaluated', async (horizon) => {
  const { config, plan } = await prepareRun(configure(horizon), resolver);
  expect(plan.problem.horizon).toBe(40);
  expect(plan.problem.horizonSchedule).toEqual(config.horizon);
  expect(longestHorizon(plan.problem.horizonSchedule!)).toBe(40);
  const { problem } = plan.problem.evaluation!;
  expect([problem.horizon, problem.horizonSchedule]).toEqual([40, undefined]);
  // As it was recorded, it is read again.
  expect(resolveConfig(JSON.parse(JSON.stringify(config)) as never, [], resolver).horizon).toEqual(config.horizon);
});

test('a whole problem takes the longest, too', async () => {
  const whole = resolveConfig({ preset: 'quadratic' }, ['window=5', LOG].map(parseOverride), resolver);
  const { problem } = (await prepareRun(whole, resolver)).plan;
  expect([problem.horizon, problem.horizonSchedule]).toEqual([40, { name: 'log-uniform', low: 5, high: 40 }]);
});

test.each([LOG, GROWING])(
  '%s: cut and resumed it ends with the same bits; two programs serve all lengths',
  async (horizon) => {
    const compile = jest.spyOn(ReferenceEngine.prototype, 'compile');
    const name = horizon.includes('growing') ? 'growing' : 'log';
    const sets = [horizon, 'checkpoint.seconds=0.0000001'];
    const whole = await startRun({ config: configure(...sets), resolver, out: join(folder, `${name}-whole`) });
    expect(compile).toHaveBeenCalledTimes(2);
    compile.mockRestore();
    const lengths = whole.history.map(({ diagnostics }) => diagnostics!.episodeLength);
    expect(new Set(lengths).size).toBeGreaterThan(3);
    for (const cut of [1, 6]) {
      const controller = new AbortController();
      const out = join(folder, `${name}-${String(cut)}`);
      await startRun({
        config: configure(...sets),
        resolver,
        out,
        signal: controller.signal,
        listeners: [
          (event) => {
            if (event.type === 'iteration' && event.record.iteration + 1 === cut) controller.abort();
          },
        ],
      });
      expect((await resumeRun(out, { resolver })).theta).toEqual(whole.theta);
      const withoutTime = (path: string): unknown[] => readMetrics(path).map((line) => ({ ...line, wallSeconds: 0 }));
      expect(withoutTime(out)).toEqual(withoutTime(join(folder, `${name}-whole`)));
    }
  },
);

/** A schedule's resets are the estimator's, so all that an engine may change is rounding. */
describe.each(['tfjs:cpu', 'tfjs:wasm', ...(HAS_COMPILER ? ['native'] : [])])('engine %s', (engine) => {
  test.each([
    { name: 'log-uniform', low: 5, high: 40 },
    { name: 'growing', from: 5, to: 40, iterations: 8 },
  ] as const)('$name: lengths, losses and θ of the float64 engine', async (horizon) => {
    const run = (name: string) =>
      tune({
        task: quadraticTask({ size: 3 }),
        optimizer: sgd({ learningRate: meta.log(0.05) }),
        horizon,
        estimator: nres({ pairs: 4, sigma: 0.1, window: 5 }),
        outerOptimizer: outer.adam({ learningRate: 0.1 }),
        iterations: 12,
        engine: name,
      });
    const [expected, own] = [await run('reference'), await run(engine)];
    const lengths = ({ history }: typeof own): unknown[] =>
      history.map(({ innerSteps, diagnostics }) => [innerSteps, diagnostics!.episodeLength]);
    expect(lengths(own)).toEqual(lengths(expected));
    own.history.forEach(({ meanLoss }, i) => {
      expect(Math.abs(meanLoss! / expected.history[i].meanLoss! - 1)).toBeLessThan(1e-4);
    });
    expect(Math.abs(own.theta[0] - expected.theta[0])).toBeLessThan(1e-4);
  });
});

test('in code', async () => {
  const options = {
    task: quadraticTask({ size: 3 }),
    optimizer: sgd({ learningRate: meta.log(0.05) }),
    horizon: { name: 'log-uniform', low: 10, high: 40 },
    estimator: nres({ pairs: 4, sigma: 0.1, window: 10 }),
    outerOptimizer: outer.adam({ learningRate: 0.1 }),
    iterations: 10,
    engine: 'reference',
  } as const satisfies TuneOptions;
  const { before, after, history } = await tune(options);
  expect(after!.mean).toBeLessThan(before!.mean);
  expect(before!.curve.t.at(-1)).toBe(40);
  expect(history[0].diagnostics!.episodeLength).toBeLessThan(40);
  await expect(tune({ ...options, horizon: { name: 'log-uniform' as const, low: 40, high: 10 } })).rejects.toThrow(
    'horizon.high: expected more than horizon.low, which is 40, got 10.',
  );
});

test('each of several tasks has it', async () => {
  const { task: _, ...rest } = BASE;
  const config = resolveConfig(
    { ...rest, tasks: [{ task: 'quadratic' }, { task: { name: 'quadratic', size: 3 } }] },
    [parseOverride(LOG)],
    resolver,
  );
  const { problem, tasks } = (await prepareRun(config, resolver)).plan;
  const schedule = { name: 'log-uniform', low: 5, high: 40 };
  expect(tasks!.members.map((member) => member.problem.horizonSchedule)).toEqual([schedule, schedule]);
  expect([problem.horizon, problem.horizonSchedule]).toEqual([40, schedule]);
});

test('the tasks that an optimizer is tried on have the longest', () => {
  const tasks = metaTestTasks('own,longer', configure(LOG), resolver);
  expect(tasks.map(({ config }) => config.horizon)).toEqual([{ name: 'log-uniform', low: 5, high: 40 }, 200]);
});

test.each([
  [
    'horizon={name: loguniform, low: 5, high: 40}',
    'unknown horizon schedule "loguniform". Did you mean "log-uniform"?',
  ],
  ['horizon={name: log-uniform, low: 5}', 'horizon.high: expected a positive integer, got nothing'],
  ['horizon={name: log-uniform, low: 5, high: 40, middle: 9}', 'horizon.middle'],
  [
    'horizon={name: growing, from: 5, to: 5, iterations: 9}',
    'horizon.to: expected more than horizon.from, which is 5, got 5.',
  ],
  [
    'horizon={name: growing, from: 5, to: 22, iterations: 9}',
    'estimator.window: expected a divisor of the horizon 22, got 5.',
  ],
  ['horizon={low: 5, high: 40}', 'horizon.name'],
])('%s is refused', (horizon, message) => {
  expect(() => configure(horizon)).toThrow(message);
});
