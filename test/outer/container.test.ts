import { createContainer } from '../../src/container';
import {
  ConfigurationError,
  definePlugin,
  PluginError,
  REGISTERED_KINDS,
  UnknownNameError,
  type Dataset,
  type FactoryContext,
  type Plugin,
  type Registrar,
} from '../../src/contracts';
import { nearNames, prepareRun, resolveConfig } from '../../src/outer';
import { referenceEngines, testContainer } from './support';

const empty = () => createContainer({ engines: referenceEngines, modules: [] });
const never = () => {
  throw new Error('must not be built');
};

describe('names', () => {
  it('of every kind are resolved, in order, with near ones for unknown ones', () => {
    const container = empty();
    for (const kind of [...REGISTERED_KINDS, 'preset'] as const) expect(container.names(kind)).toEqual([]);
    container.use(
      definePlugin((registrar) => {
        for (const kind of REGISTERED_KINDS) {
          const register = registrar[kind] as (name: string, make: () => never) => void;
          for (const name of [`${kind}-b`, `${kind}-a`]) register(name, never);
        }
      }),
    );
    for (const kind of REGISTERED_KINDS) {
      expect(container.names(kind)).toEqual([`${kind}-a`, `${kind}-b`]);
      expect(() => container.registration(kind, `${kind}-`)).toThrow(
        new UnknownNameError(kind, `${kind}-`, [`${kind}-a`, `${kind}-b`], [`${kind}-a`, `${kind}-b`]),
      );
    }
    expect(() => container.preset('x')).toThrow('unknown preset "x". Known: none.');
  });

  it.each([
    ['sdg', ['sgd', 'adam'], ['sgd']],
    ['mnist', ['fashion-mnist', 'mnist-lr', 'lorenz'], ['mnist-lr', 'fashion-mnist']],
    ['ADAM', ['adam', 'sgd'], ['adam']],
    ['paris', ['pairs', 'pear', 'sigma'], ['pairs']],
    ['anything', ['else'], []],
  ])('near %s', (word, known, near) => {
    expect(nearNames(word, known)).toEqual(near);
  });
});

describe('plugins', () => {
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['nothing', undefined, 'mine is no plugin: expected what definePlugin(…) returns.'],
    ['an object', { register: never }, 'mine is no plugin'],
    ['no name', definePlugin(({ task }) => task('', never)), 'mine: the name of a task is letters and digits'],
    ['a name with spaces', definePlugin(({ task }) => task('my task', never)), 'got "my task"'],
    ['no factory', definePlugin(({ problem }) => problem('p', {} as never)), 'mine: problem "p" needs a function or'],
    [
      'no configuration',
      definePlugin(({ preset }) => preset('p', {} as never)),
      'mine: preset "p" needs {description, config}.',
    ],
    [
      'a name that is taken',
      definePlugin(({ task }) => task('mlp', never)),
      'mine: task "mlp" is registered already, by tasks.',
    ],
    [
      'a name twice',
      definePlugin(({ task }) => ['one', 'one'].forEach((name) => task(name, never))),
      'mine: task "one" is registered already, by mine.',
    ],
  ];

  it.each(wrong)('with %s are refused', (_what, plugin, message) => {
    const container = testContainer();
    expect(() => container.use(plugin as Plugin, 'mine')).toThrow(PluginError);
    expect(() => container.use(plugin as Plugin, 'mine')).toThrow(message);
  });

  it('count as a whole or not at all', () => {
    const container = testContainer();
    const plugin = definePlugin(({ task }) => ['fresh', 'mlp'].forEach((name) => task(name, never)));
    expect(() => container.use(plugin)).toThrow(PluginError);
    expect(container.names('task')).not.toContain('fresh');
  });

  it('of one container are unknown to another', () => {
    testContainer().use(definePlugin(({ task }) => task('mine', never)));
    expect(testContainer().names('task')).not.toContain('mine');
  });

  it('of the same names in different kinds live side by side', () => {
    const both = ({ task, problem }: Registrar): void => {
      task('same', never);
      problem('same', never);
    };
    expect(empty().use(definePlugin(both)).names('problem')).toEqual(['same']);
  });
});

describe('factories', () => {
  /** A container whose problem `outer` is made by `create`, and a configuration of it. */
  function prepared(
    create: (context: FactoryContext) => unknown,
    extra: (registrar: Registrar) => void = () => undefined,
  ) {
    const container = testContainer({
      origin: 'test',
      register: (registrar) => {
        registrar.problem('outer', create as never);
        extra(registrar);
      },
    });
    const config = resolveConfig({ preset: 'quadratic', problem: 'outer', data: 'tiny', horizon: 20 }, [], container);
    return prepareRun(config, container);
  }
  const tiny = ({ dataset }: Registrar): void => dataset('tiny', () => ({ name: 'tiny' }) as Dataset);

  it('that need something unknown say what led there', async () => {
    const chain = ({ task, optimizer, dataset }: Registrar): void => {
      task('middle', (context) => context.create('optimizer', 'inner') as never);
      optimizer('inner', (context) => context.create('schedule', 'inverse') as never);
      tiny({ dataset } as Registrar);
    };
    await expect(prepared((context) => context.create('task', 'middle'), chain)).rejects.toThrow(
      'unknown schedule "inverse", needed by problem "outer" → task "middle" → optimizer "inner". Did you mean "inverse-time"?',
    );
  });

  it('that need themselves are found out', async () => {
    const circle = (registrar: Registrar): void => {
      registrar.task('a', (context) => context.create('task', 'b'));
      registrar.task('b', (context) => context.create('task', 'a'));
      tiny(registrar);
    };
    await expect(prepared((context) => context.create('task', 'a'), circle)).rejects.toThrow(
      'expected things that do not need themselves, got problem "outer" → task "a" → task "b" → task "a".',
    );
  });

  it('that throw are named, with their own typed errors left as they are', async () => {
    await expect(prepared(() => Promise.reject(new Error('boom')), tiny)).rejects.toThrow(
      'problem "outer" cannot be built: boom',
    );
    const own = new ConfigurationError('x', 'y', 'z');
    await expect(prepared(() => Promise.reject(own), tiny)).rejects.toBe(own);
  });

  it('that want a name get one', async () => {
    await expect(prepared((context) => context.create('task', 3), tiny)).rejects.toThrow(
      'problem "outer" → task: expected the name of a task, or {name, …options}, got 3.',
    );
  });

  it('share a data set for each name and options, loaded once', async () => {
    let loads = 0;
    const sets: Dataset[] = [];
    const counted = ({ dataset }: Registrar): void =>
      dataset('tiny', () => {
        loads++;
        return Promise.resolve({ name: 'tiny' } as Dataset);
      });
    const result = prepared(async (context) => {
      sets.push(await context.data(), await context.dataset('tiny'), await context.dataset({ name: 'tiny' }));
      throw new Error('enough');
    }, counted);
    await expect(result).rejects.toThrow('enough');
    expect(loads).toBe(1);
    expect(new Set(sets).size).toBe(1);
  });

  it('load a data set again after a failure', async () => {
    let loads = 0;
    const container = empty();
    const load = (): Promise<Dataset> =>
      loads++ === 0 ? Promise.reject(new Error('no disk')) : Promise.resolve({ name: 'x' } as Dataset);
    await expect(container.cachedDataset('x', load)).rejects.toThrow('no disk');
    expect((await container.cachedDataset('x', load)).name).toBe('x');
    await container.cachedDataset('x', load);
    expect(loads).toBe(2);
  });
});

describe('engines', () => {
  it('are resolved by name, never replaced', async () => {
    const container = createContainer();
    expect(container.names('engine')).toEqual(expect.arrayContaining(['auto', 'reference', 'tfjs:cpu', 'tfjs:wasm']));
    await expect(container.openEngine('tfjs:cup')).rejects.toThrow(
      'unknown engine "tfjs:cup". Did you mean "tfjs:cpu"',
    );
    expect((await container.openEngine('reference')).engine.name).toBe('reference');
  });
});
