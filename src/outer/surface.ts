/**
 * The meta-loss at many θ at once: every θ is a few particles of one population, all of which are advanced by the same
 * calls. No estimator takes part.
 */
import { UserError, type UnrollProgram } from '../contracts';
import { statistics } from './evaluate';
import { allFinite } from './theta';

/** One axis of a grid over θ. */
export interface GridAxis {
  /** Index into θ. */
  readonly coordinate: number;
  /** In the stored coordinate, ascending. */
  readonly values: readonly number[];
}

/** `count` ≥ 2 evenly spaced numbers, both ends included. */
export function spread(low: number, high: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
}

/**
 * θ of every point of a grid, [points of y × points of x × θ size] row-major, x moving fastest. All other coordinates are
 * those of `theta`.
 */
export function gridThetas(theta: Float64Array, x: GridAxis, y: GridAxis): Float64Array {
  const rows = new Float64Array(x.values.length * y.values.length * theta.length);
  y.values.forEach((b, j) => {
    x.values.forEach((a, i) => {
      const row = rows.subarray((j * x.values.length + i) * theta.length).subarray(0, theta.length);
      row.set(theta);
      row[x.coordinate] = a;
      row[y.coordinate] = b;
    });
  });
  return rows;
}

export interface MeasureThetasOptions {
  /** Rows [m × θ size]. */
  readonly thetas: Float64Array;
  /** Inner steps from the start of an episode; at most the horizon. */
  readonly steps: number;
  /** Episodes for each θ; the same ones for all θ, so that θ alone makes the difference. */
  readonly workers: number;
  /** Keys what is random in the episodes. */
  readonly seed: number;
  /** The loss of an episode: the mean over its steps (the default), or its last. */
  readonly measure?: 'mean' | 'last';
  readonly signal?: AbortSignal;
  /** Called once the episodes have begun and after each of about a hundred windows: inner steps done of each particle. */
  readonly onSteps?: (steps: number) => void;
}

/** Per θ, in the order of the rows. */
export interface MeasuredThetas {
  /** Mean over episodes of the loss per inner step, or of the last. NaN or infinite where it is so in any of the episodes. */
  readonly mean: Float64Array;
  /** Over episodes: sample standard deviation / √n, 0 for one. NaN where the mean is not finite. */
  readonly standardError: Float64Array;
  /** Of each episode, [rows × workers]. */
  readonly losses: Float64Array;
}

const WINDOWS = 100;
/** θ of all particles lie in one array. */
export const MOST_NUMBERS = 2 ** 28;

/**
 * Loss of whole episodes at every θ, unperturbed. Particle r·workers + w runs with row r of `thetas` as worker w in
 * episode 0: all rows have the same initialisations, minibatches and other draws (common random numbers), so that the
 * surface over θ is as smooth as the loss of one episode is.
 * @throws UserError for more numbers than can be perturbed at once, CancelledError once the signal is aborted
 */
export async function measureThetas(program: UnrollProgram, options: MeasureThetasOptions): Promise<MeasuredThetas> {
  const { thetas, steps, workers, seed, measure = 'mean', signal, onSteps } = options;
  const size = program.theta.size;
  const rows = thetas.length / size;
  const particles = rows * workers;
  if (particles * size > MOST_NUMBERS) {
    throw new UserError(
      `${rows} points × ${workers} episodes of a θ of ${size} numbers: expected at most ${MOST_NUMBERS} numbers in all, ` +
        `got ${particles * size}. Take a coarser grid or fewer episodes.`,
    );
  }
  const explicit = new Float64Array(particles * size);
  for (let p = 0; p < particles; p++) {
    const row = Math.floor(p / workers) * size;
    explicit.set(thetas.subarray(row, row + size), p * size);
  }
  const selection = {
    particles: Int32Array.from({ length: particles }, (_, i) => i),
    perturbation: { form: 'explicit', thetas: explicit },
    signal,
  } as const;
  const population = await program.createPopulation({ size: particles, seed });
  const losses = new Float64Array(particles);
  try {
    await population.reset({
      ...selection,
      workers: Int32Array.from({ length: particles }, (_, i) => i % workers),
      episodes: new Int32Array(particles),
    });
    onSteps?.(0);
    const window = Math.ceil(steps / WINDOWS);
    for (let done = 0; done < steps;) {
      const part = Math.min(window, steps - done);
      const { lossSum, lastLoss } = await population.advance({ ...selection, steps: part });
      if (measure === 'last') losses.set(lastLoss);
      else for (let i = 0; i < particles; i++) losses[i] += lossSum[i];
      done += part;
      onSteps?.(done);
    }
  } finally {
    await population.dispose();
  }
  if (measure === 'mean') for (let i = 0; i < particles; i++) losses[i] /= steps;
  const mean = new Float64Array(rows);
  const standardError = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const own = losses.subarray(r * workers, (r + 1) * workers);
    const of = statistics(Array.from(own));
    mean[r] = of.mean;
    standardError[r] = allFinite(own) ? of.standardError : NaN;
  }
  return { mean, standardError, losses };
}
