/**
 * The evolutionary estimators written out from their definitions (conventions: scale, noise keys, burn-in, NaN policy),
 * one worker and one step at a time, in float64, with every noise drawn where it is used. Slow and plain on purpose:
 * what the estimators compute with grouped calls and kept sums is held against this.
 */
import { normals } from '../../src/random/draws';
import { noiseKey } from '../../src/random/keys';
import type { EstimatorRow } from './estimator-rows';
import type { PlainProblem } from './plain-program';

export interface ByHandEstimate {
  readonly gradient: number[];
  readonly meanLoss: number;
  readonly metric: number;
  readonly burnInSteps: number;
  readonly droppedPairs: number;
}

export interface ByHandSettings {
  readonly problem: PlainProblem;
  readonly row: Pick<EstimatorRow, 'noisePeriod' | 'perturbed' | 'scoredSteps'>;
  readonly sigma: number;
  readonly seed: number;
  /** One a worker. */
  readonly offsets: ArrayLike<number>;
  /** θ of each iteration. */
  readonly thetas: readonly Float64Array[];
}

export function byHand({ problem, row, sigma, seed, offsets, thetas }: ByHandSettings): ByHandEstimate[] {
  const { horizon, thetaSize, stateSize } = problem;
  const truncated = row.perturbed === 'truncated';

  class Worker {
    episode = -1;
    t = 0;
    readonly states: Record<'plus' | 'minus' | 'mean', Float64Array> = {
      plus: new Float64Array(stateSize),
      minus: new Float64Array(stateSize),
      mean: new Float64Array(stateSize),
    };

    constructor(readonly index: number) {}

    noise(t: number): Float32Array {
      return normals(noiseKey(seed, this.index, this.episode, Math.floor(t / row.noisePeriod)), thetaSize);
    }

    /** ξ/σ at the step before t: noises of all chunks that have begun, or of the window's own. */
    noiseSum(): number[] {
      const sum = new Array<number>(thetaSize).fill(0);
      const last = this.t - 1;
      const first = truncated ? last : 0;
      const chunk = (t: number): number => Math.floor(t / row.noisePeriod);
      for (let t = first; t <= last; t++) {
        if (t > first && chunk(t) === chunk(t - 1)) continue;
        this.noise(t).forEach((n, k) => (sum[k] += n));
      }
      return sum;
    }

    /** θ with the noise of this step. */
    perturbed(sign: number, theta: Float64Array): Float64Array {
      const noise = this.noise(this.t);
      return theta.map((x, k) => (sign === 0 ? x : x + sign * sigma * noise[k]));
    }

    /** One step of one state at time t; sign 0 is unperturbed. */
    step(which: 'plus' | 'minus' | 'mean', sign: number, theta: Float64Array): { loss: number; metric: number } {
      const state = this.states[which];
      const loss = problem.step(this.perturbed(sign, theta), state, this.t, this.index, this.episode);
      return { loss, metric: problem.metric?.(state) ?? 0 };
    }

    /** A new episode up to step `target`, unscored. */
    enter(target: number, theta: Float64Array): number {
      this.episode++;
      this.t = 0;
      const which = truncated ? (['mean'] as const) : (['plus', 'minus'] as const);
      const sign = { plus: 1, minus: -1, mean: 0 };
      for (const name of which) {
        problem.init(this.perturbed(sign[name], theta), this.states[name], this.index, this.episode);
      }
      for (; this.t < target; this.t++) for (const name of which) this.step(name, sign[name], theta);
      return which.length * target;
    }
  }

  const workers = Array.from(offsets, (_, w) => new Worker(w));
  return thetas.map((theta, iteration) => {
    let burnInSteps = 0;
    const gradient = new Array<number>(thetaSize).fill(0);
    let losses = 0;
    let metrics = 0;
    const broken: Worker[] = [];
    for (const worker of workers) {
      if (iteration === 0) burnInSteps += worker.enter(offsets[worker.index], theta);
      else if (worker.t === horizon) burnInSteps += worker.enter(0, theta);
      const sums = { plus: 0, minus: 0, mean: 0, metric: 0 };
      if (truncated) for (const name of ['plus', 'minus'] as const) worker.states[name].set(worker.states.mean);
      for (let i = 0; i < row.scoredSteps; i++, worker.t++) {
        for (const [name, sign] of [
          ['plus', 1],
          ['minus', -1],
          ['mean', 0],
        ] as const) {
          if (name === 'mean' && !truncated) continue;
          const { loss, metric } = worker.step(name, sign, theta);
          sums[name] += loss;
          if (name !== 'mean') sums.metric += metric;
        }
      }
      if (![sums.plus, sums.minus, sums.mean].every(Number.isFinite)) {
        broken.push(worker);
        continue;
      }
      const xi = worker.noiseSum().map((n) => sigma * n);
      xi.forEach((x, k) => (gradient[k] += (x * (sums.plus - sums.minus)) / (2 * sigma ** 2 * row.scoredSteps)));
      losses += (sums.plus + sums.minus) / (2 * row.scoredSteps);
      metrics += sums.metric / (2 * row.scoredSteps);
    }
    for (const worker of broken) if (worker.t < horizon) burnInSteps += worker.enter(worker.t, theta);
    const valid = workers.length - broken.length;
    return {
      gradient: gradient.map((g) => g / valid),
      meanLoss: losses / valid,
      metric: metrics / valid,
      burnInSteps,
      droppedPairs: broken.length,
    };
  });
}
