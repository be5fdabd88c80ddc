/** θ₀ of a warm start: from the folder of another run, and as a run keeps it. */
import { ConfigurationError } from '../../contracts';
import type { ResolvedConfig } from '../config';
import type { StartingTheta } from '../warm-start';
import { readStart } from './checkpoints';
import { chosenTheta } from './chosen-theta';
import { readRunConfig } from './run-directory';

/**
 * What a run ended with, or came to if it has not ended: its average or its best θ, if it says so.
 * @throws RunDirectoryError, CheckpointError; ConfigurationError for a run without a checkpoint
 */
export function startFrom(path: string): StartingTheta {
  const config = readRunConfig(path);
  const chosen = chosenTheta(path, config as unknown as ResolvedConfig, undefined);
  if (chosen === undefined) {
    throw new ConfigurationError(
      'warmStart',
      'the folder of a run that has come to a checkpoint',
      path,
      `Go on with it by \`outerloop resume ${path}\`.`,
    );
  }
  return { theta: chosen.theta, layout: config.run.layout, from: path };
}

/** Where a run began that goes on. @throws RunDirectoryError, CheckpointError */
export function keptStart(path: string): StartingTheta {
  return { theta: readStart(path), layout: readRunConfig(path).run.layout, from: path };
}
