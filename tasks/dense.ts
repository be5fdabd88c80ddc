/** Dense layers: what the multi-layer perceptrons, autoencoders and recurrent networks of this folder share. */
import * as tf from '@tensorflow/tfjs';
import type { KeyedRandom, TensorTree } from '../src/contracts';

const softplus = (x: tf.Tensor): tf.Tensor =>
  // max(x, 0) + ln(1 + e^−|x|): no exponential that overflows.
  tf.add(tf.maximum(x, 0), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));

/** Φ by tanh (Hendrycks, Gimpel 2016, §2), which is what `gelu` is in JAX, and so in published code. */
function geluTanh(x: tf.Tensor): tf.Tensor {
  const cubic = tf.mul(tf.mul(tf.mul(x, x), x), 0.044715);
  const inner = tf.mul(tf.add(x, cubic), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

/**
 * Activations by name. GELU is the exact one, x·Φ(x) (Hendrycks, Gimpel 2016); silu, also called swish, is x·sigmoid(x)
 * (Ramachandran et al. 2017); elu has α = 1 (Clevert et al. 2016); leaky-relu has slope 0.01 below 0 (Maas et al. 2013).
 */
export const ACTIVATIONS = {
  relu: (x: tf.Tensor) => tf.relu(x),
  tanh: (x: tf.Tensor) => tf.tanh(x),
  sigmoid: (x: tf.Tensor) => tf.sigmoid(x),
  gelu: (x: tf.Tensor) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  'gelu-tanh': geluTanh,
  silu: (x: tf.Tensor) => tf.mul(x, tf.sigmoid(x)),
  swish: (x: tf.Tensor) => tf.mul(x, tf.sigmoid(x)),
  softplus,
  elu: (x: tf.Tensor) => tf.where(tf.greater(x, 0), x, tf.expm1(tf.minimum(x, 0))),
  'leaky-relu': (x: tf.Tensor) => tf.where(tf.greater(x, 0), x, tf.mul(x, 0.01)),
} as const;
export type Activation = keyof typeof ACTIVATIONS;
export const ACTIVATION_NAMES = Object.keys(ACTIVATIONS) as [Activation, ...Activation[]];

/** Variance of a kernel's normal draws: LeCun et al. 1998 (1/fanIn), He et al. 2015 (2/fanIn), Glorot, Bengio 2010. */
const VARIANCES = {
  lecun: (fanIn: number) => 1 / fanIn,
  he: (fanIn: number) => 2 / fanIn,
  glorot: (fanIn: number, fanOut: number) => 2 / (fanIn + fanOut),
} as const;
export type Init = keyof typeof VARIANCES;
export const INIT_NAMES = Object.keys(VARIANCES) as [Init, ...Init[]];

export interface DenseLayer extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}

/**
 * A kernel [in, out], or [height, width, in, out] of a convolution, of normal draws: standard deviation of the named
 * initialisation, times `scale`. A convolution's fans count its taps.
 */
export function kernelOf(random: KeyedRandom, shape: readonly number[], init: Init, scale: number): tf.Tensor {
  const taps = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const [fanIn, fanOut] = shape.slice(-2).map((width) => taps * width);
  return random.normal([...shape], { std: scale * Math.sqrt(VARIANCES[init](fanIn, fanOut)) });
}

/** A layer between each two widths: {kernel [in, out], bias [out]}, biases zero. */
export function denseLayers(random: KeyedRandom, widths: readonly number[], init: Init, scale: number): DenseLayer[] {
  return widths.slice(1).map((out, i) => ({
    kernel: kernelOf(random, [widths[i], out], init, scale),
    bias: tf.zeros([out]),
  }));
}

/** xs [batch, …] through all layers; the activation stands between them, not after the last. */
export function denseForward(layers: readonly DenseLayer[], xs: tf.Tensor, activation: Activation): tf.Tensor {
  return layers.reduce((x, { kernel, bias }, i) => {
    const z = tf.add(tf.matMul(x as tf.Tensor2D, kernel as tf.Tensor2D), bias);
    return i + 1 < layers.length ? ACTIVATIONS[activation](z) : z;
  }, flattened(xs));
}

/** [batch, …] → [batch, numbers of a row]. */
export function flattened(xs: tf.Tensor): tf.Tensor {
  const [batch, ...rest] = xs.shape;
  return rest.length === 1 ? xs : tf.reshape(xs, [batch, rest.reduce((a, b) => a * b, 1)]);
}
