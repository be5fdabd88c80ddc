/**
 * The outer loop. Whole runs: `resolveConfig` → `prepareRun` → `executeRun`; on disk with `run-directory`, which is not
 * exported here since it needs Node.
 */
export {
  metaTestProblem,
  objectiveSchema,
  unroll,
  type MetaTestProblem,
  type Objective,
  type UnrollOptions,
} from './combinators/unroll';
export { checkWindows, resolveConfig, withForm, type ResolvedConfig } from './config';
export { checkCourse, type BestEvaluation } from './best';
export { checkWith, optionKeys, optionNeed } from './config-check';
export { recordedSteps } from './horizon';
export { parseOverride, type Override } from './config-merge';
export { createEvaluator, evaluationSeed, type Evaluator, type EvaluatorOptions } from './evaluate';
export * from './events';
export {
  averagedTheta,
  initialState,
  INVALID_ITERATIONS,
  runOuterLoop,
  type CheckpointSink,
  type LoopOptions,
  type LoopState,
} from './loop';
export { memberName } from './tasks-config';
export { planTasks, type Normaliser, type PlannedTasks } from './several-tasks';
export {
  prepareNamed,
  prepareOptimizer,
  prepareParts,
  prepareRun,
  type PreparedParts,
  type PreparedRun,
} from './prepare';
export { sampleEpisodes, varianceOfEstimates, type EpisodeSamples, type Spread } from './episode-samples';
export {
  CONFIDENCE,
  gradientErrors,
  meanGradient,
  RESAMPLES,
  type ErrorOptions,
  type GradientErrors,
  type Interval,
  type MeanGradient,
  type VarianceOf,
} from './gradient-errors';
export {
  innerStepsOfOne,
  repeatSeed,
  sampleGradients,
  sharingDerivatives,
  type GradientSamples,
  type SampleOptions,
} from './gradient-samples';
export { checkHeldOutNames, heldOutProblem, type HeldOutParts, type HeldOutTask } from './held-out';
export { nearNames, type EngineProvider, type OpenedEngine, type ResolvedKind, type Resolver } from './resolver';
export { notNamed, trainingRecord } from './training-record';
export { runSummary, type HeldOutLine, type MetricsLine, type RunResult, type RunSummary } from './result';
export {
  executeRun,
  type CompiledProblem,
  type RunOptions,
  type RunPlan,
  type RunSettings,
  type RunStore,
  type SavedRun,
} from './run';
export { groupsOfShape, sideBySide } from './side-by-side';
export { SharedEngine } from './shared-engine';
export { expandSweep, inMember, sweepSchema, type SweepMember } from './sweep';
export {
  gridThetas,
  measureThetas,
  spread,
  type GridAxis,
  type MeasuredThetas,
  type MeasureThetasOptions,
} from './surface';
export {
  median,
  sigmaAdvice,
  probeSigma,
  type ProbedDirection,
  type ProbedNumber,
  type ProbeOptions,
  type SigmaProbe,
} from './sigma-probe';
export {
  noiseModel,
  pairSquare,
  predictedVariance,
  type EpisodeMoments,
  type NoiseModel,
  type NoModel,
  type PredictedVariance,
} from './variance-formulas';
export {
  planMoments,
  windowMoments,
  type MomentsOptions,
  type MomentsPlan,
  type MomentsQuestion,
  type NoMoments,
  type WindowMoments,
} from './window-gradients';
export { type StepSizes, type TensorStepSizes } from './step-sizes';
export { coordinateNames, describeTheta, initialTheta, layoutOfOptimizer, thetaLayout } from './theta';
export {
  metaTest,
  rateGrid,
  stepsToLevel,
  type Contestant,
  type CoursePoint,
  type MetaTest,
  type MetaTestOptions,
  type MetaTestResult,
  type Statistics,
  type Trial,
  type TunedRate,
} from './meta-test';
export { DEFAULT_BASE_LINES, RELATIVE_TASKS } from './meta-test-tasks';
export { startingAt, type StartingTheta } from './warm-start';
