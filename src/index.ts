/** The library: `import { tune, definePlugin, meta } from 'outerloop'`. */
export { version } from './outer/version';
export * from './contracts';
export {
  evaluationSeed,
  objectiveSchema,
  parseOverride,
  resolveConfig,
  unroll,
  type HeldOutLine,
  type HeldOutMeasurement,
  type IterationRecord,
  type Measurement,
  type MetricsLine,
  type Normaliser,
  type Objective,
  type Override,
  type ResolvedConfig,
  type Resolver,
  type RunEvent,
  type RunListener,
  type RunResult,
  type RunSummary,
  type UnrollOptions,
} from './outer';
export type { EngineLimits } from './engines';
export { createContainer, OuterloopContainer, type ContainerOptions, type RegisterModule } from './container';
export {
  decodeWeights,
  encodeWeights,
  TrainableOptimizer,
  type OptimizerWeights,
  type TrainableOptions,
} from './deploy';
export {
  loadOptimizer,
  registerOptimizers,
  resume,
  train,
  tune,
  use,
  type LoadOptimizerOptions,
  type ResumeOptions,
  type TrainOptions,
  type TuneEvaluation,
  type TuneHeldOut,
  type TuneMember,
  type TuneOptions,
  type TuneResult,
} from './library';

export * from '../datasets';
export * from '../learned-optimizers';
export * from '../tasks';
export {
  bptt,
  dodge,
  fullEs,
  gpes,
  gridSearch,
  nres,
  pes,
  pesAnalytic,
  randomSearch,
  rtrl,
  tbptt,
  truncatedEs,
  uoro,
} from '../meta-trainers';
import { adam, momentum, rmsprop, sgd } from '../meta-trainers';

/** What moves θ. Apart, since the optimizers of inner loops have the same names. */
export const outer = { adam, momentum, rmsprop, sgd } as const;
