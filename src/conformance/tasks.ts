/** Properties of tasks. What training by SGD makes of one has the properties of problems beside these. */
import * as tf from '@tensorflow/tfjs';
import {
  treeLeaves,
  treeMap2,
  treeUnflatten,
  type Batch,
  type DataColumn,
  type LearnedOptimizer,
  type Task,
  type TensorTree,
  type UnrolledProblem,
} from '../contracts';
import { unroll } from '../outer/combinators/unroll';
import { EagerRandom, seedKey } from '../random';
import { firstNamedDifference, KEYED, PropertyError, type Make, type Property } from './property';
import { lossAndGradient, runnerOf } from './run-problem';

/** The first rows of a task's training split, made anew in every trace. Four: a mean's 1/4 is exact in float32, as constants are. */
export function batchOf(task: Task): Batch {
  if (task.dataset === undefined) return { xs: tf.tensor([], [0]), ys: tf.tensor([], [0]) };
  const rowsOf = ({ table, decode }: DataColumn): tf.Tensor => {
    const shape = [Math.min(4, table.rows), ...table.rowShape];
    const count = shape.reduce((a, b) => a * b, 1);
    const isInteger = decode === undefined && table.dtype !== 'float32';
    const { scale, offset } = decode ?? { scale: 1, offset: 0 };
    const values = Array.from(table.values.subarray(0, count), (x) => x * scale + offset);
    return tf.tensor(values, shape, isInteger ? 'int32' : 'float32');
  };
  const { xs, ys } = task.dataset.splits.train;
  return { xs: rowsOf(xs), ys: rowsOf(ys) };
}

export interface ParameterLeaf {
  readonly path: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Fresh parameters: their structure (the tensors are the caller's), and their numbers in its order. */
export function parametersOf(task: Task, seed = 0): { tree: TensorTree; leaves: ParameterLeaf[] } {
  const tree = task.init(new EagerRandom(seedKey(seed)));
  const leaves = treeLeaves<tf.Tensor>(tree).map(({ path, value }) => ({
    path,
    dtype: value.dtype,
    shape: [...value.shape],
    values: Array.from(value.dataSync()),
  }));
  return { tree, leaves };
}

/** Of a task that has one: as it is beside the params of the same seed. */
export function stateOf(task: Task, params: TensorTree, seed = 0): TensorTree | undefined {
  return task.initState?.(params, new EagerRandom(seedKey(seed + 1)), new EagerRandom(seedKey(seed)));
}

const keyDecidesInit: Property<Make<Task>> = {
  name: 'init gives float32 leaves, which the key decides',
  first: true,
  check: async (make) => {
    const [one, again] = [await make(), await make()].map((task) => {
      let leaves: ParameterLeaf[] = [];
      tf.tidy(() => {
        ({ leaves } = parametersOf(task));
      });
      return leaves;
    });
    const wrong = one.find(({ dtype }) => dtype !== 'float32');
    if (wrong !== undefined) {
      const advice = 'Parameters are float32; what is counted goes into initState.';
      throw new PropertyError('float32 leaves of init', `"${wrong.path}" of ${wrong.dtype}`, advice);
    }
    const named = (leaves: readonly ParameterLeaf[]): Record<string, readonly number[]> =>
      Object.fromEntries(leaves.map(({ path, shape, values }) => [`${path} [${shape.join(', ')}]`, values]));
    const difference = firstNamedDifference(named(one), named(again));
    if (difference !== undefined) throw new PropertyError('the same parameters by the same key', difference, KEYED);
    return undefined;
  },
};

const scalarLoss: Property<Make<Task>> = {
  name: 'the loss is a finite scalar, and leaks no tensors',
  first: true,
  check: async (make) => {
    const task = await make();
    const before = tf.memory().numTensors;
    let got: { shape: readonly number[]; dtype: string; value: number } | undefined;
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      const loss = task.loss(params, batchOf(task), new EagerRandom(seedKey(1)), stateOf(task, params));
      got = { shape: loss.shape, dtype: loss.dtype, value: loss.dataSync()[0] };
    });
    const { shape, dtype, value } = got!;
    if (shape.length > 0 || dtype !== 'float32') {
      const advice = 'Take the mean over the rows: tf.mean(…).';
      throw new PropertyError('a loss of shape [], float32', `shape [${shape.join(', ')}], ${dtype}`, advice);
    }
    if (!Number.isFinite(value)) {
      const advice = 'Look for a logarithm or root of 0, a division by 0, or a start that is too far out.';
      throw new PropertyError('a finite loss of fresh parameters', String(value), advice);
    }
    const left = tf.memory().numTensors - before;
    if (left !== 0) {
      const advice = 'Make tensors within the functions, or once for all before; do not keep them with tf.keep.';
      throw new PropertyError('no tensors left after tf.tidy', String(left), advice);
    }
    return undefined;
  },
};

/** Every number of small tasks; of large ones some of every leaf. */
const ALL = 1000;
const SOME = 8;
const STEP = 1e-5;

const gradientOfLoss: Property<Make<Task>> = {
  name: 'the gradient of the loss is that of central differences',
  check: async (make) => {
    const task = await make();
    const { tree, leaves } = parametersOf(task);
    // p00, p01 …: names whose order is that of the tree.
    const name = (i: number): string => `p${String(i).padStart(5, '0')}`;
    const named = <T>(values: readonly T[]): Record<string, T> =>
      Object.fromEntries(values.map((value, i) => [name(i), value]));
    const unflatten = (given: Readonly<Record<string, tf.Tensor>>): TensorTree =>
      treeUnflatten(
        tree,
        leaves.map((_, i) => given[name(i)]),
      );
    const state = stateOf(task, tree);
    // One key for every evaluation: dropout keeps its masks.
    const random = new EagerRandom(seedKey(5));
    const { gradient } = lossAndGradient(
      named(leaves),
      (params) => task.loss(params, batchOf(task), random.foldIn(0), state),
      unflatten,
    );
    const run = runnerOf({
      name: 'loss',
      horizon: 1,
      initTheta: () => named(leaves.map(({ shape, values }) => tf.tensor([...values], [...shape]))),
      initState: () => ({}),
      step: (theta, empty) => ({
        state: empty,
        loss: task.loss(unflatten(theta as Record<string, tf.Tensor>), batchOf(task), random.foldIn(0), state),
      }),
    });
    const scale = Math.max(0, ...leaves.map((_, i) => gradient[name(i)].reduce((m, g) => Math.max(m, Math.abs(g)), 0)));
    if (scale === 0) {
      throw new PropertyError(
        'a gradient by the parameters',
        'zeros everywhere',
        'round, argMax, comparisons and casts to integers have no derivative; take a smooth loss, and those as metrics.',
      );
    }
    const total = leaves.reduce((sum, { values }) => sum + values.length, 0);
    const at = leaves.map(({ values }) => values);
    const lossAt = (leaf: number, k: number, by: number): number =>
      run({
        steps: 1,
        theta: at.map((x, i) => (i === leaf ? x.map((y, j) => (j === k ? y + by : y)) : x)),
      }).losses[0];
    leaves.forEach(({ path, values }, leaf) => {
      const stride = total <= ALL ? 1 : Math.max(1, Math.ceil(values.length / SOME));
      for (let k = 0; k < values.length; k += stride) {
        const difference = (lossAt(leaf, k, STEP) - lossAt(leaf, k, -STEP)) / (2 * STEP);
        const got = gradient[name(leaf)][k];
        // Truncation h²f'''/6 and rounding 2⁻⁵³/h stay below 1e-9 for losses of size 1; constants of derivative rules (2/√π
        // of erf) are float32, 2⁻²⁴ off.
        if (!(Math.abs(got - difference) < 1e-9 * Math.max(1, scale) + 2 ** -23 * scale)) {
          const where = `"${path}", number ${k}`;
          throw new PropertyError(
            `the slope of central differences, ${difference.toPrecision(8)} (${where})`,
            got.toPrecision(8),
            'Look for jumps in the loss, for a custom gradient, and for numbers that are not keyed.',
          );
        }
      }
    });
    tf.dispose(tree as tf.TensorContainer);
    return undefined;
  },
};

const finiteMetrics: Property<Make<Task>> = {
  name: 'metrics are finite scalars',
  check: async (make) => {
    const task = await make();
    if (task.metrics === undefined) return 'it has none';
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      for (const [metric, tensor] of Object.entries(
        task.metrics?.(params, batchOf(task), stateOf(task, params)) ?? {},
      )) {
        const value = tensor.dataSync()[0];
        if (tensor.shape.length > 0 || !Number.isFinite(value)) {
          const got = tensor.shape.length > 0 ? `shape [${tensor.shape.join(', ')}]` : String(value);
          throw new PropertyError(
            `a finite scalar for metric "${metric}"`,
            got,
            'Take the mean over the rows: tf.mean(…).',
          );
        }
      }
    });
    return undefined;
  },
};

export const TASK_PROPERTIES: readonly Property<Make<Task>>[] = [
  keyDecidesInit,
  scalarLoss,
  gradientOfLoss,
  finiteMetrics,
];

/** SGD with one learned number, of the checks' own: what tasks meet here, whatever is registered. */
const plainSgd: LearnedOptimizer = {
  name: 'plain SGD',
  initTheta: () => ({ logRate: tf.scalar(Math.log(1e-3)) }),
  optimizer: (theta) => ({
    init: () => ({}),
    update: ({ params, gradients, state }) => {
      const rate = tf.exp((theta as { logRate: tf.Tensor }).logRate);
      const moved = treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(params, gradients, (p, g) => tf.sub(p, tf.mul(rate, g)));
      return { params: moved, state };
    },
  }),
};

/** Training of a task by SGD. */
export function trainingOf(make: Make<Task>): Make<UnrolledProblem> {
  return async () =>
    unroll({
      task: await make(),
      optimizer: plainSgd,
      objective: { metric: 'loss', split: 'train', over: 'mean' },
      horizon: 5,
    });
}
