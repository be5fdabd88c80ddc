/** Tasks made of this folder's own code on every engine: three steps of gradient descent on all of them, against float64. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, textDataset } from '../../datasets';
import { treeMap2, type Dataset, type Task, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import { normals } from '../../src/random';
import { autoencoder, charRnn, cnn, TEST_FUNCTIONS, testFunction, type MlpActivation } from '../../tasks';
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

const images = arrayDataset({
  xs: normals([4, 1], 20 * 50),
  ys: Array.from({ length: 20 }, (_, i) => (i * 7) % 3),
  inputShape: [5, 5, 2],
  classes: 3,
});
const IMAGE_TASKS: Readonly<Record<string, Task>> = {
  cnn: cnn({ data: images, channels: [4, 3] }),
  'cnn, max pools': cnn({ data: images, channels: [3], strides: [1], pooling: 'max', features: 'flatten' }),
  'cnn, average pools': cnn({ data: images, channels: [3], strides: [1], pooling: 'average', features: 'max' }),
};

/** Tasks side by side, the loss of each a metric. θ is the logarithm of the rate. */
function together(tasks: Readonly<Record<string, Task>>, dataset: Dataset): UnrolledProblem {
  return {
    name: 'all tasks',
    horizon: STEPS,
    dataset,
    batchSize: 4,
    initTheta: () => ({ rate: tf.scalar(Math.log(1e-4)) }),
    initState: (_, random) =>
      Object.fromEntries(Object.entries(tasks).map(([name, task], i) => [name, task.init(random.foldIn(i))])),
    step: (theta, state, inner) => {
      const rate = tf.exp((theta as { rate: tf.Scalar }).rate);
      const batch = inner.batch('train');
      const stepped = Object.entries(tasks).map(([name, task]) => {
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
}

const TRACED = [together(TASKS, data), together(IMAGE_TASKS, images)].map((problem) => traceProblem(problem));

async function run(engine: GraphEngine, traced: TracedProblem): Promise<Readonly<Record<string, Float64Array>>> {
  const program = await engine.compileTraced(traced);
  const population = await program.createPopulation({ size: 2, seed: 5 });
  const request = { particles: ALL, perturbation: { form: 'none', theta: THETA } as const };
  await population.reset({ ...request, workers: ALL, episodes: ALL });
  const { metricSums } = await population.advance({ ...request, steps: STEPS });
  await program.dispose();
  return metricSums;
}

async function runAll(engine: GraphEngine): Promise<Readonly<Record<string, Float64Array>>> {
  const sums = [];
  for (const traced of TRACED) sums.push(await run(engine, traced));
  await engine.dispose();
  return { ...sums[0], ...sums[1] };
}

let expected: Awaited<ReturnType<typeof runAll>>;
beforeAll(async () => {
  expected = await runAll(await ENGINES[0].open());
});

test.each(ENGINES.slice(1).filter(({ name }) => name !== 'native, lane-major'))(
  '$name',
  async ({ open }) => {
    const got = await runAll(await open());
    expect(Object.keys(got).sort()).toEqual([...Object.keys(TASKS), ...Object.keys(IMAGE_TASKS)].sort());
    for (const [name, sums] of Object.entries(expected)) {
      // float32: cosines of angles up to 600 (Griewank) or 2π·32 (Ackley) are 2⁻²⁴ of the angle off.
      const close = [...sums].map((sum, i) => Math.abs(got[name][i] - sum) < 2e-4 * Math.max(1, Math.abs(sum)));
      expect([name, close]).toEqual([name, [true, true]]);
    }
  },
  COMPILING,
);

test('the derivative by the rate of convolutional training, which has second derivatives, is that of differences', async () => {
  const smooth = cnn({ data: images, channels: [3, 2], activation: 'tanh', pooling: 'average', strides: [1, 1] });
  const traced = traceProblem(together({ smooth }, images), { for: 'differentiate' });
  const engine = await ENGINES[0].open();
  const one = Int32Array.of(0);
  const begin = { particles: one, workers: one, episodes: one };
  const start = Math.log(0.5);
  const derivative = await engine.compileDerivative(traced, {
    mode: 'reverse',
    steps: STEPS,
    windowLoss: 'mean',
    start: true,
  });
  const moving = await derivative.createPopulation({ size: 1, seed: 5 });
  const at = (theta: number) => ({ form: 'none', theta: Float64Array.of(theta) }) as const;
  await moving.reset({ ...begin, perturbation: at(start) });
  const { derivatives } = await moving.differentiate({ particles: one, perturbation: at(start), steps: STEPS });
  const program = await engine.compileTraced(traced);
  const lossAt = async (theta: number): Promise<number> => {
    const population = await program.createPopulation({ size: 1, seed: 5 });
    await population.reset({ ...begin, perturbation: at(theta) });
    const { lossSum } = await population.advance({ particles: one, perturbation: at(theta), steps: STEPS });
    return lossSum[0] / STEPS;
  };
  const h = 1e-5;
  const difference = ((await lossAt(start + h)) - (await lossAt(start - h))) / (2 * h);
  await engine.dispose();
  expect(Math.abs(difference)).toBeGreaterThan(1e-3);
  // Rounding of losses of about 1 over h, and h² of a third derivative.
  expect(Math.abs(derivatives[0] - difference)).toBeLessThan(1e-9);
});
