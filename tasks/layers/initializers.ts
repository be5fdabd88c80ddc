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

/**
 * Steps of Newton and Schulz: a singular value s₀ grows by 3/2 a step until it is near 1, then its distance from 1 squares.
 * A square Gaussian matrix has values down to about 1/n of its mean one, now and then 100 times less; one of twice as many
 * rows as columns has none below a quarter of it (Rudelson & Vershynin 2009). Relative to the Frobenius norm that is one
 * √n less.
 */
const POLAR_STEPS = { square: 40, tall: 18 } as const;

/**
 * A matrix with orthonormal columns (or rows, if there are fewer), uniform among those: the orthogonal factor of a Gaussian
 * matrix. tf.layers takes the Q of QR, with R's diagonal made positive; the polar factor has the same distribution, since
 * both turn with the matrix (Mezzadri 2007, "How to generate random matrices from the classical compact groups"), and
 * consists of products. All axes but the last are rows.
 */
export function orthogonal(shape: Shape, random: KeyedRandom): tf.Tensor {
  const columns = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const [long, short] = [Math.max(rows, columns), Math.min(rows, columns)];
  const gaussian = random.normal([long, short]);
  let x = tf.div(gaussian, tf.sqrt(tf.sum(tf.square(gaussian))));
  const steps = long >= 2 * short ? POLAR_STEPS.tall : POLAR_STEPS.square;
  for (let step = 0; step < steps; step++) {
    const gram = tf.matMul(x, x, true);
    x = tf.sub(tf.mul(x, 1.5), tf.mul(tf.matMul(x, gram), 0.5));
  }
  return tf.reshape(rows < columns ? tf.transpose(x) : x, [...shape]);
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
  Orthogonal: (config, shape, random) => tf.mul(orthogonal(shape, random), numberOf(config, 'gain', 1)),
  UnitForgetBias: (config, shape, random) => {
    const units = shape[0] / 4;
    const { className, config: inner } = config.initializer as InitializerConfig;
    const biases = (count: number, part: number): tf.Tensor =>
      INITIALIZERS[className](inner, [count * units], random.foldIn(part));
    return tf.concat([biases(1, 0), tf.ones([units]), biases(2, 1)], 0);
  },
  Identity: (config, shape) => tf.mul(tf.eye(shape[0]), numberOf(config, 'gain', 1)),
};

/**
 * Draws a weight as its initialiser would.
 * @param what the weight, for the error
 * @throws ConfigurationError for an initialiser that has no keyed form (custom ones).
 */
export function initialise(initializer: InitializerConfig, shape: Shape, random: KeyedRandom, what: string): tf.Tensor {
  checkInitializer(initializer, what);
  return INITIALIZERS[initializer.className](initializer.config, shape, random);
}

/** Those that have a name in tf.layers. */
const NAMED = Object.keys(INITIALIZERS).filter((name) => name !== 'UnitForgetBias');

/** @throws ConfigurationError */
export function checkInitializer({ className, config }: InitializerConfig, what: string): void {
  if (className === 'UnitForgetBias') {
    checkInitializer(config.initializer as InitializerConfig, what);
    return;
  }
  if (className in INITIALIZERS) return;
  throw new ConfigurationError(
    what,
    `an initialiser among ${NAMED.join(', ')} (Glorot's, He's and LeCun's are VarianceScaling)`,
    className,
    "Choose another one, or start every episode from the model's own weights with init: 'keep'.",
  );
}
