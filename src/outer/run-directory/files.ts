/** Files that are whole or absent, whenever the process or the machine stops. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { sync as writeAtomically } from 'write-file-atomic';
import { StorageError, UserError } from '../../contracts';

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file is larger than is allowed',
};

/** @throws StorageError for what the system refuses to write */
export function written<R>(path: string, work: () => R): R {
  try {
    return work();
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException;
    // Node's errors of its own (a wrong argument) have a code too, but no number of the system's.
    if (code === undefined || errno === undefined) throw error;
    const why = code in FULL ? `${FULL[code]} (${code})` : code;
    throw new StorageError(
      `${path} could not be written: ${why}. Files written before are whole: make room, and go on with outerloop resume.`,
      { cause: error },
    );
  }
}

/** Appends all of the contents to an open file. */
export function append(path: string, descriptor: number, contents: string | Uint8Array): void {
  const bytes = typeof contents === 'string' ? Buffer.from(contents) : contents;
  written(path, () => {
    // A disk that fills up takes a part and refuses the rest.
    for (let done = 0; done < bytes.length;) done += writeSync(descriptor, bytes, done);
  });
}

/** Temporary file, fsync, rename, fsync of the folder. @throws StorageError */
export function writeWhole(path: string, contents: string | Uint8Array): void {
  written(path, () => {
    writeAtomically(path, typeof contents === 'string' ? contents : asBuffer(contents));
    syncFolder(dirname(path));
  });
}

/** @throws StorageError */
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

export function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** The bytes of a file that the user named. @throws UserError if it cannot be read */
export function readWhole(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UserError(`${path} cannot be read (${code}). Name a run folder or a file of weights.`, { cause: error });
  }
}
