/**
 * Derivatives of plain problems, float64, by the problem's own tangents and nothing else: reverse windows are made of as
 * many tangents as θ has numbers. Follows `DerivativeProgram` to the letter, and refuses what the contract forbids.
 */
import type {
  DerivativePopulation,
  DerivativeProgram,
  DerivativeResult,
  Differentiation,
  ParticleSelection,
  ResetRequest,
  WindowResult,
} from '../../src/contracts';
import { uniforms } from '../../src/random/draws';
import { drawWord, episodeKey, foldIn } from '../../src/random/keys';
import {
  fail,
  perturbed,
  PlainPopulation,
  type PlainProblem,
  type PlainProgram,
  type PlainTangent,
} from './plain-population';

type NoiseOf = (k0: number, k1: number) => Float32Array;
type Directed = ParticleSelection & { readonly directions?: Float64Array };

const norm = (x: Float64Array): number => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
const dot = (x: Float64Array, y: Float64Array): number => x.reduce((sum, value, i) => sum + value * y[i], 0);
const unit = (size: number, k: number): Float64Array =>
  Float64Array.from({ length: size }, (_, i) => (i === k ? 1 : 0));

/** Where things lie behind the state within a row. */
class Layout {
  readonly size: number;
  /** Tangents that are carried: directions, or UORO's two vectors. */
  readonly carried: number;

  constructor(
    readonly problem: PlainProblem,
    readonly differentiation: Differentiation,
    /** Numbers of a row of derivatives. */
    readonly derivatives: number,
  ) {
    const { stateSize, thetaSize } = problem;
    const { mode } = differentiation;
    this.carried = mode === 'rank-one' ? stateSize + thetaSize : derivatives * stateSize;
    this.size = stateSize + this.carried + derivatives + (mode === 'tangent' ? derivatives * thetaSize : 0);
  }

  state(row: Float64Array): Float64Array {
    return row.subarray(0, this.problem.stateSize);
  }

  tangent(row: Float64Array, d: number): Float64Array {
    const { stateSize } = this.problem;
    return row.subarray(stateSize * (1 + d), stateSize * (2 + d));
  }

  sums(row: Float64Array): Float64Array {
    const from = this.problem.stateSize + this.carried;
    return row.subarray(from, from + this.derivatives);
  }

  /** Directions, kept from the reset on. */
  kept(row: Float64Array): Float64Array {
    return row.subarray(this.problem.stateSize + this.carried + this.derivatives);
  }

  direction(row: Float64Array, d: number): Float64Array {
    const { thetaSize } = this.problem;
    if (this.differentiation.mode !== 'tangent') return unit(thetaSize, d);
    return this.kept(row).subarray(d * thetaSize, (d + 1) * thetaSize);
  }
}

/** ν of one step, or of the start; by the key that the graph's own draws have. */
function signs(seed: number, size: number, worker: number, episode: number, t?: number): Float64Array {
  const key = episodeKey(seed, 'noise', worker, episode);
  const drawn = uniforms(foldIn(t === undefined ? key : foldIn(key, t), drawWord(0)), size);
  return Float64Array.from(drawn, (u) => (u < 0.5 ? 1 : -1));
}

/** The problem with tangents behind its state, which are moved along by every step. */
function derived(layout: Layout, tangent: PlainTangent, seed: number): PlainProblem {
  const { problem, differentiation, derivatives } = layout;
  const { stateSize, thetaSize } = problem;
  const last = differentiation.mode === 'reverse' && differentiation.windowLoss === 'last';
  const zero = new Float64Array(thetaSize);
  return {
    ...problem,
    stateSize: layout.size,
    ...(problem.metric === undefined ? {} : { metric: (row) => problem.metric!(layout.state(row)) }),
    init: (theta, row, worker, episode) => {
      row.fill(0);
      problem.init(theta, layout.state(row), worker, episode);
    },
    step: (theta, row, t, worker, episode) => {
      const state = layout.state(row);
      const where = { t, worker, episode };
      const sums = layout.sums(row);
      const along = (v: Float64Array, moved: Float64Array): number => tangent.step({ theta, state, v }, moved, where);
      if (differentiation.mode === 'rank-one') {
        // Tallec and Ollivier 2017, Alg. 1.
        const s = layout.tangent(row, 0);
        const th = row.subarray(2 * stateSize, 2 * stateSize + thetaSize);
        const nu = signs(seed, stateSize, worker, episode, t);
        const lossAlong = along(zero, s);
        const shares = new Float64Array(thetaSize);
        for (let k = 0; k < thetaSize; k++) {
          const column = new Float64Array(stateSize);
          sums[k] += along(unit(thetaSize, k), column) + th[k] * lossAlong;
          shares[k] = dot(nu, column);
        }
        const rho0 = Math.sqrt(norm(th) / (norm(s) + 1e-7)) + 1e-7;
        const rho1 = Math.sqrt(norm(shares) / (norm(nu) + 1e-7)) + 1e-7;
        for (let i = 0; i < stateSize; i++) s[i] = rho0 * s[i] + rho1 * nu[i];
        for (let k = 0; k < thetaSize; k++) th[k] = th[k] / rho0 + shares[k] / rho1;
      } else {
        for (let d = 0; d < derivatives; d++) {
          const share = along(layout.direction(row, d), layout.tangent(row, d));
          sums[d] = (last ? 0 : sums[d]) + share;
        }
      }
      return problem.step(theta, state, t, worker, episode);
    },
  };
}

class PlainDerivativePopulation extends PlainPopulation implements DerivativePopulation {
  constructor(
    program: PlainProgram,
    private readonly layout: Layout,
    private readonly tangent: PlainTangent,
    noiseOf: NoiseOf,
    size: number,
    private readonly seed: number,
  ) {
    super(program, derived(layout, tangent, seed), noiseOf, size);
  }

  override async reset(request: ResetRequest & { readonly directions?: Float64Array }): Promise<void> {
    await super.reset(request);
    const { layout, tangent } = this;
    const { mode } = layout.differentiation;
    const { thetaSize, stateSize } = layout.problem;
    request.particles.forEach((particle, i) => {
      const row = this.row(particle);
      const theta = new Float64Array(thetaSize);
      perturbed(request, i, this.noiseOf, theta);
      if (mode === 'tangent') {
        layout.kept(row).set(this.directionsOf(request, i));
        for (let d = 0; d < layout.derivatives; d++)
          tangent.init(theta, layout.direction(row, d), layout.tangent(row, d));
      }
      if (mode === 'rank-one') {
        const nu = signs(this.seed, stateSize, this.worker[particle], this.episode[particle]);
        const shares = Float64Array.from({ length: thetaSize }, (_, k) => {
          const column = new Float64Array(stateSize);
          tangent.init(theta, unit(thetaSize, k), column);
          return dot(nu, column);
        });
        if (shares.every((share) => share === 0)) return;
        const rho = Math.sqrt(norm(shares) / (norm(nu) + 1e-7)) + 1e-7;
        nu.forEach((sign, j) => (row[stateSize + j] = rho * sign));
        shares.forEach((share, k) => (row[2 * stateSize + k] = share / rho));
      }
    });
  }

  override advance(request: Directed & { readonly steps: number }): Promise<WindowResult> {
    this.checkDirections(request);
    return super.advance(request);
  }

  async differentiate(request: Directed & { readonly steps: number }): Promise<DerivativeResult> {
    const { layout, tangent } = this;
    const { differentiation, derivatives } = layout;
    const { thetaSize } = layout.problem;
    request.particles.forEach((particle, i) => {
      const row = this.row(particle);
      layout.sums(row).fill(0);
      if (differentiation.mode !== 'reverse') return;
      if (request.steps > differentiation.steps) fail('a reverse window longer than planned');
      const started = differentiation.start === true;
      if (started && this.t[particle] !== 0) fail('a reverse window through init that does not begin at 0');
      const theta = new Float64Array(thetaSize);
      perturbed(request, i, this.noiseOf, theta);
      for (let d = 0; d < derivatives; d++) {
        layout.tangent(row, d).fill(0);
        if (started) tangent.init(theta, layout.direction(row, d), layout.tangent(row, d));
      }
    });
    const result = await this.advance(request);
    const out = new Float64Array(request.particles.length * derivatives);
    const last = differentiation.mode === 'reverse' && differentiation.windowLoss === 'last';
    request.particles.forEach((particle, i) => {
      out.set(
        layout.sums(this.row(particle)).map((sum) => (last ? sum : sum / request.steps)),
        i * derivatives,
      );
    });
    return { ...result, derivatives: out };
  }

  private directionsOf({ directions }: Directed, i: number): Float64Array {
    const width = this.layout.derivatives * this.layout.problem.thetaSize;
    return directions?.subarray(i * width, (i + 1) * width) ?? fail('no directions');
  }

  /** The same for a particle throughout an episode, unless the program lets them change. */
  private checkDirections(request: Directed): void {
    const { layout } = this;
    if (layout.differentiation.mode !== 'tangent') return;
    const width = layout.derivatives * layout.problem.thetaSize;
    if (request.directions?.length !== width * request.particles.length) fail('directions of another length');
    request.particles.forEach((particle, i) => {
      const kept = layout.kept(this.row(particle));
      const given = this.directionsOf(request, i);
      if (this.program.directionsChange) kept.set(given);
      else if (given.some((x, k) => x !== kept[k])) fail('directions changed within an episode');
    });
  }
}

export async function plainDerivative(
  program: PlainProgram,
  problem: PlainProblem,
  noiseOf: NoiseOf,
  differentiation: Differentiation,
): Promise<DerivativeProgram> {
  await Promise.resolve();
  const { tangent } = problem;
  if (tangent === undefined) return fail('this problem has no derivatives');
  const derivatives = differentiation.mode === 'tangent' ? differentiation.directions : problem.thetaSize;
  const layout = new Layout(problem, differentiation, derivatives);
  program.derivativePrograms++;
  return {
    engine: program.engine,
    problem: program.problem,
    theta: program.theta,
    metrics: program.metrics,
    finishes: [],
    differentiation,
    derivatives,
    createPopulation: ({ size, seed }) =>
      Promise.resolve(new PlainDerivativePopulation(program, layout, tangent, noiseOf, size, seed)),
    dispose: () => {
      program.derivativePrograms--;
      return Promise.resolve();
    },
  };
}
