/** `outerloop init`: what it writes works as it stands, in a folder that has Outerloop installed. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { INIT_KINDS } from '../../src/cli/commands/init';
import { finished, CompiledSources, temporaryFolder } from '../outer/compiled';
import { here } from '../support/command-line';
import { installOuterloop } from '../support/installed';

jest.setTimeout(120_000);

let sources: CompiledSources;
let folder: string;
beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
  installOuterloop(folder, sources);
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const main = join('src', 'cli', 'main.js');
const kinds = [
  ['task', 'sine', 'sine-lr', 'sineTask'],
  // The kind is not said twice, and the class of an estimator goes with its function.
  ['optimizer', 'my-own-optimizer', 'my-own-optimizer-quadratic', 'myOwnOptimizer'],
  ['estimator', 'class', 'class-quadratic', 'classEstimator'],
  ['problem', 'problem', 'problem-fit', 'problemProblem'],
] as const;

test('every kind is tested here', () => {
  expect(kinds.map(([kind]) => kind).sort()).toEqual([...INIT_KINDS].sort());
});

describe.each(kinds)('init %s %s', (kind, name, preset, own) => {
  test('writes two files, says what comes next, and keeps no trace of the template', async () => {
    const { code, stdout, stderr } = await here('init', kind, name, '--output', join(folder, kind));
    const path = relative(process.cwd(), join(folder, kind, `${name}.ts`));
    const file = path.startsWith('..') ? join(folder, kind, `${name}.ts`) : path;
    const beside = file.replace(/ts$/, 'test.cjs');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n')).toEqual([
      `wrote ${file}`,
      `wrote ${beside}, its test: node ${beside}`,
      'next:',
      `  npx outerloop check ${file}`,
      `  npx outerloop train ${preset} --plugin ${file}`,
      '',
    ]);
    expect(readdirSync(join(folder, kind)).sort()).toEqual([`${name}.test.cjs`, `${name}.ts`]);
    const text = [file, beside].map((one) => readFileSync(resolve(one), 'utf8')).join('\n');
    expect(text).not.toMatch(/template/i);
    expect(text).toContain(`export function ${own}(`);
  });

  test('its test passes at once, and fails if the file is broken', async () => {
    const run = () => {
      const environment: NodeJS.ProcessEnv = { ...process.env, NODE_PATH: '' };
      return finished(spawn(process.execPath, [`${name}.test.cjs`], { cwd: join(folder, kind), env: environment }));
    };
    const good = await run();
    expect({ code: good.code, out: good.code === 0 ? '' : good.stdout + good.stderr }).toEqual({ code: 0, out: '' });
    expect(good.stdout).toContain('# pass 2');
    const path = join(folder, kind, `${name}.ts`);
    const text = readFileSync(path, 'utf8');
    // One sign, in the loss, the update, the step or the estimate.
    const broken = {
      task: ['), ys)', '), tf.neg(ys))'],
      optimizer: ['tf.sub(p', 'tf.add(p'],
      estimator: ['lossSum[2 * i] - lossSum', 'lossSum[2 * i] + lossSum'],
      problem: ['tf.sub(ROOM', 'tf.add(ROOM'],
    }[kind];
    expect(text).toContain(broken[0]);
    writeFileSync(path, text.replace(broken[0], broken[1]));
    expect((await run()).code).toBe(1);
    writeFileSync(path, text);
  });

  test('--plugin takes it as it stands', async () => {
    const args = [
      'train',
      preset,
      '--plugin',
      `./${name}.ts`,
      '--engine',
      'tfjs:cpu',
      '--quiet',
      '--set',
      'iterations=2',
    ];
    const { code, stderr } = await sources.run(main, args, { cwd: join(folder, kind) });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});

test('an existing file is never overwritten, and nothing is written beside it', async () => {
  const own = join(folder, 'mine');
  mkdirSync(own);
  for (const existing of ['mine.ts', 'mine.test.cjs']) {
    writeFileSync(join(own, existing), 'mine');
    const { code, stdout, stderr } = await here('init', 'task', 'mine', '--output', own);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: NAME: expected files that do not exist yet, got [^\n]*, which does\. [^\n]*\n$/);
    expect(readdirSync(own)).toEqual([existing]);
    expect(readFileSync(join(own, existing), 'utf8')).toBe('mine');
    rmSync(join(own, existing));
  }
});

test.each([
  [['init', 'tsak', 'x'], 'KIND: expected task, optimizer, estimator, problem, got "tsak".'],
  ...['Sine', '../x', '1x', 'a--b', 'a_b', '', 'a.ts', '-x-'].map(
    (name) => [['init', 'task', '--', name], `NAME: expected small letters and digits`] as const,
  ),
  [['init', 'task', 'mlp'], 'NAME: expected a task that Outerloop does not have yet, got "mlp". Take another name.'],
  [['init', 'task', 'mnist'], 'NAME: expected a task that Outerloop does not have yet, got "mnist".'],
  [['init', 'task', 'x', '--output', 'package.json'], '--output: expected a folder, got the file "package.json".'],
] as const)('%j: one line, exit code 2', async (args, message) => {
  const { code, stdout, stderr } = await here(...args);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^error: [^\n]*\n$/);
  expect(stderr).toContain(message);
});

test('--json says what was written', async () => {
  const { stdout } = await here('init', 'problem', 'data', '--output', join(folder, 'json'), '--json');
  expect(JSON.parse(stdout)).toMatchObject({ type: 'init', kind: 'problem', name: 'data', next: { length: 2 } });
});
