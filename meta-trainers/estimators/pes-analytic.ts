import { z } from 'zod';
import type { ConfigObject, Estimate, GradientEstimator, IterationSchedule, UnrollProgram } from '../../src/contracts';
import { ShapeError } from '../../src/contracts/errors';
import { parseOptions, settingsOf } from '../options';
import { iterationSchedule, scheduleSchema } from '../schedules';
import { checkWindow, count, episodeLength, episodeOptions, mean, startsOf } from './episodes';
import { meanSize, metricMeans, sigmaAt } from './evolution';
import { combineGradients, sortWorkers } from './gradient';
import { episodeLengths } from './lengths';
import { Workers } from './workers';

export const pesAnalyticOptions = z.strictObject({
  /** N: antithetic pairs. */
  pairs: count,
  /** Standard deviation of the perturbation of θ. */
  sigma: scheduleSchema,
  ...episodeOptions,
});
export type PesAnalyticOptions = z.input<typeof pesAnalyticOptions>;

/**
 * PES+Analytic (Vicol, Metz, Sohl-Dickstein 2021, appendix): persistent evolution strategies whose share of the present
 * window is differentiated instead.
 *
 * PES estimates the gradient of E[(1/W) Σ_t L_t] by θ as a sum over chunks of noise, one a window: what the noise of
 * windows before this one did, is known by ES alone; what θ does within this window, is its derivative at θ ± ε, the
 * state that each partner comes with held fixed. With ξ the sum of the chunks before this window, per pair
 *
 *     g = ½ ∂/∂θ (1/W) Σ_t (L_t⁺ + L_t⁻) + ξ·Σ_t (L_t⁺ − L_t⁻) / (2σ²W).
 *
 * Unbiased for what PES is unbiased for, with less variance. In an episode's first window initState has a share too, which
 * a window that other workers enter in mid-episode does not give: there the share is PES's own, unless a window is a whole
 * episode. 2NW inner steps an estimate, forward steps counted.
 */
export function pesAnalytic(options: PesAnalyticOptions): GradientEstimator {
  return createPesAnalytic(parseOptions(pesAnalyticOptions, options, 'estimator'));
}

export const createPesAnalytic = (options: z.output<typeof pesAnalyticOptions>): GradientEstimator =>
  new PesAnalytic(options);

class PesAnalytic implements GradientEstimator<Workers> {
  readonly name = 'pes-analytic';
  readonly needs = ['forward', 'reverse'] as const;
  readonly settings: ConfigObject;
  private readonly sigma: IterationSchedule;

  constructor(private readonly options: z.output<typeof pesAnalyticOptions>) {
    this.settings = settingsOf(options);
    this.sigma = iterationSchedule(options.sigma);
  }

  async populate(program: UnrollProgram, seed: number): Promise<Workers> {
    const { pairs, window, lockstep, offsets } = this.options;
    const { horizon } = program.problem;
    checkWindow(window, horizon);
    const lengths = episodeLengths(program.problem, window, seed);
    const rule = { rule: offsets, seed, workers: pairs, window };
    return Workers.create(
      program,
      {
        pairs,
        seed,
        ...startsOf(program.problem, lengths, lockstep, rule),
        noisePeriod: window,
        states: 'own',
      },
      { mode: 'reverse', steps: window, windowLoss: 'mean', start: window === horizon },
    );
  }

  async estimate(theta: Float64Array, workers: Workers, iteration: number, signal?: AbortSignal): Promise<Estimate> {
    const { size } = workers.program.theta;
    if (theta.length !== size) throw new ShapeError(`θ: expected ${size} numbers, got ${theta.length}.`);
    const { pairs, window } = this.options;
    const setting = { theta, sigma: sigmaAt(this.sigma, iteration), iteration, signal };

    let burnInSteps = await workers.begin(setting);
    // Before the window's own noise is added; in an episode's first window, which has begun already, with it.
    const scores = workers.scores?.slice();
    const starting = Int32Array.from(workers.phases, (t) => (t === 0 ? 1 : 0));
    const { lossSum, derivatives, metricSums } = await workers.differentiate(window, setting);
    const differences = Float64Array.from(workers.phases, (_, w) => (lossSum[2 * w] - lossSum[2 * w + 1]) / window);
    const gradients = new Float64Array(pairs * size);
    for (let w = 0; w < pairs; w++) {
      const analytic = scores === undefined || starting[w] === 0;
      for (let k = 0; k < size; k++) {
        const within = analytic ? (derivatives[2 * w * size + k] + derivatives[(2 * w + 1) * size + k]) / 2 : 0;
        const before = scores === undefined ? 0 : (scores[w * size + k] * differences[w]) / 2;
        gradients[w * size + k] = within + before;
      }
    }
    const { sound, broken, exploded } = sortWorkers(lossSum, gradients, 2);
    const { gradient, diagnostics } = combineGradients(gradients, size, sound);
    burnInSteps += await workers.reenter(broken, setting);

    return {
      gradient,
      meanLoss: mean(Float64Array.from(sound, (w) => (lossSum[2 * w] + lossSum[2 * w + 1]) / (2 * window))),
      innerSteps: 2 * pairs * window,
      sequentialSteps: window,
      burnInSteps,
      validPairs: sound.length,
      droppedPairs: broken.length,
      metrics: metricMeans(metricSums, sound, window),
      diagnostics: {
        sigma: setting.sigma,
        ...episodeLength(workers),
        /** Mean of |L⁺−L⁻| per inner step. */
        lossDifference: meanSize(Float64Array.from(sound, (w) => differences[w])),
        ...diagnostics,
        explodedWorkers: exploded,
      },
    };
  }
}
