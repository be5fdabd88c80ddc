/**
 * The workers of an evolutionary estimator: where each is in its episode, what noise it runs with, and how it enters
 * an episode. Pair p is worker p; its particles are 2p (+) and 2p+1 (−), and 2N+p where a mean state is kept.
 */
import type {
  ArrayBundle,
  EstimatorPopulation,
  NamedArray,
  Perturbation,
  Population,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import { CheckpointError } from '../../src/contracts/errors';
import { noiseKey } from '../../src/random/keys';

export interface WorkersOptions {
  readonly pairs: number;
  readonly seed: number;
  /** Inner steps of an episode; may be Infinity. */
  readonly horizon: number;
  /** Inner steps that one chunk of noise lasts; at least the horizon for one chunk an episode. */
  readonly noisePeriod: number;
  /**
   * `own`: both partners keep their own states, perturbed since the episode's start. `mean`: every window starts from a
   * third particle, which runs with unperturbed θ (truncated ES).
   */
  readonly states: 'own' | 'mean';
  /** First inner step of each worker's first scored window. */
  readonly offsets: Int32Array;
}

/** θ and σ that a call runs with, and what cancels it: the workers are then good for `load` and `dispose` only. */
export interface Setting {
  readonly theta: Float64Array;
  readonly sigma: number;
  readonly signal?: AbortSignal;
}

/** Noise vectors fetched at once stay below this many numbers. */
const NOISE_BUFFER = 1 << 22;

const particlePrefix = 'particles.';

export class Workers implements EstimatorPopulation {
  /** Episode of each worker; −1 before the first. */
  readonly episodes: Int32Array;
  /** Inner step within the episode of each worker. At the horizon: the episode is over. */
  readonly phases: Int32Array;
  /**
   * ξ of each pair, Σ over the episode's chunks of noise/σ, row-major [pairs × θ size]. float32: its rounding (6e-8 a
   * chunk) is far below the noise that it is made of, and it is the largest part of a checkpoint. Absent where one chunk
   * is all there is to a window's gradient: it is regenerated from its key.
   */
  readonly scores?: Float32Array;
  /** Chunk of noise that each worker runs with; −1 before the episode's first step. */
  private readonly chunks: Int32Array;
  private readonly keys: Uint32Array;
  private readonly all: Int32Array;
  /** What requests of all workers have in common. */
  private readonly wholes: Readonly<Record<ParticleGroup, Int32Array>>;
  private readonly signs: Int8Array;

  private constructor(
    readonly program: UnrollProgram,
    private readonly population: Population,
    readonly options: WorkersOptions,
  ) {
    const { pairs } = options;
    this.episodes = new Int32Array(pairs).fill(-1);
    this.phases = new Int32Array(pairs);
    this.chunks = new Int32Array(pairs).fill(-1);
    this.keys = new Uint32Array(2 * pairs);
    this.all = Int32Array.from({ length: pairs }, (_, i) => i);
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
  }

  static async create(program: UnrollProgram, options: WorkersOptions): Promise<Workers> {
    const size = (options.states === 'mean' ? 3 : 2) * options.pairs;
    return new Workers(program, await program.createPopulation({ size, seed: options.seed }), options);
  }

  /** Starts the episodes of workers that are new or at the horizon. Returns the particle-steps run unscored. */
  async begin(setting: Setting): Promise<number> {
    const { horizon, offsets } = this.options;
    const { episodes, phases } = this;
    const entering = chosen(this.all, (w) => episodes[w] < 0 || phases[w] === horizon);
    if (entering.length === 0) return 0;
    const targets = new Int32Array(entering.length);
    for (let i = 0; i < targets.length; i++) targets[i] = episodes[entering[i]] < 0 ? offsets[entering[i]] : 0;
    return this.enter(entering, targets, setting);
  }

  /** New episodes for workers with broken pairs, up to the phases they had. Returns the particle-steps run unscored. */
  async reenter(workers: Int32Array, setting: Setting): Promise<number> {
    // At the horizon the next estimate starts a new episode anyway.
    const within = workers.filter((w) => this.phases[w] !== this.options.horizon);
    return this.enter(
      within,
      within.map((w) => this.phases[w]),
      setting,
    );
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

  async save(): Promise<ArrayBundle> {
    const { pairs, horizon } = this.options;
    const bundle: Record<string, NamedArray> = {
      episodes: { shape: [pairs], data: this.episodes.slice() },
      phases: { shape: [pairs], data: this.phases.slice() },
    };
    // What a finished episode has left behind, nothing depends on.
    if (this.phases.every((t, w) => t === horizon || this.episodes[w] < 0)) return bundle;
    if (this.scores !== undefined) {
      bundle.scores = { shape: [pairs, this.program.theta.size], data: this.scores.slice() };
    }
    for (const [name, array] of Object.entries(await this.population.save())) bundle[particlePrefix + name] = array;
    return bundle;
  }

  async load(bundle: ArrayBundle): Promise<void> {
    const { pairs, horizon, noisePeriod } = this.options;
    this.episodes.set(readArray(bundle, 'episodes', Int32Array, pairs));
    this.phases.set(readArray(bundle, 'phases', Int32Array, pairs));
    this.all.forEach((w) => {
      this.chunks[w] = -1;
      if (this.episodes[w] < 0 || this.phases[w] === 0) return;
      // The chunk of the last step that was run; the next one starts when its first step is.
      this.chunks[w] = Math.floor((this.phases[w] - 1) / noisePeriod);
      this.keys.set(noiseKey(this.options.seed, w, this.episodes[w], this.chunks[w]), 2 * w);
    });
    if (this.phases.every((t, w) => t === horizon || this.episodes[w] < 0)) return;
    if (this.scores !== undefined) {
      this.scores.set(readArray(bundle, 'scores', Float32Array, pairs * this.program.theta.size));
    }
    await this.population.load(
      Object.fromEntries(
        Object.entries(bundle)
          .filter(([name]) => name.startsWith(particlePrefix))
          .map(([name, array]) => [name.slice(particlePrefix.length), array]),
      ),
    );
  }

  async dispose(): Promise<void> {
    await this.population.dispose();
  }

  /** Starts the next episode of each worker and runs it, unscored, to its target step. */
  private async enter(workers: Int32Array, targets: Int32Array, setting: Setting): Promise<number> {
    if (workers.length === 0) return 0;
    const size = this.program.theta.size;
    for (let i = 0; i < workers.length; i++) {
      const w = workers[i];
      this.episodes[w]++;
      this.phases[w] = 0;
      this.chunks[w] = -1;
      this.scores?.fill(0, w * size, (w + 1) * size);
    }
    const group = this.options.states === 'mean' ? 'mean' : 'pairs';
    await this.drawNoise(workers, setting.sigma);
    const each = group === 'mean' ? 1 : 2;
    const of = (values: Int32Array): Int32Array => {
      const out = new Int32Array(each * workers.length);
      for (let i = 0; i < out.length; i++) out[i] = values[workers[each === 1 ? i : i >>> 1]];
      return out;
    };
    await this.population.reset({
      particles: this.particles(workers, group),
      perturbation: this.perturbation(workers, group, setting),
      workers: of(this.all),
      episodes: of(this.episodes),
      signal: setting.signal,
    });

    let steps = 0;
    let t = 0;
    for (;;) {
      const reached = t;
      const places = chosen(workers, (_, i) => targets[i] > reached, true);
      const active = places.map((place) => workers[place]);
      if (active.length === 0) return steps;
      // One call as far as neither a worker arrives nor a chunk of noise that is in use ends.
      const { noisePeriod } = this.options;
      let next = group === 'mean' ? Infinity : (Math.floor(t / noisePeriod) + 1) * noisePeriod;
      for (const place of places) next = Math.min(next, targets[place]);
      await this.advance(active, group, next - t, setting);
      steps += active.length * each * (next - t);
      t = next;
    }
  }

  /** Advances workers that do not cross a chunk's end within `steps`. */
  private async advance(
    workers: Int32Array,
    group: ParticleGroup,
    steps: number,
    setting: Setting,
  ): Promise<WindowResult> {
    await this.drawNoise(workers, setting.sigma);
    const result = await this.population.advance({
      particles: this.particles(workers, group),
      perturbation: this.perturbation(workers, group, setting),
      steps,
      signal: setting.signal,
    });
    for (let i = 0; i < workers.length; i++) this.phases[workers[i]] += steps;
    return result;
  }

  /** Moves workers to the chunk of their phase; ξ takes in each chunk once, when it starts. */
  private async drawNoise(workers: Int32Array, sigma: number): Promise<void> {
    const { noisePeriod, seed } = this.options;
    const { chunks, phases } = this;
    const starting = chosen(workers, (w) => Math.floor(phases[w] / noisePeriod) !== chunks[w]);
    if (starting.length === 0) return;
    for (const w of starting) {
      this.chunks[w] = Math.floor(this.phases[w] / noisePeriod);
      this.keys.set(noiseKey(seed, w, this.episodes[w], this.chunks[w]), 2 * w);
    }
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

/** Workers that meet a condition, or their places; much faster than a typed array's `filter`. */
function chosen(workers: Int32Array, meets: (worker: number, place: number) => boolean, places = false): Int32Array {
  const out = new Int32Array(workers.length);
  let count = 0;
  for (let i = 0; i < workers.length; i++) {
    if (meets(workers[i], i)) out[count++] = places ? i : workers[i];
  }
  return out.slice(0, count);
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

function readArray<A extends Int32Array | Float32Array>(
  bundle: ArrayBundle,
  name: string,
  type: new (length: number) => A,
  length: number,
): A {
  const found = bundle[name] as NamedArray | undefined;
  if (!(found?.data instanceof type) || found.data.length !== length) {
    throw new CheckpointError(
      `checkpoint array "${name}": expected ${length} numbers (${type.name}), got ${
        found === undefined ? 'nothing' : `${found.data.length} (${found.data.constructor.name})`
      }. It was written with other estimator settings or is damaged.`,
    );
  }
  return found.data;
}
