/** Properties of gradient estimators, on two small problems whose gradient is known. */
import * as tf from '@tensorflow/tfjs';
import type {
  ArrayBundle,
  Estimate,
  EstimatorPopulation,
  GradientEstimator,
  UnrolledProblem,
  UnrollProgram,
} from '../contracts';
import { ReferenceEngine } from '../engines';
import { firstDifference, firstNamedDifference, PropertyError, type Make, type Property } from './property';

/** Of the problems below; divided by 1, 2, 3, 4, 6 and 12. */
export const HORIZON = 12;
const SEED = 20;
/** θ moves as in training, so that a window that used an older θ would differ. */
const THETAS = Array.from({ length: 6 }, (_, i) => Float64Array.of(0.3 + 0.05 * i, -0.4 - 0.02 * i));

export interface EstimatorSubject {
  readonly make: Make<GradientEstimator>;
  /** What it runs on; a program of its own at every call. θ has two numbers. */
  readonly program: () => UnrollProgram | Promise<UnrollProgram>;
}

async function estimates(
  { make, program }: EstimatorSubject,
  seed = SEED,
): Promise<{ estimates: Estimate[]; population: EstimatorPopulation }> {
  const estimator = await make();
  const population = await estimator.populate(await program(), seed);
  const found: Estimate[] = [];
  for (const [i, theta] of THETAS.entries()) found.push(await estimator.estimate(theta, population, i));
  return { estimates: found, population };
}

/** Everything that an estimate says, as numbers by name. */
function numbersOf({ gradient, theta, metrics, diagnostics, ...rest }: Estimate): Record<string, ArrayLike<number>> {
  const scalars = { ...rest, ...metrics, ...diagnostics } as Readonly<Record<string, number | undefined>>;
  return {
    gradient,
    ...(theta === undefined ? {} : { theta }),
    ...Object.fromEntries(Object.entries(scalars).map(([name, x]) => [name, x === undefined ? [] : [x]])),
  };
}

const sameSeed: Property<EstimatorSubject> = {
  name: 'same seed, same bits',
  check: async (subject) => {
    const [one, two] = [await estimates(subject), await estimates(subject)];
    for (const [i, estimate] of one.estimates.entries()) {
      const difference = firstNamedDifference(numbersOf(estimate), numbersOf(two.estimates[i]));
      if (difference !== undefined) {
        const advice = 'Derive every key and choice from the seed, the iteration and the number of the worker.';
        throw new PropertyError('the same estimates by the same seed', `${difference} in estimate ${i}`, advice);
      }
    }
    return undefined;
  },
};

const fromCheckpoint: Property<EstimatorSubject> = {
  name: 'goes on from a checkpoint with the same bits, wherever it was taken',
  check: async (subject) => {
    const whole = await estimates(subject);
    let bundle: ArrayBundle | undefined;
    for (const [i, theta] of THETAS.entries()) {
      // A process of its own each time: nothing survives but the bundle.
      const again = await subject.make();
      const population = await again.populate(await subject.program(), SEED);
      if (bundle !== undefined) await population.load(bundle);
      const got = await again.estimate(theta, population, i);
      const difference = firstNamedDifference(numbersOf(whole.estimates[i]), numbersOf(got));
      if (difference !== undefined) {
        const advice = 'Put everything that later estimates depend on into save, and take it back in load.';
        throw new PropertyError('the estimate of an uninterrupted run', `${difference} in estimate ${i}`, advice);
      }
      bundle = structuredClone(await population.save());
    }
    return undefined;
  },
};

const wellFormed: Property<EstimatorSubject> = {
  name: 'an estimate has a finite gradient of θ’s size, a finite mean loss, and whole counts',
  first: true,
  check: async (subject) => {
    for (const [i, estimate] of (await estimates(subject)).estimates.entries()) {
      const { gradient, theta, meanLoss, innerSteps, burnInSteps, validPairs, droppedPairs } = estimate;
      const vectors = Object.entries({ gradient, ...(theta === undefined ? {} : { theta }) });
      for (const [name, vector] of vectors) {
        if (vector.length !== THETAS[i].length || !vector.every(Number.isFinite)) {
          const advice = 'Sum by program.combine, which gives vectors of θ’s size, and divide by the valid pairs.';
          throw new PropertyError(`a ${name} of ${THETAS[i].length} finite numbers`, `[${vector.join(', ')}]`, advice);
        }
      }
      if (!Number.isFinite(meanLoss)) {
        throw new PropertyError('a finite mean loss', String(meanLoss), 'Divide by the steps of the valid pairs.');
      }
      const counts = { innerSteps, burnInSteps, validPairs, droppedPairs };
      for (const [name, count] of Object.entries(counts)) {
        if (
          !Number.isInteger(count) ||
          count < (theta === undefined && (name === 'innerSteps' || name === 'validPairs') ? 1 : 0)
        ) {
          throw new PropertyError(
            `a whole number of ${name}`,
            String(count),
            'Count particles times steps, and pairs.',
          );
        }
      }
    }
    return undefined;
  },
};

/** A problem with its gradient. */
interface Known {
  readonly problem: UnrolledProblem;
  /** Of the mean loss over the horizon, by θ. */
  readonly gradient: (theta: Float64Array) => readonly number[];
}

const WEIGHTS = [1, 0.6];
const targetOf = (k: number, t: number): number => Math.fround(0.5 * Math.cos(1 + k + 0.7 * t));

/** L_t = ½ Σ wₖ(θₖ − aₖ(t))². No state carries θ from step to step, and smoothing moves no gradient of a quadratic. */
const still: Known = {
  problem: {
    name: 'losses without memory',
    horizon: HORIZON,
    initTheta: () => ({ x: tf.zeros([2]) }),
    initState: () => ({ last: tf.zeros([2]) }),
    step: (theta, _state, { t }) => {
      const targets = tf.tensor2d(Array.from({ length: HORIZON }, (_, i) => [targetOf(0, i), targetOf(1, i)]));
      const off = tf.sub((theta as { x: tf.Tensor }).x, tf.gather(targets, t));
      return {
        state: { last: tf.mul(off, 0) },
        loss: tf.mul(tf.sum(tf.mul(tf.tensor1d(WEIGHTS), tf.square(off))), 0.5),
      };
    },
  },
  gradient: (theta) =>
    WEIGHTS.map((w, k) => {
      const mean = Array.from({ length: HORIZON }, (_, t) => targetOf(k, t)).reduce((a, b) => a + b) / HORIZON;
      return w * (theta[k] - mean);
    }),
};

const DECAY = 0.5;
/** s ← ½s + θ from 0, L_t = ½‖s − 1‖²: what θ did before a window counts within it. */
const carried: Known = {
  problem: {
    name: 'losses with memory',
    horizon: HORIZON,
    initTheta: () => ({ x: tf.zeros([2]) }),
    initState: () => ({ s: tf.zeros([2]) }),
    step: (theta, state) => {
      const s = tf.add(tf.mul((state as { s: tf.Tensor }).s, DECAY), (theta as { x: tf.Tensor }).x);
      return { state: { s }, loss: tf.mul(tf.sum(tf.square(tf.sub(s, 1))), 0.5) };
    },
  },
  gradient: (theta) =>
    Array.from(theta, (x) => {
      let [s, slope, sum] = [0, 0, 0];
      for (let t = 0; t < HORIZON; t++) {
        s = DECAY * s + x;
        slope = DECAY * slope + 1;
        sum += (s - 1) * slope;
      }
      return sum / HORIZON;
    }),
};

export const estimatorProgram = (): Promise<UnrollProgram> => new ReferenceEngine().compile(carried.problem);

/** Seeds that a mean is taken over, at first and at most. */
const SEEDS = { first: 48, most: 768 };
/** Standard errors that a mean may be off by: one right estimator in a million is. Seeds are fixed, so that it stays right. */
const QUANTILE = 5;
/** Of the gradient's length: below it a factor that is wrong would be seen. */
const RESOLUTION = 0.04;
/** What float32 constants and noise in float32 make of a sum. */
const ROUNDING = 1e-5;

interface Mean {
  readonly mean: readonly number[];
  readonly standardError: readonly number[];
}

/** Means of populations with seeds 1 … n, each over a whole number of horizons whatever the window is. */
async function meanGradient(
  make: Make<GradientEstimator>,
  known: Known,
  length: number,
): Promise<Mean | 'no gradient'> {
  const theta = THETAS[0];
  const program = await new ReferenceEngine().compile(known.problem);
  const samples: number[][] = [];
  for (let most = SEEDS.first; ; most *= 2) {
    while (samples.length < most) {
      const estimator = await make();
      const population = await estimator.populate(program, samples.length + 1);
      const sum = [0, 0];
      for (let i = 0; i < HORIZON; i++) {
        const estimate = await estimator.estimate(theta, population, i);
        if (estimate.theta !== undefined) return 'no gradient';
        estimate.gradient.forEach((g, k) => (sum[k] += g / HORIZON));
      }
      samples.push(sum);
      await population.dispose();
    }
    const n = samples.length;
    const mean = [0, 1].map((k) => samples.reduce((sum, g) => sum + g[k] / n, 0));
    const standardError = mean.map((m, k) =>
      Math.sqrt(samples.reduce((sum, g) => sum + (g[k] - m) ** 2, 0) / (n - 1) / n),
    );
    if (Math.max(...standardError) < RESOLUTION * length || 2 * n > SEEDS.most) return { mean, standardError };
  }
}

const shownVector = (vector: readonly number[]): string => `(${vector.map((x) => x.toPrecision(4)).join(', ')})`;

/** Why nothing is said, or the bias that was found; undefined if there is none. */
async function biasOf(
  make: Make<GradientEstimator>,
  known: Known,
): Promise<{ inapplicable: string } | { expected: string; got: string } | undefined> {
  const truth = known.gradient(THETAS[0]);
  const length = Math.hypot(...truth);
  const found = await meanGradient(make, known, length);
  if (found === 'no gradient') return { inapplicable: 'it has no gradient: it says itself where θ goes' };
  const { mean, standardError } = found;
  const off = mean.some((m, k) => !(Math.abs(m - truth[k]) <= QUANTILE * standardError[k] + ROUNDING * length));
  if (off) {
    const errors = `standard errors ${shownVector(standardError)}`;
    return { expected: `a mean of ${shownVector(truth)}`, got: `${shownVector(mean)}, ${errors}` };
  }
  if (Math.max(...standardError) >= RESOLUTION * length) {
    return {
      inapplicable: `it is too noisy to say: standard errors ${shownVector(standardError)} after ${SEEDS.most} seeds`,
    };
  }
  return undefined;
}

const unbiasedWithoutMemory: Property<EstimatorSubject> = {
  name: 'where no state carries θ, its mean is the gradient of the mean loss per inner step',
  check: async ({ make }) => {
    const bias = await biasOf(make, still);
    if (bias === undefined || 'inapplicable' in bias) return bias?.inapplicable;
    throw new PropertyError(
      bias.expected,
      bias.got,
      'Check signs, factors (2σ², pairs, steps of the window), and that the losses are a mean per inner step.',
    );
  },
};

/** Truncation is a choice, not a mistake: what it leaves out is said, and is no failure. */
const biasOfTruncation: Property<EstimatorSubject> = {
  name: 'where the state carries θ, too: nothing is truncated',
  check: async ({ make }) => {
    const bias = await biasOf(make, carried);
    if (bias === undefined) return undefined;
    return 'inapplicable' in bias
      ? bias.inapplicable
      : `it is truncated, or biased: expected ${bias.expected}, got ${bias.got}`;
  },
};

const inputsStay: Property<EstimatorSubject> = {
  name: 'θ is left as it is',
  check: async ({ make, program }) => {
    const estimator = await make();
    const population = await estimator.populate(await program(), SEED);
    const theta = Float64Array.from(THETAS[0]);
    await estimator.estimate(theta, population, 0);
    const difference = firstDifference(THETAS[0], theta);
    if (difference === undefined) return undefined;
    throw new PropertyError('the θ that was handed in', difference, 'Copy it before you change it: theta.slice().');
  },
};

/** Of any estimator, on any program whose θ has two numbers. */
export const ESTIMATOR_PROPERTIES: readonly Property<EstimatorSubject>[] = [
  wellFormed,
  sameSeed,
  fromCheckpoint,
  inputsStay,
];

/** On problems of their own. */
export const BIAS_PROPERTIES: readonly Property<EstimatorSubject>[] = [unbiasedWithoutMemory, biasOfTruncation];
