/**
 * Influence balancing (Vicol et al. 2021, §5.1; Tallec and Ollivier 2017) in plain float64: s' = A s + θ·sign, n = 23,
 * A_ii = A_{i,i+1} = ½, sign 10×(+1) then 13×(−1), s₀ = 1, θ₀ = ½, loss ½(s⁽¹⁾ − 1)² of the state after the step.
 */
import type { PlainProblem } from './plain-program';

export const SIZE = 23;
export const THETA_START = 0.5;
const POSITIVE = 10;

/** One step in place; returns the loss. */
export function influenceStep(theta: number, state: Float64Array): number {
  for (let i = 0; i < SIZE; i++) {
    state[i] = 0.5 * state[i] + (i + 1 < SIZE ? 0.5 * state[i + 1] : 0) + (i < POSITIVE ? theta : -theta);
  }
  return 0.5 * (state[0] - 1) ** 2;
}

export const influenceBalancing: PlainProblem = {
  name: 'influence-balancing',
  horizon: Infinity,
  thetaSize: 1,
  stateSize: SIZE,
  init: (_theta, state) => state.fill(1),
  step: (theta, state) => influenceStep(theta[0], state),
  tangent: {
    init: (_theta, _v, out) => out.fill(0),
    step: ({ theta, state, v }, along) => {
      influenceStep(v[0], along);
      // The same sum as the step's own, so that both see one number.
      return (0.5 * state[0] + 0.5 * state[1] + theta[0] - 1) * along[0];
    },
  },
};

/** The logged number: loss after 500 fresh steps from s = 1. */
export function loggedLoss(theta: number): number {
  const state = new Float64Array(SIZE).fill(1);
  let loss = 0;
  for (let t = 0; t < 500; t++) loss = influenceStep(theta, state);
  return loss;
}

/** Real-time recurrent learning: θ after each of `iterations` steps of SGD on the exact online gradient. */
export function rtrl(rate: number, iterations: number): Float64Array {
  const state = new Float64Array(SIZE).fill(1);
  // ds/dθ follows the same recurrence with θ's coefficient as its input: dS' = A dS + sign.
  const tangent = new Float64Array(SIZE);
  const thetas = new Float64Array(iterations);
  let theta = THETA_START;
  for (let i = 0; i < iterations; i++) {
    influenceStep(theta, state);
    influenceStep(1, tangent);
    theta -= rate * (state[0] - 1) * tangent[0];
    thetas[i] = theta;
  }
  return thetas;
}

/** PES with 500 pairs, least and most logged loss of 40 seeds: [iteration, least, most]. */
export const pesRange = [
  [500, 1.2e-3, 5.8e-2],
  [1000, 1.9e-7, 1.3e-4],
  [2000, 2.9e-15, 9.8e-9],
  [3000, 1e-22, 4e-12],
] as const;
