import { ConfigurationError, OuterloopError, UnknownNameError, type ConfigObject } from '../../src/contracts';
import { parseOverride, prepareRun, resolveConfig, type ResolvedConfig } from '../../src/outer';
import { testContainer } from './support';

const container = testContainer();

/** A small complete configuration of task and optimizer, without data. */
const BASE: ConfigObject = {
  task: 'quadratic',
  optimizer: { name: 'sgd', learningRate: { name: 'inverse-time', initial: 'meta.log(0.003)', decay: 'meta.log(30)' } },
  objective: { metric: 'loss' },
  horizon: 40,
  estimator: { name: 'nres', pairs: 4, sigma: 0.1, window: 10 },
  outerOptimizer: { name: 'adam', learningRate: 0.01 },
};

function resolve(change: ConfigObject = {}, sets: readonly string[] = []): ResolvedConfig {
  return resolveConfig({ ...BASE, ...change }, sets.map(parseOverride), container);
}

async function failure(change: ConfigObject, sets: readonly string[]): Promise<OuterloopError> {
  try {
    await prepareRun(resolve(change, sets), container);
  } catch (error) {
    if (error instanceof OuterloopError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** change of BASE, flags → [key, expected, got]. */
const WRONG: readonly (readonly [string, ConfigObject, readonly string[], readonly [string, string, string]])[] = [
  ['a string for a number', {}, ['pairs=eight'], ['estimator.pairs', 'a positive integer', '"eight"']],
  ['a quoted number', {}, ["pairs='8'"], ['estimator.pairs', 'a positive integer', '"8"']],
  ['a fraction for an integer', {}, ['iterations=1.5'], ['iterations', 'a positive integer', '1.5']],
  ['a negative seed', {}, ['seed=-1'], ['seed', 'an integer of at least 0', '-1']],
  ['zero iterations', {}, ['iterations=0'], ['iterations', 'a positive integer', '0']],
  [
    'a horizon of 0',
    {},
    ['horizon=0'],
    ['horizon', 'a positive integer or "infinite" or a name, or {name, …options}', '0'],
  ],
  ['a decay of 1', {}, ['thetaAverage=1'], ['thetaAverage', 'a number greater than 0 and less than 1', '1']],
  ['NaN', {}, ['checkpoint.seconds=.nan'], ['checkpoint.seconds', 'a number greater than 0', 'NaN']],
  ['no such choice', {}, ['objective.over=last'], ['objective.over', 'one of sum, mean, final', '"last"']],
  ['no such split', {}, ['objective.split=tset'], ['objective.split', 'one of train, validation, test', '"tset"']],
  ['a number for a named thing', {}, ['task=3'], ['task', 'a name, or {name, …options}', '3']],
  ['a number out of range', {}, ['task.condition=0.5'], ['task.condition', 'a number of at least 1', '0.5']],
  [
    'no estimator',
    { estimator: null },
    [],
    [
      'estimator',
      'a name (bptt, dodge, full-es, gpes, grid-search, nres, pes, pes-analytic, random-search, rtrl, tbptt, truncated-es, uoro)',
      'nothing',
    ],
  ],
  [
    'a schedule with one knot',
    {},
    ['optimizer.learningRate={ name: piecewise-linear, values: [meta.log(0.1)] }'],
    ['optimizer.learningRate.values', 'two values or more', '["meta.log(0.1)"]'],
  ],
  [
    'knots that go back',
    {},
    ['optimizer.learningRate={ name: piecewise-linear, values: [0.1, 0.2, meta.log(0.3)], places: [0, 0.5, 0.2] }'],
    ['optimizer.learningRate.places.2', 'a finite number above 0.5', '0.2'],
  ],
  ['no task', { task: null }, [], ['task', 'the name of a task', 'nothing']],
  ['no optimizer', { optimizer: null }, [], ['optimizer', 'the name of an optimizer', 'nothing']],
  ['neither', { task: null, optimizer: null }, [], ['problem', 'a problem, or a task and an optimizer', 'neither']],
  ['no horizon', { horizon: null }, [], ['horizon', 'a positive integer', 'nothing']],
  ['both', { problem: 'quadratic' }, [], ['task', 'nothing beside "problem"', '"quadratic"']],
  ['W that does not divide T', {}, ['window=7'], ['estimator.window', 'a divisor of the horizon 40', '7']],
  [
    'K that is no multiple of W',
    { estimator: { name: 'gpes', pairs: 4, sigma: 0.1, window: 10 } },
    ['estimator.noisePeriod=15'],
    ['estimator.noisePeriod', 'a multiple of the window 10', '15'],
  ],
  ['a path through a number', {}, ['horizon.steps=3'], ['horizon.steps', '"horizon" to be an object', '40']],
  [
    'a task without its data',
    { task: 'mlp' },
    [],
    ['data', 'the name of a data set, which task "mlp" needs', 'nothing'],
  ],
];

test.each(WRONG)('%s', async (_what, change, sets, [key, expected, got]) => {
  const error = await failure(change, sets);
  expect(error).toBeInstanceOf(ConfigurationError);
  const { key: gotKey, expected: gotExpected, got: gotGot, exitCode } = error as ConfigurationError;
  expect({ key: gotKey, expected: gotExpected, got: gotGot, exitCode }).toEqual({ key, expected, got, exitCode: 2 });
  expect(error.message).not.toContain('\n');
});

/** change of BASE, flags → the whole message. */
const UNKNOWN: readonly (readonly [string, ConfigObject, readonly string[], string])[] = [
  ['preset', { preset: 'minst-lr' }, [], 'unknown preset "minst-lr". Did you mean "mnist-lr"'],
  ['task', {}, ['task=quadratik'], 'unknown task "quadratik". Did you mean "quadratic"?'],
  ['estimator', {}, ['estimator=nress'], 'unknown estimator "nress". Did you mean "nres"'],
  ['optimizer', {}, ['optimizer=sdg'], 'unknown optimizer "sdg". Did you mean "sgd"'],
  ['outer optimizer', {}, ['outerOptimizer=adm'], 'unknown outerOptimizer "adm". Did you mean "adam"?'],
  ['data set', {}, ['data=mnits'], 'unknown dataset "mnits". Did you mean "mnist"?'],
  ['engine', {}, ['engine=referense'], 'unknown engine "referense". Did you mean "reference"?'],
  ['key', {}, ['horizont=3'], 'unknown key "horizont". Did you mean "horizon"?'],
  ['key that every object has', {}, ['constructor=3'], 'unknown key "constructor".'],
  ['key in a file', { iteration: 3 }, [], 'unknown key "iteration". Did you mean "iterations"?'],
  [
    'option',
    {},
    ['estimator.pair=3'],
    'unknown key of estimator "nres": "estimator.pair". Did you mean "estimator.pairs"?',
  ],
  [
    'nested option',
    {},
    ['optimizer.learningRate.inital=3'],
    'unknown key of optimizer "sgd" → schedule "inverse-time": "optimizer.learningRate.inital". Did you mean "optimizer.learningRate.initial"?',
  ],
  [
    'nested name, with what led to it',
    {},
    ['optimizer.learningRate=inverse'],
    'unknown schedule "inverse", needed by optimizer "sgd". Did you mean "inverse-time"?',
  ],
  [
    'far from all',
    {},
    ['estimator=xyzzyxyzzy'],
    'unknown estimator "xyzzyxyzzy". Known: bptt, dodge, full-es, gpes, grid-search,',
  ],
];

test.each(UNKNOWN)('unknown %s', async (_what, change, sets, message) => {
  const error = await failure(change, sets);
  expect(error).toBeInstanceOf(UnknownNameError);
  expect(error.message.slice(0, message.length)).toBe(message);
  expect(error.exitCode).toBe(2);
});

describe('resolveConfig', () => {
  it('fills in every default, and reading its result again changes nothing', () => {
    const resolved = resolve();
    expect(resolved).toMatchObject({
      seed: 0,
      engine: 'auto',
      iterations: 500,
      plugins: [],
      task: { name: 'quadratic', size: 10, condition: 10 },
      objective: { metric: 'loss', split: 'train', over: 'sum' },
      checkpoint: { seconds: 60, keep: 5 },
      estimator: { name: 'nres', pairs: 4, sigma: 0.1, window: 10 },
    });
    const written = JSON.parse(JSON.stringify(resolved)) as ConfigObject;
    expect(resolveConfig(written, [], container)).toEqual(resolved);
    expect(resolveConfig({ ...written, run: { versions: {} } }, [], container)).toEqual(resolved);
  });

  it('drops the options of the old name when a name changes, whatever the order of the flags', () => {
    const flags = ['estimator=pes', 'pairs=8', 'sigma=0.2', 'window=20'];
    const expected = { name: 'pes', pairs: 8, sigma: 0.2, window: 20 };
    expect(resolve({}, flags).estimator).toMatchObject(expected);
    expect(resolve({}, [...flags].reverse()).estimator).toEqual(resolve({}, flags).estimator);
    const gradient = resolve({}, ['workers=8', 'window=20', 'estimator=tbptt']).estimator;
    expect(gradient).toMatchObject({ name: 'tbptt', workers: 8, window: 20 });
    // K of GPES is no option of PES: kept, it would be an unknown key.
    const gpes = { estimator: { name: 'gpes', pairs: 2, sigma: 0.1, window: 10, noisePeriod: 20 } };
    expect(resolve(gpes, flags).estimator).not.toHaveProperty('noisePeriod');
  });

  it('keeps the options when the same name is given again', () => {
    expect(resolve({}, ['estimator=nres', 'pairs=2']).estimator).toMatchObject({ name: 'nres', pairs: 2, sigma: 0.1 });
  });

  it('merges over presets, deep and by key', () => {
    const resolved = resolveConfig({ preset: 'quadratic', seed: 7 }, [parseOverride('pairs=3')], container);
    expect(resolved).toMatchObject({ preset: 'quadratic', seed: 7, horizon: 100, estimator: { pairs: 3, sigma: 0.1 } });
    expect(resolveConfig({}, [parseOverride('preset=quadratic')], container).problem).toEqual({ name: 'quadratic' });
  });

  it('takes bare names, YAML values and aliases', () => {
    const resolved = resolve({}, [
      'seed=1e3',
      'optimizer.learningRate=meta.log(0.1)',
      'outerOptimizer={name: sgd, learningRate: 1}',
    ]);
    expect(resolved.seed).toBe(1000);
    expect(resolved.optimizer).toMatchObject({ name: 'sgd', learningRate: 'meta.log(0.1)' });
    expect(resolved.outerOptimizer).toMatchObject({ name: 'sgd', learningRate: 1 });
    expect(resolve({}, ['horizon=.inf']).horizon).toBe('infinite');
  });

  it('refuses presets that refer to themselves', () => {
    const circular = testContainer({
      origin: 'test',
      register: ({ preset }) => {
        preset('a', { description: '', config: { preset: 'b' } });
        preset('b', { description: '', config: { preset: 'a' } });
      },
    });
    expect(() => resolveConfig({ preset: 'a' }, [], circular)).toThrow(
      'presets that do not refer to themselves, got a → b → a',
    );
  });

  it.each(['pairs', '=8', 'a b=8', 'pairs=', 'pairs=[1'])('refuses the flag %s', (text) => {
    expect(() => parseOverride(text)).toThrow(ConfigurationError);
  });
});
