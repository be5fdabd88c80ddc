/** What `outerloop train` does with a plugin, without the command line: `node … PLUGIN OUT key=value …`. */
import * as tf from '@tensorflow/tfjs';
import { loadPlugin } from '../../../src/cli/plugin-loader';
import { createContainer } from '../../../src/container';
import { OuterloopError } from '../../../src/contracts';
import { parseOverride, resolveConfig } from '../../../src/outer';
import { startRun } from '../../../src/outer/run-directory';

tf.enableProdMode();

async function main([file, out, ...overrides]: [string, string, ...string[]]): Promise<void> {
  const container = createContainer().use(await loadPlugin(file), file);
  const config = resolveConfig({}, overrides.map(parseOverride), container);
  const result = await startRun({ config, resolver: container, out });
  process.stdout.write(JSON.stringify({ problem: result.problem, before: result.before, after: result.after }));
}

main(process.argv.slice(2) as [string, string, ...string[]]).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = error instanceof OuterloopError ? error.exitCode : 1;
});
