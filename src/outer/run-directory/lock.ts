/** One process a run folder. The lock names its process, so that one left by a killed process is known as such. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { RunDirectoryError } from '../../contracts';

export const LOCK = 'lock';

interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Tells a process from a later one with its number; empty where the system does not say. */
  readonly born: string;
}

/** From the third on, the fields of /proc/PID/stat; empty where there is no such file. */
function statFields(pid: number): readonly string[] {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    // The second field is a name in parentheses, which may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/** Field 22: clock ticks from boot to the start of the process. */
function birth(pid: number): string {
  return statFields(pid)[19] ?? '';
}

/** Killed, but not yet waited for by its parent: its number answers, though nothing of it runs. */
function isZombie(pid: number): boolean {
  return ['Z', 'X'].includes(statFields(pid)[0]);
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  if (isZombie(owner.pid)) return false;
  return owner.born === '' || owner.born === birth(owner.pid);
}

/** A killed process takes a moment to go; whoever resumes its run at once should not have to know. */
const GRACE = { milliseconds: 100, times: 10 };

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Whether the folder is still locked after the time that a dying process may take. */
function staysLocked(folder: string): boolean {
  for (let i = 0; i < GRACE.times; i++) {
    if (!isLocked(folder)) return false;
    pause(GRACE.milliseconds);
  }
  return isLocked(folder);
}

function read(path: string): { readonly text: string; readonly owner?: Owner } | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return { text, owner: JSON.parse(text) as Owner };
  } catch {
    // Cut short by a crash while it was written.
    return { text };
  }
}

/** True if a lock is there and its process may still be running. */
export function isLocked(folder: string): boolean {
  const owner = read(join(folder, LOCK))?.owner;
  return owner !== undefined && (owner.host !== hostname() || isAlive(owner));
}

const ASIDE = /^lock\.(?:dead\.)?(\d+)$/;

/** True for a file that a process left which was killed while it took or freed the lock. */
export function isDeadAside(name: string): boolean {
  const pid = ASIDE.exec(name)?.[1];
  return pid !== undefined && !isAlive({ pid: Number(pid), host: hostname(), born: '' });
}

/** A held lock. */
export class FolderLock {
  private constructor(
    private readonly path: string,
    private readonly text: string,
  ) {}

  /** @throws RunDirectoryError if another process holds it */
  static take(folder: string): FolderLock {
    const path = join(folder, LOCK);
    const owner: Owner = { pid: process.pid, host: hostname(), born: birth(process.pid) };
    const lock = new FolderLock(path, JSON.stringify(owner));
    for (let attempt = 0; attempt < 3; attempt++) {
      if (lock.create()) return lock;
      const found = read(path);
      if (found === undefined) continue;
      if (staysLocked(folder)) {
        const { pid, host } = found.owner!;
        const elsewhere = host === hostname() ? '' : ` on ${host}`;
        const advice = `Wait for it${elsewhere === '' ? '' : `, or delete ${LOCK} there if that process is gone`}.`;
        throw new RunDirectoryError(`${folder} is in use by process ${String(pid)}${elsewhere}. ${advice}`);
      }
      lock.remove(found.text);
    }
    throw new RunDirectoryError(`${folder} is being taken by another process. Try again.`);
  }

  /** @throws RunDirectoryError if the lock was taken away */
  check(): void {
    if (read(this.path)?.text !== this.text) {
      throw new RunDirectoryError(`the lock ${this.path} was taken by another process; this run stops.`);
    }
  }

  release(): void {
    if (read(this.path)?.text === this.text) rmSync(this.path, { force: true });
  }

  private create(): boolean {
    // Written aside and linked, so that the lock is never seen half written.
    const aside = `${this.path}.${String(process.pid)}`;
    writeFileSync(aside, this.text);
    try {
      linkSync(aside, this.path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      // A file system without hard links.
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error;
      return this.createPlainly();
    } finally {
      rmSync(aside, { force: true });
    }
  }

  private createPlainly(): boolean {
    try {
      writeFileSync(this.path, this.text, { flag: 'wx' });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  /** Removes a dead lock, unless it is another by now. */
  private remove(dead: string): void {
    const aside = `${this.path}.dead.${String(process.pid)}`;
    try {
      renameSync(this.path, aside);
    } catch {
      return;
    }
    if (read(aside)?.text !== dead) {
      // Someone was faster, and this is the live lock: back with it.
      try {
        linkSync(aside, this.path);
      } catch {
        // Its owner notices at the next checkpoint.
      }
    }
    rmSync(aside, { force: true });
  }
}
