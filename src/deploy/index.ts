/** Learned optimizers in other people's training. Runs in a browser too. */
export { buildOptimizer, trainableFromBytes, type TrainableOptions } from './load';
export { ScheduleCallback } from './schedule-callback';
export { registerTrainable, TrainableOptimizer, type BuildParts } from './tf-optimizer';
export { decodeWeights, encodeWeights, type OptimizerWeights, type TrainingRecord } from './weights-file';
