import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  treeFlatten,
  treeMap,
  treeUnflatten,
  withConfig,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { architectureOptions, checkArchitecture } from './architecture-options';
import {
  column,
  columns,
  dense,
  denseNetwork,
  denseTheta,
  everyRow,
  lengthOf,
  logSize,
  lstm,
  lstmTheta,
  momentsOf,
  moved,
  movedTrees,
  normalised,
  stepped,
  TIME_SCALES,
  zeroTrees,
  type Dense,
  type LstmState,
} from './features';

const options = z.strictObject({
  /** Widths of the hidden layers of the network that sees parameters. */
  hidden: architectureOptions.widths.default([32, 32]),
  /** Units of the LSTM that sees tensors. */
  units: architectureOptions.width.default(64),
  /** Numbers that the network hands up to the LSTM, for its next step. */
  fromNetwork: architectureOptions.width.default(16),
  /** Numbers that the LSTMs of all tensors hand to each other, for their next step. */
  fromAll: architectureOptions.width.default(18),
  /** Numbers that the LSTM hands down to the network. */
  toNetwork: architectureOptions.width.default(17),
  /** One a pair of first and second moment. */
  decays: architectureOptions.decays.default([0.5, 0.9, 0.99, 0.999, 0.9999]),
  /** Multiplies every step. */
  stepMultiplier: architectureOptions.positive.default(0.001),
  /** Multiplies the magnitude, in the exponent. */
  magnitudeMultiplier: architectureOptions.positive.default(0.001),
  /** Of θ₀'s last layer: smaller, and meta-training starts from smaller steps. */
  outputScale: architectureOptions.positive.default(1),
});
export type RnnMlpOptions = z.input<typeof options>;

/** Features of a tensor beside what it is handed. */
const OF_TENSOR = 18;
/** Axes whose extents the LSTM sees. */
const AXES = 4;
const LOSS_DECAY = 0.9;
const CLIP = { decay: 0.99, times: 10 } as const;

interface Theta extends Record<string, TensorTree> {
  down: Dense;
  layers: Dense[];
  lstm: Dense;
  /** What the first step is handed: [units] twice, [fromAll], [fromNetwork]. */
  start: { all: tf.Tensor; cell: tf.Tensor; hidden: tf.Tensor; network: tf.Tensor };
  up: Dense;
}
interface State extends Record<string, TensorTree> {
  /** From all tensors' LSTMs, [fromAll]. */
  all: tf.Tensor;
  /** Moving mean of the gradients' root mean square. */
  bound: tf.Tensor;
  first: TensorTree[];
  loss: { mean: tf.Tensor; variance: tf.Tensor };
  lstm: LstmState;
  /** From each tensor's network, [tensors, fromNetwork]. */
  network: tf.Tensor;
  second: TensorTree[];
}

/** 1 − d^n */
function gone(decay: number, n: tf.Tensor): tf.Tensor {
  return tf.sub(1, tf.pow(tf.scalar(decay), n));
}

/** (x − mean)/√(variance + 1e-8), both corrected for their start at zero, clipped at ±5. */
function lossFeature({ mean, variance }: State['loss'], x: tf.Tensor, n: tf.Tensor): tf.Tensor {
  const correction = tf.add(gone(LOSS_DECAY, n), 1e-8);
  const away = tf.sub(x, tf.div(mean, correction));
  return tf.clipByValue(tf.mul(away, tf.rsqrt(tf.add(tf.div(variance, correction), 1e-8))), -5, 5);
}

/** Extents as the LSTM sees them: axes beyond the fourth from the end are one with it, missing ones are 1 and come last. */
function extents(shape: readonly number[]): number[] {
  const merged = shape.slice(0, Math.max(0, shape.length - AXES + 1)).reduce((a, b) => a * b, 1);
  const seen = shape.length > AXES ? [merged, ...shape.slice(shape.length - AXES + 1)] : [...shape];
  return [...seen, ...Array.from({ length: AXES - seen.length }, () => 1)];
}

/** What the LSTM sees of a tensor beside what it is handed, [16]. */
function tensorFeatures(p: tf.Tensor, g: tf.Tensor, first: tf.Tensor, second: tf.Tensor): tf.Tensor {
  const seen = [first, second, p].flatMap((x) => {
    const { mean, variance } = momentsOf(x);
    return [logSize(mean), tf.sign(mean), logSize(variance)];
  });
  const shape = [p.rank === 0 ? 1 : -1, ...extents(p.shape).map((extent) => Math.log(extent) - 1)];
  return tf.concat([tf.stack([...seen, logSize(lengthOf(p)), logSize(lengthOf(g))]), tf.tensor1d(shape)]);
}

/** sin(t/(π·τ)) for each τ. */
function sineTime(t: tf.Scalar): tf.Tensor {
  return tf.sin(tf.div(tf.cast(t, 'float32'), tf.tensor1d(TIME_SCALES.map((scale) => scale * Math.PI))));
}

/** Features of all parameters of a tensor that are their own, [size, 3 + 4·decays]. */
function ownFeatures(
  p: tf.Tensor,
  g: tf.Tensor,
  first: readonly tf.Tensor[],
  second: readonly tf.Tensor[],
): tf.Tensor[] {
  const roots = second.map((v) => tf.rsqrt(tf.add(v, 1e-6)));
  const scaled = first.map((m, k) => tf.mul(m, roots[k]));
  const logarithm = tf.log(tf.add(tf.abs(p), 1e-8));
  return [g, p, logarithm, ...first, ...second, ...scaled, ...roots].map((x) => column(normalised(x)));
}

/**
 * A network that sees one parameter at a time, conditioned on an LSTM that sees one tensor at a time (Metz et al. 2020,
 * "Tasks, stability, architecture, and compute: training more effective learned optimizers, and using them to train
 * themselves", in the form of `RNNMLPLOpt` of learned_optimization).
 *
 * Gradients are clipped at ten times the moving mean (0.99, corrected for its start) of √(mean square, averaged over tensors,
 * + 1e-8), which starts at 1; then moments m_k and v_k with decays 0.5, 0.9, 0.99, 0.999, 0.9999.
 * Features of a tensor, 52, with s(x) = clip(ln(|x| + 1e-8), ±5): s(mean), sign(mean) and s(variance) of all m_k together, of
 * all v_k, and of p (9); s(‖p‖), s(‖g‖); ±1 by whether it is a scalar; ln(extent) − 1 of four axes (missing ones have
 * extent 1); the training loss less its moving mean (0.9), over its moving deviation, clipped at ±5; the same of a
 * validation loss, which here is never given and stays 0, as there; 18 numbers from all tensors' LSTMs and 16 from the
 * tensor's own network, both of the step before.
 * Features of a parameter, 54: g, p, ln(|p| + 1e-8), m_k, v_k, m_k/√(v_k + 1e-6), 1/√(v_k + 1e-6) (23), each divided by √(mean
 * square over the tensor + 1e-5); sin(t/(πτ)) with τ = 1, 3, 10 … 1e5 (11); ln(number of tensors) − 1, ln(‖p‖ + 1e-8), ln(size);
 * 17 numbers from the tensor's LSTM. Through 54 → 32 → 32 → 18 with ReLU to a direction, a magnitude and what is handed
 * up, by its mean: p −= 0.001·direction·exp(0.001·magnitude).
 *
 * θ, 35799 numbers: `lstm.kernel` [52 + 64, 256] over [x, h] with gates i, g, f, o and `lstm.bias` (the forget gate has 1
 * more); `up` [64, 18] to all LSTMs; `down` [64, 17] to the network; `layers.i` of the network; kernels normal with variance
 * 1/in, biases zero; `start.cell`, `start.hidden`, zero; `start.all`, `start.network`, normal with variance 1/size.
 * @throws ConfigurationError for an option out of range
 */
export function rnnMlp(given: RnnMlpOptions = {}): LearnedOptimizer {
  const config = checkArchitecture(options, given);
  const { hidden, units, fromNetwork, fromAll, toNetwork, decays, ...scales } = config;
  const inputs = 3 + 4 * decays.length + TIME_SCALES.length + 3 + toNetwork;
  return withConfig('rnn-mlp', config, {
    name: 'rnn-mlp',
    initTheta: (random): Theta => {
      const vector = (size: number): tf.Tensor => random.normal([size], { std: 1 / Math.sqrt(size) });
      return {
        down: denseTheta([units, toNetwork], random)[0],
        layers: denseTheta([inputs, ...hidden, 2 + fromNetwork], random, scales.outputScale),
        lstm: lstmTheta(OF_TENSOR + fromAll + fromNetwork, units, random),
        start: {
          all: vector(fromAll),
          cell: tf.zeros([units]),
          hidden: tf.zeros([units]),
          network: vector(fromNetwork),
        },
        up: denseTheta([units, fromAll], random)[0],
      };
    },
    optimizer: (given) => {
      const theta = given as Theta;
      return {
        init: (params): State => {
          const tensors = treeFlatten(params).length;
          return {
            all: theta.start.all,
            bound: tf.scalar(1 - CLIP.decay),
            first: zeroTrees(params, decays.length),
            loss: { mean: tf.scalar(0), variance: tf.scalar(0) },
            lstm: { cell: everyRow(theta.start.cell, tensors), hidden: everyRow(theta.start.hidden, tensors) },
            network: everyRow(theta.start.network, tensors),
            second: zeroTrees(params, decays.length),
          };
        },
        update: ({ params, gradients, state, t, loss }) => {
          const before = state as State;
          const n = tf.add(tf.cast(t, 'float32'), 1);
          const mean = moved(before.loss.mean, loss, LOSS_DECAY);
          const losses = { mean, variance: moved(before.loss.variance, tf.square(tf.sub(mean, loss)), LOSS_DECAY) };

          const most = tf.mul(tf.div(before.bound, gone(CLIP.decay, n)), CLIP.times);
          const clipped = treeMap(gradients, (g: tf.Tensor) =>
            tf.minimum(tf.maximum(g, tf.neg(most)), most),
          ) as TensorTree;
          const gs = treeFlatten<tf.Tensor>(clipped);
          const squares = gs.map((g) => tf.mean(tf.square(g)));
          const size = tf.sqrt(tf.add(tf.mean(tf.stack(squares)), 1e-8));

          const first = movedTrees(before.first, clipped, decays);
          const squared = treeMap(clipped, (g: tf.Tensor) => tf.square(g)) as TensorTree;
          const second = movedTrees(before.second, squared, decays);
          const [ms, vs] = [first, second].map((trees) => trees.map((tree) => treeFlatten<tf.Tensor>(tree)));
          const ps = treeFlatten<tf.Tensor>(params);

          const shared = [lossFeature(losses, loss, n), lossFeature(losses, tf.scalar(0), n)];
          const seen = ps.map((p, i) => {
            const [m, v] = [ms, vs].map((moments) => tf.stack(moments.map((leaves) => leaves[i])));
            return tf.concat([tensorFeatures(p, gs[i], m, v), tf.stack(shared), before.all]);
          });
          const xs = tf.concat([tf.stack(seen), before.network], 1);
          const cell = lstm(theta.lstm, xs, before.lstm);
          const all = tf.mean(dense(theta.up, cell.hidden), 0);
          const down = dense(theta.down, cell.hidden);

          const time = sineTime(t);
          const outs = ps.map((p, i) => {
            const own = ownFeatures(
              p,
              gs[i],
              ms.map((leaves) => leaves[i]),
              vs.map((leaves) => leaves[i]),
            );
            const ofTensor = tf.stack([
              tf.scalar(Math.log(ps.length) - 1),
              tf.log(tf.add(lengthOf(p), 1e-8)),
              tf.scalar(Math.log(p.size)),
            ]);
            const handed = tf.reshape(tf.slice(down, [i, 0], [1, toNetwork]), [toNetwork]);
            const same = everyRow(tf.concat([time, ofTensor, handed]), p.size);
            return denseNetwork(theta.layers, tf.concat([...own, same], 1));
          });
          const next = ps.map((p, i) => stepped(p, outs[i], scales));
          const network = tf.stack(outs.map((out) => tf.mean(columns(out, 2, fromNetwork), 0)));
          return {
            params: treeUnflatten(params, next),
            state: {
              all,
              bound: moved(before.bound, size, CLIP.decay),
              first,
              loss: losses,
              lstm: cell,
              network,
              second,
            },
          };
        },
      };
    },
  });
}

export function registerRnnMlp({ optimizer }: Registrar): void {
  optimizer('rnn-mlp', {
    description: 'learned: an LSTM of 64 units for each tensor conditions a network for each parameter, 35799 weights',
    options,
    create: rnnMlp,
  });
}
