import { existsSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { ConfigurationError } from '../../contracts';
import { buildOptimizer, encodeWeights } from '../../deploy';
import { cFiles, parseShapes } from '../../deploy/c-source';
import { optimizerOfRun, readRunConfig, writeWhole } from '../../outer/run-directory';
import { EXIT } from '../exit-codes';
import { checkpointOption } from '../options';
import { shown } from '../outcome';
import { recordedPlugins } from '../recorded-plugins';
import { openContainer, type CommonOptions, type Terminal } from '../session';

export interface ExportOptions extends CommonOptions {
  readonly output?: string;
  readonly checkpoint?: string;
  readonly to?: string;
  readonly shapes?: string;
}

/** What an optimizer can be exported to, and how its file's name ends. */
const ENDINGS = { safetensors: '.safetensors', c: '.c' } as const;
type Form = keyof typeof ENDINGS;

/** @throws ConfigurationError before anything is read */
function formOf({ to = 'safetensors', shapes }: ExportOptions): Form {
  if (!(to in ENDINGS)) throw new ConfigurationError('--to', Object.keys(ENDINGS).join(' or '), `"${to}"`);
  const form = to as Form;
  if (form === 'c' && shapes === undefined) {
    throw new ConfigurationError(
      '--shapes',
      'the shapes of the tensors that the C code is to train, such as 784x128,128,128x10,10',
      'nothing',
    );
  }
  if (form !== 'c' && shapes !== undefined) {
    throw new ConfigurationError('--shapes', 'nothing without --to c: a file of weights trains any shapes', shapes);
  }
  return form;
}

/** @throws ConfigurationError before anything is read */
function filePath(given: string, ending: string): string {
  const path = resolve(given);
  if (!path.endsWith(ending)) throw new ConfigurationError('--output', `the name of a ${ending} file`, `"${given}"`);
  if (!existsSync(dirname(path)))
    throw new ConfigurationError('--output', 'a file in a folder that exists', `"${given}"`);
  if (existsSync(path) && !statSync(path).isFile()) {
    throw new ConfigurationError('--output', 'a file', `the folder "${given}"`);
  }
  return path;
}

/** The optimizer of a run: a file for `loadOptimizer` in Node and in pages, or C. */
export async function exportOptimizer(directory: string, options: ExportOptions, terminal: Terminal): Promise<number> {
  const form = formOf(options);
  const path = filePath(options.output ?? `optimizer${ENDINGS[form]}`, ENDINGS[form]);
  const shapes = options.shapes === undefined ? [] : parseShapes(options.shapes);
  const checkpoint = checkpointOption(options.checkpoint);
  const resolver = await openContainer(recordedPlugins(readRunConfig(directory).run.plugins, options.plugin));
  const weights = await optimizerOfRun(directory, resolver, checkpoint);
  // What a file of weights refuses (numbers that are not finite) is refused in every form.
  const encoded = encodeWeights(weights);
  let bytes = encoded.length;
  if (form === 'c') {
    const optimizer = await buildOptimizer(weights, directory, resolver);
    const { header, source } = cFiles(weights, optimizer, shapes, basename(path, ENDINGS.c));
    writeWhole(path.replace(/c$/, 'h'), header);
    writeWhole(path, source);
    bytes = Buffer.byteLength(source);
  } else writeWhole(path, encoded);
  const { name } = weights.optimizer;
  const { size } = weights.layout;
  const also = form === 'c' ? ` and ${basename(path, ENDINGS.c)}.h` : '';
  terminal.out.write(
    options.json === true
      ? `${JSON.stringify({ type: 'export', path, optimizer: name, numbers: size, bytes })}\n`
      : `${name}, ${size} ${size === 1 ? 'number' : 'numbers'}, after ${JSON.stringify(weights.record.iterations)} outer iterations: ${shown(path)}${also}\n`,
  );
  return EXIT.ok;
}
