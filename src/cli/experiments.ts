/** The experiments that ship with Outerloop: sweep files in the package's folder `experiments`, called by their name. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { UnknownNameError } from '../contracts';
import { nearNames } from '../outer';
import { packageFolder } from './packages';

const EXTENSION = '.yaml';
const FILE = /\.(ya?ml|json)$/i;

/** Files by name, in the order of the alphabet. */
export function experimentFiles(): ReadonlyMap<string, string> {
  const folder = packageFolder('experiments');
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
