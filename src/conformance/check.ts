/** Everything that a plugin registers, held against the properties of its kind. */
import {
  ConfigurationError,
  OuterloopError,
  type ConfigObject,
  type NamedConfig,
  type Registered,
  type RegisteredKind,
  type TaskFamily,
} from '../contracts';
import { optionKeys, optionNeed, prepareNamed, prepareRun, resolveConfig, type Resolver } from '../outer';
import { DATASET_PROPERTIES } from './datasets';
import { BIAS_PROPERTIES, ESTIMATOR_PROPERTIES, estimatorProgram, HORIZON, type EstimatorSubject } from './estimators';
import { configMakesItAgain, OPTIMIZER_PROPERTIES, trainingBy } from './optimizers';
import { OUTER_OPTIMIZER_PROPERTIES } from './outer-optimizers';
import { PROBLEM_PROPERTIES } from './problems';
import { PropertyError, type Make, type Property } from './property';
import { REGISTRATION_PROPERTIES } from './registration';
import { TASK_PROPERTIES, trainingOf } from './tasks';

/** One line of the result. */
export interface Outcome {
  readonly kind: RegisteredKind | 'preset';
  readonly name: string;
  readonly property: string;
  /** `skip`: it does not apply, or what it builds on has failed. */
  readonly outcome: 'pass' | 'fail' | 'skip';
  /** Why not `pass`. */
  readonly reason?: string;
}

export interface Named {
  readonly kind: RegisteredKind | 'preset';
  readonly name: string;
}

export interface CheckOptions {
  readonly registered: readonly Named[];
  /** A container with all of them, made anew: nothing that one has loaded is shared with the next. */
  readonly fresh: () => Resolver;
  /** Options by the name of a thing; others have their defaults. */
  readonly options: Readonly<Record<string, ConfigObject>>;
  /** Told as soon as it is known. */
  readonly onOutcome: (outcome: Outcome) => void;
}

/** What a check takes where there is such an option: small numbers that fit the problems of the checks. */
const OWN: Readonly<Partial<Record<RegisteredKind, ConfigObject>>> = {
  estimator: { pairs: 8, workers: 8, sigma: 0.1, window: 3, noisePeriod: 6 },
  outerOptimizer: { learningRate: 0.1 },
};
/** The `data` of the configuration, for those that ask for it: small, and on every machine. */
const DATA: NamedConfig = { name: 'mnist', size: 8 };

/** @throws ConfigurationError for an option that has no default and is not given */
function optionsOf(kind: RegisteredKind, name: string, { fresh, options }: CheckOptions): ConfigObject {
  const { options: schema } = fresh().registration(kind, name);
  const given = options[name] ?? {};
  const own = Object.entries(OWN[kind] ?? {}).filter(([key]) =>
    kind === 'estimator' ? optionNeed(schema, key) !== undefined : optionNeed(schema, key) === 'required',
  );
  const all = { ...Object.fromEntries(own), ...given };
  const missing = optionKeys(schema).find((key) => optionNeed(schema, key) === 'required' && !(key in all));
  if (missing === undefined) return all;
  throw new ConfigurationError(
    `${name}.${missing}`,
    'a value, since it has no default',
    'nothing',
    `Add --set ${name}.${missing}=VALUE, or a default.`,
  );
}

/** Checks one table; false if a property that others build on fails. */
async function hold<S>(
  { kind, name }: Named,
  properties: readonly Property<S>[],
  subject: S,
  onOutcome: (outcome: Outcome) => void,
  prefix = '',
): Promise<boolean> {
  let broken: string | undefined;
  for (const property of properties) {
    const line = { kind, name, property: `${prefix}${property.name}` };
    if (broken !== undefined) {
      onOutcome({ ...line, outcome: 'skip', reason: `it builds on "${broken}"` });
      continue;
    }
    try {
      const reason = await property.check(subject);
      onOutcome(reason === undefined ? { ...line, outcome: 'pass' } : { ...line, outcome: 'skip', reason });
    } catch (error) {
      onOutcome({ ...line, outcome: 'fail', reason: inWords(error) });
      if (property.first === true) broken = line.property;
    }
  }
  return broken === undefined;
}

function inWords(error: unknown): string {
  if (error instanceof OuterloopError) return error.message;
  const [sentence] = (error instanceof Error ? error.message : String(error)).split('\n');
  return `expected no error, got "${sentence}". Find it with the plugin's own test.`;
}

const sameSample: Property<Make<TaskFamily>> = {
  name: 'the seed decides a sample',
  check: async (make) => {
    const [one, two] = [(await make()).sample(7), (await make()).sample(7)].map((sample) => JSON.stringify(sample));
    if (one === two) return undefined;
    throw new PropertyError(one, two, 'Draw every number from the seed.');
  },
};

const presetRuns: Property<Named & { readonly resolver: Resolver }> = {
  name: 'its configuration is complete, and all its parts can be built',
  check: async ({ name, resolver }) => {
    await prepareRun(resolveConfig({ preset: name }, [], resolver), resolver);
    return undefined;
  },
};

async function checkOne(named: Named, options: CheckOptions): Promise<void> {
  const { kind, name } = named;
  const { fresh, onOutcome } = options;
  // One for all looks at a thing, so that its data are loaded once; the thing itself is made anew for each.
  const resolver = fresh();
  if (kind === 'preset') {
    await hold(named, [presetRuns], { ...named, resolver }, onOutcome);
    return;
  }
  const own = optionsOf(kind, name, options);
  const makeOf = <K extends RegisteredKind>(of: K, from: () => Resolver = () => resolver): Make<Registered[K]> => {
    return () => prepareNamed(of, { ...own, name }, from(), { data: DATA, horizon: HORIZON });
  };
  const registration = {
    kind,
    name,
    options: own,
    resolver,
    make: (given: ConfigObject) => prepareNamed(kind, { ...given, name }, resolver, { data: DATA, horizon: HORIZON }),
  };
  if (!(await hold(named, REGISTRATION_PROPERTIES, registration, onOutcome))) return;
  switch (kind) {
    case 'task': {
      const make = makeOf(kind);
      if (!(await hold(named, TASK_PROPERTIES, make, onOutcome))) return;
      await hold(named, PROBLEM_PROPERTIES, trainingOf(make), onOutcome, 'trained by SGD: ');
      return;
    }
    case 'problem':
      await hold(named, PROBLEM_PROPERTIES, makeOf(kind), onOutcome);
      return;
    case 'optimizer': {
      const make = makeOf(kind);
      const again = configMakesItAgain((config) => prepareNamed('optimizer', config, resolver));
      if (!(await hold(named, PROBLEM_PROPERTIES, trainingBy(make), onOutcome, 'on a small task: '))) return;
      await hold(named, [...OPTIMIZER_PROPERTIES, again], make, onOutcome);
      return;
    }
    case 'estimator': {
      const subject: EstimatorSubject = { make: makeOf(kind), program: estimatorProgram };
      await hold(named, [...ESTIMATOR_PROPERTIES, ...BIAS_PROPERTIES], subject, onOutcome);
      return;
    }
    case 'outerOptimizer':
      await hold(named, OUTER_OPTIMIZER_PROPERTIES, makeOf(kind), onOutcome);
      return;
    case 'dataset':
      await hold(named, DATASET_PROPERTIES, makeOf(kind, fresh), onOutcome);
      return;
    case 'family':
      await hold(named, [sameSample], makeOf(kind), onOutcome);
      return;
    case 'schedule':
      return;
  }
}

/** @throws ConfigurationError before anything is checked: options that are needed, names that nothing has */
export async function checkAll(options: CheckOptions): Promise<void> {
  const { registered } = options;
  const names = registered.filter(({ kind }) => kind !== 'preset').map(({ name }) => name);
  for (const name of Object.keys(options.options)) {
    if (!names.includes(name)) {
      throw new ConfigurationError('--set', `NAME.key=value with a NAME of ${names.join(', ')}`, `"${name}"`);
    }
  }
  for (const { kind, name } of registered) if (kind !== 'preset') optionsOf(kind, name, options);
  for (const named of registered) await checkOne(named, options);
}
