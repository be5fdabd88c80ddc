/**
 * Engines advance populations of particles by whole windows. A problem is traced once and compiled; everything that
 * differs between particles is an integer (worker, episode, t) or follows from one (noise keys).
 */
import type { UnrolledProblem } from './problem';

/** What windows an engine can run. `forward` is the least; the others are what `UnrollProgram.differentiate` takes. */
export type EngineCapability = 'forward' | 'reverse' | 'tangent';

/**
 * How the windows of a program give derivatives beside their losses. All are of one particle's own numbers, with the state
 * that a window starts from held fixed unless something else is said.
 * - `reverse`: the gradient by θ of the window's loss, the mean over its steps or that of its last. `steps` is the longest
 *   window, for which memory is planned. With `start`, a window that begins at t = 0 counts the share through `initState` too.
 * - `tangent`: for each of `directions` directions v of θ, v·d/dθ of the window's mean loss. The tangents of the state stay
 *   with the particle from its reset on, so that the derivative is that of the whole episode up to here.
 * - `rank-one`: UORO's estimate of the gradient by θ of the window's mean loss over the whole episode up to here, unbiased
 *   for a θ that stands still (Tallec & Ollivier 2017, "Unbiased Online Recurrent Optimization", Alg. 1).
 */
export type Differentiation =
  | {
      readonly mode: 'reverse';
      readonly steps: number;
      readonly windowLoss: 'mean' | 'last';
      readonly start?: boolean;
    }
  | { readonly mode: 'tangent'; readonly directions: number }
  | { readonly mode: 'rank-one' };

export interface UnrollEngine {
  /** `reference`, `tfjs:cpu`, `tfjs:wasm` … as recorded in config.json. */
  readonly name: string;
  readonly capabilities: ReadonlySet<EngineCapability>;
  /**
   * What the bits of its numbers depend on beside the machine and the versions: a compiled engine's compiler, flags,
   * instruction set and mode, by name. Known once the engine is open; recorded in config.json, compared on resume.
   */
  readonly fingerprint?: Readonly<Record<string, string>>;
  /** Whether a population may hold several runs (`PopulationRuns`), each with the bits that it has alone. */
  readonly sharesPopulations?: boolean;
  /** Traces and compiles. Throws TraceError for a problem that cannot be traced. */
  compile(problem: UnrolledProblem): Promise<UnrollProgram>;
  /** Frees the device. */
  dispose(): Promise<void>;
}

/** One leaf of θ within the flat vector. */
export interface ThetaLeaf {
  readonly path: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly size: number;
}

/** θ as one vector: leaves in tree order, each row-major. */
export interface ThetaLayout {
  readonly size: number;
  readonly leaves: readonly ThetaLeaf[];
}

export interface UnrollProgram {
  readonly engine: string;
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  /** Numbers of a particle's state that a derivative goes through: those of its float32 leaves. */
  readonly stateSize: number;
  /** Names of the step's metrics, sorted. */
  readonly metrics: readonly string[];
  /** Names of the outputs of `finish`, sorted; empty if the problem has none. */
  readonly finishes: readonly string[];
  /** Particles hold no state until they are reset. */
  createPopulation(options: PopulationOptions): Promise<Population>;
  /**
   * Σᵢ weights[i]·noise(keysᵢ), summed in float64 in the order given. `keys` holds two words a key; `weights.length`
   * keys. noise(key) is the standard normal vector of θ's size that `advance` perturbs with.
   */
  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array>;
  /**
   * Traces and compiles the same problem once more, for windows that give derivatives. The result is independent of this
   * program and disposed of by itself. Rejects with CapabilityError if the engine has no such windows, with
   * DifferentiationError if no path from θ to the loss has a derivative, with ConfigurationError for numbers that cannot work.
   */
  differentiate(differentiation: Differentiation): Promise<DerivativeProgram>;
  dispose(): Promise<void>;
}

export interface PopulationOptions {
  readonly size: number;
  /** The run's seed, which keys init, batch and user draws. */
  readonly seed: number;
  /** Several runs in one population, on engines with `sharesPopulations`; `seed` is not looked at then. */
  readonly runs?: PopulationRuns;
}

/** Runs of one program that share a population: particles differ in their run's seed, and in its θ and σ call by call. */
export interface PopulationRuns {
  /** One a run. */
  readonly seeds: readonly number[];
  /** The run of each particle, [size]. */
  readonly of: Int32Array;
}

/** A program whose windows also give derivatives. */
export interface DerivativeProgram extends Omit<
  UnrollProgram,
  'differentiate' | 'createPopulation' | 'combine' | 'stateSize'
> {
  readonly differentiation: Differentiation;
  /** Numbers of a particle's row of derivatives: θ's size, or the directions. */
  readonly derivatives: number;
  /** Of reverse windows: what they keep, as planned. */
  readonly reverse?: ReverseMemory;
  createPopulation(options: PopulationOptions): Promise<DerivativePopulation>;
}

/**
 * What a reverse window keeps on its way forward, chosen by what memory there is.
 * - `everything`: what every step's derivative needs. No step is run twice.
 * - `states`: the states of all steps; each step is run again, on the way back.
 * - `checkpoints`: about √W states, and everything within one stretch between two of them; steps are run again stretch by stretch.
 */
export interface ReverseMemory {
  readonly keeps: 'everything' | 'states' | 'checkpoints';
  /** Bytes for each particle that runs at a time. */
  readonly bytes: number;
  /** Particles that run at a time. */
  readonly atOnce: number;
}

/**
 * The θ that each of m particles runs with.
 * - `none`: θ for all.
 * - `gaussian`: particle i has θ + signs[i]·sigma·noise(keysᵢ), keys two words a particle.
 * - `explicit`: particle i has row i of `thetas` [m × θ size], row-major.
 *
 * In a population of several runs `theta` has a row for each, [runs × θ size], and σ is a list with a number for each.
 */
export type Perturbation =
  | { readonly form: 'none'; readonly theta: Float64Array }
  | {
      readonly form: 'gaussian';
      readonly theta: Float64Array;
      readonly sigma: number | Float64Array;
      readonly keys: Uint32Array;
      readonly signs: Int8Array;
    }
  | { readonly form: 'explicit'; readonly thetas: Float64Array };

/** Which particles a call is about: m distinct indices into the population. */
export interface ParticleSelection {
  readonly particles: Int32Array;
  /** Sized for m particles. */
  readonly perturbation: Perturbation;
  /**
   * Looked at before the call starts and between inner steps. Once it is aborted the call rejects with CancelledError, and
   * the population has the state that it had before the call. A call that has done its last step is not cancelled any more.
   */
  readonly signal?: AbortSignal;
}

export interface ResetRequest extends ParticleSelection {
  /** Per particle; with the seed they key all randomness that is not noise. Antithetic partners have equal ones. */
  readonly workers: Int32Array;
  readonly episodes: Int32Array;
}

/** Per particle of the request, in its order. A NaN stays visible. */
export interface WindowResult {
  /** Sum over the window of the loss. */
  readonly lossSum: Float64Array;
  /** Loss of the window's last step. */
  readonly lastLoss: Float64Array;
  /** Sum over the window of each metric. */
  readonly metricSums: Readonly<Record<string, Float64Array>>;
  /** Of programs that give derivatives with every window (tangent, rank-one): see `DerivativeResult`. */
  readonly derivatives?: Float64Array;
}

/** Losses of a window and the derivatives that its program was made for. */
export interface DerivativeResult extends WindowResult {
  /** One row a particle of the request, in its order: [m × derivatives], row-major. A NaN stays visible. */
  readonly derivatives: Float64Array;
}

/** A population's state as flat arrays, for checkpoints. Names are stable. */
export type ArrayBundle = Readonly<Record<string, NamedArray>>;
export interface NamedArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;
}

/** Calls run one after another, in the order in which they were made. A call that rejects has changed nothing. */
export interface Population {
  readonly size: number;
  /** Starts an episode: state = initState(θᵢ), t = 0. */
  reset(request: ResetRequest): Promise<void>;
  /**
   * Advances the particles by `steps` ≥ 1 inner steps, t included. Particles that are not named stay as they are.
   * Rejects with EngineError if `steps` is no positive whole number.
   */
  advance(request: ParticleSelection & { readonly steps: number }): Promise<WindowResult>;
  /** Copies whole particle states (t, worker and episode included); `from` and `to` have one length and do not overlap. */
  copy(from: Int32Array, to: Int32Array): Promise<void>;
  /** The problem's `finish` on the present states. */
  finish(request: ParticleSelection): Promise<Readonly<Record<string, Float64Array>>>;
  /** Inner step within the episode of every particle. */
  phases(): Int32Array;
  save(): Promise<ArrayBundle>;
  load(bundle: ArrayBundle): Promise<void>;
  dispose(): Promise<void>;
}

/** Of reverse programs, `advance` is a window without derivatives; of the others, one whose derivatives nobody asked for. */
export interface DerivativePopulation extends Population {
  /**
   * `advance`, with derivatives. `directions`: of tangent programs, [m × directions × θ size], row-major. The same for a
   * particle throughout an episode, `reset` included, they are what θ moves along; where they change between calls, they
   * are what θ moves along during each call, and the derivative is by all of these movements together.
   */
  differentiate(
    request: ParticleSelection & { readonly steps: number; readonly directions?: Float64Array },
  ): Promise<DerivativeResult>;
  reset(request: ResetRequest & { readonly directions?: Float64Array }): Promise<void>;
  advance(
    request: ParticleSelection & { readonly steps: number; readonly directions?: Float64Array },
  ): Promise<WindowResult>;
}
