import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { CheckpointError, RunDirectoryError, type UnrollEngine } from '../../src/contracts';
import { adam } from '../../meta-trainers';
import { initialState, parseOverride, resolveConfig, type RunEvent, type RunResult } from '../../src/outer';
import {
  checkFree,
  evaluateRun,
  listCheckpoints,
  readMetrics,
  readRunConfig,
  readRunResult,
  readSummary,
  resumeRun,
  startRun,
  type ResumeOptions,
} from '../../src/outer/run-directory';
import { writeCheckpoint } from '../../src/outer/run-directory/checkpoints';
import { quadraticClosedForm } from '../../tasks';
import { createContainer } from '../../src/container';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import { temporaryFolder } from './compiled';
import { testContainer } from './support';

const resolver = testContainer();
let folder: string;
let next = 0;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fresh = (): string => join(folder, `run-${String(next++)}`);

/** A run of the closed-form quadratic with a checkpoint after every iteration. */
async function run(sets: readonly string[] = [], out = fresh(), abortAfter?: number): Promise<RunResult> {
  const small = [
    'iterations=4',
    'horizon=20',
    'pairs=2',
    'window=10',
    'engine=reference',
    'checkpoint.seconds=0.0000001',
  ];
  const config = resolveConfig({ preset: 'quadratic' }, [...small, ...sets].map(parseOverride), resolver);
  const controller = new AbortController();
  if (abortAfter === 0) controller.abort();
  const abort = (event: RunEvent): void => {
    if (event.type === 'iteration' && event.record.iteration + 1 === abortAfter) controller.abort();
  };
  return startRun({ config, resolver, out, listeners: [abort], signal: controller.signal });
}

const resume = (path: string, options: Partial<ResumeOptions> = {}): Promise<RunResult> =>
  resumeRun(path, { resolver, ...options });

describe('a finished run', () => {
  let result: RunResult;
  let path: string;
  beforeAll(async () => {
    path = fresh();
    result = await run(['checkpoint.keep=3'], path);
  });

  it('has its files and no others', () => {
    expect(readdirSync(path).sort()).toEqual([
      'checkpoints',
      'config.json',
      'evaluation.json',
      'metrics.jsonl',
      'summary.json',
    ]);
    expect(result.directory).toBe(path);
  });

  it('keeps the newest checkpoints', () => {
    expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([4, 3, 2]);
    expect(basename(listCheckpoints(path)[0].path)).toBe('iteration-00000004.safetensors');
  });

  it('summarises in the shape of conventions.md, with the numbers of the closed form', () => {
    const { before, after, ...rest } = readSummary(path)!;
    // From θ₀ = 0. The constants of the problem are float32 in the graph and float64 in the closed form.
    expect(before).toEqual({
      mean: expect.closeTo(quadraticClosedForm([0, 0], 20).meanLoss, 6) as number,
      standardError: 0,
      n: 1,
    });
    const [first, second] = result.theta;
    expect(after).toEqual({
      mean: expect.closeTo(quadraticClosedForm([first, second], 20).meanLoss, 6) as number,
      standardError: 0,
      n: 1,
    });
    expect(rest).toEqual({
      metric: 'mean loss',
      // 4 iterations, 2 pairs of 2, windows of 10.
      innerSteps: 160,
      wallSeconds: expect.any(Number) as number,
      engine: 'reference',
      iterations: 4,
      ended: 'iterations',
      select: 'last',
      best: null,
    });
  });

  it('has a metrics line an iteration, θ included', () => {
    const lines = readMetrics(path);
    expect(lines.map(({ iteration }) => iteration)).toEqual([0, 1, 2, 3]);
    expect(lines.at(-1)!.theta).toEqual(Array.from(result.theta));
    for (const key of [
      'iteration',
      'meanLoss',
      'gradientNorm',
      'updateNorm',
      'innerSteps',
      'droppedPairs',
      'wallSeconds',
      'theta',
    ]) {
      expect(lines[0]).toHaveProperty(key);
    }
  });

  it('records what decides its bits', () => {
    const config = readRunConfig(path);
    expect(config).toMatchObject({
      preset: 'quadratic',
      seed: 0,
      engine: 'reference',
      iterations: 4,
      problem: { name: 'quadratic' },
    });
    expect(config.run).toMatchObject({
      requestedEngine: 'reference',
      engineReason: 'as asked for',
      problem: 'quadratic',
      versions: { node: process.versions.node, tfjs: '4.22.0', outerloop: '0.1.0' },
      machine: { architecture: process.arch, platform: process.platform },
    });
  });

  it('is read back as it was returned', () => {
    const { initialTheta: _theta, ...expected } = result;
    expect(readRunResult(path)).toEqual(expected);
  });

  it('is judged again with the same number, and with more starts', async () => {
    expect((await evaluateRun(path, { resolver })).mean).toBe(result.after!.mean);
    expect((await evaluateRun(path, { resolver, particles: 3 })).values).toEqual(
      [0, 1, 2].map(() => result.after!.mean),
    );
    expect((await evaluateRun(path, { resolver, checkpoint: 2 })).mean).not.toBe(result.after!.mean);
  });
});

describe('an interrupted run', () => {
  it('writes a checkpoint, says so, and resumes to the same bits', async () => {
    const [whole, path] = [fresh(), fresh()];
    const expected = await run(['iterations=6'], whole);
    const part = await run(['iterations=6', 'checkpoint.seconds=1000'], path, 2);
    expect(part).toMatchObject({ interrupted: true, iterations: 2 });
    expect(part.after).toBeUndefined();
    expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([2]);
    expect(readSummary(path)).toBeUndefined();
    expect(readRunResult(path)).toMatchObject({ interrupted: true, iterations: 2, problem: 'quadratic' });
    const events: RunEvent[] = [];
    const done = await resume(path, { listeners: [(event) => events.push(event)] });
    expect(done.theta).toEqual(expected.theta);
    expect(done.before).toEqual(expected.before);
    expect(done.history.map(({ wallSeconds: _, ...line }) => line)).toEqual(
      expected.history.map(({ wallSeconds: _, ...line }) => line),
    );
    expect(events.find(({ type }) => type === 'start')).toMatchObject({ firstIteration: 2, iterations: 6 });
    // What was measured before is not measured again.
    expect(events.filter((event) => event.type === 'phase').map(({ phase }) => phase)).toEqual([
      'compile',
      'train',
      'evaluate-after',
    ]);
  });

  it('cuts lines after the checkpoint, whole or torn', async () => {
    const path = fresh();
    await run(['checkpoint.seconds=1000'], path, 2);
    const before = readFileSync(join(path, 'metrics.jsonl'), 'utf8');
    appendFileSync(join(path, 'metrics.jsonl'), '{"iteration":2,"meanLoss":77}\n{"iteration":3,"mea');
    expect(readMetrics(path)).toHaveLength(3);
    await resume(path);
    const after = readFileSync(join(path, 'metrics.jsonl'), 'utf8');
    expect(after.startsWith(before)).toBe(true);
    expect(readMetrics(path)).toHaveLength(4);
    expect(after).not.toContain('"meanLoss":77');
  });

  it('from an older checkpoint takes the newer ones away with their lines, and is itself resumed', async () => {
    const path = fresh();
    const expected = await run(['iterations=6'], path);
    const controller = new AbortController();
    const abort = (event: RunEvent): void => {
      if (event.type === 'iteration') controller.abort();
    };
    const part = await resume(path, { checkpoint: 2, listeners: [abort], signal: controller.signal });
    expect(part).toMatchObject({ interrupted: true, iterations: 3 });
    expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([3, 2]);
    expect(readRunResult(path).iterations).toBe(3);
    expect((await resume(path)).theta).toEqual(expected.theta);
  });

  it('loses nothing to a resumption that does not come to run', async () => {
    const path = fresh();
    await run([], path);
    const state = (): unknown => [listCheckpoints(path), readMetrics(path), readSummary(path)];
    const before = state();
    const engine = Object.assign(new ReferenceEngine(), { compile: () => Promise.reject(new Error('no memory')) });
    const failing = createContainer({
      engines: { names: () => ['reference'], open: () => Promise.resolve({ engine, reason: '' }) },
    });
    await expect(resume(path, { resolver: failing, checkpoint: 2 })).rejects.toThrow('no memory');
    expect(state()).toEqual(before);
    expect(existsSync(join(path, 'lock'))).toBe(false);
  });

  it('refuses metrics with a hole in front of the checkpoint', async () => {
    const path = fresh();
    await run([], path, 3);
    const lines = readFileSync(join(path, 'metrics.jsonl'), 'utf8').split('\n');
    writeFileSync(join(path, 'metrics.jsonl'), [lines[0], 'x', ...lines.slice(2)].join('\n'));
    await expect(resume(path)).rejects.toThrow(/metrics.jsonl is damaged at line 2: the checkpoint needs 3 lines/);
    expect((await resume(path, { checkpoint: 0 })).iterations).toBe(4);
  });

  it('before its first iteration resumes from there', async () => {
    const [whole, path] = [fresh(), fresh()];
    const expected = await run([], whole);
    expect(await run([], path, 0)).toMatchObject({ interrupted: true, iterations: 0, history: [] });
    expect((await resume(path)).theta).toEqual(expected.theta);
  });

  it('without any checkpoint starts from zero', async () => {
    const path = fresh();
    const expected = await run([], path, 1);
    rmSync(join(path, 'checkpoints'), { recursive: true });
    const done = await resume(path);
    expect(done.history[0].theta).toEqual(expected.history[0].theta);
    expect(done.iterations).toBe(4);
  });
});

test('only two checkpoints are kept once one of them is larger than 200 MB', () => {
  const path = fresh();
  const state = initialState(Float64Array.of(1), adam({ learningRate: 1 }), false);
  const write = (iteration: number): string =>
    writeCheckpoint(path, { state: { ...state, iteration }, configuration: '' }, 5);
  for (const iteration of [1, 2, 3]) write(iteration);
  expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([3, 2, 1]);
  // Sparse: it takes no room.
  truncateSync(listCheckpoints(path)[0].path, 200e6 + 1);
  write(4);
  expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([4, 3]);
  write(5);
  expect(listCheckpoints(path).map(({ iteration }) => iteration)).toEqual([5, 4]);
});

describe('a damaged checkpoint', () => {
  it('is named, with the whole one before it and how to take that', async () => {
    const path = fresh();
    const expected = await run([], path);
    const [newest, second, third] = listCheckpoints(path);
    const bytes = readFileSync(newest.path);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(newest.path, bytes);
    truncateSync(second.path, 100);
    const error: unknown = await resume(path).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).exitCode).toBe(2);
    expect((error as CheckpointError).message).toBe(
      `${newest.path} is damaged: its checksum does not fit its bytes. ` +
        `The newest before it that is whole is ${basename(third.path)}: resume from it with --checkpoint 2.`,
    );
    // Nothing was touched, and the offer holds.
    expect(readSummary(path)).toBeDefined();
    expect((await resume(path, { checkpoint: 2 })).theta).toEqual(expected.theta);
    await expect(resume(path, { checkpoint: 9 })).rejects.toThrow(
      'has no checkpoint of iteration 9. It has: 4, 3, 2, 1.',
    );
  });

  it('is named when none is whole', async () => {
    const path = fresh();
    await run(['checkpoint.keep=1'], path);
    truncateSync(listCheckpoints(path)[0].path, 3);
    await expect(resume(path)).rejects.toThrow('None before it is whole: start again with --checkpoint 0.');
  });

  it('of another configuration is refused; more iterations are no other configuration', async () => {
    const path = fresh();
    await run([], path, 2);
    const file = join(path, 'config.json');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('"pairs": 2', '"pairs": 4'));
    await expect(resume(path)).rejects.toThrow(
      /iteration 2 .* belongs to another configuration: config.json was changed/,
    );
    writeFileSync(file, text.replace('"iterations": 4', '"iterations": 5'));
    expect((await resume(path)).iterations).toBe(5);
  });
});

describe('a folder', () => {
  it('of a process that was killed but not yet waited for is free', async () => {
    const path = fresh();
    await run([], path, 1);
    const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' });
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: child.pid, host: hostname(), born: '' }));
    // This process sits still meanwhile, so that the child stays a zombie: its number answers, nothing of it runs.
    spawnSync('sh', ['-c', `sleep 0.3; kill -9 ${String(child.pid)}; sleep 0.1`]);
    const resumed = resume(path);
    expect((await resumed).iterations).toBe(4);
  });

  it('in use by a living process is refused; a dead one leaves nothing in the way', async () => {
    const path = fresh();
    await run([], path, 1);
    const lock = join(path, 'lock');
    writeFileSync(lock, JSON.stringify({ pid: process.pid, host: hostname(), born: '' }));
    await expect(resume(path)).rejects.toThrow(`${path} is in use by process ${String(process.pid)}. Wait for it.`);
    writeFileSync(lock, JSON.stringify({ pid: 4242, host: 'elsewhere', born: '' }));
    await expect(resume(path)).rejects.toThrow(/in use by process 4242 on elsewhere.*delete lock/);
    // A number that no process has: the largest of Linux is 2²².
    writeFileSync(lock, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), born: '' }));
    expect((await resume(path)).iterations).toBe(4);
    expect(existsSync(lock)).toBe(false);
  });

  it('is locked while a run works in it', async () => {
    const path = fresh();
    const config = resolveConfig(
      { preset: 'quadratic' },
      [parseOverride('iterations=2'), parseOverride('engine=reference')],
      resolver,
    );
    let second: Promise<unknown> | undefined;
    const listener = (event: RunEvent): void => {
      if (event.type === 'iteration') second ??= resume(path).catch((error: unknown) => error);
    };
    await startRun({ config, resolver, out: path, listeners: [listener] });
    expect(await second).toBeInstanceOf(RunDirectoryError);
  });

  it('that is not empty, a file or a run is refused before any work', async () => {
    const full = fresh();
    mkdirSync(full);
    writeFileSync(join(full, 'thesis.tex'), '');
    expect(() => checkFree(full)).toThrow(`${full} is not empty (thesis.tex). Choose an empty folder.`);
    expect(() => checkFree(join(full, 'thesis.tex'))).toThrow('is a file; a run needs a folder');
    expect(() => checkFree(join(full, 'thesis.tex', 'x'))).toThrow(RunDirectoryError);
    const taken = fresh();
    await run([], taken);
    await expect(run([], taken)).rejects.toThrow(
      `${taken} holds a run already. Go on with it by \`outerloop resume ${taken}\``,
    );
    const nested = join(fresh(), 'a', 'b');
    checkFree(nested);
    expect(existsSync(nested)).toBe(false);
  });

  const isRoot = process.getuid?.() === 0;
  // Permissions do not stop root, but nobody makes folders in the kernel's own.
  const closedTo = (user: string): string => {
    if (user === 'root') return '/proc';
    const closed = fresh();
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    return closed;
  };
  const unwritable = isRoot && process.platform !== 'linux' ? [] : [isRoot ? 'root' : 'a user'];
  it.each(unwritable)('that is not writable to %s is refused, with what the system says', async (user) => {
    const closed = closedTo(user);
    const events: RunEvent[] = [];
    const config = resolveConfig({ preset: 'quadratic' }, [parseOverride('engine=reference')], resolver);
    const out = join(closed, 'run', 'below');
    const listeners = [(event: RunEvent): void => void events.push(event)];
    const error: unknown = await startRun({ config, resolver, out, listeners }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RunDirectoryError);
    expect((error as RunDirectoryError).message).toMatch(/ is not writable \(.*(EACCES|ENOENT|EPERM).*\)/);
    expect(events.map(({ type }) => type)).not.toContain('evaluation');
    if (user !== 'root') expect(() => checkFree(out)).toThrow(`is not writable (${closed}: EACCES)`);
  });

  it('that holds no run, or a damaged one, is refused', async () => {
    const path = fresh();
    await expect(resume(path)).rejects.toThrow(`${path} holds no run: config.json cannot be read (ENOENT).`);
    mkdirSync(path);
    writeFileSync(join(path, 'config.json'), '{');
    await expect(resume(path)).rejects.toThrow(/config.json is damaged/);
    writeFileSync(join(path, 'config.json'), '{}');
    await expect(resume(path)).rejects.toThrow(/has no engine or no record/);
  });

  it('is not made by an estimator that the engine cannot serve', async () => {
    const path = fresh();
    const forward = Object.defineProperty(new ReferenceEngine(), 'capabilities', { value: new Set(['forward']) });
    const engines = { names: () => ['auto'], open: () => Promise.resolve({ engine: forward, reason: 'the only one' }) };
    const container = createContainer({ engines });
    const tbptt = ['estimator=tbptt', 'window=10'].map(parseOverride);
    const config = resolveConfig({ preset: 'quadratic' }, tbptt, container);
    await expect(startRun({ config, resolver: container, out: path })).rejects.toThrow(
      'engine "reference" has no reverse windows. The estimator "tbptt" needs them: choose another engine, or an evolutionary estimator such as nres.',
    );
    expect(existsSync(path)).toBe(false);
  });

  it('is not made by a run that cannot start', async () => {
    const path = fresh();
    await expect(run(['problem=nothing'], path)).rejects.toThrow('unknown problem "nothing"');
    const broken = testContainer({
      origin: 'test',
      register: ({ problem }) =>
        problem('broken', () => ({
          name: 'broken',
          horizon: 20,
          initTheta: () => {
            throw new Error('no θ today');
          },
          initState: () => ({}),
          step: () => {
            throw new Error('never');
          },
        })),
    });
    const config = resolveConfig({ preset: 'quadratic' }, ['problem=broken', 'horizon=20'].map(parseOverride), broken);
    await expect(startRun({ config, resolver: broken, out: path })).rejects.toThrow('no θ today');
    expect(existsSync(path)).toBe(false);
  });
});

describe('another machine', () => {
  it('is refused by what differs, unless allowed', async () => {
    const path = fresh();
    await run([], path, 2);
    const file = join(path, 'config.json');
    const text = readFileSync(file, 'utf8');
    const change = (
      edit: (config: { engine: string; run: { machine: { features: string[] }; versions: { tfjs: string } } }) => void,
    ): void => {
      const config = JSON.parse(text) as Parameters<typeof edit>[0];
      edit(config);
      writeFileSync(file, JSON.stringify(config));
    };
    change(({ run: recorded }) => recorded.machine.features.push('avx9000'));
    await expect(resume(path)).rejects.toThrow(/CPU features: −avx9000.*--allow-different-machine/);
    change(({ run: recorded }) => (recorded.versions.tfjs = '3.0.0'));
    await expect(resume(path)).rejects.toThrow('TensorFlow.js: 3.0.0 → 4.22.0');
    expect((await resume(path, { allowDifferentMachine: true })).iterations).toBe(4);
  });

  it('or another engine: the folder says where the run goes on, and where it came from', async () => {
    const path = fresh();
    // The run's first half, on an engine that is the reference engine in all but its name.
    const first = await run([], path, 2);
    const text = readFileSync(join(path, 'config.json'), 'utf8');
    const opened: string[] = [];
    const named = (name: string): UnrollEngine => {
      opened.push(name);
      const engine = new ReferenceEngine();
      return Object.assign(engine, { name });
    };
    const two = createContainer({
      engines: {
        names: () => ['auto', 'reference', 'other'],
        open: (name) => Promise.resolve({ engine: named(name), reason: `asked for ${name}` }),
      },
    });
    await expect(resume(path, { resolver: two, engine: 'other' })).rejects.toThrow(
      `${path} was run elsewhere, so that the same bits cannot be promised (engine: reference → other).`,
    );
    expect(readFileSync(join(path, 'config.json'), 'utf8')).toBe(text);
    const before = readRunConfig(path);

    const controller = new AbortController();
    const abort = (event: RunEvent): void => {
      if (event.type === 'iteration') controller.abort();
    };
    const allowed = { resolver: two, engine: 'other', allowDifferentMachine: true };
    await resume(path, { ...allowed, listeners: [abort], signal: controller.signal });
    const { requestedEngine, engineReason, versions, machine } = before.run;
    expect(readRunConfig(path)).toEqual({
      ...before,
      engine: 'other',
      run: {
        ...before.run,
        requestedEngine: 'other',
        engineReason: 'asked for other',
        earlier: [{ engine: 'reference', requestedEngine, engineReason, versions, machine, iterations: 2 }],
      },
    });

    // Without a word from here on it stays there.
    opened.length = 0;
    const done = await resume(path, { resolver: two });
    await evaluateRun(path, { resolver: two });
    expect(opened).toEqual(['other', 'other']);
    expect(done).toMatchObject({ iterations: 4, engine: 'other' });
    expect(done.history.slice(0, 2)).toEqual(first.history);
    expect(readRunConfig(path).run.earlier).toHaveLength(1);
  });

  it('is refused where the engine was compiled otherwise, unless allowed; the folder records both', async () => {
    const path = fresh();
    const compiled = (fingerprint?: Readonly<Record<string, string>>) => {
      const engine = Object.assign(new ReferenceEngine(), fingerprint === undefined ? {} : { fingerprint });
      return createContainer({
        engines: { names: () => ['reference'], open: () => Promise.resolve({ engine, reason: 'the only one' }) },
      });
    };
    const [one, two] = [
      { compiler: 'cc 12', flags: '-O2' },
      { compiler: 'cc 13', flags: '-O2' },
    ];
    const config = resolveConfig({ preset: 'quadratic' }, [parseOverride('engine=reference')], compiled(one));
    await startRun({ config: { ...config, iterations: 2 }, resolver: compiled(one), out: path });
    expect(readRunConfig(path).run.fingerprint).toEqual(one);
    await expect(resumeRun(path, { resolver: compiled(two) })).rejects.toThrow(
      `${path} was run elsewhere, so that the same bits cannot be promised (compiler: cc 12 → cc 13).`,
    );
    await expect(resumeRun(path, { resolver: compiled() })).rejects.toThrow(
      '(compiler: cc 12 → none; flags: -O2 → none)',
    );
    await resumeRun(path, { resolver: compiled(one) });
    expect(readRunConfig(path).run.earlier).toBeUndefined();
    await resumeRun(path, { resolver: compiled(two), allowDifferentMachine: true });
    expect(readRunConfig(path).run).toMatchObject({ fingerprint: two, earlier: [{ fingerprint: one }] });
    await resumeRun(path, { resolver: compiled(), allowDifferentMachine: true });
    expect(readRunConfig(path).run.fingerprint).toBeUndefined();
    await resumeRun(path, { resolver: compiled() });
  });

  it('that it was moved to is its own from then on', async () => {
    const path = fresh();
    await run([], path, 2);
    const file = join(path, 'config.json');
    const here = readRunConfig(path);
    const versions = { ...here.run.versions, tfjs: '3.0.0' };
    writeFileSync(file, JSON.stringify({ ...here, run: { ...here.run, versions } }));
    await resume(path, { allowDifferentMachine: true });
    expect(readRunConfig(path).run).toMatchObject({
      versions: here.run.versions,
      requestedEngine: here.run.requestedEngine,
      engineReason: here.run.engineReason,
      earlier: [{ engine: 'reference', versions, machine: here.run.machine, iterations: 2 }],
    });
    expect((await resume(path, { checkpoint: 1 })).iterations).toBe(4);
  });
});
