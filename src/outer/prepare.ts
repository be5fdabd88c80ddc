/** From names to things: a resolved configuration becomes a problem, an estimator and an outer optimizer. */
import {
  ConfigurationError,
  longestHorizon,
  OuterloopError,
  UserError,
  type ConfigValue,
  type Dataset,
  type DataWatch,
  type FactoryContext,
  type HorizonSchedule,
  type LearnedOptimizer,
  type NamedConfig,
  type Registered,
  type RegisteredKind,
  type Task,
  type UnrolledProblem,
} from '../contracts';
import { unroll, type Objective } from './combinators/unroll';
import { checkWindows, type ResolvedConfig } from './config';
import { checkWith, display, fillDefaults, parseOptions } from './config-check';
import { isConfigObject, normaliseNames } from './config-merge';
import { heldOutConfigs, heldOutProblem, type HeldOutTask } from './held-out';
import { horizonSteps } from './horizon';
import type { NamedTask } from './meta-test-tasks';
import type { Resolver } from './resolver';
import type { RunPlan } from './run';
import { seedOfStream } from './evaluate';
import { planTasks } from './several-tasks';
import { memberName, resolveMembers, tasksSchema, type MemberConfig, type TasksConfig } from './tasks-config';

/** A plan, and the configuration with everything filled in that only its things could know. */
export interface PreparedRun {
  readonly config: ResolvedConfig;
  readonly plan: RunPlan;
}

/** JSON with sorted keys: equal configurations have one text. */
export function canonical(value: ConfigValue): string {
  return JSON.stringify(value, (_key, child: ConfigValue) =>
    isConfigObject(child) ? Object.fromEntries(Object.entries(child).sort(([a], [b]) => (a < b ? -1 : 1))) : child,
  );
}

/** Configurations with one key have one problem, whatever else they differ in. */
export function problemKey({ data, problem, task, optimizer, objective, horizon, evaluation }: ResolvedConfig): string {
  const of = { data, problem, task, optimizer, objective, horizon, particles: evaluation.particles };
  return canonical(Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as ConfigValue);
}

/** Builds things by name; remembers what led to what, for errors and against cycles. */
class Builder {
  constructor(
    private readonly resolver: Resolver,
    private readonly config: Pick<ResolvedConfig, 'data' | 'horizon'>,
    private readonly path: readonly string[] = [],
    private readonly active: readonly string[] = [],
    /** Dotted key of the thing that this builds for. */
    private readonly place?: string,
    private readonly watch?: DataWatch,
  ) {}

  /** @param key where the configuration stands, if that is known */
  async create<K extends RegisteredKind>(kind: K, config: ConfigValue, key: string = kind): Promise<Registered[K]> {
    const { name, ...options } = this.named(kind, config, key);
    const registration = this.resolver.registration(kind, name, this.path);
    const step = `${kind} "${name}"`;
    const identity = `${step} ${canonical(fillDefaults(registration.options, options))}`;
    if (this.active.includes(identity)) {
      throw new ConfigurationError(key, 'things that do not need themselves', [...this.path, step].join(' → '));
    }
    const parsed = parseOptions(registration, options, key, [...this.path, step].join(' → '));
    const path = [...this.path, step];
    const below = new Builder(this.resolver, this.config, path, [...this.active, identity], key, this.watch);
    const build = async (): Promise<Registered[K]> => {
      try {
        return await registration.create(parsed, below.context());
      } catch (error) {
        if (error instanceof OuterloopError) throw error;
        const reason = error instanceof Error ? error.message : String(error);
        throw new UserError(`${[...this.path, step].join(' → ')} cannot be built: ${reason}`, { cause: error });
      }
    };
    if (kind !== 'dataset') return build();
    return (await this.resolver.cachedDataset(identity, build as () => Promise<Dataset>)) as Registered[K];
  }

  private named(kind: RegisteredKind, config: ConfigValue, key: string): NamedConfig {
    if (typeof config === 'string') return { name: config };
    if (isConfigObject(config) && typeof config.name === 'string') return config as NamedConfig;
    const expected = `the name of a ${kind}, or {name, …options}`;
    throw new ConfigurationError([...this.path, key].join(' → '), expected, display(config));
  }

  private context(): FactoryContext {
    const { data, horizon } = this.config;
    return {
      ...(horizon === undefined ? {} : { horizon: horizonSteps(horizon) }),
      ...(this.watch === undefined ? {} : { watch: this.watch }),
      data: () => {
        if (data === undefined) {
          return Promise.reject(
            new ConfigurationError('data', `the name of a data set, which ${this.path.join(' → ')} needs`, 'nothing'),
          );
        }
        return this.create('dataset', data, 'data');
      },
      dataset: (config) => this.create('dataset', config),
      create: (kind, config, key) =>
        this.create(kind, config, key === undefined || this.place === undefined ? key : `${this.place}.${key}`),
    };
  }
}

/** A task and an optimizer with what they meet under. */
export interface PreparedParts extends OptimizerParts {
  readonly task: Task;
}

interface OptimizerParts {
  readonly optimizer: LearnedOptimizer;
  readonly objective: Objective;
  /** The longest, of a schedule. */
  readonly horizon: number;
}

async function buildParts(config: ResolvedConfig, builder: Builder): Promise<PreparedParts> {
  if (config.task === undefined) throw neither();
  return { task: await builder.create('task', config.task, 'task'), ...(await optimizerParts(config, builder)) };
}

const neither = (): ConfigurationError =>
  new ConfigurationError('problem', 'a problem, or a task and an optimizer', 'neither');

async function optimizerParts(config: ResolvedConfig, builder: Builder): Promise<OptimizerParts> {
  const { horizon, objective } = config;
  if (config.optimizer === undefined || objective === undefined || horizon === undefined) throw neither();
  return {
    optimizer: await builder.create('optimizer', config.optimizer, 'optimizer'),
    objective,
    horizon: horizonSteps(horizon),
  };
}

/** The members of several tasks; those of a family are drawn by the run's seed. */
async function membersOf(
  { members, family, count = 0 }: TasksConfig,
  { seed }: ResolvedConfig,
  builder: Builder,
  resolver: Resolver,
): Promise<readonly MemberConfig[]> {
  if (members !== undefined || family === undefined) return members ?? [];
  const sampler = await builder.create('family', family, 'tasks.family');
  const drawn = Array.from({ length: count }, (_, i) => ({ ...sampler.sample(seedOfStream(seed, 'family', i)) }));
  const tasks = checkWith(tasksSchema, normaliseNames({ tasks: drawn }).tasks, 'tasks') as TasksConfig;
  return resolveMembers(tasks.members!, resolver);
}

/** The configuration with the members that a family has for it, if it has a family. */
async function withMembers(config: ResolvedConfig, builder: Builder, resolver: Resolver): Promise<ResolvedConfig> {
  const { tasks } = config;
  if (tasks === undefined) return config;
  const { normaliser } = tasks;
  const members = await membersOf(tasks, config, builder, resolver);
  return { ...config, tasks: { members, ...(normaliser === undefined ? {} : { normaliser }) } };
}

/** What the objective and the optimizer of a run are worth on tasks that it is not trained on. */
async function buildHeldOut(
  tasks: readonly NamedTask[],
  builder: (config: ResolvedConfig) => Builder,
  resolver: Resolver,
): Promise<HeldOutTask[]> {
  const built: HeldOutTask[] = [];
  for (const { name, config } of tasks) {
    const build = async (): Promise<UnrolledProblem> => {
      const { particles } = config.evaluation;
      return heldOutProblem({ name, ...(await buildParts(config, builder(config))), evaluation: { particles } });
    };
    const key = `${name}, held out: ${problemKey(config)}`;
    const { evaluation } = await (resolver.cachedProblem?.(key, build) ?? build());
    if (evaluation !== undefined) built.push({ name, evaluation });
  }
  return built;
}

interface BuiltTasks extends Pick<RunPlan, 'problem' | 'tasks'> {
  readonly config: ResolvedConfig;
}

async function buildTasks(
  config: ResolvedConfig,
  { members = [], normaliser }: TasksConfig,
  builder: (config: ResolvedConfig) => Builder,
): Promise<BuiltTasks> {
  const parts = await optimizerParts(config, builder(config));
  const built: { name: string; weight: number; task: Task }[] = [];
  for (const [i, member] of members.entries()) {
    const { task, data = config.data, weight } = member;
    const own = await builder({ ...config, ...(data === undefined ? {} : { data }) }).create(
      'task',
      task,
      `tasks.members.${String(i)}.task`,
    );
    built.push({ name: memberName(member, i), weight, task: own });
  }
  const { particles } = config.evaluation;
  const planned = planTasks({
    ...parts,
    horizon: trainedOver(config, parts),
    members: built,
    normaliser,
    evaluation: { particles },
  });
  return { ...planned, config: { ...config, tasks: { members, normaliser: planned.tasks.normaliser } } };
}

/** What training episodes have for a horizon: the schedule, if there is one. */
const trainedOver = ({ horizon }: ResolvedConfig, parts: OptimizerParts): number | HorizonSchedule =>
  typeof horizon === 'object' ? horizon : parts.horizon;

/** @throws ConfigurationError for a problem with a horizon of its own that is not the schedule's longest */
function withSchedule(problem: UnrolledProblem, horizonSchedule: HorizonSchedule): UnrolledProblem {
  const longest = longestHorizon(horizonSchedule);
  if (problem.horizon !== longest) {
    throw new ConfigurationError(
      'horizon',
      `${String(problem.horizon)}, which "${problem.name}" has of its own, as the longest`,
      String(longest),
    );
  }
  // A plugin's problem may have its methods from a class.
  const copy = Object.create(Object.getPrototypeOf(problem) as object) as UnrolledProblem;
  return Object.assign(copy, problem, { horizonSchedule });
}

async function buildProblem(config: ResolvedConfig, builder: Builder): Promise<UnrolledProblem> {
  const { horizon } = config;
  if (config.problem !== undefined) {
    const problem = await builder.create('problem', config.problem, 'problem');
    return typeof horizon === 'object' ? withSchedule(problem, horizon) : problem;
  }
  const parts = await buildParts(config, builder);
  return unroll({
    ...parts,
    horizon: trainedOver(config, parts),
    evaluation: { particles: config.evaluation.particles },
  });
}

/**
 * The task and the optimizer of a configuration, apart, for those who combine them anew; loads data, runs nothing.
 * @throws what `prepareRun` throws; ConfigurationError for a configuration of a whole problem
 */
export async function prepareParts(
  config: ResolvedConfig,
  resolver: Resolver,
  watch?: DataWatch,
): Promise<PreparedParts> {
  return buildParts(config, new Builder(resolver, config, [], [], undefined, watch));
}

/**
 * One registered thing by itself.
 * @param of what its factory may ask for: the data set of the configuration, its horizon
 * @throws ConfigurationError, UnknownNameError
 */
export function prepareNamed<K extends RegisteredKind>(
  kind: K,
  config: NamedConfig,
  resolver: Resolver,
  of: Pick<ResolvedConfig, 'data' | 'horizon'> = {},
): Promise<Registered[K]> {
  return new Builder(resolver, of).create(kind, config, kind);
}

/**
 * An optimizer by itself, as it is built again from a file of weights.
 * @throws ConfigurationError, UnknownNameError
 */
export function prepareOptimizer(config: NamedConfig, resolver: Resolver): Promise<LearnedOptimizer> {
  return prepareNamed('optimizer', config, resolver);
}

/**
 * Builds everything that a configuration names; loads data (fetches what is not there), runs nothing.
 * @throws ConfigurationError, UnknownNameError (with the path that led there), DatasetError, CancelledError
 */
export async function prepareRun(config: ResolvedConfig, resolver: Resolver, watch?: DataWatch): Promise<PreparedRun> {
  const builderOf = (of: ResolvedConfig): Builder => new Builder(resolver, of, [], [], undefined, watch);
  const builder = builderOf(config);
  // The cheap ones first: a mistake in them is found before data are read.
  const estimator = await builder.create('estimator', config.estimator, 'estimator');
  const outerOptimizer = await builder.create('outerOptimizer', config.outerOptimizer, 'outerOptimizer');
  const drawn = await withMembers(config, builder, resolver);
  const tasksBeside = heldOutConfigs(drawn, resolver);
  const build = (): Promise<UnrolledProblem> => buildProblem(config, builder);
  const several = drawn.tasks === undefined ? undefined : await buildTasks(drawn, drawn.tasks, builderOf);
  const problem = several?.problem ?? (await (resolver.cachedProblem?.(problemKey(config), build) ?? build()));
  const heldOut = await buildHeldOut(tasksBeside, builderOf, resolver);
  checkWindows(config.estimator, problem.horizonSchedule ?? problem.horizon);
  const particles = config.evaluation.particles ?? problem.evaluation?.particles;
  const filled: ResolvedConfig = {
    ...(several?.config ?? config),
    horizon: problem.horizonSchedule ?? (Number.isFinite(problem.horizon) ? problem.horizon : 'infinite'),
    evaluation: { ...config.evaluation, ...(particles === undefined ? {} : { particles }) },
  };
  const { seed, iterations, thetaAverage, evaluation, checkpoint } = filled;
  return {
    config: filled,
    plan: {
      problem,
      ...(several === undefined ? {} : { tasks: several.tasks }),
      ...(heldOut.length === 0 ? {} : { heldOut }),
      estimator,
      outerOptimizer,
      settings: { seed, iterations, thetaAverage, evaluation, checkpoint },
    },
  };
}
