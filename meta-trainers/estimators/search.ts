/**
 * What random search and grid search share: batches of candidates over whole episodes, the best of which stays. No
 * gradient is estimated; they are base lines for those who estimate one.
 */
import { z } from 'zod';
import type {
  ArrayBundle,
  ConfigObject,
  Estimate,
  EstimatorPopulation,
  GradientEstimator,
  NamedArray,
  Population,
  UnrollProgram,
} from '../../src/contracts';
import { CheckpointError, ConfigurationError, ShapeError } from '../../src/contracts/errors';
import { settingsOf } from '../options';
import { checkOneLength } from './lengths';

const count = z.number().int().min(1);
/** One number for all coordinates of θ, or one for each. */
const coordinates = z.union([z.number(), z.array(z.number()).min(1)], { error: 'a number, or a list of numbers' });

/** Options of every search. θ is as stored: `meta.log` stores a natural logarithm. */
export const searchOptions = {
  /** Half the width of the box around θ₀. */
  radius: coordinates.optional(),
  /** Corners of the box, instead of `radius`. */
  lower: coordinates.optional(),
  upper: coordinates.optional(),
  /** Candidates of one outer iteration. */
  batch: count.default(16),
  /** Inner runs of each candidate, whose losses are averaged; the same starts and batches for all candidates. */
  starts: count.default(1),
};

export type SearchOptions = z.output<z.ZodObject<typeof searchOptions>>;

/** The box is given by `radius`, or by `lower` and `upper`. For `z.strictObject(…).check`. */
export function checkBox(ctx: {
  readonly value: Partial<SearchOptions>;
  readonly issues: z.core.$ZodRawIssue[];
}): void {
  const { radius, lower, upper } = ctx.value;
  const corners = Number(lower !== undefined) + Number(upper !== undefined);
  const wrong = (key: string, message: string): void => {
    ctx.issues.push({ code: 'custom', message, input: ctx.value, path: [key] });
  };
  if (radius !== undefined && corners > 0) wrong('radius', 'nothing beside "lower" and "upper"');
  else if (radius === undefined && corners === 0)
    wrong('radius', 'the size of the box: "radius", or "lower" and "upper"');
  else if (corners === 1) {
    wrong(lower === undefined ? 'lower' : 'upper', `a number beside "${lower === undefined ? 'upper' : 'lower'}"`);
  } else if (radius !== undefined && [radius].flat().some((r) => !(r > 0 && r < Infinity))) {
    wrong('radius', 'numbers greater than 0');
  }
}

/** A box in θ's space. */
export interface Box {
  readonly lower: Float64Array;
  readonly upper: Float64Array;
}

/** One number a coordinate of θ. @throws ConfigurationError */
export function perCoordinate(key: string, value: number | readonly number[], size: number): Float64Array {
  if (typeof value === 'number') return new Float64Array(size).fill(value);
  if (value.length !== size) {
    throw new ConfigurationError(
      `estimator.${key}`,
      `a number, or one for each of θ's ${String(size)} coordinates`,
      `${String(value.length)} numbers`,
    );
  }
  return Float64Array.from(value);
}

/** What makes one search differ from another. */
export interface Candidates {
  readonly name: string;
  /** How many there are; Infinity for ever new ones. @throws ConfigurationError */
  total(size: number): number;
  /** Candidate number `n`, from 0: a function of its arguments alone, whatever the batch. */
  candidate(n: number, box: Box, start: Float64Array, seed: number): Float64Array;
}

/** The box around θ₀. @throws ConfigurationError */
function boxOf({ radius, lower, upper }: SearchOptions, start: Float64Array): Box {
  const size = start.length;
  if (radius !== undefined) {
    const r = perCoordinate('radius', radius, size);
    return { lower: start.map((x, i) => x - r[i]), upper: start.map((x, i) => x + r[i]) };
  }
  const box = { lower: perCoordinate('lower', lower ?? 0, size), upper: perCoordinate('upper', upper ?? 0, size) };
  const bad = box.lower.findIndex((x, i) => !(x <= box.upper[i]));
  if (bad >= 0) {
    throw new ConfigurationError(
      'estimator.lower',
      `at most "upper", which is ${String(box.upper[bad])} for coordinate ${String(bad)}`,
      String(box.lower[bad]),
    );
  }
  return box;
}

interface Best {
  readonly theta: Float64Array;
  readonly loss: number;
  /** In the order of the program's. */
  readonly metrics: Float64Array;
}

/** θ₀, the number of candidates tried, and the best of them. */
class SearchState implements EstimatorPopulation {
  start?: Float64Array;
  tried = 0;
  best?: Best;

  constructor(
    readonly program: UnrollProgram,
    readonly population: Population,
    readonly seed: number,
  ) {}

  save(): Promise<ArrayBundle> {
    const { start, best } = this;
    const vector = (data: Float64Array): NamedArray => ({ shape: [data.length], data: data.slice() });
    return Promise.resolve({
      tried: vector(Float64Array.of(this.tried)),
      ...(start === undefined ? {} : { start: vector(start) }),
      ...(best === undefined
        ? {}
        : { best: vector(best.theta), loss: vector(Float64Array.of(best.loss)), metrics: vector(best.metrics) }),
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    const { theta, metrics } = this.program;
    const read = (name: string, length: number): Float64Array => {
      const found = bundle[name] as NamedArray | undefined;
      if (found?.data instanceof Float64Array && found.data.length === length) return found.data.slice();
      const got = found === undefined ? 'nothing' : `${String(found.data.length)} (${found.data.constructor.name})`;
      throw new CheckpointError(
        `checkpoint array "${name}": expected ${String(length)} numbers (Float64Array), got ${got}. ` +
          'It was written with other estimator settings or is damaged.',
      );
    };
    return Promise.resolve().then(() => {
      this.tried = read('tried', 1)[0];
      this.start = 'start' in bundle ? read('start', theta.size) : undefined;
      this.best = !('best' in bundle)
        ? undefined
        : { theta: read('best', theta.size), loss: read('loss', 1)[0], metrics: read('metrics', metrics.length) };
    });
  }

  dispose(): Promise<void> {
    return this.population.dispose();
  }
}

/**
 * Evaluates a batch of candidates an iteration, each over `starts` whole episodes, and moves θ to the best so far. All
 * candidates of a run see the same starts and minibatches (workers 0 … starts − 1, episode 0), so that they are compared
 * with one another and not with their luck; what is left of luck, the evaluation of the result shows.
 *
 * `meanLoss` and `metrics` are of the best so far, `validPairs` and `droppedPairs` count candidates. n·starts·T inner
 * steps for n candidates. One with a NaN or infinite loss is never the best.
 */
export class Search implements GradientEstimator<SearchState> {
  readonly needs = ['forward'] as const;
  readonly counts = 'candidates';
  readonly settings: ConfigObject;

  constructor(
    private readonly candidates: Candidates,
    private readonly options: SearchOptions,
  ) {
    this.settings = settingsOf(options);
  }

  get name(): string {
    return this.candidates.name;
  }

  /** @throws ConfigurationError if the horizon is infinite, or options have other numbers of coordinates than θ */
  async populate(program: UnrollProgram, seed: number): Promise<SearchState> {
    const { horizon } = program.problem;
    if (!Number.isFinite(horizon)) {
      throw new ConfigurationError('horizon', `a number of steps for ${this.name}`, String(horizon));
    }
    checkOneLength(program.problem, this.name);
    const { batch, starts } = this.options;
    const { size } = program.theta;
    boxOf(this.options, new Float64Array(size));
    const most = Math.min(batch, this.candidates.total(size));
    return new SearchState(program, await program.createPopulation({ size: most * starts, seed }), seed);
  }

  async estimate(theta: Float64Array, state: SearchState, _iteration: number, signal?: AbortSignal): Promise<Estimate> {
    const { program, tried } = state;
    const { size } = program.theta;
    if (theta.length !== size) throw new ShapeError(`θ: expected ${size} numbers, got ${theta.length}.`);
    const { batch, starts } = this.options;
    const { horizon } = program.problem;
    const start = state.start ?? theta.slice();
    const total = this.candidates.total(size);
    const n = Math.min(batch, total - tried);
    const box = boxOf(this.options, start);
    const thetas = new Float64Array(n * starts * size);
    for (let i = 0; i < n; i++) {
      const candidate = this.candidates.candidate(tried + i, box, start, state.seed);
      for (let s = 0; s < starts; s++) thetas.set(candidate, (i * starts + s) * size);
    }
    const { losses, metrics } = await run(state, { thetas, n, starts }, signal);

    state.start = start;
    state.tried += n;
    let valid = 0;
    losses.forEach((loss, i) => {
      if (!Number.isFinite(loss)) return;
      valid++;
      if (state.best !== undefined && loss >= state.best.loss) return;
      const row = i * starts * size;
      state.best = { theta: thetas.slice(row, row + size), loss, metrics: Float64Array.from(metrics, (of) => of[i]) };
    });
    const { best } = state;
    return {
      gradient: new Float64Array(size),
      ...(best === undefined ? {} : { theta: best.theta.slice() }),
      meanLoss: best?.loss ?? NaN,
      innerSteps: n * starts * horizon,
      sequentialSteps: n === 0 ? 0 : horizon,
      burnInSteps: 0,
      validPairs: valid,
      droppedPairs: n - valid,
      metrics: Object.fromEntries(program.metrics.map((name, m) => [name, best?.metrics[m] ?? NaN])),
      diagnostics: {
        candidates: state.tried,
        /** Mean loss per inner step of the batch, the best of it included; NaN if none was valid. */
        batchLoss: losses.filter(Number.isFinite).reduce((sum, loss) => sum + loss, 0) / valid,
        ...(total === Infinity ? {} : { remaining: total - state.tried }),
      },
    };
  }
}

/** Mean losses and metrics per inner step of each candidate over its starts. */
async function run(
  { program, population }: SearchState,
  { thetas, n, starts }: { readonly thetas: Float64Array; readonly n: number; readonly starts: number },
  signal: AbortSignal | undefined,
): Promise<{ losses: Float64Array; metrics: Float64Array[] }> {
  const particles = Int32Array.from({ length: n * starts }, (_, i) => i);
  const means = (sums: Float64Array): Float64Array => {
    const out = new Float64Array(n);
    for (let i = 0; i < sums.length; i++) out[Math.floor(i / starts)] += sums[i];
    return out.map((sum) => sum / (starts * program.problem.horizon));
  };
  if (n === 0) return { losses: new Float64Array(0), metrics: program.metrics.map(() => new Float64Array(0)) };
  const selection = { particles, perturbation: { form: 'explicit', thetas }, signal } as const;
  await population.reset({
    ...selection,
    workers: particles.map((i) => i % starts),
    episodes: new Int32Array(n * starts),
  });
  const result = await population.advance({ ...selection, steps: program.problem.horizon });
  return { losses: means(result.lossSum), metrics: program.metrics.map((name) => means(result.metricSums[name])) };
}
