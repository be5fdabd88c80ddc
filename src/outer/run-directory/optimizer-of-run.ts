/** The optimizer that a run has meta-trained, with what its file says about how. */
import {
  RunDirectoryError,
  UnknownNameError,
  type ConfigObject,
  type LearnedOptimizer,
  type NamedConfig,
  type ThetaLayout,
} from '../../contracts';
import type { ResolvedConfig } from '../config';
import { prepareOptimizer } from '../prepare';
import type { Resolver } from '../resolver';
import { summarised } from '../result';
import { layoutOfOptimizer } from '../theta';
import { notNamed, trainingRecord } from '../training-record';
import { chosenTheta, type CheckpointChoice } from './chosen-theta';
import { readRunConfig, readSummary } from './run-directory';
import { recordedConfig } from './runs';

export interface OptimizerOfRun {
  readonly optimizer: NamedConfig;
  readonly featureVersion: number;
  readonly layout: ThetaLayout;
  readonly theta: Float32Array;
  readonly record: ConfigObject;
}

/**
 * @param checkpoint see `chosenTheta`
 * @throws RunDirectoryError for a run of something else, or one without a checkpoint; WeightsError for an optimizer of a run
 * made in code that has no `config`
 */
export async function optimizerOfRun(
  path: string,
  resolver: Resolver,
  checkpoint?: CheckpointChoice,
): Promise<OptimizerOfRun> {
  const recorded = readRunConfig(path);
  const { library, namedOptimizer = false } = recorded.run;
  // What code has made is recorded for people; its optimizer alone is for building.
  const config = library ? (recorded as unknown as ResolvedConfig) : recordedConfig(path, recorded, resolver);
  const { optimizer } = config;
  if (optimizer === undefined) {
    throw new RunDirectoryError(
      `${path} trains the problem "${String(config.problem?.name)}": expected a run of a task and an optimizer.`,
    );
  }
  if (library && !namedOptimizer) throw notNamed(optimizer.name);
  const chosen = chosenTheta(path, config, checkpoint);
  if (chosen === undefined) throw new RunDirectoryError(`${path} has no checkpoint yet, so there is no θ to export.`);
  const built = await builtAgain(path, optimizer, resolver);
  const { theta } = chosen;
  const layout = layoutOfOptimizer(built);
  if (layout.size !== theta.length) {
    throw new RunDirectoryError(
      `the θ of ${path} has ${String(theta.length)} numbers, and its optimizer "${optimizer.name}" has ${String(layout.size)} ` +
        'in this version. Export it with the version that it was trained with.',
    );
  }
  const summary = readSummary(path);
  return {
    optimizer,
    featureVersion: built.featureVersion ?? 1,
    layout,
    theta: Float32Array.from(theta),
    record: trainingRecord(config, {
      iterations: chosen.iteration,
      innerSteps: chosen.innerSteps,
      before: summary?.before,
      after: chosen.measurement === undefined ? summary?.after : summarised(chosen.measurement),
    }),
  };
}

/** @throws RunDirectoryError for a name that is not known here, which is likely to be a plugin's */
async function builtAgain(path: string, optimizer: NamedConfig, resolver: Resolver): Promise<LearnedOptimizer> {
  try {
    return await prepareOptimizer(optimizer, resolver);
  } catch (error) {
    if (!(error instanceof UnknownNameError)) throw error;
    throw new RunDirectoryError(
      `${path} is of an optimizer that cannot be built here: ${error.message} Hand in the plugin that brings it, by ` +
        '{ container: use(plugin) } or --plugin FILE.',
      { cause: error },
    );
  }
}
