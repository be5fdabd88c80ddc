/** The tasks that an optimizer is tried on: the one of its own run, relatives of it, presets, and those of a file. */
import { ConfigurationError, UnknownNameError, type ConfigObject, type ConfigValue } from '../contracts';
import { presetConfig, resolveConfig, type ResolvedConfig } from './config';
import { checkWith, underKey } from './config-check';
import { isConfigObject, mergeConfig, normaliseNames } from './config-merge';
import { horizonSteps } from './horizon';
import { nearNames, type Resolver } from './resolver';
import { memberName, taskListSchema, type TasksConfig } from './tasks-config';

/** A task under a name, as a configuration with an optimizer that is to be replaced. */
export interface NamedTask {
  readonly name: string;
  readonly config: ResolvedConfig;
}

/** How a relative differs from the run's own configuration; undefined where the task has no such option. */
type Relative = (own: ResolvedConfig) => ConfigObject | undefined;

const LONGER = 5;
const WIDER = 4;

function hiddenOf({ task }: ResolvedConfig): readonly number[] | undefined {
  const hidden = task?.hidden;
  return Array.isArray(hidden) && hidden.length > 0 ? (hidden as number[]) : undefined;
}

/** Another set of images of the same form, everything else as it is. */
function onData({ data }: ResolvedConfig, name: string): ConfigObject | undefined {
  const { name: own, ...options } = data ?? {};
  return own === undefined || own === name ? undefined : { data: { ...options, name } };
}

const RELATIVES: Readonly<Record<string, Relative>> = {
  own: () => ({}),
  longer: ({ horizon }) => {
    const steps = horizon === undefined ? Infinity : horizonSteps(horizon);
    return Number.isFinite(steps) ? { horizon: LONGER * steps } : undefined;
  },
  wider: (own) => {
    const hidden = hiddenOf(own);
    return hidden === undefined ? undefined : { task: { hidden: hidden.map((width) => WIDER * width) } };
  },
  deeper: (own) => {
    const hidden = hiddenOf(own);
    return hidden === undefined ? undefined : { task: { hidden: [...hidden, ...hidden] } };
  },
  activation: ({ task }) =>
    typeof task?.activation === 'string'
      ? { task: { activation: task.activation === 'relu' ? 'tanh' : 'relu' } }
      : undefined,
  dataset: (own) => onData(own, own.data?.name === 'mnist' ? 'fashion-mnist' : 'mnist'),
  'cifar-10': (own) => onData(own, 'cifar-10'),
};

/** Names that stand for a relative of the run's own task, with what each changes. */
export const RELATIVE_TASKS: Readonly<Record<string, string>> = {
  own: 'the task of the run',
  longer: `${LONGER} times the horizon`,
  wider: `${WIDER} times as wide hidden layers`,
  deeper: 'twice as many hidden layers',
  activation: 'ReLU, or tanh where it is ReLU',
  dataset: 'MNIST, or Fashion-MNIST where it is MNIST',
  'cifar-10': 'CIFAR-10',
};

/** What only meta-training needs gives way to what every horizon goes with. */
const NO_TRAINING: ConfigObject = { estimator: { name: 'full-es', pairs: 1, sigma: 1 } };

function withChanges(own: ResolvedConfig, changes: ConfigObject, resolver: Resolver): ResolvedConfig {
  const { preset: _, ...rest } = own;
  const merged = mergeConfig(mergeConfig(rest as unknown as ConfigObject, normaliseNames(changes)), NO_TRAINING);
  return resolveConfig(merged, [], resolver);
}

/** The parts of a preset that say what is trained inside. @throws ConfigurationError for one of a whole problem */
function presetTask(name: string, own: ResolvedConfig, resolver: Resolver, key: string): NamedTask {
  const preset = presetConfig(name, resolver);
  const { task, horizon } = preset;
  if (!isConfigObject(task) && typeof task !== 'string') {
    throw new ConfigurationError(key, 'presets that train a task by an optimizer', `"${name}"`);
  }
  const { data: _, ...rest } = own;
  const changes: Record<string, ConfigValue> = { task };
  if ('data' in preset) changes.data = preset.data;
  if (typeof horizon === 'number' || isConfigObject(horizon)) changes.horizon = horizon;
  // The preset's task with its own options, none of the run's.
  return { name, config: withChanges({ ...rest, task: undefined }, changes, resolver) };
}

/** Each of several tasks as a configuration of its own. */
function membersOf(alone: ResolvedConfig, { members = [] }: TasksConfig, resolver: Resolver): NamedTask[] {
  return members.map((member, i) => {
    const { task, data } = member;
    // The member's data set with its own options, none of the run's.
    const base = data === undefined ? alone : { ...alone, data: undefined };
    return {
      name: memberName(member, i),
      config: withChanges(base, { task, ...(data === undefined ? {} : { data }) }, resolver),
    };
  });
}

/** Where tasks are asked for. */
interface Asked {
  /** For errors. */
  readonly key: string;
  /** Whether `panel` has the run's own task, too. */
  readonly ownInPanel: boolean;
}

const COMMAND_LINE: Asked = { key: '--tasks', ownInPanel: true };

/**
 * Tasks by name: relatives of the run's own task (of each, if it has several), `panel` for all of those that it has, presets; several
 * names have commas between. Or a list of names and of changes to the run's own configuration.
 * @throws ConfigurationError, UnknownNameError
 */
export function metaTestTasks(
  tasks: string | readonly ConfigValue[],
  own: ResolvedConfig,
  resolver: Resolver,
  { key, ownInPanel } = COMMAND_LINE,
): NamedTask[] {
  const { tasks: several, ...alone } = own;
  if (own.task === undefined && several === undefined) {
    throw new ConfigurationError(
      key,
      'a run that trains a task by an optimizer',
      `one of the problem "${String(own.problem?.name)}"`,
      'Its θ is no optimizer that another task could be trained with.',
    );
  }
  const known = Object.keys(RELATIVES);
  const members = several === undefined ? [{ name: undefined, config: own }] : membersOf(alone, several, resolver);
  const relatives = (name: string): NamedTask[] =>
    members.flatMap(({ name: member, config }) => {
      const changes = RELATIVES[name](config);
      if (changes === undefined) return [];
      const title = member === undefined ? name : name === 'own' ? member : `${name}, ${member}`;
      return [{ name: title, config: withChanges(config, changes, resolver) }];
    });
  const called = (name: string): NamedTask[] => {
    if (name === 'panel') return known.filter((one) => ownInPanel || one !== 'own').flatMap(relatives);
    if (known.includes(name)) {
      const found = relatives(name);
      if (found.length > 0) return found;
      throw new ConfigurationError(
        key,
        `relatives that the task "${String(own.task?.name)}" on "${String(own.data?.name)}" has`,
        `"${name}" (${RELATIVE_TASKS[name]})`,
      );
    }
    const presets = resolver.names('preset');
    if (presets.includes(name)) return [presetTask(name, alone, resolver, key)];
    const all = ['panel', ...known, ...presets];
    throw new UnknownNameError('task to be tested on', name, nearNames(name, all), all);
  };
  if (typeof tasks === 'string') return tasks.split(',').flatMap((name) => called(name.trim()));
  const list = checkWith(taskListSchema, tasks, 'tasks');
  if (list.length === 0) throw new ConfigurationError(key, 'a list of at least one task', 'an empty one');
  return list.flatMap((entry, i) => {
    if (typeof entry === 'string') return called(entry);
    const { name, ...changes } = entry;
    const config = underKey(`${key}.${String(i)}`, () => withChanges(alone, changes as ConfigObject, resolver));
    return [{ name, config }];
  });
}

/** What a base line is called, and its optimizer without the learning rate. */
export interface BaseLine {
  readonly name: string;
  readonly optimizer: { readonly name: string } & ConfigObject;
}

/** Names for common settings of registered optimizers. */
const SHORT: Readonly<Record<string, { readonly name: string } & ConfigObject>> = {
  momentum: { name: 'sgd', momentum: 0.9 },
  nesterov: { name: 'sgd', momentum: 0.9, nesterov: true },
};
export const DEFAULT_BASE_LINES = 'adam,nadamw,rmsprop,lion,momentum,sgd';

/** The least and the largest rate of the first grid, where it is not the usual one. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = { sgd: [1e-3, 10] };
const USUAL_RANGE = [1e-4, 1] as const;
export const rateRange = ({ optimizer }: BaseLine): readonly [number, number] =>
  Object.hasOwn(RANGES, optimizer.name) ? RANGES[optimizer.name] : USUAL_RANGE;

/** @throws UnknownNameError */
export function baseLines(list: string, resolver: Resolver): BaseLine[] {
  const registered = resolver.names('optimizer');
  return list.split(',').map((given) => {
    const name = given.trim();
    if (registered.includes(name)) return { name, optimizer: { name } };
    if (Object.hasOwn(SHORT, name)) return { name, optimizer: SHORT[name] };
    const all = [...new Set([...registered, ...Object.keys(SHORT)])].sort();
    throw new UnknownNameError('optimizer', name, nearNames(name, all), all);
  });
}

/** The task with a base line whose learning rate is θ. @throws ConfigurationError for an optimizer without such a rate */
export function withBaseLine(task: ResolvedConfig, line: BaseLine, resolver: Resolver): ResolvedConfig {
  const optimizer = { ...line.optimizer, learningRate: 'meta.log(0.01)' };
  return resolveConfig({ ...(task as unknown as ConfigObject), optimizer }, [], resolver);
}
