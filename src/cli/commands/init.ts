/** `outerloop init`: a starting file for a plugin, and its test. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ConfigurationError, OuterloopError, StorageError } from '../../contracts';
import { createContainer } from '../../container';
import { EXIT } from '../exit-codes';
import { quoted, shown } from '../outcome';
import { packageFolder } from '../packages';
import type { CommonOptions, Terminal } from '../session';

/** What a starting file can be of: the ending of its preset's name, which the next command trains. */
const KINDS = { task: 'lr', optimizer: 'quadratic', estimator: 'quadratic', problem: 'fit' } as const;
type Kind = keyof typeof KINDS;
export const INIT_KINDS = Object.keys(KINDS) as readonly Kind[];

const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const ENDINGS = ['.ts', '.test.cjs'];

export interface InitOptions extends CommonOptions {
  readonly output?: string;
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** `my-sine` → `mySineTask`; `my-task` → `myTask`. It ends with the kind, so that it is no word of the language. */
function functionName(name: string, kind: Kind): string {
  const [first, ...rest] = name.endsWith(`-${kind}`) ? name.split('-') : [...name.split('-'), kind];
  return [first, ...rest.map(capital)].join('');
}

/** The template's text for another name. */
function renamed(text: string, name: string, kind: Kind): string {
  const own = functionName(name, kind);
  return text
    .replaceAll(`template-${kind}`, name)
    .replaceAll(`template${capital(kind)}`, own)
    .replaceAll(`Template${capital(kind)}`, capital(own));
}

/** @throws ConfigurationError before anything is written */
function checkName(kind: string, name: string): Kind {
  const known = INIT_KINDS.find((one) => one === kind);
  if (known === undefined) throw new ConfigurationError('KIND', INIT_KINDS.join(', '), `"${kind}"`);
  if (!NAME.test(name)) {
    const expected = 'small letters and digits with single "-" between, a letter first, such as my-sine';
    throw new ConfigurationError('NAME', expected, `"${name}"`);
  }
  const container = createContainer();
  if (container.names(known).includes(name) || container.names('preset').includes(`${name}-${KINDS[known]}`)) {
    throw new ConfigurationError(
      'NAME',
      `a ${known} that Outerloop does not have yet`,
      `"${name}"`,
      'Take another name.',
    );
  }
  return known;
}

/**
 * Writes NAME.ts and NAME.test.cjs into the folder `output`, by default the working folder.
 * @throws ConfigurationError for a name that cannot be one, and if one of the files is there already: nothing is written then
 */
export function init(kind: string, name: string, options: InitOptions, { out }: Terminal): number {
  const known = checkName(kind, name);
  const folder = resolve(options.output ?? '.');
  const files = ENDINGS.map((ending) => ({
    path: join(folder, `${name}${ending}`),
    template: `template-${known}${ending}`,
  }));
  if (existsSync(folder) && !statSync(folder).isDirectory()) {
    throw new ConfigurationError('--output', 'a folder', `the file "${options.output ?? ''}"`);
  }
  for (const { path } of files) if (existsSync(path)) throw taken(path);
  const templates = packageFolder('templates');
  if (templates === undefined)
    throw new OuterloopError('the folder "templates" of Outerloop is missing. Install it again.');
  for (const { path, template } of files) {
    write(folder, path, renamed(readFileSync(join(templates, template), 'utf8'), name, known));
  }
  const [file, test] = files.map(({ path }) => quoted(shown(path)));
  // A plugin's path is read as a file's, also without "./".
  const next = [`npx outerloop check ${file}`, `npx outerloop train ${name}-${KINDS[known]} --plugin ${file}`];
  if (options.json === true) {
    out.write(`${JSON.stringify({ type: 'init', kind: known, name, files: files.map(({ path }) => path), next })}\n`);
    return EXIT.ok;
  }
  out.write(`wrote ${file}\nwrote ${test}, its test: node ${test}\nnext:\n`);
  for (const line of next) out.write(`  ${line}\n`);
  return EXIT.ok;
}

function taken(path: string): ConfigurationError {
  return new ConfigurationError(
    'NAME',
    'files that do not exist yet',
    `${shown(path)}, which does`,
    'Nothing is overwritten; take another name, or --output DIR.',
  );
}

/** @throws ConfigurationError if the file has come to be since, StorageError if the disk fails */
function write(folder: string, path: string, text: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path, text, { flag: 'wx' });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw taken(path);
    throw new StorageError(`${shown(path)} could not be written: ${message}.`, { cause: error });
  }
}
