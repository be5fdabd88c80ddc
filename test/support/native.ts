/** What tests of the native engine share: whether there is a compiler, and folders of their own. */
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function onPath(name: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(name.includes('/') ? name : join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Compilers of this machine by the names that the engine looks for. */
export const COMPILERS: readonly string[] = ['cc', 'gcc', 'clang'].filter(onPath);

/** Whether code can be compiled here: by CC, or by what is on PATH. */
export const HAS_COMPILER = (process.env.CC ?? '') !== '' || COMPILERS.length > 0;

/** `describe`, or a skipped one on a machine without a compiler. */
export const describeNative = HAS_COMPILER ? describe : describe.skip;

const folders: string[] = [];

/** A new folder, removed by `removeFolders`. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'outerloop-test-'));
  folders.push(folder);
  return folder;
}

export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}
