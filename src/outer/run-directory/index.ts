/** Runs on disk. Needs Node; the rest of src/outer does not. */
export {
  chooseCheckpoint,
  listCheckpoints,
  readCheckpoint,
  readStart,
  type Checkpoint,
  type CheckpointFile,
} from './checkpoints';
export { keptStart, startFrom } from './warm-start';
export type { CheckpointChoice } from './chosen-theta';
export { isFolder, readWhole, writeJson, writeWhole } from './files';
export { theseVersions, thisMachine, type Machine, type Versions } from './machine';
export { readRunResult } from './read-result';
export { readRecordedRun, type RecordedRun } from './recorded-run';
export {
  checkFree,
  readDivergence,
  readEvaluations,
  readMetrics,
  readRunConfig,
  readSummary,
  RunDirectory,
  type CreateOptions,
  type EarlierPlace,
  type OpenOptions,
  type RunConfig,
  type RunDivergence,
  type RunEvaluations,
  type RunPlace,
  type RunRecord,
} from './run-directory';
export { evaluateRun, resumeRun, startRun, type EvaluateOptions, type ResumeOptions, type StartOptions } from './runs';
export {
  memberFolder,
  openSweep,
  placeMembers,
  sweepRuns,
  type MemberState,
  type PlacedMember,
} from './sweep-directory';
export { hasTensorboard, tensorboardListener } from './tensorboard';
export { decodeSafetensors, encodeSafetensors, type SafetensorsFile } from './safetensors';
export {
  metaTestRun,
  type MetaTestProgress,
  type MetaTestReport,
  type MetaTestRunOptions,
  type TestedTask,
} from './meta-test-run';
export { optimizerOfRun, type OptimizerOfRun } from './optimizer-of-run';
