/** Zod's issues in the project's words: key, expected, got; unknown keys with the near ones. */
import { z } from 'zod';
import {
  ConfigurationError,
  MetaParameter,
  UnknownNameError,
  type ConfigObject,
  type ConfigValue,
  type Registration,
} from '../contracts';
import { nearNames } from './resolver';

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

const TYPES: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'an object',
  record: 'an object',
};

function expectedOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return TYPES[issue.expected] ?? issue.expected;
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
      const least = issue.code === 'too_small';
      if (issue.origin === 'string' || issue.origin === 'array' || issue.origin === 'set') {
        const unit = issue.origin === 'string' ? 'characters' : 'entries';
        if (least && Number(bound) === 1) return issue.origin === 'string' ? 'a non-empty string' : 'a non-empty list';
        return `${least ? 'at least' : 'at most'} ${String(bound)} ${unit}`;
      }
      const words = least
        ? [issue.inclusive === true ? 'at least' : 'more than']
        : [issue.inclusive === true ? 'at most' : 'less than'];
      return `a number of ${words[0]} ${String(bound)}`
        .replace('a number of more than', 'a number greater than')
        .replace('a number of less than', 'a number less than');
    }
    case 'invalid_value':
      return issue.values.length === 1
        ? display(issue.values[0])
        : `one of ${issue.values.map((value) => String(value)).join(', ')}`;
    case 'not_multiple_of':
      return `a multiple of ${String(issue.divisor)}`;
    case 'invalid_union': {
      const words = issue.errors.flatMap((errors) => errors.slice(0, 1).map(expectedOf));
      return words.length > 0 ? [...new Set(words)].join(' or ') : issue.message;
    }
    default:
      return issue.message;
  }
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
  // Zod says "number" of NaN and infinities: what is wrong is that they are not finite.
  const expected =
    issue.code === 'invalid_type' && typeof got === 'number' && issue.expected === 'number'
      ? 'a finite number'
      : expectedOf(issue);
  return new ConfigurationError(join(prefix, issue.path), expected, display(got));
}

/** Parses, or throws what is wrong. `prefix` is the key that the value stands under. */
export function checkWith<T>(schema: z.ZodType<T>, value: unknown, prefix: string, where?: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw configurationError(parsed.error.issues, value, prefix, schema, where);
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

/** A value as data: meta-parameters as the strings they are read from. Undefined if it has no such form. */
function asData(value: unknown): ConfigValue | undefined {
  if (value instanceof MetaParameter) return value.toString();
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (Array.isArray(value)) {
    const entries = value.map(asData);
    return entries.includes(undefined) ? undefined : (entries as ConfigValue[]);
  }
  if (typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  const result: Record<string, ConfigValue> = {};
  for (const [key, child] of Object.entries(value)) {
    const data = asData(child);
    if (data === undefined) return undefined;
    result[key] = data;
  }
  return result;
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
      const data = fallback === undefined ? undefined : asData(fallback);
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
