/** The experiments that ship with Outerloop: sweep files in the package's folder `experiments`, called by their name. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { UnknownNameError } from '../contracts';
import { nearNames } from '../outer';

const EXTENSION = '.yaml';
const FILE = /\.(ya?ml|json)$/i;

/** The package's own folder, above the sources or what was compiled of them; undefined where it has none. */
function experimentsFolder(): string | undefined {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, 'package.json'))) continue;
    const found = join(folder, 'experiments');
    return existsSync(found) ? found : undefined;
  }
  return undefined;
}

/** Files by name, in the order of the alphabet. */
export function experimentFiles(): ReadonlyMap<string, string> {
  const folder = experimentsFolder();
  const names = folder === undefined ? [] : readdirSync(folder).filter((file) => extname(file) === EXTENSION);
  return new Map(names.sort().map((file) => [basename(file, EXTENSION), join(folder ?? '', file)]));
}

/** The sweep file that the user means: a file, or the name of an experiment. @throws UnknownNameError */
export function sweepFile(target: string): string {
  if (FILE.test(target) || (existsSync(target) && statSync(target).isFile())) return target;
  const files = experimentFiles();
  const found = files.get(target);
  if (found !== undefined) return found;
  const known = [...files.keys()];
  throw new UnknownNameError('experiment', target, nearNames(target, known), known, []);
}
