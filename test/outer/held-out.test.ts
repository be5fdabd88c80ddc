/** `evaluation.tasks`: θ judged in a run's course on tasks that it is never trained on. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { nres, outer, tune, type TuneOptions } from 'outerloop';
import { createContainer } from '../../src/container';
import { definePlugin, meta, type ConfigObject, type Task, type UnrolledProblem } from '../../src/contracts';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import {
  createEvaluator,
  executeRun,
  prepareRun,
  resolveConfig,
  type Measurement,
  type MetricsLine,
  type RunEvent,
} from '../../src/outer';
import { evaluateRun, readRunResult, readSummary, startRun } from '../../src/outer/run-directory';
import { normals } from '../../src/random';
import { renderReport } from '../../src/report';
import { HAS_COMPILER } from '../support/native';
import { temporaryFolder } from './compiled';
import { atOnceAndInParts, testContainer } from './support';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const engines = ['reference', 'tfjs:cpu', ...(HAS_COMPILER ? ['native'] : [])];

/** ½a·x² from x = 1. */
const bowl = (a: number): Task => ({
  name: `bowl-${String(a)}`,
  init: () => ({ x: tf.scalar(1) }),
  loss: (params) => tf.mul(tf.square((params as { x: tf.Tensor }).x), a / 2),
});

/** At rate θ, x_t = (1 − θa)^t: mean and last of the losses after the updates. */
function worth(a: number, rate: number, horizon: number): { readonly mean: number; readonly last: number } {
  const losses = Array.from({ length: horizon }, (_, t) => (a / 2) * (1 - rate * a) ** (2 * t + 2));
  return { mean: losses.reduce((sum, loss) => sum + loss) / horizon, last: losses[horizon - 1] };
}

describe('in code: bowls, in closed form', () => {
  const T = 12;
  const options = {
    task: bowl(1),
    optimizer: sgd({ learningRate: meta.linear(0.1) }),
    horizon: T,
    objective: { clip: 0.3 },
    estimator: nres({ pairs: 2, sigma: 0.05, window: 3 }),
    outerOptimizer: outer.sgd({ learningRate: 0.05 }),
    iterations: 7,
    evaluation: {
      every: 3,
      particles: 2,
      tasks: [
        { name: 'steep', task: Promise.resolve(bowl(4)) },
        // Its curve has stretches of two steps, and a last one of one.
        { name: 'long', task: bowl(0.025), horizon: 203 },
      ],
    },
  } as const satisfies TuneOptions;
  const exact = { steep: [4, T], long: [0.025, 203] } as const;
  /** Digits after the point that float32 gives. */
  const close = (value: number): number => expect.closeTo(value, 5) as number;
  const expected = (theta: number): object =>
    Object.fromEntries(
      Object.entries(exact).map(([name, [a, steps]]) => {
        const { mean, last } = worth(a, theta, steps);
        const line = { metric: 'final loss', mean: close(last), standardError: 0, n: 2, metaLoss: close(mean) };
        return [name, line];
      }),
    );

  test.each(engines)('before, in the course, and after: %s', async (engine) => {
    const { before, after, history, theta } = await tune({ ...options, engine });
    expect(before!.heldOut).toMatchObject(expected(0.1));
    expect(before!.mean).toBeCloseTo(worth(1, 0.1, T).last, 5);
    expect(after!.heldOut).toMatchObject(expected(theta[0]));
    const course = history.map(({ heldOut }) => heldOut);
    expect(course.map((lines) => lines !== undefined)).toEqual([false, false, true, false, false, true, false]);
    for (const line of history.filter(({ heldOut }) => heldOut !== undefined)) {
      expect(line.heldOut).toEqual(expected(Number(line.theta![0])));
      expect(line.evaluation!.mean).toBeCloseTo(worth(1, Number(line.theta![0]), T).last, 5);
    }
    // What it is trained on lowers the loss there; a rate of 0.5 is too large for the steep one.
    expect(theta[0]).toBeGreaterThan(0.15);
  });

  test('θ, and what is said of the training, is that of the run without them', async () => {
    const bits = ({ theta, meanLoss, evaluation }: MetricsLine): object => ({ theta, meanLoss, evaluation });
    const { tasks: _, ...evaluation } = options.evaluation;
    const [beside, alone] = [
      await tune({ ...options, engine: 'reference' }),
      await tune({ ...options, evaluation, engine: 'reference' }),
    ];
    expect(beside.history.map(bits)).toEqual(alone.history.map(bits));
    expect(alone.history[2]).not.toHaveProperty('heldOut');
    expect(beside.innerSteps).toBe(alone.innerSteps);
  });

  test.each(engines)('resumed by the same code; refused by code with other tasks: %s', async (engine) => {
    const out = join(folder, `in-code-${engine.replace(':', '-')}`);
    const stop = new AbortController();
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'iteration' && event.record.iteration === 3) stop.abort();
    };
    const cut = await tune({ ...options, engine, out, onEvent, signal: stop.signal });
    expect(cut.interrupted).toBe(true);
    const fewer = { ...options.evaluation, tasks: options.evaluation.tasks.slice(1) };
    await expect(tune({ ...options, evaluation: fewer, engine, out, resume: true })).rejects.toThrow(
      'was run with other settings (evaluation: ',
    );
    const whole = await tune({ ...options, engine });
    const resumed = await tune({ ...options, engine, out, resume: true });
    expect(resumed.history.map(({ heldOut }) => heldOut)).toEqual(whole.history.map(({ heldOut }) => heldOut));
    expect([resumed.before, resumed.after]).toEqual([whole.before, whole.after]);
  });

  const problem: UnrolledProblem = {
    name: 'p',
    horizon: 3,
    initTheta: () => tf.scalar(0),
    initState: () => tf.scalar(0),
    step: (_, state) => ({ state, loss: tf.scalar(0) }),
  };
  const [steep] = options.evaluation.tasks;
  test.each<[string, object, string]>([
    [
      'a problem',
      { problem, task: undefined, optimizer: undefined },
      'evaluation.tasks: expected nothing beside "problem", got steep,long.',
    ],
    [
      'a name twice',
      { evaluation: { tasks: [steep, steep] } },
      'evaluation.tasks: expected tasks with names of their own, got "steep" twice.',
    ],
    [
      'a horizon',
      { evaluation: { tasks: [{ ...steep, horizon: 1.5 }] } },
      'horizon: expected a positive integer, got 1.5.',
    ],
    [
      'no end',
      { evaluation: { tasks: [{ ...steep, horizon: Infinity }] } },
      'evaluation.tasks: expected tasks with a finite horizon, got "steep", whose is infinite.',
    ],
    [
      'no evaluation of its own',
      { horizon: Infinity, evaluation: { tasks: [{ ...steep, horizon: 3 }] } },
      'evaluation.tasks: expected nothing, got steep. "sgd on bowl-1" states no evaluation.',
    ],
  ])('bad input: %s', async (_, change, message) => {
    await expect(tune({ ...options, ...change, engine: 'reference' })).rejects.toThrow(message);
  });
});

const ROWS = 40;
const points = definePlugin(({ dataset }) => {
  dataset('points', {
    description: '',
    options: z.strictObject({ shift: z.number().default(0) }),
    create: ({ shift }) =>
      arrayDataset({
        name: `points-${String(shift)}`,
        xs: normals([3, 1 + shift], ROWS * 2),
        ys: Array.from({ length: ROWS }, (_, i) => i % 2),
        inputShape: [2],
        classes: 2,
      }),
  });
});

const CONFIG: ConfigObject = {
  task: { name: 'mlp', hidden: [4], batchSize: 8 },
  data: 'points',
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.05)' },
  objective: { metric: 'loss', split: 'validation' },
  horizon: 12,
  estimator: { name: 'pes', pairs: 4, sigma: 0.1, window: 3 },
  outerOptimizer: { name: 'adam', learningRate: 0.05 },
  iterations: 9,
  seed: 4,
  evaluation: {
    every: 4,
    particles: 3,
    tasks: ['wider', 'longer', { name: 'shifted', data: { name: 'points', shift: 1 }, task: { activation: 'tanh' } }],
  },
};
/** What each of the tasks is when it is a run's own. */
const AS_OWN: Readonly<Record<string, ConfigObject>> = {
  wider: { task: { name: 'mlp', hidden: [16], batchSize: 8 } },
  longer: { horizon: 60 },
  shifted: {
    task: { name: 'mlp', hidden: [4], batchSize: 8, activation: 'tanh' },
    data: { name: 'points', shift: 1 },
  },
};

describe('of a configuration', () => {
  const container = testContainer();
  container.use(points);
  const resolve = (change: ConfigObject, evaluation: ConfigObject = {}) =>
    resolveConfig(
      { ...CONFIG, ...change, evaluation: { ...(CONFIG.evaluation as ConfigObject), ...evaluation } },
      [],
      container,
    );

  /** A run of the task itself, judged at this θ as its own: mean over the steps of its objective, and the metric. */
  async function asOwn(
    name: string,
    engine: string,
    theta: Float64Array,
  ): Promise<{ own: Measurement; meanLoss: number }> {
    const resolver = createContainer();
    resolver.use(points);
    const { tasks: _, ...evaluation } = CONFIG.evaluation as ConfigObject;
    const config = resolveConfig({ ...CONFIG, ...AS_OWN[name], evaluation, engine }, [], resolver);
    const { plan } = await prepareRun(config, resolver);
    const opened = await resolver.openEngine(engine);
    const { problem } = plan;
    const of = { seed: 4, particles: 3 };
    const own = await createEvaluator(opened.engine, problem.evaluation!, theta.length, of);
    const minimised = { ...problem.evaluation!, problem, measure: 'mean' as const, curve: undefined };
    const meta = await createEvaluator(opened.engine, minimised, theta.length, of);
    const measured = { own: await own.measure(theta), meanLoss: (await meta.measure(theta)).mean };
    await own.dispose();
    await meta.dispose();
    await opened.engine.dispose();
    return measured;
  }

  test.each(['reference', 'tfjs:cpu'])(
    'interrupted and resumed, it ends as if untouched, and each number is that of the task as a run’s own: %s',
    async (engine) => {
      const resolver = createContainer();
      resolver.use(points);
      const config = resolveConfig({ ...CONFIG, engine }, [], resolver);
      const path = join(folder, `whole-${engine.replace(':', '-')}`);
      const { result, whole, parts } = await atOnceAndInParts(config, resolver, path);
      expect(parts).toEqual(whole);
      expect(whole.lines.flatMap(({ iteration, heldOut }) => (heldOut === undefined ? [] : [iteration]))).toEqual([
        3, 7,
      ]);

      const { before, after } = readSummary(path)!;
      for (const name of Object.keys(AS_OWN)) {
        for (const [theta, line] of [
          [result.initialTheta!, before!.heldOut![name]],
          [Float64Array.of(Number(whole.lines[3].theta![0])), whole.lines[3].heldOut![name]],
          [result.theta, after!.heldOut![name]],
        ] as const) {
          const { own, meanLoss } = await asOwn(name, engine, theta);
          expect(line).toMatchObject({ metric: 'test accuracy', n: 3 });
          expect(line.mean).toBeCloseTo(own.mean, 6);
          expect(line.standardError).toBeCloseTo(own.standardError, 6);
          expect(line.metaLoss).toBeCloseTo(meanLoss, 5);
        }
      }
      // Judged again, the run is its own task alone.
      const { heldOut: _, ...own } = whole.evaluations.after!;
      expect(await evaluateRun(path, { resolver })).toEqual(own);
      const page = await renderReport({
        title: 't',
        result: readRunResult(path),
        config: {},
        seed: 0,
        reproduce: '',
      });
      expect(page).toContain('<td>wider: test accuracy</td>');
      expect(page).toMatch(
        /<figcaption>Evaluations<\/figcaption><svg(?:(?!<\/svg>)[\s\S])*trained on(?:(?!<\/svg>)[\s\S])*shifted/,
      );
      expect(page).toMatch(/<figcaption>Meta-loss on held-out tasks/);
    },
    240_000,
  );

  test('each is compiled once, and nothing is left of it', async () => {
    const compiled: string[] = [];
    const disposed: string[] = [];
    class Counting extends ReferenceEngine {
      override async compile(problem: UnrolledProblem) {
        const program = await super.compile(problem);
        compiled.push(problem.name);
        const dispose = program.dispose.bind(program);
        program.dispose = () => {
          disposed.push(problem.name);
          return dispose();
        };
        return program;
      }
    }
    const { plan } = await prepareRun(resolve({}, { every: 1 }), container);
    await executeRun({ plan, opened: { engine: new Counting(), reason: 'a test' } });
    const heldOut = ['wider', 'longer', 'shifted'].map((name) => `sgd on ${name} (mlp, held out)`);
    expect(compiled).toEqual(['sgd on mlp', 'sgd on mlp (evaluation)', ...heldOut]);
    expect([...disposed].sort()).toEqual([...compiled].sort());
  });

  test('panel is every relative but the own; own may be named; of several tasks each has its relatives', async () => {
    const names = async (change: ConfigObject, tasks: string): Promise<string[]> => {
      const { plan } = await prepareRun(resolve(change, { tasks }), container);
      return (plan.heldOut ?? []).map(({ name }) => name);
    };
    expect(await names({ data: 'points' }, 'own, deeper')).toEqual(['own', 'deeper']);
    const shapes = { task: { name: 'quadratic', size: 3 }, data: null } as unknown as ConfigObject;
    expect(await names(shapes, 'panel')).toEqual(['longer']);
    const tasks = {
      members: [{ task: { name: 'mlp', hidden: [2] } }, { name: 'deep', task: { name: 'mlp', hidden: [2, 2] } }],
    };
    const several = { tasks, task: null } as unknown as ConfigObject;
    expect(await names(several, 'own,longer')).toEqual(['task 1', 'deep', 'longer, task 1', 'longer, deep']);
    const { plan } = await prepareRun(resolve(several, { tasks: 'wider' }), container);
    const { before } = await executeRun({ plan, opened: { engine: new ReferenceEngine(), reason: 'a test' } });
    expect(before!.metric).toBe('mean loss of 2 tasks');
    expect(Object.entries(before!.heldOut!).map(([name, { metric }]) => [name, metric])).toEqual([
      ['wider, task 1', 'test accuracy'],
      ['wider, deep', 'test accuracy'],
    ]);
  });

  test.each<[string, ConfigObject, string]>([
    ['an unknown name', { tasks: ['widr'] }, 'unknown task to be tested on "widr". Did you mean "wider"?'],
    [
      'an unknown key',
      { tasks: [{ name: 'a', horizn: 3 }] },
      'unknown key "evaluation.tasks.0.horizn". Did you mean "evaluation.tasks.0.horizon"?',
    ],
    ['no list', { tasks: 3 }, 'evaluation.tasks: expected '],
    ['an empty list', { tasks: [] }, 'evaluation.tasks: expected a list of at least one task, got an empty one.'],
    [
      'a name twice',
      { tasks: ['wider', { name: 'wider' }] },
      'evaluation.tasks: expected tasks with names of their own, got "wider" twice.',
    ],
    [
      'a preset of a problem',
      { tasks: 'lorenz' },
      'evaluation.tasks: expected presets that train a task by an optimizer, got "lorenz".',
    ],
    [
      'an unknown option',
      { tasks: ['wider', { name: 'a', task: { hiddn: [3] } }] },
      'unknown key of task "mlp": "evaluation.tasks.1.task.hiddn". Did you mean "evaluation.tasks.1.task.hidden"?',
    ],
    [
      'an option out of range',
      { tasks: [{ name: 'a', task: { hidden: [0] } }] },
      'evaluation.tasks.0.task.hidden.0: expected a positive integer, got 0.',
    ],
    [
      'an unknown data set',
      { tasks: [{ name: 'a', data: { name: 'poinst' } }] },
      'unknown dataset "poinst", needed by evaluation.tasks.0. Did you mean "points"?',
    ],
  ])('bad input, before anything is built: %s', async (_, evaluation, message) => {
    const out = join(folder, 'refused');
    const start = async (): Promise<unknown> =>
      startRun({ config: resolve({ engine: 'reference' }, evaluation), resolver: container, out });
    await expect(start()).rejects.toThrow(message);
    expect(existsSync(out)).toBe(false);
  });

  test('of a run of a whole problem there are none', async () => {
    const config = resolveConfig(
      { preset: 'quadratic', engine: 'reference', evaluation: { tasks: 'longer' } },
      [],
      container,
    );
    await expect(prepareRun(config, container)).rejects.toThrow(
      'evaluation.tasks: expected a run that trains a task by an optimizer, got one of the problem "quadratic".',
    );
  });
});
