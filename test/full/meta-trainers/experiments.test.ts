/** Short forms that take minutes, on engine native: the order of methods. */
import type { RunResult } from '../../../src/outer';
import { describeNative } from '../../support/native';
import { evaluationsOf, quickForm, type QuickForm } from '../../support/quick-form';

/** log10 of a run's last decay exponent, which is the first number of θ, as a natural logarithm. */
const decay = ({ theta }: RunResult): number => theta[0] / Math.LN10;

/** Mean over the last tenth of the iterations. */
function metaLoss({ history }: RunResult): number {
  const last = history.slice(-history.length / 10);
  return last.reduce((sum, { meanLoss }) => sum + (meanLoss ?? NaN), 0) / last.length;
}

describeNative('MNIST schedule, 500 inner steps', () => {
  let results: QuickForm;
  beforeAll(async () => {
    results = await quickForm('mnist-lr');
  }, 600_000);

  test.each(['mnist-lr-paper-loss', 'mnist-lr-paper'])('%s: PES and NRES flatten the decay', (preset) => {
    const biased = results.get(`${preset} truncated-es`)!;
    for (const estimator of ['pes', 'nres']) {
      const run = results.get(`${preset} ${estimator}`)!;
      expect(decay(run)).toBeLessThan(0.7);
      // Truncated ES decays too early, for the noise that a lower rate averages out within a window.
      expect(decay(biased)).toBeGreaterThan(decay(run) + 0.2);
      expect(metaLoss(run)).toBeLessThan(metaLoss(biased));
    }
  });
});

/** On Fashion-MNIST, which is fetched on first use. */
describeNative('many hyperparameters, a million inner steps each', () => {
  let loss: (name: string, at: number) => number;
  beforeAll(async () => {
    loss = evaluationsOf(await quickForm('many-hyperparameters'));
  }, 600_000);

  test('all start at ln 10: nothing is learned at the rates of θ₀', () => {
    for (const name of ['pes', 'truncated-es', 'random-search'])
      expect(Math.abs(loss(name, 0) - Math.log(10))).toBeLessThan(0.05);
  });

  test('PES ahead of random search, which is ahead of truncated ES', () => {
    // Two evaluations: PES still moves by 0.02 from one to the next.
    const pes = (loss('pes', 8000) + loss('pes', 10000)) / 2;
    expect(pes).toBeLessThan(loss('random-search', 200));
    expect(loss('truncated-es', 6667)).toBeGreaterThan(loss('random-search', 200) + 0.15);
  });
});
