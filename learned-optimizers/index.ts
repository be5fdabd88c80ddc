/** Optimizers: hand-designed ones, whose wrapped hyperparameters are θ, and learned ones. And their schedules. */
import type { Registrar } from '../src/contracts';
import { registerAdafactor } from './adafactor';
import { registerAdagrad } from './adagrad';
import { registerAdam } from './adam';
import { registerAdamVariants } from './adam-variants';
import { registerClipGradients } from './clip-gradients';
import { registerLayerwise } from './layerwise';
import { registerLearnableSgd } from './learnable-sgd';
import { registerLion } from './lion';
import { registerRmsProp } from './rmsprop';
import { registerSchedules } from './schedules';
import { registerSgd } from './sgd';
import { registerWrappers } from './wrappers';

export { adafactor, type AdafactorOptions } from './adafactor';
export { adagrad, type AdagradOptions } from './adagrad';
export { adam, adamW, type AdamOptions } from './adam';
export {
  adaBelief,
  nadamW,
  rAdam,
  yogi,
  type AdaBeliefOptions,
  type NAdamWOptions,
  type RAdamOptions,
  type YogiOptions,
} from './adam-variants';
export { clipGradients, type ClipGradientsOptions } from './clip-gradients';
export { lamb, lars, type LambOptions, type LarsOptions } from './layerwise';
export { learnableSgd, type LearnableSgdOptions } from './learnable-sgd';
export { lion, type LionOptions } from './lion';
export { rmsProp, type RmsPropOptions } from './rmsprop';
export {
  constant,
  cosine,
  exponential,
  inverseTime,
  type CosineOptions,
  type ExponentialOptions,
  type InverseTimeOptions,
} from './schedules';
export { sgd, type SgdOptions } from './sgd';
export {
  accumulateGradients,
  graft,
  withWeightDecay,
  type AccumulateGradientsOptions,
  type GraftOptions,
  type WithWeightDecayOptions,
} from './wrappers';

/** One line an optimizer. */
export function registerLearnedOptimizers(registrar: Registrar): void {
  registerSchedules(registrar);
  registerSgd(registrar);
  registerAdam(registrar);
  registerRmsProp(registrar);
  registerAdagrad(registrar);
  registerAdamVariants(registrar);
  registerAdafactor(registrar);
  registerLayerwise(registrar);
  registerLion(registrar);
  registerClipGradients(registrar);
  registerWrappers(registrar);
  registerLearnableSgd(registrar);
}
