/** Properties of problems; tasks and optimizers have them too, by the problem that is made of them. */
import * as tf from '@tensorflow/tfjs';
import {
  DifferentiationError,
  treeLeaves,
  type ArrayBundle,
  type Population,
  type UnrolledProblem,
  type UnrollProgram,
} from '../contracts';
import { ReferenceEngine } from '../engines';
import { initialTheta } from '../outer/theta';
import { EagerRandom, normals, seedKey } from '../random';
import { traceProblem } from '../graph/trace';
import { firstDifference, firstNamedDifference, KEYED, PropertyError, type Make, type Property } from './property';

const SEED = 5;
const PARTICLES = Int32Array.of(0, 1);
/** Steps of a look at a problem: the reference engine is slow. */
const STEPS = 5;

const stepsOf = ({ horizon }: UnrolledProblem): number => Math.min(STEPS, horizon);

/** Two particles of different workers, both at θ. */
async function started(
  program: Pick<UnrollProgram, 'createPopulation'>,
  theta: Float64Array,
): Promise<{ population: Population; perturbation: { form: 'none'; theta: Float64Array } }> {
  const population = await program.createPopulation({ size: PARTICLES.length, seed: SEED });
  const perturbation = { form: 'none', theta } as const;
  await population.reset({
    particles: PARTICLES,
    perturbation,
    workers: PARTICLES,
    episodes: new Int32Array(PARTICLES.length),
  });
  return { population, perturbation };
}

const numbersOf = (bundle: ArrayBundle): Record<string, ArrayLike<number>> =>
  Object.fromEntries(Object.entries(bundle).map(([name, { data }]) => [name, data]));

/** Losses and states of the first steps, by name. */
async function played(make: Make<UnrolledProblem>): Promise<Record<string, ArrayLike<number>>> {
  const problem = await make();
  const theta = initialTheta(problem, SEED);
  const program = await new ReferenceEngine().compile(problem);
  const { population, perturbation } = await started(program, theta);
  const result: Record<string, ArrayLike<number>> = { 'θ₀': theta };
  for (let t = 0; t < stepsOf(problem); t++) {
    const { lossSum } = await population.advance({ particles: PARTICLES, perturbation, steps: 1 });
    result[`losses of step ${t}`] = lossSum;
    for (const [name, values] of Object.entries(numbersOf(await population.save()))) {
      result[`${name} after step ${t}`] = values;
    }
  }
  await program.dispose();
  return result;
}

/** Tracing checks what a problem states: leaves, shapes and dtypes of the state, a scalar loss, nothing read, nothing unkeyed. */
const traces: Property<Make<UnrolledProblem>> = {
  name: 'it can be traced; the state keeps its shapes and dtypes, the loss is a scalar',
  first: true,
  check: async (make) => {
    const problem = await make();
    const wrong = tf.tidy(() =>
      treeLeaves<tf.Tensor>(problem.initTheta(new EagerRandom(seedKey(SEED))))
        .filter(({ value }) => value.dtype !== 'float32')
        .map(({ path, value }) => `${path === '' ? 'θ' : path} of ${value.dtype}`),
    );
    if (wrong.length > 0) {
      throw new PropertyError(
        'float32 leaves of θ',
        wrong.join(', '),
        'Cast them in initTheta: tf.cast(x, "float32").',
      );
    }
    traceProblem(problem);
    return undefined;
  },
};

const seedDecides: Property<Make<UnrolledProblem>> = {
  name: 'the seed decides everything: made and run twice, it has the same bits',
  check: async (make) => {
    const difference = firstNamedDifference(await played(make), await played(make));
    if (difference !== undefined) throw new PropertyError('the same bits twice', difference, KEYED);
    return undefined;
  },
};

const finiteLosses: Property<Make<UnrolledProblem>> = {
  name: 'the losses of the first steps from θ₀ are finite',
  check: async (make) => {
    for (const [name, values] of Object.entries(await played(make))) {
      const wrong = name.startsWith('losses') ? Array.from(values).find((x) => !Number.isFinite(x)) : undefined;
      if (wrong !== undefined) {
        throw new PropertyError(
          'finite losses',
          `${String(wrong)} among the ${name}`,
          'Look for a logarithm or root of 0, a division by 0, or a start that is too far out.',
        );
      }
    }
    return undefined;
  },
};

const saved: Property<Make<UnrolledProblem>> = {
  name: 'saved and restored, it goes on with the same bits',
  check: async (make) => {
    const problem = await make();
    const steps = stepsOf(problem);
    const before = Math.max(1, steps - 2);
    if (steps <= before) return 'an episode has one step';
    const theta = initialTheta(problem, SEED);
    const engine = new ReferenceEngine();
    const program = await engine.compile(problem);
    const { population, perturbation } = await started(program, theta);
    await population.advance({ particles: PARTICLES, perturbation, steps: before });
    const bundle = structuredClone(await population.save());
    const rest = { particles: PARTICLES, perturbation, steps: steps - before };
    const whole = await population.advance(rest);
    // A process of its own: nothing is left but the bundle.
    const again = await (await engine.compile(await make())).createPopulation({ size: PARTICLES.length, seed: SEED });
    await again.load(bundle);
    const difference =
      firstDifference(whole.lossSum, (await again.advance(rest)).lossSum) ??
      firstNamedDifference(numbersOf(await population.save()), numbersOf(await again.save()));
    if (difference !== undefined) {
      throw new PropertyError('the same bits', difference, 'Keep everything that a step depends on in the state.');
    }
    return undefined;
  },
};

const H = 1e-6;

const gradientByTheta: Property<Make<UnrolledProblem>> = {
  name: 'the gradient by θ is that of central differences',
  check: async (make) => {
    const problem = await make();
    const start = initialTheta(problem, SEED);
    if (start.length === 0) return 'θ is empty';
    const steps = Math.min(4, problem.horizon);
    // Not at θ₀ itself, where zeros would hide what they are multiplied with.
    const moves = normals([SEED, 1], start.length);
    const theta = start.map((x, k) => Math.fround(x + 0.01 * moves[k]));
    const forward = await new ReferenceEngine().compile(problem);
    const reverse = await forward
      .differentiate({ mode: 'reverse', steps, windowLoss: 'mean', start: true })
      .catch((error: unknown) => {
        if (error instanceof DifferentiationError) return undefined;
        throw error;
      });
    if (reverse === undefined) return 'the loss has no derivative by θ: for evolutionary estimators only';
    const one = { particles: Int32Array.of(0), workers: Int32Array.of(0), episodes: Int32Array.of(0) };
    const lossAt = async (at: Float64Array): Promise<number> => {
      const population = await forward.createPopulation({ size: 1, seed: SEED });
      const perturbation = { form: 'none', theta: at } as const;
      await population.reset({ ...one, perturbation });
      return (await population.advance({ particles: one.particles, perturbation, steps })).lossSum[0] / steps;
    };
    const population = await reverse.createPopulation({ size: 1, seed: SEED });
    const perturbation = { form: 'none', theta } as const;
    await population.reset({ ...one, perturbation });
    const { derivatives } = await population.differentiate({ particles: one.particles, perturbation, steps });
    const gradient = Array.from(derivatives);
    if (!gradient.every(Number.isFinite)) {
      throw new PropertyError(
        'a finite gradient',
        `${String(gradient.find((g) => !Number.isFinite(g)))} in number ${gradient.findIndex((g) => !Number.isFinite(g))} of θ`,
        'Roots and norms have no derivative at 0: add a small number below the root.',
      );
    }
    const length = Math.hypot(...gradient);
    const directions = [2, 3].map((n) => Array.from(normals([SEED, n], theta.length)));
    // Where it is steepest, too: there nothing hides behind rounding.
    if (length > 0) directions.push(gradient.map((g) => g / length));
    const size = Math.abs(await lossAt(theta));
    for (const direction of directions) {
      const difference = async (by: number): Promise<number> =>
        ((await lossAt(theta.map((x, k) => x + by * direction[k]))) -
          (await lossAt(theta.map((x, k) => x - by * direction[k])))) /
        (2 * by);
      const [near, far] = [await difference(H), await difference(2 * H)];
      const along = direction.reduce((sum, v, k) => sum + v * gradient[k], 0);
      // Truncation, as the two step sizes show it; rounding of losses; constants of derivative rules, which are float32.
      const error = Math.abs(far - near) + (100 * 2 ** -53 * Math.max(1, size)) / H + 2 ** -22 * Math.abs(near);
      if (!(Math.abs(along - near) <= error)) {
        throw new PropertyError(
          `the slope of central differences, ${near.toPrecision(6)} along a direction of θ`,
          along.toPrecision(6),
          'Look for jumps (round, argMax, comparisons) and for stopGradient.',
        );
      }
    }
    await reverse.dispose();
    await forward.dispose();
    return undefined;
  },
};

export const PROBLEM_PROPERTIES: readonly Property<Make<UnrolledProblem>>[] = [
  traces,
  seedDecides,
  finiteLosses,
  gradientByTheta,
  saved,
];
