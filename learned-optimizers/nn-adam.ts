import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  treeFlatten,
  treeMap,
  withConfig,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { architectureOptions, checkArchitecture } from './architecture-options';
import {
  columns,
  dense,
  everyRow,
  logSize,
  lstm,
  lstmTheta,
  mapTrees,
  moved,
  momentsOf,
  zeroTrees,
  type Dense,
  type LstmState,
} from './features';

const below1 = z.number().gt(0, { error: 'a number between 0 and 1' }).lt(1, { error: 'a number between 0 and 1' });
const options = z.strictObject({
  /** Units of the LSTM. */
  units: architectureOptions.width.default(32),
  /** Of θ₀. */
  learningRate: architectureOptions.positive.default(1e-4),
  /** Of θ₀. */
  beta1: below1.default(0.9),
  /** Of θ₀. */
  beta2: below1.default(0.999),
  /** Of θ₀. */
  epsilon: architectureOptions.positive.default(1e-8),
  /** Multiplies what the LSTM moves the hyperparameters by at every step. */
  outputScale: architectureOptions.positive.default(0.01),
});
export type NnAdamOptions = z.input<typeof options>;

/** Features of a tensor that the LSTM sees. */
const FEATURES = 19;
/** Bounds on gradients. */
const CLIP = 1000;

/** α, β₁, β₂, ε in this order: 0.1·ln α, 0.1·ln(1 − β₁), 0.1·ln(1 − β₂), 0.1·ln ε, and the bounds of each as stored. */
const LOWEST = [0.1 * Math.log(1e-8), -1, -1, 0.1 * Math.log(1e-11)];
const HIGHEST = [0.1 * Math.log(1e3), 0, 0, 0.1 * Math.log(1e4)];

interface Theta extends Record<string, TensorTree> {
  /** [4] */
  controls: tf.Tensor;
  lstm: Dense;
  output: Dense;
  /** [units] each. */
  start: { cell: tf.Tensor; hidden: tf.Tensor };
}
interface State extends Record<string, TensorTree> {
  /** [tensors, 4] */
  controls: tf.Tensor;
  first: TensorTree;
  lstm: LstmState;
  second: TensorTree;
}

/** What the LSTM sees of a tensor, [19]; `controls` as stored, [1, 4]. */
function featuresOf(p: tf.Tensor, g: tf.Tensor, first: tf.Tensor, second: tf.Tensor, controls: tf.Tensor): tf.Tensor {
  const size = (x: tf.Tensor): tf.Tensor => tf.mul(logSize(x), 0.5);
  const seen = [first, second, p, g].flatMap((x) => {
    const { mean, variance } = momentsOf(x);
    return [size(mean), tf.sign(mean), size(variance)];
  });
  const kind = [p.rank === 0, p.rank === 1].map((is) => tf.scalar(is ? 1 : -1));
  const scalars = [...seen, size(tf.mean(tf.abs(g))), ...kind];
  const hyper = tf.mul(tf.clipByValue(tf.reshape(controls, [4]), -5, 5), 0.2);
  return tf.concat([tf.stack(scalars), hyper]);
}

/**
 * Adam whose hyperparameters are moved at every step, for each tensor of parameters, by an LSTM that sees the tensor's
 * statistics (in the form of `NNAdam` of learned_optimization, Metz et al. 2022, "Practical tradeoffs between memory,
 * compute, and performance in learned optimizers").
 *
 * A tensor's α, β₁, β₂, ε are stored as 0.1·ln α in [1e-8, 1e3], 0.1·ln(1 − β) with 1 − β in [e^−10, 1], and 0.1·ln ε in
 * [1e-11, 1e4]. A step clips gradients at ±1000, m = β₁m + (1 − β₁)g, v = β₂v + (1 − β₂)g²,
 * p −= α(1 + ε)·m/(ε + √(v + 1e-10)) (a large ε gives momentum SGD without a large α); no bias correction. Then the LSTM
 * moves the stored numbers by 0.01·(output·W + b).
 * Features of a tensor, 19, with s(x) = ½·clip(ln(|x| + 1e-8), ±5): s(mean), sign(mean) and s(variance) of m, v, p and g (12),
 * s(mean |g|), ±1 by whether it is a scalar, ±1 by whether it is a vector, and the stored hyperparameters before the step,
 * clipped at ±5, ÷5.
 *
 * θ, 6856 numbers: `lstm.kernel` [19 + 32, 128] over [x, h] with gates i, g, f, o, normal with variance 1/51, `lstm.bias`,
 * zero (the forget gate has 1 more); `output.kernel` [32, 4] and `output.bias`, zero, so that θ₀ is Adam; `start.cell` and
 * `start.hidden`, zero; `controls` [4], the stored α, β₁, β₂ and ε that every tensor starts from.
 * @throws ConfigurationError for an option out of range
 */
export function nnAdam(given: NnAdamOptions = {}): LearnedOptimizer {
  const config = checkArchitecture(options, given);
  const { units, learningRate, beta1, beta2, epsilon, outputScale } = config;
  const initial = [learningRate, 1 - beta1, 1 - beta2, epsilon].map((x) => 0.1 * Math.log(x));
  return withConfig('nn-adam', config, {
    name: 'nn-adam',
    initTheta: (random): Theta => ({
      controls: tf.tensor1d(initial),
      lstm: lstmTheta(FEATURES, units, random),
      output: { bias: tf.zeros([4]), kernel: tf.zeros([units, 4]) },
      start: { cell: tf.zeros([units]), hidden: tf.zeros([units]) },
    }),
    optimizer: (given) => {
      const theta = given as Theta;
      return {
        init: (params): State => {
          const tensors = treeFlatten(params).length;
          const [first, second] = zeroTrees(params, 2);
          return {
            controls: everyRow(theta.controls, tensors),
            first,
            lstm: { cell: everyRow(theta.start.cell, tensors), hidden: everyRow(theta.start.hidden, tensors) },
            second,
          };
        },
        update: ({ params, gradients, state }) => {
          const before = state as State;
          const clipped = treeMap(gradients, (g: tf.Tensor) => tf.clipByValue(g, -CLIP, CLIP)) as TensorTree;
          // Natural units, [tensors, 1] each: α, 1 − β₁, 1 − β₂, ε.
          const natural = tf.exp(tf.mul(bounded(before.controls), 10));
          const [rates, rests1, rests2, epsilons] = [0, 1, 2, 3].map((i) => columns(natural, i));
          const at = (values: tf.Tensor, i: number): tf.Tensor => tf.reshape(tf.slice(values, [i, 0], [1, 1]), []);
          const averaged = (old: TensorTree, of: (g: tf.Tensor) => tf.Tensor, rests: tf.Tensor): TensorTree =>
            mapTrees([old, clipped], ([m, g], i) => {
              const rest = at(rests, i);
              return moved(m, of(g), tf.sub(1, rest), rest);
            });
          const first = averaged(before.first, (g) => g, rests1);
          const second = averaged(before.second, (g) => tf.square(g), rests2);
          const next = mapTrees([params, first, second], ([p, m, v], i) => {
            const epsilon = at(epsilons, i);
            const rate = tf.mul(at(rates, i), tf.add(epsilon, 1));
            return tf.sub(p, tf.mul(tf.div(rate, tf.add(epsilon, tf.sqrt(tf.add(v, 1e-10)))), m));
          });
          const [ps, gs, ms, vs] = [params, clipped, first, second].map((tree) => treeFlatten<tf.Tensor>(tree));
          const seen = ps.map((p, i) => featuresOf(p, gs[i], ms[i], vs[i], tf.slice(before.controls, [i, 0], [1, 4])));
          const cell = lstm(theta.lstm, tf.stack(seen), before.lstm);
          const delta = tf.mul(dense(theta.output, cell.hidden), outputScale);
          const controls = bounded(tf.add(before.controls, delta));
          return { params: next, state: { controls, first, lstm: cell, second } };
        },
      };
    },
  });
}

/** Each of the four numbers within its own bounds. */
function bounded(controls: tf.Tensor): tf.Tensor {
  return tf.minimum(tf.maximum(controls, tf.tensor2d([LOWEST])), tf.tensor2d([HIGHEST]));
}

export function registerNnAdam({ optimizer }: Registrar): void {
  optimizer('nn-adam', {
    description: 'learned: an LSTM of 32 units sets the hyperparameters of Adam for each tensor, 6856 weights',
    options,
    create: nnAdam,
  });
}
