/** Optimizers: hand-designed ones, whose wrapped hyperparameters are θ, and learned ones. And their schedules. */
import type { Registrar } from '../src/contracts';
import { registerAdafacMlp } from './adafac-mlp';
import { registerAdafactor } from './adafactor';
import { registerAdagrad } from './adagrad';
import { registerAdam } from './adam';
import { registerAdamVariants } from './adam-variants';
import { registerClipGradients } from './clip-gradients';
import { registerLayerwise } from './layerwise';
import { registerLearnableAdam } from './learnable-adam';
import { registerLearnableSgd } from './learnable-sgd';
import { registerLearnableSgdm } from './learnable-sgdm';
import { registerLion } from './lion';
import { registerLstmCoordinatewise } from './lstm-coordinatewise';
import { registerNnAdam } from './nn-adam';
import { registerPerParameterMlp } from './per-parameter-mlp';
import { registerRmsProp } from './rmsprop';
import { registerRnnMlp } from './rnn-mlp';
import { registerSchedules } from './schedules';
import { registerSgd } from './sgd';
import { registerWrappers } from './wrappers';

export { adafacMlp, type AdafacMlpOptions } from './adafac-mlp';
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
export type { HyperByLayer, LayerHyperParameter } from './by-layer';
export { clipGradients, type ClipGradientsOptions } from './clip-gradients';
export { lamb, lars, type LambOptions, type LarsOptions } from './layerwise';
export { learnableAdam, type LearnableAdamOptions } from './learnable-adam';
export { learnableSgd, type LearnableSgdOptions } from './learnable-sgd';
export { learnableSgdm, type LearnableSgdmOptions } from './learnable-sgdm';
export { lion, type LionOptions } from './lion';
export { lstmCoordinatewise, type LstmCoordinatewiseOptions } from './lstm-coordinatewise';
export { nnAdam, type NnAdamOptions } from './nn-adam';
export { perParameterMlp, type PerParameterMlpOptions } from './per-parameter-mlp';
export { rmsProp, type RmsPropOptions } from './rmsprop';
export { rnnMlp, type RnnMlpOptions } from './rnn-mlp';
export {
  constant,
  cosine,
  exponential,
  inverseTime,
  piecewiseLinear,
  type CosineOptions,
  type ExponentialOptions,
  type InverseTimeOptions,
  type PiecewiseLinearOptions,
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
  registerAdafacMlp(registrar);
  registerLearnableAdam(registrar);
  registerLearnableSgdm(registrar);
  registerLstmCoordinatewise(registrar);
  registerNnAdam(registrar);
  registerRnnMlp(registrar);
  registerPerParameterMlp(registrar);
}
