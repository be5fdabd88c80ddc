import { extname } from 'node:path';
import {
  CancelledError,
  ConfigurationError,
  ShapeError,
  UserError,
  type ConfigObject,
  type ConfigValue,
  type GradientEstimator,
  type UnrollProgram,
} from '../../contracts';
import {
  CONFIDENCE,
  gradientErrors,
  initialTheta,
  innerStepsOfOne,
  meanGradient,
  noiseModel,
  optionNeed,
  parseOverride,
  planMoments,
  predictedVariance,
  prepareRun,
  repeatSeed,
  RESAMPLES,
  resolveConfig,
  sampleEpisodes,
  sampleGradients,
  sharingDerivatives,
  varianceOfEstimates,
  windowMoments,
  type MomentsOptions,
  type MomentsPlan,
  type NoiseModel,
  type NoModel,
  type OpenedEngine,
  type PredictedVariance,
  type PreparedRun,
  type ResolvedConfig,
  type Resolver,
  type SampleOptions,
  type Spread,
  type VarianceOf,
} from '../../outer';
import { writeJson, writeWhole } from '../../outer/run-directory';
import {
  placeText,
  renderVariance,
  varianceNotes,
  varianceTable,
  type VarianceAt,
  type VarianceReport,
  type VarianceRow,
} from '../../report';
import { seedKey } from '../../random';
import { EXIT } from '../exit-codes';
import {
  commandLine,
  noticeLines,
  openInput,
  prepareInput,
  readRuns,
  recordedThetas,
  type MeasureOptions,
} from '../measured';
import { integerOption } from '../options';
import { shown } from '../outcome';
import { engineLimits, hasColour, interruptible, type Terminal } from '../session';
import { stepProgress } from '../step-progress';
import { tableText } from '../terminal';
import { pagePath } from './compare';

export interface VarianceOptions extends MeasureOptions {
  readonly estimators?: string;
  readonly windows?: string;
  readonly pairs?: string;
  readonly repeats?: string;
  readonly theta?: string;
  readonly points?: string;
  readonly reference?: string;
  readonly predict?: string;
  readonly sample?: string;
}

/** `name`, or `name:option=value:option=value`. */
interface Named {
  readonly name: string;
  readonly options: ConfigObject;
}

const REPEATS = 100;
const POINTS = 4;
const PREDICT = ['auto', 'always', 'never'] as const;
const SAMPLE = ['estimates', 'episodes'] as const;
/** Episodes that a prediction is made of at most, and with `--predict always` at least. */
const EPISODES = { most: 64, least: 16 };
/** Roles of random numbers, see `SampleOptions`. */
const ROLES = { estimates: 0, reference: 1, predictions: 2 };
/** The reference has so many times the inner steps of an estimate, as often. */
const REFERENCE = 4;

/** @throws ConfigurationError */
function namedEstimator(flag: string, text: string): Named {
  const [name, ...options] = text.trim().split(':');
  if (name === '') throw new ConfigurationError(flag, 'names such as nres or gpes:noisePeriod=100', `"${text}"`);
  const pairs = options.map((option) => parseOverride(option)).map(({ key, value }) => [key, value] as const);
  return { name, options: Object.fromEntries(pairs) };
}

/** @throws ConfigurationError */
function windowsOption(text: string | undefined, own: ConfigValue | undefined): number[] {
  if (text === undefined) return typeof own === 'number' ? [own] : [];
  const windows = text.split(',').map(Number);
  if (windows.some((window) => !Number.isSafeInteger(window) || window < 1) || new Set(windows).size < windows.length) {
    throw new ConfigurationError('--windows', 'different numbers of steps, such as 1,10,100', `"${text}"`);
  }
  return windows.sort((a, b) => a - b);
}

/** @throws ConfigurationError */
function thetaOption(text: string): Float64Array {
  const theta = Float64Array.from(text.split(','), (word) => (word.trim() === '' ? NaN : Number(word)));
  if (theta.every(Number.isFinite)) return theta;
  throw new ConfigurationError('--theta', 'numbers as stored, such as 3.1,3.7', `"${text}"`);
}

/** One line of the table before it is measured. */
interface Plan {
  readonly estimator: Named;
  readonly window?: number;
  readonly make: (count: number) => Promise<GradientEstimator>;
  /** Of estimators whose workers start at different steps: one worker in lockstep, and how N of them would lie. */
  readonly episodes?: {
    readonly make: () => Promise<GradientEstimator>;
    readonly window: number;
    readonly offsets: Spread['offsets'];
  };
  /** What its variance depends on, if there is a formula. */
  readonly model: (count: number) => NoiseModel | NoModel;
}

/** How workers lie over an episode; absent of those that all start it together. */
function spreadOf({ lockstep, offsets }: Partial<ConfigObject>): Spread['offsets'] | undefined {
  if (lockstep !== false) return undefined;
  return offsets === 'stratified' || offsets === 'independent' ? offsets : undefined;
}

/** Makes an estimator in the place of the configuration's own, whose shared options (σ, window …) it takes over. */
function plansOf(named: Named, windows: readonly number[], { config, plan }: PreparedRun, resolver: Resolver): Plan[] {
  const { options } = resolver.registration('estimator', named.name);
  const countKey = ['pairs', 'workers'].find((key) => optionNeed(options, key) !== undefined);
  if (countKey === undefined) {
    throw new UserError(`"${named.name}" estimates no gradient. Take others, such as nres, pes or tbptt.`);
  }
  const shared = Object.entries(config.estimator).filter(
    ([key]) => key !== 'name' && optionNeed(options, key) !== undefined,
  );
  const planOf = (window: number | undefined): Plan => {
    const rowOf = (count: number, more: ConfigObject = {}): ResolvedConfig => {
      const own = { ...named.options, ...(window === undefined ? {} : { window }), [countKey]: count, ...more };
      const estimator = { ...Object.fromEntries(shared), ...own, name: named.name };
      const { preset: _, ...rest } = config as unknown as ConfigObject;
      return resolveConfig({ ...rest, estimator }, [], resolver);
    };
    const make = async (count: number, more?: ConfigObject): Promise<GradientEstimator> =>
      (await prepareRun(rowOf(count, more), resolver)).plan.estimator;
    const lockstep = (): Promise<GradientEstimator> => make(1, { lockstep: true });
    const offsets = spreadOf(rowOf(1).estimator);
    return {
      estimator: named,
      ...(window === undefined ? {} : { window }),
      make,
      ...(window === undefined || offsets === undefined ? {} : { episodes: { make: lockstep, window, offsets } }),
      model: (count) => noiseModel(rowOf(count).estimator, plan.problem.horizon),
    };
  };
  // A window that may be absent is one of engine calls, or none: the estimate is of whole episodes.
  if (optionNeed(options, 'window') !== 'required') return [planOf(undefined)];
  if (windows.length > 0) return windows.map(planOf);
  throw new ConfigurationError('--windows', `numbers of steps for ${named.name}`, 'nothing');
}

/** One θ of the table. */
interface Place {
  readonly label: string;
  readonly theta: Float64Array;
}

/** @throws UserError, ShapeError */
function placesOf(options: VarianceOptions, prepared: PreparedRun, label: string, points: number): Place[] {
  const { problem, settings } = prepared.plan;
  const start = initialTheta(problem, settings.seed);
  if (options.theta !== undefined) {
    if (options.runs !== undefined) throw new UserError('--theta and --runs both name θ. Give one of them.');
    const theta = thetaOption(options.theta);
    if (theta.length === start.length) return [{ label: 'the given θ', theta }];
    throw new ShapeError(`--theta: expected ${start.length} numbers, got ${theta.length}.`);
  }
  if (options.runs === undefined) return [{ label: 'θ₀', theta: start }];
  return readRuns(label, prepared, options.runs).flatMap(({ label: name, run }) => {
    const all = recordedThetas(prepared, run);
    if (all.length === 0) throw new UserError(`${run.path} has recorded no θ: it has no checkpoint yet. Leave it out.`);
    const spaced = Array.from({ length: points }, (_, i) =>
      Math.round((i * (all.length - 1)) / Math.max(1, points - 1)),
    );
    const chosen = points === 1 ? [all.length - 1] : [...new Set(spaced)];
    return chosen.map((i) => ({ label: `iteration ${all[i].iteration} of ${name}`, theta: all[i].theta }));
  });
}

interface Ready {
  readonly plan: Plan;
  readonly count: number;
  readonly estimator: GradientEstimator;
  readonly innerSteps: number;
  /** Particle-steps of one estimate, burn-in as expected, or of one episode in its place. */
  readonly cost: number;
  readonly episodes?: { readonly estimator: GradientEstimator; readonly window: number; readonly spread: Spread };
}

interface Measuring {
  readonly program: UnrollProgram;
  readonly opened: OpenedEngine;
  readonly seed: number;
  readonly horizon: number;
  readonly repeats: number;
  readonly budget: number;
  readonly predict: (typeof PREDICT)[number];
  readonly sample: (typeof SAMPLE)[number];
  readonly terminal: Terminal;
  readonly quiet: boolean;
}

/** Finds N for the budget, by one estimate with N = 1, where a mistake shows as well. */
async function ready(
  plan: Plan,
  budget: number,
  at: Measuring,
  theta: Float64Array,
  signal: AbortSignal,
): Promise<Ready> {
  const { capabilities } = at.opened.engine;
  const one = await innerStepsOfOne(await plan.make(1), at.program, { theta, capabilities, signal });
  const count = Math.max(1, Math.round(budget / one));
  const own = { plan, count, estimator: await plan.make(count), innerSteps: count * one };
  if (at.sample === 'episodes' && plan.episodes !== undefined) {
    const { make, window, offsets } = plan.episodes;
    const episodes = { estimator: await make(), window, spread: { count, offsets } };
    return { ...own, episodes, cost: (one * at.horizon) / window };
  }
  const burnIn = plan.window === undefined ? 0 : (at.horizon - plan.window) / (2 * plan.window);
  return { ...own, cost: count * one * (1 + burnIn) };
}

/** What a row is made from. */
interface Sampled {
  readonly gradients: readonly Float64Array[];
  readonly varianceOf?: VarianceOf;
  readonly counts: Pick<VarianceRow, 'innerSteps' | 'burnInSteps' | 'failed' | 'droppedPairs' | 'episodes'>;
}

async function sampled(one: Ready, program: UnrollProgram, options: SampleOptions): Promise<Sampled> {
  const { innerSteps, episodes } = one;
  if (episodes === undefined) {
    const { gradients, ...counts } = await sampleGradients(one.estimator, program, options);
    return { gradients, counts };
  }
  const samples = await sampleEpisodes(episodes.estimator, program, { ...options, window: episodes.window });
  const { gradients, failed } = samples;
  const counts = { innerSteps, burnInSteps: 0, failed, droppedPairs: failed, episodes: true };
  return { gradients, counts, varianceOf: varianceOfEstimates(samples, episodes.spread) };
}

async function measure(
  places: readonly Place[],
  plans: readonly Plan[],
  reference: Plan,
  at: Measuring,
  signal: AbortSignal,
): Promise<VarianceAt[]> {
  const { program, seed, repeats, budget } = at;
  const own: Ready[] = [];
  for (const plan of plans) own.push(await ready(plan, budget, at, places[0].theta, signal));
  const target = await ready(reference, REFERENCE * budget, at, places[0].theta, signal);
  const work = repeats * [...own, target].reduce((sum, { cost }) => sum + cost, 0);
  const formulas = formulasOf(own, work, at);
  const total = places.length * (work + (formulas.plan?.work ?? 0));
  const progress = at.quiet ? undefined : stepProgress(at.terminal.err, 1000, '‰');
  let before = 0;
  const show = (done: number, what: string): void =>
    progress?.update(Math.round((1000 * (before + done)) / total), what);
  const sample = async (one: Ready, theta: Float64Array, role: number): Promise<Sampled> => {
    const what = `${one.plan.estimator.name}${one.plan.window === undefined ? '' : ` W=${one.plan.window}`}`;
    const onRepeat = (n: number): void => show(n * one.cost, what);
    const result = await sampled(one, program, { theta, seed, role, repeats, signal, onRepeat });
    before += repeats * one.cost;
    return result;
  };
  try {
    const results: VarianceAt[] = [];
    for (const { label, theta } of places) {
      const known = await sample(target, theta, ROLES.reference);
      const { mean, variance, n } = meanGradient(known.gradients);
      const rows: VarianceRow[] = [];
      for (const one of own) {
        const { gradients, varianceOf, counts } = await sample(one, theta, ROLES.estimates);
        rows.push({
          estimator: [
            one.plan.estimator.name,
            ...Object.entries(one.plan.estimator.options).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
          ].join(' '),
          ...(one.plan.window === undefined ? {} : { window: one.plan.window }),
          count: one.count,
          repeats,
          ...counts,
          ...(gradients.length < 2
            ? {}
            : { errors: gradientErrors(gradients, known.gradients, { key: seedKey(seed), varianceOf }) }),
        });
      }
      const onWork = (done: number): void => show(done, 'predictions');
      const { predicted, ...predictions } = await predict(formulas, program, { theta, seed, signal, onWork });
      before += formulas.plan?.work ?? 0;
      const squaredNorm = mean.reduce((sum, value) => sum + value ** 2, 0) - variance;
      results.push({
        label,
        theta: Array.from(theta),
        reference: { squaredNorm, variance, n, innerSteps: target.innerSteps },
        rows: rows.map((row, i) => (predicted[i] === undefined ? row : { ...row, predicted: predicted[i] })),
        ...predictions,
      });
    }
    return results;
  } finally {
    progress?.stop();
  }
}

/** The rows that formulas are for, and what evaluating them takes. */
interface Formulas {
  readonly models: readonly (NoiseModel | NoModel)[];
  /** Absent where nothing is predicted. */
  readonly plan?: MomentsPlan;
  readonly reason?: string;
}

function formulasOf(own: readonly Ready[], work: number, { program, horizon, predict: when }: Measuring): Formulas {
  const models = own.map(({ plan, count }) => plan.model(count));
  const known = models.filter((model): model is NoiseModel => !('reason' in model));
  if (when === 'never' || known.length === 0) return { models };
  const question = { models: known, horizon, d: program.theta.size };
  const plan = planMoments({ ...question, budget: work, episodes: EPISODES.most });
  if (when === 'always' && ('reason' in plan || plan.episodes < EPISODES.least)) {
    const whatever = planMoments({ ...question, budget: Infinity, episodes: EPISODES.least });
    if (!('reason' in whatever)) return { models, plan: whatever };
  }
  return 'reason' in plan
    ? { models, reason: `${plan.reason} (--predict always does it all the same)` }
    : { models, plan };
}

interface Predicted {
  /** Of each row. */
  readonly predicted: readonly (PredictedVariance | undefined)[];
  readonly predictions?: VarianceAt['predictions'];
}

async function predict(
  { models, plan, reason }: Formulas,
  program: UnrollProgram,
  { theta, seed, signal, onWork }: MomentsOptions,
): Promise<Predicted> {
  const none = (words: string): Predicted => ({ predicted: models.map(() => undefined), predictions: { none: words } });
  if (reason !== undefined) return none(reason);
  if (plan === undefined) return { predicted: models.map(() => undefined) };
  const own = { theta, seed: repeatSeed(seed, ROLES.predictions, 0), signal, onWork };
  const result = await windowMoments(program, plan, own);
  if ('reason' in result) return none(result.reason);
  return {
    predicted: models.map((model) =>
      'reason' in model
        ? undefined
        : predictedVariance(model, result.moments[plan.models.indexOf(model)], program.theta.size),
    ),
    predictions: { episodes: result.moments[0].length },
  };
}

/** Total variance, bias² and mean squared error of estimators at standing θ. */
export async function variance(target: string, options: VarianceOptions, terminal: Terminal): Promise<number> {
  const output = pagePath(options.output, 'variance.html');
  const pairs = integerOption('--pairs', options.pairs, 1) ?? 1;
  const repeats = integerOption('--repeats', options.repeats, 2) ?? REPEATS;
  const points = integerOption('--points', options.points, 1) ?? POINTS;
  const limits = engineLimits(options);
  const named = options.estimators?.split(',').map((text) => namedEstimator('--estimators', text));
  const referenceName = namedEstimator('--reference', options.reference ?? 'full-es');
  if (!['full-es', 'bptt'].includes(referenceName.name)) {
    throw new ConfigurationError('--reference', 'full-es or bptt, which are unbiased', `"${referenceName.name}"`);
  }
  const predicting = PREDICT.find((when) => when === (options.predict ?? 'auto'));
  if (predicting === undefined) throw new ConfigurationError('--predict', PREDICT.join(', '), `"${options.predict}"`);
  const sampling = SAMPLE.find((what) => what === (options.sample ?? 'estimates'));
  if (sampling === undefined) throw new ConfigurationError('--sample', SAMPLE.join(', '), `"${options.sample}"`);
  const input = await openInput(target, options);
  const prepared = await prepareInput(input, [], terminal);
  const { problem, settings } = prepared.plan;
  if (!Number.isFinite(problem.horizon)) {
    throw new ConfigurationError('horizon', 'a number of steps, since the reference is of whole episodes', 'infinite');
  }
  if (problem.horizonSchedule !== undefined) {
    const got = `the schedule "${problem.horizonSchedule.name}"`;
    throw new ConfigurationError('horizon', 'a number of steps, since formulas and budgets are of one length', got);
  }
  const ownName = prepared.config.estimator.name;
  const chosen = named ?? [...new Set([ownName, 'full-es'])].map((name) => ({ name, options: {} }));
  const windows = windowsOption(options.windows, prepared.config.estimator.window);
  const plans = chosen.flatMap((one) => plansOf(one, windows, prepared, input.resolver));
  const [reference] = plansOf(referenceName, windows, prepared, input.resolver);
  const places = placesOf(options, prepared, input.label, points);
  // Options that do not fit are found before an engine is opened.
  for (const plan of [...plans, reference]) await plan.make(1);

  const opened = await input.resolver.openEngine(prepared.config.engine, {
    ...limits,
    notice: noticeLines(options, terminal),
  });
  const quiet = options.quiet === true || options.json === true;
  if (!quiet) terminal.err.write(`problem ${problem.name}, engine ${opened.engine.name} (${opened.reason})\n`);
  const budget = 2 * pairs * problem.horizon;
  const begun = performance.now();
  try {
    const compiled = await opened.engine.compile(problem);
    const program = sharingDerivatives(compiled);
    try {
      const at: Measuring = {
        program,
        opened,
        seed: settings.seed,
        horizon: problem.horizon,
        repeats,
        budget,
        predict: predicting,
        sample: sampling,
        terminal,
        quiet,
      };
      const results = await interruptible(
        terminal,
        (signal) => measure(places, plans, reference, at, signal),
        'interrupted: nothing is written',
      );
      const smooth = { ...prepared.config.estimator, ...referenceName.options }.sigma;
      const { innerSteps, n } = results[0].reference;
      const flags = { set: options.set, seed: options.seed, engine: options.engine, plugin: options.plugin };
      const { estimators, windows: lengths, theta, runs } = options;
      const result: VarianceReport = {
        title: input.label,
        horizon: problem.horizon,
        budget,
        pairs,
        reference: `${referenceName.name}, the mean of ${n} estimates of ${innerSteps.toLocaleString('en')} inner steps`,
        ...(referenceName.name === 'full-es' && typeof smooth === 'number' ? { sigma: smooth } : {}),
        confidence: CONFIDENCE,
        resamples: RESAMPLES,
        at: results,
        engine: opened.engine.name,
        seed: settings.seed,
        seconds: (performance.now() - begun) / 1000,
        config: prepared.config,
        reproduce: commandLine('variance', target, {
          ...flags,
          ...{ estimators, windows: lengths, pairs: options.pairs, repeats: options.repeats },
          ...{
            theta,
            runs,
            points: options.points,
            reference: options.reference,
            predict: options.predict,
            sample: options.sample,
          },
        }),
      };
      await conclude(result, output, options, terminal);
      return EXIT.ok;
    } finally {
      await program.dispose();
      await compiled.dispose();
    }
  } catch (error) {
    if (error instanceof CancelledError) return EXIT.interrupted;
    throw error;
  } finally {
    await opened.engine.dispose();
  }
}

async function conclude(
  result: VarianceReport,
  output: string,
  options: VarianceOptions,
  { out }: Terminal,
): Promise<void> {
  const numbers = `${output.slice(0, -extname(output).length)}.json`;
  writeJson(numbers, result);
  writeWhole(output, await renderVariance(result));
  if (options.json === true) {
    const { title, budget, at } = result;
    out.write(`${JSON.stringify({ type: 'variance', title, budget, at, report: output, numbers })}\n`);
    return;
  }
  if (options.quiet !== true) {
    for (const one of result.at) {
      out.write(`${placeText(one)}\n${tableText(varianceTable(one), { colour: hasColour(out) })}\n`);
    }
    for (const note of varianceNotes(result)) out.write(`${note}\n`);
    out.write('\n');
  }
  out.write(`variance: ${shown(output)}\nnumbers:  ${shown(numbers)}\n`);
}
