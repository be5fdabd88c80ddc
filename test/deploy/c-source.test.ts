/** Optimizers as C; the long half of the table is in test/full. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tensor } from '@tensorflow/tfjs';
import { ConfigurationError, UserError, type LearnedOptimizer } from '../../src/contracts';
import { cFiles, parseShapes } from '../../src/deploy/c-source';
import { loadOptimizer } from '../../src';
import { lamb, learnableAdam, perParameterMlp } from '../../learned-optimizers';
import { compileC, trajectory } from '../support/c-optimizer';
import { stepsInC, weightsOf } from '../support/c-optimizer-suite';
import { here } from '../support/command-line';
import { HAS_COMPILER, temporaryFolder } from '../support/native';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

stepsInC(
  [
    { name: 'per-parameter-mlp', make: () => perParameterMlp({ hidden: [6] }) },
    { name: 'lamb', make: () => lamb({ learningRate: 0.01, weightDecay: 0.1 }) },
  ],
  [['-O1'], ['-O0', '-DOL_PLAIN']],
);

const SHAPES = parseShapes('4x3,3');

test('shapes', () => {
  expect(parseShapes('784x128, 128,3x3x1x8,scalar')).toEqual([[784, 128], [128], [3, 3, 1, 8], []]);
  for (const wrong of ['', '4x', 'x4', '4,,3', '0x3', '4.5', '-1', '3e2', 'twox3', '65536x65536']) {
    expect(() => parseShapes(wrong)).toThrow(ConfigurationError);
  }
});

test('equal weights give equal text; it says what it is, and ends no comment early', () => {
  const optimizer = learnableAdam();
  const weights = {
    ...weightsOf(optimizer),
    record: { preset: 'evil */ int x; /*', data: { name: 'text', path: '/home/someone/book' } },
  };
  const [one, two] = [0, 1].map(() => cFiles(weights, optimizer, SHAPES, 'mine'));
  expect(one).toEqual(two);
  const [head] = one.source.split('*/');
  expect(head).toContain('learnable-adam');
  expect(head).toContain('evil * / int x; /*');
  expect(head).toMatch(/weights: 4 numbers, SHA-256 of their float32 bytes [0-9a-f]{64}/);
  expect(one.source + one.header).not.toContain('someone');
  expect(one.header).toContain('0: [4, 3]');
});

test('a name that is none in C, and draws, are refused', () => {
  const optimizer = learnableAdam();
  const weights = weightsOf(optimizer);
  for (const prefix of ['my-optimizer', '3d', 'ol_mine', 'k_x']) {
    expect(() => cFiles(weights, optimizer, SHAPES, prefix)).toThrow(
      /^--output: expected a file whose name C can name/,
    );
  }
  const noisy: LearnedOptimizer = {
    ...optimizer,
    name: 'noisy',
    optimizer: (theta) => {
      const rules = optimizer.optimizer(theta);
      return {
        ...rules,
        update: ({ params, ...step }) =>
          rules.update({ ...step, params: (params as Tensor[]).map((x) => x.add(step.random.normal([]))) }),
      };
    },
  };
  expect(() => cFiles(weights, noisy, SHAPES, 'noisy')).toThrow(UserError);
});

test('a run is exported to C, which trains; what is wrong is said before a file is written', async () => {
  const at = (name: string): string => join(folder, name);
  writeFileSync(
    at('run.yaml'),
    'task: quadratic\noptimizer: {name: sgd, learningRate: meta.log(0.02), momentum: 0.5}\nhorizon: 10\n' +
      'estimator: {name: nres, pairs: 2, sigma: 0.1, window: 5}\niterations: 3\nengine: reference\n',
  );
  expect(await here('train', at('run.yaml'), '--quiet', '--output', at('run'))).toMatchObject({ code: 0 });
  const exported = (...args: string[]) => here('export', at('run'), ...args);
  for (const [args, problem] of [
    [['--to', 'c', '--output', at('mine.c')], '--shapes: expected the shapes of the tensors'],
    [['--to', 'c', '--output', at('mine.c'), '--shapes', '3x'], '--shapes: expected the shapes of the tensors'],
    [['--to', 'c', '--output', at('my-own.c'), '--shapes', '3'], '--output: expected a file whose name C can name'],
    [['--to', 'c', '--output', at('mine.h'), '--shapes', '3'], '--output: expected the name of a .c file'],
    [['--to', 'rust', '--shapes', '3'], '--to: expected safetensors or c, got "rust".'],
    [['--shapes', '3'], '--shapes: expected nothing without --to c'],
  ] as const) {
    const { code, stderr } = await exported(...args);
    expect([code, stderr.slice(0, 7 + problem.length)]).toEqual([2, `error: ${problem}`]);
  }
  expect(existsSync(at('mine.c')) || existsSync(at('mine.h')) || existsSync(at('my-own.c'))).toBe(false);

  const { code, stdout } = await exported('--to', 'c', '--shapes', '2,scalar', '--output', at('mine.c'));
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^sgd, 1 number, after 3 outer iterations: .*mine\.c and mine\.h\n$/),
  ]);
  expect(readFileSync(at('mine.c'), 'utf8') + readFileSync(at('mine.h'), 'utf8')).not.toContain(folder);
  if (!HAS_COMPILER) return;
  // Two steps of momentum: v = g, then 0.5·v + g.
  const [rate] = (await loadOptimizer(at('run'))).weights.theta;
  const program = compileC(folder, 'mine', [2, 1], []);
  const steps = [
    { loss: 1, gradients: [[1, -2], [0.5]] },
    { loss: 1, gradients: [[0, 4], [1]] },
  ];
  const [, after] = trajectory(program, [[3, 4], [5]], steps);
  const alpha = Math.exp(rate);
  [3 - alpha * 1.5, 4 + alpha * 2 - alpha * 3].forEach((x, i) => expect(after[0][i]).toBeCloseTo(x, 5));
  expect(after[1][0]).toBeCloseTo(5 - alpha * 0.5 - alpha * 1.25, 5);
}, 60_000);
