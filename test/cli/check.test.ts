/** `outerloop check` as a process: a line for each property, in words what is wrong, and the exit code. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CompiledSources, temporaryFolder, type Finished } from '../outer/compiled';
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

const check = (...args: string[]): Promise<Finished> =>
  sources.run(join('src', 'cli', 'main.js'), ['check', ...args], { cwd: folder });

test.each(['task', 'optimizer', 'estimator', 'problem'])('what init %s writes holds', async (kind) => {
  mkdirSync(join(folder, kind));
  await here('init', kind, 'mine', '--output', join(folder, kind));
  const { code, stdout, stderr } = await check(join(kind, 'mine.ts'));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  const [, passed] = /^(\d+) passed, 0 failed, 0 skipped$/.exec(lines.at(-1)!) ?? [];
  expect(Number(passed)).toBeGreaterThanOrEqual(8);
  expect(lines.filter((line) => line.startsWith(`pass  ${kind} "mine": `)).length).toBe(Number(passed) - 1);
  expect(lines.filter((line) => line.startsWith('pass  preset "mine-')).length).toBe(1);
});

const BROKEN = `
import * as tf from '@tensorflow/tfjs';
import { definePlugin } from 'outerloop';
export const plugin = definePlugin(({ task }) => {
  task('noisy', () => ({
    name: 'noisy',
    init: () => ({ x: tf.tensor1d([Math.random()]) }),
    loss: (params) => tf.sum(tf.square(params.x)),
  }));
  task('sound', () => ({
    name: 'sound',
    init: (random) => ({ x: random.normal([3]) }),
    loss: (params) => tf.sum(tf.square(params.x)),
  }));
});
`;

test('a failure says what was expected, what was got and what to do; exit code 1', async () => {
  writeFileSync(join(folder, 'broken.ts'), BROKEN);
  const { code, stdout } = await check('broken.ts');
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /^fail {2}task "noisy": init gives float32 leaves, which the key decides\n {6}expected the same parameters by the same key, got [^\n]+ at number 0\. Draw every number from the `random` [^\n]+\n/m,
  );
  expect(stdout).toMatch(/^skip {2}task "noisy": the loss is a finite scalar[^\n]* \(it builds on "init gives/m);
  expect(stdout).not.toMatch(/^fail {2}task "sound"/m);
  expect(stdout).toMatch(/\n\n\d+ passed, 1 failed, \d+ skipped\n$/);
  const json = await check('broken.ts', '--json');
  const lines = json.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.filter(({ outcome }) => outcome === 'fail')).toMatchObject([
    { type: 'property', kind: 'task', name: 'noisy', reason: expect.stringContaining('expected') as string },
  ]);
  expect(lines.at(-1)).toMatchObject({ type: 'check', file: 'broken.ts', fail: 1 });
});

test('mistakes are one line, exit code 2', async () => {
  writeFileSync(
    join(folder, 'empty.ts'),
    "import { definePlugin } from 'outerloop';\nexport const plugin = definePlugin(() => {});\n",
  );
  const rows = [
    [['nowhere.ts'], 'plugin nowhere.ts: there is no such file.'],
    [['empty.ts'], 'plugin empty.ts registers nothing. Call task, optimizer, … within definePlugin(…).'],
    [['broken.ts', '--set', 'x=1'], '--set: expected NAME.key=value, such as sine.hidden=4, got "x=1".'],
    [['broken.ts', '--set', 'lost.x=1'], '--set: expected NAME.key=value with a NAME of noisy, sound, got "lost".'],
  ] as const;
  for (const [args, message] of rows) {
    expect(await check(...args)).toEqual({ code: 2, signal: null, stdout: '', stderr: `error: ${message}\n` });
  }
});
