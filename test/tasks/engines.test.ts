/** Tasks made of this folder's own code on every engine: three steps of gradient descent on all of them, against float64. */
import * as tf from '@tensorflow/tfjs';
import { textDataset } from '../../datasets';
import { treeMap2, type Task, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { traceProblem } from '../../src/graph/trace';
import { autoencoder, charRnn, TEST_FUNCTIONS, testFunction, type MlpActivation } from '../../tasks';
import { ENGINES } from '../support/engine-table';

const STEPS = 3;
const COMPILING = 300_000;
const ALL = Int32Array.of(0, 1);
const THETA = Float64Array.of(Math.log(1e-4));

const data = textDataset({ text: 'a cad bade a bad cab, a dab, a bed. '.repeat(4), length: 4 });
const ACTIVATIONS: readonly MlpActivation[] = ['silu', 'softplus', 'elu', 'leaky-relu'];
/** Any data set has inputs for an autoencoder: symbols as numbers. */
const TASKS: Readonly<Record<string, Task>> = {
  lstm: charRnn({ data, cell: 'lstm', embedding: 3, hidden: 4 }),
  gru: charRnn({ data, cell: 'gru', embedding: 3, hidden: 4 }),
  ...Object.fromEntries(
    ACTIVATIONS.map((activation) => [activation, autoencoder({ data, hidden: [3], activation, initScale: 0.5 })]),
  ),
  ...Object.fromEntries(TEST_FUNCTIONS.map((name) => [name, testFunction({ function: name, dimensions: 2 })])),
};

/** All tasks side by side, the loss of each a metric. θ is the logarithm of the rate. */
const problem: UnrolledProblem = {
  name: 'all tasks',
  horizon: STEPS,
  dataset: data,
  batchSize: 4,
  initTheta: () => ({ rate: tf.scalar(Math.log(1e-4)) }),
  initState: (_, random) =>
    Object.fromEntries(Object.entries(TASKS).map(([name, task], i) => [name, task.init(random.foldIn(i))])),
  step: (theta, state, inner) => {
    const rate = tf.exp((theta as { rate: tf.Scalar }).rate);
    const batch = inner.batch('train');
    const stepped = Object.entries(TASKS).map(([name, task]) => {
      const { value, gradient } = inner.valueAndGrad((params: TensorTree) => task.loss(params, batch, inner.random))(
        (state as Record<string, TensorTree>)[name],
      );
      const params = treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(
        (state as Record<string, TensorTree>)[name],
        gradient,
        (p, g) => tf.sub(p, tf.mul(rate, g)),
      );
      return [name, { params, value }] as const;
    });
    return {
      state: Object.fromEntries(stepped.map(([name, { params }]) => [name, params])),
      loss: stepped.map(([, { value }]) => value as tf.Tensor).reduce((a, b) => tf.add(a, b)),
      metrics: Object.fromEntries(stepped.map(([name, { value }]) => [name, value])),
    };
  },
};

const traced = traceProblem(problem);

async function run(engine: GraphEngine): Promise<Readonly<Record<string, Float64Array>>> {
  const program = await engine.compileTraced(traced);
  const population = await program.createPopulation({ size: 2, seed: 5 });
  const request = { particles: ALL, perturbation: { form: 'none', theta: THETA } as const };
  await population.reset({ ...request, workers: ALL, episodes: ALL });
  const { metricSums } = await population.advance({ ...request, steps: STEPS });
  await program.dispose();
  return metricSums;
}

let expected: Awaited<ReturnType<typeof run>>;
beforeAll(async () => {
  expected = await run(await ENGINES[0].open());
});

test.each(ENGINES.slice(1).filter(({ name }) => name !== 'native, lane-major'))(
  '$name',
  async ({ open }) => {
    const engine = await open();
    const got = await run(engine);
    await engine.dispose();
    expect(Object.keys(got).sort()).toEqual(Object.keys(TASKS).sort());
    for (const [name, sums] of Object.entries(expected)) {
      // float32: cosines of angles up to 600 (Griewank) or 2π·32 (Ackley) are 2⁻²⁴ of the angle off.
      const close = [...sums].map((sum, i) => Math.abs(got[name][i] - sum) < 2e-4 * Math.max(1, Math.abs(sum)));
      expect([name, close]).toEqual([name, [true, true]]);
    }
  },
  COMPILING,
);
