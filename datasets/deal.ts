/** Rows of a source that has no splits of its own, dealt to train, validation and test. */
import { z } from 'zod';
import { ConfigurationError, SPLITS, type Split } from '../src/contracts';
import { permutation, seedKey } from '../src/random';

const share = z.number().positive();

export const dealOptions = z.strictObject({
  /** Parts of the rows, where the source does not say which row is of which split; they sum to 1. */
  shares: z
    .strictObject({ train: share, validation: share, test: share })
    .default({ train: 0.8, validation: 0.1, test: 0.1 }),
  /** Decides which rows go where: the same seed and rows, the same splits. */
  seed: z.int().min(0).default(0),
});
export type DealOptions = z.input<typeof dealOptions>;

export const orderOptions = dealOptions.extend({
  /** `shuffled`: rows are permuted by the seed, then cut. `source`: cut in their own order, as time series are. */
  order: z.enum(['shuffled', 'source']).default('shuffled'),
});

/** One path (or set) for all splits, or one for each; what has none of its own is dealt out of that of `train`. */
export interface BySplit<T> {
  readonly train: T;
  readonly validation?: T;
  readonly test?: T;
}

export const pathOrPaths = z.union([
  z.string().min(1),
  z.strictObject({
    train: z.string().min(1),
    validation: z.string().min(1).optional(),
    test: z.string().min(1).optional(),
  }),
]);

/** @throws ConfigurationError for the first option that is wrong */
export function checkedOptions<T>(schema: z.ZodType<T>, options: unknown, place: string): T {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new ConfigurationError([place, ...path.map(String)].join('.'), 'what its documentation says', message);
}

/** The splits that come out of the source of `train`. */
export function dealtSplits(given: { readonly [split in Split]?: unknown }): Split[] {
  return SPLITS.filter((split) => split === 'train' || given[split] === undefined);
}

/**
 * Deals rows 0 … rows − 1 to the splits: permuted by the seed (or not), then cut by the shares of these splits.
 * @param what Named in errors.
 * @throws ConfigurationError for shares that do not sum to 1, or leave a split empty
 */
export function deal(
  what: string,
  rows: number,
  splits: readonly Split[],
  options: z.output<typeof dealOptions> & { readonly order?: 'shuffled' | 'source' },
): { readonly [split in Split]?: Int32Array } {
  const { shares, seed, order = 'shuffled' } = options;
  const total = SPLITS.reduce((sum, split) => sum + shares[split], 0);
  if (Math.abs(total - 1) > 1e-9) {
    const got = `a sum of ${Number(total.toPrecision(6))}`;
    throw new ConfigurationError('data.shares', 'positive shares that sum to 1', got);
  }
  const rowsInOrder =
    order === 'shuffled' ? permutation(seedKey(seed), rows) : Int32Array.from({ length: rows }, (_, i) => i);
  const dealt = splits.reduce((sum, split) => sum + shares[split], 0);
  const result: { [split in Split]?: Int32Array } = {};
  let before = 0;
  for (const split of splits) {
    const from = Math.round((rows * before) / dealt);
    before += shares[split];
    const to = split === splits.at(-1) ? rows : Math.round((rows * before) / dealt);
    if (to === from) {
      const given = splits.map((name) => `${name} ${shares[name]}`).join(', ');
      const hint = `The split "${split}" would have none: add rows, or change data.shares (${given}).`;
      throw new ConfigurationError(what, `rows for each of ${splits.join(', ')}`, String(rows), hint);
    }
    result[split] = rowsInOrder.subarray(from, to);
  }
  return result;
}
