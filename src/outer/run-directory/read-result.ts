import { resolve } from 'node:path';
import type { ResolvedConfig } from '../config';
import { averagedTheta } from '../loop';
import type { RunResult } from '../result';
import { chooseCheckpoint, readBest } from './checkpoints';
import { readEvaluations, readMetrics, readRunConfig, readSummary } from './run-directory';

/**
 * What a folder tells of its run; of an unfinished one, up to its newest checkpoint.
 * @throws RunDirectoryError if it holds no run
 */
export function readRunResult(path: string): RunResult {
  const config = readRunConfig(path);
  const { problem, layout, counts, engineReason } = config.run;
  const evaluations = readEvaluations(path);
  const history = readMetrics(path);
  const checkpoint = chooseCheckpoint(path);
  const state = checkpoint?.state;
  const { before, after, sigmaProbe, initialDescription, description } = evaluations ?? { before: checkpoint?.before };
  const { thetaAverage, evaluation } = config as Partial<Pick<ResolvedConfig, 'thetaAverage' | 'evaluation'>>;
  const select = evaluation?.select ?? 'last';
  const best = readBest(path);
  const chosen = select === 'best' ? best : undefined;
  const known = {
    before,
    after,
    sigmaProbe,
    initialDescription,
    description,
    best,
    ...(state?.average === undefined || chosen !== undefined
      ? {}
      : { thetaAverage: averagedTheta(state, thetaAverage) }),
  };
  return {
    problem,
    engine: config.engine,
    engineReason,
    layout,
    ...(counts === undefined ? {} : { counts }),
    theta: chosen?.theta ?? state?.theta ?? new Float64Array(layout.size).fill(NaN),
    ...(Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) as Partial<RunResult>),
    history,
    iterations: state?.iteration ?? 0,
    innerSteps: state?.innerSteps ?? 0,
    wallSeconds: evaluations?.wallSeconds ?? state?.wallSeconds ?? 0,
    interrupted: evaluations === undefined,
    select,
    stopped: readSummary(path)?.ended === 'patience',
    directory: resolve(path),
  };
}
