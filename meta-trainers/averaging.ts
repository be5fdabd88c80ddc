/**
 * An exponential average of θ for evaluation: the weighted mean of the θs of all updates so far, those of n updates ago
 * with weight decayⁿ. Weights are normalised (as in Adam's bias correction), so that early averages lean neither to 0
 * nor to θ₀. Pure functions; the state is a bundle, for checkpoints.
 */
import type { ArrayBundle } from '../src/contracts';

/** State before any update. */
export function initAverage(size: number): ArrayBundle {
  return { theta: { shape: [size], data: new Float64Array(size) }, weight: { shape: [1], data: new Float64Array(1) } };
}

/** State after one more θ; `decay` in [0, 1). */
export function updateAverage(state: ArrayBundle, theta: Float64Array, decay: number): ArrayBundle {
  const old = state.theta.data;
  const weight = decay * state.weight.data[0] + (1 - decay);
  return {
    theta: { shape: [theta.length], data: theta.map((x, i) => decay * old[i] + (1 - decay) * x) },
    weight: { shape: [1], data: Float64Array.of(weight) },
  };
}

/** The average; `theta` itself before the first update. */
export function averagedTheta(state: ArrayBundle, theta: Float64Array): Float64Array {
  const weight = state.weight.data[0];
  const sum = state.theta.data;
  return weight === 0 ? theta.slice() : theta.map((_, i) => sum[i] / weight);
}
