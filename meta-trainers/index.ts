/** Gradient estimators and outer optimizers by name. A new one is a file and a line here. */
import type { Registrar } from '../src/contracts';
import { bpttOptions, createBptt } from './estimators/bptt';
import { createDodge, dodgeOptions } from './estimators/dodge';
import { createFullEs, fullEsOptions } from './estimators/full-es';
import { createGpes, gpesOptions } from './estimators/gpes';
import { createGridSearch, gridSearchOptions } from './estimators/grid-search';
import { createNres, nresOptions } from './estimators/nres';
import { createPes, pesOptions } from './estimators/pes';
import { createPesAnalytic, pesAnalyticOptions } from './estimators/pes-analytic';
import { createRandomSearch, randomSearchOptions } from './estimators/random-search';
import { createRtrl, rtrlOptions } from './estimators/rtrl';
import { createTbptt, tbpttOptions } from './estimators/tbptt';
import { createTruncatedEs, truncatedEsOptions } from './estimators/truncated-es';
import { createUoro, uoroOptions } from './estimators/uoro';
import { adamOptions, createAdam } from './optimizers/adam';
import { createMomentum, momentumOptions } from './optimizers/momentum';
import { createRmsprop, rmspropOptions } from './optimizers/rmsprop';
import { createSgd, sgdOptions } from './optimizers/sgd';

export { bptt, type BpttOptions } from './estimators/bptt';
export { dodge, type DodgeOptions } from './estimators/dodge';
export { fullEs, type FullEsOptions } from './estimators/full-es';
export { gpes, type GpesOptions } from './estimators/gpes';
export { gridSearch, type GridSearchOptions } from './estimators/grid-search';
export { nres, type NresOptions } from './estimators/nres';
export { pes, type PesOptions } from './estimators/pes';
export { pesAnalytic, type PesAnalyticOptions } from './estimators/pes-analytic';
export { randomSearch, type RandomSearchOptions } from './estimators/random-search';
export { rtrl, type RtrlOptions } from './estimators/rtrl';
export { tbptt, type TbpttOptions } from './estimators/tbptt';
export { truncatedEs, type TruncatedEsOptions } from './estimators/truncated-es';
export { uoro, type UoroOptions } from './estimators/uoro';
export { adam, type AdamOptions } from './optimizers/adam';
export { momentum, type MomentumOptions } from './optimizers/momentum';
export { rmsprop, type RmspropOptions } from './optimizers/rmsprop';
export { sgd, type SgdOptions } from './optimizers/sgd';
export { iterationSchedule, type ScheduleOptions } from './schedules';

export function registerMetaTrainers({ estimator, outerOptimizer }: Registrar): void {
  estimator('full-es', {
    description: 'ES over whole episodes: unbiased, one update an episode',
    options: fullEsOptions,
    create: createFullEs,
  });
  estimator('truncated-es', {
    description: 'ES within windows from a mean state: biased',
    options: truncatedEsOptions,
    create: createTruncatedEs,
  });
  estimator('pes', {
    description: 'Persistent ES: fresh noise every window, unbiased',
    options: pesOptions,
    create: createPes,
  });
  estimator('gpes', {
    description: 'PES with fresh noise every K inner steps, unbiased',
    options: gpesOptions,
    create: createGpes,
  });
  estimator('nres', {
    description: 'Noise-reuse ES: one noise an episode, unbiased, least variance',
    options: nresOptions,
    create: createNres,
  });
  estimator('tbptt', {
    description: 'truncated backpropagation through time: the gradient within windows, biased',
    options: tbpttOptions,
    create: createTbptt,
  });
  estimator('bptt', {
    description: 'backpropagation through whole episodes: the exact gradient, one update an episode',
    options: bpttOptions,
    create: createBptt,
  });
  estimator('rtrl', {
    description: 'real-time recurrent learning: the exact gradient in windows, memory of θ × state',
    options: rtrlOptions,
    create: createRtrl,
  });
  estimator('uoro', {
    description: 'rank-one estimate of what RTRL carries: unbiased, noisy, memory of θ + state',
    options: uoroOptions,
    create: createUoro,
  });
  estimator('dodge', {
    description: 'the derivative along one Gaussian direction a worker, forward: unbiased',
    options: dodgeOptions,
    create: createDodge,
  });
  estimator('pes-analytic', {
    description: 'PES with the window itself differentiated: unbiased, less variance than PES',
    options: pesAnalyticOptions,
    create: createPesAnalytic,
  });
  estimator('random-search', {
    description: 'base line without gradients: uniform candidates in a box of θ, the best stays',
    options: randomSearchOptions,
    create: createRandomSearch,
  });
  estimator('grid-search', {
    description: 'base line without gradients: all points of a grid over a box of θ, the best stays',
    options: gridSearchOptions,
    create: createGridSearch,
  });

  outerOptimizer('sgd', { description: 'Gradient descent', options: sgdOptions, create: createSgd });
  outerOptimizer('momentum', {
    description: 'Heavy-ball or Nesterov momentum',
    options: momentumOptions,
    create: createMomentum,
  });
  outerOptimizer('adam', { description: 'Adam, with bias correction', options: adamOptions, create: createAdam });
  outerOptimizer('rmsprop', {
    description: 'RMSProp, without momentum',
    options: rmspropOptions,
    create: createRmsprop,
  });
}
