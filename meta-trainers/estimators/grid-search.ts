import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { ConfigurationError } from '../../src/contracts/errors';
import { parseOptions } from '../options';
import { checkBox, perCoordinate, Search, searchOptions } from './search';

const count = z.number().int().min(1);

export const gridSearchOptions = z
  .strictObject({
    ...searchOptions,
    /** Points of each axis, both ends included; 1 is the middle. */
    points: z.union([count, z.array(count).min(1)], { error: 'a positive integer, or a list of them' }),
  })
  .check(checkBox);
export type GridSearchOptions = z.input<typeof gridSearchOptions>;

/**
 * Grid search: all points of a grid over a box of θ's space in row-major order (the last coordinate moves fastest), the
 * best of which stays. ⌈points/batch⌉ outer iterations go through it; further ones run nothing. θ₀ counts only if it is a
 * point. A base line; the outer optimizer is not asked.
 */
export function gridSearch(options: GridSearchOptions): GradientEstimator {
  return createGridSearch(parseOptions(gridSearchOptions, options, 'estimator'));
}

export const createGridSearch = (options: z.output<typeof gridSearchOptions>): GradientEstimator =>
  new Search(
    {
      name: 'grid-search',
      total: (size) => {
        const total = perCoordinate('points', options.points, size).reduce((product, n) => product * n, 1);
        if (Number.isSafeInteger(total)) return total;
        throw new ConfigurationError(
          'estimator.points',
          'a grid that can be counted',
          `${String(size)} axes of ${String(options.points)} points`,
          'Use random-search for a θ of many numbers.',
        );
      },
      candidate: (n, { lower, upper }, start) => {
        const points = perCoordinate('points', options.points, start.length);
        const out = new Float64Array(start.length);
        let rest = n;
        for (let axis = out.length - 1; axis >= 0; axis--) {
          const count = points[axis];
          const place = rest % count;
          rest = (rest - place) / count;
          const share = count === 1 ? 0.5 : place / (count - 1);
          // Exact at both ends.
          out[axis] = (1 - share) * lower[axis] + share * upper[axis];
        }
        return out;
      },
    },
    options,
  );
