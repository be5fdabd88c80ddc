/**
 * One process at a time brings a data set here; others wait for it. The lock only spares the others the work: folders are
 * put in their place by one rename, so that two who both believe to hold it do no harm.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { CancelledError } from '../../src/contracts';

const ownerSchema = z.object({ pid: z.int().positive(), host: z.string(), token: z.string() });
type Owner = z.infer<typeof ownerSchema>;

/** A holder shows every so often that it lives; one that has not for long is dead, wherever it ran. */
const BEAT_MILLISECONDS = 5_000;
const SILENT_MILLISECONDS = 60_000;
const POLL_MILLISECONDS = 100;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

interface Found {
  readonly text: string;
  readonly owner?: Owner;
  readonly silent: number;
}

async function find(path: string): Promise<Found | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    const silent = Date.now() - (await stat(path)).mtimeMs;
    try {
      return { text, owner: ownerSchema.parse(JSON.parse(text)), silent };
    } catch {
      return { text, silent };
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive({ owner, silent }: Found): boolean {
  if (silent > SILENT_MILLISECONDS) return false;
  // Locks come whole under their name: one that says nothing is a crashed disk's.
  return owner !== undefined && (owner.host !== hostname() || runs(owner.pid));
}

/** The process that holds a lock, if one does. */
export async function holderOf(path: string): Promise<number | undefined> {
  const found = await find(path);
  return found !== undefined && isAlive(found) ? found.owner?.pid : undefined;
}

/** Writes aside and links, so that the lock is never seen half written. False if there is one already. */
async function create(path: string, text: string, token: string): Promise<boolean> {
  const aside = `${path}.${token}`;
  await writeFile(aside, text);
  try {
    await link(aside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    // A file system without hard links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error) ?? '')) throw error;
    try {
      await writeFile(path, text, { flag: 'wx' });
      return true;
    } catch (raced) {
      if (codeOf(raced) === 'EEXIST') return false;
      throw raced;
    }
  } finally {
    await rm(aside, { force: true });
  }
}

/** Takes a dead lock away, unless it is another by now: that goes back. */
async function bury(path: string, dead: string, token: string): Promise<void> {
  const aside = `${path}.${token}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) !== dead) await link(aside, path);
  } catch {
    // Somebody was faster, and does the same.
  } finally {
    await rm(aside, { force: true });
  }
}

/**
 * Takes a lock; waits for a process that holds it and is alive, takes over from one that is dead.
 * @param what Named in errors.
 * @returns what gives it back
 * @throws CancelledError if `signal` is aborted while it waits; the file system's own errors
 */
export async function takeFetchLock(
  path: string,
  what: string,
  signal: AbortSignal | undefined,
): Promise<() => Promise<void>> {
  const token = randomUUID();
  const text = JSON.stringify({ pid: process.pid, host: hostname(), token } satisfies Owner);
  await mkdir(dirname(path), { recursive: true });
  while (!(await create(path, text, token))) {
    const found = await find(path);
    if (found === undefined) continue;
    if (isAlive(found)) await sleep(POLL_MILLISECONDS);
    else await bury(path, found.text, token);
    if (signal?.aborted === true) throw new CancelledError(`${what}: the fetch was cancelled while it waited.`);
  }
  const beat = setInterval(() => {
    const now = new Date();
    void utimes(path, now, now).catch(() => undefined);
  }, BEAT_MILLISECONDS);
  beat.unref();
  return async () => {
    clearInterval(beat);
    if ((await find(path).catch(() => undefined))?.text === text) await rm(path, { force: true });
  };
}
