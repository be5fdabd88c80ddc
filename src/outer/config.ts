/** The configuration of a run: its schema, and how presets, files and `--set` become one resolved object. */
import { z } from 'zod';
import {
  ConfigurationError,
  horizonEnds,
  notDividing,
  UnknownNameError,
  type ConfigObject,
  type ConfigValue,
  type NamedConfig,
  type PresetForm,
} from '../contracts';
import { applyOverride, mergeConfig, NAMED_KEYS, normaliseNames, type Override } from './config-merge';
import { objectiveSchema, type Objective } from './combinators/unroll';
import { checkCourse, SELECTIONS, type Selection } from './best';
import { checkNamed, checkWith } from './config-check';
import { checkSchedule, horizonSchema, type Horizon } from './horizon';
import { nearNames, type Resolver } from './resolver';
import { resolveTasks, taskListSchema, tasksSchema, type TasksConfig } from './tasks-config';

/** A complete configuration. JSON-able. */
export interface ResolvedConfig {
  readonly preset?: string;
  /** Plugin files, as they were given. */
  readonly plugins: readonly string[];
  readonly seed: number;
  /** As asked for; `auto` included. */
  readonly engine: string;
  readonly horizon?: Horizon;
  readonly iterations: number;
  /** Either a task (or several), optimizer and objective … */
  readonly task?: NamedConfig;
  readonly tasks?: TasksConfig;
  readonly optimizer?: NamedConfig;
  readonly objective?: Objective;
  /** … or a whole problem. */
  readonly problem?: NamedConfig;
  readonly data?: NamedConfig;
  readonly estimator: NamedConfig;
  readonly outerOptimizer: NamedConfig;
  /** Decay of the exponential average of θ that is evaluated; absent: θ itself. */
  readonly thetaAverage?: number;
  readonly evaluation: {
    /** Fresh starts; absent: what the problem says. */
    readonly particles?: number;
    /** Also evaluate every so many iterations. */
    readonly every?: number;
    /** `false`: the meta-loss at θ ± σ is not measured at the end. */
    readonly probe?: boolean;
    /** The run ends after so many evaluations in a row without a better one; needs `every`. */
    readonly patience?: number;
    /** Which θ the run ends with; absent: `last`. `best` needs `every`. */
    readonly select?: Selection;
    /** Tasks that θ is judged on and never trained on: see `metaTestTasks`. */
    readonly tasks?: string | readonly ConfigValue[];
  };
  readonly checkpoint: { readonly seconds: number; readonly keep: number };
  /** The folder of a run whose θ is this one's θ₀; absent: what the problem draws by the seed. */
  readonly warmStart?: string;
}

const positiveInteger = z.int().positive();
const named = z.looseObject({ name: z.string().min(1) });

const configSchema = z.strictObject({
  preset: z.string().optional(),
  plugins: z.array(z.string()).default([]),
  seed: z.int().min(0).default(0),
  engine: z.string().min(1).default('auto'),
  horizon: horizonSchema.optional(),
  iterations: positiveInteger.default(500),
  task: named.optional(),
  tasks: tasksSchema.optional(),
  optimizer: named.optional(),
  objective: objectiveSchema.optional(),
  problem: named.optional(),
  data: named.optional(),
  estimator: named,
  outerOptimizer: named.default({ name: 'adam', learningRate: 0.01 }),
  thetaAverage: z.number().gt(0).lt(1).optional(),
  evaluation: z
    .strictObject({
      particles: positiveInteger.optional(),
      every: positiveInteger.optional(),
      probe: z.boolean().optional(),
      patience: positiveInteger.optional(),
      select: z.enum(SELECTIONS).optional(),
      tasks: z.union([z.string().min(1), taskListSchema]).optional(),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({ seconds: z.number().positive().default(60), keep: positiveInteger.default(5) })
    .prefault({}),
  warmStart: z.string().min(1).optional(),
});

/** A preset with everything that it builds upon merged in; the keys of the outermost win. */
function withPresets(config: ConfigObject, resolver: Resolver, seen: readonly string[] = []): ConfigObject {
  const { preset } = config;
  if (typeof preset !== 'string') return config;
  if (seen.includes(preset)) {
    throw new ConfigurationError('preset', 'presets that do not refer to themselves', [...seen, preset].join(' → '));
  }
  const base = withPresets(normaliseNames(resolver.preset(preset).config), resolver, [...seen, preset]);
  return mergeConfig(base, config);
}

/** What a preset's name stands for, as it was written. @throws UnknownNameError */
export function presetConfig(preset: string, resolver: Resolver): ConfigObject {
  return withPresets({ preset }, resolver);
}

/** The form of the preset, or of the nearest that it builds upon and that has one. */
function formOf(preset: string, form: PresetForm, resolver: Resolver, seen: readonly string[] = []) {
  const found = resolver.preset(preset);
  const below = found.config.preset;
  if (found[form] !== undefined || typeof below !== 'string' || seen.includes(below)) return found[form];
  return formOf(below, form, resolver, [...seen, below]);
}

/**
 * A configuration in a shorter form of the preset that it names; its own keys win over the form's.
 * @throws ConfigurationError if it names none, or one that has no such form
 */
export function withForm(config: ConfigObject, form: PresetForm, resolver: Resolver): ConfigObject {
  const { preset } = config;
  const changes = typeof preset === 'string' ? formOf(preset, form, resolver) : undefined;
  if (changes === undefined) {
    const have = resolver.names('preset').filter((name) => formOf(name, form, resolver) !== undefined);
    throw new ConfigurationError(
      `--${form}`,
      'a preset that has this form',
      typeof preset === 'string' ? `"${preset}"` : 'a configuration without a preset',
      have.length === 0 ? 'None has.' : `These have: ${have.join(', ')}.`,
    );
  }
  return mergeConfig(normaliseNames(changes), normaliseNames(config));
}

function checkShape(config: ResolvedConfig): void {
  const beside = config.problem ?? config.task;
  if (config.tasks !== undefined && beside !== undefined) {
    const key = config.problem === undefined ? 'task' : 'problem';
    throw new ConfigurationError(key, 'nothing beside "tasks"', `"${beside.name}"`);
  }
  if (config.problem !== undefined) {
    for (const key of ['task', 'optimizer', 'objective'] as const) {
      if (config[key] !== undefined) {
        throw new ConfigurationError(
          key,
          'nothing beside "problem"',
          key === 'objective' ? 'an objective' : `"${config[key].name}"`,
          `The configuration has the problem "${config.problem.name}"; start from a preset made of task and optimizer.`,
        );
      }
    }
    return;
  }
  const { optimizer } = config;
  const task = config.task ?? config.tasks;
  if (task === undefined && optimizer === undefined) {
    throw new ConfigurationError('problem', 'a problem, or a task and an optimizer', 'neither');
  }
  if (task === undefined) throw new ConfigurationError('task', 'the name of a task', 'nothing');
  if (optimizer === undefined) throw new ConfigurationError('optimizer', 'the name of an optimizer', 'nothing');
  if (config.horizon === undefined) {
    throw new ConfigurationError('horizon', 'a positive integer', 'nothing');
  }
}

/** Kind of each named key. */
const CONFIG_KINDS = {
  task: 'task',
  optimizer: 'optimizer',
  problem: 'problem',
  data: 'dataset',
  estimator: 'estimator',
  outerOptimizer: 'outerOptimizer',
} as const;

/**
 * Merges preset ← input ← overrides, checks every key, and fills in defaults, those of the named things included.
 * Nothing is loaded, built or written.
 * @throws ConfigurationError (key, expected, got), UnknownNameError (near names)
 */
export function resolveConfig(input: ConfigObject, overrides: readonly Override[], resolver: Resolver): ResolvedConfig {
  // A config.json of an earlier run is a configuration too; `run` is what it records beside.
  const { run: _record, ...given } = mergeConfig({}, input);
  const preset = overrides.filter(({ key }) => key === 'preset').at(-1);
  const chosen = preset === undefined ? given : { ...given, preset: preset.value };
  let config = withPresets(normaliseNames(chosen), resolver);
  // Names first: a new name drops the old options, which must not depend on the order of the flags.
  const isName = ({ key }: Override): boolean =>
    key.endsWith('.name') || (NAMED_KEYS as readonly string[]).includes(key);
  const expanded = overrides.filter(({ key }) => key !== 'preset');
  for (const override of [...expanded.filter(isName), ...expanded.filter((o) => !isName(o))]) {
    config = applyOverride(config, override, Object.keys(configSchema.shape));
  }
  config = normaliseNames(config);
  if (!('estimator' in config)) {
    throw new ConfigurationError('estimator', `a name (${resolver.names('estimator').join(', ')})`, 'nothing');
  }
  checkSchedule(config.horizon);
  const checked = checkWith(configSchema, config, '') as ResolvedConfig;
  const filled: Record<string, ConfigValue> = {};
  for (const [key, kind] of Object.entries(CONFIG_KINDS)) {
    const value = checked[key as keyof typeof CONFIG_KINDS];
    if (value !== undefined) filled[key] = checkNamed(kind, value, key, resolver);
  }
  checkShape(checked);
  checkCourse(checked.evaluation);
  const objective = checked.objective ?? (checked.problem === undefined ? objectiveSchema.parse({}) : undefined);
  const resolved: ResolvedConfig = {
    ...checked,
    ...filled,
    ...(checked.tasks === undefined ? {} : { tasks: resolveTasks(checked.tasks, resolver) }),
    ...(objective === undefined ? {} : { objective }),
  };
  if (!resolver.names('engine').includes(resolved.engine)) {
    const engines = resolver.names('engine');
    throw new UnknownNameError('engine', resolved.engine, nearNames(resolved.engine, engines), engines);
  }
  if (resolved.horizon !== undefined) checkWindows(resolved.estimator, resolved.horizon);
  return resolved;
}

/**
 * W divides T and K is a multiple of W (conventions.md), where the estimator has these options. Estimators check again
 * when they meet a program; here it is found before anything is loaded.
 * @throws ConfigurationError
 */
export function checkWindows(estimator: NamedConfig, horizon: Horizon): void {
  const { window, noisePeriod } = estimator;
  if (typeof window !== 'number') return;
  for (const steps of typeof horizon === 'object' ? Object.values(horizonEnds(horizon)) : [horizon]) {
    if (typeof steps === 'number' && Number.isFinite(steps) && steps % window !== 0) {
      throw notDividing('estimator.window', window, steps);
    }
  }
  if (typeof noisePeriod === 'number' && noisePeriod % window !== 0) {
    throw new ConfigurationError(
      'estimator.noisePeriod',
      `a multiple of the window ${String(window)}`,
      String(noisePeriod),
    );
  }
}
