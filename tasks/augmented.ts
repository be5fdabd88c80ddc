/** Tasks made harder at random, so that what is meta-trained on few tasks holds on more (Metz et al. 2022). */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  ConfigurationError,
  treeFlatten,
  treeMap,
  treeUnflatten,
  type Batch,
  type ConfigValue,
  type KeyedRandom,
  type Registrar,
  type Task,
  type TensorTree,
} from '../src/contracts';
import { checkRange, rangeSchema, type Range } from './ranges';
import { checkPositiveInteger, checkPositiveNumber } from './with-data';

export interface AugmentOptions {
  /** Bounds of each tensor's factor c. */
  readonly reparametrise?: Range;
  /** Fewest rows of a batch that count. */
  readonly smallestBatch?: number;
  /** Standard deviation of the gradients' noise, in units of the root mean square of each tensor's gradient. */
  readonly gradientNoise?: number;
}

interface AugmentedState extends Record<string, TensorTree> {
  /** One factor a tensor of the params, in their order; none without `reparametrise`. */
  scales: tf.Tensor[];
  // And `rows` with `smallestBatch`, `task` if the task has a state of its own.
}

/** What an augmented task draws on; folded into its random, so that the task inside shares no number with it. */
const RANDOM = { task: 0, own: 1 } as const;
const OWN = { scales: 0, rows: 1 } as const;

/** Log-uniform on [low, high). */
function logUniform(random: KeyedRandom, low: number, high: number): tf.Tensor {
  return tf.exp(random.uniform([], { low: Math.log(low), high: Math.log(high) }));
}

/** An integer k of low … high with probability ln((k+1)/k) / ln((high+1)/low): ⌊x⌋ of a log-uniform x in [low, high+1). */
function logUniformInteger(random: KeyedRandom, low: number, high: number): tf.Tensor {
  const drawn = tf.floor(logUniform(random, low, high + 1));
  // exp rounds: x may come out a last place below low, or at high+1.
  return tf.cast(tf.minimum(tf.maximum(drawn, low), high), 'int32');
}

/** Row i becomes row i mod `rows`. */
function firstRows({ xs, ys }: Batch, rows: tf.Tensor): Batch {
  const [batchSize] = xs.shape;
  const index = tf.mod<tf.Tensor1D>(tf.range(0, batchSize, 1, 'int32'), rows);
  return { xs: tf.gather(xs, index), ys: tf.gather(ys, index) };
}

/** g + std·rms(g)·z, z standard normal; a gradient of zeros stays, and has a derivative. */
function noisy(gradient: tf.Tensor, std: number, random: KeyedRandom): tf.Tensor {
  const square = tf.mean(tf.square(gradient));
  const isZero = tf.equal(square, 0);
  const rms = tf.where(isZero, tf.zerosLike(square), tf.sqrt(tf.where(isZero, tf.onesLike(square), square)));
  return tf.add(gradient, tf.mul(random.normal(gradient.shape), tf.mul(rms, std)));
}

/**
 * A task whose episodes differ in more than their starts. Both partners of an antithetic pair have the same draws.
 *
 * - `reparametrise: [low, high]`. Each tensor w of the params has a factor c, log-uniform on [low, high), fixed for the
 *   episode; what the optimizer trains is v = w/c, and the task has w = c·v. The loss of the start is that of w as before, the
 *   gradient by v is c times that by w, and gradient descent at rate α moves w as it would at c²α: tensors differ in how
 *   sensitive they are. (Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up"; the level `tensor` of
 *   `ReparamWeights` in learned_optimization, whose range is [0.01, 100].)
 * - `smallestBatch: n`. Each episode trains on the first b rows of its batches of B, b an integer of n … B with probability
 *   ln((b+1)/b)/ln((B+1)/n). Shapes are fixed, so that row i is row i mod b: where b divides B, the loss is the mean over b rows;
 *   elsewhere the first B mod b rows count once more than the others. A step costs what it did. Objectives and metrics have
 *   all B rows.
 * - `gradientNoise: s`. The optimizer is given g + s·rms(g)·z for each tensor's gradient g, z standard normal and fresh at every
 *   step, rms(g) the root of the mean of g². The loss stays as it is.
 *
 * The task has state (`initState`) for the first two: it trains in `unroll`, and its loss asks for that state.
 * @throws ConfigurationError for a range or number that cannot be, batches without a data set, or nothing to do
 */
export function augmented(task: Task, options: AugmentOptions): Task {
  const { reparametrise, smallestBatch, gradientNoise } = options;
  if (reparametrise !== undefined) checkRange('task.reparametrise', reparametrise);
  if (gradientNoise !== undefined) checkPositiveNumber('task.gradientNoise', gradientNoise);
  if (smallestBatch !== undefined) {
    checkPositiveInteger('task.smallestBatch', smallestBatch);
    const { batchSize } = task;
    if (batchSize === undefined || smallestBatch > batchSize) {
      const most = batchSize === undefined ? 'batches (a task with a data set)' : `at most ${String(batchSize)} rows`;
      throw new ConfigurationError('task.smallestBatch', most, String(smallestBatch));
    }
  }
  if (reparametrise === undefined && smallestBatch === undefined && gradientNoise === undefined) {
    throw new ConfigurationError('task', 'one or more of reparametrise, smallestBatch and gradientNoise', 'none');
  }
  const drawn = gradientNoise === undefined ? task : withNoise(task, gradientNoise);
  const named = { ...drawn, name: `augmented ${task.name}` };
  return reparametrise === undefined && smallestBatch === undefined ? named : withState(named, options);
}

function withNoise(task: Task, std: number): Task {
  return {
    ...task,
    gradients: (gradients, random) => {
      const given = task.gradients?.(gradients, random.foldIn(RANDOM.task)) ?? gradients;
      const own = random.foldIn(RANDOM.own);
      return treeMap<tf.Tensor, tf.Tensor>(given, (gradient) => noisy(gradient, std, own));
    },
  };
}

function withState(task: Task, { reparametrise, smallestBatch }: AugmentOptions): Task {
  const scalesOf = (params: TensorTree, random: KeyedRandom): tf.Tensor[] => {
    if (reparametrise === undefined) return [];
    const own = random.foldIn(RANDOM.own).foldIn(OWN.scales);
    return treeFlatten<tf.Tensor>(params).map(() => logUniform(own, ...reparametrise));
  };
  const scaled = (
    params: TensorTree,
    scales: readonly tf.Tensor[],
    by: (x: tf.Tensor, c: tf.Tensor) => tf.Tensor,
  ): TensorTree => {
    if (scales.length === 0) return params;
    const leaves = treeFlatten<tf.Tensor>(params).map((leaf, i) => by(leaf, scales[i]));
    return treeUnflatten<tf.Tensor>(params, leaves);
  };
  /** The task's own params and state. */
  const inside = (params: TensorTree, state: TensorTree | undefined) => {
    if (state === undefined) throw new ConfigurationError('task', `the state of the task "${task.name}"`, 'none');
    const { scales, rows, task: own } = state as AugmentedState;
    return { params: scaled(params, scales, tf.mul), rows: rows as tf.Tensor | undefined, own };
  };
  return {
    ...task,
    init: (random) => {
      const params = task.init(random.foldIn(RANDOM.task));
      return scaled(params, scalesOf(params, random), tf.div);
    },
    initState: (params, random, asInit): AugmentedState => {
      const scales = scalesOf(params, asInit);
      const own = random.foldIn(RANDOM.own);
      return {
        scales,
        ...(smallestBatch !== undefined && {
          rows: logUniformInteger(own.foldIn(OWN.rows), smallestBatch, task.batchSize!),
        }),
        ...(task.initState !== undefined && {
          task: task.initState(scaled(params, scales, tf.mul), random.foldIn(RANDOM.task), asInit.foldIn(RANDOM.task)),
        }),
      };
    },
    loss: (params, batch, random, state) => {
      const { params: weights, own } = inside(params, state);
      return task.loss(weights, batch, random, own);
    },
    lossWithState: (params, batch, random, state) => {
      const { params: weights, rows, own } = inside(params, state);
      const some = rows === undefined ? batch : firstRows(batch, rows);
      if (task.lossWithState === undefined) return { loss: task.loss(weights, some, random), state };
      const after = task.lossWithState(weights, some, random, own);
      return { loss: after.loss, state: { ...(state as AugmentedState), task: after.state } };
    },
    ...(task.metrics !== undefined && {
      metrics: (params: TensorTree, batch: Batch, state?: TensorTree) => {
        const { params: weights, own } = inside(params, state);
        return task.metrics!(weights, batch, own);
      },
    }),
  };
}

/** A task in the options of another: its name, or `{name, …options}`. */
const innerTask = z.custom<ConfigValue>(
  (config) =>
    typeof config === 'string' ||
    (typeof config === 'object' && config !== null && 'name' in config && typeof config.name === 'string'),
  { error: 'a task: its name, or {name, …}' },
);

export function registerAugmented({ task }: Registrar): void {
  task('augmented', {
    description: 'another task with rescaled weights, smaller batches or noisy gradients, drawn for each episode',
    options: z.strictObject({
      task: innerTask,
      reparametrise: rangeSchema().optional(),
      smallestBatch: z.int().positive().optional(),
      gradientNoise: z.number().positive().optional(),
    }),
    create: async ({ task: inner, ...options }, context) =>
      augmented(await context.create('task', inner, 'task'), options),
  });
}
