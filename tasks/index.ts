/** Tasks, whole problems, and the presets made of them. */
import type { Registrar } from '../src/contracts';
import { registerAugmented } from './augmented';
import { registerAutoencoder } from './autoencoder';
import { registerCharRnn } from './char-rnn';
import { registerCnn } from './cnn';
import { registerInfluenceBalancing } from './influence-balancing';
import { registerLoptFashion8 } from './lopt-fashion8';
import { registerLorenz } from './lorenz';
import { registerManyHyperparameters } from './many-hyperparameters';
import { registerMlp } from './mlp';
import { registerMnistLr } from './mnist-lr';
import { registerQuadratic } from './quadratic';
import { registerTestFunction } from './test-function';

export { augmented, type AugmentOptions } from './augmented';
export { autoencoder, type AutoencoderOptions } from './autoencoder';
export { charRnn, type CharRnnOptions, type RnnCell } from './char-rnn';
export { cnn, type CnnOptions } from './cnn';
export { influenceBalancing, type InfluenceBalancingOptions } from './influence-balancing';
export { layersModelTask, type LayersModelTaskOptions } from './layers-model';
export { type LayersLoss, type LayersMetric, type LossFunction } from './layers/losses';
export { lorenz, type LorenzOptions } from './lorenz';
export { manyHyperparameters, type ManyHyperparametersOptions } from './many-hyperparameters';
export {
  logisticRegression,
  mlp,
  taskFamily,
  type MlpActivation,
  type MlpInit,
  type MlpOptions,
  type SampledTasks,
  type TaskFamilyOptions,
} from './mlp';
export type { MlpRanges } from './mlp-family';
export {
  quadraticClosedForm,
  quadraticCurvatures,
  quadraticProblem,
  quadraticTask,
  type QuadraticTaskOptions,
} from './quadratic';
export {
  TEST_FUNCTIONS,
  testFunction,
  testFunctionMinimum,
  type TestFunctionName,
  type TestFunctionOptions,
} from './test-function';

/** One line a task or problem. */
export function registerTasks(registrar: Registrar): void {
  registerMlp(registrar);
  registerCnn(registrar);
  registerQuadratic(registrar);
  registerAutoencoder(registrar);
  registerAugmented(registrar);
  registerTestFunction(registrar);
  registerCharRnn(registrar);
  registerInfluenceBalancing(registrar);
  registerLorenz(registrar);
  registerMnistLr(registrar);
  registerManyHyperparameters(registrar);
  registerLoptFashion8(registrar);
}
