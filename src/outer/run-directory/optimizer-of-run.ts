/** The optimizer that a run has meta-trained, with what its file says about how. */
import { RunDirectoryError, type ConfigObject, type ThetaLayout } from '../../contracts';
import { prepareOptimizer } from '../prepare';
import type { Resolver } from '../resolver';
import { shortOf } from '../result';
import { layoutOfOptimizer } from '../theta';
import { version } from '../version';
import { chosenTheta, type CheckpointChoice } from './chosen-theta';
import { readRunConfig, readSummary } from './run-directory';
import { recordedConfig } from './runs';

export interface OptimizerOfRun {
  readonly optimizer: { readonly name: string } & ConfigObject;
  readonly featureVersion: number;
  readonly layout: ThetaLayout;
  readonly theta: Float32Array;
  readonly record: ConfigObject;
}

/**
 * @param checkpoint see `chosenTheta`
 * @throws RunDirectoryError for a run of something else, or one without a checkpoint
 */
export async function optimizerOfRun(
  path: string,
  resolver: Resolver,
  checkpoint?: CheckpointChoice,
): Promise<OptimizerOfRun> {
  const config = recordedConfig(path, readRunConfig(path), resolver);
  const { optimizer, task, tasks, data, horizon, objective, estimator, outerOptimizer, seed, preset } = config;
  if (optimizer === undefined) {
    throw new RunDirectoryError(
      `${path} trains the problem "${String(config.problem?.name)}": expected a run of a task and an optimizer.`,
    );
  }
  const chosen = chosenTheta(path, config, checkpoint);
  if (chosen === undefined) throw new RunDirectoryError(`${path} has no checkpoint yet, so there is no θ to export.`);
  const built = await prepareOptimizer(optimizer, resolver);
  const { theta } = chosen;
  const layout = layoutOfOptimizer(built);
  if (layout.size !== theta.length) {
    throw new RunDirectoryError(
      `the θ of ${path} has ${String(theta.length)} numbers, and its optimizer "${optimizer.name}" has ${String(layout.size)} ` +
        'in this version. Export it with the version that it was trained with.',
    );
  }
  const known = { preset, seed, task, tasks, data, horizon, objective, estimator, outerOptimizer };
  const summary = readSummary(path) as unknown as ConfigObject | undefined;
  return {
    optimizer,
    featureVersion: built.featureVersion ?? 1,
    layout,
    theta: Float32Array.from(theta),
    record: JSON.parse(
      JSON.stringify({
        outerloop: version,
        iterations: chosen.iteration,
        innerSteps: chosen.innerSteps,
        ...known,
        ...(summary === undefined ? {} : { before: summary.before, after: summary.after }),
        ...(chosen.measurement === undefined ? {} : { after: shortOf(chosen.measurement) }),
      }),
    ) as ConfigObject,
  };
}
