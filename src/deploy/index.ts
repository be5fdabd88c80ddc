/** Learned optimizers in other people's training. Runs in a browser too. */
export { buildOptimizer, trainableFromBytes, type TrainableOptions } from './load';
export { registerTrainable, TrainableOptimizer, type BuildParts } from './tf-optimizer';
export { decodeWeights, encodeWeights, type OptimizerWeights, type TrainingRecord } from './weights-file';
