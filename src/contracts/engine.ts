/**
 * Engines advance populations of particles by whole windows. A problem is traced once and compiled; everything that
 * differs between particles is an integer (worker, episode, t) or follows from one (noise keys).
 */
import type { UnrolledProblem } from './problem';

/** What windows an engine can run. `forward` is the least; `reverse` and `tangent` come with the gradient family. */
export type EngineCapability = 'forward' | 'reverse' | 'tangent';

export interface UnrollEngine {
  /** `reference`, `tfjs:cpu`, `tfjs:wasm` … as recorded in config.json. */
  readonly name: string;
  readonly capabilities: ReadonlySet<EngineCapability>;
  /**
   * What the bits of its numbers depend on beside the machine and the versions: a compiled engine's compiler, flags,
   * instruction set and mode, by name. Known once the engine is open; recorded in config.json, compared on resume.
   */
  readonly fingerprint?: Readonly<Record<string, string>>;
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
  /** Names of the step's metrics, sorted. */
  readonly metrics: readonly string[];
  /** Names of the outputs of `finish`, sorted; empty if the problem has none. */
  readonly finishes: readonly string[];
  /** Particles hold no state until they are reset. `seed` is the run's seed, which keys init, batch and user draws. */
  createPopulation(options: { readonly size: number; readonly seed: number }): Promise<Population>;
  /**
   * Σᵢ weights[i]·noise(keysᵢ), summed in float64 in the order given. `keys` holds two words a key; `weights.length`
   * keys. noise(key) is the standard normal vector of θ's size that `advance` perturbs with.
   */
  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array>;
  dispose(): Promise<void>;
}

/**
 * The θ that each of m particles runs with.
 * - `none`: θ for all.
 * - `gaussian`: particle i has θ + signs[i]·sigma·noise(keysᵢ), keys two words a particle.
 * - `explicit`: particle i has row i of `thetas` [m × θ size], row-major.
 */
export type Perturbation =
  | { readonly form: 'none'; readonly theta: Float64Array }
  | {
      readonly form: 'gaussian';
      readonly theta: Float64Array;
      readonly sigma: number;
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
