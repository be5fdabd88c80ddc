/** Every TypeScript block of the README runs as it stands; its shell commands name what exists. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { sgd } from '../../learned-optimizers';
import { meta } from '../../src/contracts';
import { encodeWeights } from '../../src/deploy';
import { loadOptimizer } from '../../src/library';
import { layoutOfOptimizer } from '../../src/outer';
import { CompiledSources, temporaryFolder, type Finished } from '../outer/compiled';

jest.setTimeout(240_000);

const ROOT = resolve(__dirname, '..', '..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

function blocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1]);
}

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

/** The block as a CommonJS module in which `await` works at the top. */
function runnable(block: string): string {
  const imports = /^(?:import [\s\S]*?;\n)+/.exec(block)?.[0] ?? '';
  const asRequires = imports
    .replace(/import \* as (\w+) from ('[^']+');/g, 'const $1 = require($2);')
    .replace(/import (\{[\s\S]*?\}) from ('[^']+');/g, 'const $1 = require($2);')
    .replace("'outerloop'", JSON.stringify(join(sources.root, 'src', 'index.js')));
  return `${asRequires}(async () => {\n${block.slice(imports.length)}\n})().catch((e) => { console.error(e); process.exit(1); });\n`;
}

const programs = blocks('ts').filter((block) => block.includes('await tune('));

test('the README has the programs that this test runs', () => {
  expect(programs).toHaveLength(2);
});

test.each(programs.map((block, i) => [i + 1, block] as const))('program %i runs', async (i, block) => {
  const script = `readme-${i}.js`;
  writeFileSync(join(sources.root, script), runnable(block));
  const cwd = join(folder, String(i));
  mkdirSync(cwd);
  const { code, stdout, stderr } = await sources.run(script, [], { cwd });
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  if (i === 1) {
    expect(readFileSync(join(cwd, 'report.html'), 'utf8')).toContain('<svg');
    // It starts at chance (10 %), and what the README shows must be a gain that nobody needs statistics to see.
    const [before, after] = [...stdout.matchAll(/0\.\d+/g)].map((match) => Number(match[0])).slice(-2);
    expect(after - before).toBeGreaterThan(0.3);
    // What it has saved is read by another process, this one.
    const { weights } = await loadOptimizer(join(cwd, 'tuned.safetensors'));
    expect(weights.optimizer).toMatchObject({ name: 'sgd', learningRate: { name: 'inverse-time', timescale: 100 } });
    expect(weights.record).toMatchObject({ iterations: 40, horizon: 100, after: { n: 5 } });
  }
});

test('the program that uses a learned optimizer trains by it', async () => {
  const [block, ...more] = blocks('ts').filter((text) => text.includes('loadOptimizer('));
  expect(more).toEqual([]);
  writeFileSync(join(sources.root, 'readme-use.js'), runnable(block));
  const cwd = join(folder, 'use');
  mkdirSync(cwd);
  const optimizer = sgd({ learningRate: meta.log(0.5) });
  const weights = {
    optimizer: { name: 'sgd', learningRate: 'meta.log(0.5)' },
    featureVersion: 1,
    layout: layoutOfOptimizer(optimizer),
    theta: Float32Array.of(Math.log(0.5)),
    record: {},
  };
  writeFileSync(join(cwd, 'lopt.safetensors'), encodeWeights(weights));
  const { code, stdout, stderr } = await sources.run('readme-use.js', [], { cwd });
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const [before, after] = [...stdout.matchAll(/\d+\.\d+/g)].map((match) => Number(match[0])).slice(-2);
  // Three separable classes at a rate that suits them: far below the loss of a guess.
  expect(after).toBeLessThan(0.75 * before);
});

const outerloop = (...args: string[]): Promise<Finished> =>
  sources.run(join('src', 'cli', 'main.js'), args, { cwd: folder });

test('the plugin of the README registers its task', async () => {
  const block = blocks('ts').find((text) => text.includes('definePlugin'));
  writeFileSync(join(folder, 'bowl.ts'), block ?? '');
  const { code, stdout } = await outerloop('list', '--json', '--plugin', 'bowl.ts');
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { task: object }).task).toHaveProperty('bowl');
});

test('the worked example runs from a folder outside the repository', async () => {
  const example = readFileSync(join(ROOT, 'examples', 'plugin', 'my-task.ts'), 'utf8');
  writeFileSync(join(folder, 'my-task.ts'), example);
  const run = await outerloop('train', 'sine-lr', '--plugin', 'my-task.ts', '--quiet', '--output', 'sine');
  expect(run).toMatchObject({ code: 0 });
  const swapped = ['--set', 'task=sine', '--set', 'iterations=2', '--quiet', '--output', 'mnist-sine'];
  expect(await outerloop('train', 'mnist-lr-small', '--plugin', 'my-task.ts', ...swapped)).toMatchObject({ code: 0 });
});

test('the sweep of the README stands for as many runs as it seems to', async () => {
  const [block] = blocks('yaml');
  writeFileSync(join(folder, 'my-sweep.yaml'), block);
  const { code, stdout } = await outerloop('sweep', 'my-sweep.yaml', '--dry-run');
  expect(code).toBe(0);
  expect(stdout).toContain(`${String(2 * 3 * 2 * 3)} runs in`);
});

test('every npm script and every outerloop command that the README names exists', async () => {
  const shell = blocks('sh').join('\n');
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [, name] of `${shell}\n${README}`.matchAll(/npm run ([\w:-]+)/g)) expect(scripts).toHaveProperty(name);
  const commands = new Set([...shell.matchAll(/npx outerloop (\w+)/g)].map((match) => match[1]));
  const { stdout } = await outerloop('--help');
  for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
  expect(commands.size).toBeGreaterThanOrEqual(6);
});
