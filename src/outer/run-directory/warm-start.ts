/** θ₀ from the folder of another run. */
import { ConfigurationError } from '../../contracts';
import type { ResolvedConfig } from '../config';
import type { StartingTheta } from '../warm-start';
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
