import type * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { ConfigObject, ConfigValue, Dataset, Registrar, Task, TensorTree } from '../src/contracts';
import { accuracy, crossEntropy } from './classification';
import {
  ACTIVATION_NAMES,
  denseForward,
  denseLayers,
  INIT_NAMES,
  type Activation,
  type DenseLayer,
  type Init,
} from './dense';
import { mlpSampler, rangeOptions, type MlpRanges } from './mlp-family';
import {
  checkPositiveInteger,
  checkPositiveNumber,
  classesOf,
  withData,
  type MaybeLoading,
  type TaskOn,
} from './with-data';

export type MlpActivation = Activation;
export type MlpInit = Init;

export interface MlpOptions<D extends MaybeLoading = MaybeLoading> {
  /** Any data set with class labels; inputs are flattened. */
  readonly data: D;
  /** Widths of the hidden layers; [] is softmax regression. */
  readonly hidden?: readonly number[];
  readonly activation?: MlpActivation;
  readonly init?: MlpInit;
  /** Factor of the initialisation's standard deviation; 1 by default. */
  readonly initScale?: number;
  readonly batchSize?: number;
}

const DEFAULTS = {
  hidden: [32] as readonly number[],
  activation: 'relu',
  init: 'lecun',
  initScale: 1,
  batchSize: 100,
} as const;

/**
 * A multi-layer perceptron on class labels: cross-entropy loss, metric `accuracy`. Parameters: an array of layers
 * {kernel [in, out], bias [out]}; kernels are normal with the variance that `init` names (LeCun's by default, which the
 * reruns of the papers use for every activation), biases zero.
 * @throws ConfigurationError for widths or a batch size that are no positive integers, or a data set without labels.
 */
export function mlp<D extends MaybeLoading>(options: MlpOptions<D>): TaskOn<D> {
  const { hidden, activation, init, initScale, batchSize } = { ...DEFAULTS, ...options };
  hidden.forEach((width, i) => checkPositiveInteger(`task.hidden.${i}`, width));
  checkPositiveNumber('task.initScale', initScale);
  checkPositiveInteger('task.batchSize', batchSize);
  return withData(options.data, (dataset) => {
    const inputs = dataset.inputShape.reduce((a, b) => a * b, 1);
    const widths = [inputs, ...hidden, classesOf('mlp', dataset)];
    const logits = (params: TensorTree, xs: tf.Tensor): tf.Tensor =>
      denseForward(params as unknown as DenseLayer[], xs, activation);
    return {
      name: 'mlp',
      dataset,
      batchSize,
      init: (random) => denseLayers(random, widths, init, initScale),
      loss: (params, { xs, ys }) => crossEntropy(logits(params, xs), ys),
      metrics: (params, { xs, ys }) => ({ accuracy: accuracy(logits(params, xs), ys) }),
    };
  });
}

/** `mlp` without hidden layers: multinomial logistic regression. */
export function logisticRegression<D extends MaybeLoading>(
  options: Omit<MlpOptions<D>, 'hidden' | 'activation'>,
): TaskOn<D> {
  return withData(options.data, (data) => ({
    ...mlp({ ...options, data, hidden: [] }),
    name: 'logistic-regression',
  }));
}

export interface TaskFamilyOptions extends MlpRanges {
  /** Data sets with class labels, one of which each task is on. */
  readonly data: readonly Dataset[];
}

/** Tasks of one kind at random, for meta-training on several at once. */
export interface SampledTasks {
  /** The same task for the same seed, an integer of at least 0. */
  sample(seed: number): Task;
}

/**
 * Multi-layer perceptrons whose width, depth, activation, initialisation and its scale, batch size and data set are drawn.
 * @throws ConfigurationError naming the field, for a range that holds nothing, an empty list, or data without labels
 */
export function taskFamily({ data, ...ranges }: TaskFamilyOptions): SampledTasks {
  const sampler = mlpSampler(ranges, data);
  for (const dataset of data) classesOf('mlp', dataset);
  return {
    sample: (seed) => {
      const { shape, data: dataset } = sampler(seed);
      return mlp({ ...shape, data: dataset });
    },
  };
}

/** A data set in the options of a family: its name, or `{name, …options}`. */
const dataConfig = z.union([z.string().min(1), z.looseObject({ name: z.string().min(1) })], {
  error: 'a data set: its name, or {name, …}',
});

export function registerMlp({ task, family }: Registrar): void {
  const width = z.int().positive();
  const shared = {
    init: z.enum(INIT_NAMES).default(DEFAULTS.init),
    initScale: z.number().positive().default(DEFAULTS.initScale),
    batchSize: width.default(DEFAULTS.batchSize),
  };
  task('mlp', {
    description: 'multi-layer perceptron on a data set with class labels',
    options: z.strictObject({
      hidden: z.array(width).default([...DEFAULTS.hidden]),
      activation: z.enum(ACTIVATION_NAMES).default(DEFAULTS.activation),
      ...shared,
    }),
    create: async (options, context) => mlp({ ...options, data: await context.data() }),
  });
  task('logistic-regression', {
    description: 'mlp without hidden layers',
    options: z.strictObject(shared),
    create: async (options, context) => logisticRegression({ ...options, data: await context.data() }),
  });
  family('mlp', {
    description: 'multi-layer perceptrons of drawn width, depth, activation, initialisation, batch size and data set',
    options: z.strictObject({ ...rangeOptions, data: z.array(dataConfig).min(1).optional() }),
    create: ({ data, ...ranges }) => {
      const sampler = mlpSampler<ConfigValue | undefined>(ranges, (data as ConfigValue[] | undefined) ?? [undefined]);
      return {
        sample: (seed) => {
          const { shape, data: dataset } = sampler(seed);
          return {
            task: { name: 'mlp', ...(shape as unknown as ConfigObject) },
            ...(dataset === undefined ? {} : { data: dataset }),
          };
        },
      };
    },
  });
}
