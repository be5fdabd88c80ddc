/** The θ of a recorded run that is used: judged again, exported, held against others. */
import { ConfigurationError } from '../../contracts';
import type { EvaluatedTheta } from '../best';
import type { ResolvedConfig } from '../config';
import { averagedTheta } from '../loop';
import { chooseCheckpoint, readBest } from './checkpoints';

/** With its evaluation, if it was evaluated and that is kept. */
export type ChosenTheta = Omit<EvaluatedTheta, 'measurement'> & Partial<Pick<EvaluatedTheta, 'measurement'>>;

/** The iteration of a checkpoint, or the best evaluated θ. */
export type CheckpointChoice = number | 'best';

/**
 * The θ of a checkpoint (its average, if the run keeps one), or the best; without a choice, what the run's
 * `evaluation.select` says. Undefined if there is no checkpoint yet.
 * @throws CheckpointError; ConfigurationError for the best of a run that evaluated nothing
 */
export function chosenTheta(
  path: string,
  { thetaAverage, evaluation }: Pick<ResolvedConfig, 'thetaAverage' | 'evaluation'>,
  choice: CheckpointChoice | undefined,
): ChosenTheta | undefined {
  const asked = choice ?? (evaluation.select === 'best' ? 'best' : undefined);
  if (asked !== 'best') {
    const chosen = chooseCheckpoint(path, asked);
    if (chosen === undefined) return undefined;
    const { iteration, innerSteps } = chosen.state;
    return { iteration, innerSteps, theta: averagedTheta(chosen.state, thetaAverage) };
  }
  const best = readBest(path);
  if (best !== undefined) return best;
  const expected = 'a run that keeps its best evaluation';
  throw new ConfigurationError('--checkpoint', expected, path, 'Runs with evaluation.every do.');
}
