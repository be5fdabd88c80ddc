import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type {
  Batch,
  Dataset,
  Inner,
  KeyedRandom,
  Registrar,
  StepResult,
  TensorTree,
  ThetaDescription,
  UnrolledProblem,
} from '../src/contracts';
import { accuracy, crossEntropy } from './classification';
import { checkPositiveInteger, classesOf } from './with-data';

/** θ₀ is uniform in what is stored, between these in natural units: the published code's random starts. */
const START = { learningRate: [1e-4, 1e-2], momentum: [0.01, 0.9], kept: [0.2, 0.8] } as const;
/** Fresh starts over which θ is judged, as published. */
const EVALUATION_STARTS = 10;

const logit = (x: number): number => Math.log(x / (1 - x));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export interface ManyHyperparametersOptions {
  /** Any data set with class labels; inputs are flattened. */
  readonly data: Dataset;
  /** Hidden layers; 5 by default. */
  readonly layers?: number;
  /** Units of each hidden layer, before its mask; 100 by default. */
  readonly units?: number;
  /** Rows of a minibatch; 100 by default. */
  readonly batchSize?: number;
  /** Inner steps of an episode; 1000 by default. */
  readonly horizon?: number;
}

interface Layer extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}
interface State extends Record<string, TensorTree> {
  params: Layer[];
  velocity: Layer[];
}
interface Theta extends Record<string, TensorTree> {
  learningRate: tf.Tensor1D;
  momentum: tf.Tensor1D;
  width: tf.Tensor1D;
}

/** A layer's tensors, in the order of θ's numbers. */
const PARTS = ['kernel', 'bias'] as const;
const element = (vector: tf.Tensor1D, i: number): tf.Tensor => tf.reshape(tf.slice1d(vector, i, 1), []);

/**
 * Tuning many hyperparameters of an MLP at once (Vicol et al. 2021, §5.3): a learning rate and a momentum for each weight
 * matrix and each bias, and the width of each hidden layer; 29 numbers for 5 hidden layers. Minimised is the validation
 * loss, on a fresh minibatch after each update.
 *
 * A problem of its own and not `unroll` of the task `mlp`, because the widths are numbers of θ that the network's loss
 * depends on, and a task's loss does not see θ.
 *
 * θ = {learningRate: ln α [2(L+1)], momentum: logit μ [2(L+1)], width: logit of the share of units that are kept [L]};
 * kernel before bias, the first layer first. SGD with heavy-ball momentum: v = μv + g, p −= αv. State: {params, velocity},
 * both L+1 layers {kernel [in, out], bias [out]}; kernels start with LeCun's normal variance 1/in, all else at zero.
 *
 * The width mask is hard, as in the published code: of `units` units, those numbered below ⌊sigmoid(width)·units⌋ are kept,
 * the others give 0 and are not trained. A soft edge would be another network than the one that is kept in the end. The
 * mask's derivative is zero almost everywhere, which evolution strategies do not mind and gradient estimators do not see.
 *
 * θ₀ is drawn by the run's seed: α between 1e-4 and 1e-2, μ between 0.01 and 0.9, the share kept between 0.2 and 0.8.
 * @throws ConfigurationError for a data set without class labels, or a number that is no positive integer
 */
export function manyHyperparameters(options: ManyHyperparametersOptions): UnrolledProblem {
  const { data, layers = 5, units = 100, batchSize = 100, horizon = 1000 } = options;
  for (const [key, value] of Object.entries({ layers, units, batchSize }))
    checkPositiveInteger(`problem.${key}`, value);
  if (horizon !== Infinity) checkPositiveInteger('horizon', horizon);
  const inputs = data.inputShape.reduce((a, b) => a * b, 1);
  const widths = [inputs, ...Array.from({ length: layers }, () => units), classesOf('many-hyperparameters', data)];
  const tensors = PARTS.length * (layers + 1);

  /** 1 for units that are kept, [units]. */
  const maskOf = (width: tf.Tensor): tf.Tensor => {
    const kept = tf.floor(tf.mul(tf.sigmoid(width), units));
    return tf.cast(tf.less(tf.range(0, units, 1, 'float32'), kept), 'float32');
  };
  const logits = (params: readonly Layer[], masks: readonly tf.Tensor[], xs: tf.Tensor): tf.Tensor =>
    params.reduce(
      (x, { kernel, bias }, i) => {
        const z = tf.add(tf.matMul(x as tf.Tensor2D, kernel as tf.Tensor2D), bias);
        return i < layers ? tf.mul(tf.relu(z), masks[i]) : z;
      },
      xs.shape.length === 2 ? xs : tf.reshape(xs, [xs.shape[0], inputs]),
    );

  const problem = {
    name: 'many-hyperparameters',
    horizon,
    dataset: data,
    batchSize,
    initTheta: (random: KeyedRandom): Theta => {
      const drawn = (size: number, between: readonly [number, number], stored: (x: number) => number): tf.Tensor1D => {
        const [low, high] = between.map(stored);
        return random.uniform([size], { low, high }) as tf.Tensor1D;
      };
      return {
        learningRate: drawn(tensors, START.learningRate, Math.log),
        momentum: drawn(tensors, START.momentum, logit),
        width: drawn(layers, START.kept, logit),
      };
    },
    initState: (_: TensorTree, random: KeyedRandom): State => {
      const params = widths.slice(1).map((out, i) => ({
        kernel: random.normal([widths[i], out], { std: Math.sqrt(1 / widths[i]) }),
        bias: tf.zeros([out]),
      }));
      const velocity = params.map(({ kernel, bias }) => ({ kernel: tf.zerosLike(kernel), bias: tf.zerosLike(bias) }));
      return { params, velocity };
    },
    step: (given: TensorTree, before: TensorTree, inner: Inner): StepResult<TensorTree> => {
      const theta = given as Theta;
      const state = before as State;
      const masks = Array.from({ length: layers }, (_, i) => maskOf(element(theta.width, i)));
      const rates = tf.exp<tf.Tensor1D>(theta.learningRate);
      const momenta = tf.sigmoid<tf.Tensor1D>(theta.momentum);

      const batch: Batch = inner.batch('train');
      const { value, gradient } = inner.valueAndGrad((params: Layer[]) =>
        crossEntropy(logits(params, masks, batch.xs), batch.ys),
      )(state.params);
      const velocity = state.velocity.map((layer, i) => {
        const next = (part: (typeof PARTS)[number], at: number): tf.Tensor =>
          tf.add(tf.mul(element(momenta, PARTS.length * i + at), layer[part]), gradient[i][part]);
        return { kernel: next('kernel', 0), bias: next('bias', 1) };
      });
      const params = state.params.map((layer, i) => {
        const next = (part: (typeof PARTS)[number], at: number): tf.Tensor =>
          tf.sub(layer[part], tf.mul(element(rates, PARTS.length * i + at), velocity[i][part]));
        return { kernel: next('kernel', 0), bias: next('bias', 1) };
      });

      const held = inner.batch('validation');
      const outputs = logits(params, masks, held.xs);
      return {
        state: { params, velocity },
        loss: crossEntropy(outputs, held.ys),
        metrics: { 'batch loss': value, 'validation accuracy': accuracy(outputs, held.ys) },
      };
    },
    describeTheta: (given: TensorTree): ThetaDescription => {
      const theta = given as Theta;
      const each = (name: string, stored: tf.Tensor, natural: (x: number) => number): [string, number][] =>
        Array.from(stored.dataSync(), (x, i) => [
          `${name}.${PARTS[i % PARTS.length]}${String(Math.floor(i / PARTS.length) + 1)}`,
          natural(x),
        ]);
      const widthsKept = Array.from(theta.width.dataSync(), (x, i): [string, number] => [
        `units${String(i + 1)}`,
        // In float32, as the mask is.
        Math.floor(Math.fround(Math.fround(sigmoid(x)) * units)),
      ]);
      return {
        values: Object.fromEntries([
          ...each('learningRate', theta.learningRate, Math.exp),
          ...each('momentum', theta.momentum, sigmoid),
          ...widthsKept,
        ]),
      };
    },
  };
  if (horizon === Infinity) return problem;
  return {
    ...problem,
    evaluation: {
      metric: 'mean validation loss',
      minimise: true,
      problem: { ...problem, name: 'many-hyperparameters (evaluation)' },
      particles: EVALUATION_STARTS,
      measure: 'mean',
      curve: 'validation accuracy',
    },
  };
}

export function registerManyHyperparameters({ problem, preset }: Registrar): void {
  const count = z.int().positive();
  problem('many-hyperparameters', {
    description: 'learning rate and momentum of every tensor of an MLP, and the width of every hidden layer',
    options: z.strictObject({ layers: count.default(5), units: count.default(100), batchSize: count.default(100) }),
    create: async (options, context) =>
      manyHyperparameters({ ...options, data: await context.data(), horizon: context.horizon }),
  });
  preset('many-hyperparameters', {
    description: '29 hyperparameters of an MLP on Fashion-MNIST by PES, as published (PES §5.3); hours on two cores',
    config: {
      problem: { name: 'many-hyperparameters' },
      data: { name: 'fashion-mnist' },
      horizon: 1000,
      estimator: { name: 'pes', pairs: 5, sigma: 0.3, window: 10 },
      outerOptimizer: { name: 'adam', learningRate: 0.01 },
      iterations: 50_000,
      seed: 0,
    },
  });
}
