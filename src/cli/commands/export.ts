import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigurationError } from '../../contracts';
import { encodeWeights } from '../../deploy';
import { optimizerOfRun, readRunConfig, writeWhole } from '../../outer/run-directory';
import { EXIT } from '../exit-codes';
import { checkpointOption } from '../options';
import { shown } from '../outcome';
import { recordedPlugins } from '../recorded-plugins';
import { openContainer, type CommonOptions, type Terminal } from '../session';

export interface ExportOptions extends CommonOptions {
  readonly output?: string;
  readonly checkpoint?: string;
}

const ENDING = '.safetensors';

/** @throws ConfigurationError before anything is read */
function filePath(given: string): string {
  const path = resolve(given);
  if (!path.endsWith(ENDING)) throw new ConfigurationError('--output', `the name of a ${ENDING} file`, `"${given}"`);
  if (!existsSync(dirname(path)))
    throw new ConfigurationError('--output', 'a file in a folder that exists', `"${given}"`);
  if (existsSync(path) && !statSync(path).isFile()) {
    throw new ConfigurationError('--output', 'a file', `the folder "${given}"`);
  }
  return path;
}

/** The optimizer of a run as one file, for `loadOptimizer` in Node and in pages. */
export async function exportOptimizer(directory: string, options: ExportOptions, terminal: Terminal): Promise<number> {
  const path = filePath(options.output ?? `optimizer${ENDING}`);
  const checkpoint = checkpointOption(options.checkpoint);
  const resolver = await openContainer(recordedPlugins(readRunConfig(directory).run.plugins, options.plugin));
  const weights = await optimizerOfRun(directory, resolver, checkpoint);
  const bytes = encodeWeights(weights);
  writeWhole(path, bytes);
  const { name } = weights.optimizer;
  const { size } = weights.layout;
  terminal.out.write(
    options.json === true
      ? `${JSON.stringify({ type: 'export', path, optimizer: name, numbers: size, bytes: bytes.length })}\n`
      : `${name}, ${size} ${size === 1 ? 'number' : 'numbers'}, after ${JSON.stringify(weights.record.iterations)} outer iterations: ${shown(path)}\n`,
  );
  return EXIT.ok;
}
