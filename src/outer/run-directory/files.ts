/** Files that are whole or absent, whenever the process or the machine stops. */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { sync as writeAtomically } from 'write-file-atomic';

/** Temporary file, fsync, rename, fsync of the folder. */
export function writeWhole(path: string, contents: string | Uint8Array): void {
  writeAtomically(path, typeof contents === 'string' ? contents : asBuffer(contents));
  syncFolder(dirname(path));
}

export function writeJson(path: string, value: unknown): void {
  writeWhole(path, `${JSON.stringify(value, nonFinite, 2)}\n`);
}

/** JSON has no NaN and no infinities; as strings they are at least told apart. `reviveNumbers` reads them back. */
export function nonFinite(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? `number:${String(value)}` : value;
}

export function reviveNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('number:') ? Number(value.slice('number:'.length)) : value;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Makes a rename last; not possible, nor needed, on Windows. */
function syncFolder(path: string): void {
  let folder: number;
  try {
    folder = openSync(path, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(folder);
  } catch (error) {
    if (process.platform !== 'win32') throw error;
  } finally {
    closeSync(folder);
  }
}
