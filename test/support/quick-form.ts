/** The short forms of experiments, run on engine native. */
import { readConfigFile } from '../../src/cli/commands/train';
import { experimentFiles } from '../../src/cli/experiments';
import { createContainer } from '../../src/container';
import { executeRun, expandSweep, prepareRun, type RunResult } from '../../src/outer';

/** Results by `preset estimator`, TBPTT's with its window behind it. */
export type QuickForm = ReadonlyMap<string, RunResult>;

/** Runs the short form of an experiment, without some of its estimators. */
export async function quickForm(experiment: string, leaveOut: readonly string[] = []): Promise<QuickForm> {
  const container = createContainer();
  const members = expandSweep(readConfigFile(experimentFiles().get(experiment)!), [], container, true);
  const results = new Map<string, RunResult>();
  for (const { preset, config } of members) {
    const { name, window } = config.estimator;
    if (leaveOut.includes(name)) continue;
    const opened = await container.openEngine('native', { threads: 2 });
    const { plan } = await prepareRun(config, container);
    const label = name === 'tbptt' ? `tbptt-${JSON.stringify(window)}` : name;
    results.set(`${preset} ${label}`, await executeRun({ plan, opened }));
    await opened.engine.dispose();
  }
  return results;
}

/** Evaluations of the methods of an experiment of one preset, by iteration: 0 is θ₀. */
export function evaluationsOf(results: QuickForm): (method: string, at: number) => number {
  return (method, at) => {
    const [, result] = [...results].find(([name]) => name.split(' ')[1] === method)!;
    const { before, after, history, iterations } = result;
    const found = at === 0 ? before : at === iterations ? after : history[at - 1].evaluation;
    return found?.mean ?? NaN;
  };
}
