/** Plain-data half of the configuration: merging, bare names, `--set key=value` and its aliases. */
import { parse } from 'yaml';
import { ConfigurationError, UnknownNameError, type ConfigObject, type ConfigValue } from '../contracts';
import { nearNames } from './resolver';

/** Keys whose value is `{name, …options}`; a bare string there is the name. */
export const NAMED_KEYS = ['task', 'optimizer', 'problem', 'data', 'estimator', 'outerOptimizer'] as const;

/** Flat words that stand for nested keys (conventions.md). */
const ALIASES: Readonly<Record<string, string>> = {
  pairs: 'estimator.pairs',
  workers: 'estimator.workers',
  sigma: 'estimator.sigma',
  window: 'estimator.window',
};

/** The dotted key that a flat word stands for; others as they are. */
export const fullKey = (key: string): string => (Object.hasOwn(ALIASES, key) ? ALIASES[key] : key);

/** One `--set key=value`, its value parsed. */
export interface Override {
  /** Dotted; aliases allowed. */
  readonly key: string;
  readonly value: ConfigValue;
}

export function isConfigObject(value: ConfigValue | undefined): value is ConfigObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * `pairs=8` → {key, value}. The value is YAML: `8`, `true`, `sine`, `[32, 32]`, `meta.log(0.003)`.
 * @throws ConfigurationError
 */
export function parseOverride(text: string): Override {
  const equals = text.indexOf('=');
  const key = text.slice(0, Math.max(equals, 0)).trim();
  if (!/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(key)) {
    throw new ConfigurationError('--set', 'key=value, such as pairs=8 or estimator.sigma=0.1', `"${text}"`);
  }
  const source = text.slice(equals + 1);
  let value: ConfigValue | undefined;
  try {
    value = parse(source) as ConfigValue | undefined;
  } catch {
    throw new ConfigurationError(key, 'a YAML value', `"${source}"`);
  }
  if (source.trim() === '') throw new ConfigurationError(key, 'a value', 'nothing');
  return { key, value: value ?? null };
}

/** A bare list of tasks is that of their members; bare names become `{name}`. */
function normaliseTasks(value: ConfigValue): ConfigValue {
  if (Array.isArray(value)) return normaliseTasks({ members: value });
  if (!isConfigObject(value)) return value;
  const { members, family } = value as Partial<ConfigObject>;
  return {
    ...value,
    ...(typeof family === 'string' ? { family: { name: family } } : {}),
    ...(Array.isArray(members)
      ? { members: members.map((one: ConfigValue) => (isConfigObject(one) ? normaliseNames(one) : one)) }
      : {}),
  };
}

/** Bare strings of the named keys become `{name}`. */
export function normaliseNames(config: ConfigObject): ConfigObject {
  const result: Record<string, ConfigValue> = { ...config };
  for (const key of NAMED_KEYS) {
    const value = result[key];
    if (typeof value === 'string') result[key] = { name: value };
  }
  if ('tasks' in result) result.tasks = normaliseTasks(result.tasks);
  // YAML writes it .inf, and JSON cannot write it at all.
  if (result.horizon === Infinity) result.horizon = 'infinite';
  return result;
}

/**
 * `over` on top of `base`: objects key by key, everything else replaced. An object with another `name` replaces the
 * whole object, as the old options belong to the old name. `null` removes a key.
 */
export function mergeConfig(base: ConfigObject, over: ConfigObject): ConfigObject {
  const kept = Object.entries(base).filter(([key]) => over[key] !== null);
  const result: Record<string, ConfigValue> = Object.fromEntries(kept);
  for (const [key, value] of Object.entries(over)) {
    const old = base[key] as ConfigValue | undefined;
    if (value === null) continue;
    if (isConfigObject(old) && isConfigObject(value)) {
      const renamed = 'name' in value && value.name !== old.name;
      result[key] = renamed ? value : mergeConfig(old, value);
    } else result[key] = value;
  }
  return result;
}

/**
 * The configuration with one override applied. A string for an object that has a name (`task=sine`) is its new name.
 * @throws UnknownNameError for an unknown first key, ConfigurationError for a path through something that is no object
 */
export function applyOverride(config: ConfigObject, override: Override, topKeys: readonly string[]): ConfigObject {
  const path = fullKey(override.key).split('.');
  if (!topKeys.includes(path[0])) {
    const known = [...topKeys, ...Object.keys(ALIASES)].sort();
    throw new UnknownNameError('key', override.key, nearNames(path[0], known), known);
  }
  const nest = (at: number): ConfigValue => (at === path.length ? override.value : { [path[at]]: nest(at + 1) });
  const isNamed = path.length === 1 && (NAMED_KEYS as readonly string[]).includes(path[0]);
  const change = normaliseNames({
    [path[0]]: isNamed && typeof override.value === 'string' ? { name: override.value } : nest(1),
  });
  let node: ConfigValue | undefined = config;
  for (let depth = 0; depth < path.length - 1; depth++) {
    if (!isConfigObject(node)) break;
    node = path[depth] in node ? node[path[depth]] : undefined;
    if (node === undefined) break;
    if (!isConfigObject(node)) {
      // A nested bare name (`optimizer.learningRate: inverse-time`) takes options like any other.
      if (typeof node === 'string' && depth > 0) {
        return mergeConfig(namedAt(config, path.slice(0, depth + 1), node), change);
      }
      const key = path.slice(0, depth + 1).join('.');
      throw new ConfigurationError(path.join('.'), `"${key}" to be an object`, JSON.stringify(node));
    }
  }
  return mergeConfig(config, change);
}

/** The bare name at `path` as an object. */
function namedAt(config: ConfigObject, path: readonly string[], name: string): ConfigObject {
  const nest = (at: number): ConfigValue => (at === path.length ? { name } : { [path[at]]: nest(at + 1) });
  return mergeConfig(config, nest(0) as ConfigObject);
}
