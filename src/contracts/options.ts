/**
 * zod schemas for the options that registered things share: numbers that may be learned, and schedules. The message of
 * an issue is what was expected, as the configuration's errors want it.
 */
import { z } from 'zod';
import { ConfigurationError } from './errors';
import { isSchedule, meta, MetaParameter, type HyperNumber, type HyperParameter, type MetaTransform } from './meta';
import type { ConfigValue, FactoryContext, NamedConfig } from './plugin';

/** Bounds of a hyperparameter in natural units. */
export interface HyperRange {
  /** Inclusive. */
  readonly min?: number;
  /** Exclusive. */
  readonly above?: number;
  /** Inclusive. */
  readonly max?: number;
  /** Exclusive. */
  readonly below?: number;
}

const META_CALL = /^\s*meta\.(log|logit|linear)\(([^()]*)\)\s*$/;
const HYPER_NUMBER = 'a number, or "meta.log(x)", "meta.logit(x)" or "meta.linear(x)"';
/** A wrapped number, well formed or not; no schedule has such a name. */
const META_PREFIX = /^\s*meta\./;

/**
 * `meta.log(0.003)` → MetaParameter.
 * @throws ConfigurationError for anything else, and for a number that the transform does not take.
 */
export function parseMetaParameter(text: string): MetaParameter {
  const match = META_CALL.exec(text);
  if (match === null || match[2].trim() === '') throw new ConfigurationError('value', HYPER_NUMBER, `"${text}"`);
  return meta[match[1] as MetaTransform](Number(match[2]));
}

/** What is wrong with a hyperparameter, or undefined. */
function outOfRange(value: HyperNumber, range: HyperRange): { expected: string; got: string } | undefined {
  const natural = value instanceof MetaParameter ? value.initial : value;
  const bounds: readonly (readonly [number | undefined, (bound: number) => boolean, string])[] = [
    [range.min, (bound) => natural >= bound, 'at least'],
    [range.above, (bound) => natural > bound, 'above'],
    [range.max, (bound) => natural <= bound, 'at most'],
    [range.below, (bound) => natural < bound, 'below'],
  ];
  const stated = bounds.flatMap(([bound, , words]) => (bound === undefined ? [] : [`${words} ${bound}`]));
  const ok = Number.isFinite(natural) && bounds.every(([bound, holds]) => bound === undefined || holds(bound));
  return ok ? undefined : { expected: ['a finite number', ...stated].join(' '), got: String(value) };
}

/** @throws ConfigurationError naming `key` if the number (its initial value, if it is learned) is out of range. */
export function checkHyperNumber(key: string, value: HyperNumber, range: HyperRange): void {
  const wrong = outOfRange(value, range);
  if (wrong !== undefined) throw new ConfigurationError(key, wrong.expected, wrong.got);
}

/** Like `checkHyperNumber`; a schedule checks its own numbers when it is made. */
export function checkHyperParameter(key: string, value: HyperParameter, range: HyperRange): void {
  if (!isSchedule(value)) checkHyperNumber(key, value, range);
}

/** A number, a MetaParameter, or a string such as `meta.log(0.003)`. */
export function hyperNumber(range: HyperRange = {}): z.ZodType<HyperNumber> {
  return z
    .union([z.number(), z.string(), z.instanceof(MetaParameter)], { error: HYPER_NUMBER })
    .transform((input, ctx): HyperNumber => {
      try {
        const value = typeof input === 'string' ? parseMetaParameter(input) : input;
        const wrong = outOfRange(value, range);
        if (wrong === undefined) return value;
        ctx.addIssue({ code: 'custom', message: wrong.expected, input });
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error;
        ctx.addIssue({ code: 'custom', message: error.expected, input });
      }
      return z.NEVER;
    });
}

/** The configuration of a schedule that the container has yet to make. */
export interface ScheduleConfig {
  readonly schedule: ConfigValue;
}
/** A hyperparameter as configured: a number, or a schedule that is made by `resolveHyperParameter`. */
export type HyperConfig = HyperNumber | ScheduleConfig;

/** A schedule: its name, or `{name, …options}`. */
export function scheduleConfig(): z.ZodType<ScheduleConfig> {
  const schedule = z.union([z.string(), z.looseObject({ name: z.string() })], {
    error: 'a schedule: its name, or {name, …}',
  });
  return schedule.transform((config) => ({ schedule: config as ConfigValue }));
}

/** A number, a learned number, or a schedule. */
export function hyperConfig(range: HyperRange = {}): z.ZodType<HyperConfig> {
  const number = hyperNumber(range);
  const schedule = scheduleConfig();
  return z.unknown().transform((input, ctx): HyperConfig => {
    const isConfig =
      typeof input === 'string'
        ? !META_PREFIX.test(input)
        : typeof input === 'object' && input !== null && !(input instanceof MetaParameter);
    const result = (isConfig ? schedule : number).safeParse(input);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      ctx.addIssue({ code: 'custom', message: issue.message, path: issue.path, input });
    }
    return z.NEVER;
  });
}

/**
 * Makes the schedule of a configured hyperparameter; numbers stay as they are.
 * @param key the option's name, for errors
 */
export async function resolveHyperParameter(
  config: HyperConfig,
  context: FactoryContext,
  key?: string,
): Promise<HyperParameter> {
  return typeof config === 'number' || config instanceof MetaParameter
    ? config
    : context.create('schedule', config.schedule, key);
}

/**
 * A value as data: meta-parameters as the strings they are read from, schedules by their `config`. Undefined if it has no such
 * form.
 */
export function asConfig(value: unknown): ConfigValue | undefined {
  if (value instanceof MetaParameter) return value.toString();
  if (isSchedule(value)) return value.config;
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (Array.isArray(value)) {
    const entries = value.map(asConfig);
    return entries.includes(undefined) ? undefined : (entries as ConfigValue[]);
  }
  if (typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  const result: Record<string, ConfigValue> = {};
  for (const [key, child] of Object.entries(value)) {
    const data = asConfig(child);
    if (data === undefined) return undefined;
    result[key] = data;
  }
  return result;
}

/**
 * `thing` with its `config`: the name that it is registered by, and the options that make it again. Without one if an option has
 * no form as data, such as a schedule that has no `config` itself.
 */
export function withConfig<T extends { readonly name: string; readonly config?: NamedConfig }>(
  name: string,
  options: Readonly<Record<string, unknown>>,
  thing: T,
): T {
  // Not enumerable: { ...adam(), optimizer: … } is another optimizer than the one that this makes.
  return Object.defineProperty(thing, 'config', { value: asConfig({ name, ...options }), configurable: true });
}

/** The error of a window that does not divide the horizon, with the divisors next below and above it. */
export function notDividing(key: string, window: number, horizon: number): ConfigurationError {
  const divides = (w: number): boolean => horizon % w === 0;
  let below = Math.min(Math.floor(window), horizon);
  while (below > 1 && !divides(below)) below--;
  let above = Math.max(Math.ceil(window), 1);
  while (above < horizon && !divides(above)) above++;
  const near = [...new Set([below, above])].filter((w) => w >= 1 && w <= horizon);
  const expected = `a divisor of the horizon ${String(horizon)}`;
  return new ConfigurationError(key, expected, String(window), `The nearest: ${near.join(', ')}.`);
}
