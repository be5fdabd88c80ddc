/**
 * The gradient estimators written out from their definitions, one worker and one step at a time, in float64. A particle
 * carries the whole of ∂s/∂θ, one tangent for each number of θ; what an estimator knows less of, is left out at the end.
 */
import { normals, uniforms } from '../../src/random/draws';
import { drawWord, episodeKey, foldIn, noiseKey } from '../../src/random/keys';
import type { GradientRow } from './estimator-rows';
import type { PlainProblem } from './plain-program';

export interface GradientByHand {
  readonly gradient: number[];
  /** Of every sound worker. */
  readonly norms: number[];
  readonly meanLoss: number;
  readonly metric: number;
  readonly burnInSteps: number;
  readonly dropped: number;
  readonly exploded: number;
}

export interface GradientByHandSettings {
  readonly problem: PlainProblem;
  readonly row: Pick<GradientRow, 'kind' | 'loss' | 'scoredSteps'>;
  /** Of PES+Analytic. */
  readonly sigma: number;
  readonly seed: number;
  /** One a worker. */
  readonly offsets: ArrayLike<number>;
  /** θ of each iteration. */
  readonly thetas: readonly Float64Array[];
  readonly clip?: number;
}

const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number => Array.from(x).reduce((s, v, i) => s + v * y[i], 0);
const length = (x: ArrayLike<number>): number => Math.sqrt(dot(x, x));

/** One trajectory and the derivative of its state by θ, row k by θ's number k. */
class Trajectory {
  readonly state: Float64Array;
  readonly sensitivity: Float64Array[];

  constructor(private readonly problem: PlainProblem) {
    this.state = new Float64Array(problem.stateSize);
    this.sensitivity = Array.from({ length: problem.thetaSize }, () => new Float64Array(problem.stateSize));
  }

  start(theta: Float64Array, worker: number, episode: number): void {
    this.problem.init(theta, this.state, worker, episode);
    this.sensitivity.forEach((column, k) => this.problem.tangent!.init(theta, this.unit(k), column));
  }

  detach(): void {
    for (const column of this.sensitivity) column.fill(0);
  }

  unit(k: number): Float64Array {
    return Float64Array.from({ length: this.problem.thetaSize }, (_, i) => (i === k ? 1 : 0));
  }

  /** Loss, and its derivative through all that `sensitivity` knows. */
  step(theta: Float64Array, t: number, worker: number, episode: number): { loss: number; gradient: number[] } {
    const { problem, state } = this;
    const where = { t, worker, episode };
    const gradient = this.sensitivity.map((column, k) =>
      problem.tangent!.step({ theta, state, v: this.unit(k) }, column, where),
    );
    return { loss: problem.step(theta, state, t, worker, episode), gradient };
  }
}

/** UORO's s̃ and θ̃ (Tallec and Ollivier 2017, Alg. 1), with the whole of ∂F/∂s and ∂F/∂θ written out. */
class RankOne {
  private s: number[];
  private theta: number[];

  constructor(
    private readonly problem: PlainProblem,
    private readonly seed: number,
  ) {
    this.s = new Array<number>(problem.stateSize).fill(0);
    this.theta = new Array<number>(problem.thetaSize).fill(0);
  }

  private signs(worker: number, episode: number, t?: number): number[] {
    const key = episodeKey(this.seed, 'noise', worker, episode);
    const own = foldIn(t === undefined ? key : foldIn(key, t), drawWord(0));
    return Array.from(uniforms(own, this.problem.stateSize), (u) => (u < 0.5 ? 1 : -1));
  }

  start(theta: Float64Array, worker: number, episode: number): void {
    const { problem } = this;
    const nu = this.signs(worker, episode);
    const shares = this.theta.map((_, k) => {
      const column = new Float64Array(problem.stateSize);
      problem.tangent!.init(
        theta,
        Float64Array.from(this.theta, (__, i) => (i === k ? 1 : 0)),
        column,
      );
      return dot(nu, column);
    });
    const rho = Math.sqrt(length(shares) / (length(nu) + 1e-7)) + 1e-7;
    const depends = shares.some((share) => share !== 0);
    this.s = nu.map((sign) => (depends ? rho * sign : 0));
    this.theta = shares.map((share) => share / rho);
  }

  step(theta: Float64Array, state: Float64Array, where: { t: number; worker: number; episode: number }): number[] {
    const { stateSize, thetaSize, tangent } = this.problem;
    const none = new Float64Array(thetaSize);
    // Columns of ∂F/∂s with ∂L/∂s, and of ∂F/∂θ with ∂L/∂θ, one unit vector after another.
    const byState = Array.from({ length: stateSize }, (_, i) => {
      const column = Float64Array.from({ length: stateSize }, (__, j) => (i === j ? 1 : 0));
      return { loss: tangent!.step({ theta, state, v: none }, column, where), column };
    });
    const byTheta = Array.from({ length: thetaSize }, (_, k) => {
      const column = new Float64Array(stateSize);
      const v = Float64Array.from({ length: thetaSize }, (__, i) => (i === k ? 1 : 0));
      return { loss: tangent!.step({ theta, state, v }, column, where), column };
    });
    const lossAlong = byState.reduce((sum, { loss }, i) => sum + loss * this.s[i], 0);
    const gradient = byTheta.map(({ loss }, k) => loss + lossAlong * this.theta[k]);

    const nu = this.signs(where.worker, where.episode, where.t);
    const carried = this.s.map((_, j) => byState.reduce((sum, { column }, i) => sum + column[j] * this.s[i], 0));
    const shares = byTheta.map(({ column }) => dot(nu, column));
    const rho0 = Math.sqrt(length(this.theta) / (length(carried) + 1e-7)) + 1e-7;
    const rho1 = Math.sqrt(length(shares) / (length(nu) + 1e-7)) + 1e-7;
    this.s = carried.map((x, j) => rho0 * x + rho1 * nu[j]);
    this.theta = this.theta.map((x, k) => x / rho0 + shares[k] / rho1);
    return gradient;
  }
}

export function gradientByHand(settings: GradientByHandSettings): GradientByHand[] {
  const { problem, row, sigma, seed, offsets, thetas, clip = Infinity } = settings;
  const { horizon, thetaSize } = problem;
  const paired = row.kind === 'analytic';
  const W = row.scoredSteps;

  class Worker {
    episode = -1;
    t = 0;
    readonly sides = (paired ? [1, -1] : [0]).map((sign) => ({ sign, path: new Trajectory(problem) }));
    readonly rankOne = new RankOne(problem, seed);

    constructor(readonly index: number) {}

    noise(chunk: number): Float32Array {
      return normals(noiseKey(seed, this.index, this.episode, chunk), thetaSize);
    }

    perturbed(sign: number, theta: Float64Array): Float64Array {
      const noise = this.noise(Math.floor(this.t / W));
      return theta.map((x, k) => (sign === 0 ? x : x + sign * sigma * noise[k]));
    }

    /** One step of every side: losses and derivatives. */
    step(theta: Float64Array): { loss: number; gradient: number[] }[] {
      const where = { t: this.t, worker: this.index, episode: this.episode };
      const estimate = row.kind === 'rank-one' ? this.rankOne.step(theta, this.sides[0].path.state, where) : undefined;
      const results = this.sides.map(({ sign, path }) => {
        const { loss, gradient } = path.step(this.perturbed(sign, theta), this.t, this.index, this.episode);
        return { loss, gradient: estimate ?? gradient };
      });
      this.t++;
      return results;
    }

    /** A new episode up to step `target`, unscored. */
    enter(target: number, theta: Float64Array): number {
      this.episode++;
      this.t = 0;
      for (const { sign, path } of this.sides) path.start(this.perturbed(sign, theta), this.index, this.episode);
      if (row.kind === 'rank-one') this.rankOne.start(theta, this.index, this.episode);
      while (this.t < target) this.step(theta);
      return this.sides.length * target;
    }

    /** One window. */
    score(theta: Float64Array): { losses: number[]; metric: number; gradient: number[] } {
      const from = this.t;
      // The gradient within the window alone; an analytic window that is a whole episode goes through init as well.
      const detached = row.kind === 'detached' || (row.kind === 'analytic' && W < horizon);
      if (detached) for (const { path } of this.sides) path.detach();
      const sums = this.sides.map(() => ({ loss: 0, last: 0, gradient: new Array<number>(thetaSize).fill(0) }));
      let metric = 0;
      for (let i = 0; i < W; i++) {
        this.step(theta).forEach(({ loss, gradient }, side) => {
          const sum = sums[side];
          sum.loss += loss;
          sum.last = loss;
          sum.gradient = row.loss === 'last' ? gradient : sum.gradient.map((x, k) => x + gradient[k] / W);
          metric += (problem.metric?.(this.sides[side].path.state) ?? 0) / (W * this.sides.length);
        });
      }
      const losses = sums.map(({ loss, last }) => (Number.isFinite(loss) && row.loss === 'last' ? last : loss / W));
      let { gradient } = sums[0];
      if (row.kind === 'direction') {
        // Known along one direction of the episode alone.
        const v = this.noise(0);
        const along = dot(gradient, v);
        gradient = gradient.map((_, k) => along * v[k]);
      }
      if (row.kind === 'analytic') {
        const window = from / W;
        const first = window === 0 && W < horizon;
        const difference = losses[0] - losses[1];
        const own = gradient.map((_, k) => (sums[0].gradient[k] + sums[1].gradient[k]) / 2);
        // What a chunk of noise did, ES says: of the chunks before this window; in the first one of its own, as init is in it.
        const before = Array.from({ length: first ? 1 : window }, (_, chunk) => this.noise(chunk));
        gradient = own.map(
          (x, k) => (first ? 0 : x) + before.reduce((sum, n) => sum + (n[k] * difference) / (2 * sigma), 0),
        );
      }
      return { losses, metric, gradient };
    }
  }

  const workers = Array.from(offsets, (_, w) => new Worker(w));
  return thetas.map((theta, iteration) => {
    let burnInSteps = 0;
    const sums = { loss: 0, metric: 0, gradient: new Array<number>(thetaSize).fill(0) };
    const norms: number[] = [];
    const broken: Worker[] = [];
    let exploded = 0;
    for (const worker of workers) {
      if (iteration === 0) burnInSteps += worker.enter(offsets[worker.index], theta);
      else if (worker.t === horizon) burnInSteps += worker.enter(0, theta);
      const { losses, metric, gradient } = worker.score(theta);
      const finite = losses.every(Number.isFinite);
      if (!finite || !gradient.every(Number.isFinite)) {
        broken.push(worker);
        if (finite) exploded++;
        continue;
      }
      norms.push(length(gradient));
      const scale = Math.min(1, clip / length(gradient));
      gradient.forEach((g, k) => (sums.gradient[k] += scale * g));
      sums.loss += losses.reduce((a, b) => a + b, 0) / losses.length;
      sums.metric += metric;
    }
    for (const worker of broken) if (worker.t < horizon) burnInSteps += worker.enter(worker.t, theta);
    const valid = workers.length - broken.length;
    return {
      gradient: sums.gradient.map((g) => g / valid),
      norms,
      meanLoss: sums.loss / valid,
      metric: sums.metric / valid,
      burnInSteps,
      dropped: broken.length,
      exploded,
    };
  });
}
