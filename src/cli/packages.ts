/** Optional packages, found next to Outerloop or in the user's project; folders of Outerloop's own package. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { LoadPackage } from '../engines';

/**
 * Loads a package that Outerloop itself can resolve, else one that the project in the working folder can: Outerloop may be
 * linked, or run by npx, from a folder that has no TensorFlow beside it.
 */
export const loadFromProject: LoadPackage = async (name) => {
  try {
    return (await import(name)) as unknown;
  } catch (error) {
    const project = createRequire(join(process.cwd(), 'package.json'));
    try {
      return project(name) as unknown;
    } catch (inProject) {
      // A package that is there but fails to load says more than one that is not there.
      throw (inProject as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' ? error : inProject;
    }
  }
};

/** A folder of the package, which lies above the sources or what was compiled of them; undefined where it has none of this name. */
export function packageFolder(name: string): string | undefined {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, 'package.json'))) continue;
    const found = join(folder, name);
    return existsSync(found) ? found : undefined;
  }
  return undefined;
}
