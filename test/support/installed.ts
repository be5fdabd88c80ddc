/** A user's folder that has this Outerloop installed: its package.json, and compiled sources for dist. */
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { CompiledSources } from '../outer/compiled';

const ROOT = resolve(__dirname, '..', '..');

export function installOuterloop(folder: string, sources: CompiledSources): void {
  const installed = join(folder, 'node_modules', 'outerloop');
  mkdirSync(join(folder, 'node_modules', '@tensorflow'), { recursive: true });
  mkdirSync(installed);
  copyFileSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
  symlinkSync(sources.root, join(installed, 'dist'));
  // Above the sources, as it is above dist in the package.
  if (!existsSync(join(sources.root, 'package.json'))) {
    copyFileSync(join(ROOT, 'package.json'), join(sources.root, 'package.json'));
    symlinkSync(join(ROOT, 'templates'), join(sources.root, 'templates'));
  }
  symlinkSync(join(ROOT, 'node_modules', '@tensorflow', 'tfjs'), join(folder, 'node_modules', '@tensorflow', 'tfjs'));
}
