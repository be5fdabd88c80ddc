/** Shapes of multi-layer perceptrons at random: what `taskFamily` and the registered family `mlp` draw from. */
import { z } from 'zod';
import { ConfigurationError } from '../src/contracts';
import { foldIn, seedKey, uniforms } from '../src/random';
import { ACTIVATION_NAMES, INIT_NAMES, type Activation, type Init } from './dense';
import { checkRange, rangeSchema, type Range } from './ranges';

/** Ranges have both ends in them. */
export interface MlpRanges {
  /** Of every hidden layer, log-uniform over integers; [16, 128] by default. */
  readonly width?: Range;
  /** Hidden layers, uniform over integers; [1, 4] by default. */
  readonly depth?: Range;
  /** One of these; relu, tanh, gelu and silu by default. */
  readonly activation?: readonly Activation[];
  /** One of these; all by default. */
  readonly init?: readonly Init[];
  /** Factor of the initialisation's standard deviation, log-uniform; [0.5, 2] by default. */
  readonly initScale?: Range;
  /** Log-uniform over integers; [16, 128] by default. */
  readonly batchSize?: Range;
}

const DEFAULTS = {
  width: [16, 128] as Range,
  depth: [1, 4] as Range,
  activation: ['relu', 'tanh', 'gelu', 'silu'] as readonly Activation[],
  init: INIT_NAMES as readonly Init[],
  initScale: [0.5, 2] as Range,
  batchSize: [16, 128] as Range,
};

const SIZES = { integers: true, from: 1 };
const DEPTHS = { integers: true, from: 0 };

/** Of the registered family; data sets aside. */
export const rangeOptions = {
  width: rangeSchema(SIZES).default(DEFAULTS.width),
  depth: rangeSchema(DEPTHS).default(DEFAULTS.depth),
  activation: z
    .array(z.enum(ACTIVATION_NAMES))
    .min(1)
    .default([...DEFAULTS.activation]),
  init: z
    .array(z.enum(INIT_NAMES))
    .min(1)
    .default([...DEFAULTS.init]),
  initScale: rangeSchema().default(DEFAULTS.initScale),
  batchSize: rangeSchema(SIZES).default(DEFAULTS.batchSize),
};

/** What `mlp` takes, data set aside. */
export interface MlpShape {
  readonly hidden: readonly number[];
  readonly activation: Activation;
  readonly init: Init;
  readonly initScale: number;
  readonly batchSize: number;
}

function checkNames(key: string, names: readonly string[], known: readonly string[]): void {
  const wrong = names.find((name) => !known.includes(name));
  if (names.length > 0 && wrong === undefined) return;
  throw new ConfigurationError(key, `one or more of ${known.join(', ')}`, wrong === undefined ? 'none' : `"${wrong}"`);
}

/**
 * A sampler of shapes, and of one of `data`: a function of an integer in [0, 2⁵³), which decides everything. Each field has a
 * key of its own, so that another range of one leaves the others as they were.
 * @throws ConfigurationError naming the field, for ranges without a number that can be and lists without a name
 */
export function mlpSampler<D>(
  ranges: MlpRanges,
  data: readonly D[],
): (seed: number) => { readonly shape: MlpShape; readonly data: D } {
  const { width, depth, activation, init, initScale, batchSize } = { ...DEFAULTS, ...ranges };
  checkRange('family.width', width, SIZES);
  checkRange('family.depth', depth, DEPTHS);
  checkNames('family.activation', activation, ACTIVATION_NAMES);
  checkNames('family.init', init, INIT_NAMES);
  checkRange('family.initScale', initScale);
  checkRange('family.batchSize', batchSize, SIZES);
  if (data.length === 0) throw new ConfigurationError('family.data', 'one or more data sets', 'none');
  return (seed) => {
    if (!(Number.isSafeInteger(seed) && seed >= 0)) {
      throw new ConfigurationError('seed', 'an integer of at least 0', String(seed));
    }
    const uniform = (field: number): number => uniforms(foldIn(seedKey(seed), field), 1)[0];
    const one = <T>(list: readonly T[], field: number): T => list[Math.floor(uniform(field) * list.length)];
    const logUniform = ([low, high]: Range, field: number): number => low * (high / low) ** uniform(field);
    /** ⌊x⌋ of a log-uniform x in [low, high + 1). */
    const logInteger = ([low, high]: Range, field: number): number =>
      Math.min(high, Math.max(low, Math.floor(logUniform([low, high + 1], field))));
    const layers = depth[0] + Math.floor(uniform(1) * (depth[1] - depth[0] + 1));
    return {
      shape: {
        hidden: new Array<number>(layers).fill(logInteger(width, 0)),
        activation: one(activation, 2),
        init: one(init, 3),
        initScale: logUniform(initScale, 4),
        batchSize: logInteger(batchSize, 5),
      },
      data: one(data, 6),
    };
  };
}
