/** What `import … from 'outerloop'` adds to the parts themselves: whole runs in one call. */
import type { Callback } from '@tensorflow/tfjs';
import { createContainer, type OuterloopContainer } from './container';
import {
  ConfigurationError,
  longestHorizon,
  OuterloopError,
  UserError,
  type ConfigObject,
  type ConfigValue,
  type GradientEstimator,
  type HorizonSchedule,
  type LearnedOptimizer,
  type NamedConfig,
  type OuterOptimizer,
  type Plugin,
  type Task,
  type UnrolledProblem,
} from './contracts';
import {
  buildOptimizer,
  encodeWeights,
  registerTrainable,
  ScheduleCallback,
  TrainableOptimizer,
  trainableFromBytes,
  type OptimizerWeights,
  type TrainableOptions,
} from './deploy';
import type { EngineLimits } from './engines';
import {
  checkCourse,
  checkHeldOutNames,
  checkWith,
  describeTheta,
  executeRun,
  heldOutProblem,
  memberName,
  notNamed,
  noticesTo,
  objectiveSchema,
  planTasks,
  resolveConfig,
  runSummary,
  startingAt,
  trainingRecord,
  unroll,
  type HeldOutParts,
  type HeldOutTask,
  type Normaliser,
  type Objective,
  type OpenedEngine,
  type Override,
  type RunListener,
  type RunPlan,
  type RunResult,
  type RunSettings,
  type StartingTheta,
  type UnrollOptions,
} from './outer';
import {
  checkFree,
  type CheckpointChoice,
  hasTensorboard,
  isFolder,
  keptStart,
  optimizerOfRun,
  readRunConfig,
  readWhole,
  resumeRun,
  RunDirectory,
  startFrom,
  startRun,
  tensorboardListener,
  writeWhole,
} from './outer/run-directory';
import { renderReport } from './report';
import { adam } from '../meta-trainers';

type Awaitable<T> = T | Promise<T>;

/** A task that θ is judged on and never trained on. */
export interface TuneHeldOut {
  readonly name: string;
  readonly task: Awaitable<Task>;
  /** Inner steps; by default those of the run, the most of a schedule. */
  readonly horizon?: number;
}

export type TuneEvaluation = RunSettings['evaluation'] & {
  /** Judged beside the tasks that are trained on, whenever these are; not beside a `problem`. */
  readonly tasks?: readonly TuneHeldOut[];
};

interface CommonOptions {
  readonly estimator: GradientEstimator;
  /** By default Adam at 0.01. */
  readonly outerOptimizer?: OuterOptimizer;
  /** Outer iterations; 500 by default. */
  readonly iterations?: number;
  /** 0 by default. It decides everything. */
  readonly seed?: number;
  /** `auto` by default. */
  readonly engine?: string;
  /** What the engine may take of the machine. */
  readonly limits?: EngineLimits;
  /** Decay of an exponential average of θ, which is then what is judged; absent: θ itself. */
  readonly thetaAverage?: number;
  readonly evaluation?: TuneEvaluation;
  readonly checkpoint?: Partial<RunSettings['checkpoint']>;
  /** The folder of a run whose θ is this one's θ₀; by default what the optimizer, or the problem, draws by the seed. */
  readonly warmStart?: string;
  /** The run's folder: absent or empty, or with `resume` that of an earlier run of the same code. */
  readonly out?: string;
  /** Goes on with the run in `out`. */
  readonly resume?: boolean;
  /** Event files for TensorBoard, in `out`; a run that has some goes on with them. */
  readonly tensorboard?: boolean;
  readonly onEvent?: RunListener;
  /** Ends the run: after the current iteration, with a checkpoint, or within it, a few seconds later, with its last one. */
  readonly signal?: AbortSignal;
  /** Whose engines are used; by default a container of its own. */
  readonly container?: OuterloopContainer;
}

/** Tune the wrapped hyperparameters, or the weights, of an optimizer on a task. */
export interface TuneTaskOptions extends CommonOptions {
  readonly task: Awaitable<Task>;
  readonly optimizer: Awaitable<LearnedOptimizer>;
  /** By default the training loss at every step. */
  readonly objective?: Partial<Objective>;
  /** Inner steps of an episode, or how those of training episodes differ. */
  readonly horizon: number | HorizonSchedule;
  readonly problem?: undefined;
  readonly tasks?: undefined;
}

/** One of several tasks. */
export interface TuneMember {
  readonly task: Awaitable<Task>;
  /** By default `task 1` … */
  readonly name?: string;
  /** 1 by default. */
  readonly weight?: number;
}

/** Train one θ on several tasks at once. */
export interface TuneTasksOptions extends Omit<TuneTaskOptions, 'task' | 'tasks'> {
  readonly tasks: readonly TuneMember[];
  /** What losses are divided by; by default `initial-loss` for an objective on the loss, else `none`. */
  readonly normaliser?: Normaliser;
  readonly task?: undefined;
}

/** Train θ of any unrolled problem. */
export interface TuneProblemOptions extends CommonOptions {
  readonly problem: Awaitable<UnrolledProblem>;
  readonly task?: undefined;
  readonly tasks?: undefined;
}

export type TuneOptions = TuneTaskOptions | TuneTasksOptions | TuneProblemOptions;

export interface TuneResult extends RunResult {
  /** What θ means at inner step t, in natural units. */
  readonly schedule: {
    /** Every hyperparameter schedule's value at step t, by name. */
    at(t: number): Readonly<Record<string, number>>;
  };
  /**
   * The learning rate that was found, for `model.fit` with an optimizer of `tf.train`: a callback that sets it before each batch,
   * the first one of which is step 0. Each call gives one with a count of its own, which goes on from `fit` to `fit`.
   * @throws UserError where something else than the learning rate was tuned, which those optimizers cannot change
   */
  callback(): Callback;
  /** Writes the report, a page on its own, to a file. */
  report(path: string): Promise<void>;
  /**
   * The optimizer with the θ that was found, for `model.compile`, `minimize` and `applyGradients` of TensorFlow.js; each call
   * gives one with a state of its own.
   * @throws UserError where `tune` was given a problem
   */
  optimizer(options?: TrainableOptions): TrainableOptimizer;
  /**
   * Writes it to a file as `outerloop export` does, for `loadOptimizer`.
   * @throws WeightsError for an optimizer that has no `config`; UserError where `tune` was given a problem; StorageError
   */
  save(path: string): Promise<void>;
}

/** What hand-designed optimizers call it. */
const RATE = 'learningRate';

const DEFAULT_CHECKPOINT = { seconds: 60, keep: 5 };

interface BuiltProblem extends Pick<RunPlan, 'problem' | 'tasks' | 'heldOut'> {
  readonly config: ConfigObject;
  /** Over the horizon; absent where a whole problem was given. */
  readonly optimizer?: LearnedOptimizer;
  /** Curves at one step, where there is an optimizer that has schedules. */
  scheduleAt(theta: Float64Array, t: number): Readonly<Record<string, number>>;
}

/** The last value of each curve up to step t is the value at t. */
function lastValues(problem: UnrolledProblem, theta: Float64Array): Record<string, number> {
  const curves = Object.entries(describeTheta(problem, theta)?.curves ?? {});
  return Object.fromEntries(curves.map(([name, { value }]) => [name, value[value.length - 1]]));
}

type Parts = Omit<UnrollOptions, 'task'>;
type BuiltParts = Omit<BuiltProblem, 'optimizer' | 'scheduleAt'>;

async function oneTask(options: TuneTaskOptions, parts: Parts): Promise<BuiltParts> {
  const task = await options.task;
  return { problem: unroll({ ...parts, task }), config: { task: { name: task.name } } };
}

async function severalTasks({ tasks, normaliser }: TuneTasksOptions, parts: Parts): Promise<BuiltParts> {
  const members = await Promise.all(
    tasks.map(async ({ task, weight = 1, ...member }, i) => ({
      name: memberName(member, i),
      weight,
      task: await task,
    })),
  );
  const planned = planTasks({ ...parts, members, normaliser });
  const recorded = members.map(({ name, weight, task }) => ({ name, weight, task: { name: task.name } }));
  return { ...planned, config: { tasks: { members: recorded, normaliser: planned.tasks.normaliser } } };
}

/** @throws ConfigurationError for names that are not distinct, or a horizon that is none */
async function buildHeldOut(
  tasks: readonly TuneHeldOut[],
  parts: Pick<HeldOutParts, 'optimizer' | 'objective' | 'horizon' | 'evaluation'>,
): Promise<HeldOutTask[]> {
  checkHeldOutNames(tasks.map(({ name }) => name));
  const built: HeldOutTask[] = [];
  for (const { name, task, horizon = parts.horizon } of tasks) {
    const { evaluation } = heldOutProblem({ ...parts, name, task: await task, horizon });
    built.push({ name, evaluation });
  }
  return built;
}

/** As config.json has them: names alone, since the tasks are code. */
async function recordedHeldOut(tasks: readonly TuneHeldOut[]): Promise<ConfigValue> {
  const all = tasks.map(async ({ name, task, horizon }) => ({
    name,
    task: { name: (await task).name },
    ...(horizon === undefined ? {} : { horizon }),
  }));
  return Promise.all(all);
}

async function buildProblem(options: TuneOptions): Promise<BuiltProblem> {
  const beside = options.evaluation?.tasks ?? [];
  if (options.problem !== undefined) {
    const problem = await options.problem;
    if (beside.length > 0) {
      const names = beside.map(({ name }) => name).join();
      throw new ConfigurationError('evaluation.tasks', 'nothing beside "problem"', names);
    }
    return {
      problem,
      config: { problem: { name: problem.name } },
      scheduleAt: (theta) => lastValues(problem, theta),
    };
  }
  const { horizon } = options;
  const given = await options.optimizer;
  const objective = checkWith(objectiveSchema, options.objective ?? {}, 'objective');
  const { particles } = options.evaluation ?? {};
  const parts = { optimizer: given, objective, horizon, evaluation: { particles } };
  const built = options.tasks === undefined ? await oneTask(options, parts) : await severalTasks(options, parts);
  const { problem } = built;
  const heldOut = await buildHeldOut(beside, { ...parts, horizon: longestHorizon(horizon) });
  const optimizer = given.forHorizon?.(longestHorizon(horizon)) ?? given;
  return {
    ...built,
    ...(heldOut.length === 0 ? {} : { heldOut }),
    config: {
      ...built.config,
      optimizer: optimizer.config ?? { name: optimizer.name },
      objective: { ...objective },
      horizon: typeof horizon === 'object' ? { ...horizon } : horizon === Infinity ? 'infinite' : horizon,
    },
    optimizer,
    scheduleAt: (theta, t) =>
      lastValues(
        { ...problem, describeTheta: (tree) => optimizer.describeTheta?.(tree, t + 1) ?? { values: {} } },
        theta,
      ),
  };
}

/** @throws ConfigurationError */
function checkedSettings(options: TuneOptions): RunSettings {
  const { seed = 0, iterations = 500, thetaAverage, checkpoint } = options;
  const { tasks: _, ...evaluation } = options.evaluation ?? {};
  const positive = (key: string, value: number | undefined): void => {
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw new ConfigurationError(key, 'a positive integer', String(value));
    }
  };
  if (!(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new ConfigurationError('seed', 'an integer of at least 0', String(seed));
  }
  positive('iterations', iterations);
  positive('evaluation.particles', evaluation.particles);
  positive('evaluation.every', evaluation.every);
  positive('evaluation.patience', evaluation.patience);
  checkCourse(evaluation);
  positive('checkpoint.keep', checkpoint?.keep);
  const seconds = checkpoint?.seconds;
  if (seconds !== undefined && !(seconds > 0 && seconds < Infinity)) {
    throw new ConfigurationError('checkpoint.seconds', 'a number greater than 0', String(seconds));
  }
  if (thetaAverage !== undefined && !(thetaAverage > 0 && thetaAverage < 1)) {
    throw new ConfigurationError('thetaAverage', 'a number between 0 and 1, both excluded', String(thetaAverage));
  }
  return { seed, iterations, thetaAverage, evaluation, checkpoint: { ...DEFAULT_CHECKPOINT, ...checkpoint } };
}

/**
 * Tunes θ: of an optimizer on a task, or of a problem. The same options and seed give the same θ, bit for bit, on one
 * engine and machine.
 * @throws ConfigurationError, TraceError, EngineUnavailableError, RunDirectoryError before any work
 */
export async function tune(options: TuneOptions): Promise<TuneResult> {
  const { out, resume = false, onEvent, signal, engine = 'auto', limits } = options;
  const { tensorboard = resume && out !== undefined && hasTensorboard(out) } = options;
  const settings = checkedSettings(options);
  if (resume && out === undefined) throw new ConfigurationError('out', 'the folder to resume', 'nothing');
  if (tensorboard && out === undefined)
    throw new ConfigurationError('out', 'the folder that "tensorboard" writes to', 'nothing');
  if (out !== undefined && !resume) checkFree(out);
  const built = await buildProblem(options);
  const outerOptimizer = options.outerOptimizer ?? adam({ learningRate: 0.01 });
  const cold: RunPlan = {
    problem: built.problem,
    tasks: built.tasks,
    ...(built.heldOut === undefined ? {} : { heldOut: built.heldOut }),
    estimator: options.estimator,
    outerOptimizer,
    settings,
  };
  const { warmStart } = options;
  const start = warmStart === undefined ? undefined : startOf(warmStart, options);
  const plan = start === undefined ? cold : startingAt(cold, start);
  const { thetaAverage, ...recorded } = settings;
  const beside = options.evaluation?.tasks ?? [];
  const config = {
    ...built.config,
    ...recorded,
    ...(beside.length === 0 ? {} : { evaluation: { ...recorded.evaluation, tasks: await recordedHeldOut(beside) } }),
    ...(thetaAverage === undefined ? {} : { thetaAverage }),
    ...(warmStart === undefined ? {} : { warmStart }),
    estimator: { ...options.estimator.settings, name: options.estimator.name },
    outerOptimizer: { ...outerOptimizer.settings, name: outerOptimizer.name },
  } as unknown as ConfigObject;
  const opened = await (options.container ?? createContainer()).openEngine(
    resume && out !== undefined && engine === 'auto' ? readRunConfig(out).engine : engine,
    { ...limits, notice: noticesTo(onEvent === undefined ? [] : [onEvent]) },
  );
  let directory: RunDirectory | undefined;
  try {
    const result = await executeRun({
      plan,
      opened,
      ...(out === undefined
        ? {}
        : {
            store: (compiled) =>
              (directory = resume
                ? RunDirectory.open(out, { opened, config })
                : RunDirectory.create(out, {
                    config,
                    opened,
                    compiled,
                    plan,
                    requestedEngine: engine,
                    library: true,
                    ...(start === undefined ? {} : { start: start.theta }),
                    ...(built.optimizer === undefined ? {} : { namedOptimizer: built.optimizer.config !== undefined }),
                  })).begin(resume ? plan : undefined),
          }),
      listeners: [
        ...(onEvent === undefined ? [] : [onEvent]),
        ...(tensorboard && out !== undefined ? [tensorboardListener(out)] : []),
      ],
      signal,
    });
    return { ...result, ...views(built, result, config, opened) };
  } finally {
    directory?.close();
    await opened.engine.dispose();
  }
}

/** θ₀ of a warm start; of a run that goes on, as it began. */
function startOf(path: string, { out, resume = false }: TuneOptions): StartingTheta {
  return resume && out !== undefined ? keptStart(out) : startFrom(path);
}

function views(
  built: BuiltProblem,
  result: RunResult,
  config: ConfigObject,
  opened: OpenedEngine,
): Pick<TuneResult, 'schedule' | 'callback' | 'report' | 'optimizer' | 'save'> {
  const theta = result.thetaAverage ?? result.theta;
  return {
    schedule: {
      at: (t) => {
        if (!(Number.isInteger(t) && t >= 0))
          throw new OuterloopError(`inner steps are integers from 0, got ${String(t)}.`);
        return built.scheduleAt(theta, t);
      },
    },
    callback: () => new ScheduleCallback(tunedRate(built, result, theta)),
    report: async (path) => {
      const page = await renderReport({
        title: result.problem,
        result,
        config: { ...config, engine: opened.engine.name },
        seed: typeof config.seed === 'number' ? config.seed : 0,
        reproduce: 'tune({ … }) with these options and this seed',
      });
      writeWhole(path, page);
    },
    optimizer: ({ seed } = {}) => {
      const optimizer = optimizerOf(built);
      return new TrainableOptimizer(weightsOf(optimizer, result, config), optimizer, seed);
    },
    save: (path) =>
      new Promise((resolve) => {
        writeWhole(path, encodeWeights(weightsOf(optimizerOf(built), result, config)));
        resolve();
      }),
  };
}

/** The learning rate at a step, if nothing else was tuned. @throws UserError */
function tunedRate(built: BuiltProblem, { description }: RunResult, theta: Float64Array): (t: number) => number {
  const { values = {}, curves = {} } = description ?? {};
  const ofCurve = (name: string): boolean => Object.keys(curves).some((curve) => name.startsWith(`${curve}.`));
  const tuned = [...Object.keys(curves), ...Object.keys(values).filter((name) => !ofCurve(name))];
  if (tuned.join() !== RATE) {
    throw new UserError(
      `a callback sets the learning rate alone: expected a run that tuned "${RATE}", got ${tuned.length === 0 ? 'none of it' : tuned.join(', ')}.` +
        ' Compile the model with result.optimizer() instead, which holds all that was found.',
    );
  }
  return RATE in curves ? (t) => built.scheduleAt(theta, t)[RATE] : () => values[RATE];
}

/** @throws UserError */
function optimizerOf({ optimizer, problem }: BuiltProblem): LearnedOptimizer {
  if (optimizer !== undefined) return optimizer;
  throw new UserError(
    `tune was given the problem "${problem.name}", which has no optimizer: expected a task and an optimizer.`,
  );
}

/** What a run in the same folder would be exported as. */
function weightsOf(optimizer: LearnedOptimizer, result: RunResult, config: ConfigObject): OptimizerWeights {
  const { before, after } = runSummary(result);
  const best = result.select === 'best' ? result.best : undefined;
  const { innerSteps } = best ?? result;
  return {
    // Asked for by what writes it to a file; training needs none.
    get optimizer(): NamedConfig {
      if (optimizer.config !== undefined) return optimizer.config;
      throw notNamed(optimizer.name);
    },
    featureVersion: optimizer.featureVersion ?? 1,
    layout: result.layout,
    theta: Float32Array.from(result.thetaAverage ?? result.theta),
    record: trainingRecord(config, { iterations: best?.iteration ?? result.iterations, innerSteps, before, after }),
  };
}

export interface TrainOptions {
  /** By default one with everything built in. */
  readonly container?: OuterloopContainer;
  /** On top of the configuration, as `--set` on the command line. */
  readonly overrides?: readonly Override[];
  readonly out?: string;
  /** Event files for TensorBoard, in the run's folder. */
  readonly tensorboard?: boolean;
  /** What the engine may take of the machine. */
  readonly limits?: EngineLimits;
  readonly onEvent?: RunListener;
  readonly signal?: AbortSignal;
}

/** Runs a configuration (or a preset, by name) as the command line does. */
export async function train(config: string | ConfigObject, options: TrainOptions = {}): Promise<RunResult> {
  const { container = createContainer(), overrides = [], out, tensorboard, limits, onEvent, signal } = options;
  const input = typeof config === 'string' ? { preset: config } : config;
  if (Array.isArray(input.plugins) && input.plugins.length > 0) {
    const got = JSON.stringify(input.plugins);
    throw new ConfigurationError('plugins', 'no files', got, 'In code, hand plugins in: { container: use(plugin) }.');
  }
  return startRun({
    config: resolveConfig(input, overrides, container),
    resolver: container,
    ...(out === undefined ? {} : { out }),
    ...(limits === undefined ? {} : { limits }),
    ...(tensorboard === undefined ? {} : { tensorboard }),
    ...(onEvent === undefined ? {} : { listeners: [onEvent] }),
    signal,
  });
}

export interface ResumeOptions extends Omit<TrainOptions, 'overrides' | 'out'> {
  /** Iteration of the checkpoint to go on from; by default the newest. 0: from the start. */
  readonly checkpoint?: number;
  /** Go on although the bits may differ: other versions, CPU features or engine. */
  readonly allowDifferentMachine?: boolean;
}

/**
 * Goes on with a run of `train` or of the command line, and ends with the bits it would have ended with.
 * @throws RunDirectoryError, CheckpointError
 */
export async function resume(path: string, options: ResumeOptions = {}): Promise<RunResult> {
  const { container = createContainer(), onEvent, ...rest } = options;
  return resumeRun(path, {
    ...rest,
    resolver: container,
    ...(onEvent === undefined ? {} : { listeners: [onEvent] }),
  });
}

/** A container with everything built in and these plugins, for `train(…, { container: use(plugin) })`. */
export function use(...plugins: readonly Plugin[]): OuterloopContainer {
  const container = createContainer();
  for (const plugin of plugins) container.use(plugin);
  return container;
}

export interface LoadOptimizerOptions extends TrainableOptions {
  /** With the plugin of an optimizer that is not built in: `use(plugin)`. */
  readonly container?: OuterloopContainer;
  /** Of a run: iteration of the checkpoint, or `best`; by default what the run's `evaluation.select` says. */
  readonly checkpoint?: CheckpointChoice;
}

/**
 * The optimizer that a run has meta-trained, for `model.compile`, `minimize` and `applyGradients` of TensorFlow.js.
 * @param path a run folder, or a file that `outerloop export` wrote
 * @throws WeightsError, RunDirectoryError
 */
export async function loadOptimizer(path: string, options: LoadOptimizerOptions = {}): Promise<TrainableOptimizer> {
  const { container = createContainer(), checkpoint } = options;
  if (isFolder(path)) {
    const weights = await optimizerOfRun(path, container, checkpoint);
    return new TrainableOptimizer(weights, await buildOptimizer(weights, path, container), options.seed);
  }
  return trainableFromBytes(readWhole(path), path, container, options);
}

/** Lets `tf.loadLayersModel` read models that were saved together with such an optimizer. */
export function registerOptimizers(container: OuterloopContainer = createContainer()): void {
  registerTrainable((weights) => buildOptimizer(weights, 'the optimizer of the saved model', container));
}
