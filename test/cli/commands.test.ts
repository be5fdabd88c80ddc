/** The command line as a process: what it prints, what it writes, how it exits. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { engineLimits } from '../../src/cli/session';
import { HAS_COMPILER } from '../support/native';
import { here } from '../support/command-line';
import { CompiledSources, finished, temporaryFolder, type Finished } from '../outer/compiled';

// Each test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const CLI = join('src', 'cli', 'main.js');
let sources: CompiledSources;
let folder: string;

beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const outerloop = (...args: string[]): Promise<Finished> => sources.run(CLI, args, { cwd: folder });

const SMALL = ['train', 'quadratic', '--engine', 'reference', '--set', 'iterations=5', '--set', 'pairs=4'];

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const withoutTime = (path: string): Record<string, unknown>[] => lines(path).map(({ wallSeconds: _, ...line }) => line);

describe('a whole run', () => {
  let run: Finished;
  beforeAll(async () => {
    run = await outerloop(...SMALL, '--output', 'first');
  });

  test('shows progress on standard error and the outcome on standard output', () => {
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('problem quadratic, engine reference');
    expect(run.stderr).toMatch(/5\/5 \| meta-loss [\d.]+/);
    expect(run.stdout).toMatch(/before .*after/);
    expect(run.stdout).toMatch(/mean loss +│ [\d.]+ ± 0\.0000 \(n = 1\)/);
    expect(run.stdout).toContain(
      `run:     first\nreport:  ${join('first', 'report.html')}\npicture: ${join('first', 'curves.svg')}\n`,
    );
    expect(run.stdout + run.stderr).not.toContain('\u001b');
  });

  test('leaves configuration, metrics, checkpoint, summary and report', () => {
    const read = (name: string): Record<string, unknown> =>
      JSON.parse(readFileSync(join(folder, 'first', name), 'utf8')) as Record<string, unknown>;
    expect(read('config.json')).toMatchObject({ preset: 'quadratic', engine: 'reference', iterations: 5 });
    expect(read('summary.json')).toMatchObject({
      metric: 'mean loss',
      engine: 'reference',
      innerSteps: 5 * 2 * 4 * 10,
    });
    expect(lines(join(folder, 'first', 'metrics.jsonl')).map((line) => line.iteration)).toEqual([0, 1, 2, 3, 4]);
    expect(readdirSync(join(folder, 'first', 'checkpoints'))).toEqual(['iteration-00000005.safetensors']);
    expect(readFileSync(join(folder, 'first', 'report.html'), 'utf8')).toContain('<h1>quadratic</h1>');
  });

  test('config.json runs it again to the same bits; another seed gives others', async () => {
    expect((await outerloop('train', join('first', 'config.json'), '--quiet', '--output', 'again')).code).toBe(0);
    expect((await outerloop(...SMALL, '--seed', '1', '--quiet', '--out', 'other')).code).toBe(0);
    const metrics = (name: string): unknown => withoutTime(join(folder, name, 'metrics.jsonl'));
    expect(metrics('again')).toEqual(metrics('first'));
    expect(metrics('other')).not.toEqual(metrics('first'));
  });

  test('evaluate judges it again to the same number', async () => {
    const { code, stdout } = await outerloop('evaluate', 'first', '--json');
    expect(code).toBe(0);
    const { after } = JSON.parse(readFileSync(join(folder, 'first', 'summary.json'), 'utf8')) as {
      after: { mean: number };
    };
    expect((JSON.parse(stdout) as { mean: number }).mean).toBe(after.mean);
  });

  test('report writes the same page again', async () => {
    const path = join(folder, 'first', 'report.html');
    const before = readFileSync(path, 'utf8');
    rmSync(path);
    expect(await outerloop('report', 'first')).toMatchObject({
      code: 0,
      stdout: `report:  ${join('first', 'report.html')}\npicture: ${join('first', 'curves.svg')}\n`,
    });
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  test('a folder that holds a run is not used twice', async () => {
    const { code, stderr } = await outerloop(...SMALL, '--output', 'first');
    expect(code).toBe(2);
    expect(stderr).toBe(
      'error: first holds a run already. Go on with it by `outerloop resume first`, or choose another folder.\n',
    );
  });
});

test('plugins of a configuration file are found again from the config.json of its run', async () => {
  mkdirSync(join(folder, 'own'));
  const register = "({ preset }) => preset('own', { description: 'x', config: { preset: 'quadratic' } })";
  writeFileSync(
    join(folder, 'own', 'plugin.ts'),
    `import { definePlugin } from 'outerloop';\nexport const plugin = definePlugin(${register});\n`,
  );
  const settings = 'preset: own\nplugins: [./plugin.ts]\nengine: reference\niterations: 1\n';
  writeFileSync(join(folder, 'own', 'own.yaml'), settings);
  expect(await outerloop('train', join('own', 'own.yaml'), '--quiet', '--output', 'own-run')).toMatchObject({
    code: 0,
  });
  const again = await outerloop('train', join('own-run', 'config.json'), '--quiet', '--output', 'own-again');
  expect(again).toMatchObject({ code: 0, stderr: '' });
  // Named once more, it is still the same plugin.
  const judged = await outerloop('evaluate', 'own-run', '--json', '--plugin', join('own', 'plugin.ts'));
  expect(judged).toMatchObject({ code: 0, stderr: '' });

  // Moved: the run says what it misses, and takes the file from where it is now.
  renameSync(join(folder, 'own'), join(folder, 'moved'));
  for (const command of [
    ['evaluate', 'own-run'],
    ['resume', 'own-run', '--quiet', '--checkpoint', '0'],
  ]) {
    const missing = await outerloop(...command);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toMatch(/plugin \S*plugin\.ts.* is not there any more.*pass --plugin FILE/);
    const found = await outerloop(...command, '--plugin', join('moved', 'plugin.ts'));
    expect(found).toMatchObject({ code: 0, stderr: '' });
  }
});

test('--json prints one object a line and nothing else', async () => {
  const { code, stdout, stderr } = await outerloop(...SMALL, '--json', '--output', 'json');
  expect(code).toBe(0);
  expect(stderr).toBe('');
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string });
  expect(events.filter(({ type }) => type === 'iteration')).toHaveLength(5);
  expect(events.at(-1)).toMatchObject({ type: 'summary', metric: 'mean loss' });
});

test('Ctrl-C writes a checkpoint, says how to resume, and the resumed run ends with the same bits', async () => {
  const long = ['train', 'quadratic', '--engine', 'reference', '--set', 'iterations=400', '--set', 'pairs=8'];
  const child = sources.start(CLI, [...long, '--output', 'stopped'], { cwd: folder });
  let interrupted = false;
  child.stderr?.on('data', (chunk: Buffer) => {
    // Once: a second signal would end the process without a checkpoint.
    if (interrupted || !/\d+\/400/.test(chunk.toString())) return;
    interrupted = true;
    child.kill('SIGINT');
  });
  const stopped = await finished(child);
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain('resume with: outerloop resume stopped');
  const done = lines(join(folder, 'stopped', 'metrics.jsonl')).length;
  expect(done).toBeLessThan(400);
  expect((await outerloop('resume', 'stopped', '--quiet')).code).toBe(0);
  expect((await outerloop(...long, '--quiet', '--output', 'whole')).code).toBe(0);
  expect(withoutTime(join(folder, 'stopped', 'metrics.jsonl'))).toEqual(
    withoutTime(join(folder, 'whole', 'metrics.jsonl')),
  );
});

test('Ctrl-C ends a window of many minutes within seconds; nothing of it counts', async () => {
  writeFileSync(
    join(folder, 'long.ts'),
    `import * as tf from '@tensorflow/tfjs';
import { definePlugin } from 'outerloop';
export const plugin = definePlugin(({ problem }) => {
  problem('long', () => ({
    name: 'long',
    horizon: 1e8,
    initTheta: () => ({ a: tf.scalar(0.5) }),
    initState: () => ({ s: tf.scalar(1) }),
    step: (theta: any, state: any) => ({ state: { s: tf.mul(theta.a, state.s) }, loss: tf.square(state.s) }),
  }));
});
`,
  );
  const sets = ['problem=long', 'estimator=nres', 'pairs=2', 'sigma=0.1', 'window=100000000', 'horizon=100000000'];
  const long = ['train', 'quadratic', '--engine', 'reference', '--plugin', 'long.ts', '--output', 'long'];
  const child = sources.start(CLI, [...long, ...sets.flatMap((set) => ['--set', set])], { cwd: folder });
  let since = 0;
  child.stderr?.on('data', (chunk: Buffer) => {
    if (since > 0 || !chunk.toString().includes('meta-training')) return;
    since = Date.now();
    child.kill('SIGINT');
  });
  const stopped = await finished(child);
  expect(stopped.stderr).toContain('resume with: outerloop resume long');
  expect(stopped.code).toBe(130);
  // Two seconds of grace, and whatever else the machine does.
  expect(Date.now() - since).toBeLessThan(30_000);
  expect(readdirSync(join(folder, 'long', 'checkpoints'))).toEqual(['iteration-00000000.safetensors']);
  expect(readFileSync(join(folder, 'long', 'metrics.jsonl'), 'utf8')).toBe('');
});

test('bounds of memory and threads are read from flags and the environment', () => {
  expect(engineLimits({}, {})).toEqual({});
  expect(engineLimits({ memory: '2GiB', threads: '3' }, { OUTERLOOP_THREADS: '5' })).toEqual({
    memoryBytes: 2 * 1024 ** 3,
    threads: 3,
  });
  expect(engineLimits({ memory: '1.5 MB' }, { OUTERLOOP_THREADS: '5' })).toEqual({ memoryBytes: 1.5e6, threads: 5 });
  expect(engineLimits({ memory: '4096' }, { OUTERLOOP_THREADS: '' })).toEqual({ memoryBytes: 4096 });
  for (const memory of ['', '0', '-1', 'much', '2GiBs', '1e9', '9999999TiB']) {
    expect(() => engineLimits({ memory }, {})).toThrow(
      `--memory: expected a number of bytes such as 2GiB, 500MB or 1000000, got "${memory}".`,
    );
  }
  expect(() => engineLimits({}, { OUTERLOOP_THREADS: 'all' })).toThrow('OUTERLOOP_THREADS: expected an integer');
});

test('list names everything that a configuration may name', async () => {
  const { code, stdout } = await outerloop('list', '--json');
  expect(code).toBe(0);
  const listed = JSON.parse(stdout) as Record<string, Record<string, string>>;
  expect(Object.keys(listed.preset)).toEqual(
    expect.arrayContaining([
      'mnist-lr',
      'mnist-lr-small',
      'mnist-lr-paper',
      'influence-balancing',
      'lorenz',
      'quadratic',
    ]),
  );
  expect(Object.keys(listed.estimator)).toEqual([
    'bptt',
    'dodge',
    'full-es',
    'gpes',
    'grid-search',
    'nres',
    'pes',
    'pes-analytic',
    'random-search',
    'rtrl',
    'tbptt',
    'truncated-es',
    'uoro',
  ]);
  // Nothing is listed without a word on what it is.
  for (const [kind, things] of Object.entries(listed)) {
    if (kind !== 'engine') for (const description of Object.values(things)) expect(description).not.toBe('');
  }
});

test('doctor says what runs and why the rest does not', async () => {
  const { code, stdout } = await outerloop('doctor', '--json');
  expect(code).toBe(0);
  const { engines } = JSON.parse(stdout) as { engines: { name: string; available: boolean; reason: string }[] };
  const reference = engines.find(({ name }) => name === 'reference');
  expect(reference).toMatchObject({ available: true });
  for (const engine of engines) expect(engine.reason === '').toBe(engine.available);
});

describe('demo', () => {
  const quick = (out: string, horizon: number): string[] => {
    const sets = ['iterations=1', 'pairs=1', 'window=10', `horizon=${horizon}`];
    return ['demo', '--quiet', '--output', out, ...sets.flatMap((set) => ['--set', set])];
  };
  const configOf = (out: string): unknown => JSON.parse(readFileSync(join(folder, out, 'config.json'), 'utf8'));

  test.each<[string, NodeJS.ProcessEnv, string]>([
    ['without a compiler', { PATH: '/no/such/folder', CC: '' }, 'there is no C compiler (cc, gcc, clang) on PATH'],
    ['with a CC that is not there', { CC: 'no-such-compiler' }, 'CC names "no-such-compiler", which is not there'],
  ])('%s takes the small problem, and says why', async (name, environment, reason) => {
    const out = name.replace(/ /g, '-');
    const { code, stderr } = await sources.run(CLI, quick(out, 20), { cwd: folder, environment });
    expect(stderr).toMatch(/^mnist-lr-small instead of mnist-lr: engine "native" cannot run here: .*\n$/);
    expect(stderr).toContain(reason);
    expect(code).toBe(0);
    expect(configOf(out)).toMatchObject({
      preset: 'mnist-lr-small',
      engine: expect.stringMatching(/^tfjs:/) as string,
      task: { hidden: [32] },
    });
  });

  (HAS_COMPILER ? test : test.skip)('with a compiler takes the published network on engine native', async () => {
    const { code, stderr } = await outerloop(...quick('compiled', 20));
    expect(stderr).toMatch(/^mnist-lr on engine native, compiled by (gcc|clang|apple)[^;\n]*; .*mnist-lr-small.*\n$/i);
    expect(code).toBe(0);
    expect(configOf('compiled')).toMatchObject({ preset: 'mnist-lr', engine: 'native', task: { hidden: [100, 100] } });
  });

  test('says so also where it prints JSON; a wrong setting of the engine is a mistake', async () => {
    const environment = { CC: 'no-such-compiler' };
    const json = await sources.run(CLI, [...quick('json-demo', 20), '--json'], { cwd: folder, environment });
    expect(json.stderr.split('\n')).toHaveLength(2);
    for (const line of json.stdout.trimEnd().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
    const wrong = { OUTERLOOP_NATIVE_ISA: 'sse9' };
    const mistake = await sources.run(CLI, quick('wrong-isa', 20), { cwd: folder, environment: wrong });
    expect(mistake).toMatchObject({ code: 2, stdout: '' });
    expect(mistake.stderr).toMatch(/^error: OUTERLOOP_NATIVE_ISA: expected .*, got sse9\.\n$/);
  });
});

test('--engine native without a compiler is one line and exit 2, and no other engine', async () => {
  const args = ['train', 'quadratic', '--engine', 'native', '--output', 'no-compiler'];
  const { code, stdout, stderr } = await sources.run(CLI, args, { cwd: folder, environment: { CC: 'none' } });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toBe(
    'error: engine "native" cannot run here: CC names "none", which is not there. Install a C compiler (GCC 10 or Clang 13 and newer), name one in CC, or choose another engine.\n',
  );
  expect(existsSync(join(folder, 'no-compiler'))).toBe(false);
});

test('an optional backend is found in the project of the working folder', async () => {
  // It is loaded from here, and then told apart from one that registers a backend. Of the GPU's package, since that is
  // probed first: nothing else has registered its backend by then.
  const home = join(folder, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'package.json'), '{"name":"@tensorflow/tfjs-node-gpu","version":"0.0.0","main":"index.js"}');
  writeFileSync(join(home, 'index.js'), 'module.exports = {};');
  const { stdout } = await outerloop('doctor', '--json');
  rmSync(join(folder, 'node_modules'), { recursive: true });
  const { engines } = JSON.parse(stdout) as { engines: { name: string; reason: string }[] };
  expect(engines.find(({ name }) => name === 'tfjs:node-gpu')?.reason).toContain('registered no backend');
});

test('help shows examples and exit codes', async () => {
  const { code, stdout } = await outerloop('--help');
  expect(code).toBe(0);
  expect(stdout).toContain('outerloop demo');
  expect(stdout).toContain('130 interrupted');
});

describe('a mistake is one line, exit 2, and nothing is done', () => {
  const FILES: Record<string, string> = {
    'broken.yaml': 'estimator: [nres\n',
    'empty.yaml': '',
    'typo.yaml': 'preset: quadratic\nestimatr: nres\n',
    'no-plugin.ts': 'export const x = 1;\n',
    'broken.ts': 'export const plugin = ;\n',
    'throws.ts': "throw new Error('boom');\n",
    'reads.ts': step('const value = state.s.dataSync()[0]; return { state, loss: tf.scalar(value) };'),
    'random.ts': step('return { state, loss: tf.sum(tf.randomUniform([2], 0, 1, "float32", 1)) };'),
    'math-random.ts': step('return { state, loss: tf.add(tf.sum(state.s), Math.random()) };'),
    'structure.ts': step('return { state: { other: state.s }, loss: tf.sum(state.s) };'),
    'shape.ts': step('return { state: { s: tf.zeros([3]) }, loss: tf.sum(state.s) };'),
    'dtype.ts': step('return { state: { s: tf.cast(state.s, "int32") }, loss: tf.sum(state.s) };'),
    'vector-loss.ts': step('return { state, loss: state.s };'),
    'kernel.ts': step('return { state, loss: tf.sum(tf.spectral.fft(tf.complex(state.s, state.s)).abs()) };'),
    'nested.ts': step(
      'const f = (x) => tf.sum(tf.square(x)); const g = tf.grad((x) => tf.sum(tf.grad(f)(x))); return { state, loss: tf.sum(g(state.s)) };',
    ),
  };

  /** A plugin with a problem `p` whose step is wrong in one way. */
  function step(body: string): string {
    return `import * as tf from '@tensorflow/tfjs';
import { definePlugin } from 'outerloop';
export const plugin = definePlugin(({ problem }) => {
  problem('p', () => ({
    name: 'p',
    horizon: 10,
    initTheta: () => ({ a: tf.scalar(0) }),
    initState: () => ({ s: tf.ones([2]) }),
    step: (theta: any, state: any, inner: any) => { ${body} },
  }));
});
`;
  }

  beforeAll(() => {
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
    mkdirSync(join(folder, 'full'));
    writeFileSync(join(folder, 'full', 'notes.txt'), 'mine');
    writeFileSync(join(folder, 'a-file'), '');
    process.chdir(folder);
  });
  const root = process.cwd();
  afterAll(() => process.chdir(root));

  // Plugins go through ts-node, and packages through Node's own resolution: neither is itself within Jest.
  const wantsProcess = (args: readonly string[]): boolean =>
    args.includes('--plugin') || args.includes('tfjs:node-gpu');

  const plugin = (file: string): string[] => {
    const problem = ['--set', 'problem=p', '--set', 'estimator=nres', '--set', 'pairs=2', '--set', 'sigma=0.1'];
    return ['train', 'quadratic', '--plugin', file, ...problem, '--set', 'window=5', '--set', 'horizon=10'];
  };
  const changed = (...sets: string[]): string[] => ['train', 'mnist-lr', ...sets.flatMap((set) => ['--set', set])];

  test.each<[string, string[], (string | RegExp)[]]>([
    ['preset', ['train', 'mnst-lr'], ['unknown preset "mnst-lr"', '"mnist-lr"']],
    ['task', changed('task=mpl'), ['unknown task "mpl"', 'mlp']],
    ['estimator', changed('estimator=pess'), ['unknown estimator "pess"', '"pes"']],
    ['engine', ['train', 'mnist-lr', '--engine', 'wasm'], ['unknown engine "wasm"', '"tfjs:wasm"']],
    ['key', changed('pair=3'), ['unknown key "pair"', '"pairs"']],
    ['key of an estimator', changed('estimator.sigmas=3'), ['estimator.sigmas', 'estimator.sigma']],
    ['key in a file', ['train', 'typo.yaml'], ['estimatr', 'estimator']],
    ['type', changed('pairs=many'), ['estimator.pairs: expected', 'got "many"']],
    ['range', changed('sigma=-1'), ['estimator.sigma: expected', 'got -1']],
    [
      'range of a wrapped number',
      changed('optimizer.learningRate.initial=meta.log(-1)'),
      ['expected a positive', '-1'],
    ],
    ['seed', ['train', 'mnist-lr', '--seed', '-3'], ['seed: expected', 'got -3']],
    ['W does not divide T', changed('window=30'), ['estimator.window: expected a divisor of the horizon', 'got 30']],
    [
      'K is no multiple of W',
      changed('estimator=gpes', 'pairs=4', 'sigma=0.1', 'window=20', 'estimator.noisePeriod=30'),
      ['estimator.noisePeriod: expected a multiple', 'got 30'],
    ],
    ['metric', changed('objective.metric=accurcy'), ['objective.metric', '"accurcy"', 'accuracy']],
    ['override without =', changed('pairs'), ['--set: expected key=value']],
    ['YAML', ['train', 'broken.yaml'], ['broken.yaml: expected YAML']],
    ['empty file', ['train', 'empty.yaml'], ['empty.yaml', 'an empty file']],
    ['missing file', ['train', 'none.yaml'], ['none.yaml', 'ENOENT']],
    ['missing plugin', ['train', 'quadratic', '--plugin', 'none.ts'], ['none.ts', 'no such file']],
    [
      'plugin that does not compile',
      ['train', 'quadratic', '--plugin', 'broken.ts'],
      ['broken.ts', 'does not compile'],
    ],
    [
      'plugin that exports nothing',
      ['train', 'quadratic', '--plugin', 'no-plugin.ts'],
      ['no-plugin.ts', 'definePlugin'],
    ],
    ['plugin that throws', ['train', 'quadratic', '--plugin', 'throws.ts'], ['throws.ts', 'boom']],
    ['step that reads a value', plugin('reads.ts'), [/reads\.ts:9:/, /value/]],
    ['seeded tfjs randomness', plugin('random.ts'), [/random\.ts:9:/, 'inner.random']],
    ['unkeyed randomness', plugin('math-random.ts'), ['inner.random']],
    ['another structure', plugin('structure.ts'), ['"s"']],
    ['another shape', plugin('shape.ts'), ['float32[2]', 'float32[3]']],
    ['another dtype', plugin('dtype.ts'), ['float32[2]', 'int32[2]']],
    ['loss that is no scalar', plugin('vector-loss.ts'), ['loss', 'float32[2]']],
    ['kernel that the graph lacks', plugin('kernel.ts'), [/Complex|FFT/, /kernel\.ts:9:/]],
    ['nested tfjs gradient', plugin('nested.ts'), ['inner.grad', /nested\.ts:9:/]],
    ['folder that is not empty', ['train', 'quadratic', '--output', 'full'], ['full is not empty (notes.txt)']],
    [
      'folder by two names',
      ['train', 'quadratic', '--out', 'x', '--output', 'y'],
      ["'--out <dir>'", "'--output <dir>'"],
    ],
    ['folder that is a file', ['train', 'quadratic', '--output', 'a-file'], ['a-file']],
    ['folder that cannot be made', ['train', 'quadratic', '--output', join('a-file', 'x')], ['a-file']],
    ['resume of nothing', ['resume', 'nothing'], ['nothing holds no run']],
    [
      'gradient of an accuracy',
      [...changed('estimator=tbptt', 'window=20', 'objective.metric=accuracy'), '--engine', 'reference'],
      ['has no derivative', 'nres, pes, gpes, full-es or truncated-es'],
    ],
    ['engine that cannot run', ['train', 'mnist-lr', '--engine', 'tfjs:node-gpu'], ['tfjs:node-gpu', 'npm install']],
    ['command', ['trian'], ['trian', 'train']],
    ['flag', ['train', 'quadratic', '--ouy', 'x'], ['--ouy']],
    ['threads', ['train', 'quadratic', '--threads', '0'], ['--threads: expected an integer', 'got "0"']],
    ['memory', ['train', 'quadratic', '--memory', 'all'], ['--memory: expected a number of bytes', 'got "all"']],
    ['flag value', ['evaluate', 'nothing', '--particles', '0'], ['--particles: expected an integer', 'got "0"']],
  ])('%s', async (_, args, expected) => {
    const { code, stdout, stderr } = await (wantsProcess(args) ? outerloop : here)(...args);
    for (const part of expected)
      expect(stderr).toMatch(part instanceof RegExp ? part : new RegExp(part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
    expect(stdout).toBe('');
    expect(code).toBe(2);
    const complaint = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('(Did you mean'));
    expect(complaint.filter((line) => line.startsWith('error: '))).toHaveLength(1);
    expect(complaint.every((line) => !/^\s+at /.test(line))).toBe(true);
    expect(existsSync(join(folder, 'runs'))).toBe(false);
  });

  test('--verbose adds the stack', async () => {
    const { stderr } = await here('train', 'mnst-lr', '--verbose');
    expect(stderr).toMatch(/^error: unknown preset.*\n[\s\S]*\n\s+at /);
  });
});

test('a damaged checkpoint is named, and the way on', async () => {
  expect((await outerloop(...SMALL, '--quiet', '--output', 'damaged')).code).toBe(0);
  const path = join(folder, 'damaged', 'checkpoints', 'iteration-00000005.safetensors');
  const bytes = readFileSync(path);
  bytes[bytes.length - 3] ^= 0x40;
  writeFileSync(path, bytes);
  const { code, stderr } = await outerloop('resume', 'damaged');
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: .*iteration-00000005\.safetensors.*damaged.*--checkpoint/);
});
