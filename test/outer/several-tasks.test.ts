/** Meta-training on several tasks: bowls ½a·x², on which gradient descent at a rate θ has a closed form. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { bptt, nres, outer, randomSearch, tune, type TuneOptions } from 'outerloop';
import { createContainer } from '../../src/container';
import {
  ConfigurationError,
  definePlugin,
  meta,
  NonFiniteTaskError,
  UnknownNameError,
  type ConfigObject,
  type Estimate,
  type GradientEstimator,
  type Task,
} from '../../src/contracts';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import {
  executeRun,
  groupsOfShape,
  parseOverride,
  planTasks,
  prepareRun,
  resolveConfig,
  type Objective,
  type RunEvent,
} from '../../src/outer';
import { metaTestTasks } from '../../src/outer/meta-test-tasks';
import { evaluateRun } from '../../src/outer/run-directory';
import { normals } from '../../src/random';
import { combineEstimates, compileTasks, memberSeed } from '../../src/outer/several-tasks';
import { estimatorRows, gradientRows, HORIZON } from '../support/estimator-rows';
import { HAS_COMPILER } from '../support/native';
import { temporaryFolder } from './compiled';
import { atOnceAndInParts, testContainer } from './support';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeAll(() => tf.setBackend('cpu'));

/** ½a·x² from x = 1. */
const bowl = (a: number, more: Partial<Task> = {}): Task => ({
  name: `bowl-${String(a)}`,
  init: () => ({ x: tf.scalar(1) }),
  loss: (params) => tf.mul(tf.square((params as { x: tf.Tensor }).x), a / 2),
  ...more,
});
/** x from N(0, 1), and noise in the loss' slope: episodes differ. */
const noisyBowl = (a: number): Task =>
  bowl(a, {
    init: (random) => ({ x: random.normal([]) }),
    loss: (params, _, random) => {
      const { x } = params as { x: tf.Tensor };
      return tf.add(tf.mul(tf.square(x), a / 2), tf.mul(x, random.normal([], { std: 0.1 })));
    },
  });

const RATE = 0.3;
const optimizer = sgd({ learningRate: meta.linear(RATE) });
const objective: Objective = { metric: 'loss', split: 'train', over: 'mean' };
/** Of bowl a at rate θ: x_t = (1 − θa)^t, and its derivative by θ is −a·t·(1 − θa)^{t−1}. */
function closedForm(a: number, rate: number, horizon: number): { loss: number; gradient: number } {
  let [loss, gradient] = [0, 0];
  for (let t = 1; t <= horizon; t++) {
    const x = (1 - rate * a) ** t;
    loss += (a / 2) * x * x;
    gradient += a * x * -a * t * (1 - rate * a) ** (t - 1);
  }
  return { loss: loss / horizon, gradient: gradient / horizon };
}

const plan = (tasks: readonly Task[], normaliser?: 'none' | 'initial-loss', weights: readonly number[] = []) =>
  planTasks({
    members: tasks.map((task, i) => ({ name: `task ${String(i + 1)}`, weight: weights[i] ?? 1, task })),
    ...{ optimizer, objective, horizon: HORIZON, normaliser },
  }).tasks;

async function estimates(
  estimator: GradientEstimator,
  tasks: ReturnType<typeof plan>,
  thetas: readonly number[],
  seed = 5,
): Promise<Estimate[]> {
  const compiled = await compileTasks({ engine: new ReferenceEngine(), tasks, estimator, seed });
  const population = await compiled.estimator.populate(compiled.program, seed);
  const all: Estimate[] = [];
  for (const [i, theta] of thetas.entries()) {
    all.push(await compiled.estimator.estimate(Float64Array.of(theta), population, i));
  }
  await population.dispose();
  await compiled.dispose();
  return all;
}

describe('the combination', () => {
  const CURVATURES = [0.5, 1, 40];
  const at = f32(0.02);
  const exact = CURVATURES.map((a) => closedForm(a, at, HORIZON));
  const WEIGHTS = [1, 2, 0.5];

  test.each(['none', 'initial-loss'] as const)('%s: Σ w·g/n / Σ w, of exact gradients', async (normaliser) => {
    const [estimate] = await estimates(
      bptt({ workers: 1 }),
      plan(
        CURVATURES.map((a) => bowl(a)),
        normaliser,
        WEIGHTS,
      ),
      [at],
    );
    const n = CURVATURES.map((a) => (normaliser === 'none' ? 1 : a / 2));
    const combined = (of: (one: (typeof exact)[number]) => number): number =>
      exact.reduce((sum, one, k) => sum + (WEIGHTS[k] * of(one)) / n[k], 0) / 3.5;
    expect(estimate.gradient[0] / combined(({ gradient }) => gradient)).toBeCloseTo(1, 10);
    expect(estimate.meanLoss / combined(({ loss }) => loss)).toBeCloseTo(1, 10);
    exact.forEach(({ loss }, k) => {
      expect(estimate.metrics[`task ${String(k + 1)}: mean loss`] / loss).toBeCloseTo(1, 10);
    });
    const mean = exact.reduce((sum, { loss }, k) => sum + (WEIGHTS[k] * loss) / 3.5, 0);
    expect(estimate.metrics.loss / mean).toBeCloseTo(1, 10);
    expect([estimate.innerSteps, estimate.sequentialSteps, estimate.validPairs]).toEqual([3 * HORIZON, HORIZON, 3]);
  });

  const rows = [
    ...estimatorRows.map(({ label, make }) => ({ label, make: () => make({ pairs: 3, sigma: 0.05 }) })),
    ...gradientRows.map(({ label, make }) => ({ label, make: () => make({ workers: 2 }) })),
  ];
  test.each(rows)('$label: what the estimator gives on each task by itself', async ({ make }) => {
    const tasks = plan([noisyBowl(0.5), noisyBowl(2)], 'none', [1, 3]);
    const THETAS = [0.3, 0.2, 0.25, 0.1, 0.3];
    const own: Estimate[][] = [];
    for (const [k, { problem }] of tasks.members.entries()) {
      const program = await new ReferenceEngine().compile(problem);
      const estimator = make();
      const population = await estimator.populate(program, memberSeed(5, k));
      own.push([]);
      for (const [i, theta] of THETAS.entries()) {
        own[k].push(await estimator.estimate(Float64Array.of(theta), population, i));
      }
      await population.dispose();
      await program.dispose();
    }
    const combined = await estimates(make(), tasks, THETAS);
    combined.forEach(({ gradient, meanLoss, innerSteps, burnInSteps }, i) => {
      const [a, b] = [own[0][i], own[1][i]];
      expect(gradient[0]).toBe(0.25 * a.gradient[0] + 0.75 * b.gradient[0]);
      expect(meanLoss).toBe(0.25 * a.meanLoss + 0.75 * b.meanLoss);
      expect(innerSteps).toBe(a.innerSteps + b.innerSteps);
      expect(burnInSteps).toBe(a.burnInSteps + b.burnInSteps);
    });
  });

  test('equal members share no numbers', async () => {
    const tasks = plan([1, 1, 1].map(noisyBowl), 'none');
    const [{ metrics }] = await estimates(nres({ pairs: 2, sigma: 0.05, window: 3 }), tasks, [0.1]);
    expect(new Set([1, 2, 3].map((k) => metrics[`task ${String(k)}: mean loss`])).size).toBe(3);
  });

  const made = (change: Partial<Estimate>): Estimate => ({
    ...{ gradient: Float64Array.of(1, 2), meanLoss: 3, innerSteps: 10, sequentialSteps: 5, burnInSteps: 2 },
    ...{ validPairs: 4, droppedPairs: 1, metrics: { own: 7, loss: 1 }, diagnostics: { sigma: 0.1, signalToNoise: 2 } },
    ...change,
  });
  const members = [
    { name: 'a', weight: 1, normaliser: 2 },
    { name: 'b', weight: 3, normaliser: 5 },
    { name: 'c', weight: 9, normaliser: 1 },
  ];

  test('a member without a valid pair leaves it, weight and all', () => {
    const lost = { gradient: new Float64Array(2), meanLoss: NaN, validPairs: 0, droppedPairs: 5 };
    const combined = combineEstimates(members, [
      made({}),
      made({ gradient: Float64Array.of(10, 0), meanLoss: 20, metrics: { loss: 5 } }),
      made({ ...lost, metrics: { loss: NaN } }),
    ]);
    expect([...combined.gradient]).toEqual([(1 / 2 + (3 * 10) / 5) / 4, 2 / 2 / 4]);
    expect(combined.meanLoss).toBeCloseTo((3 / 2 + (3 * 20) / 5) / 4, 14);
    expect(combined).toMatchObject({
      innerSteps: 30,
      sequentialSteps: 5,
      burnInSteps: 6,
      validPairs: 8,
      droppedPairs: 7,
    });
    expect(combined.metrics).toEqual({
      loss: (1 + 3 * 5) / 4,
      'a: mean loss': 3,
      'b: mean loss': 20,
      'c: mean loss': NaN,
    });
    // V = Σ (w/n/Σw)²·‖g‖²/ratio².
    const variance = (1 / 8) ** 2 * (5 / 4) + (3 / 20) ** 2 * (100 / 4);
    const length = Math.hypot(...combined.gradient);
    expect(combined.diagnostics.signalToNoise).toBeCloseTo(length / Math.sqrt(variance), 12);
    expect(combined.diagnostics.sigma).toBeCloseTo(0.1, 14);
  });

  test('without any there is no gradient', () => {
    const none = made({ gradient: new Float64Array(2), meanLoss: NaN, validPairs: 0 });
    const combined = combineEstimates(members, [none, none, none]);
    expect([[...combined.gradient], combined.meanLoss, combined.validPairs]).toEqual([[0, 0], NaN, 0]);
  });
});

describe('in code', () => {
  const common = {
    optimizer,
    objective: { metric: 'loss' },
    horizon: HORIZON,
    estimator: nres({ pairs: 4, sigma: 0.05, window: 3 }),
    outerOptimizer: outer.sgd({ learningRate: 0.01 }),
    iterations: 12,
    seed: 3,
    engine: 'reference',
  } as const satisfies Partial<TuneOptions>;

  test('one task alone is what it is without the list', async () => {
    const alone = await tune({ ...common, task: noisyBowl(1) });
    const listed = await tune({ ...common, tasks: [{ task: noisyBowl(1), weight: 7 }], normaliser: 'none' });
    expect(listed.theta).toEqual(alone.theta);
    expect(listed.history.map(({ meanLoss }) => meanLoss)).toEqual(alone.history.map(({ meanLoss }) => meanLoss));
  });

  test('two tasks: θ goes to where both are low, is judged on both, and the run says each', async () => {
    const events: RunEvent[] = [];
    const tasks = [{ task: bowl(1) }, { name: 'steep', task: Promise.resolve(bowl(4)), weight: 2 }];
    const result = await tune({ ...common, tasks, iterations: 40, onEvent: (event) => events.push(event) });
    expect(result.problem).toBe('sgd on 2 tasks');
    const told = events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
    expect(told).toContain('losses are divided by those of untrained parameters: task 1 0.5, steep 2');
    // All starts are alike: L̄(θ) = Σ w·L/n / Σ w.
    const judged = (rate: number): number[] => [1, 4].map((a) => closedForm(a, rate, HORIZON).loss);
    for (const [measured, theta] of [
      [result.before!, f32(RATE)],
      [result.after!, result.theta[0]],
    ] as const) {
      const [one, steep] = judged(theta);
      expect(measured.mean).toBeCloseTo((one / 0.5 + (2 * steep) / 2) / 3, 7);
      expect(measured.members!['task 1']).toBeCloseTo(one, 7);
      expect(measured.members!.steep).toBeCloseTo(steep, 7);
      expect(measured).toMatchObject({ metric: 'mean loss of 2 tasks', minimise: true, n: 5 });
    }
    expect(result.after!.mean).toBeLessThan(result.before!.mean);
    expect(Object.keys(result.history[0].metrics!)).toEqual([
      'batch loss',
      'loss',
      'task 1: mean loss',
      'steep: mean loss',
    ]);
  });

  test('a task whose loss is NaN at the first step is named before anything is written', async () => {
    const broken = bowl(1, { loss: (params) => tf.mul((params as { x: tf.Tensor }).x, NaN) });
    const out = join(folder, 'broken');
    const run = tune({ ...common, tasks: [{ task: bowl(1) }, { name: 'broken', task: broken }], out });
    await expect(run).rejects.toThrow(NonFiniteTaskError);
    await expect(run).rejects.toThrow(
      'tasks: the loss of "broken" (sgd on broken (bowl-1)) is NaN at the first inner step, at all of 16 starts.',
    );
    expect(existsSync(out)).toBe(false);
  });

  test.each<[string, Partial<TuneOptions>, string]>([
    ['no task', { tasks: [] }, 'tasks: expected one or more tasks, got none.'],
    [
      'a weight',
      { tasks: [{ task: bowl(1), weight: 0 }] },
      'tasks: the weight of "task 1": expected a positive number',
    ],
    [
      'a name',
      { tasks: [{ task: bowl(1) }, { name: 'task 1', task: bowl(1) }] },
      'tasks.members.1.name: expected a name of its own, got "task 1".',
    ],
    [
      'a normaliser',
      {
        tasks: [{ task: bowl(1, { metrics: () => ({ accuracy: tf.scalar(1) }) }) }],
        objective: { metric: 'accuracy' },
        normaliser: 'initial-loss',
      },
      'tasks.normaliser: expected none for the objective "accuracy", got initial-loss.',
    ],
    [
      'a loss of 0',
      { tasks: [{ task: bowl(0) }] },
      'tasks.normaliser: expected an initial loss of "task 1" other than 0',
    ],
    [
      'a search',
      { tasks: [{ task: bowl(1) }], estimator: randomSearch({ radius: 1 }) },
      'estimator: expected an estimator of gradients, for several tasks, got "random-search".',
    ],
  ])('bad input: %s', async (_, change, message) => {
    const run = tune({ ...common, ...change } as TuneOptions);
    await expect(run).rejects.toThrow(ConfigurationError);
    await expect(run).rejects.toThrow(message);
  });
});

const ROWS = 40;
const bowls = definePlugin(({ task, dataset }) => {
  task('noisy-bowl', { description: '', create: () => noisyBowl(2) });
  dataset('points', {
    description: '',
    options: z.strictObject({ size: z.int().positive().default(2) }),
    create: ({ size }) =>
      arrayDataset({
        name: `points-${String(size)}`,
        xs: normals([size, 1], ROWS * size),
        ys: Array.from({ length: ROWS }, (_, i) => i % 2),
        inputShape: [size],
        classes: 2,
      }),
  });
});
const CONFIG: ConfigObject = {
  tasks: [
    { task: { name: 'quadratic', size: 3 } },
    { name: 'valley', task: { name: 'test-function', dimensions: 3 }, weight: 2 },
    { task: 'noisy-bowl' },
  ],
  optimizer: { name: 'sgd', learningRate: 'meta.log(0.001)' },
  horizon: 12,
  estimator: { name: 'pes', pairs: 4, sigma: 0.1, window: 3 },
  outerOptimizer: { name: 'adam', learningRate: 0.05 },
  iterations: 9,
  seed: 4,
  evaluation: { every: 4 },
};

describe('of a configuration', () => {
  const container = testContainer();
  container.use(bowls);
  const resolve = (change: ConfigObject, sets: readonly string[] = []) =>
    resolveConfig({ ...CONFIG, ...change }, sets.map(parseOverride), container);

  test.each(['reference', 'tfjs:cpu', ...(HAS_COMPILER ? ['native'] : [])])(
    'interrupted and resumed, it ends as if untouched: %s',
    async (engine) => {
      const resolver = createContainer();
      resolver.use(bowls);
      const config = resolveConfig({ ...CONFIG, engine }, [], resolver);
      const path = join(folder, `whole-${engine.replace(':', '-')}`);
      const { whole, parts } = await atOnceAndInParts(config, resolver, path);
      expect(whole.lines).toHaveLength(9);
      expect(whole.lines[0].metrics).toHaveProperty('valley: mean loss');
      expect(parts).toEqual(whole);
      expect(whole.evaluations.after!.mean).toBeLessThan(whole.evaluations.before!.mean);
      const judged = await evaluateRun(path, { resolver });
      expect(judged).toEqual(whole.evaluations.after);
      expect((await evaluateRun(path, { resolver, seed: 9, particles: 2 })).n).toBe(2);
    },
    240_000,
  );

  const FAMILY: ConfigObject = {
    data: 'points',
    tasks: {
      family: { name: 'mlp', width: [2, 4], depth: [0, 2], data: ['points', { name: 'points', size: 3 }] },
      count: 3,
      normaliser: 'none',
    },
  };

  test('members of a family are drawn by the seed, and recorded in full', async () => {
    const [drawn, again, other] = [
      (await prepareRun(resolve(FAMILY), container)).config,
      (await prepareRun(resolve(FAMILY), container)).config,
      (await prepareRun(resolve({ ...FAMILY, seed: 5 }), container)).config,
    ];
    expect(again).toEqual(drawn);
    expect(other.tasks).not.toEqual(drawn.tasks);
    expect(Object.keys(drawn.tasks!)).toEqual(['members', 'normaliser']);
    expect(drawn.tasks!.members).toHaveLength(3);
    for (const { task, data, weight } of drawn.tasks!.members!) {
      expect(Object.keys(task).sort()).toEqual(['activation', 'batchSize', 'hidden', 'init', 'initScale', 'name']);
      expect([2, 3].map((size) => ({ name: 'points', size }))).toContainEqual(data);
      expect(weight).toBe(1);
    }
    // What is recorded is a configuration of the same run.
    const recorded = JSON.parse(JSON.stringify(drawn)) as ConfigObject;
    expect(resolveConfig(recorded, [], container)).toEqual(drawn);
    const { plan: prepared } = await prepareRun(resolveConfig(recorded, [], container), container);
    expect(prepared.tasks!.members.map(({ name }) => name)).toEqual(['task 1', 'task 2', 'task 3']);
    const opened = { engine: new ReferenceEngine(), reason: 'a test' };
    const short = { ...prepared, settings: { ...prepared.settings, iterations: 1, evaluation: { particles: 1 } } };
    const { history } = await executeRun({ plan: short, opened });
    expect(history[0].metrics).toHaveProperty('task 3: mean loss');
  });

  test('runs of several tasks share no population in a sweep', () => {
    const config = resolve({});
    expect(groupsOfShape([config, { ...config, seed: 5 }], (one) => one)).toHaveLength(2);
  });

  test('evaluate --tasks: own is each of them, a relative that of each', () => {
    const names = (tasks: string) => metaTestTasks(tasks, resolve({}), container);
    const own = names('own');
    expect(own.map(({ name }) => name)).toEqual(['task 1', 'valley', 'task 3']);
    expect(own.map(({ config }) => config.task?.name)).toEqual(['quadratic', 'test-function', 'noisy-bowl']);
    expect(own.every(({ config }) => config.tasks === undefined)).toBe(true);
    expect(names('longer').map(({ name, config }) => [name, config.horizon])).toEqual([
      ['longer, task 1', 60],
      ['longer, valley', 60],
      ['longer, task 3', 60],
    ]);
    const [given] = metaTestTasks([{ name: 'other', task: 'quadratic' }], resolve({}), container);
    expect([given.name, given.config.task?.name, given.config.tasks]).toEqual(['other', 'quadratic', undefined]);
  });

  test.each<[string, ConfigObject, readonly string[], typeof ConfigurationError | typeof UnknownNameError, string]>([
    [
      'task beside',
      { task: 'quadratic' },
      [],
      ConfigurationError,
      'task: expected nothing beside "tasks", got "quadratic".',
    ],
    [
      'both',
      { tasks: { members: [{ task: 'quadratic' }], family: 'mlp' } },
      [],
      ConfigurationError,
      'tasks: expected members, or a family and a count, got both.',
    ],
    [
      'neither',
      { tasks: {} },
      [],
      ConfigurationError,
      'tasks: expected members, or a family and a count, got neither.',
    ],
    [
      'no count',
      { tasks: { family: 'mlp' } },
      [],
      ConfigurationError,
      'tasks.count: expected a positive integer, how many tasks of the family, got nothing.',
    ],
    [
      'a count beside members',
      {},
      ['tasks.count=3'],
      ConfigurationError,
      'tasks.count: expected nothing beside "tasks.members", got 3.',
    ],
    ['an empty list', { tasks: [] }, [], ConfigurationError, 'tasks.members: expected one or more tasks, got none.'],
    ['an unknown task', { tasks: [{ task: 'quadratix' }] }, [], UnknownNameError, 'unknown task "quadratix"'],
    ['an unknown family', { tasks: { family: 'mpl', count: 2 } }, [], UnknownNameError, 'Did you mean "mlp"?'],
    [
      'an unknown option',
      { tasks: [{ task: { name: 'quadratic', sise: 3 } }] },
      [],
      UnknownNameError,
      'Did you mean "tasks.members.0.task.size"?',
    ],
    [
      'an option',
      { tasks: [{ task: { name: 'quadratic', size: 0 } }] },
      [],
      ConfigurationError,
      'tasks.members.0.task.size: expected a positive integer, got 0.',
    ],
    [
      'a range of the family',
      { tasks: { family: { name: 'mlp', width: [0, 4] }, count: 2 } },
      [],
      ConfigurationError,
      'tasks.family.width: expected two integers [low, high], 1 ≤ low ≤ high, got [0,4].',
    ],
    [
      'a weight',
      { tasks: [{ task: 'quadratic', weight: -1 }] },
      [],
      ConfigurationError,
      'tasks.members.0.weight: expected a number greater than 0, got -1.',
    ],
    [
      'a normaliser',
      {},
      ['tasks.normaliser=loss'],
      ConfigurationError,
      'tasks.normaliser: expected one of none, initial-loss, got "loss".',
    ],
  ])('bad input: %s', (_label, change, sets, kind, message) => {
    const config = (): unknown => resolve(change, sets);
    expect(config).toThrow(kind);
    expect(config).toThrow(message);
  });

  test('a member without data that it needs is named', async () => {
    const config = resolve({ tasks: [{ task: 'quadratic' }, { task: 'mlp' }] });
    await expect(prepareRun(config, container)).rejects.toThrow(
      'data: expected the name of a data set, which task "mlp" needs',
    );
  });
});

function f32(x: number): number {
  return Math.fround(x);
}
