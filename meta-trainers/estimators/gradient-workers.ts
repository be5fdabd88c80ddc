/**
 * The workers of an estimator that differentiates: particles that all run with θ itself. Worker w has particles w·P …
 * w·P + P − 1, which do the same and differ in the directions along which they carry derivatives.
 */
import type {
  ArrayBundle,
  DerivativeResult,
  Differentiation,
  ParticleSelection,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import { DerivativeParticles } from './derivative-particles';
import { EpisodeWorkers, type EpisodePlan, type EpisodeSetting } from './episodes';

/** How the derivatives of a worker are computed. */
export interface WorkerDerivatives {
  readonly differentiation: Differentiation;
  /** P, 1 by default. */
  readonly particles?: number;
  /**
   * Of tangent windows: the directions of a worker's particles, one after another [P × directions × θ size], for a whole
   * episode. A function of its arguments, so that a checkpoint does without.
   */
  readonly directions?: (worker: number, episode: number) => Float64Array | Promise<Float64Array>;
}

type Directed = ParticleSelection & { readonly directions?: Float64Array };

export class GradientWorkers extends EpisodeWorkers {
  protected readonly entering: number;
  /** Of each worker: [workers × P × directions × θ size]. */
  readonly directions?: Float64Array;
  private readonly whole: Int32Array;

  private constructor(
    program: UnrollProgram,
    private readonly derivatives: DerivativeParticles,
    plan: EpisodePlan,
    private readonly how: WorkerDerivatives,
  ) {
    super(program, derivatives.population, plan);
    this.entering = how.particles ?? 1;
    this.whole = this.particlesOf(this.all);
    const { differentiation } = how;
    if (differentiation.mode === 'tangent') {
      this.directions = new Float64Array(this.whole.length * differentiation.directions * program.theta.size);
    }
  }

  /** @throws what `UnrollProgram.differentiate` rejects with */
  static async create(program: UnrollProgram, plan: EpisodePlan, how: WorkerDerivatives): Promise<GradientWorkers> {
    const size = plan.workers * (how.particles ?? 1);
    const derivatives = await DerivativeParticles.create(program, how.differentiation, { size, seed: plan.seed });
    return new GradientWorkers(program, derivatives, plan, how);
  }

  /** Runs every worker over one scored window, with derivatives. Rows are particles, in order. */
  async window(steps: number, setting: EpisodeSetting): Promise<DerivativeResult> {
    const result = await this.derivatives.population.differentiate({ ...this.request(this.all, setting), steps });
    this.moveOn(this.all, steps);
    return result;
  }

  /** Runs every worker from its episode's start to its end, workers of one length at a time. Rows as of `window`. */
  async wholeEpisodes(setting: EpisodeSetting): Promise<DerivativeResult> {
    const count = this.whole.length;
    const width = this.derivatives.program.derivatives;
    const total = {
      lossSum: new Float64Array(count),
      lastLoss: new Float64Array(count),
      derivatives: new Float64Array(count * width),
    };
    const metricSums = Object.fromEntries(this.program.metrics.map((name) => [name, new Float64Array(count)]));
    for (const steps of [...new Set(this.lengths)].sort((a, b) => a - b)) {
      const workers = this.all.filter((w) => this.lengths[w] === steps);
      const part = await this.derivatives.population.differentiate({ ...this.request(workers, setting), steps });
      this.moveOn(workers, steps);
      this.particlesOf(workers).forEach((particle, i) => {
        total.lossSum[particle] = part.lossSum[i];
        total.lastLoss[particle] = part.lastLoss[i];
        total.derivatives.set(part.derivatives.subarray(i * width, (i + 1) * width), particle * width);
        for (const [name, sums] of Object.entries(metricSums)) sums[particle] = part.metricSums[name][i];
      });
    }
    return { ...total, metricSums };
  }

  override async dispose(): Promise<void> {
    await super.dispose();
    await this.derivatives.program.dispose();
  }

  protected override async loadOwn(_bundle: ArrayBundle): Promise<void> {
    await this.direct(this.all.filter((w) => this.episodes[w] >= 0));
  }

  protected async restart(workers: Int32Array, setting: EpisodeSetting): Promise<void> {
    await this.direct(workers);
    const of = (values: Int32Array): Int32Array => {
      const out = new Int32Array(this.entering * workers.length);
      for (let i = 0; i < out.length; i++) out[i] = values[workers[Math.floor(i / this.entering)]];
      return out;
    };
    await this.derivatives.population.reset({
      ...this.request(workers, setting),
      workers: of(this.all),
      episodes: of(this.episodes),
    });
  }

  protected async advanceUnscored(workers: Int32Array, steps: number, setting: EpisodeSetting): Promise<WindowResult> {
    const result = await this.derivatives.population.advance({ ...this.request(workers, setting), steps });
    this.moveOn(workers, steps);
    return result;
  }

  protected nextChange(): number {
    return Infinity;
  }

  private moveOn(workers: Int32Array, steps: number): void {
    for (let i = 0; i < workers.length; i++) this.phases[workers[i]] += steps;
  }

  /** Directions of the workers' present episodes. */
  private async direct(workers: Int32Array): Promise<void> {
    const { directions, how } = this;
    if (directions === undefined || how.directions === undefined) return;
    const width = directions.length / this.all.length;
    for (const w of workers) directions.set(await how.directions(w, this.episodes[w]), w * width);
  }

  private request(workers: Int32Array, { theta, signal }: EpisodeSetting): Directed {
    const whole = workers === this.all;
    const request: ParticleSelection = {
      particles: whole ? this.whole : this.particlesOf(workers),
      perturbation: { form: 'none', theta },
      signal,
    };
    const { directions } = this;
    if (directions === undefined) return request;
    if (whole) return { ...request, directions };
    const width = directions.length / this.all.length;
    const some = new Float64Array(workers.length * width);
    workers.forEach((w, i) => {
      some.set(directions.subarray(w * width, (w + 1) * width), i * width);
    });
    return { ...request, directions: some };
  }

  private particlesOf(workers: Int32Array): Int32Array {
    const particles = new Int32Array(this.entering * workers.length);
    for (let i = 0; i < particles.length; i++) {
      particles[i] = workers[Math.floor(i / this.entering)] * this.entering + (i % this.entering);
    }
    return particles;
  }
}
