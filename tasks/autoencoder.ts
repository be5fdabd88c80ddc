import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { Registrar } from '../src/contracts';
import {
  ACTIVATION_NAMES,
  ACTIVATIONS,
  denseForward,
  denseLayers,
  flattened,
  INIT_NAMES,
  type Activation,
  type DenseLayer,
  type Init,
} from './dense';
import { checkPositiveInteger, checkPositiveNumber, withData, type MaybeLoading, type TaskOn } from './with-data';

export interface AutoencoderOptions<D extends MaybeLoading = MaybeLoading> {
  /** Any data set; inputs are flattened, targets are not looked at. */
  readonly data: D;
  /** Widths of all layers between input and output, the code among them; [64, 16, 64] by default. */
  readonly hidden?: readonly number[];
  readonly activation?: Activation;
  /** After the last layer: `linear` (for standardised inputs) by default; `sigmoid` for inputs from 0 to 1. */
  readonly output?: Activation | 'linear';
  readonly init?: Init;
  /** Factor of the initialisation's standard deviation; 1 by default. */
  readonly initScale?: number;
  readonly batchSize?: number;
}

const DEFAULTS = {
  hidden: [64, 16, 64] as readonly number[],
  activation: 'relu',
  output: 'linear',
  init: 'lecun',
  initScale: 1,
  batchSize: 100,
} as const;

/**
 * A multi-layer perceptron that learns to give back its input: mean squared error per number of the input, as the data set
 * decodes it. Parameters as of `mlp`.
 * @throws ConfigurationError for widths or a batch size that are no positive integers, or a scale that is not positive.
 */
export function autoencoder<D extends MaybeLoading>(options: AutoencoderOptions<D>): TaskOn<D> {
  const { hidden, activation, output, init, initScale, batchSize } = { ...DEFAULTS, ...options };
  hidden.forEach((width, i) => checkPositiveInteger(`task.hidden.${i}`, width));
  checkPositiveNumber('task.initScale', initScale);
  checkPositiveInteger('task.batchSize', batchSize);
  return withData(options.data, (dataset) => {
    const inputs = dataset.inputShape.reduce((a, b) => a * b, 1);
    const widths = [inputs, ...hidden, inputs];
    return {
      name: 'autoencoder',
      dataset,
      batchSize,
      init: (random) => denseLayers(random, widths, init, initScale),
      loss: (params, { xs }) => {
        const wanted = tf.cast(flattened(xs), 'float32');
        const last = denseForward(params as unknown as DenseLayer[], wanted, activation);
        return tf.mean(tf.square(tf.sub(output === 'linear' ? last : ACTIVATIONS[output](last), wanted)));
      },
    };
  });
}

export function registerAutoencoder({ task }: Registrar): void {
  const width = z.int().positive();
  task('autoencoder', {
    description: 'multi-layer perceptron that gives back its input: mean squared error per pixel',
    options: z.strictObject({
      hidden: z
        .array(width)
        .min(1)
        .default([...DEFAULTS.hidden]),
      activation: z.enum(ACTIVATION_NAMES).default(DEFAULTS.activation),
      output: z.enum(['linear', ...ACTIVATION_NAMES]).default(DEFAULTS.output),
      init: z.enum(INIT_NAMES).default(DEFAULTS.init),
      initScale: z.number().positive().default(DEFAULTS.initScale),
      batchSize: width.default(DEFAULTS.batchSize),
    }),
    create: async (options, context) => autoencoder({ ...options, data: await context.data() }),
  });
}
