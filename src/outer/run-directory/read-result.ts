import type { ThetaLayout } from '../../contracts';
import type { RunResult } from '../result';
import { chooseCheckpoint } from './checkpoints';
import { readEvaluations, readMetrics, readRunConfig, readSummary } from './run-directory';

/** Names by number: a run that has not finished has not recorded its θ's names. */
function anonymousLayout(size: number): ThetaLayout {
  return { size, leaves: [{ path: 'theta', shape: [size], offset: 0, size }] };
}

/**
 * What a run folder says of its run; of one that has not finished, what it has so far.
 * @throws RunDirectoryError if the folder holds no run, CheckpointError if it needs a checkpoint that is damaged
 */
export function readRunResult(path: string): RunResult {
  const config = readRunConfig(path);
  const history = readMetrics(path);
  const evaluations = readEvaluations(path);
  const summary = readSummary(path);
  const last = history.at(-1);
  const common = {
    engine: config.engine,
    engineReason: config.run.engineReason,
    history,
    iterations: history.length,
    innerSteps: last?.innerSteps ?? 0,
    wallSeconds: summary?.wallSeconds ?? last?.wallSeconds ?? 0,
    directory: path,
  };
  if (evaluations !== undefined) {
    const { problem, layout, before, after, initialDescription, description } = evaluations;
    return {
      ...common,
      problem,
      layout,
      initialTheta: Float64Array.from(evaluations.initialTheta),
      theta: Float64Array.from(evaluations.theta),
      initialDescription,
      description,
      before,
      after,
      interrupted: false,
    };
  }
  const checkpoint = chooseCheckpoint(path);
  const theta = checkpoint?.state.average ?? checkpoint?.state.theta ?? new Float64Array(0);
  const named = (config.problem ?? config.task) as { readonly name?: unknown } | undefined;
  return {
    ...common,
    problem: typeof named?.name === 'string' ? named.name : 'run',
    layout: anonymousLayout(theta.length),
    initialTheta: new Float64Array(0),
    theta,
    before: checkpoint?.before,
    interrupted: true,
  };
}
