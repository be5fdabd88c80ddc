/**
 * The initialisers of tf.layers, drawn from a key instead of the global generator. `seed`s of the configuration are
 * ignored: the episode's key decides.
 */
import * as tf from '@tensorflow/tfjs';
import { ConfigurationError, type KeyedRandom } from '../../src/contracts';

/** What `layer.getConfig()` says of an initialiser. */
export interface InitializerConfig {
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>>;
}

type Shape = readonly number[];
type Initializer = (config: Readonly<Record<string, unknown>>, shape: Shape, random: KeyedRandom) => tf.Tensor;

/** P(|z| < 2) of a standard normal z: erf(√2). */
const WITHIN_TRUNCATION = 0.9544997361036416;

/**
 * Coefficients of erf⁻¹(x)/x in powers of w − 2.5, w = −ln(1 − x²) < 5, highest first (Giles 2010, "Approximating the
 * erfinv function", single precision). |x| ≤ erf(√2) has w < 2.5.
 */
const ERFINV = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164,
  0.246640727, 1.50140941,
];

/** Normal draws of mean 0 and deviation 1 conditioned on |z| < 2, by inversion: one uniform draw each, no rejection. */
export function truncatedNormal(shape: Shape, random: KeyedRandom): tf.Tensor {
  const x = random.uniform(shape, { low: -WITHIN_TRUNCATION, high: WITHIN_TRUNCATION });
  const w = tf.sub(tf.neg(tf.log(tf.sub(1, tf.square(x)))), 2.5);
  const [highest, ...rest] = ERFINV;
  const ratio = rest.reduce<tf.Tensor>((sum, c) => tf.add(tf.mul(sum, w), c), tf.fill([...shape], highest));
  return tf.mul(tf.mul(ratio, x), Math.SQRT2);
}

function numberOf(config: Readonly<Record<string, unknown>>, key: string, fallback: number): number {
  const value = config[key] ?? fallback;
  if (typeof value !== 'number') throw new ConfigurationError(`initializer.${key}`, 'a number', JSON.stringify(value));
  return value;
}

/** Fans of a weight, as tf.layers counts them; convolution kernels end in [inputs, outputs]. */
function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const size = shape.reduce((a, b) => a * b, 1);
  if (shape.length < 2) return { fanIn: Math.sqrt(size), fanOut: Math.sqrt(size) };
  const [inputs, outputs] = shape.slice(-2);
  const field = size / (inputs * outputs);
  return { fanIn: inputs * field, fanOut: outputs * field };
}

const INITIALIZERS: Readonly<Record<string, Initializer>> = {
  Zeros: (_, shape) => tf.zeros([...shape]),
  Ones: (_, shape) => tf.ones([...shape]),
  Constant: (config, shape) => tf.fill([...shape], numberOf(config, 'value', 0)),
  RandomNormal: (config, shape, random) =>
    random.normal(shape, { mean: numberOf(config, 'mean', 0), std: numberOf(config, 'stddev', 0.05) }),
  RandomUniform: (config, shape, random) =>
    random.uniform(shape, { low: numberOf(config, 'minval', -0.05), high: numberOf(config, 'maxval', 0.05) }),
  TruncatedNormal: (config, shape, random) =>
    tf.add(tf.mul(truncatedNormal(shape, random), numberOf(config, 'stddev', 0.05)), numberOf(config, 'mean', 0)),
  // Glorot's, He's and LeCun's are all of this class. As in tf.layers, the deviation is that before truncation.
  VarianceScaling: (config, shape, random) => {
    const { fanIn, fanOut } = fans(shape);
    const fan = config.mode === 'fanOut' ? fanOut : config.mode === 'fanAvg' ? (fanIn + fanOut) / 2 : fanIn;
    const variance = numberOf(config, 'scale', 1) / Math.max(1, fan);
    if (config.distribution !== 'uniform') return tf.mul(truncatedNormal(shape, random), Math.sqrt(variance));
    const limit = Math.sqrt(3 * variance);
    return random.uniform(shape, { low: -limit, high: limit });
  },
  Identity: (config, shape) => tf.mul(tf.eye(shape[0]), numberOf(config, 'gain', 1)),
};

/**
 * Draws a weight as its initialiser would.
 * @param what the weight, for the error
 * @throws ConfigurationError for an initialiser that has no keyed form (Orthogonal, custom ones).
 */
export function initialise(initializer: InitializerConfig, shape: Shape, random: KeyedRandom, what: string): tf.Tensor {
  checkInitializer(initializer, what);
  return INITIALIZERS[initializer.className](initializer.config, shape, random);
}

/** @throws ConfigurationError */
export function checkInitializer({ className }: InitializerConfig, what: string): void {
  if (className in INITIALIZERS) return;
  throw new ConfigurationError(
    what,
    `an initialiser among ${Object.keys(INITIALIZERS).join(', ')} (Glorot's, He's and LeCun's are VarianceScaling)`,
    className,
    "Choose another one, or start every episode from the model's own weights with init: 'keep'.",
  );
}
