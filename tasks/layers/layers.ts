/** Which layers of tf.layers a task can hold, and what has to be done about those that draw or remember. */
import * as tf from '@tensorflow/tfjs';
import { ConfigurationError, type KeyedRandom } from '../../src/contracts';
import type { InitializerConfig } from './initializers';

type LayerConfig = Readonly<Record<string, unknown>>;

/** Layers that are functions of their weights and inputs. */
const PLAIN_LAYERS: readonly string[] = [
  ...['InputLayer', 'Dense', 'Activation', 'Flatten', 'Reshape', 'Permute', 'RepeatVector', 'Embedding'],
  ...['ReLU', 'LeakyReLU', 'ELU', 'ThresholdedReLU', 'PReLU', 'Softmax', 'LayerNormalization'],
  ...['Add', 'Multiply', 'Average', 'Maximum', 'Minimum', 'Concatenate', 'Dot'],
  ...['Conv1D', 'Conv2D', 'Conv2DTranspose', 'DepthwiseConv2D', 'SeparableConv2D'],
  ...['MaxPooling1D', 'MaxPooling2D', 'AveragePooling1D', 'AveragePooling2D'],
  ...['GlobalMaxPooling1D', 'GlobalMaxPooling2D', 'GlobalAveragePooling1D', 'GlobalAveragePooling2D'],
  ...['ZeroPadding2D', 'Cropping2D', 'UpSampling2D'],
];

/** Their averages are the task's state. */
const NORMALISING_LAYERS: readonly string[] = ['BatchNormalization'];

/** Run step by step over their sequence; they may drop inputs and states out, with masks that one sequence shares. */
const RECURRENT_LAYERS: readonly string[] = ['SimpleRNN', 'LSTM', 'GRU'];

function kept(x: tf.Tensor, rate: number, random: KeyedRandom, noiseShape: readonly number[] = x.shape): tf.Tensor {
  if (!(rate > 0 && rate < 1)) return x;
  const draws = random.uniform(noiseShape);
  return tf.mul(x, tf.mul(tf.cast(tf.greaterEqual(draws, rate), 'float32'), 1 / (1 - rate)));
}

/** Layers that draw numbers in training: what each does to its input, from a keyed generator. */
const NOISE_LAYERS: Readonly<Record<string, (x: tf.Tensor, config: LayerConfig, random: KeyedRandom) => tf.Tensor>> = {
  Dropout: (x, config, random) => {
    const noiseShape = (config.noiseShape ?? x.shape) as readonly (number | null)[];
    return kept(
      x,
      Number(config.rate),
      random,
      noiseShape.map((extent, axis) => extent ?? x.shape[axis]),
    );
  },
  // Whole channels at a time.
  SpatialDropout1D: (x, config, random) => kept(x, Number(config.rate), random, [x.shape[0], 1, x.shape[2]!]),
  GaussianNoise: (x, config, random) => tf.add(x, random.normal(x.shape, { std: Number(config.stddev) })),
  GaussianDropout: (x, config, random) => {
    const rate = Number(config.rate);
    if (!(rate > 0 && rate < 1)) return x;
    return tf.mul(x, random.normal(x.shape, { mean: 1, std: Math.sqrt(rate / (1 - rate)) }));
  },
};

const KNOWN_LAYERS: readonly string[] = [
  ...PLAIN_LAYERS,
  ...NORMALISING_LAYERS,
  ...RECURRENT_LAYERS,
  ...Object.keys(NOISE_LAYERS),
];

/** @throws ConfigurationError naming the layers that a task cannot hold. */
export function checkLayers(layers: readonly tf.layers.Layer[]): void {
  const unsupported = layers.filter((layer) => !KNOWN_LAYERS.includes(layer.getClassName()));
  if (unsupported.length > 0) {
    throw new ConfigurationError(
      'model',
      `layers among ${KNOWN_LAYERS.join(', ')}`,
      unsupported.map((layer) => `"${layer.name}" (${layer.getClassName()})`).join(', '),
      'Write the network as a task of your own, with init and loss as functions.',
    );
  }
  for (const layer of layers) {
    const config = layer.getConfig() as LayerConfig;
    for (const [key, value] of Object.entries(config)) {
      if (/constraint$/i.test(key) && Boolean(value)) {
        throw new ConfigurationError(`model.${layer.name}.${key}`, 'no constraint', JSON.stringify(value));
      }
    }
    if (config.stateful === true) {
      throw new ConfigurationError(
        `model.${layer.name}.stateful`,
        'false: every batch starts its sequences from zeros',
        'true',
      );
    }
    // TensorFlow.js reads both in training, whether they are there or not.
    for (const part of ['scale', 'center']) {
      if (NORMALISING_LAYERS.includes(layer.getClassName()) && config[part] === false) {
        throw new ConfigurationError(
          `model.${layer.name}.${part}`,
          'true: TensorFlow.js cannot train batch normalisation without it',
          'false',
        );
      }
    }
  }
}

/** Whether the layer's weights that are not trained are averages that training moves. */
export function movesAverages(layer: tf.layers.Layer): boolean {
  return NORMALISING_LAYERS.includes(layer.getClassName());
}

/** How a weight of the layer is initialised, by the layer's configuration; undefined if that does not say. */
export function initializerOf(layer: tf.layers.Layer, weight: string): InitializerConfig | undefined {
  const config = layer.getConfig() as LayerConfig;
  // depthwise_kernel → depthwiseInitializer, moving_mean → movingMeanInitializer, kernel → kernelInitializer.
  const stem = weight.replace(/(.)_kernel$/, '$1').replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  const initializer = config[`${stem}Initializer`] as InitializerConfig | undefined;
  return config.unitForgetBias === true && weight === 'bias' && initializer !== undefined
    ? { className: 'UnitForgetBias', config: { initializer } }
    : initializer;
}

/** The parts of a recurrent cell of tf.layers that make its masks; not in its types. */
interface Cell {
  dropoutMask?: tf.Tensor | tf.Tensor[] | null;
  recurrentDropoutMask?: tf.Tensor | tf.Tensor[] | null;
}

/** Sets a property of an object for the time of a call. */
export type Shadow = (object: object, property: string, value: unknown) => void;

/**
 * Makes the layer draw from `random` for the time of a call, or not at all without it. What it returns is to be called in
 * the end.
 */
export function keyed(layer: tf.layers.Layer, random: KeyedRandom | undefined, shadow: Shadow): () => void {
  const name = layer.getClassName();
  if (Object.hasOwn(NOISE_LAYERS, name)) {
    const noise = NOISE_LAYERS[name];
    const config = layer.getConfig();
    shadow(layer, 'call', (inputs: tf.Tensor | tf.Tensor[]) => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      return random === undefined ? x : noise(x, config, random);
    });
  }
  if (!RECURRENT_LAYERS.includes(name)) return () => undefined;
  const { cell } = layer as unknown as { readonly cell: Cell };
  let drawn = 0;
  shadow(cell, 'dropoutFunc', (ones: tf.Tensor, rate: number) => kept(ones, rate, random!.foldIn(drawn++)));
  // A mask is made if there is none; the model's own stay for its next call to dispose.
  shadow(cell, 'dropoutMask', null);
  shadow(cell, 'recurrentDropoutMask', null);
  return () => {
    for (const mask of [cell.dropoutMask, cell.recurrentDropoutMask]) if (mask) tf.dispose(mask);
  };
}
