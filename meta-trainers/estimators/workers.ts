/**
 * The workers of an evolutionary estimator: what noise each runs with beside where it is in its episode. Pair p is worker
 * p; its particles are 2p (+) and 2p+1 (−), and 2N+p where a mean state is kept.
 */
import type {
  ArrayBundle,
  DerivativeResult,
  Differentiation,
  NamedArray,
  ParticleSelection,
  Perturbation,
  Population,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import { OuterloopError } from '../../src/contracts/errors';
import { noiseKey } from '../../src/random/keys';
import { DerivativeParticles } from './derivative-particles';
import { chosen, EpisodeWorkers, readArray, type EpisodePlan, type EpisodeSetting } from './episodes';
import { NoiseOrigins } from './noise-origins';

export interface WorkersOptions extends Omit<EpisodePlan, 'workers'> {
  readonly pairs: number;
  /** Inner steps that one chunk of noise lasts; at least the horizon for one chunk an episode. */
  readonly noisePeriod: number;
  /**
   * `own`: both partners keep their own states, perturbed since the episode's start. `mean`: every window starts from a
   * third particle, which runs with unperturbed θ (truncated ES).
   */
  readonly states: 'own' | 'mean';
  /** Whether a worker's noise outlives an estimate: θ moves while it stays, and `noiseOrigins` keeps from where. */
  readonly noiseStays?: boolean;
}

/** θ and σ that a call runs with. */
export interface Setting extends EpisodeSetting {
  readonly sigma: number;
}

/** Noise vectors fetched at once stay below this many numbers. */
const NOISE_BUFFER = 1 << 22;

export class Workers extends EpisodeWorkers<Setting> {
  /**
   * ξ of each pair, Σ over the episode's chunks of noise/σ, row-major [pairs × θ size]. float32: its rounding (6e-8 a
   * chunk) is far below the noise that it is made of, and it is the largest part of a checkpoint. Absent where one chunk
   * is all there is to a window's gradient: it is regenerated from its key.
   */
  readonly scores?: Float32Array;
  readonly noiseOrigins?: NoiseOrigins;
  protected readonly entering: number;
  /** Chunk of noise that each worker runs with; −1 before the episode's first step. */
  private readonly chunks: Int32Array;
  private readonly keys: Uint32Array;
  /** What requests of all workers have in common. */
  private readonly wholes: Readonly<Record<ParticleGroup, Int32Array>>;
  private readonly signs: Int8Array;

  private constructor(
    program: UnrollProgram,
    population: Population,
    readonly options: WorkersOptions,
    private readonly derivatives?: DerivativeParticles,
  ) {
    const { pairs } = options;
    super(program, population, { ...options, workers: pairs });
    this.entering = options.states === 'mean' ? 1 : 2;
    this.chunks = new Int32Array(pairs).fill(-1);
    this.keys = new Uint32Array(2 * pairs);
    this.wholes = {
      pairs: particlesOf(this.all, 'pairs', pairs),
      mean: particlesOf(this.all, 'mean', pairs),
      all: particlesOf(this.all, 'all', pairs),
    };
    // Sign 0 runs with θ itself: the mean states move within the same call.
    this.signs = Int8Array.from({ length: 3 * pairs }, (_, i) => (i >= 2 * pairs ? 0 : i % 2 === 0 ? 1 : -1));
    if (options.states === 'own' && options.noisePeriod < options.horizon) {
      this.scores = new Float32Array(pairs * program.theta.size);
    }
    if (options.noiseStays === true) this.noiseOrigins = new NoiseOrigins(pairs, program.theta.size);
  }

  /** @param differentiation what `differentiate` gives; disposed of with the workers */
  static async create(
    program: UnrollProgram,
    options: WorkersOptions,
    differentiation?: Differentiation,
  ): Promise<Workers> {
    const { pairs, seed, states } = options;
    const size = (states === 'mean' ? 3 : 2) * pairs;
    if (differentiation === undefined) {
      return new Workers(program, await program.createPopulation({ size, seed }), options);
    }
    const derivatives = await DerivativeParticles.create(program, differentiation, { size, seed });
    return new Workers(program, derivatives.population, options, derivatives);
  }

  /**
   * Runs every worker over one scored window, in engine calls of `callSteps`. Results are per particle, in the order
   * +, −, +, − …, then the mean states.
   */
  async window(steps: number, callSteps: number, setting: Setting): Promise<WindowResult> {
    if (this.options.states === 'mean') {
      const { pairs } = this.options;
      const from = Int32Array.from({ length: 2 * pairs }, (_, i) => 2 * pairs + (i >>> 1));
      await this.population.copy(from, this.particles(this.all, 'pairs'));
    }
    let total: WindowResult | undefined;
    for (let done = 0; done < steps; done += callSteps) {
      const part = await this.advance(this.all, this.options.states === 'mean' ? 'all' : 'pairs', callSteps, setting);
      total = total === undefined ? part : addWindows(total, part);
    }
    return total!;
  }

  /** Runs every worker from its episode's start to its end, in engine calls of at most `callSteps`. Results as of `window`. */
  async wholeEpisodes(callSteps: number, setting: Setting): Promise<WindowResult> {
    const count = 2 * this.options.pairs;
    const total = { lossSum: new Float64Array(count), lastLoss: new Float64Array(count) };
    const metricSums = Object.fromEntries(this.program.metrics.map((name) => [name, new Float64Array(count)]));
    for (;;) {
      const active = chosen(this.all, (w) => this.phases[w] < this.lengths[w]);
      if (active.length === 0) return { ...total, metricSums };
      // All that are still on their way are at one step.
      const left = active.reduce((least, w) => Math.min(least, this.lengths[w] - this.phases[w]), callSteps);
      const part = await this.advance(active, 'pairs', left, setting);
      this.particles(active, 'pairs').forEach((particle, i) => {
        total.lossSum[particle] += part.lossSum[i];
        total.lastLoss[particle] = part.lastLoss[i];
        for (const [name, sums] of Object.entries(metricSums)) sums[particle] += part.metricSums[name][i];
      });
    }
  }

  /** `window` in one call, with derivatives: of workers that were made with a `Differentiation`. */
  async differentiate(steps: number, setting: Setting): Promise<DerivativeResult> {
    if (this.derivatives === undefined)
      throw new OuterloopError('these workers were made without derivatives: a defect');
    const request = await this.request(this.all, 'pairs', setting);
    const result = await this.derivatives.population.differentiate({ ...request, steps });
    this.moveOn(this.all, steps);
    return result;
  }

  /**
   * Σ weights[i]·score of workers[i], where the score is Σ noise/σ over the chunks that its window depends on. float64,
   * summed in the order given.
   */
  async combineScores(workers: Int32Array, weights: Float64Array, sigma: number): Promise<Float64Array> {
    const size = this.program.theta.size;
    if (workers.length === 0) return new Float64Array(size);
    const scores = this.scores;
    if (scores === undefined) {
      const keys = new Uint32Array(2 * workers.length);
      const scaled = new Float64Array(workers.length);
      for (let i = 0; i < workers.length; i++) {
        keys[2 * i] = this.keys[2 * workers[i]];
        keys[2 * i + 1] = this.keys[2 * workers[i] + 1];
        scaled[i] = weights[i] / sigma;
      }
      return this.program.combine(keys, scaled);
    }
    const sum = new Float64Array(size);
    workers.forEach((w, i) => {
      const weight = weights[i];
      const row = w * size;
      for (let k = 0; k < size; k++) sum[k] += weight * scores[row + k];
    });
    return sum;
  }

  /** How many chunks of noise the score of a worker's last window is made of. */
  chunksInScore(worker: number): number {
    return this.scores === undefined ? 1 : this.chunks[worker] + 1;
  }

  protected override saveOwn(): Record<string, NamedArray> {
    const shape = [this.options.pairs, this.program.theta.size];
    return {
      ...(this.scores === undefined ? {} : { scores: { shape, data: this.scores.slice() } }),
      ...this.noiseOrigins?.save(),
    };
  }

  protected override loadOwn(bundle: ArrayBundle): void {
    this.scores?.set(readArray(bundle, 'scores', Float32Array, this.scores.length));
    this.noiseOrigins?.load(bundle);
  }

  override async load(bundle: ArrayBundle): Promise<void> {
    await super.load(bundle);
    this.all.forEach((w) => {
      this.chunks[w] = -1;
      if (this.episodes[w] < 0 || this.phases[w] === 0) return;
      // The chunk of the last step that was run; the next one starts when its first step is.
      this.chunks[w] = Math.floor((this.phases[w] - 1) / this.options.noisePeriod);
      this.keys.set(noiseKey(this.options.seed, w, this.episodes[w], this.chunks[w]), 2 * w);
    });
  }

  override async dispose(): Promise<void> {
    await super.dispose();
    await this.derivatives?.program.dispose();
  }

  protected async restart(workers: Int32Array, setting: Setting): Promise<void> {
    const size = this.program.theta.size;
    for (let i = 0; i < workers.length; i++) {
      const w = workers[i];
      this.chunks[w] = -1;
      this.scores?.fill(0, w * size, (w + 1) * size);
    }
    const each = this.entering;
    const of = (values: Int32Array): Int32Array => {
      const out = new Int32Array(each * workers.length);
      for (let i = 0; i < out.length; i++) out[i] = values[workers[each === 1 ? i : i >>> 1]];
      return out;
    };
    await this.population.reset({
      ...(await this.request(workers, this.enteringGroup, setting)),
      workers: of(this.all),
      episodes: of(this.episodes),
    });
  }

  protected advanceUnscored(workers: Int32Array, steps: number, setting: Setting): Promise<WindowResult> {
    return this.advance(workers, this.enteringGroup, steps, setting);
  }

  /** Where a chunk of noise that is in use ends. */
  protected nextChange(t: number): number {
    const { noisePeriod, states } = this.options;
    return states === 'mean' ? Infinity : (Math.floor(t / noisePeriod) + 1) * noisePeriod;
  }

  private get enteringGroup(): ParticleGroup {
    return this.options.states === 'mean' ? 'mean' : 'pairs';
  }

  /** Advances workers that do not cross a chunk's end within `steps`. */
  private async advance(
    workers: Int32Array,
    group: ParticleGroup,
    steps: number,
    setting: Setting,
  ): Promise<WindowResult> {
    const result = await this.population.advance({ ...(await this.request(workers, group, setting)), steps });
    this.moveOn(workers, steps);
    return result;
  }

  private moveOn(workers: Int32Array, steps: number): void {
    for (let i = 0; i < workers.length; i++) this.phases[workers[i]] += steps;
  }

  /** Particles with the noise of their phase. */
  private async request(workers: Int32Array, group: ParticleGroup, setting: Setting): Promise<ParticleSelection> {
    await this.drawNoise(workers, setting);
    return {
      particles: this.particles(workers, group),
      perturbation: this.perturbation(workers, group, setting),
      signal: setting.signal,
    };
  }

  /** Moves workers to the chunk of their phase; ξ takes in each chunk once, when it starts. */
  private async drawNoise(workers: Int32Array, { theta, sigma }: Setting): Promise<void> {
    const { noisePeriod, seed } = this.options;
    const { chunks, phases } = this;
    const starting = chosen(workers, (w) => Math.floor(phases[w] / noisePeriod) !== chunks[w]);
    if (starting.length === 0) return;
    for (const w of starting) {
      this.chunks[w] = Math.floor(this.phases[w] / noisePeriod);
      this.keys.set(noiseKey(seed, w, this.episodes[w], this.chunks[w]), 2 * w);
    }
    this.noiseOrigins?.drawn(starting, theta);
    const scores = this.scores;
    if (scores === undefined) return;
    const size = this.program.theta.size;
    const weight = Float64Array.of(1 / sigma);
    const batch = Math.min(64, Math.max(1, Math.floor(NOISE_BUFFER / size)));
    for (let first = 0; first < starting.length; first += batch) {
      const some = starting.subarray(first, first + batch);
      const noises = await Promise.all(
        Array.from(some, (w) => this.program.combine(this.keys.slice(2 * w, 2 * w + 2), weight)),
      );
      some.forEach((w, i) => {
        const noise = noises[i];
        const row = w * size;
        for (let k = 0; k < size; k++) scores[row + k] += noise[k];
      });
    }
  }

  private particles(workers: Int32Array, group: ParticleGroup): Int32Array {
    return workers === this.all ? this.wholes[group] : particlesOf(workers, group, this.options.pairs);
  }

  private perturbation(workers: Int32Array, group: ParticleGroup, setting: Setting): Perturbation {
    if (group === 'mean') return { form: 'none', theta: setting.theta };
    const antithetic = 2 * workers.length;
    const count = antithetic + (group === 'all' ? workers.length : 0);
    const keys = new Uint32Array(2 * count);
    for (let i = 0; i < workers.length; i++) {
      const w = workers[i];
      keys[4 * i] = keys[4 * i + 2] = this.keys[2 * w];
      keys[4 * i + 1] = keys[4 * i + 3] = this.keys[2 * w + 1];
    }
    // Mean states come in calls of all workers only.
    const signs = this.signs.subarray(0, count);
    return { form: 'gaussian', theta: setting.theta, sigma: setting.sigma, keys, signs };
  }
}

type ParticleGroup = 'pairs' | 'mean' | 'all';

function particlesOf(workers: Int32Array, group: ParticleGroup, pairs: number): Int32Array {
  const antithetic = group === 'mean' ? 0 : 2 * workers.length;
  const means = group === 'pairs' ? 0 : workers.length;
  const particles = new Int32Array(antithetic + means);
  for (let i = 0; i < antithetic; i++) particles[i] = 2 * workers[i >>> 1] + (i & 1);
  for (let i = 0; i < means; i++) particles[antithetic + i] = 2 * pairs + workers[i];
  return particles;
}

function addWindows(a: WindowResult, b: WindowResult): WindowResult {
  const add = (x: Float64Array, y: Float64Array) => x.map((value, i) => value + y[i]);
  return {
    lossSum: add(a.lossSum, b.lossSum),
    lastLoss: b.lastLoss,
    metricSums: Object.fromEntries(
      Object.entries(a.metricSums).map(([name, sums]) => [name, add(sums, b.metricSums[name])]),
    ),
  };
}
