/** The plugins of a recorded run, which may have moved since. */
import { existsSync } from 'node:fs';
import { PluginError } from '../contracts';

/**
 * The plugin files of a run and of `--plugin`. With `--plugin`, recorded files that are gone are left out: what is
 * given stands for them.
 * @throws PluginError if a file is gone and none is given
 */
export function recordedPlugins(recorded: readonly string[], given: readonly string[] = []): string[] {
  const gone = recorded.filter((file) => !existsSync(file));
  if (gone.length > 0 && given.length === 0) {
    throw new PluginError(
      `plugin ${gone[0]}, which the run was made with, is not there any more. If it has moved, pass --plugin FILE.`,
    );
  }
  return [...recorded.filter((file) => !gone.includes(file)), ...given];
}
