/** Properties of optimizers. What one makes of a small task has the properties of problems beside these. */
import * as tf from '@tensorflow/tfjs';
import {
  treeFlatten,
  treeMap,
  type ConfigObject,
  type LearnedOptimizer,
  type NamedConfig,
  type Task,
  type TensorTree,
  type UnrolledProblem,
} from '../contracts';
import { unroll } from '../outer/combinators/unroll';
import { initialTheta, layoutOfOptimizer } from '../outer/theta';
import { firstDifference, PropertyError, type Make, type Property } from './property';
import { runnerOf } from './run-problem';

export interface ExtremeGradients {
  /** The largest gradient; squares of 1e15 are still finite in float32. */
  readonly huge?: number;
  /** A leaf of the params, beside others of one number, of six and of zeros. */
  readonly leaf?: () => tf.Tensor;
}

/** Float32 as all engines but the reference compute. */
export const extremeGradients = ({ huge = 1e15, leaf = () => tf.ones([3]) }: ExtremeGradients = {}): Property<
  Make<LearnedOptimizer>
> => ({
  name: 'gradients of zero, tiny and huge ones in float32 leave parameters finite',
  check: async (make) => {
    // From far apart to nothing, in turn.
    const scales = [0, huge, 0, 1e-30, 1, -huge, -huge, 1e-12, 0, 1e-38, 1];
    const optimizer = await make();
    const inner = optimizer.forHorizon?.(scales.length) ?? optimizer;
    const { states } = runnerOf(
      {
        name: 'extremes',
        horizon: scales.length,
        initTheta: (random) => inner.initTheta(random),
        initState: (theta) => {
          const [one, matrix, zero] = [tf.ones([1]), tf.ones([2, 3]), tf.zeros([2])];
          // By the task's names, where layers are told apart.
          const params = { a: leaf(), rest: [one, matrix, { d: zero, e: tf.onesLike(zero) }], f: tf.onesLike(matrix) };
          return { params, optimizer: inner.optimizer(theta).init(params) };
        },
        step: (theta, state, { t, random }) => {
          const { params, optimizer: before } = state as { params: TensorTree; optimizer: TensorTree };
          const scale = tf.gather(tf.tensor1d(scales), t);
          const gradients = treeMap<tf.Tensor, tf.Tensor>(params, (p) => tf.mul(tf.onesLike(p), scale));
          const loss = tf.scalar(0);
          const after = inner.optimizer(theta).update({ params, gradients, state: before, t, loss, random });
          return { state: { params: after.params, optimizer: after.state }, loss };
        },
      },
      { floats: 'float32' },
    )({ steps: scales.length });
    states.forEach((state, t) => {
      for (const [path, values] of Object.entries(state)) {
        const wrong = values.find((x) => (path.startsWith('params') ? !Number.isFinite(x) : Number.isNaN(x)));
        if (wrong !== undefined) {
          throw new PropertyError(
            'finite parameters, and a state without NaN',
            `${String(wrong)} in "${path}" after a gradient of ${String(scales[t - 1])}`,
            'Add a small number below roots and to divisors, and bound what goes into exponentials.',
          );
        }
      }
    });
    return undefined;
  },
});

export const OPTIMIZER_PROPERTIES: readonly Property<Make<LearnedOptimizer>>[] = [extremeGradients()];

/** How an optimizer is made again from what it says of itself. */
export type MakeFromConfig = (config: NamedConfig) => LearnedOptimizer | Promise<LearnedOptimizer>;

/** Its `config`, as a file holds it, makes it again: the same θ, and the same steps. */
export function configMakesItAgain(from: MakeFromConfig): Property<Make<LearnedOptimizer>> {
  return {
    name: 'its config, written to a file and read again, makes it again',
    check: async (make) => {
      const optimizer = await make();
      const { config } = optimizer;
      if (config === undefined) return 'it has no config, so that files cannot hold it (withConfig)';
      const read = JSON.parse(JSON.stringify(config)) as ConfigObject as NamedConfig;
      const again = await from(read);
      const paths = [optimizer, again].map((one) =>
        layoutOfOptimizer(one)
          .leaves.map(({ path, shape }) => `${path} [${shape.join(', ')}]`)
          .join('; '),
      );
      const advice = `Give withConfig the name that it is registered by and every option: here it says ${JSON.stringify(config)}.`;
      if (paths[0] !== paths[1]) throw new PropertyError(`θ of leaves ${paths[0]}`, paths[1], advice);
      const [one, two] = [optimizer, again].map((made) => initialTheta(training(made), 3));
      const difference = firstDifference(one, two) ?? sameSteps(optimizer, again);
      if (difference !== undefined) throw new PropertyError('the same θ₀ and the same steps', difference, advice);
      return undefined;
    },
  };
}

function sameSteps(one: LearnedOptimizer, two: LearnedOptimizer): string | undefined {
  const [a, b] = [one, two].map((made) => runnerOf(training(made))({ steps: 3 }).losses);
  return firstDifference(a, b);
}

/** Σ ½hx² + sin x over a matrix, vectors, a scalar and a tensor of four axes; no two steps are alike. */
const waves: Task = {
  name: 'waves',
  init: (random) => {
    const [matrix, vector, number] = [random.normal([3, 5]), random.normal([7]), random.normal([])];
    return { a: matrix, rest: [vector, number, { d: random.normal([2, 3, 1, 3]) }], f: random.normal([4]) };
  },
  loss: (params) =>
    treeFlatten<tf.Tensor>(params)
      .map((x) => {
        const h = tf.reshape(tf.tensor1d(Array.from({ length: x.size }, (_, i) => 0.1 + 0.05 * i)), x.shape);
        return tf.sum(tf.add(tf.mul(tf.mul(h, 0.5), tf.square(x)), tf.sin(x)));
      })
      .reduce((a, b) => tf.add(a, b)),
};

function training(optimizer: LearnedOptimizer): UnrolledProblem {
  const objective = { metric: 'loss', split: 'train', over: 'mean' } as const;
  return unroll({ task: waves, optimizer, objective, horizon: 5 });
}

/** Training of a small task by the optimizer. */
export function trainingBy(make: Make<LearnedOptimizer>): Make<UnrolledProblem> {
  return async () => training(await make());
}
