/** `checkAll`: what is built in passes, and each thing that is broken on purpose fails by the property that names its fault. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { nres, sgd as outerSgd } from '../../meta-trainers';
import { quadraticProblem, quadraticTask } from '../../tasks';
import { checkAll, type Named, type Outcome } from '../../src/conformance';
import { createContainer } from '../../src/container';
import {
  definePlugin,
  withConfig,
  type ConfigObject,
  type Dataset,
  type Estimate,
  type EstimatorPopulation,
  type GradientEstimator,
  type LearnedOptimizer,
  type OuterOptimizer,
  type Plugin,
  type RegisteredKind,
  type Task,
  type UnrolledProblem,
} from '../../src/contracts';

jest.setTimeout(120_000);
beforeAll(() => tf.setBackend('cpu'));

async function outcomes(named: Named, plugin?: Plugin, options: ConfigObject = {}): Promise<Outcome[]> {
  const found: Outcome[] = [];
  const fresh = () => (plugin === undefined ? createContainer() : createContainer().use(plugin));
  const byName = Object.keys(options).length === 0 ? {} : { [named.name]: options };
  await checkAll({ registered: [named], fresh, options: byName, onOutcome: (outcome) => found.push(outcome) });
  return found;
}

/** Options of those that need some. */
const GIVEN: Readonly<Record<string, ConfigObject>> = {
  'grid-search': { points: [3, 3], lower: -1, upper: 1 },
  'random-search': { radius: 1 },
  constant: { value: 0.1 },
  cosine: { initial: 0.1 },
  exponential: { initial: 0.1, rate: 0.5 },
  'inverse-time': { initial: 0.1, decay: 1 },
  'piecewise-linear': { values: [0.1, 0.2] },
  'accumulate-gradients': { optimizer: 'learnable-sgd' },
  'clip-gradients': { optimizer: 'learnable-sgd', maxNorm: 1 },
  graft: { direction: 'learnable-sgd', magnitude: 'learnable-sgdm' },
  'weight-decay': { optimizer: 'learnable-sgd' },
};

/** What does not apply to whom. */
const SKIPS: readonly (readonly [RegExp, RegExp])[] = [
  // θ of the hand-designed ones is empty unless a number of theirs is learned.
  [/^optimizer (?!learnable|.*mlp|nn-adam|lstm|graft|clip|accumulate|weight-decay)/, /^θ is empty$/],
  [/^estimator (grid|random)-search$/, /^it has no gradient/],
  [/^estimator (truncated-es|tbptt)$/, /^it is truncated, or biased/],
];

describe('built in', () => {
  const container = createContainer();
  const kinds = ['estimator', 'outerOptimizer', 'optimizer', 'schedule', 'family', 'problem'] as const;
  const rows = kinds.flatMap((kind) => container.names(kind).map((name) => ({ kind, name })));
  test.each(rows)('$kind $name', async (named) => {
    const { kind, name } = named;
    const found = await outcomes(named, undefined, GIVEN[name]);
    expect(found.length).toBeGreaterThanOrEqual(2);
    for (const { outcome, property, reason = '' } of found) {
      const isKnown = SKIPS.some(([who, why]) => who.test(`${kind} ${name}`) && why.test(reason));
      expect([property, outcome, reason]).toEqual([property, isKnown ? 'skip' : 'pass', isKnown ? reason : '']);
    }
  });
});

const bowl = quadraticTask({ size: 3 });
const quadratic = quadraticProblem();
const step: UnrolledProblem['step'] = (theta, state, inner) => quadratic.step(theta, state, inner);
const rule = (update: (gradient: tf.Tensor, param: tf.Tensor) => tf.Tensor): LearnedOptimizer => ({
  name: 'broken',
  initTheta: () => ({ rate: tf.scalar(0.1) }),
  optimizer: (theta) => ({
    init: () => ({}),
    update: ({ params, gradients, state }) => {
      const { rate } = theta as { rate: tf.Tensor };
      const next = (p: unknown, g: unknown): unknown => {
        if (p instanceof tf.Tensor) return tf.sub(p, tf.mul(rate, update(g as tf.Tensor, p as tf.Tensor)));
        if (Array.isArray(p)) return p.map((x, i) => next(x, (g as unknown[])[i]));
        return Object.fromEntries(
          Object.entries(p as object).map(([key, x]) => [key, next(x, (g as Record<string, unknown>)[key])]),
        );
      };
      return { params: next(params, gradients) as typeof params, state };
    },
  }),
});

/** NRES with another estimate, or another population. */
function around(
  change: (estimate: Estimate, iteration: number) => Partial<Estimate>,
  population: (population: EstimatorPopulation) => EstimatorPopulation = (own) => own,
): GradientEstimator {
  const inner = nres({ pairs: 8, sigma: 0.1, window: 3 });
  const owns = new WeakMap<EstimatorPopulation, EstimatorPopulation>();
  return {
    name: 'broken',
    needs: inner.needs,
    populate: async (program, seed) => {
      const own = await inner.populate(program, seed);
      const shown = population(own);
      owns.set(shown, own);
      return shown;
    },
    estimate: async (theta, shown, iteration, signal) => {
      const estimate = await inner.estimate(theta, owns.get(shown)!, iteration, signal);
      return { ...estimate, ...change(estimate, iteration) };
    },
  };
}
const scaled = ({ gradient }: Estimate, by: number): Partial<Estimate> => ({ gradient: gradient.map((g) => by * g) });

const COUNT = 20;
const rows = (name = 'parity', noise = 0): Dataset =>
  arrayDataset({
    name,
    xs: Array.from({ length: COUNT }, (_, i) => i + noise),
    ys: Array.from({ length: COUNT }, (_, i) => i % 2),
    inputShape: [],
    classes: 2,
  });
const downhill = outerSgd({ learningRate: 0.1 });
let calls = 0;

interface Broken {
  readonly what: string;
  readonly kind: RegisteredKind;
  readonly make: () => unknown;
  /** The property that fails. */
  readonly property: RegExp;
  /** Its reason: expected, got, what to do. */
  readonly reason: RegExp;
}
const task = (more: Partial<Task>): Task => ({ ...bowl, ...more });
const problem = (more: Partial<UnrolledProblem>): UnrolledProblem => ({ ...quadratic, ...more });

const BROKEN: readonly Broken[] = [
  {
    what: 'a task with unkeyed parameters',
    kind: 'task',
    make: () => task({ init: () => ({ x: tf.tensor1d([Math.random(), 1, 2]) }) }),
    property: /^init gives float32 leaves, which the key decides$/,
    reason: /^expected the same parameters by the same key, got "x \[3\]": [^]* Draw every number from the `random`/,
  },
  {
    what: 'a task with an unkeyed loss',
    kind: 'task',
    make: () => task({ loss: (params) => tf.mul(bowl.loss(params, {} as never, {} as never), Math.random()) }),
    property: /^trained by SGD: it can be traced/,
    reason: /random/i,
  },
  {
    what: 'a task with integer parameters',
    kind: 'task',
    make: () => task({ init: () => ({ x: tf.tensor1d([1, 2, 3], 'int32') }) }),
    property: /^init gives float32 leaves/,
    reason: /^expected float32 leaves of init, got "x" of int32\./,
  },
  {
    what: 'a task whose loss is no scalar',
    kind: 'task',
    make: () => task({ loss: (params) => tf.square((params as { x: tf.Tensor }).x) }),
    property: /^the loss is a finite scalar/,
    reason:
      /^expected a loss of shape \[\], float32, got shape \[10?\]|^expected a loss of shape \[\], float32, got shape \[3\]/,
  },
  {
    what: 'a task whose loss is NaN',
    kind: 'task',
    make: () => task({ loss: (params) => tf.sum(tf.log(tf.neg((params as { x: tf.Tensor }).x))) }),
    property: /^the loss is a finite scalar/,
    reason: /^expected a finite loss of fresh parameters, got NaN\. Look for/,
  },
  {
    what: 'a task that keeps tensors',
    kind: 'task',
    make: () => task({ loss: (params) => tf.sum(tf.keep(tf.square((params as { x: tf.Tensor }).x))) }),
    property: /leaks no tensors$/,
    reason: /^expected no tensors left after tf.tidy, got 1\./,
  },
  {
    what: 'a task whose loss has no gradient',
    kind: 'task',
    make: () => task({ loss: (params) => tf.sum(tf.round((params as { x: tf.Tensor }).x)) }),
    property: /^the gradient of the loss/,
    reason: /^expected a gradient by the parameters, got zeros everywhere\. round, argMax/,
  },
  {
    what: 'a task with a metric for each row',
    kind: 'task',
    make: () => task({ metrics: (params) => ({ size: (params as { x: tf.Tensor }).x }) }),
    property: /^metrics are finite scalars$/,
    reason: /^expected a finite scalar for metric "size", got shape \[3\]\./,
  },
  {
    what: 'a task of no fixed size',
    kind: 'task',
    make: () => quadraticTask({ size: 2 + (calls++ % 2) }),
    property: /^init gives/,
    reason: /^expected the same parameters by the same key, got leaves x \[\d\] and x \[\d\]\./,
  },
  {
    what: 'a problem whose state grows',
    kind: 'problem',
    make: () => problem({ step: (...args) => ({ ...step(...args), state: { more: tf.zeros([7]) } }) }),
    property: /^it can be traced/,
    reason: /state/,
  },
  {
    what: 'a problem whose loss is infinite at the third step',
    kind: 'problem',
    make: () =>
      problem({
        step: (theta, state, inner) => {
          const { loss, ...rest } = step(theta, state, inner);
          return { ...rest, loss: tf.div(loss, tf.cast(tf.notEqual(inner.t, 2), 'float32')) };
        },
      }),
    property: /^the losses of the first steps/,
    reason: /^expected finite losses, got Infinity among the losses of step 2\./,
  },
  {
    what: 'a problem whose θ₀ is unkeyed',
    kind: 'problem',
    make: () => problem({ initTheta: () => ({ theta: tf.randomNormal([2]) }) }),
    property: /^the seed decides everything/,
    reason: /^expected the same bits twice, got "θ₀": .* Draw every number/,
  },
  {
    what: 'a problem whose θ is of integers',
    kind: 'problem',
    make: () => problem({ initTheta: () => ({ theta: tf.tensor1d([1, 2], 'int32') }) }),
    property: /^it can be traced/,
    reason: /^expected float32 leaves of θ, got theta of int32\./,
  },
  {
    what: 'a problem that hides a part of its gradient',
    kind: 'problem',
    make: () =>
      problem({
        step: (theta, state, inner) => {
          const { loss, ...rest } = step(theta, state, inner);
          return {
            ...rest,
            loss: tf.add(loss, inner.stopGradient(tf.sum(tf.exp((theta as { theta: tf.Tensor }).theta)))),
          };
        },
      }),
    property: /^the gradient by θ is that of central differences$/,
    reason: /^expected the slope of central differences, \S+ along a direction of θ, got \S+\. Look for jumps/,
  },
  {
    what: 'an optimizer that changes shapes',
    kind: 'optimizer',
    make: () => rule((g) => tf.ones([2, ...g.shape])),
    property: /^on a small task: it can be traced/,
    reason: /params/,
  },
  {
    what: 'an optimizer that is not keyed',
    kind: 'optimizer',
    make: () => rule((g) => tf.mul(g, Math.random())),
    property: /^on a small task: it can be traced/,
    reason: /random/i,
  },
  {
    what: 'an optimizer that divides by the gradient’s length',
    kind: 'optimizer',
    make: () => rule((g) => tf.div(g, tf.sqrt(tf.sum(tf.square(g))))),
    property: /^gradients of zero, tiny and huge ones/,
    reason: /^expected finite parameters, and a state without NaN, got NaN in "params\.\S+" after a gradient of 0\./,
  },
  {
    what: 'an estimator with twice the gradient',
    kind: 'estimator',
    make: () => around((estimate) => scaled(estimate, 2)),
    property: /^where no state carries θ/,
    reason: /^expected a mean of \(.*\), got \(.*\), standard errors \(.*\)\. Check signs, factors/,
  },
  {
    what: 'an estimator with 0.8 of the gradient',
    kind: 'estimator',
    make: () => around((estimate) => scaled(estimate, 0.8)),
    property: /^where no state carries θ/,
    reason: /^expected a mean of/,
  },
  {
    what: 'an estimator that goes uphill',
    kind: 'estimator',
    make: () => around((estimate) => scaled(estimate, -1)),
    property: /^where no state carries θ/,
    reason: /^expected a mean of/,
  },
  {
    what: 'an estimator with unkeyed noise',
    kind: 'estimator',
    make: () => around((estimate) => scaled(estimate, 1 + 1e-9 * Math.random())),
    property: /^same seed, same bits$/,
    reason: /^expected the same estimates by the same seed, got "gradient": /,
  },
  {
    what: 'an estimator that forgets its particles',
    kind: 'estimator',
    make: () =>
      around(
        () => ({}),
        (own) => ({
          program: own.program,
          save: () => Promise.resolve({}),
          load: () => Promise.resolve(),
          dispose: () => own.dispose(),
        }),
      ),
    property: /^goes on from a checkpoint/,
    reason: /^expected the estimate of an uninterrupted run, got .* Put everything/,
  },
  {
    what: 'an estimator with a gradient of another size',
    kind: 'estimator',
    make: () => around(({ gradient }) => ({ gradient: gradient.slice(0, 1) })),
    property: /^an estimate has a finite gradient/,
    reason: /^expected a gradient of 2 finite numbers, got \[\S+\]\./,
  },
  {
    what: 'an estimator whose mean loss is NaN',
    kind: 'estimator',
    make: () => around((_estimate, i) => (i === 3 ? { meanLoss: NaN } : {})),
    property: /^an estimate has a finite gradient/,
    reason: /^expected a finite mean loss, got NaN\./,
  },
  {
    what: 'an outer optimizer that goes uphill',
    kind: 'outerOptimizer',
    make: (): OuterOptimizer => ({
      ...downhill,
      init: (size) => downhill.init(size),
      update: (theta, gradient, state, i) =>
        downhill.update(
          theta,
          gradient.map((g) => -g),
          state,
          i,
        ),
    }),
    property: /^it goes down/,
    reason: /^expected less than 2\.625, got /,
  },
  {
    what: 'an outer optimizer that changes θ in place',
    kind: 'outerOptimizer',
    make: (): OuterOptimizer => ({
      name: 'in place',
      init: () => ({}),
      update: (theta, gradient, state) => {
        gradient.forEach((g, k) => (theta[k] -= 0.1 * g));
        return { theta, state };
      },
    }),
    property: /^a step is a function/,
    reason: /^expected inputs as they were, got .* at number 0\./,
  },
  {
    what: 'a data set that is shuffled anew',
    kind: 'dataset',
    make: () => rows('shuffled', Math.random()),
    property: /^loaded twice/,
    reason: /^expected the same tables twice, got .* in xs of split "train"\./,
  },
  {
    what: 'a data set with a label too many',
    kind: 'dataset',
    make: () => {
      const good = rows();
      const { train } = good.splits;
      const ys = { table: { ...train.ys.table, values: train.ys.table.values.map(() => 2) as Int32Array } };
      return { ...good, splits: { ...good.splits, train: { ...train, ys } } };
    },
    property: /^numbers are finite, labels within/,
    reason: /^expected labels from 0 to 1 in split "train", got 2\./,
  },
  {
    what: 'a data set that states too many rows',
    kind: 'dataset',
    make: () => {
      const good = rows();
      return { ...good, splits: { ...good.splits, test: { ...good.splits.test, rows: 99 } } };
    },
    property: /^tables are as long/,
    reason: /^expected 99 numbers in a table of split "test"/,
  },
  {
    what: 'a data set whose examples are those of another split',
    kind: 'dataset',
    make: () => {
      const good = rows();
      return { ...good, examples: () => good.examples('test') };
    },
    property: /^examples are the tables/,
    reason: /^expected /,
  },
];

test.each(BROKEN)('$what fails', async ({ kind, make, property, reason }) => {
  const plugin = definePlugin((registrar) => registrar[kind]('broken', make as never));
  const found = await outcomes({ kind, name: 'broken' }, plugin);
  // What follows from the fault may fail, too.
  const failed = found.filter((one) => one.outcome === 'fail' && property.test(one.property));
  expect([found.filter(({ outcome }) => outcome === 'fail'), failed.length]).toEqual([expect.anything(), 1]);
  expect(failed[0].reason).toMatch(reason);
});

test('the sound things that the broken ones are made of pass', async () => {
  const sound: Partial<Record<RegisteredKind, () => unknown>> = {
    task: () => bowl,
    problem: () => quadratic,
    optimizer: () => rule((g) => g),
    estimator: () => around(() => ({})),
    outerOptimizer: () => downhill,
    dataset: () => rows(),
  };
  for (const [kind, make] of Object.entries(sound) as [RegisteredKind, () => unknown][]) {
    const plugin = definePlugin((registrar) => registrar[kind]('sound', make as never));
    const found = await outcomes({ kind, name: 'sound' }, plugin);
    expect(found.filter(({ outcome }) => outcome === 'fail')).toEqual([]);
    expect(found.filter(({ outcome }) => outcome === 'pass').length).toBeGreaterThan(3);
  }
});

test('an optimizer whose config forgets an option fails where the option is given', async () => {
  const plugin = definePlugin(({ optimizer }) =>
    optimizer('forgets', {
      description: '',
      options: z.strictObject({ rate: z.number().default(0.1) }),
      create: ({ rate }) => withConfig('forgets', {}, { ...sgd({ learningRate: rate }), name: 'forgets' }),
    }),
  );
  const named = { kind: 'optimizer', name: 'forgets' } as const;
  const failed = async (options: ConfigObject) =>
    (await outcomes(named, plugin, options)).filter(({ outcome }) => outcome === 'fail');
  expect(await failed({})).toEqual([]);
  expect(await failed({ rate: 0.5 })).toMatchObject(
    [
      {
        property: /^its config/,
        reason: /^expected the same θ₀ and the same steps, got .* here it says \{"name":"forgets"\}\.$/,
      },
    ].map(({ property, reason }) => ({
      property: expect.stringMatching(property) as string,
      reason: expect.stringMatching(reason) as string,
    })),
  );
});

describe('options', () => {
  const withOptions = (options: z.ZodType<{ size: number }>) =>
    definePlugin((registrar) =>
      registrar.task('bowl', { description: '', options, create: ({ size }) => quadraticTask({ size }) }),
    );
  const named = { kind: 'task', name: 'bowl' } as const;

  test('one that is unknown must be refused', async () => {
    const found = await outcomes(named, withOptions(z.object({ size: z.int().default(3) })));
    expect(found.filter(({ outcome }) => outcome === 'fail')).toEqual([
      {
        ...named,
        property: 'refuses an option that it does not have, by name',
        outcome: 'fail',
        reason: 'expected an error for option "surelyNoOption", got none. Describe the options by z.strictObject({…}).',
      },
    ]);
  });

  test('one without a default is asked for before anything is checked', async () => {
    const plugin = withOptions(z.strictObject({ size: z.int() }));
    await expect(outcomes(named, plugin)).rejects.toThrow(
      'bowl.size: expected a value, since it has no default, got nothing. Add --set bowl.size=VALUE, or a default.',
    );
    expect((await outcomes(named, plugin, { size: 4 })).every(({ outcome }) => outcome !== 'fail')).toBe(true);
  });

  test('those of a name that nothing has are refused', async () => {
    const plugin = withOptions(z.strictObject({ size: z.int().default(3) }));
    const fresh = () => createContainer().use(plugin);
    const checking = checkAll({
      registered: [named],
      fresh,
      options: { bwol: { size: 3 } },
      onOutcome: () => undefined,
    });
    await expect(checking).rejects.toThrow('--set: expected NAME.key=value with a NAME of bowl, got "bwol".');
  });
});

test('a preset that names what there is not fails', async () => {
  const plugin = definePlugin(({ preset }) => preset('lost', { description: '', config: { task: 'nowhere' } }));
  const found = await outcomes({ kind: 'preset', name: 'lost' }, plugin);
  expect(found).toMatchObject([{ outcome: 'fail', kind: 'preset', name: 'lost' }]);
});
