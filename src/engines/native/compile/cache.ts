/**
 * Compiled libraries that are kept between runs. An entry is a library named by its key and content, and a small file
 * `<key>.json` that points to it; both are written under another name and renamed, the pointer last, so that two
 * processes at once only do the work twice. A library is read only after its checksum was found right.
 */
import { createHash } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';

export interface CacheOptions {
  /** All libraries together, in bytes. */
  readonly maxBytes?: number;
  /** Told once if libraries cannot be kept, and why. */
  readonly notice?: (message: string) => void;
}

const MAX_BYTES = 256 * 2 ** 20;
/** What a process that died left behind. */
const STALE_MILLISECONDS = 3_600_000;

interface Pointer {
  readonly library: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** OUTERLOOP_CACHE, XDG_CACHE_HOME/outerloop or ~/.cache/outerloop; its folder `native`. Relative paths do not count. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { OUTERLOOP_CACHE: own = '', XDG_CACHE_HOME: xdg = '' } = environment;
  if (isAbsolute(own)) return join(own, 'native');
  return join(isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'outerloop', 'native');
}

export function sha256(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  // Lengths apart, so that no two lists of parts run together.
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

export class LibraryCache {
  private constructor(
    readonly folder: string,
    /** False: a private folder for this process, removed when it is closed. */
    readonly kept: boolean,
    private readonly maxBytes: number,
  ) {}

  /**
   * Opens the folder, making it (mode 0700) if need be. One that is not the user's own, that others may write to or that
   * cannot be written is not used: its libraries would be run. A private temporary folder stands in, and `notice` says so.
   */
  static async open(folder: string, options: CacheOptions = {}): Promise<LibraryCache> {
    const { maxBytes = MAX_BYTES, notice } = options;
    const problem = await reasonAgainst(folder);
    if (problem === undefined) return new LibraryCache(folder, true, maxBytes);
    notice?.(`Compiled code is not kept: ${problem}. It is compiled anew at every start.`);
    return new LibraryCache(await mkdtemp(join(tmpdir(), 'outerloop-')), false, maxBytes);
  }

  /** Path of the library of a key, found whole; undefined if there is none. A damaged entry is removed. */
  async find(key: string): Promise<string | undefined> {
    const pointerPath = join(this.folder, `${key}.json`);
    let text: string;
    try {
      text = await readFile(pointerPath, 'utf8');
    } catch {
      return undefined;
    }
    const pointer = parsePointer(text, key);
    if (pointer !== undefined) {
      const path = join(this.folder, pointer.library);
      try {
        const content = await readFile(path);
        if (content.length === pointer.bytes && sha256(content) === pointer.sha256) {
          const now = new Date();
          // By this the oldest are found; a folder that became read-only still serves.
          await utimes(pointerPath, now, now).catch(() => undefined);
          return path;
        }
      } catch {
        // Evicted by another process, or never whole.
      }
      await unlink(path).catch(() => undefined);
    }
    await unlink(pointerPath).catch(() => undefined);
    return undefined;
  }

  /** Forgets the library of a key; one that is loaded stays loaded. */
  async remove(key: string): Promise<void> {
    await unlink(join(this.folder, `${key}.json`)).catch(() => undefined);
  }

  /** A private folder on the same file system, to compile in. */
  async workFolder(): Promise<string> {
    return mkdtemp(join(this.folder, 'work-'));
  }

  /** Takes a library that was made in a work folder, and gives its place. */
  async store(key: string, file: string): Promise<string> {
    const content = await readFile(file);
    const digest = sha256(content);
    const library = `${key}-${digest.slice(0, 16)}.so`;
    const pointer: Pointer = { library, sha256: digest, bytes: content.length };
    const temporary = `${file}.json`;
    await chmod(file, 0o600);
    await writeFile(temporary, JSON.stringify(pointer), { mode: 0o600 });
    await rename(file, join(this.folder, library));
    await rename(temporary, join(this.folder, `${key}.json`));
    await this.evict(key);
    return join(this.folder, library);
  }

  /** Removes a private folder; kept ones stay. Loaded libraries stay loaded. */
  async close(): Promise<void> {
    if (!this.kept) await rm(this.folder, { recursive: true, force: true });
  }

  /** Removes the entries unused for longest until all fit, and what dead processes have left. */
  private async evict(fresh: string): Promise<void> {
    const names = await readdir(this.folder);
    const entries: { readonly key: string; readonly library: string; readonly bytes: number; readonly used: number }[] =
      [];
    const owned = new Set<string>();
    for (const name of names.filter((candidate) => candidate.endsWith('.json'))) {
      const key = name.slice(0, -'.json'.length);
      try {
        const path = join(this.folder, name);
        const pointer = parsePointer(await readFile(path, 'utf8'), key);
        if (pointer === undefined) continue;
        entries.push({ key, library: pointer.library, bytes: pointer.bytes, used: (await stat(path)).mtimeMs });
        owned.add(pointer.library);
      } catch {
        // Another process was faster.
      }
    }
    entries.sort((a, b) => a.used - b.used);
    let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { key, library, bytes } of entries) {
      if (total <= this.maxBytes) break;
      if (key === fresh) continue;
      await unlink(join(this.folder, `${key}.json`)).catch(() => undefined);
      await unlink(join(this.folder, library)).catch(() => undefined);
      total -= bytes;
    }
    for (const name of names) {
      if (!(name.startsWith('work-') || name.endsWith('.so')) || owned.has(name)) continue;
      const path = join(this.folder, name);
      const old = await stat(path).then(
        ({ mtimeMs }) => Date.now() - mtimeMs > STALE_MILLISECONDS,
        () => false,
      );
      if (old) await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}

/** Why a folder cannot be the cache; undefined if it can. */
async function reasonAgainst(folder: string): Promise<string | undefined> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found = await lstat(folder);
    const user = process.getuid?.();
    if (!found.isDirectory()) return `${folder} is not a folder`;
    if (user !== undefined && found.uid !== user) return `${folder} belongs to user ${found.uid}, this is user ${user}`;
    if ((found.mode & 0o022) !== 0) {
      return `others may write to ${folder} (mode ${(found.mode & 0o777).toString(8)}; remove it, or set it to 700)`;
    }
    if ((found.mode & 0o777) !== 0o700) await chmod(folder, 0o700);
    const trial = await mkdtemp(join(folder, 'work-'));
    await rm(trial, { recursive: true });
    return undefined;
  } catch (error) {
    const { code = 'error' } = error as NodeJS.ErrnoException;
    return `${folder} cannot be written (${code})`;
  }
}

function parsePointer(text: string, key: string): Pointer | undefined {
  try {
    const { library, sha256: digest, bytes } = JSON.parse(text) as Partial<Pointer>;
    // A name within the folder, whatever the file says.
    if (typeof library !== 'string' || !library.startsWith(key) || !/^[0-9a-f-]+\.so$/.test(library)) return undefined;
    if (typeof digest !== 'string' || typeof bytes !== 'number') return undefined;
    return { library, sha256: digest, bytes };
  } catch {
    return undefined;
  }
}
