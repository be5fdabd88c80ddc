/** `outerloop data`: the files of data sets. */
import Table from 'cli-table3';
import {
  DatasetError,
  SPLITS,
  UnknownNameError,
  UserError,
  type DataCheck,
  type DataFiles,
  type DataPresence,
} from '../../contracts';
import type { OuterloopContainer } from '../../container';
import { nearNames } from '../../outer';
import { dataProgress, formatBytes } from '../data-progress';
import { EXIT } from '../exit-codes';
import { hasColour, interruptible, openContainer, type CommonOptions, type Terminal } from '../session';

interface Stored {
  readonly name: string;
  readonly files: DataFiles;
}

/** Data sets that have files, by name. */
function storedSets(container: OuterloopContainer): Stored[] {
  return container.names('dataset').flatMap((name) => {
    const { files } = container.registration('dataset', name);
    return files === undefined ? [] : [{ name, files }];
  });
}

/** @throws UnknownNameError, UserError for one that has no files; before anything is done for the others */
function chosenSets(container: OuterloopContainer, names: readonly string[], done = 'fetch or verify'): Stored[] {
  const stored = storedSets(container);
  const known = stored.map(({ name }) => name);
  return [...new Set(names)].map((name) => {
    const found = stored.find((candidate) => candidate.name === name);
    if (found !== undefined) return found;
    if (container.names('dataset').includes(name)) {
      throw new UserError(`data set "${name}" states no files of its own, so there is nothing to ${done}.`);
    }
    throw new UnknownNameError('data set', name, nearNames(name, known), known);
  });
}

/** Where files are, or `undefined` where even that is not known. */
function folderOf(files: DataFiles): string | undefined {
  try {
    return files.folder();
  } catch (error) {
    if (error instanceof DatasetError) return undefined;
    throw error;
  }
}

const STATES: Readonly<Record<DataPresence['state'], string>> = { absent: 'no', here: 'yes', damaged: 'damaged' };

export async function dataList(options: CommonOptions, { out }: Terminal): Promise<number> {
  const container = await openContainer(options.plugin ?? []);
  const sets = await Promise.all(
    storedSets(container).map(async ({ name, files }) => ({
      name,
      shape: files.shape,
      classes: files.classes,
      rows: files.rows,
      source: files.source,
      bytes: files.bytes,
      fetchBytes: files.fetchBytes,
      ...(await files.presence()),
      folder: folderOf(files),
    })),
  );
  if (options.json === true) {
    out.write(`${JSON.stringify(sets, null, 2)}\n`);
    return EXIT.ok;
  }
  const table = new Table({
    head: ['data set', 'rows', SPLITS.join(' / '), 'shape', 'size', 'here'],
    ...(hasColour(out) ? {} : { style: { head: [], border: [] } }),
  });
  for (const { name, rows, shape, bytes, state } of sets) {
    const counts = SPLITS.map((split) => rows[split]);
    const all = counts.reduce((a, b) => a + b, 0);
    table.push([name, all, counts.join(' / '), `[${shape.join(', ')}]`, formatBytes(bytes), STATES[state]]);
  }
  out.write(`${table.toString()}\n`);
  for (const { name, source, fetchBytes, folder, ...rest } of sets) {
    const size = fetchBytes === undefined ? '' : `, ${formatBytes(fetchBytes)} to fetch`;
    const lies = rest.state === 'absent' ? 'would lie' : 'lies';
    out.write(`\n${name}: from ${source}${size}\n`);
    out.write(folder === undefined ? '' : `  ${lies} in ${folder}\n`);
    if (rest.state === 'damaged') out.write(`  ${rest.reason}\n`);
  }
  return EXIT.ok;
}

export async function dataFetch(names: readonly string[], options: CommonOptions, terminal: Terminal): Promise<number> {
  const { out, err } = terminal;
  const sets = chosenSets(await openContainer(options.plugin ?? []), names);
  const onProgress = options.quiet === true || options.json === true ? undefined : dataProgress(err);
  for (const { name, files } of sets) {
    const watch = onProgress === undefined ? {} : { onProgress };
    const fetched = await interruptible(
      terminal,
      (signal) => files.fetch({ ...watch, signal }),
      'interrupted: giving up the fetch (again to stop at once)',
    );
    const folder = folderOf(files);
    out.write(
      options.json === true
        ? `${JSON.stringify({ name, fetched, folder })}\n`
        : `${name}: ${fetched ? 'fetched' : 'is here'}${folder === undefined ? '' : `, in ${folder}`}\n`,
    );
  }
  return EXIT.ok;
}

function checkLine(name: string, { files, bytes, rows, leftOut }: DataCheck): string {
  const out = leftOut.length === 0 ? '' : `; left out by the fetch: ${leftOut.join('; ')}`;
  return `${name}: whole, ${rows} rows in ${files} files of ${formatBytes(bytes)}${out}`;
}

/** Goes on after a damaged one, so that one call tells of all; the exit code is 1 then. */
export async function dataVerify(
  names: readonly string[],
  options: CommonOptions,
  terminal: Terminal,
): Promise<number> {
  const { out, err } = terminal;
  const container = await openContainer(options.plugin ?? []);
  let sets = chosenSets(container, names);
  if (names.length === 0) {
    const all = storedSets(container);
    const found = await Promise.all(all.map(({ files }) => files.presence()));
    sets = all.filter((_, i) => found[i].state !== 'absent');
  }
  let damaged = false;
  for (const { name, files } of sets) {
    try {
      const check = await files.verify();
      out.write(options.json === true ? `${JSON.stringify({ name, ...check })}\n` : `${checkLine(name, check)}\n`);
    } catch (error) {
      if (!(error instanceof DatasetError)) throw error;
      damaged = true;
      if (options.json === true) out.write(`${JSON.stringify({ name, error: error.message })}\n`);
      else err.write(`error: ${error.message}\n`);
    }
  }
  return damaged ? EXIT.failure : EXIT.ok;
}

export interface ClearOptions extends CommonOptions {
  readonly all?: boolean;
}

/** Asks nothing: what is removed can be fetched again. */
export async function dataClear(names: readonly string[], options: ClearOptions, { out }: Terminal): Promise<number> {
  const container = await openContainer(options.plugin ?? []);
  const isAll = options.all === true;
  if (isAll === names.length > 0) {
    const got = isAll ? 'both' : 'neither';
    throw new UserError(`data clear: expected names of data sets, or --all, got ${got}.`);
  }
  const chosen = isAll ? storedSets(container) : chosenSets(container, names, 'clear');
  const sets = chosen.flatMap(({ name, files }) => {
    if (files.clear !== undefined) return [{ name, files, clear: () => files.clear!() }];
    if (isAll) return [];
    throw new UserError(
      `data set "${name}" comes from ${files.source}: nothing of it was fetched, so nothing can be cleared.`,
    );
  });
  let total = 0;
  for (const { name, files, clear } of sets) {
    const folder = folderOf(files);
    const freed = await clear();
    total += freed;
    const place = folder === undefined ? '' : `, from ${folder}`;
    if (options.json === true) out.write(`${JSON.stringify({ name, freed, folder })}\n`);
    else out.write(freed === 0 ? `${name}: nothing is here\n` : `${name}: removed ${freed} bytes${place}\n`);
  }
  if (options.json !== true && sets.length > 1) out.write(`${total} bytes freed\n`);
  return EXIT.ok;
}
