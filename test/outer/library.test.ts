import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {
  ConfigurationError,
  definePlugin,
  inverseTime,
  meta,
  nres,
  outer,
  pes,
  piecewiseLinear,
  quadraticProblem,
  parseOverride,
  quadraticTask,
  resume,
  sgd,
  train,
  tune,
  use,
  type RunEvent,
  type TuneOptions,
} from 'outerloop';
import { readRunConfig, resumeRun } from '../../src/outer/run-directory';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = {
  task: quadraticTask({ size: 3 }),
  optimizer: sgd({ learningRate: inverseTime({ initial: meta.log(0.1), decay: meta.linear(0.5), timescale: 10 }) }),
  objective: { metric: 'loss', over: 'mean' },
  horizon: 20,
  estimator: nres({ pairs: 4, sigma: 0.1, window: 10 }),
  outerOptimizer: outer.adam({ learningRate: 0.2 }),
  iterations: 10,
  seed: 3,
  engine: 'reference',
} as const satisfies TuneOptions;

describe('tune', () => {
  it('tunes a schedule of a hand-designed optimizer, and says what it found', async () => {
    const events: RunEvent[] = [];
    const result = await tune({ ...options, onEvent: (event) => events.push(event) });
    expect(result.after!.mean).toBeLessThan(result.before!.mean);
    expect(result.history).toHaveLength(10);
    // initial / (1 + t/timescale)^decay, by hand from θ; θ's order is that of the tree: decay, initial.
    expect(result.layout.leaves.map(({ path }) => path)).toEqual(['learningRate.decay', 'learningRate.initial']);
    const [decay, initial] = result.theta;
    for (const t of [0, 7, 19, 500]) {
      const expected = Math.exp(initial) / (1 + t / 10) ** decay;
      expect(Math.abs(result.schedule.at(t).learningRate / expected - 1)).toBeLessThan(1e-5);
    }
    expect(() => result.schedule.at(-1)).toThrow('inner steps are integers from 0');
    const types = events.map((event) => (event.type === 'phase' ? event.phase : event.type));
    const middle = Array.from({ length: 10 }, () => 'iteration');
    expect(types).toEqual([
      'compile',
      'start',
      'evaluate-before',
      'evaluation',
      'train',
      ...middle,
      'evaluate-after',
      'evaluation',
      'end',
    ]);
    const page = join(folder, 'report.html');
    await result.report(page);
    expect(readFileSync(page, 'utf8')).toContain('learningRate');
  });

  it('tunes the knots of a schedule', async () => {
    const learningRate = piecewiseLinear({ values: [meta.log(0.1), meta.log(0.1), 0] });
    const result = await tune({ ...options, optimizer: sgd({ learningRate }) });
    expect(result.after!.mean).toBeLessThan(result.before!.mean);
    const [first, second] = result.theta.map(Math.exp);
    expect(Object.values(result.description!.values).map((value) => value.toFixed(5))).toEqual(
      [first, second].map((value) => value.toFixed(5)),
    );
    const expected = { 0: first, 5: (first + second) / 2, 10: second, 15: second / 2, 20: 0, 99: 0 };
    for (const [t, value] of Object.entries(expected)) {
      expect(Math.abs(result.schedule.at(Number(t)).learningRate - value)).toBeLessThan(1e-6 * first);
    }
    const page = join(folder, 'knots.html');
    await result.report(page);
    expect(readFileSync(page, 'utf8')).toContain('Schedule: learningRate');
  });

  it('gives the same bits for the same seed', async () => {
    const [first, second] = [await tune(options), await tune(options)];
    expect(second.theta).toEqual(first.theta);
    expect((await tune({ ...options, seed: 4 })).theta).not.toEqual(first.theta);
  });

  it('is resumed by the code that made it, and by nothing else', async () => {
    const whole = await tune(options);
    const out = join(folder, 'run');
    const controller = new AbortController();
    const part = await tune({
      ...options,
      out,
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type === 'iteration' && event.record.iteration === 3) controller.abort();
      },
    });
    expect(part).toMatchObject({ interrupted: true, iterations: 4, directory: out });
    await expect(resumeRun(out, { resolver: testContainer() })).rejects.toThrow(
      'resume it there, with tune({ …, resume: true })',
    );
    await expect(tune({ ...options, seed: 5, horizon: 40, out, resume: true })).rejects.toThrow(
      `${out} was run with other settings (horizon: 20 → 40; seed: 3 → 5). Resume it with its own, or start a new run.`,
    );
    const done = await tune({ ...options, out, resume: true });
    expect(done.theta).toEqual(whole.theta);
    expect(readRunConfig(out)).toMatchObject({ task: { name: 'quadratic' }, seed: 3, run: { library: true } });
  });

  it('records the settings of estimator and outer optimizer, and is resumed with no others', async () => {
    const out = join(folder, 'settings');
    const sigma = (): number => 0.1;
    const own = { ...options, iterations: 2, estimator: nres({ pairs: 4, sigma, window: 10, clip: 5 }), out };
    await tune(own);
    expect(readRunConfig(out)).toMatchObject({
      estimator: {
        name: 'nres',
        pairs: 4,
        sigma: 'a function',
        window: 10,
        clip: 5,
        shaping: 'none',
        lockstep: false,
        offsets: 'stratified',
      },
      outerOptimizer: { name: 'adam', learningRate: 0.2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    });
    const changed: readonly Partial<typeof own | TuneOptions>[] = [
      { estimator: nres({ pairs: 4, sigma: 0.1, window: 10, clip: 5 }) },
      { estimator: nres({ pairs: 6, sigma, window: 10, clip: 5 }) },
      { estimator: nres({ pairs: 4, sigma, window: 20, clip: 5 }) },
      { estimator: nres({ pairs: 4, sigma, window: 10 }) },
      { outerOptimizer: outer.adam({ learningRate: 0.1 }) },
    ];
    for (const other of changed) {
      await expect(tune({ ...own, ...other, iterations: 3, resume: true } as TuneOptions)).rejects.toThrow(
        'was run with other settings',
      );
    }
    expect((await tune({ ...own, iterations: 3, resume: true })).iterations).toBe(3);
  });

  it('takes a problem, and an average of θ', async () => {
    const result = await tune({
      problem: quadraticProblem({ horizon: 20 }),
      estimator: pes({ pairs: 4, sigma: 0.1, window: 10 }),
      outerOptimizer: outer.sgd({ learningRate: 0.05 }),
      iterations: 5,
      thetaAverage: 0.5,
      engine: 'reference',
    });
    expect(result.thetaAverage).not.toEqual(result.theta);
    expect(result.description!.values['theta.0']).toBeCloseTo(result.thetaAverage![0], 6);
    expect(result.schedule.at(3)).toEqual({});
  });

  it.each([
    ['seed', { seed: -1 }],
    ['iterations', { iterations: 0.5 }],
    ['thetaAverage', { thetaAverage: 1 }],
    ['evaluation.particles', { evaluation: { particles: 0 } }],
    ['checkpoint.seconds', { checkpoint: { seconds: NaN } }],
    ['estimator.window', { estimator: nres({ pairs: 4, sigma: 0.1, window: 7 }) }],
    ['objective.over', { objective: { metric: 'loss', over: 'last' } }],
    ['horizon', { horizon: 0 }],
    ['out', { resume: true }],
  ])('refuses a wrong %s', async (key, wrong) => {
    const out = join(folder, 'refused');
    const events: string[] = [];
    const all = { ...options, ...('resume' in wrong ? {} : { out }), ...wrong } as TuneOptions;
    const error: unknown = await tune({ ...all, onEvent: ({ type }) => events.push(type) }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as ConfigurationError).key).toBe(key);
    expect(events).not.toContain('evaluation');
    expect(existsSync(out)).toBe(false);
  });

  it('leaves no tensor behind', async () => {
    await tune({ ...options, iterations: 1 });
    const before = tf.memory().numTensors;
    await tune(options);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('train', () => {
  it('runs a preset by name, or a configuration, with a plugin of one', async () => {
    const preset = await train('quadratic', {
      overrides: [
        { key: 'iterations', value: 2 },
        { key: 'engine', value: 'reference' },
      ],
    });
    expect(preset).toMatchObject({ problem: 'quadratic', iterations: 2 });
    const plugin = definePlugin(({ problem }) =>
      problem('mine', () => ({ ...quadraticProblem({ horizon: 20 }), name: 'mine' })),
    );
    const config = {
      problem: 'mine',
      horizon: 20,
      engine: 'reference',
      iterations: 2,
      estimator: { name: 'nres', pairs: 2, sigma: 0.1, window: 10 },
    };
    expect((await train(config, { container: use(plugin) })).problem).toBe('mine');
    await expect(train(config)).rejects.toThrow('unknown problem "mine"');
    await expect(train({ ...config, plugins: ['x.ts'] })).rejects.toThrow('In code, hand plugins in');
  });

  it('is resumed from its folder', async () => {
    const out = join(folder, 'train');
    const overrides = ['iterations=4', 'engine=reference', 'horizon=20'].map(parseOverride);
    const controller = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'iteration' && event.record.iteration === 1) controller.abort();
    };
    await train('quadratic', { overrides, out, onEvent, signal: controller.signal });
    const whole = await train('quadratic', { overrides });
    await expect(tune({ ...options, out, resume: true })).rejects.toThrow('was made from a configuration');
    expect((await resume(out)).theta).toEqual(whole.theta);
  });
});
