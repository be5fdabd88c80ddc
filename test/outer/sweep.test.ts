/** Sweep files: which runs they stand for, where these lie, and what is refused before any of them starts. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definePlugin, type ConfigObject } from '../../src/contracts';
import { expandSweep, prepareRun, type SweepMember } from '../../src/outer';
import { memberFolder, openSweep, placeMembers, startRun, sweepRuns } from '../../src/outer/run-directory';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const container = testContainer();
container.use(
  definePlugin(({ preset }) => {
    preset('tiny', {
      description: 'x',
      config: { preset: 'quadratic', horizon: 20, iterations: 2, engine: 'reference', estimator: { pairs: 2 } },
    });
  }),
);

const expand = (input: ConfigObject, sets: readonly (readonly [string, string | number])[] = []): SweepMember[] =>
  expandSweep(
    input,
    sets.map(([key, value]) => ({ key, value })),
    container,
  );
const folders = (input: ConfigObject): string[] => expand(input).map(memberFolder);

describe('the product', () => {
  test('presets, then estimators, then settings, then seeds, the last moving fastest', () => {
    const sweep = {
      presets: ['quadratic', 'lorenz'],
      estimators: ['nres', 'pes'],
      settings: { window: [10, 20], sigma: [0.1, 0.2] },
      seeds: 2,
    };
    const all = folders(sweep);
    expect(all).toHaveLength(2 * 2 * 2 * 2 * 2);
    expect(all.slice(0, 5)).toEqual([
      'quadratic--nres--sigma=0.1--window=10--seed=0',
      'quadratic--nres--sigma=0.1--window=10--seed=1',
      'quadratic--nres--sigma=0.2--window=10--seed=0',
      'quadratic--nres--sigma=0.2--window=10--seed=1',
      'quadratic--nres--sigma=0.1--window=20--seed=0',
    ]);
    expect(all[31]).toBe('lorenz--pes--sigma=0.2--window=20--seed=1');
    const last = expand(sweep)[31].config;
    expect(last).toMatchObject({ preset: 'lorenz', seed: 1, horizon: 2000 });
    expect(last.estimator).toMatchObject({ name: 'pes', sigma: 0.2, window: 20, pairs: 200 });
  });

  test('an estimator takes over what it shares with that of the preset; its own options win', () => {
    const [nres, full, own] = expand({
      presets: ['lorenz'],
      estimators: ['nres', 'full-es', { name: 'gpes', noisePeriod: 200, pairs: 7 }],
    }).map(({ config }) => config.estimator);
    expect(nres).toMatchObject({ name: 'nres', pairs: 200, sigma: 0.04, window: 100 });
    expect(full).toEqual({ name: 'full-es', pairs: 200, sigma: 0.04, window: 100, shaping: 'none' });
    expect(own).toMatchObject({ name: 'gpes', pairs: 7, sigma: 0.04, window: 100, noisePeriod: 200 });
  });

  test('seeds, common settings, overrides on top of them, exclusions, and runs beside it', () => {
    const members = expand(
      {
        presets: ['tiny'],
        estimators: ['nres', 'pes'],
        seeds: [3, 5],
        set: { iterations: 7, pairs: 4 },
        exclude: [
          { estimator: 'pes', seed: 3 },
          { estimator: 'nres', seed: 5 },
        ],
        runs: [
          { preset: 'tiny', estimator: 'full-es', settings: { sigma: 0.5 }, seed: 0 },
          // Without a seed of its own: each of the sweep's.
          { preset: 'tiny', estimator: 'truncated-es', settings: { sigma: 0.5 } },
        ],
      },
      [['pairs', 6]],
    );
    expect(members.map(memberFolder)).toEqual([
      'tiny--nres--seed=3',
      'tiny--pes--seed=5',
      'tiny--full-es--sigma=0.5--seed=0',
      'tiny--truncated-es--sigma=0.5--seed=3',
      'tiny--truncated-es--sigma=0.5--seed=5',
    ]);
    for (const { config } of members) expect(config).toMatchObject({ iterations: 7, estimator: { pairs: 6 } });
  });

  test('the short form has its own seeds, and its settings are on top of those of runs; a command line is on top of all', () => {
    const sweep: ConfigObject = {
      seeds: 3,
      set: { iterations: 90 },
      runs: [
        { preset: 'tiny', estimator: { name: 'nres', pairs: 8 }, settings: { iterations: 50, sigma: 0.5 } },
        { preset: 'tiny', estimator: 'pes', seed: 7 },
      ],
      quick: { seeds: [4], set: { iterations: 5, 'estimator.pairs': 3 } },
    };
    const of = (members: readonly SweepMember[]): unknown[] =>
      members.map((member) => {
        const { iterations, estimator } = member.config;
        return [memberFolder(member), iterations, estimator.pairs];
      });
    const name = (pairs: number, iterations: number, seed: number): string =>
      `tiny--nres--estimator.pairs=${String(pairs)}--iterations=${String(iterations)}--sigma=0.5--seed=${String(seed)}`;
    expect(of(expand(sweep))).toEqual([
      [name(8, 50, 0), 50, 8],
      [name(8, 50, 1), 50, 8],
      [name(8, 50, 2), 50, 8],
      ['tiny--pes--seed=7', 90, 2],
    ]);
    // Folders say what is run.
    expect(of(expandSweep(sweep, [], container, true))).toEqual([
      [name(3, 5, 4), 5, 3],
      ['tiny--pes--seed=7', 5, 3],
    ]);
    expect(of(expandSweep(sweep, [{ key: 'pairs', value: 6 }], container, true))).toEqual([
      [name(6, 5, 4), 5, 6],
      ['tiny--pes--seed=7', 5, 6],
    ]);
    expect(of(expand(sweep, [['iterations', 2]]))).toContainEqual([name(8, 2, 0), 2, 8]);
  });

  test('runs that may diverge are told by what entries name, beside the product too, and in both forms', () => {
    const sweep: ConfigObject = {
      presets: ['tiny'],
      estimators: ['nres', 'pes'],
      seeds: 2,
      runs: [{ preset: 'tiny', estimator: 'truncated-es', settings: { sigma: 0.5 } }, { preset: 'quadratic' }],
      mayDiverge: [
        { estimator: 'pes', seed: 1 },
        { settings: { sigma: 0.5 } },
        { preset: 'quadratic', estimator: 'nres' },
      ],
      quick: { seeds: 1 },
    };
    const may = (members: readonly SweepMember[]): string[] =>
      members.filter(({ mayDiverge }) => mayDiverge).map(memberFolder);
    expect(may(expand(sweep))).toEqual([
      'tiny--pes--seed=1',
      'tiny--truncated-es--sigma=0.5--seed=0',
      'tiny--truncated-es--sigma=0.5--seed=1',
      'quadratic--nres--seed=0',
      'quadratic--nres--seed=1',
    ]);
    // Seed 1 of PES is in the whole form only, which is no mistake.
    expect(may(expandSweep(sweep, [], container, true))).toEqual([
      'tiny--truncated-es--sigma=0.5--seed=0',
      'quadratic--nres--seed=0',
    ]);
  });

  test('a run may have settings of its own in the short form, on top of those that are for all', () => {
    const sweep: ConfigObject = {
      runs: [
        {
          preset: 'tiny',
          estimator: 'nres',
          settings: { iterations: 50 },
          quick: { iterations: 6, 'estimator.pairs': 4 },
        },
        { preset: 'tiny', estimator: 'pes', settings: { iterations: 50 } },
      ],
      quick: { set: { iterations: 5, pairs: 3 } },
    };
    const of = (quick: boolean, ...set: { key: string; value: number }[]): unknown[] =>
      expandSweep(sweep, set, container, quick).map((member) => {
        const { iterations, estimator } = member.config;
        return [memberFolder(member), iterations, estimator.pairs];
      });
    expect(of(false)).toEqual([
      ['tiny--nres--iterations=50--seed=0', 50, 2],
      ['tiny--pes--iterations=50--seed=0', 50, 2],
    ]);
    expect(of(true)).toEqual([
      ['tiny--nres--estimator.pairs=4--iterations=6--seed=0', 6, 4],
      ['tiny--pes--iterations=5--seed=0', 5, 3],
    ]);
    expect(of(true, { key: 'iterations', value: 2 })).toEqual([
      ['tiny--nres--estimator.pairs=4--iterations=2--seed=0', 2, 4],
      ['tiny--pes--iterations=2--seed=0', 2, 3],
    ]);
    expect(() => expandSweep({ runs: [{ preset: 'tiny', quick: { seed: 1 } }] }, [], container)).toThrow(
      'runs.0.quick.seed: expected "seed" beside it instead, got a setting',
    );
  });

  test('a sweep without a short form says so', () => {
    expect(() => expandSweep({ presets: ['tiny'] }, [], container, true)).toThrow(
      'the sweep has no short form: give it a section "quick" ({seeds, set}), or leave out --quick.',
    );
  });
});

describe('names of folders', () => {
  test('do not depend on the order of keys, nor on whether the preset has the estimator anyway', () => {
    expect(folders({ presets: ['tiny'], settings: { window: [5], sigma: [1] } })).toEqual(
      folders({ presets: ['tiny'], estimators: ['nres'], settings: { sigma: [1], window: [5] } }),
    );
  });

  test('options of an estimator count; what no file can be called is told apart by a digest', () => {
    const schedules = [0.1, 0.2].map((initial) => ({ name: 'cosine', initial, final: 0.01, iterations: 100 }));
    const names = folders({
      presets: ['tiny'],
      estimators: [{ name: 'nres', pairs: 3 }],
      settings: { 'outerOptimizer.learningRate': schedules },
    });
    expect(new Set(names).size).toBe(2);
    for (const name of names) {
      expect(name).toMatch(
        /^tiny--nres--estimator\.pairs=3--outerOptimizer\.learningRate=[\w.+-]+~[0-9a-f]{6}--seed=0$/,
      );
    }
  });

  test('stay below what file systems take', () => {
    const keys = ['sigma', 'window', 'pairs', 'iterations', 'outerOptimizer.learningRate', 'checkpoint.seconds'];
    const values = [0.123456789123, 5, 1234567, 1234567, 0.123456789123456, 0.12345678912345];
    const settings = Object.fromEntries(keys.map((key, i) => [key, [values[i], values[i] + 5]]));
    const names = folders({ presets: ['tiny'], settings: { ...settings, 'checkpoint.keep': [12345678901234] } });
    expect(new Set(names).size).toBe(64);
    for (const name of names) expect(name.length).toBeLessThan(200);
  });
});

describe('mistakes are found before anything runs', () => {
  const good = { presets: ['tiny'] };
  test.each<[string, ConfigObject, string]>([
    ['no presets', {}, 'the sweep has no runs: "presets" is empty.'],
    ['no seeds', { ...good, seeds: [] }, 'the sweep has no runs: "seeds" is empty.'],
    ['no estimators', { ...good, estimators: [] }, 'the sweep has no runs: "estimators" is empty.'],
    [
      'no values of a setting',
      { ...good, settings: { sigma: [], window: [5] } },
      'the sweep has no runs: "settings.sigma" is empty.',
    ],
    ['all excluded', { ...good, exclude: [{ seed: 0 }] }, 'the sweep has no runs: "exclude" leaves none of them.'],
    ['exclusion of nothing', { ...good, exclude: [{ seed: 9 }] }, 'exclude.0: expected what some run'],
    ['divergence of nothing', { ...good, mayDiverge: [{ estimator: 'pes' }] }, 'mayDiverge.0: expected what some run'],
    [
      'divergence of an unknown key',
      { ...good, mayDiverge: [{ estimatr: 'nres' }] },
      'unknown key of a sweep: "mayDiverge.0.estimatr". Did',
    ],
    ['unknown key', { ...good, seed: 3 }, 'unknown key of a sweep: "seed". Did you mean "seeds"?'],
    ['no list', { presets: 'tiny' }, 'presets: expected a list, got "tiny".'],
    [
      'a value without a list',
      { ...good, settings: { sigma: 1 } },
      'settings.sigma: expected a list of values, got 1.',
    ],
    ['no seed', { ...good, seeds: [0.5] }, 'seeds.0: expected'],
    ['seeds in settings', { ...good, settings: { seed: [1] } }, 'settings.seed: expected the list "seeds" instead'],
    ['unknown preset', { presets: ['tony'] }, 'run (tony, seed 0): unknown preset "tony". Did you mean "tiny"?'],
    [
      'unknown estimator',
      { ...good, estimators: ['nres', 'pess'] },
      'run (tiny, pess, seed 0): unknown estimator "pess". Did you mean "pes"?',
    ],
    ['unknown setting', { ...good, settings: { sgima: [1] } }, 'run (tiny, sgima=1, seed 0): unknown key "sgima".'],
    [
      'W does not divide T',
      { ...good, settings: { window: [10, 7] } },
      'run (tiny, window=7, seed 0): estimator.window: expected a divisor of the horizon 20, got 7.',
    ],
    [
      'a required option that the preset has not',
      { ...good, estimators: ['gpes'] },
      'run (tiny, gpes, seed 0): estimator.noisePeriod: expected a positive integer, got nothing.',
    ],
    ['one run twice', { ...good, estimators: ['nres', { name: 'nres', pairs: 2 }] }, 'the sweep has one run twice'],
  ])('%s', (_name, input, message) => {
    expect(() => expand(input)).toThrow(message);
    expect(() => expand(input)).toThrow(expect.objectContaining({ exitCode: 2 }) as Error);
  });
});

describe('on disk', () => {
  let root: string;
  beforeAll(() => {
    root = temporaryFolder();
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const sweep = { presets: ['tiny'], seeds: 2 };
  const states = (path: string, input: ConfigObject = sweep): string[] =>
    placeMembers(path, expand(input)).map(({ state }) => state);

  test('what is done is known again, also when the sweep grows; other settings in its place are refused', async () => {
    const path = join(root, 'grows');
    expect(states(path)).toEqual(['new', 'new']);
    const [first] = placeMembers(path, expand(sweep));
    openSweep(path, [first]).release();
    await startRun({ config: first.member.config, resolver: container, out: first.path });
    expect(states(path)).toEqual(['done', 'new']);
    expect(states(path, { ...sweep, seeds: [7, 0] })).toEqual(['new', 'done']);
    expect(states(path, { ...sweep, estimators: ['pes', 'nres'] })).toEqual(['new', 'new', 'done', 'new']);
    rmSync(join(first.path, 'summary.json'));
    expect(states(path)).toEqual(['unfinished', 'new']);
    // A run may be cut into other checkpoints and still be the same.
    expect(states(path, { ...sweep, set: { 'checkpoint.seconds': 1 } })).toEqual(['unfinished', 'new']);
    for (const [key, value, message] of [
      ['iterations', 3, 'iterations: 2 → 3'],
      ['engine', 'auto', 'engine: reference → auto'],
      ['evaluation.particles', 3, 'evaluation:'],
    ] as const) {
      expect(() => states(path, { ...sweep, set: { [key]: value } })).toThrow(
        `${first.path} holds a run with other settings than the sweep has now (${message}`,
      );
    }
    expect(sweepRuns(path)).toEqual([first.path]);
    expect(sweepRuns(first.path)).toBeUndefined();
  });

  test('a folder of something else is refused, and one sweep a folder', () => {
    const path = join(root, 'other');
    mkdirSync(path);
    expect(states(path)).toEqual(['new', 'new']);
    writeFileSync(join(path, 'notes.txt'), 'mine');
    expect(() => states(path)).toThrow(`${path} is not empty and holds no sweep (notes.txt).`);
    expect(() => states(join(path, 'notes.txt'))).toThrow('is a file; a sweep needs a folder.');
    const free = join(root, 'free');
    const placed = placeMembers(free, expand(sweep));
    const lock = openSweep(free, placed);
    expect(() => openSweep(free, placed)).toThrow(`is in use by process ${String(process.pid)}`);
    lock.release();
    openSweep(free, placed).release();
  });

  test('a damaged sweep.json is named', () => {
    const path = join(root, 'damaged');
    mkdirSync(path);
    writeFileSync(join(path, 'sweep.json'), '{"runs"');
    expect(() => sweepRuns(path)).toThrow(`${join(path, 'sweep.json')} is damaged`);
  });

  test('members can be built', async () => {
    for (const { config } of expand(sweep)) await expect(prepareRun(config, container)).resolves.toBeDefined();
  });
});
