/** Gradients of windows by chunks of noise, for the formulas of `variance-formulas`, from tangents. */
import {
  CapabilityError,
  DifferentiationError,
  type DerivativePopulation,
  type DerivativeProgram,
  type UnrollProgram,
} from '../contracts';
import { pairSquare, type EpisodeMoments, type NoiseModel } from './variance-formulas';

/** Directions that one particle carries: beyond, compiled steps grow long, and more particles share the work instead. */
const DIRECTIONS = 8;
/** Work of a step with a tangent, in forward steps, beside the step itself. */
const TANGENT_WORK = 2;
/** Particles that are asked for at a time, so that they fill threads and lanes. */
const AT_ONCE = 64;

/** What moments are to be of, and what they may cost. */
export interface MomentsQuestion {
  readonly models: readonly NoiseModel[];
  /** T, finite. */
  readonly horizon: number;
  /** Size of θ. */
  readonly d: number;
  /** Work that may be spent, in inner steps without tangents. */
  readonly budget: number;
  /** The most episodes, 2 at least. */
  readonly episodes: number;
}

export interface MomentsOptions {
  readonly theta: Float64Array;
  /** Of the episodes' randomness. */
  readonly seed: number;
  readonly signal?: AbortSignal;
  /** Called with the work done so far. */
  readonly onWork?: (done: number) => void;
}

export interface WindowMoments {
  /** For each model, of each episode. One episode, if a second was its like to the last bit. */
  readonly moments: readonly (readonly EpisodeMoments[])[];
}

/** Why there are no moments, in words that follow "no prediction:". */
export interface NoMoments {
  readonly reason: string;
}

export interface MomentsPlan {
  readonly models: readonly NoiseModel[];
  readonly episodes: number;
  /** Of all episodes, in inner steps without tangents. */
  readonly work: number;
  readonly layout: TangentLayout;
}

/** The tangents of one episode: who carries which, and from where on. */
interface TangentLayout {
  readonly horizon: number;
  /** Size of θ. */
  readonly d: number;
  /** Finest window and chunk, of which those of all models are made. */
  readonly window: number;
  readonly chunk: number;
  /** Tangents are numbered by chunk, then by number of θ; particle p carries those from p·directions on. */
  readonly tangents: number;
  readonly directions: number;
  readonly particles: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

function layoutOf(models: readonly NoiseModel[], horizon: number, d: number): TangentLayout {
  const window = models.map((model) => model.window).reduce(gcd);
  const chunk = models.flatMap(({ noisePeriod: k }) => (k < horizon ? [k] : [])).reduce(gcd, 0) || horizon;
  const tangents = Math.ceil(horizon / chunk) * d;
  const particles = Math.ceil(tangents / DIRECTIONS);
  return { horizon, d, window, chunk, tangents, directions: Math.ceil(tangents / particles), particles };
}

/** First step at which particle p has a tangent that is not zero. */
const startOf = ({ directions, d, chunk }: TangentLayout, p: number): number =>
  Math.floor((p * directions) / d) * chunk;

/** The last particle runs from the episode's start, and the others are copies of it. */
function stepsOf(layout: TangentLayout): number {
  const { horizon, particles } = layout;
  let steps = startOf(layout, particles - 1);
  for (let p = 0; p < particles; p++) steps += horizon - startOf(layout, p);
  return steps;
}

/** Adds up one model's windows of one episode. */
class Accumulator {
  readonly squares: Float64Array;
  readonly gradients: Float64Array;
  private readonly sums: Float64Array;

  constructor(
    private readonly model: NoiseModel,
    private readonly layout: TangentLayout,
  ) {
    const { horizon, d } = layout;
    const windows = horizon / model.window;
    this.squares = new Float64Array(windows);
    this.gradients = new Float64Array(windows * d);
    this.sums = new Float64Array(Math.ceil(horizon / model.noisePeriod) * d);
  }

  /** The derivative of a finest window's mean loss by one tangent. */
  add(tangent: number, value: number): void {
    const { d, chunk, window } = this.layout;
    const own = Math.floor((Math.floor(tangent / d) * chunk) / this.model.noisePeriod);
    this.sums[own * d + (tangent % d)] += (value * window) / this.model.window;
  }

  /** After the finest window that ends at a step. */
  end(step: number): void {
    const { model, sums } = this;
    const { d } = this.layout;
    if (step % model.window !== 0) return;
    const index = step / model.window - 1;
    const chunks = Math.floor((index * model.window) / model.noisePeriod) + 1;
    this.squares[index] = pairSquare(sums.subarray(0, chunks * d), d);
    const total = this.gradients.subarray(index * d, (index + 1) * d);
    sums.forEach((value, i) => (total[i % d] += value));
    sums.fill(0);
  }
}

/** A window before whose end a derivative has left the range of numbers. */
class Overflow extends Error {
  constructor(readonly step: number) {
    super();
  }
}

/** How many episodes a budget is good for: two are the least that tell whether episodes differ. */
export function planMoments({ models, horizon, d, budget, episodes }: MomentsQuestion): MomentsPlan | NoMoments {
  const layout = layoutOf(models, horizon, d);
  const work = stepsOf(layout) * (1 + TANGENT_WORK * layout.directions);
  const affordable = Math.min(episodes, Math.floor(budget / work));
  if (affordable >= 2) return { models, episodes: affordable, work: affordable * work, layout };
  const count = (x: number): string => Math.round(x).toLocaleString('en');
  return {
    reason:
      `${count(layout.tangents)} tangents of an episode (θ of ${d}, ${count(layout.tangents / d)} chunks of noise), in two ` +
      `episodes, are the work of ${count(2 * work)} inner steps, and the measurement is that of ${count(budget)}`,
  };
}

/**
 * Moments of independent episodes at a θ that stands still.
 *
 * The gradient by what chunk j perturbs is carried as a tangent whose direction is a unit vector during chunk j and zero
 * outside. An episode of C chunks takes C·d tangents, up to eight a particle, that begin with their chunk.
 */
export async function windowMoments(
  program: UnrollProgram,
  plan: MomentsPlan,
  options: MomentsOptions,
): Promise<WindowMoments | NoMoments> {
  try {
    const derivative = await program.differentiate({ mode: 'tangent', directions: plan.layout.directions });
    try {
      return await runEpisodes(derivative, plan, options);
    } finally {
      await derivative.dispose();
    }
  } catch (error) {
    if (error instanceof CapabilityError) {
      return { reason: `engine ${error.engine} has no ${error.capability} windows, which give the gradients` };
    }
    if (error instanceof DifferentiationError) {
      return {
        reason: `the objective of "${program.problem.name}" has no derivative, and the formulas are of gradients`,
      };
    }
    if (!(error instanceof Overflow)) throw error;
    return { reason: `derivatives of the loss are not finite at inner step ${error.step}` };
  }
}

async function runEpisodes(
  program: DerivativeProgram,
  plan: MomentsPlan,
  options: MomentsOptions,
): Promise<WindowMoments> {
  const { models, episodes, work, layout } = plan;
  const atOnce = Math.min(episodes, Math.max(2, Math.floor(AT_ONCE / layout.particles)));
  const population = await program.createPopulation({ size: atOnce * layout.particles, seed: options.seed });
  const all: Accumulator[][] = [];
  try {
    while (all.length < episodes) {
      const first = all.length;
      // Two tell whether episodes differ at all.
      const count = first === 0 ? 2 : Math.min(atOnce, episodes - first);
      const onWindow = (share: number): void => options.onWork?.(((first + share * count) * work) / episodes);
      all.push(...(await runSome(population, plan, { ...options, first, count }, onWindow)));
      if (first === 0 && alike(all)) {
        options.onWork?.(work);
        return { moments: models.map((_, i) => [all[0][i]]) };
      }
    }
  } finally {
    await population.dispose();
  }
  return { moments: models.map((_, i) => all.map((episode) => episode[i])) };
}

/** Whether nothing random tells the episodes apart. */
function alike(episodes: readonly (readonly Accumulator[])[]): boolean {
  return episodes.every((episode) =>
    episode.every(({ gradients }, i) => gradients.every((g, k) => g === episodes[0][i].gradients[k])),
  );
}

/** Runs `count` episodes side by side, the `first` and following. @throws Overflow */
async function runSome(
  population: DerivativePopulation,
  { layout, models }: MomentsPlan,
  { theta, signal, first, count }: MomentsOptions & { readonly first: number; readonly count: number },
  onWindow: (share: number) => void,
): Promise<Accumulator[][]> {
  const { horizon, d, window, chunk, tangents, directions, particles } = layout;
  const episodes = Array.from({ length: count }, () => models.map((model) => new Accumulator(model, layout)));
  const perturbation = { form: 'none', theta } as const;
  const starts = Array.from({ length: particles }, (_, p) => startOf(layout, p));
  /** Particles of each episode that run at step t: those with a tangent, and the last one, which others are copies of. */
  const runningAt = (t: number): number[] =>
    starts.flatMap((start, p) => (start <= t || p === particles - 1 ? [p] : []));
  const particlesOf = (own: readonly number[]): Int32Array =>
    Int32Array.from({ length: count * own.length }, (_, i) => {
      const episode = Math.floor(i / own.length);
      return episode * particles + own[i % own.length];
    });
  const directionsAt = (t: number, own: readonly number[]): Float64Array => {
    const now = Math.floor(t / chunk);
    const rows = new Float64Array(count * own.length * directions * d);
    for (let i = 0; i < count * own.length; i++) {
      for (let slot = 0; slot < directions; slot++) {
        const tangent = own[i % own.length] * directions + slot;
        if (tangent < tangents && Math.floor(tangent / d) === now)
          rows[(i * directions + slot) * d + (tangent % d)] = 1;
      }
    }
    return rows;
  };

  let own = runningAt(0);
  let selection = { particles: particlesOf(own), perturbation, signal, directions: directionsAt(0, own) };
  const workers = selection.particles.map((p) => first + Math.floor(p / particles));
  await population.reset({ ...selection, workers, episodes: new Int32Array(workers.length) });
  for (let t = 0; t < horizon; t += window) {
    if (t > 0 && t % chunk === 0) {
      own = runningAt(t);
      const entering = starts.flatMap((start, p) => (start === t && p < particles - 1 ? [p] : []));
      if (entering.length > 0) {
        await population.copy(particlesOf(entering.map(() => particles - 1)), particlesOf(entering));
      }
      selection = { ...selection, particles: particlesOf(own), directions: directionsAt(t, own) };
    }
    const { derivatives } = await population.differentiate({ ...selection, steps: window });
    const live = (Math.floor(t / chunk) + 1) * d;
    for (let i = 0; i < count * own.length; i++) {
      const models = episodes[Math.floor(i / own.length)];
      const from = own[i % own.length] * directions;
      for (let slot = 0; slot < directions && from + slot < live; slot++) {
        const value = derivatives[i * directions + slot];
        if (!Number.isFinite(value)) throw new Overflow(t + window);
        for (const model of models) model.add(from + slot, value);
      }
    }
    for (const episode of episodes) for (const model of episode) model.end(t + window);
    onWindow((t + window) / horizon);
  }
  return episodes;
}
