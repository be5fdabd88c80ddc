/** Sweeps: presets × estimators × settings × seeds, every one a configuration that is checked before any of them runs. */
import { z } from 'zod';
import { ConfigurationError, UserError, type ConfigObject, type ConfigValue, type NamedConfig } from '../contracts';
import { presetConfig, resolveConfig, type ResolvedConfig } from './config';
import { checkWith, optionKeys } from './config-check';
import { fullKey, isConfigObject, mergeConfig, type Override } from './config-merge';
import { canonical } from './prepare';
import type { Resolver } from './resolver';

const value = z.unknown() as z.ZodType<ConfigValue>;
const named = z.looseObject({ name: z.string().min(1) });
const estimator = z.union([z.string().min(1), named], { error: 'a name, or {name, …options}' });
const seed = z.int().min(0);
const seeds = z.union([z.int().positive(), z.array(seed)], { error: 'a positive integer, or a list of seeds' });

/** Preset, estimator and seed have lists of their own. */
const settings = z.record(z.string(), value);
/** Runs that agree with all that an entry names. */
const some = z.strictObject({
  preset: z.string().optional(),
  estimator: z.string().optional(),
  seed: seed.optional(),
  settings: settings.optional(),
});
type Some = z.output<typeof some>;

export const sweepSchema = z.strictObject({
  /** What it shows, in one line; `outerloop list` prints it for those that ship with the package. */
  description: z.string().optional(),
  /** Files, relative to the sweep's. */
  plugins: z.array(z.string()).default([]),
  presets: z.array(z.string().min(1)).optional(),
  /** By default each preset's own. */
  estimators: z.array(estimator).optional(),
  /** So many from 0 on, or a list. */
  seeds: seeds.default([0]),
  /** Lists by dotted key: one run for each combination. */
  settings: z.record(z.string(), z.array(value, { error: 'a list of values' })).default({}),
  /** The same for all runs, by dotted key. */
  set: settings.default({}),
  /** Combinations to leave out. */
  exclude: z.array(some).default([]),
  /** Runs beside the product; one without a seed of its own has each of the sweep's. */
  runs: z
    .array(
      z.strictObject({
        preset: z.string().min(1),
        estimator: estimator.optional(),
        seed: seed.optional(),
        settings: settings.default({}),
        /** In the short form, on top of its `set`. */
        quick: settings.default({}),
      }),
    )
    .default([]),
  /** Runs, of the product or beside it, that may end by numbers that are not finite: a result, no failure of the sweep. */
  mayDiverge: z.array(some).default([]),
  /** The short form, `--quick`: other seeds, and settings on top of those that the runs have. */
  quick: z.strictObject({ seeds: seeds.optional(), set: settings.default({}) }).optional(),
});
type Sweep = z.output<typeof sweepSchema>;

/** One run of a sweep. */
export interface SweepMember {
  readonly preset: string;
  /** As the sweep's file names it; absent: the preset's own. */
  readonly estimator?: NamedConfig;
  readonly seed: number;
  /** What sets it apart from others of its preset and estimator, by dotted key. */
  readonly settings: ConfigObject;
  /** Whether an end by numbers that are not finite is a result. */
  readonly mayDiverge: boolean;
  readonly config: ResolvedConfig;
}

/** `short`: settings of its own in the short form. */
type Choice = Omit<SweepMember, 'config' | 'mayDiverge'> & { readonly short?: ConfigObject };

const asNamed = (entry: z.output<typeof estimator> | undefined): NamedConfig | undefined =>
  entry === undefined ? undefined : typeof entry === 'string' ? { name: entry } : (entry as NamedConfig);

/** Every combination of one value a key, the last key moving fastest. */
function combinations(lists: Readonly<Record<string, readonly ConfigValue[]>>): ConfigObject[] {
  return Object.entries(lists).reduce<ConfigObject[]>(
    (rows, [key, values]) => rows.flatMap((row) => values.map((one) => ({ ...row, [key]: one }))),
    [{}],
  );
}

const seedList = (of: z.output<typeof seeds>): number[] =>
  typeof of === 'number' ? Array.from({ length: of }, (_, i) => i) : of;

function product(sweep: Sweep): Choice[] {
  const { presets = [], estimators, settings: lists } = sweep;
  const all = seedList(sweep.seeds);
  const entries = estimators === undefined ? [undefined] : estimators.map(asNamed);
  return presets.flatMap((preset) =>
    entries.flatMap((entry) =>
      combinations(lists).flatMap((chosen) =>
        all.map((number) => ({
          preset,
          ...(entry === undefined ? {} : { estimator: entry }),
          seed: number,
          settings: chosen,
        })),
      ),
    ),
  );
}

/** The runs beside the product. */
function beside(sweep: Sweep): Choice[] {
  return sweep.runs.flatMap(({ estimator: entry, seed: own, quick: short, ...rest }): Choice[] => {
    const name = asNamed(entry);
    const all = own === undefined ? seedList(sweep.seeds) : [own];
    return all.map((number) => ({ ...rest, short, seed: number, ...(name === undefined ? {} : { estimator: name }) }));
  });
}

/** @throws UserError: which list is empty */
function checkSomething(sweep: Sweep, choices: readonly unknown[], left: readonly unknown[]): void {
  if (left.length > 0) return;
  if (choices.length > 0) throw new UserError('the sweep has no runs: "exclude" leaves none of them.');
  const lists: [string, readonly unknown[] | undefined][] = [
    ['presets', sweep.presets ?? []],
    ['estimators', sweep.estimators],
    ['seeds', typeof sweep.seeds === 'number' ? undefined : sweep.seeds],
    ...Object.entries(sweep.settings).map(([key, values]): [string, readonly unknown[]] => [`settings.${key}`, values]),
  ];
  const empty = lists.filter(([, list]) => list?.length === 0).map(([key]) => `"${key}"`);
  const where = empty.length === 1 ? `${empty[0]} is empty` : `${empty.join(' and ')} are empty`;
  throw new UserError(`the sweep has no runs: ${where}. Give each list at least one value.`);
}

/** @throws ConfigurationError for keys that have lists of their own */
function checkKeys(sweep: Sweep): void {
  const own: Readonly<Record<string, string>> = { preset: 'presets', estimator: 'estimators', seed: 'seeds' };
  const places: [string, object][] = [
    ['settings', sweep.settings],
    ['set', sweep.set],
    ['quick.set', sweep.quick?.set ?? {}],
    ...sweep.runs.flatMap(({ settings: one, quick }, i): [string, object][] => [
      [`runs.${String(i)}.settings`, one],
      [`runs.${String(i)}.quick`, quick],
    ]),
  ];
  for (const [place, keys] of places) {
    const taken = Object.keys(keys).find((key) => Object.hasOwn(own, key));
    if (taken === undefined) continue;
    const instead = place.startsWith('runs') ? `"${taken}" beside it` : `the list "${own[taken]}"`;
    throw new ConfigurationError(`${place}.${taken}`, `${instead} instead`, 'a setting');
  }
}

/** Whether a choice agrees with all that an entry names. */
function agrees(choice: Choice, entry: Some, resolver: Resolver): boolean {
  return (
    (entry.preset === undefined || entry.preset === choice.preset) &&
    (entry.estimator === undefined || entry.estimator === estimatorName(choice, resolver)) &&
    (entry.seed === undefined || entry.seed === choice.seed) &&
    Object.entries(entry.settings ?? {}).every(
      ([key, one]) => key in choice.settings && canonical(choice.settings[key]) === canonical(one),
    )
  );
}

/** @throws ConfigurationError for an entry that names none of the choices */
function checkEntries(key: string, entries: readonly Some[], choices: readonly Choice[], resolver: Resolver): void {
  entries.forEach((entry, i) => {
    if (choices.some((choice) => agrees(choice, entry, resolver))) return;
    const got = canonical(entry);
    throw new ConfigurationError(`${key}.${String(i)}`, 'what some run of the sweep agrees with', got);
  });
}

/** Of a choice that names none, the preset's own. */
function estimatorName({ estimator: entry, preset }: Choice, resolver: Resolver): string {
  if (entry !== undefined) return entry.name;
  const own = presetConfig(preset, resolver).estimator as ConfigValue | undefined;
  return isConfigObject(own) && typeof own.name === 'string' ? own.name : '';
}

/**
 * The estimator of a choice. One that is not the preset's own takes over those options of the preset's that it has too
 * (pairs, sigma, window …), so that one list of names serves presets of different sizes.
 */
function estimatorConfig(choice: Choice, resolver: Resolver): ConfigObject | undefined {
  const { estimator: entry, preset } = choice;
  if (entry === undefined) return undefined;
  const base = presetConfig(preset, resolver).estimator as ConfigValue | undefined;
  if (!isConfigObject(base)) return entry;
  if (base.name === entry.name) return mergeConfig(base, entry);
  const keys = optionKeys(resolver.registration('estimator', entry.name).options);
  const shared = Object.entries(base).filter(([key]) => keys.includes(key));
  return { ...Object.fromEntries(shared), ...entry };
}

/**
 * The choice with what wins over it in its place, so that its folder and its title say what is run. Keys are those of
 * the configuration, aliases resolved.
 */
function overruled(choice: Choice, winning: ReadonlyMap<string, ConfigValue>): Choice {
  const over = (of: ConfigObject, prefix = ''): ConfigObject =>
    Object.fromEntries(Object.entries(of).map(([key, one]) => [key, winning.get(fullKey(prefix + key)) ?? one]));
  const { estimator: entry } = choice;
  return {
    ...choice,
    ...(entry === undefined ? {} : { estimator: { ...over(entry, 'estimator.'), name: entry.name } }),
    settings: over(choice.settings),
  };
}

/** How a run of the sweep is called in messages. */
function titleOf({ preset, estimator: entry, settings: chosen, seed: number }: Choice): string {
  const own = Object.entries(chosen).map(([key, one]) => `${key}=${typeof one === 'string' ? one : canonical(one)}`);
  return [preset, ...(entry === undefined ? [] : [entry.name]), ...own, `seed ${String(number)}`].join(', ');
}

/** A mistake with the run that has it. */
export function inMember(error: unknown, choice: Choice): unknown {
  if (!(error instanceof UserError)) return error;
  return new UserError(`run (${titleOf(choice)}): ${error.message}`, { cause: error });
}

const asOverrides = (of: ConfigObject): Override[] => Object.entries(of).map(([key, one]) => ({ key, value: one }));

/** @param common below the choice's own settings; `winning` is on top of them */
function resolved(
  choice: Omit<SweepMember, 'config'>,
  common: readonly Override[],
  winning: readonly Override[],
  resolver: Resolver,
): SweepMember {
  const overrides = [...common, ...asOverrides(choice.settings), ...winning, { key: 'seed', value: choice.seed }];
  try {
    const chosen = estimatorConfig(choice, resolver);
    const input = { preset: choice.preset, ...(chosen === undefined ? {} : { estimator: chosen }) };
    return { ...choice, config: resolveConfig(input, overrides, resolver) };
  } catch (error) {
    throw inMember(error, choice);
  }
}

/** @throws UserError naming two members that are one run */
function checkDistinct(members: readonly SweepMember[]): void {
  const seen = new Map<string, SweepMember>();
  for (const member of members) {
    const text = canonical(member.config as unknown as ConfigObject);
    const twin = seen.get(text);
    if (twin !== undefined) {
      throw new UserError(
        `the sweep has one run twice: (${titleOf(twin)}) and (${titleOf(member)}). Leave one of them out.`,
      );
    }
    seen.set(text, member);
  }
}

/** @throws UserError if there is no short form */
function quickForm(sweep: Sweep): Sweep {
  if (sweep.quick === undefined) {
    throw new UserError('the sweep has no short form: give it a section "quick" ({seeds, set}), or leave out --quick.');
  }
  return { ...sweep, seeds: sweep.quick.seeds ?? sweep.seeds };
}

/**
 * All runs of a sweep in order: presets, then estimators, then settings, then seeds, the last moving fastest.
 * @param overrides on top of everything that the sweep sets
 * @param quick in its short form
 * @throws ConfigurationError, UnknownNameError, UserError for the first run that cannot be; nothing is run or written
 */
export function expandSweep(
  input: ConfigObject,
  overrides: readonly Override[],
  resolver: Resolver,
  quick = false,
): SweepMember[] {
  const whole = checkWith(sweepSchema, input, '', 'a sweep');
  checkKeys(whole);
  const sweep = quick ? quickForm(whole) : whole;
  const [all, single] = [product(sweep), beside(sweep)];
  // A seed of the whole form alone may stand in an entry for all that, and one of the short form.
  checkEntries('exclude', sweep.exclude, [...product(whole), ...all], resolver);
  checkEntries(
    'mayDiverge',
    sweep.mayDiverge,
    [whole, sweep].flatMap((form) => [...product(form), ...beside(form)]),
    resolver,
  );
  const named = (choice: Choice, entries: readonly Some[]): boolean =>
    entries.some((entry) => agrees(choice, entry, resolver));
  const left = all.filter((choice) => !named(choice, sweep.exclude));
  checkSomething(sweep, all, [...left, ...single]);
  const short = quick ? asOverrides(sweep.quick?.set ?? {}) : [];
  const members = [...left, ...single].map(({ short: own = {}, ...choice }) => {
    const onTop = quick ? own : {};
    const winning = [...short, ...asOverrides(onTop), ...overrides];
    const byKey = new Map(winning.map(({ key, value: one }) => [fullKey(key), one]));
    const mayDiverge = named(choice, sweep.mayDiverge);
    const shown = overruled({ ...choice, settings: { ...choice.settings, ...onTop } }, byKey);
    return resolved({ ...shown, mayDiverge }, asOverrides(sweep.set), winning, resolver);
  });
  checkDistinct(members);
  return members;
}
