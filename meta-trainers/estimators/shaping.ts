/** How losses become the numbers that weigh the noise ("fitness shaping"). */
export const SHAPINGS = ['none', 'standardised', 'centredRanks', 'sign'] as const;
export type Shaping = (typeof SHAPINGS)[number];

/** Ranks of `values` scaled to [−½, ½]; equal values share the mean of their ranks. */
function centredRanks(values: Float64Array): Float64Array {
  const order = Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(values.length);
  for (let i = 0; i < order.length;) {
    let end = i + 1;
    while (end < order.length && values[order[end]] === values[order[i]]) end++;
    for (let j = i; j < end; j++) ranks[order[j]] = (i + end - 1) / 2 / (order.length - 1) - 0.5;
    i = end;
  }
  return ranks;
}

function standardised(values: Float64Array): Float64Array {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  return values.map((value) => (deviation > 0 ? (value - mean) / deviation : 0));
}

/**
 * F⁺−F⁻ of each pair. `losses` holds the mean loss per inner step of 2n finite particles, + and − of a pair adjacent.
 *
 * - `none`: F = L.
 * - `standardised`: F = (L − mean)/standard deviation over the 2n losses; 0 where all are equal.
 * - `centredRanks`: F = rank/(2n−1) − ½ over the 2n losses (Salimans et al. 2017), ties at their mean rank.
 * - `sign`: F⁺−F⁻ = sign(L⁺−L⁻).
 *
 * Shaped numbers have no unit: they are not divided by the window's length again. `clip` bounds |F⁺−F⁻|; with `none`
 * that is the difference of the mean losses per inner step.
 */
export function pairDifferences(losses: Float64Array, shaping: Shaping, clip = Infinity): Float64Array {
  const fitness =
    shaping === 'standardised' ? standardised(losses) : shaping === 'centredRanks' ? centredRanks(losses) : losses;
  const differences = new Float64Array(losses.length / 2);
  for (let p = 0; p < differences.length; p++) {
    const difference = fitness[2 * p] - fitness[2 * p + 1];
    differences[p] = Math.min(clip, Math.max(-clip, shaping === 'sign' ? Math.sign(difference) : difference));
  }
  return differences;
}
