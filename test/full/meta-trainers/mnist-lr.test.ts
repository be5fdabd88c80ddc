/** The short form of the MNIST schedule on engine native: where truncation leads, and that its rivals do not follow. */
import { readConfigFile } from '../../../src/cli/commands/train';
import { experimentFiles } from '../../../src/cli/experiments';
import { createContainer } from '../../../src/container';
import { executeRun, expandSweep, prepareRun, type RunResult } from '../../../src/outer';
import { describeNative } from '../../support/native';

/** Results of the short form's runs, `preset estimator`. */
async function quickForm(experiment: string): Promise<ReadonlyMap<string, RunResult>> {
  const container = createContainer();
  const results = new Map<string, RunResult>();
  for (const member of expandSweep(readConfigFile(experimentFiles().get(experiment)!), [], container, true)) {
    const opened = await container.openEngine('native', { threads: 2 });
    const { plan } = await prepareRun(member.config, container);
    results.set(`${member.preset} ${member.config.estimator.name}`, await executeRun({ plan, opened }));
    await opened.engine.dispose();
  }
  return results;
}

/** log10 of a run's last decay exponent, which is the first number of θ, as a natural logarithm. */
const decay = ({ theta }: RunResult): number => theta[0] / Math.LN10;

/** Mean over the last tenth of the iterations. */
function metaLoss({ history }: RunResult): number {
  const last = history.slice(-history.length / 10);
  return last.reduce((sum, { meanLoss }) => sum + (meanLoss ?? NaN), 0) / last.length;
}

describeNative('MNIST schedule, 500 inner steps', () => {
  let results: ReadonlyMap<string, RunResult>;
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
