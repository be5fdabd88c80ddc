import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { uniforms } from '../../src/random/draws';
import { foldIn, seedKey, STREAMS } from '../../src/random/keys';
import { parseOptions } from '../options';
import { checkBox, Search, searchOptions } from './search';

export const randomSearchOptions = z.strictObject(searchOptions).check(checkBox);
export type RandomSearchOptions = z.input<typeof randomSearchOptions>;

/**
 * Random search (Bergstra and Bengio 2012): candidates uniform in a box of θ's space, the best of which stays. The first
 * candidate is θ₀ itself, so that the result is never worse than the start, on the starts that it was searched with. A
 * base line; the outer optimizer is not asked.
 */
export function randomSearch(options: RandomSearchOptions): GradientEstimator {
  return createRandomSearch(parseOptions(randomSearchOptions, options, 'estimator'));
}

export const createRandomSearch = (options: z.output<typeof randomSearchOptions>): GradientEstimator =>
  new Search(
    {
      name: 'random-search',
      total: () => Infinity,
      candidate: (n, { lower, upper }, start, seed) => {
        if (n === 0) return start;
        const draws = uniforms(foldIn(foldIn(seedKey(seed), STREAMS.candidates), n), start.length);
        return lower.map((x, i) => x + draws[i] * (upper[i] - x));
      },
    },
    options,
  );
