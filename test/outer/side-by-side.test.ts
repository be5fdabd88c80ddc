/** Runs that share one population have the bits that each has alone, in one call of the engine where they ask together. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConfigObject, Population, UnrollEngine } from '../../src/contracts';
import { EngineError } from '../../src/contracts';
import { createContainer } from '../../src/container';
import { groupsOfShape, resolveConfig, SharedEngine, sideBySide, type Resolver } from '../../src/outer';
import { Meeting } from '../../src/outer/meeting';
import { JointPopulation } from '../../src/outer/shared-population';
import { resumeRun, startRun } from '../../src/outer/run-directory';
import { describeNative } from '../support/native';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'outerloop-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const LORENZ: ConfigObject = {
  preset: 'lorenz',
  horizon: 60,
  iterations: 6,
  outerOptimizer: { name: 'sgd', learningRate: 1e-5 },
  evaluation: { particles: 3, every: 2 },
};
/** Seeds, σ and rates differ; one run ends early. */
const VARIANTS: readonly ConfigObject[] = [
  { seed: 0 },
  { seed: 5, outerOptimizer: { name: 'sgd', learningRate: 3e-5 } },
  { seed: 6, iterations: 3 },
];
const ESTIMATORS: Readonly<Record<string, ConfigObject>> = {
  nres: { name: 'nres', pairs: 3, window: 10, sigma: 0.04 },
  pes: { name: 'pes', pairs: 2, window: 20, sigma: 0.04 },
  'truncated-es': { name: 'truncated-es', pairs: 2, window: 15, sigma: 0.04 },
  'full-es': { name: 'full-es', pairs: 2, sigma: 0.04 },
  tbptt: { name: 'tbptt', workers: 3, window: 10 },
  rtrl: { name: 'rtrl', workers: 2, window: 10 },
  uoro: { name: 'uoro', workers: 2, window: 10 },
  dodge: { name: 'dodge', workers: 2, window: 10 },
  'pes-analytic': { name: 'pes-analytic', pairs: 2, window: 10, sigma: 0.04 },
  'random-search': { name: 'random-search', batch: 3, radius: 0.1 },
};

/** metrics.jsonl and the evaluations, without times. */
function written(path: string): unknown {
  const untimed = (key: string, value: unknown): unknown => (key === 'wallSeconds' ? undefined : value);
  const read = (text: string): unknown => JSON.parse(text, untimed);
  const lines = readFileSync(join(path, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return { metrics: lines.map(read), evaluation: read(readFileSync(join(path, 'evaluation.json'), 'utf8')) };
}

function configsOf(estimator: ConfigObject, engine: string, resolver: Resolver): ReturnType<typeof resolveConfig>[] {
  return VARIANTS.map((variant) =>
    resolveConfig({ ...LORENZ, ...variant, estimator: { ...estimator }, engine }, [], resolver),
  );
}

/** An engine that counts calls of `advance` and `differentiate`, all populations together. */
function counting(engine: UnrollEngine): { engine: UnrollEngine; calls: number } {
  const counter = { engine: undefined as unknown as UnrollEngine, calls: 0 };
  const watched = <T extends object>(target: T, replace: Readonly<Record<string, unknown>>): T =>
    new Proxy(target, {
      get: (of, name) => {
        if (typeof name === 'string' && name in replace) return replace[name];
        const value = Reflect.get(of, name) as unknown;
        return typeof value === 'function' ? (value as (...given: unknown[]) => unknown).bind(of) : value;
      },
    });
  counter.engine = watched(engine, {
    compile: async (problem: Parameters<UnrollEngine['compile']>[0]) => {
      const program = await engine.compile(problem);
      return watched(program, {
        createPopulation: async (options: Parameters<typeof program.createPopulation>[0]) => {
          const population = await program.createPopulation(options);
          return watched(population, {
            advance: (request: Parameters<typeof population.advance>[0]) => {
              counter.calls += 1;
              return population.advance(request);
            },
          });
        },
      });
    },
  });
  return counter;
}

function suite(engine: string): void {
  test.each(Object.keys(ESTIMATORS))('%s: the bits of runs alone', async (name) => {
    const resolver = createContainer();
    const configs = configsOf(ESTIMATORS[name], engine, resolver);
    const opened = await resolver.openEngine(engine);
    const together = await sideBySide([0, 1, 2], resolver, opened, (run, sharing) =>
      startRun({ config: configs[run], resolver: sharing, out: join(folder, `together-${run}`) }),
    );
    for (const [run, config] of configs.entries()) {
      if (together[run].status === 'rejected') throw together[run].reason;
      await startRun({ config, resolver, out: join(folder, `alone-${run}`) });
      expect(written(join(folder, `together-${run}`))).toEqual(written(join(folder, `alone-${run}`)));
    }
  });

  test('what was cut goes on side by side', async () => {
    const resolver = createContainer();
    const configs = configsOf(ESTIMATORS.pes, engine, resolver);
    const cut = new AbortController();
    const go = (run: number, sharing: Resolver): Promise<unknown> => {
      const out = join(folder, `cut-${run}`);
      if (existsSync(out)) return resumeRun(out, { resolver: sharing });
      const listener = ({ type }: { readonly type: string }): void => {
        if (type === 'iteration' && run === 1) cut.abort();
      };
      return startRun({ config: configs[run], resolver: sharing, out, listeners: [listener], signal: cut.signal });
    };
    for (let attempt = 0; attempt < 2; attempt++) {
      const ends = await sideBySide([0, 1, 2], resolver, await resolver.openEngine(engine), go);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    }
    for (const [run, config] of configs.entries()) {
      await startRun({ config, resolver, out: join(folder, `whole-${run}`) });
      expect(written(join(folder, `cut-${run}`))).toEqual(written(join(folder, `whole-${run}`)));
    }
  });
}

describe('reference', () => {
  suite('reference');

  test('windows of all runs are one call', async () => {
    const resolver = createContainer();
    const base = { ...LORENZ, estimator: { ...ESTIMATORS.nres, lockstep: true }, evaluation: {}, engine: 'reference' };
    const configs = [0, 1, 2].map((seed) => resolveConfig({ ...base, seed }, [], resolver));
    const calls = async (runs: readonly number[]): Promise<number> => {
      const opened = await resolver.openEngine('reference');
      const counter = counting(opened.engine);
      const { reason } = opened;
      await sideBySide(runs, resolver, { engine: counter.engine, reason }, (run, sharing) =>
        startRun({ config: configs[run], resolver: sharing }),
      );
      return counter.calls;
    };
    expect(await calls([0, 1, 2])).toBe(await calls([0]));
  });

  test('a run that fails leaves the others', async () => {
    const resolver = createContainer();
    const configs = configsOf(ESTIMATORS.nres, 'reference', resolver);
    const opened = await resolver.openEngine('reference');
    const ends = await sideBySide([0, 1, 2], resolver, opened, (run, sharing) => {
      // Before it asks for its engine, and within its loop.
      if (run === 0) return Promise.reject(new Error('before'));
      const listener = ({ type }: { readonly type: string }): void => {
        if (run === 1 && type === 'iteration') throw new Error('within');
      };
      return startRun({ config: configs[run], resolver: sharing, listeners: [listener] });
    });
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });
});

describeNative('native', () => {
  suite('native');
});

test('engines of one run a population are refused', () => {
  const engine = { name: 'one', capabilities: new Set<never>() } as unknown as UnrollEngine;
  expect(() => new SharedEngine(engine, 2)).toThrow(EngineError);
});

test('shapes agree: seeds, σ, rates and iterations may differ; windows, pairs and problems may not', () => {
  const resolver = createContainer();
  const config = (more: ConfigObject): ReturnType<typeof resolveConfig> =>
    resolveConfig({ ...LORENZ, estimator: { ...ESTIMATORS.nres }, ...more }, [], resolver);
  const estimator = { ...ESTIMATORS.nres };
  const runs = [
    config({}),
    config({ seed: 1 }),
    config({ estimator: { ...estimator, sigma: 0.1 } }),
    config({ iterations: 2 }),
    config({ estimator: { ...estimator, window: 20 } }),
    config({ estimator: { ...estimator, pairs: 4 } }),
    config({ horizon: 80 }),
    config({ seed: 2 }),
  ];
  const groups = groupsOfShape([...runs.keys()], (i) => runs[i]);
  expect(groups).toEqual([[0, 1, 2, 3, 7], [4], [5], [6]]);
});

test('requests of many particles are one request: more than a call has arguments', () => {
  const size = 200_000;
  const joint = new JointPopulation({} as Population, [size, size], 1);
  const particles = Int32Array.from({ length: size }, (_, i) => i);
  const request = (run: number) => ({
    particles,
    perturbation: {
      form: 'gaussian',
      theta: Float64Array.of(run),
      sigma: 0.1 + run,
      keys: new Uint32Array(2 * size).fill(run),
      signs: new Int8Array(size).fill(1 - 2 * run),
    } as const,
    steps: 3,
  });
  const { particles: all, perturbation } = joint.merged([0, 1].map((part) => ({ part, request: request(part) })));
  expect([all.length, all[0], all[size - 1], all[size], all[2 * size - 1]]).toEqual([
    2 * size,
    0,
    size - 1,
    size,
    2 * size - 1,
  ]);
  expect([...perturbation.theta]).toEqual([0, 1]);
  expect(perturbation.sigma).toEqual(Float64Array.of(0.1, 1.1));
  expect([perturbation.keys[2 * size - 1], perturbation.keys[2 * size], perturbation.keys.length]).toEqual([
    0,
    1,
    4 * size,
  ]);
  expect([perturbation.signs[size - 1], perturbation.signs[size]]).toEqual([1, -1]);
});

describe('meeting', () => {
  const ask = (meeting: Meeting, run: number, key: object, served: number[][]): Promise<number> =>
    meeting.ask<number, number>(
      run,
      {
        key,
        detail: '',
        serve: (asked) => {
          served.push(asked.map((one) => one.run));
          for (const { request, resolve } of asked) resolve(request);
          return Promise.resolve();
        },
      },
      run,
    );

  test('requests wait for all runs that are left; kinds are served one after another', async () => {
    const meeting = new Meeting(4);
    const served: number[][] = [];
    const [a, b] = [{}, {}];
    const answers = [ask(meeting, 2, a, served), ask(meeting, 0, b, served), ask(meeting, 1, a, served)];
    await new Promise((resolve) => setImmediate(resolve));
    expect(served).toEqual([]);
    meeting.leave(3);
    expect(await Promise.all(answers)).toEqual([2, 0, 1]);
    expect(served).toEqual([[0], [1, 2]]);
  });

  test('two requests of one run are two calls', async () => {
    const meeting = new Meeting(1);
    const served: number[][] = [];
    await Promise.all([ask(meeting, 0, meeting, served), ask(meeting, 0, meeting, served)]);
    expect(served).toEqual([[0], [0]]);
  });
});
