/**
 * Lorenz (Li et al. 2023, §5.1) in plain float64: Euler, dt 0.005; dx = a(y−x), dy = x(r−z)−y, dz = xy−bz; θ = (ln a,
 * ln r), b = 8/3; true a = 10, r = 28; loss (z − z*)² after the step, z* along the true constants' trajectory from the
 * same start.
 */
import { normals } from '../../src/random/draws';
import type { PlainProblem } from './plain-program';

export const HORIZON = 2000;
export const THETA_START: readonly number[] = [3.116, 3.7];
const START: readonly number[] = [1.2, 1.3, 1.6];
const DT = 0.005;
const B = 8 / 3;

function lorenzStep(a: number, r: number, s: Float64Array): void {
  const [x, y, z] = s;
  s[0] = x + DT * a * (y - x);
  s[1] = y + DT * (x * (r - z) - y);
  s[2] = z + DT * (x * y - B * z);
}

/** z* at steps 1 … HORIZON. */
function trueHeights(start: ArrayLike<number>): Float64Array {
  const state = Float64Array.from(start);
  return Float64Array.from({ length: HORIZON }, () => {
    lorenzStep(10, 28, state);
    return state[2];
  });
}

/** The training problem, from the fixed start. */
export function lorenz(): PlainProblem {
  const heights = trueHeights(START);
  // exp of θ is constant within a window, and every particle runs its window through.
  let logA = NaN;
  let logR = NaN;
  let a = NaN;
  let r = NaN;
  return {
    name: 'lorenz',
    horizon: HORIZON,
    thetaSize: 2,
    stateSize: 3,
    init: (_theta, state) => state.set(START),
    step: (theta, state, t) => {
      if (theta[0] !== logA || theta[1] !== logR) {
        [logA, logR] = theta;
        a = Math.exp(logA);
        r = Math.exp(logR);
      }
      lorenzStep(a, r, state);
      return (state[2] - heights[t]) ** 2;
    },
  };
}

/** Mean loss over `count` starts (1.2, 1.3, 1.6) + N(0, I), each against the true trajectory from the same start. */
export function lorenzTest(count: number): (theta: ArrayLike<number>) => number {
  const starts = Array.from({ length: count }, (_, i) => normals([0, i], 3).map((z, k) => z + START[k]));
  const heights = starts.map(trueHeights);
  return (theta) => {
    const a = Math.exp(theta[0]);
    const r = Math.exp(theta[1]);
    let sum = 0;
    starts.forEach((start, i) => {
      const state = Float64Array.from(start);
      for (let t = 0; t < HORIZON; t++) {
        lorenzStep(a, r, state);
        sum += (state[2] - heights[i][t]) ** 2;
      }
    });
    return sum / (count * HORIZON);
  };
}

/** Mean of the training problem's first losses, at θ = (ln a, ln r). */
export function lorenzLoss(theta: readonly number[], steps: number): number {
  const problem = lorenz();
  const at = Float64Array.from(theta);
  const state = new Float64Array(problem.stateSize);
  problem.init(at, state, 0, 0);
  let sum = 0;
  for (let t = 0; t < steps; t++) sum += problem.step(at, state, t, 0, 0);
  return sum / steps;
}
