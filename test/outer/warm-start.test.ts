/** Runs that begin at the θ of another run. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  CheckpointError,
  ConfigurationError,
  type ConfigObject,
  meta,
  nres,
  outer,
  quadraticTask,
  sgd,
  tune,
  type TuneOptions,
} from '../../src';
import { parseOverride, resolveConfig, type ResolvedConfig } from '../../src/outer';
import { readMetrics, readRunResult, resumeRun, startRun } from '../../src/outer/run-directory';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const resolver = testContainer();
const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TASK = {
  task: 'quadratic',
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.05)', momentum: 'meta.linear(0.5)' },
  estimator: { name: 'nres', pairs: 4, window: 5, sigma: 0.1 },
  outerOptimizer: { name: 'adam', learningRate: 0.1 },
  engine: 'reference',
  horizon: 20,
  iterations: 6,
  checkpoint: { seconds: 1e-7 },
};
const configure = (...sets: string[]): ResolvedConfig => resolveConfig(TASK, sets.map(parseOverride), resolver);
const at = (name: string): string => join(folder, name);
const from = (name: string): string => `warmStart=${at(name)}`;

beforeAll(async () => {
  await startRun({ config: configure(), resolver, out: at('first') });
  await startRun({ config: configure('thetaAverage=0.5'), resolver, out: at('averaged') });
  const best = ['evaluation={every: 1, select: best}', 'outerOptimizer.learningRate=1'];
  await startRun({ config: configure(...best), resolver, out: at('best') });
});

test.each(['first', 'averaged', 'best'])('begins where the run ended: %s', async (name) => {
  const source = readRunResult(at(name));
  const { initialTheta, before } = await startRun({ config: configure(from(name)), resolver, out: at(`from-${name}`) });
  const ended = source.thetaAverage ?? source.theta;
  expect(initialTheta).toEqual(Float64Array.from(Float32Array.from(ended)));
  expect(Math.abs(before!.mean / source.after!.mean - 1)).toBeLessThan(1e-5);
  expect(Math.abs(before!.mean / source.before!.mean - 1)).toBeGreaterThan(1e-2);
});

test('is resumed to the same bits, when the other run is gone', async () => {
  await startRun({ config: configure('seed=1'), resolver, out: at('gone') });
  const whole = await startRun({ config: configure(from('gone')), resolver, out: at('whole') });
  const controller = new AbortController();
  const out = at('cut');
  await startRun({
    config: configure(from('gone')),
    resolver,
    out,
    signal: controller.signal,
    listeners: [(event) => event.type === 'iteration' && event.record.iteration === 1 && controller.abort()],
  });
  rmSync(at('gone'), { recursive: true });
  for (const checkpoint of [undefined, 0]) {
    const resumed = await resumeRun(out, { resolver, checkpoint });
    expect(resumed.theta).toEqual(whole.theta);
    expect(resumed.initialTheta).toEqual(whole.initialTheta);
    const withoutTime = (path: string): unknown[] => readMetrics(path).map((line) => ({ ...line, wallSeconds: 0 }));
    expect(withoutTime(out)).toEqual(withoutTime(at('whole')));
  }
  rmSync(join(out, 'checkpoints', 'start.safetensors'));
  await expect(resumeRun(out, { resolver })).rejects.toThrow(CheckpointError);
  await expect(resumeRun(out, { resolver })).rejects.toThrow('start.safetensors, where the run began, cannot be read');
});

test('several tasks begin there, all of them', async () => {
  const { task: _, ...rest } = TASK;
  const tasks = { members: [{ task: 'quadratic' }, { task: { name: 'quadratic', size: 3 } }] } as ConfigObject;
  const config = resolveConfig({ ...rest, tasks }, [parseOverride(from('first'))], resolver);
  const { initialTheta } = await startRun({ config, resolver });
  expect(initialTheta).toEqual(Float64Array.from(Float32Array.from(readRunResult(at('first')).theta)));
});

test.each([
  [
    'other leaves',
    ['optimizer.momentum=0.9', from('first')],
    '"momentum" of shape [] beyond its end. Options of the optimizer that shape θ have to be those of that run.',
  ],
  ['no run', ['warmStart=/nowhere'], '/nowhere holds no run'],
  ['an empty name', ['warmStart=""'], 'warmStart: expected a non-empty string'],
])('%s: refused before anything is written', async (_, sets, message) => {
  const out = at('refused');
  await expect((async () => startRun({ config: configure(...sets), resolver, out }))()).rejects.toThrow(message);
  expect(existsSync(out)).toBe(false);
});

test('a run without a checkpoint has nothing to begin at', async () => {
  const none = at('none');
  const config = configure('checkpoint.seconds=1000');
  await startRun({ config, resolver, out: none, signal: AbortSignal.abort() });
  rmSync(join(none, 'checkpoints'), { recursive: true, force: true });
  await expect(startRun({ config: configure(from('none')), resolver })).rejects.toThrow(ConfigurationError);
  await expect(startRun({ config: configure(from('none')), resolver })).rejects.toThrow('has come to a checkpoint');
});

test('in code', async () => {
  const options = {
    task: quadraticTask({ size: 3 }),
    optimizer: sgd({ learningRate: meta.log(0.05) }),
    horizon: 20,
    estimator: nres({ pairs: 4, sigma: 0.1, window: 5 }),
    outerOptimizer: outer.adam({ learningRate: 0.1 }),
    iterations: 5,
    engine: 'reference',
  } as const satisfies TuneOptions;
  const first = await tune({ ...options, out: at('code') });
  const second = { ...options, warmStart: at('code'), out: at('code-2'), seed: 1 };
  const { initialTheta, theta } = await tune(second);
  expect(initialTheta).toEqual(Float64Array.from(Float32Array.from(first.theta)));
  rmSync(at('code'), { recursive: true });
  expect((await tune({ ...second, iterations: 5, resume: true })).theta).toEqual(theta);
  await expect(tune({ ...options, warmStart: at('code') })).rejects.toThrow('holds no run');
});
