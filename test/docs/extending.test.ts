/** docs/extending.md as it stands: its commands run; its architecture is compiled, registered, run and meta-trained. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from '@swc/core';
import * as tf from '@tensorflow/tfjs';
import * as features from '../../learned-optimizers/features';
import { createContainer } from '../../src/container';
import * as contracts from '../../src/contracts';
import { prepareOptimizer, prepareRun, resolveConfig } from '../../src/outer';
import { CompiledSources, finished, temporaryFolder } from '../outer/compiled';
import { installOuterloop } from '../support/installed';
import { runnerOf } from '../support/run-problem';

const PAGE = readFileSync(join(__dirname, '..', '..', 'docs', 'extending.md'), 'utf8');
const [, SNIPPET] = /^```ts\n([\s\S]*?)^```/m.exec(PAGE) ?? [];

/** What the file exports, with the modules that it may import. */
function loaded(source: string): Record<string, unknown> {
  const modules: Record<string, unknown> = {
    '@tensorflow/tfjs': tf,
    '../src/contracts': contracts,
    './features': features,
  };
  const { code } = transformSync(source, {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  });
  const module = { exports: {} as Record<string, unknown> };
  const load = (name: string): unknown => {
    if (name in modules) return modules[name];
    throw new Error(`the page imports ${name}`);
  };
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- the page's own text
  new Function('require', 'module', 'exports', code)(load, module, module.exports);
  return module.exports;
}

test('the commands of the page for a plugin of your own run as they stand, in a folder that has Outerloop installed', async () => {
  const [, block] = /^```sh\n([\s\S]*?)^```/m.exec(PAGE) ?? [];
  const commands = block
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ *#.*/, '').split(' '));
  expect(commands.map(([program, , command]) => (program === 'npx' ? command : program))).toEqual([
    'init',
    'node',
    'check',
    'train',
  ]);
  const sources = new CompiledSources();
  const folder = temporaryFolder();
  try {
    installOuterloop(folder, sources);
    for (const [program, ...args] of commands) {
      if (program === 'npx') {
        expect(args.shift()).toBe('outerloop');
        args.unshift(join('node_modules', 'outerloop', 'dist', 'src', 'cli', 'main.js'));
      }
      const environment = { ...process.env, NODE_PATH: '' };
      const child = spawn(process.execPath, args, { cwd: folder, env: environment });
      const { code, stdout, stderr } = await finished(child);
      expect([args, code, code === 0 ? '' : stdout + stderr]).toEqual([args, 0, '']);
    }
  } finally {
    sources.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);

test('the shortest architecture registers, and its steps are what its sentence says', async () => {
  const container = createContainer();
  const { registerTinyMlp } = loaded(SNIPPET) as { registerTinyMlp: (registrar: contracts.Registrar) => void };
  container.use(contracts.definePlugin(registerTinyMlp));
  const config = {
    task: { name: 'quadratic', size: 3 },
    optimizer: 'tiny-mlp',
    estimator: { name: 'nres', pairs: 2, sigma: 0.01, window: 5 },
    horizon: 10,
  };
  const { plan } = await prepareRun(resolveConfig(config, [], container), container);
  const theta = Array.from({ length: 42 }, (_, i) => Math.sin(i + 1));
  // In tree order: bias [8], kernel [2, 8], bias [2], kernel [8, 2].
  const [b0, w0, b1, w1] = [theta.slice(0, 8), theta.slice(8, 24), theta.slice(24, 26), theta.slice(26)];
  const { states, losses } = runnerOf(plan.problem)({ steps: 2, theta: [b0, w0, b1, w1] });
  const path = Object.keys(states[0]).find((name) => name.startsWith('params'))!;
  const momentum = Object.keys(states[0]).find((name) => name.startsWith('optimizer.momenta.0'))!;
  const before = states[1][path];
  // m = 0.9·0 + 0.1·g in the first step, so that the momentum gives the gradient away.
  const moments = [states[1][momentum], states[2][momentum]];
  const g = moments[1].map((m, i) => (m - Math.fround(0.9) * moments[0][i]) / Math.fround(0.1));
  const normal = (xs: Float64Array): Float64Array => {
    const square = xs.reduce((sum, x) => sum + x * x, 0) / xs.length;
    return xs.map((x) => x / Math.sqrt(square + Math.fround(1e-5)));
  };
  const [gn, mn] = [normal(g), normal(moments[1])];
  before.forEach((p, i) => {
    const hidden = b0.map((b, u) => Math.max(0, b + gn[i] * w0[u] + mn[i] * w0[8 + u]));
    const [direction, magnitude] = b1.map((b, o) => b + hidden.reduce((sum, h, u) => sum + h * w1[2 * u + o], 0));
    const step = Math.fround(0.001) * direction * Math.exp(Math.fround(0.001) * magnitude);
    expect(states[2][path][i]).toBeCloseTo(p - step, 9);
  });
  expect(losses.every(Number.isFinite)).toBe(true);
});

test('what tune makes of it can be saved: its config makes it again', async () => {
  const { tinyMlp, registerTinyMlp } = loaded(SNIPPET) as {
    tinyMlp: () => contracts.LearnedOptimizer;
    registerTinyMlp: (registrar: contracts.Registrar) => void;
  };
  const container = createContainer().use(contracts.definePlugin(registerTinyMlp));
  expect((await prepareOptimizer(tinyMlp().config!, container)).name).toBe('tiny-mlp');
});
