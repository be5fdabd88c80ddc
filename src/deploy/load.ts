/** From a file of weights to an optimizer that trains variables of TensorFlow.js. */
import { UnknownNameError, WeightsError, type LearnedOptimizer } from '../contracts';
import { recordedSteps } from '../outer/horizon';
import { prepareOptimizer } from '../outer/prepare';
import type { Resolver } from '../outer/resolver';
import { layoutOfOptimizer } from '../outer/theta';
import { TrainableOptimizer } from './tf-optimizer';
import { decodeWeights, type OptimizerWeights } from './weights-file';

const shapes = (leaves: readonly { readonly path: string; readonly shape: readonly number[] }[]): string =>
  leaves.map(({ path, shape }) => `${path === '' ? 'theta' : path}[${shape.join(',')}]`).join(' ');

/** @throws WeightsError if θ is not what the optimizer takes, or means something else in this version */
function checkFits(
  { optimizer, featureVersion, layout }: OptimizerWeights,
  built: LearnedOptimizer,
  name: string,
): void {
  const version = built.featureVersion ?? 1;
  if (featureVersion !== version) {
    throw new WeightsError(
      `${name}: expected feature version ${String(version)} of ${optimizer.name}, got ${String(featureVersion)}. ` +
        'Use the version of Outerloop that it was exported by, or train it again.',
    );
  }
  const expected = shapes(layoutOfOptimizer(built).leaves);
  if (expected === shapes(layout.leaves)) return;
  throw new WeightsError(
    `${name}: expected θ of ${optimizer.name} with the tensors ${expected}, got ${shapes(layout.leaves)}. ` +
      'It was written for another architecture.',
  );
}

/** The optimizer of a file of weights, built by its name, over the horizon that it was trained for. @throws WeightsError */
export async function buildOptimizer(
  weights: OptimizerWeights,
  name: string,
  resolver: Resolver,
): Promise<LearnedOptimizer> {
  let built: LearnedOptimizer;
  try {
    built = await prepareOptimizer(weights.optimizer, resolver);
  } catch (error) {
    const known = error instanceof UnknownNameError;
    const reason = error instanceof Error ? error.message : String(error);
    const advice = known ? ' Hand in the plugin that brings it.' : '';
    throw new WeightsError(`${name} is of an optimizer that cannot be built here: ${reason}${advice}`, {
      cause: error,
    });
  }
  checkFits(weights, built, name);
  const horizon = recordedSteps(weights.record);
  return horizon === undefined ? built : (built.forHorizon?.(horizon) ?? built);
}

export interface TrainableOptions {
  /** Of draws that the optimizer makes itself; few do. 0 by default. */
  readonly seed?: number;
}

/** @throws WeightsError for bytes that are no file of weights, or of an optimizer that is not known here */
export async function trainableFromBytes(
  bytes: Uint8Array,
  name: string,
  resolver: Resolver,
  { seed = 0 }: TrainableOptions = {},
): Promise<TrainableOptimizer> {
  const weights = decodeWeights(bytes, name);
  return new TrainableOptimizer(weights, await buildOptimizer(weights, name, resolver), seed);
}
