import type { z } from 'zod';
import type { ConfigObject, ConfigValue } from '../src/contracts';
import { ConfigurationError } from '../src/contracts/errors';

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (node, key) =>
      typeof node === 'object' && node !== null ? (node as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  // JSON has no word for NaN, the infinities and functions.
  return typeof value === 'number' || typeof value === 'function' ? String(value) : JSON.stringify(value);
}

/**
 * Checks the options of a library call against the schema that configurations are checked with.
 * @param prefix key of the whole, e.g. `estimator`
 * @throws ConfigurationError naming the first key that is wrong
 */
export function parseOptions<S extends z.ZodType>(schema: S, options: unknown, prefix: string): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const key = [prefix, ...issue.path.map(String)].join('.');
  if (issue.code === 'unrecognized_keys') {
    throw new ConfigurationError(
      `${key}.${issue.keys[0]}`,
      'no such key',
      show(valueAt(options, [...issue.path, issue.keys[0]])),
    );
  }
  const expected = issue.message.replace(/^(Invalid (input|option|value)|Too (small|big)): expected /, '');
  throw new ConfigurationError(key, expected.replace(/, received .*$/, ''), show(valueAt(options, issue.path)));
}

/** Resolved options as the `settings` of what they make: those that are set; a schedule given as a function by name. */
export function settingsOf(options: object): ConfigObject {
  const set = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    set.map(([key, value]) => [key, typeof value === 'function' ? 'a function' : (value as ConfigValue)]),
  );
}
