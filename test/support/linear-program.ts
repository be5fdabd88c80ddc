/**
 * A linear system s_{t+1} = A s_t + B θ with s₀ fixed, and losses of s_{t+1} whose Gaussian-smoothed gradients have
 * closed forms. All derivatives here come from the sums below, not from any estimator.
 *
 * With θ perturbed by δ_c during chunk c (K steps each, from the episode's start), s_{t+1} = s̄_{t+1} + Σ_c D_{t,c} δ_c,
 * D_{t,c} = Σ_{u in c, u ≤ t} A^{t−u} B, and a = w·s_{t+1} is Gaussian about ā with variance σ² Σ_c ‖D_{t,c}ᵀ w‖²:
 * - `quadratic`, ½‖s − y‖²: smoothing adds a constant, so the gradient is Σ_c D_{t,c}ᵀ (s̄ − y)
 * - `linear`, w·s: Σ_c D_{t,c}ᵀ w
 * - `cosine`, cos(w·s): E cos a = cos ā·exp(−Var/2), so −sin ā·exp(−Var/2)·Σ_c D_{t,c}ᵀ w
 */
import { plainProgram, type PlainProblem, type PlainProgram } from './plain-program';

export type LinearLoss = 'quadratic' | 'linear' | 'cosine';

export interface LinearSystem {
  readonly a: readonly (readonly number[])[];
  readonly b: readonly (readonly number[])[];
  readonly start: readonly number[];
  /** y of the quadratic loss, w of the others. */
  readonly target: readonly number[];
  readonly loss: LinearLoss;
  readonly horizon: number;
}

/** Three numbers of state, two of θ: slowly turning and decaying, so that early steps matter for late ones. */
export function linearSystem(loss: LinearLoss, horizon = 12): LinearSystem {
  return {
    a: [
      [0.85, -0.3, 0.1],
      [0.25, 0.8, 0.05],
      [0, 0.2, 0.7],
    ],
    b: [
      [0.5, -0.2],
      [0.1, 0.6],
      [0.4, 0.3],
    ],
    start: [1, -0.5, 0.3],
    target: loss === 'quadratic' ? [0.4, 1.2, -0.6] : [0.5, -0.3, 0.4],
    loss,
    horizon,
  };
}

const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
};

function lossOf(system: LinearSystem, state: ArrayLike<number>): number {
  if (system.loss === 'quadratic') {
    return system.target.reduce((sum, y, i) => sum + 0.5 * (state[i] - y) ** 2, 0);
  }
  const projection = dot(system.target, state);
  return system.loss === 'linear' ? projection : Math.cos(projection);
}

export function linearProblem(system: LinearSystem): PlainProblem {
  const next = new Float64Array(system.start.length);
  return {
    name: `linear-${system.loss}`,
    horizon: system.horizon,
    thetaSize: system.b[0].length,
    stateSize: system.start.length,
    init: (_theta, state) => state.set(system.start),
    step: (theta, state) => {
      for (let i = 0; i < next.length; i++) next[i] = dot(system.a[i], state) + dot(system.b[i], theta);
      state.set(next);
      return lossOf(system, state);
    },
    metric: (state) => state[0],
    tangent: {
      init: (_theta, _v, out) => out.fill(0),
      step: ({ theta, state, v }, along) => {
        const moved = system.a.map((row, i) => dot(row, along) + dot(system.b[i], v));
        const after = system.a.map((row, i) => dot(row, state) + dot(system.b[i], theta));
        along.set(moved);
        return dot(lossSlope(system, after), moved);
      },
    },
  };
}

/** ∂L/∂s of the state after the step. */
function lossSlope(system: LinearSystem, state: readonly number[]): number[] {
  const { loss, target } = system;
  if (loss === 'quadratic') return state.map((s, i) => s - target[i]);
  const slope = loss === 'linear' ? 1 : -Math.sin(dot(target, state));
  return target.map((w) => slope * w);
}

export function linearProgram(system: LinearSystem): PlainProgram {
  return plainProgram(linearProblem(system));
}

/** s̄_{t+1} for t = 0 … T−1 with unperturbed θ. */
export function trajectory(system: LinearSystem, theta: ArrayLike<number>): number[][] {
  const states: number[][] = [];
  let state: readonly number[] = system.start;
  for (let t = 0; t < system.horizon; t++) {
    const last = state;
    const next = system.a.map((row, i) => dot(row, last) + dot(system.b[i], theta));
    states.push(next);
    state = next;
  }
  return states;
}

/** Mean over the horizon of the unperturbed loss. */
export function meanLoss(system: LinearSystem, theta: ArrayLike<number>): number {
  return trajectory(system, theta).reduce((sum, state) => sum + lossOf(system, state), 0) / system.horizon;
}

/** (A^k B)ᵀ v by θ's components. */
function pullBack(system: LinearSystem, v: readonly number[], k: number): number[] {
  let x = [...v];
  for (let i = 0; i < k; i++)
    x = system.a[0].map((_, col) => x.reduce((sum, xi, row) => sum + xi * system.a[row][col], 0));
  return system.b[0].map((_, col) => x.reduce((sum, xi, row) => sum + xi * system.b[row][col], 0));
}

/**
 * D_{t,c}ᵀ v for the chunks c that reach step t; only inner steps u ≥ `from` count (the state before is held fixed).
 */
function chunkPullBacks(
  system: LinearSystem,
  v: readonly number[],
  t: number,
  period: number,
  from: number,
): number[][] {
  const chunks: (number[] | undefined)[] = [];
  for (let u = from; u <= t; u++) {
    const c = Math.floor(u / period) - Math.floor(from / period);
    const part = pullBack(system, v, t - u);
    chunks[c] = chunks[c]?.map((x, i) => x + part[i]) ?? part;
  }
  return chunks as number[][];
}

/**
 * Gradient by each chunk's perturbation of E[L_t], smoothed with standard deviation sigma, at step t. `from` as above.
 */
function stepGradients(
  system: LinearSystem,
  state: readonly number[],
  t: number,
  { period, sigma, from }: { period: number; sigma: number; from: number },
): number[][] {
  const { loss, target } = system;
  if (loss === 'quadratic') {
    return chunkPullBacks(
      system,
      state.map((s, i) => s - target[i]),
      t,
      period,
      from,
    );
  }
  const parts = chunkPullBacks(system, target, t, period, from);
  if (loss === 'linear') return parts;
  const variance = sigma ** 2 * parts.reduce((sum, part) => sum + dot(part, part), 0);
  const slope = -Math.sin(dot(target, state)) * Math.exp(-variance / 2);
  return parts.map((part) => part.map((x) => slope * x));
}

export interface SmoothingOptions {
  readonly sigma: number;
  /** K: steps that one perturbation lasts. */
  readonly period: number;
  readonly window: number;
  /** `persistent`: perturbed since the episode's start; `truncated`: since the window's. */
  readonly perturbed: 'persistent' | 'truncated';
}

/** g_{τ,j}: per window and chunk the smoothed gradient of the window's mean loss. */
export function windowGradients(
  system: LinearSystem,
  theta: ArrayLike<number>,
  options: SmoothingOptions,
): number[][][] {
  const { window } = options;
  const states = trajectory(system, theta);
  return Array.from({ length: system.horizon / window }, (_, tau) => {
    const sums: (number[] | undefined)[] = [];
    for (let t = tau * window; t < (tau + 1) * window; t++) {
      const from = options.perturbed === 'truncated' ? tau * window : 0;
      stepGradients(system, states[t], t, { ...options, from }).forEach((part, c) => {
        sums[c] = part.map((x, i) => (sums[c]?.[i] ?? 0) + x / window);
      });
    }
    return sums as number[][];
  });
}

/** Σ_j g_{τ,j} of each window. */
export function windowTotals(gradients: number[][][]): number[][] {
  return gradients.map((chunks) => chunks[0].map((_, i) => chunks.reduce((sum, chunk) => sum + chunk[i], 0)));
}

/** The smoothed gradient of the mean loss per inner step over the horizon: the mean of the windows' totals. */
export function horizonGradient(system: LinearSystem, theta: ArrayLike<number>, options: SmoothingOptions): number[] {
  const totals = windowTotals(windowGradients(system, theta, options));
  return totals[0].map((_, i) => totals.reduce((sum, g) => sum + g[i], 0) / totals.length);
}

export const squaredNorm = (x: ArrayLike<number>): number => dot(x, x);
