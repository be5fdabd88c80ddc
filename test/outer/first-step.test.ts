/** The first inner step of a task: what is refused before the work begins, and what is not. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { nres, outer, randomSearch, tune, type TuneOptions } from 'outerloop';
import { sgd } from '../../learned-optimizers';
import { DivergenceError, meta, NonFiniteTaskError, type Task } from '../../src/contracts';
import { here } from '../support/command-line';
import { HAS_COMPILER } from '../support/native';
import { temporaryFolder } from './compiled';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const engines = ['reference', 'tfjs:cpu', ...(HAS_COMPILER ? ['native'] : [])];

const xOf = (params: unknown): tf.Scalar => (params as { x: tf.Scalar }).x;
/** ½x² from x = 1, times something. */
const bowl = (scale = 1): Task => ({
  name: 'bowl',
  init: () => ({ x: tf.scalar(1) }),
  loss: (params) => tf.mul(tf.square(xOf(params)), scale / 2),
});
/** At rate θ, x_t = (1 − θ)^t. */
const common = {
  optimizer: sgd({ learningRate: meta.linear(0.3) }),
  horizon: 12,
  estimator: nres({ pairs: 2, sigma: 0.01, window: 3 }),
  outerOptimizer: outer.sgd({ learningRate: 0.01 }),
  iterations: 2,
} as const satisfies Partial<TuneOptions>;
const run = (change: Partial<TuneOptions>) => tune({ ...common, task: bowl(), ...change } as TuneOptions);

describe.each(engines)('%s', (engine) => {
  test('a loss that is not finite from the start on, with nothing written', async () => {
    for (const [scale, loss] of [
      [NaN, 'NaN'],
      [Infinity, 'Infinity'],
    ] as const) {
      const out = join(folder, `${loss}-${engine}`);
      const refused = run({ task: bowl(scale), engine, out });
      await expect(refused).rejects.toThrow(NonFiniteTaskError);
      await expect(refused).rejects.toThrow(
        `task: the loss of "sgd on bowl" is ${loss} at the first inner step, at all of 16 starts. Look at its data and its initialisation.`,
      );
      expect(existsSync(out)).toBe(false);
    }
  });

  // x₁ = −1e200: its square is beyond float64, too.
  const leap = sgd({ learningRate: meta.linear(1e200) });
  test('a first update that leaves no loss, where θ₀ is what is trained', async () => {
    const refused = run({ optimizer: leap, engine });
    await expect(refused).rejects.toThrow(NonFiniteTaskError);
    await expect(refused).rejects.toThrow(
      /^task: the loss of "sgd on bowl" is (Infinity|NaN) after the first inner step, at all of 16 starts, and was finite before it\./,
    );
    const searched = run({ optimizer: leap, estimator: randomSearch({ radius: 1 }), engine });
    await expect(searched).rejects.toThrow(DivergenceError);
  });

  test('a loss that overflows later only is the business of the run', async () => {
    // x grows ninefold a step: its square is 1e38 after 20 steps, and 1e381 after 200, beyond float64, too.
    const growing = run({ optimizer: sgd({ learningRate: meta.linear(10) }), horizon: 402, engine });
    expect((await growing).history).toHaveLength(2);
  });
});

test('some starts may fail: the others are trained', async () => {
  // √x is NaN for the half of all starts that are negative.
  const root: Task = {
    name: 'root',
    init: (random) => ({ x: random.normal([]) }),
    loss: (params) => tf.sqrt(xOf(params)),
  };
  let failed = 0;
  for (let seed = 0; seed < 6; seed++) {
    // So slow that none gets below 0 by itself.
    const optimizer = sgd({ learningRate: meta.linear(1e-9) });
    const estimator = nres({ pairs: 2, sigma: 1e-10, window: 3 });
    const slow = {
      optimizer,
      estimator,
      outerOptimizer: outer.sgd({ learningRate: 1e-10 }),
      iterations: 1,
      horizon: 3,
    };
    const { before } = await run({ task: root, seed, ...slow, engine: 'reference' });
    // Starts of the evaluation are those of the check.
    if (Number.isNaN(before!.values[0])) failed += 1;
  }
  expect(failed).toBeGreaterThan(0);
});

test('on the command line it is one line and exit code 2', async () => {
  const file = join(folder, 'run.yaml');
  const out = join(folder, 'command-line');
  writeFileSync(
    file,
    `
task: {name: mlp, hidden: [5], batchSize: 8, initScale: 1e30}
data: {name: mnist, size: 4}
optimizer: {name: sgd, learningRate: meta.log(0.1)}
horizon: 6
estimator: {name: nres, pairs: 1, sigma: 0.1, window: 3}
engine: tfjs:cpu
`,
  );
  const { code, stderr } = await here('train', file, '--quiet', '--output', out);
  expect(stderr).toMatch(/^error: task: the loss of "sgd on mlp" is [^\n]* at the first inner step, [^\n]*\n$/);
  expect(code).toBe(2);
  expect(existsSync(out)).toBe(false);
});
