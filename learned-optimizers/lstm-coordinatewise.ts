import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  treeFlatten,
  treeUnflatten,
  withConfig,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { architectureOptions, checkArchitecture } from './architecture-options';
import { column, dense, denseTheta, lstm, lstmTheta, type Dense, type LstmState } from './features';

const options = z.strictObject({
  /** Units of each layer. */
  units: architectureOptions.widths.min(1, { error: 'at least one layer' }).default([20, 20]),
  /** p of the preprocessing: gradients below e^−p are seen linearly. */
  preprocess: architectureOptions.positive.default(10),
  /** Multiplies every step. */
  stepMultiplier: architectureOptions.positive.default(0.1),
  /** Of θ₀'s last layer: smaller, and meta-training starts from smaller steps. */
  outputScale: architectureOptions.positive.default(1),
});
export type LstmCoordinatewiseOptions = z.input<typeof options>;

interface Theta extends Record<string, TensorTree> {
  cells: Dense[];
  output: Dense;
}
interface State extends Record<string, TensorTree> {
  /** By tensor, then by layer. */
  cells: LstmState[][];
}

/** (ln|g|/p, sign g) where |g| ≥ e^−p, else (−1, e^p·g), as [size, 2]. */
function preprocessed(gradient: tf.Tensor, p: number): tf.Tensor {
  const g = column(gradient);
  // Bounded before the logarithm, so that its derivative at 0 is 0 and not infinite.
  const log = tf.div(tf.log(tf.maximum(tf.abs(g), Math.exp(-p))), p);
  return tf.concat([log, tf.clipByValue(tf.mul(g, Math.exp(p)), -1, 1)], 1);
}

/**
 * Two layers of LSTM that see one parameter's gradient at a time and keep a state for each (Andrychowicz et al. 2016,
 * "Learning to learn by gradient descent by gradient descent", §2.1 and appendix A).
 *
 * Features of a parameter, 2: (ln|g|/p, sign g) where |g| ≥ e^−p, else (−1, e^p·g), p = 10. Through two layers of 20 units
 * and a linear one: p += 0.1·output.
 *
 * θ, 5141 numbers: `cells.i.kernel` [in + 20, 80] over [x, h] with gates i, g, f, o, normal with variance 1/(in + 20),
 * `cells.i.bias` [80], zero (the forget gate has 1 more), `output.kernel` [20, 1], normal with variance 1/20, and
 * `output.bias` [1], zero. States start at zero.
 * @throws ConfigurationError for an option out of range
 */
export function lstmCoordinatewise(given: LstmCoordinatewiseOptions = {}): LearnedOptimizer {
  const config = checkArchitecture(options, given);
  const { units, preprocess, stepMultiplier, outputScale } = config;
  return withConfig('lstm-coordinatewise', config, {
    name: 'lstm-coordinatewise',
    initTheta: (random) => ({
      cells: units.map((size, i) => lstmTheta(i === 0 ? 2 : units[i - 1], size, random)),
      output: denseTheta([units[units.length - 1], 1], random, outputScale)[0],
    }),
    optimizer: (given) => {
      const theta = given as Theta;
      return {
        init: (params): State => ({
          cells: treeFlatten<tf.Tensor>(params).map((p) =>
            units.map((size) => ({ cell: tf.zeros([p.size, size]), hidden: tf.zeros([p.size, size]) })),
          ),
        }),
        update: ({ params, gradients, state }) => {
          const before = (state as State).cells;
          const gradientLeaves = treeFlatten<tf.Tensor>(gradients);
          const cells = gradientLeaves.map((g, i) => {
            let x = preprocessed(g, preprocess);
            return theta.cells.map((cell, layer) => {
              const next = lstm(cell, x, before[i][layer]);
              x = next.hidden;
              return next;
            });
          });
          const next = treeFlatten<tf.Tensor>(params).map((p, i) => {
            const out = dense(theta.output, cells[i][units.length - 1].hidden);
            return tf.add(p, tf.mul(tf.reshape(out, p.shape), stepMultiplier));
          });
          return { params: treeUnflatten(params, next), state: { cells } };
        },
      };
    },
  });
}

export function registerLstmCoordinatewise({ optimizer }: Registrar): void {
  optimizer('lstm-coordinatewise', {
    description: "learned: two layers of LSTM over each parameter's gradients, 5141 weights",
    options,
    create: lstmCoordinatewise,
  });
}
