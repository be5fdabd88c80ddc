import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { withConfig, type LearnedOptimizer, type Registrar, type TensorTree } from '../src/contracts';
import { architectureOptions, checkArchitecture } from './architecture-options';
import {
  columnOf,
  denseTheta,
  mapTrees,
  moved,
  movedTrees,
  tanhTime,
  TIME_SCALES,
  zeroTrees,
  type Dense,
} from './features';
import {
  featureRows,
  inOneRow,
  networkStep,
  networkSteps,
  partsOfRows,
  type ParameterNetwork,
} from './parameter-network';

const options = z.strictObject({
  /** Widths of the hidden layers. */
  hidden: architectureOptions.widths.default([32, 32]),
  /** One a momentum. */
  decays: architectureOptions.decays.default([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999]),
  /** τ of the time features. */
  timeScales: architectureOptions.scales.default([...TIME_SCALES]),
  /** Multiplies every step. */
  stepMultiplier: architectureOptions.positive.default(0.001),
  /** Multiplies the magnitude, in the exponent. */
  magnitudeMultiplier: architectureOptions.positive.default(0.001),
  /** Of θ₀'s last layer: smaller, and meta-training starts from smaller steps. */
  outputScale: architectureOptions.positive.default(1),
});
export type PerParameterMlpOptions = z.input<typeof options>;

interface Theta extends Record<string, TensorTree> {
  layers: Dense[];
}

/**
 * A small network that sees one parameter at a time, with the same weights for all (Metz et al. 2019, "Understanding and
 * correcting pathologies in the training of learned optimizers", in the setting of Li et al. 2023, §5.2).
 *
 * Features of a parameter, 19: gradient, parameter, and momenta m = d·m + (1 − d)·g with d = 0.1, 0.5, 0.9, 0.99, 0.999,
 * 0.9999, each divided by √(mean square over its tensor + 1e-5); then tanh(t/τ − 1) with τ = 1, 3, 10 … 1e5. Through
 * 19 → 32 → 32 → 2 with ReLU to a direction and a magnitude: p −= 0.001·direction·exp(0.001·magnitude).
 *
 * θ, 1762 numbers: `layers.i.kernel` [in, out], normal with variance 1/in, and `layers.i.bias` [out], zero.
 * @throws ConfigurationError for an option out of range
 */
export function perParameterMlp(given: PerParameterMlpOptions = {}): LearnedOptimizer {
  const config = checkArchitecture(options, given);
  const { hidden, decays, timeScales, stepMultiplier, magnitudeMultiplier, outputScale } = config;
  const inputs = 2 + decays.length + timeScales.length;
  return withConfig('per-parameter-mlp', config, {
    name: 'per-parameter-mlp',
    initTheta: (random) => ({ layers: denseTheta([inputs, ...hidden, 2], random, outputScale) }),
    optimizer: (theta) => {
      const networkAt = (t: tf.Scalar): ParameterNetwork => ({
        layers: (theta as Theta).layers,
        time: tanhTime(t, timeScales),
        stepMultiplier,
        magnitudeMultiplier,
      });
      return {
        init: (params) => ({ momenta: zeroTrees(params, decays.length) }),
        update: ({ params, gradients, state, t }) => {
          const momenta = movedTrees((state as { momenta: TensorTree[] }).momenta, gradients, decays);
          const network = networkAt(t);
          const next = mapTrees([params, gradients, ...momenta], ([p, g, ...averages]) =>
            networkStep(p, [g, p, ...averages], network),
          );
          return { params: next, state: { momenta } };
        },
        eager: {
          // A row a momentum, through all tensors.
          init: (params) => ({ momenta: tf.tile(tf.zerosLike(inOneRow(params)), [decays.length, 1]) }),
          update: ({ params, gradients, state, t }) => {
            const [p, g] = [inOneRow(params), inOneRow(gradients)];
            const before = (state as { momenta: tf.Tensor }).momenta;
            const momenta = moved(before, g, columnOf(decays), columnOf(decays.map((decay) => 1 - decay)));
            const seen = partsOfRows(tf.concat([g, p, momenta], 0), params).map((x) =>
              featureRows([[x]], [x.shape[1]!]),
            );
            return { params: networkSteps(params, seen, networkAt(t)), state: { momenta } };
          },
        },
      };
    },
  });
}

export function registerPerParameterMlp({ optimizer }: Registrar): void {
  optimizer('per-parameter-mlp', {
    description: 'learned: a network of 1762 weights that sees each parameter with its gradient and six momenta',
    options,
    create: perParameterMlp,
  });
}
