/** Hyperparameters by name, each with its default and range: what an optimizer's options and its registration share. */
import { z } from 'zod';
import { type FactoryContext, type HyperRange, type LearnedOptimizer, type Registrar } from '../src/contracts';
import {
  checkLayers,
  layerHyperConfig,
  resolveLayers,
  type LayerHyperConfig,
  type LayerHyperParameter,
} from './by-layer';

/** A default, and the range of numbers and of the initial values of wrapped ones, in natural units. */
export interface HyperSpec extends HyperRange {
  readonly default: number;
}
export type HyperSpecs<K extends string> = Readonly<Record<K, HyperSpec>>;

/** Ranges that recur. */
export const RANGES = {
  atLeastZero: { min: 0 },
  positive: { above: 0 },
  /** Of decay rates of averages. */
  decay: { min: 0, below: 1 },
} as const satisfies Readonly<Record<string, HyperRange>>;

export function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}

/** The options with defaults for those that are left out. @throws ConfigurationError for a number out of its range. */
export function hyperWithDefaults<K extends string>(
  specs: HyperSpecs<K>,
  options: Readonly<Partial<Record<K, LayerHyperParameter>>>,
): Record<K, LayerHyperParameter> {
  const hyper = {} as Record<K, LayerHyperParameter>;
  for (const name of keysOf(specs)) {
    const value: LayerHyperParameter = options[name] ?? specs[name].default;
    checkLayers(name, value, specs[name]);
    hyper[name] = value;
  }
  return hyper;
}

/** Schema of hyperparameters: a number, a learned one or a schedule for each or for its layers, by default the spec's. */
export function hyperShape<K extends string>(specs: HyperSpecs<K>): Record<K, z.ZodType<LayerHyperConfig>> {
  const shape = {} as Record<K, z.ZodType<LayerHyperConfig>>;
  for (const name of keysOf(specs)) shape[name] = layerHyperConfig(specs[name]).default(specs[name].default);
  return shape;
}

/** Makes the schedules among configured hyperparameters. */
export async function resolveHyper<K extends string>(
  specs: HyperSpecs<K>,
  options: Readonly<Record<string, unknown>>,
  context: FactoryContext,
): Promise<Record<K, LayerHyperParameter>> {
  const hyper = {} as Record<K, LayerHyperParameter>;
  for (const name of keysOf(specs)) {
    hyper[name] = await resolveLayers(options[name] as LayerHyperConfig, context, name);
  }
  return hyper;
}

/**
 * Registers an optimizer whose options are hyperparameters and, by name and default, flags.
 * @param create Gets all of them.
 */
export function registerHandDesigned<K extends string, F extends string = never>(
  { optimizer }: Registrar,
  name: string,
  registration: {
    readonly description: string;
    readonly hyper: HyperSpecs<K>;
    readonly flags?: Readonly<Record<F, boolean>>;
    readonly create: (options: Record<K, LayerHyperParameter> & Record<F, boolean>) => LearnedOptimizer;
  },
): void {
  const { description, hyper, flags, create } = registration;
  const flagShape: Record<string, z.ZodType<boolean>> = {};
  for (const [flag, value] of Object.entries<boolean>(flags ?? {})) flagShape[flag] = z.boolean().default(value);
  optimizer(name, {
    description,
    options: z.strictObject({ ...hyperShape(hyper), ...flagShape }),
    create: async (options: Readonly<Record<string, unknown>>, context) => {
      const given = Object.fromEntries(Object.keys(flagShape).map((flag) => [flag, options[flag]]));
      return create({ ...(await resolveHyper(hyper, options, context)), ...(given as Record<F, boolean>) });
    },
  });
}
