/** Independent gradient estimates at a θ that stands still. */
import {
  CapabilityError,
  type DerivativeProgram,
  type Differentiation,
  type GradientEstimator,
  type UnrollProgram,
} from '../contracts';
import { foldIn, seedKey, STREAMS } from '../random';
import { allFinite } from './theta';

export interface SampleOptions {
  readonly theta: Float64Array;
  /** Of the whole measurement. */
  readonly seed: number;
  /**
   * Samples of different roles share no random number, those of one role all but what their estimators do differently:
   * the estimators that are held against one another have one role, their reference another.
   */
  readonly role: number;
  readonly repeats: number;
  readonly signal?: AbortSignal;
  /** Called after each repeat with how many are done. */
  readonly onRepeat?: (done: number) => void;
}

export interface GradientSamples {
  /** One a repeat, without those that failed. */
  readonly gradients: readonly Float64Array[];
  /** Repeats that had no valid pair or worker. */
  readonly failed: number;
  /** Pairs, or workers, that were left out for NaN or infinite losses, over all repeats. */
  readonly droppedPairs: number;
  /** Of one repeat, burn-in not counted. */
  readonly innerSteps: number;
  /** Of all repeats. */
  readonly burnInSteps: number;
}

/** Seed of a repeat's population: 53 bits of a key of its own. */
export function repeatSeed(seed: number, role: number, repeat: number): number {
  const [low, high] = foldIn(foldIn(foldIn(seedKey(seed), STREAMS.repeats), role), repeat);
  return (high & 0x1fffff) * 0x100000000 + low;
}

/**
 * Repeats the first estimate of a fresh population at θ. Repeats are independent and have one distribution, since the
 * population's seed keys everything that is random (noise, offsets, initialisations, minibatches, an estimator's own draws),
 * and each has one of its own. A population's later estimates would not do: those within one episode share ε (NRES), ξ (PES)
 * or the state, and with stratified offsets even estimates of different episodes share the offsets.
 *
 * The price is burn-in: step-unlocked workers first run to their offsets, on average (T−W)/2 unscored steps for every W
 * scored ones. Waiting a whole episode for the same population to be independent of itself would cost twice that.
 *
 * What is measured is the estimator at a standing θ: the bias of workers whose older states were made by an older θ is none
 * of it.
 */
export async function sampleGradients(
  estimator: GradientEstimator,
  program: UnrollProgram,
  options: SampleOptions,
): Promise<GradientSamples> {
  const { theta, seed, role, repeats, signal, onRepeat } = options;
  const gradients: Float64Array[] = [];
  let [failed, droppedPairs, burnInSteps, innerSteps] = [0, 0, 0, 0];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const population = await estimator.populate(program, repeatSeed(seed, role, repeat));
    try {
      const estimate = await estimator.estimate(theta, population, 0, signal);
      if (estimate.validPairs > 0 && allFinite(estimate.gradient)) gradients.push(estimate.gradient);
      else failed++;
      droppedPairs += estimate.droppedPairs;
      burnInSteps += estimate.burnInSteps;
      innerSteps = estimate.innerSteps;
    } finally {
      await population.dispose();
    }
    onRepeat?.(repeat + 1);
  }
  return { gradients, failed, droppedPairs, innerSteps, burnInSteps };
}

/**
 * Inner steps of an estimate of an estimator that was made with one pair or worker, burn-in not counted, found by one
 * estimate; so many times N are those of N.
 * @throws CapabilityError, and whatever `populate` throws where estimator, problem and engine do not fit together
 */
export async function innerStepsOfOne(
  estimator: GradientEstimator,
  program: UnrollProgram,
  at: {
    readonly theta: Float64Array;
    readonly capabilities: ReadonlySet<string>;
    readonly signal?: AbortSignal;
  },
): Promise<number> {
  const missing = estimator.needs.find((capability) => !at.capabilities.has(capability));
  if (missing !== undefined) {
    const advice = `The estimator "${estimator.name}" needs them: choose another engine, or leave it out.`;
    throw new CapabilityError(program.engine, missing, advice);
  }
  const population = await estimator.populate(program, 0);
  try {
    return (await estimator.estimate(at.theta, population, 0, at.signal)).innerSteps;
  } finally {
    await population.dispose();
  }
}

/** The program, which compiles each kind of derivative once however many populations ask for it; `dispose` frees those. */
export function sharingDerivatives(program: UnrollProgram): UnrollProgram {
  const made = new Map<string, Promise<DerivativeProgram>>();
  const shared = async (differentiation: Differentiation): Promise<DerivativeProgram> => {
    const key = JSON.stringify(differentiation);
    const derivative = made.get(key) ?? program.differentiate(differentiation);
    made.set(key, derivative);
    const own = await derivative;
    const { engine, problem, theta, metrics, finishes, derivatives, reverse } = own;
    return {
      ...{ engine, problem, theta, metrics, finishes, differentiation, derivatives },
      ...(reverse === undefined ? {} : { reverse }),
      createPopulation: (options) => own.createPopulation(options),
      dispose: () => Promise.resolve(),
    };
  };
  const { engine, problem, theta, stateSize, metrics, finishes } = program;
  return {
    ...{ engine, problem, theta, stateSize, metrics, finishes },
    createPopulation: (options) => program.createPopulation(options),
    combine: (keys, weights) => program.combine(keys, weights),
    differentiate: shared,
    dispose: async () => {
      for (const derivative of await Promise.allSettled(made.values())) {
        if (derivative.status === 'fulfilled') await derivative.value.dispose();
      }
    },
  };
}
