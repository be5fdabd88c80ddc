/**
 * Variances from episodes in lockstep against those in closed form on the linear system (experiments.md, "Known mathematics"),
 * and against independent estimates. Intervals are of 99 %; seeds are not chosen for it.
 */
import type { GradientEstimator } from '../../src/contracts';
import { fullEs, gpes, nres, pes, truncatedEs } from '../../meta-trainers';
import {
  gradientErrors,
  sampleEpisodes,
  sampleGradients,
  varianceOfEstimates,
  type EpisodeSamples,
  type GradientErrors,
  type Spread,
} from '../../src/outer';
import { seedKey } from '../../src/random';
import {
  horizonGradient,
  linearProgram,
  linearSystem,
  squaredNorm,
  windowGradients,
  windowTotals,
} from '../support/linear-program';

const [T, W, SIGMA] = [12, 3, 0.5];
const n = T / W;
const theta = Float64Array.of(0.3, -0.4);
const d = theta.length;
const system = linearSystem('linear', T);
const program = linearProgram(system);
const smoothing = { sigma: 0, window: W, perturbed: 'persistent' } as const;
const one = { sigma: SIGMA, window: W, pairs: 1, lockstep: true } as const;

let reference: readonly Float64Array[];
beforeAll(async () => {
  const at = { theta, seed: 1, role: 1, repeats: 50 };
  reference = (await sampleGradients(fullEs({ pairs: 200, sigma: SIGMA }), program, at)).gradients;
});

const sampled = async (estimator: GradientEstimator): Promise<EpisodeSamples> => {
  const samples = await sampleEpisodes(estimator, program, { theta, seed: 5, role: 0, repeats: 400, window: W });
  expect([samples.windows, samples.failed, samples.gradients.length]).toEqual([n, 0, 400]);
  return samples;
};
const errorsOf = (samples: EpisodeSamples, spread: Spread): GradientErrors =>
  gradientErrors(samples.gradients, reference, {
    key: seedKey(3),
    confidence: 0.99,
    resamples: 500,
    varianceOf: varianceOfEstimates(samples, spread),
  });
const holds = ({ low, high }: { low: number; high: number }, truth: number): boolean => low <= truth && truth <= high;

/** Means over windows of m_τ − ‖g_τ‖², the variance of one pair there, and of ‖g_τ‖². */
function moments(period: number): { within: number; meanSquare: number } {
  const chunks = windowGradients(system, theta, { ...smoothing, period });
  const meanSquare = windowTotals(chunks).reduce((sum, g) => sum + squaredNorm(g) / n, 0);
  const squares = chunks.map((window) => window.length * d * window.reduce((sum, g) => sum + squaredNorm(g), 0));
  return { within: squares.reduce((sum, square) => sum + square / n, 0) + meanSquare, meanSquare };
}
const squaredMean = squaredNorm(horizonGradient(system, theta, { ...smoothing, period: T }));

const SPREADS: [string, Spread, (m: ReturnType<typeof moments>) => number][] = [
  ['every window once', { count: n, offsets: 'stratified' }, ({ within }) => within / n],
  // Two of four windows left: 2·2/(3·6²) of what windows differ by.
  [
    'one block and a half',
    { count: 6, offsets: 'stratified' },
    ({ within, meanSquare }) => within / 6 + (meanSquare - squaredMean) / 27,
  ],
  [
    'windows drawn for each worker',
    { count: 5, offsets: 'independent' },
    ({ within, meanSquare }) => (within + meanSquare - squaredMean) / 5,
  ],
];
const ESTIMATORS: [string, GradientEstimator, number][] = [
  ['NRES', nres(one), T],
  ['GPES', gpes({ ...one, noisePeriod: 6 }), 6],
  ['PES', pes(one), W],
];
describe.each(ESTIMATORS)('%s', (_name, estimator, period) => {
  let samples: EpisodeSamples;
  beforeAll(async () => {
    samples = await sampled(estimator);
  });

  test.each(SPREADS)('%s: variance in closed form, no bias', (_spread, spread, expected) => {
    const { totalVariance, biasSquared, meanSquaredError } = errorsOf(samples, spread);
    const truth = expected(moments(period));
    expect(holds(totalVariance, truth)).toBe(true);
    expect(totalVariance.high - totalVariance.low).toBeLessThan(truth);
    expect(holds(biasSquared, 0)).toBe(true);
    expect(holds(meanSquaredError, truth)).toBe(true);
  });
});

test('truncated ES, which is biased: as independent estimates say', async () => {
  const found = errorsOf(await sampled(truncatedEs(one)), { count: 6, offsets: 'stratified' });
  const estimator = truncatedEs({ ...one, lockstep: false, pairs: 6 });
  const { gradients } = await sampleGradients(estimator, program, { theta, seed: 6, role: 0, repeats: 400 });
  const alone = gradientErrors(gradients, reference, { key: seedKey(4), confidence: 0.99, resamples: 500 });
  for (const what of ['totalVariance', 'biasSquared', 'meanSquaredError'] as const) {
    // 99 % of the difference of two independent numbers lies within 1.41 half-widths of theirs.
    const width = Math.hypot(found[what].high - found[what].low, alone[what].high - alone[what].low) / 2;
    expect(Math.abs(found[what].value - alone[what].value)).toBeLessThan(width);
  }
  expect(found.biasSquared.low).toBeGreaterThan(0);
});

test('windows that do not divide the episode are refused', async () => {
  const at = { theta, seed: 0, role: 0, repeats: 2, window: 5 };
  await expect(sampleEpisodes(nres(one), program, at)).rejects.toThrow(/--windows.*divisors of the horizon 12.*5/);
});
