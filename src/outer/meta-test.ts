/**
 * Meta-testing: optimizers held against one another on one task. A learned optimizer comes with its θ; a hand-designed one gets
 * the learning rate of a logarithmic grid that is best for it on trainings of its own. All are then judged on the same
 * fresh starts and minibatches, which neither meta-training nor tuning has seen.
 */
import { UserError, type UnrollEngine, type UnrollProgram } from '../contracts';
import type { MetaTestProblem } from './combinators/unroll';
import { seedOfStream, statistics } from './evaluate';
import { StepSizeRecorder, type StepSizes } from './step-sizes';
import { measureThetas } from './surface';

/** An optimizer on the task, with the θ that it runs with or the rates among which one is to be chosen. */
export interface Contestant {
  readonly name: string;
  readonly test: MetaTestProblem;
  /** Fixed; or absent: θ is one number, the natural logarithm of a learning rate. */
  readonly theta?: Float64Array;
  /** The least and the largest rate that are tried at first. */
  readonly range?: readonly [number, number];
}

export interface MetaTestOptions {
  readonly engine: UnrollEngine;
  readonly contestants: readonly Contestant[];
  /** Inner steps of a training. */
  readonly horizon: number;
  /** Rates of the grid, at least 2. */
  readonly rates: number;
  /** Trainings of each rate. */
  readonly tuningSeeds: number;
  /** Trainings that are judged. */
  readonly seeds: number;
  readonly seed: number;
  /** Contestants are compared with this one, if it takes part; otherwise with the tuned one of the least mean loss. */
  readonly reference?: string;
  readonly signal?: AbortSignal;
  /** Inner steps done, of all trainings together, and for whom. */
  readonly onSteps?: (steps: number, contestant: string) => void;
}

/** One training from a fresh start. Numbers of a training that diverged are NaN or infinite. */
export interface Trial {
  /** From 0; equal seeds have equal starts and minibatches, whatever the optimizer. */
  readonly seed: number;
  /** Mean over all steps of the loss after the step. */
  readonly meanLoss: number;
  /** After the last step, on the whole test split (or of the task itself). */
  readonly finalLoss: number;
  readonly accuracy?: number;
}

/** A learning rate and what it gave: mean loss over all steps, over the seeds of tuning. */
export interface TunedRate {
  readonly learningRate: number;
  readonly mean: number;
  readonly standardError: number;
}

export interface Statistics {
  readonly mean: number;
  readonly standardError: number;
  readonly n: number;
}

/** Mean and standard error over trainings, band and all, at one place of the course. */
export interface CoursePoint {
  /** Inner steps done. */
  readonly t: number;
  /** Mean loss of the steps since the point before. */
  readonly mean: number;
  readonly standardError: number;
}

export interface MetaTestResult {
  readonly name: string;
  /** Of tuned ones. */
  readonly learningRate?: number;
  readonly tuning?: readonly TunedRate[];
  readonly trials: readonly Trial[];
  readonly meanLoss: Statistics;
  readonly finalLoss: Statistics;
  readonly accuracy?: Statistics;
  readonly course: readonly CoursePoint[];
  /** Of problems that measure them. */
  readonly stepSizes?: StepSizes;
  /** Inner steps until the loss, smoothed over a twentieth of the training, is at the reference's level at its end. */
  readonly stepsToReference?: number;
  /** On this engine, a training's share of the time that all of them took together. */
  readonly secondsPerTraining: number;
  /** Mean loss minus that of the reference, start by start; absent for the reference itself. */
  readonly difference?: Statistics & { readonly wins: number };
}

export interface MetaTest {
  /** Name of the contestant that others are compared with; absent if none was tuned. */
  readonly reference?: string;
  /** In the order given. */
  readonly results: readonly MetaTestResult[];
}

/** Points of a course at most. */
const COURSE_POINTS = 200;
/** Share of a training over which its loss is smoothed, and that counts as its end. */
const LEVEL_SHARE = 0.05;
/** A grid whose best rate lies at an end is continued there, so often at most. */
const CONTINUATIONS = 3;
const CONTINUED_BY = 5;

/** `count` rates from `low` to `high` with equal ratios, both included. */
export function rateGrid([low, high]: readonly [number, number], count: number): number[] {
  return Array.from({ length: count }, (_, i) => low * (high / low) ** (i / (count - 1)));
}

/** Index of the least finite mean, or −1. */
function best(tuned: readonly TunedRate[]): number {
  return tuned.reduce((least, { mean }, i) => {
    if (!Number.isFinite(mean)) return least;
    return least < 0 || mean < tuned[least].mean ? i : least;
  }, -1);
}

interface Stage {
  readonly options: MetaTestOptions;
  readonly program: UnrollProgram;
  /** Counts inner steps of all particles of the call. */
  readonly stepped: (steps: number) => void;
}

/**
 * All rates in one population, with common starts and minibatches; the grid goes on where its best rate is at an end.
 * @throws UserError if no rate trains
 */
async function tune(contestant: Contestant, { options, program, stepped }: Stage): Promise<TunedRate[]> {
  const { horizon, rates, tuningSeeds, seed, signal } = options;
  const [low, high] = contestant.range ?? [1e-4, 1];
  const ratio = (high / low) ** (1 / (rates - 1));
  const measured = async (grid: readonly number[]): Promise<TunedRate[]> => {
    let before = 0;
    const { mean, standardError } = await measureThetas(program, {
      thetas: Float64Array.from(grid, Math.log),
      steps: horizon,
      workers: tuningSeeds,
      seed: seedOfStream(seed, 'tuning'),
      ...(signal === undefined ? {} : { signal }),
      onSteps: (steps) => {
        stepped((steps - before) * grid.length * tuningSeeds);
        before = steps;
      },
    });
    return grid.map((learningRate, i) => ({ learningRate, mean: mean[i], standardError: standardError[i] }));
  };
  let tuned = await measured(rateGrid([low, high], rates));
  for (let round = 0; round < CONTINUATIONS; round++) {
    const at = best(tuned);
    const powers = Array.from({ length: CONTINUED_BY }, (_, i) => i + 1);
    // Where nothing trains at all, smaller rates may.
    if (at <= 0) {
      const least = tuned[0].learningRate;
      tuned = [...(await measured(powers.map((k) => least / ratio ** k).reverse())), ...tuned];
    } else if (at === tuned.length - 1) {
      const most = tuned[at].learningRate;
      tuned = [...tuned, ...(await measured(powers.map((k) => most * ratio ** k)))];
    } else break;
  }
  if (best(tuned) >= 0) return tuned;
  throw new UserError(
    `${contestant.name} trains with none of the learning rates from ${String(tuned[0].learningRate)} to ` +
      `${String(tuned[tuned.length - 1].learningRate)}: its loss is not finite. Check the task, or leave ${contestant.name} out.`,
  );
}

interface Trained {
  readonly trials: readonly Trial[];
  readonly course: readonly CoursePoint[];
  readonly stepSizes?: StepSizes;
  readonly seconds: number;
}

/** Whole trainings with one θ from `seeds` fresh starts. */
async function trainAll(contestant: Contestant, theta: Float64Array, stage: Stage): Promise<Trained> {
  const { options, program, stepped } = stage;
  const { horizon, seeds, seed, signal } = options;
  const { finalLoss, accuracy } = contestant.test;
  const population = await program.createPopulation({ size: seeds, seed: seedOfStream(seed, 'metaTest') });
  try {
    const workers = Int32Array.from({ length: seeds }, (_, i) => i);
    const selection = { particles: workers, perturbation: { form: 'none', theta }, signal } as const;
    await population.reset({ ...selection, workers, episodes: new Int32Array(seeds) });
    const window = Math.ceil(horizon / COURSE_POINTS);
    const total = new Float64Array(seeds);
    const course: CoursePoint[] = [];
    const recorder = new StepSizeRecorder(program.metrics, seeds, horizon);
    const begun = performance.now();
    for (let done = 0; done < horizon;) {
      const steps = Math.min(window, horizon - done);
      const { lossSum, metricSums } = await population.advance({ ...selection, steps });
      for (let i = 0; i < seeds; i++) total[i] += lossSum[i];
      done += steps;
      recorder.add(metricSums, done);
      const { mean, standardError } = statistics(Array.from(lossSum, (sum) => sum / steps));
      course.push({ t: done, mean, standardError });
      stepped(steps * seeds);
    }
    const seconds = (performance.now() - begun) / 1000 / seeds;
    const outputs = await population.finish(selection);
    const trials = Array.from(workers, (worker) => ({
      seed: worker,
      meanLoss: total[worker] / horizon,
      finalLoss: outputs[finalLoss][worker],
      ...(accuracy === undefined ? {} : { accuracy: outputs[accuracy][worker] }),
    }));
    const stepSizes = recorder.result();
    return { trials, course, ...(stepSizes === undefined ? {} : { stepSizes }), seconds };
  } finally {
    await population.dispose();
  }
}

/** Points of the course that make a twentieth of it. */
const levelPoints = (course: readonly CoursePoint[]): number => Math.max(1, Math.round(LEVEL_SHARE * course.length));

/** Mean of the `count` points up to and with `end`; points stand for equally many steps but perhaps the last. */
function smoothed(course: readonly CoursePoint[], end: number, count: number): number {
  const part = course.slice(end + 1 - count, end + 1);
  return part.reduce((sum, { mean }) => sum + mean, 0) / part.length;
}

/** Steps until the smoothed course is at `level` or below; undefined if it never is. */
export function stepsToLevel(course: readonly CoursePoint[], level: number): number | undefined {
  const count = levelPoints(course);
  for (let end = count - 1; end < course.length; end++) {
    if (smoothed(course, end, count) <= level) return course[end].t;
  }
  return undefined;
}

/** Differences start by start; a training that diverged has lost. */
function paired(own: readonly Trial[], other: readonly Trial[]): MetaTestResult['difference'] {
  const differences = own.map(({ meanLoss }, i) => meanLoss - other[i].meanLoss);
  const wins = own.filter(({ meanLoss }, i) => meanLoss < other[i].meanLoss).length;
  return { ...statistics(differences), wins };
}

type Unreferred = Omit<MetaTestResult, 'stepsToReference' | 'difference'>;

async function one(contestant: Contestant, options: MetaTestOptions, stepped: Stage['stepped']): Promise<Unreferred> {
  const program = await options.engine.compile(contestant.test.problem);
  try {
    const stage = { options, program, stepped };
    const tuning = contestant.theta === undefined ? await tune(contestant, stage) : undefined;
    const learningRate = tuning?.[best(tuning)].learningRate;
    const theta = contestant.theta ?? Float64Array.of(Math.log(learningRate ?? NaN));
    const { trials, course, stepSizes, seconds } = await trainAll(contestant, theta, stage);
    const accuracies = trials.flatMap(({ accuracy }) => (accuracy === undefined ? [] : [accuracy]));
    return {
      name: contestant.name,
      ...(learningRate === undefined ? {} : { learningRate, tuning }),
      trials,
      meanLoss: statistics(trials.map(({ meanLoss }) => meanLoss)),
      finalLoss: statistics(trials.map(({ finalLoss }) => finalLoss)),
      ...(accuracies.length === 0 ? {} : { accuracy: statistics(accuracies) }),
      course,
      ...(stepSizes === undefined ? {} : { stepSizes }),
      secondsPerTraining: seconds,
    };
  } finally {
    await program.dispose();
  }
}

/**
 * Tunes and trains all contestants, one after another.
 * @throws UserError for one that trains with no rate, TraceError, EngineError, CancelledError once the signal is aborted
 */
export async function metaTest(options: MetaTestOptions): Promise<MetaTest> {
  const { contestants, onSteps } = options;
  let done = 0;
  const unreferred: Unreferred[] = [];
  for (const contestant of contestants) {
    unreferred.push(
      await one(contestant, options, (steps) => {
        done += steps;
        onSteps?.(done, contestant.name);
      }),
    );
  }
  const tuned = unreferred.filter(({ learningRate }) => learningRate !== undefined);
  const leading = tuned.reduce<Unreferred | undefined>(
    (a, b) => (a === undefined || b.meanLoss.mean < a.meanLoss.mean ? b : a),
    undefined,
  );
  const reference = tuned.find(({ name }) => name === options.reference) ?? leading;
  if (reference === undefined) return { results: unreferred };
  const { course } = reference;
  const level = smoothed(course, course.length - 1, levelPoints(course));
  const results = unreferred.map((result) => {
    const steps = stepsToLevel(result.course, level);
    return {
      ...result,
      ...(steps === undefined ? {} : { stepsToReference: steps }),
      ...(result === reference ? {} : { difference: paired(result.trials, reference.trials) }),
    };
  });
  return { reference: reference.name, results };
}

/** Inner steps of all trainings of a contestant, if its grid needs no continuation. */
export function plannedSteps({ horizon, rates, tuningSeeds, seeds }: MetaTestOptions, contestant: Contestant): number {
  return horizon * (seeds + (contestant.theta === undefined ? rates * tuningSeeds : 0));
}
