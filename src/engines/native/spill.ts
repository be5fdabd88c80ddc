/** A file for what does not fit into memory. No name leads to it, so that it goes with the process, however that ends. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  read,
  rmdirSync,
  statfsSync,
  unlinkSync,
  write,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineError, StorageError } from '../../contracts';
import { bytesText } from '../shared/bytes';
import { machineBytes } from './memory';

/** `f_type` of file systems that lie in memory: tmpfs and ramfs (Linux, magic.h). */
const IN_MEMORY: readonly number[] = [0x01021994, 0x858458f6];

interface Free {
  readonly bytes: number;
  /** Whether the file would take memory after all. */
  readonly inMemory: boolean;
}

/** What a folder has room for. @throws NodeJS.ErrnoException if there is no such folder. */
function freeIn(folder: string): Free {
  const { type, bavail, bsize } = statfsSync(folder);
  const inMemory = process.platform === 'linux' && IN_MEMORY.includes(type);
  return { bytes: inMemory ? Math.min(bavail * bsize, machineBytes()) : bavail * bsize, inMemory };
}

/** Where spill files lie: TMPDIR, or what the system has for temporary files. */
export const spillFolder = (): string => tmpdir();

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

export class SpillFile {
  private constructor(
    private readonly descriptor: number,
    readonly folder: string,
    /** Whether the folder lies in memory. */
    readonly inMemory: boolean,
  ) {}

  /**
   * A file of zeros of that many bytes, for this user alone.
   * @param why begins the error: what needs the file, and how much memory it would have needed and had
   * @throws EngineError if the folder has no room for it or cannot be written
   */
  static open(bytes: number, why: string): SpillFile {
    const folder = spillFolder();
    const advice = 'Allow more memory (--memory), use fewer particles, or set TMPDIR to another folder.';
    try {
      const free = freeIn(folder);
      if (free.bytes < bytes) {
        throw new EngineError(
          `${why}; in a file they need ${bytesText(bytes)}, and ${folder}${free.inMemory ? ', which lies in memory,' : ''} ` +
            `has ${bytesText(free.bytes)} left. ${advice}`,
        );
      }
      const own = mkdtempSync(join(folder, 'outerloop-states-'));
      const path = join(own, 'states');
      let descriptor: number | undefined;
      try {
        descriptor = openSync(path, 'wx+', 0o600);
        unlinkSync(path);
        ftruncateSync(descriptor, bytes);
      } catch (error) {
        if (descriptor !== undefined) closeSync(descriptor);
        throw error;
      } finally {
        rmdirSync(own);
      }
      return new SpillFile(descriptor, folder, free.inMemory);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError(`${why}; no file for them can be made in ${folder} (${codeOf(error)}). ${advice}`, {
        cause: error,
      });
    }
  }

  /** Fills all of `target` from where it lies in the file. @throws StorageError */
  read(target: Uint8Array, position: number): Promise<void> {
    return this.all('read', target.length, (done, next) => {
      read(this.descriptor, target, done, target.length - done, position + done, next);
    });
  }

  /** @throws StorageError, e.g. on a disk that is full; a part may have been written. */
  write(source: Uint8Array, position: number): Promise<void> {
    return this.all('written', source.length, (done, next) => {
      write(this.descriptor, source, done, source.length - done, position + done, next);
    });
  }

  close(): void {
    closeSync(this.descriptor);
  }

  /** Goes on after calls of the system that did a part. */
  private all(
    what: 'read' | 'written',
    bytes: number,
    call: (done: number, next: (error: Error | null, count: number) => void) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const failed = (reason: string, cause?: Error): void => {
        const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(reason) ? `the disk is full (${reason})` : reason;
        reject(
          new StorageError(
            `${bytesText(bytes)} of particles' states could not be ${what} in ${this.folder}: ${full}. The population is as ` +
              'it was before the call. Make room there, set TMPDIR to a folder with more, or allow more memory (--memory).',
            { cause },
          ),
        );
      };
      const from = (done: number): void => {
        if (done === bytes) {
          resolve();
          return;
        }
        call(done, (error, count) => {
          if (error !== null) failed(codeOf(error), error);
          else if (count === 0) failed('the file has ended');
          else from(done + count);
        });
      };
      from(0);
    });
  }
}
