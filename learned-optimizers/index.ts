/** Optimizers: hand-designed ones, whose wrapped hyperparameters are θ, and learned ones. And their schedules. */
import type { Registrar } from '../src/contracts';
import { registerAdam } from './adam';
import { registerLearnableSgd } from './learnable-sgd';
import { registerSchedules } from './schedules';
import { registerSgd } from './sgd';

export { adam, type AdamOptions } from './adam';
export { learnableSgd, type LearnableSgdOptions } from './learnable-sgd';
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

/** One line an optimizer. */
export function registerLearnedOptimizers(registrar: Registrar): void {
  registerSchedules(registrar);
  registerSgd(registrar);
  registerAdam(registrar);
  registerLearnableSgd(registrar);
}
