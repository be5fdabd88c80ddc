/**
 * Registration: what a module of tasks, optimizers, estimators or data sets hands to the container, and what the writer
 * of a plugin uses. Nobody here needs to know the container's library.
 */
import type { z } from 'zod';
import type { DataFiles, Dataset, DataWatch } from './dataset';
import type { GradientEstimator, OuterOptimizer } from './estimator';
import type { Schedule } from './meta';
import type { UnrolledProblem } from './problem';
import type { LearnedOptimizer, Task } from './task';

/** A task and its data set as a configuration names them. */
export interface TaskSample {
  readonly task: ConfigValue;
  /** Absent: the configuration's own `data`. */
  readonly data?: ConfigValue;
}

/** Tasks of one kind at random: what `tasks.family` of a configuration names. */
export interface TaskFamily {
  /** The same for the same seed, an integer in [0, 2⁵³). Loads nothing. */
  sample(seed: number): TaskSample;
}

/** The kinds of things that have names in a configuration. */
export interface Registered {
  task: Task;
  family: TaskFamily;
  problem: UnrolledProblem;
  optimizer: LearnedOptimizer;
  schedule: Schedule;
  estimator: GradientEstimator;
  outerOptimizer: OuterOptimizer;
  dataset: Dataset;
}
export type RegisteredKind = keyof Registered;
export const REGISTERED_KINDS: readonly RegisteredKind[] = [
  'task',
  'family',
  'problem',
  'optimizer',
  'schedule',
  'estimator',
  'outerOptimizer',
  'dataset',
];

/** A configuration as data; strings such as `meta.log(0.003)` become meta-parameters where a schema asks for them. */
export type ConfigValue =
  null | boolean | number | string | readonly ConfigValue[] | { readonly [key: string]: ConfigValue };
export interface ConfigObject {
  readonly [key: string]: ConfigValue;
}

/** `{name, …options}`: a registered thing and its options, flat. */
export interface NamedConfig extends ConfigObject {
  readonly name: string;
}

/** What a factory may ask for while it builds its thing. */
export interface FactoryContext {
  /** The configuration's `horizon`, if it has one. */
  readonly horizon?: number;
  /** For loaders of data: whom to tell how far a fetch is, and when to give it up. */
  readonly watch?: DataWatch;
  /** The data set of the configuration's `data` key. @throws ConfigurationError if there is none. */
  data(): Promise<Dataset>;
  /** Loads (once a process and options) a registered data set; the configuration is `{name, …options}` or a name. */
  dataset(config: ConfigValue): Promise<Dataset>;
  /**
   * Builds a registered thing of another kind from `{name, …options}` or a name.
   * @param key the option that the configuration stands under, for errors, e.g. `learningRate`; by default the kind
   */
  create<K extends RegisteredKind>(kind: K, config: ConfigValue, key?: string): Promise<Registered[K]>;
}

/** How a registered thing is made from its options. */
export interface Registration<T, Options = unknown> {
  readonly description: string;
  /** Checks and fills the options (all keys but `name`). Absent: no options are accepted. Must be a strict object. */
  readonly options?: z.ZodType<Options>;
  /** Of a data set: its files, for `outerloop data`. */
  readonly files?: DataFiles;
  create(options: Options, context: FactoryContext): T | Promise<T>;
}

/** Shorter forms of a preset, called by flags of `train`. */
export const PRESET_FORMS = ['quick', 'demo'] as const;
export type PresetForm = (typeof PRESET_FORMS)[number];

/** A named, complete configuration. */
export interface Preset {
  readonly description: string;
  readonly config: ConfigObject;
  /** What `--quick` changes of the configuration: minutes instead of hours, with the same outcome in the main. */
  readonly quick?: ConfigObject;
  /** What `--demo` changes of it: a few minutes, to see it work. */
  readonly demo?: ConfigObject;
}

/** A factory without options may be given in place of a Registration. */
export type Registerable<T, O> = Registration<T, O> | ((context: FactoryContext) => T | Promise<T>);

/** The methods a plugin registers with, one a kind: `task('sine', …)`. */
export type Registrar = {
  [K in RegisteredKind]: <Options>(name: string, registration: Registerable<Registered[K], Options>) => void;
} & { preset: (name: string, preset: Preset) => void };

/** What `definePlugin` makes; `use(plugin)` and `--plugin FILE` take it. */
export interface Plugin {
  readonly outerloopPlugin: 1;
  register(registrar: Registrar): void;
}

/** `export const plugin = definePlugin(({ task }) => { task('sine', () => …); });` */
export function definePlugin(register: (registrar: Registrar) => void): Plugin {
  return { outerloopPlugin: 1, register };
}
