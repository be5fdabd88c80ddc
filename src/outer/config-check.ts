/** Zod's issues in the project's words: key, expected, got; unknown keys with the near ones. */
import { z } from 'zod';
import {
  asConfig,
  ConfigurationError,
  MetaParameter,
  UnknownNameError,
  type ConfigObject,
  type ConfigValue,
  type NamedConfig,
  type RegisteredKind,
  type Registration,
} from '../contracts';
import { nearNames, type Resolver } from './resolver';

type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;

const join = (prefix: string, path: readonly PropertyKey[]): string =>
  [...(prefix === '' ? [] : [prefix]), ...path.map(String)].join('.');

/** How a value looks in an error message: short, on one line. */
export function display(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value instanceof MetaParameter) return value.toString();
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'function') return 'a function';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let node = value;
  for (const key of path) {
    if (typeof node !== 'object' || node === null) return undefined;
    node = (node as Readonly<Record<PropertyKey, unknown>>)[key];
  }
  return node;
}

/** The schema without what only transforms or defaults: what the user's own value is held against. */
function inner(schema: Schema): Schema {
  const def = (schema as z.ZodType).def as unknown as {
    type: string;
    innerType?: Schema;
    in?: Schema;
    getter?: () => Schema;
  };
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'readonly':
    case 'catch':
    case 'nonoptional':
      return inner(def.innerType!);
    case 'pipe':
      return inner(def.in!);
    case 'lazy':
      return inner(def.getter!());
    default:
      return schema;
  }
}

/** Keys of the objects that may stand at `path`. */
function knownKeys(schema: Schema, path: readonly PropertyKey[]): string[] {
  const bare = inner(schema);
  if (bare instanceof z.ZodUnion) return bare.options.flatMap((option) => knownKeys(option, path));
  if (bare instanceof z.ZodObject) {
    const shape = bare.shape as Readonly<Record<string, Schema>>;
    if (path.length === 0) return Object.keys(shape);
    const next = shape[String(path[0])] as Schema | undefined;
    return next === undefined ? [] : knownKeys(next, path.slice(1));
  }
  if (bare instanceof z.ZodArray && path.length > 0) return knownKeys(bare.element, path.slice(1));
  return [];
}

/** Names of the options that a registered thing takes. */
export function optionKeys(schema: Schema | undefined): string[] {
  return schema === undefined ? [] : knownKeys(schema, []);
}

/** Whether a registered thing has an option, and must be given it; undefined if it has none of this name. */
export function optionNeed(schema: Schema | undefined, key: string): 'required' | 'optional' | undefined {
  const bare = schema === undefined ? undefined : inner(schema);
  if (!(bare instanceof z.ZodObject) || !(key in bare.shape)) return undefined;
  const option = (bare.shape as Readonly<Record<string, z.ZodType>>)[key];
  return option.safeParse(undefined).success ? 'optional' : 'required';
}

/** The schema at `path`; of a union, the first member that has such a place. */
function schemaAt(schema: Schema, path: readonly PropertyKey[]): Schema | undefined {
  const bare = inner(schema);
  if (path.length === 0) return schema;
  if (bare instanceof z.ZodUnion) {
    const members: readonly Schema[] = bare.options;
    return members.map((member) => schemaAt(member, path)).find((found) => found !== undefined);
  }
  if (bare instanceof z.ZodObject) {
    const next = (bare.shape as Readonly<Record<string, Schema | undefined>>)[String(path[0])];
    return next === undefined ? undefined : schemaAt(next, path.slice(1));
  }
  return bare instanceof z.ZodArray ? schemaAt(bare.element, path.slice(1)) : undefined;
}

interface Bound {
  readonly check: string;
  readonly value?: unknown;
  readonly inclusive?: boolean;
}

/** What a number schema takes: `a positive integer`, `a number of at least 0 and less than 1`. */
function describeNumber(schema: z.ZodNumber): string {
  const isInteger = schema.format === 'safeint';
  const bounds = (schema.def.checks ?? []).map((check) => check._zod.def as Bound);
  const words = bounds.flatMap(({ check, value, inclusive }) => {
    if (check === 'greater_than') return [`${inclusive === true ? 'of at least' : 'greater than'} ${String(value)}`];
    if (check === 'less_than') return [`${inclusive === true ? 'of at most' : 'less than'} ${String(value)}`];
    return [];
  });
  if (isInteger && ['greater than 0', 'of at least 1'].includes(words.join())) return 'a positive integer';
  if (words.length === 0) return isInteger ? 'an integer' : 'a finite number';
  return `${isInteger ? 'an integer' : 'a number'} ${words.join(' and ')}`;
}

/** What a schema takes, in words; undefined where only its own message can say. */
function describe(schema: Schema): string | undefined {
  const bare = inner(schema);
  if (bare instanceof z.ZodNumber) return describeNumber(bare);
  if (bare instanceof z.ZodString) return 'a non-empty string';
  if (bare instanceof z.ZodBoolean) return 'true or false';
  if (bare instanceof z.ZodEnum) return `one of ${bare.options.map(String).join(', ')}`;
  if (bare instanceof z.ZodLiteral) return [...bare.values].map(display).join(' or ');
  if (bare instanceof z.ZodArray) return 'a list';
  if (bare instanceof z.ZodObject) return 'name' in bare.shape ? 'a name, or {name, …options}' : 'an object';
  if (bare instanceof z.ZodUnion) {
    const members: readonly Schema[] = bare.options;
    const words = members.map(describe);
    return words.includes(undefined) ? undefined : [...new Set(words)].join(' or ');
  }
  return undefined;
}

/** The deepest issue of the union member that came closest to fitting, so that nested keys are named. */
function mostSpecific(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const deeper = issue.errors
    .map((errors) => errors[0] as Issue | undefined)
    .filter((candidate): candidate is Issue => candidate !== undefined)
    .filter((candidate) => candidate.path.length > 0 || candidate.code === 'unrecognized_keys');
  if (deeper.length !== 1) return issue;
  const found = mostSpecific(deeper[0]);
  return { ...found, path: [...issue.path, ...found.path] };
}

/** The first issue of a failed parse as an error of ours; unknown keys come first, as they explain missing ones. */
export function configurationError(
  issues: readonly Issue[],
  value: unknown,
  prefix: string,
  schema: Schema,
  where?: string,
): ConfigurationError | UnknownNameError {
  const specific = issues.map(mostSpecific);
  const unknown = specific.find((issue) => issue.code === 'unrecognized_keys');
  if (unknown?.code === 'unrecognized_keys') {
    const known = knownKeys(schema, unknown.path);
    const key = unknown.keys[0];
    const full = (name: string): string => join(prefix, [...unknown.path, name]);
    return new UnknownNameError(
      where === undefined ? 'key' : `key of ${where}:`,
      full(key),
      nearNames(key, known).map(full),
      known.map(full),
    );
  }
  const issue = specific[0];
  const got = valueAt(value, issue.path);
  const place = schemaAt(schema, issue.path);
  // A message of the schema's own says more than its type does.
  const expected = (issue.code === 'custom' ? undefined : place && describe(place)) ?? issue.message;
  return new ConfigurationError(join(prefix, issue.path), expected, display(got));
}

/** Parses, or throws what is wrong. `prefix` is the key that the value stands under. */
export function checkWith<T>(schema: z.ZodType<T>, value: unknown, prefix: string, where?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw configurationError(parsed.error.issues, value, prefix, schema, where);
}

/** What a configuration of its own makes, which stands under a key of another: its errors name the whole key. */
export function underKey<T>(key: string, make: () => T): T {
  const whole = (name: string): string => `${key}.${name}`;
  try {
    return make();
  } catch (error) {
    if (error instanceof ConfigurationError) {
      throw new ConfigurationError(whole(error.key), error.expected, error.got, error.hint);
    }
    if (error instanceof UnknownNameError) {
      const { kind, unknown, near, known, path } = error;
      throw kind.startsWith('key')
        ? new UnknownNameError(kind, whole(unknown), near.map(whole), known.map(whole), path)
        : new UnknownNameError(kind, unknown, near, known, [key, ...path]);
    }
    throw error;
  }
}

const noOptions = z.strictObject({});

/**
 * Options as a registered thing's factory wants them.
 * @param key where the options stand, e.g. `estimator`
 * @param where what takes them, e.g. `estimator "nres"`
 */
export function parseOptions<T>(
  registration: Registration<T>,
  options: ConfigObject,
  key: string,
  where: string,
): unknown {
  return checkWith(registration.options ?? noOptions, options, key, where);
}

/**
 * Checks a `{name, …options}` against what is registered, and fills in its defaults.
 * @throws UnknownNameError, ConfigurationError
 */
export function checkNamed(kind: RegisteredKind, value: NamedConfig, key: string, resolver: Resolver): NamedConfig {
  const { name, ...options } = value;
  const registration = resolver.registration(kind, name);
  parseOptions(registration, options, key, `${kind} "${name}"`);
  return { name, ...fillDefaults(registration.options, options) };
}

/**
 * The options as they were written, with the schema's defaults beside them: what config.json records. Stays on the
 * input side of transforms, so that reading it again gives the same.
 */
export function fillDefaults(schema: Schema | undefined, options: ConfigObject): ConfigObject {
  if (schema === undefined) return options;
  const bare = inner(schema);
  if (!(bare instanceof z.ZodObject)) return options;
  const filled: Record<string, ConfigValue> = {};
  const shape: Readonly<Record<string, Schema>> = bare.shape;
  for (const [key, child] of Object.entries(shape)) {
    const value = options[key] as ConfigValue | undefined;
    if (value === undefined) {
      const fallback = defaultOf(child);
      const data = fallback === undefined ? undefined : asConfig(fallback);
      if (data !== undefined) filled[key] = isPlain(data) ? fillDefaults(child, data) : data;
    } else {
      filled[key] = isPlain(value) ? fillDefaults(child, value) : value;
    }
  }
  return { ...options, ...filled };
}

const isPlain = (value: ConfigValue): value is ConfigObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function defaultOf(schema: Schema): unknown {
  const def = (schema as z.ZodType).def as unknown as { type: string; defaultValue?: unknown; innerType?: Schema };
  if (def.type === 'default' || def.type === 'prefault') return def.defaultValue;
  if (def.type === 'optional' || def.type === 'readonly' || def.type === 'nonoptional')
    return defaultOf(def.innerType!);
  return undefined;
}
