/** What a plain program is made of: a problem on arrays, and particles of it. See plain-program.ts. */
import type {
  ArrayBundle,
  HorizonSchedule,
  ParticleSelection,
  Population,
  ResetRequest,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';

/** One particle's problem on arrays. */
export interface PlainProblem {
  readonly name: string;
  readonly horizon: number;
  readonly horizonSchedule?: HorizonSchedule;
  readonly thetaSize: number;
  readonly stateSize: number;
  /** Fills the state of a fresh episode. */
  init(theta: Float64Array, state: Float64Array, worker: number, episode: number): void;
  /** Changes the state in place and returns the loss. */
  step(theta: Float64Array, state: Float64Array, t: number, worker: number, episode: number): number;
  /** A metric named `metric`, of the state after the step. */
  metric?(state: Float64Array): number;
  /** Derivatives by hand, for programs that differentiate. */
  readonly tangent?: PlainTangent;
}

/** Derivatives along one direction v of θ. */
export interface PlainTangent {
  /** Fills ∂init/∂θ·v. */
  init(theta: Float64Array, v: Float64Array, out: Float64Array): void;
  /**
   * `along`, the tangent of the state before the step, becomes that of the state after: ∂s'/∂s·along + ∂s'/∂θ·v. Returns
   * ∂L/∂s·along + ∂L/∂θ·v. The state is that before the step and stays.
   */
  step(
    at: { readonly theta: Float64Array; readonly state: Float64Array; readonly v: Float64Array },
    along: Float64Array,
    where: { readonly t: number; readonly worker: number; readonly episode: number },
  ): number;
}

export interface PlainProgram extends UnrollProgram {
  /** Particle-steps that were run, all populations together. */
  steps: number;
  /** The calls of `advance`, in order, if `record` is set. */
  readonly calls: ParticleSelection[];
  record: boolean;
  /** Of `differentiate`, not disposed of yet. */
  derivativePrograms: number;
  /** Whether a particle's directions may change within an episode; `false`, since no estimator's do. */
  directionsChange: boolean;
}

export function fail(what: string): never {
  throw new Error(`plain program: ${what}`);
}

/** The θ of request particle i, written to `out`. */
export function perturbed(
  request: ParticleSelection,
  i: number,
  noiseOf: (k0: number, k1: number) => Float32Array,
  out: Float64Array,
): void {
  const p = request.perturbation;
  if (p.form === 'explicit') {
    out.set(p.thetas.subarray(i * out.length, (i + 1) * out.length));
    return;
  }
  out.set(p.theta);
  if (p.form === 'none' || p.signs[i] === 0) return;
  const { sigma } = p;
  if (typeof sigma !== 'number') fail('σ of several runs');
  const noise = noiseOf(p.keys[2 * i], p.keys[2 * i + 1]);
  for (let k = 0; k < out.length; k++) out[k] += p.signs[i] * sigma * noise[k];
}

export class PlainPopulation implements Population {
  private readonly state: Float64Array;
  protected readonly t: Int32Array;
  protected readonly worker: Int32Array;
  protected readonly episode: Int32Array;
  private readonly live: Uint8Array;

  constructor(
    protected readonly program: PlainProgram,
    private readonly problem: PlainProblem,
    protected readonly noiseOf: (k0: number, k1: number) => Float32Array,
    readonly size: number,
  ) {
    this.state = new Float64Array(size * problem.stateSize);
    this.t = new Int32Array(size);
    this.worker = new Int32Array(size);
    this.episode = new Int32Array(size);
    this.live = new Uint8Array(size);
  }

  protected row(particle: number): Float64Array {
    return this.state.subarray(particle * this.problem.stateSize, (particle + 1) * this.problem.stateSize);
  }

  private check(request: ParticleSelection): void {
    const m = request.particles.length;
    if (new Set(request.particles).size !== m) fail('particles are not distinct');
    if (request.particles.some((p) => p < 0 || p >= this.size)) fail('particle out of range');
    const p = request.perturbation;
    if (p.form === 'gaussian' && (p.keys.length !== 2 * m || p.signs.length !== m))
      fail('perturbation of another size');
  }

  reset(request: ResetRequest): Promise<void> {
    this.check(request);
    const theta = new Float64Array(this.problem.thetaSize);
    request.particles.forEach((particle, i) => {
      perturbed(request, i, this.noiseOf, theta);
      this.t[particle] = 0;
      this.worker[particle] = request.workers[i];
      this.episode[particle] = request.episodes[i];
      this.live[particle] = 1;
      this.problem.init(theta, this.row(particle), request.workers[i], request.episodes[i]);
    });
    return Promise.resolve();
  }

  advance(request: ParticleSelection & { readonly steps: number }): Promise<WindowResult> {
    this.check(request);
    if (this.program.record) this.program.calls.push(request);
    const m = request.particles.length;
    const theta = new Float64Array(this.problem.thetaSize);
    const lossSum = new Float64Array(m);
    const lastLoss = new Float64Array(m);
    const metric = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      const particle = request.particles[i];
      if (this.live[particle] === 0) fail(`particle ${particle} was never reset`);
      perturbed(request, i, this.noiseOf, theta);
      const state = this.row(particle);
      for (let step = 0; step < request.steps; step++) {
        if (this.t[particle] >= this.problem.horizon) fail('a step beyond the horizon');
        lastLoss[i] = this.problem.step(
          theta,
          state,
          this.t[particle]++,
          this.worker[particle],
          this.episode[particle],
        );
        lossSum[i] += lastLoss[i];
        metric[i] += this.problem.metric?.(state) ?? 0;
      }
    }
    this.program.steps += m * request.steps;
    return Promise.resolve({ lossSum, lastLoss, metricSums: this.metricSums(metric) });
  }

  private metricSums(metric: Float64Array): Record<string, Float64Array> {
    return this.problem.metric ? { metric } : {};
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    const targets = new Set(to);
    if (targets.size !== to.length || from.some((p) => targets.has(p))) fail('copy overlaps');
    from.forEach((source, i) => {
      if (this.live[source] === 0) fail(`particle ${source} was never reset`);
      this.row(to[i]).set(this.row(source));
      for (const field of [this.t, this.worker, this.episode, this.live]) field[to[i]] = field[source];
    });
    return Promise.resolve();
  }

  finish(): Promise<Readonly<Record<string, Float64Array>>> {
    return Promise.resolve({});
  }

  phases(): Int32Array {
    return this.t.slice();
  }

  save(): Promise<ArrayBundle> {
    const named = (data: Float64Array | Int32Array | Uint8Array) => ({ shape: [data.length], data: data.slice() });
    return Promise.resolve({
      state: named(this.state),
      t: named(this.t),
      worker: named(this.worker),
      episode: named(this.episode),
      live: named(this.live),
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    for (const name of ['state', 't', 'worker', 'episode', 'live'] as const) this[name].set(bundle[name].data);
    return Promise.resolve();
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}
