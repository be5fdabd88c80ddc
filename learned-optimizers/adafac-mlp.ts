import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  treeFlatten,
  treeMap2,
  withConfig,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { architectureOptions, checkArchitecture } from './architecture-options';
import {
  column,
  columnOf,
  denseTheta,
  mapTrees,
  moved,
  tanhTime,
  TIME_SCALES,
  zeroTrees,
  type Dense,
} from './features';
import { featureRows, inOneRow, networkStep, networkSteps, partsOfRows } from './parameter-network';

const options = z
  .strictObject({
    /** Widths of the hidden layers. */
    hidden: architectureOptions.widths.default([4, 4]),
    /** Of θ₀; one a momentum. */
    momentumDecays: architectureOptions.decays.default([0.9, 0.99, 0.999]),
    /** Of θ₀; the second moment, of which there is one. */
    rmsDecay: architectureOptions.decay.default(0.999),
    /** Of θ₀; as many as momenta. */
    adafactorDecays: architectureOptions.decays.default([0.9, 0.99, 0.999]),
    /** Multiplies every step. */
    stepMultiplier: architectureOptions.positive.default(0.001),
    /** Multiplies the magnitude, in the exponent. */
    magnitudeMultiplier: architectureOptions.positive.default(0.001),
    /** Of θ₀'s last layer: smaller, and meta-training starts from smaller steps. */
    outputScale: architectureOptions.positive.default(1),
  })
  .refine(({ momentumDecays, adafactorDecays }) => momentumDecays.length === adafactorDecays.length, {
    path: ['adafactorDecays'],
    error: 'as many decays as momentumDecays',
  });
export type AdafacMlpOptions = z.input<typeof options>;

interface Theta extends Record<string, TensorTree> {
  adafactorDecays: tf.Tensor;
  layers: Dense[];
  momentumDecays: tf.Tensor;
  rmsDecays: tf.Tensor;
}

/** Means of squared gradients along the two largest axes, which are kept with extent 1; of a vector or scalar, all of them. */
type Statistics = { row: tf.Tensor; column: tf.Tensor } | { full: tf.Tensor };

interface State extends Record<string, TensorTree> {
  /** By decay, then by tensor. */
  factored: Statistics[][];
  momenta: TensorTree[];
  squares: TensorTree;
}

/** The same where ops run one at a time: decays lie along a first axis, and what has no axes of its own lies in one row. */
interface EagerState extends Record<string, TensorTree> {
  /** By tensor, [decays, …]. */
  factored: Statistics[];
  /** [decays, parameters] */
  momenta: tf.Tensor;
  /** [1, parameters] */
  squares: tf.Tensor;
}

/** Added to g² before it is averaged. */
const SQUARE = 1e-30;

/**
 * The two largest axes, the largest last; of equal ones the later counts as larger. None below two axes.
 * @param lead axes in front that are not the tensor's
 */
function factoredAxes(shape: readonly number[], lead: number): readonly [number, number] | undefined {
  if (shape.length - lead < 2) return undefined;
  const order = [...shape.keys()].slice(lead).sort((a, b) => shape[a] - shape[b] || a - b);
  return [order[order.length - 2], order[order.length - 1]];
}

function without(shape: readonly number[], axis: number): number[] {
  return shape.map((extent, i) => (i === axis ? 1 : extent));
}

function emptyStatistics(shape: readonly number[], lead = 0): Statistics {
  const axes = factoredAxes(shape, lead);
  if (axes === undefined) return { full: tf.zeros([...shape]) };
  return { row: tf.zeros(without(shape, axes[1])), column: tf.zeros(without(shape, axes[0])) };
}

/** 1/√max(x, 1e-9) */
function boundedRsqrt(x: tf.Tensor): tf.Tensor {
  return tf.rsqrt(tf.maximum(x, 1e-9));
}

/** What g² is divided by the root of, as factors that broadcast over the tensor. */
function scalesOf(row: tf.Tensor, col: tf.Tensor, axis: number): readonly [tf.Tensor, tf.Tensor] {
  const mean = tf.mean(row, axis, true);
  return [boundedRsqrt(tf.div(row, tf.add(mean, 1e-9))), boundedRsqrt(col)];
}

/** 1 − d of decays d = 1 − (1 − d₀)·exp(10·offset) from 1 − d₀; `bounded` keeps d in [0, 1]. */
function restOf(initial: number | tf.Tensor, offset: tf.Tensor, bounded: boolean): tf.Tensor {
  const rest = tf.mul(tf.exp(tf.mul(offset, 10)), initial);
  return bounded ? tf.minimum(rest, 1) : rest;
}

/** A scalar for each decay. */
function rests(initial: readonly number[], offsets: tf.Tensor, bounded: boolean): tf.Tensor[] {
  return initial.map((decay, k) => restOf(1 - decay, tf.reshape(tf.slice(offsets, [k], [1]), []), bounded));
}

/** All of them, [decays, 1]. */
function restColumn(initial: readonly number[], offsets: tf.Tensor, bounded: boolean): tf.Tensor {
  return restOf(columnOf(initial.map((decay) => 1 - decay)), column(offsets), bounded);
}

/** The accumulator after one more x. */
function averaged(before: tf.Tensor, x: tf.Tensor, rest: tf.Tensor): tf.Tensor {
  return moved(before, x, tf.sub(1, rest), rest);
}

function averagedStatistics(before: Statistics, g: tf.Tensor, rest: tf.Tensor, lead = 0): Statistics {
  const squared = tf.add(tf.square(g), SQUARE);
  const axes = factoredAxes(g.shape, lead);
  if (axes === undefined || 'full' in before) {
    return { full: averaged((before as { full: tf.Tensor }).full, squared, rest) };
  }
  return {
    row: averaged(before.row, tf.mean(squared, axes[1], true), rest),
    column: averaged(before.column, tf.mean(squared, axes[0], true), rest),
  };
}

/** Adafactor's features of one tensor and one decay, or all decays along a first axis: what the gradient becomes, statistics, their roots, the momentum. */
interface Factored {
  readonly gradient: tf.Tensor;
  readonly row: tf.Tensor;
  readonly column: tf.Tensor;
  readonly momentum: tf.Tensor;
}

function factoredFeatures(statistics: Statistics, g: tf.Tensor, m: tf.Tensor, lead = 0): Factored {
  const axes = factoredAxes(g.shape, lead);
  if (axes === undefined || 'full' in statistics) {
    const { full } = statistics as { full: tf.Tensor };
    return {
      gradient: tf.mul(g, boundedRsqrt(tf.add(full, 1e-9))),
      row: full,
      column: full,
      momentum: tf.mul(m, tf.rsqrt(tf.add(full, 1e-6))),
    };
  }
  const [rowScale, columnScale] = scalesOf(statistics.row, statistics.column, axes[0]);
  const scaled = (x: tf.Tensor): tf.Tensor => tf.mul(tf.mul(x, rowScale), columnScale);
  return { gradient: scaled(g), row: statistics.row, column: statistics.column, momentum: scaled(m) };
}

/** 1/√(v + 1e-6) */
function rootOf(v: tf.Tensor): tf.Tensor {
  return tf.rsqrt(tf.add(v, 1e-6));
}

/** 1/√(x + 1e-8) of a statistic. */
function inverseRoot(x: tf.Tensor): tf.Tensor {
  return tf.rsqrt(tf.add(x, 1e-8));
}

/**
 * A small network that sees one parameter at a time, with Adafactor's statistics among its features (Metz et al. 2022,
 * "Practical tradeoffs between memory, compute, and performance in learned optimizers"; Adafactor: Shazeer, Stern 2018).
 *
 * Features of a parameter, 39, by decays k = 1, 2, 3:
 *  1      the gradient g
 *  2      the parameter p
 *  3–5    momenta m_k = d·m_k + (1 − d)·g
 *  6      the second moment v = d·v + (1 − d)·g²
 *  7–9    m_k/√(v + 1e-6)
 *  10     1/√(v + 1e-6)
 *  11–13  g·ρ_k·γ_k, with ρ = 1/√max(r/(mean r + 1e-9), 1e-9) and γ = 1/√max(c, 1e-9)
 *  14–16  r_k: the moving mean of g² + 1e-30 over the largest axis (its mean above is over the second largest)
 *  17–19  c_k: the same over the second largest axis
 *  20–22  1/√(r_k + 1e-8)
 *  23–25  1/√(c_k + 1e-8)
 *  26–28  m_k·ρ_k·γ_k
 *  29–39  tanh(t/τ − 1), τ = 1, 3, 10 … 1e5
 * 1 to 28 are divided by √(mean square over the tensor + 1e-5). Vectors and scalars have no axes to average over: r = c =
 * the moving mean u of g² + 1e-30, 11–13 are g/√max(u + 1e-9, 1e-9), 26–28 are m/√(u + 1e-6).
 * Through 39 → 4 → 4 → 2 with ReLU to a direction and a magnitude: p −= 0.001·direction·exp(0.001·magnitude).
 *
 * θ, 197 numbers: `layers.i.kernel` [in, out], normal with variance 1/in, `layers.i.bias` [out], zero (190 of them), and
 * offsets of the decays, zero, `momentumDecays` [3], `rmsDecays` [1], `adafactorDecays` [3]: d = 1 − (1 − d₀)·exp(10·offset);
 * those of second moments stay in [0, 1].
 * @throws ConfigurationError for an option out of range
 */
export function adafacMlp(given: AdafacMlpOptions = {}): LearnedOptimizer {
  const config = checkArchitecture(options, given);
  const { hidden, momentumDecays, rmsDecay, adafactorDecays, ...scales } = config;
  const count = momentumDecays.length;
  const inputs = 4 + 8 * count + TIME_SCALES.length;
  return withConfig('adafac-mlp', config, {
    name: 'adafac-mlp',
    initTheta: (random) => ({
      adafactorDecays: tf.zeros([count]),
      layers: denseTheta([inputs, ...hidden, 2], random, scales.outputScale),
      momentumDecays: tf.zeros([count]),
      rmsDecays: tf.zeros([1]),
    }),
    optimizer: (given) => {
      const theta = given as Theta;
      return {
        init: (params): State => ({
          factored: adafactorDecays.map(() =>
            treeFlatten<tf.Tensor>(params).map(({ shape }) => emptyStatistics(shape)),
          ),
          momenta: zeroTrees(params, count),
          squares: zeroTrees(params, 1)[0],
        }),
        update: ({ params, gradients, state, t }) => {
          const before = state as State;
          const momenta = rests(momentumDecays, theta.momentumDecays, false).map(
            (rest, k) =>
              treeMap2(before.momenta[k], gradients, (m: tf.Tensor, g: tf.Tensor) =>
                averaged(m, g, rest),
              ) as TensorTree,
          );
          const [rest] = rests([rmsDecay], theta.rmsDecays, true);
          const squares = treeMap2(before.squares, gradients, (v: tf.Tensor, g: tf.Tensor) =>
            averaged(v, tf.square(g), rest),
          ) as TensorTree;
          const leaves = treeFlatten<tf.Tensor>(gradients);
          const factored = rests(adafactorDecays, theta.adafactorDecays, true).map((rest, k) =>
            leaves.map((g, i) => averagedStatistics(before.factored[k][i], g, rest)),
          );
          const network = { ...scales, layers: theta.layers, time: tanhTime(t) };
          const next = mapTrees([params, gradients, squares, ...momenta], ([p, g, v, ...ms], i) => {
            const root = rootOf(v);
            const parts = ms.map((m, k) => factoredFeatures(factored[k][i], g, m));
            const features = [
              ...[g, p, ...ms, v, ...ms.map((m) => tf.mul(m, root)), root],
              ...parts.map(({ gradient }) => gradient),
              ...parts.map(({ row }) => row),
              ...parts.map(({ column: col }) => col),
              ...parts.map(({ row }) => inverseRoot(row)),
              ...parts.map(({ column: col }) => inverseRoot(col)),
              ...parts.map(({ momentum }) => momentum),
            ];
            return networkStep(p, features, network);
          });
          return { params: next, state: { factored, momenta, squares } };
        },
        eager: {
          init: (params): EagerState => {
            const row = tf.zerosLike(inOneRow(params));
            return {
              factored: treeFlatten<tf.Tensor>(params).map(({ shape }) => emptyStatistics([count, ...shape], 1)),
              momenta: tf.tile(row, [count, 1]),
              squares: row,
            };
          },
          update: ({ params, gradients, state, t }) => {
            const before = state as EagerState;
            const [p, g] = [inOneRow(params), inOneRow(gradients)];
            const momenta = averaged(before.momenta, g, restColumn(momentumDecays, theta.momentumDecays, false));
            const squares = averaged(before.squares, tf.square(g), restColumn([rmsDecay], theta.rmsDecays, true));
            const root = rootOf(squares);
            const own = tf.concat([g, p, momenta, squares, tf.mul(momenta, root), root], 0);
            const [owns, ms] = [own, momenta].map((rows) => partsOfRows(rows, params));
            const rest = restColumn(adafactorDecays, theta.adafactorDecays, true);
            const leaves = treeFlatten<tf.Tensor>(gradients);
            const factored = leaves.map((leaf, i) => {
              const restOfLeaf = tf.reshape(rest, [count, ...leaf.shape.map(() => 1)]);
              return averagedStatistics(before.factored[i], tf.expandDims(leaf, 0), restOfLeaf, 1);
            });
            const seen = leaves.map((leaf, i) => {
              const { shape } = leaf;
              const m = tf.reshape(ms[i], [count, ...shape]);
              const parts = factoredFeatures(factored[i], tf.expandDims(leaf, 0), m, 1);
              return featureRows(
                [
                  [tf.reshape(owns[i], [-1, ...shape]), parts.gradient, parts.momentum],
                  [parts.row, inverseRoot(parts.row)],
                  [parts.column, inverseRoot(parts.column)],
                ],
                shape,
              );
            });
            const [first, ...others] = theta.layers;
            const layers = [{ ...first, kernel: tf.gather(first.kernel, inEagerOrder(count)) }, ...others];
            const next = networkSteps(params, seen, { ...scales, layers, time: tanhTime(t) });
            return { params: next, state: { factored, momenta, squares } };
          },
        },
      };
    },
  });
}

/**
 * Rows of the first kernel in the order in which `eager` has the features: those of the whole tensor, then those of rows,
 * then those of columns, then time.
 */
function inEagerOrder(count: number): tf.Tensor1D {
  const own = 4 + 2 * count;
  const groups = { gradient: 0, row: 1, column: 2, rowRoot: 3, columnRoot: 4, momentum: 5 };
  const indices = (begin: number, size: number): number[] => Array.from({ length: size }, (_, i) => begin + i);
  const group = (which: keyof typeof groups): number[] => indices(own + groups[which] * count, count);
  return tf.tensor1d(
    [
      ...indices(0, own),
      ...(['gradient', 'momentum', 'row', 'rowRoot', 'column', 'columnRoot'] as const).flatMap(group),
      ...indices(own + 6 * count, TIME_SCALES.length),
    ],
    'int32',
  );
}

export function registerAdafacMlp({ optimizer }: Registrar): void {
  optimizer('adafac-mlp', {
    description: "learned: a network of 197 weights that sees each parameter with Adafactor's statistics",
    options,
    create: adafacMlp,
  });
}
