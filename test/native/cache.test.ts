/** The cache of compiled libraries: races, foreign folders, damage, eviction. Needs no compiler. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, LibraryCache, sha256 } from '../../src/engines/native/compile';
import { removeFolders, temporaryFolder } from '../support/native';

afterAll(removeFolders);

const KEY = sha256('a key');

async function put(cache: LibraryCache, key: string, content: string): Promise<string> {
  const file = join(await cache.workFolder(), 'program.so');
  writeFileSync(file, content);
  return cache.store(key, file);
}

async function opened(maxBytes?: number): Promise<LibraryCache> {
  return LibraryCache.open(join(temporaryFolder(), 'native'), maxBytes === undefined ? {} : { maxBytes });
}

test('the folder is OUTERLOOP_CACHE, XDG_CACHE_HOME or ~/.cache, and relative paths do not count', () => {
  expect(cacheFolder({ OUTERLOOP_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a/native');
  expect(cacheFolder({ OUTERLOOP_CACHE: 'a', XDG_CACHE_HOME: '/b' })).toBe('/b/outerloop/native');
  expect(cacheFolder({ XDG_CACHE_HOME: 'b' })).toMatch(/^\/.*\/\.cache\/outerloop\/native$/);
});

test('what is stored is found again, in a folder for the user alone', async () => {
  const cache = await opened();
  expect(await cache.find(KEY)).toBeUndefined();
  const path = await put(cache, KEY, 'a library');
  expect(readFileSync(path, 'utf8')).toBe('a library');
  expect(await cache.find(KEY)).toBe(path);
  expect(await (await LibraryCache.open(cache.folder)).find(KEY)).toBe(path);
  expect(await cache.find(sha256('another'))).toBeUndefined();
  expect(statSync(cache.folder).mode & 0o777).toBe(0o700);
  expect(statSync(path).mode & 0o077).toBe(0);
  await cache.close();
  expect(existsSync(path)).toBe(true);
});

test.each([
  ['cut short', (path: string) => truncateSync(path, 4)],
  ['changed in one byte', (path: string) => writeFileSync(path, 'b library')],
  ['with a pointer that is no JSON', (_: string, pointer: string) => writeFileSync(pointer, '{')],
  [
    'with a pointer out of the folder',
    (_: string, pointer: string) =>
      writeFileSync(pointer, JSON.stringify({ library: '../x.so', sha256: 'x', bytes: 1 })),
  ],
])('an entry %s is not used, and made anew', async (_, damage) => {
  const cache = await opened();
  const path = await put(cache, KEY, 'a library');
  damage(path, join(cache.folder, `${KEY}.json`));
  expect(await cache.find(KEY)).toBeUndefined();
  expect(readdirSync(cache.folder)).not.toContain(`${KEY}.json`);
  expect(await cache.find(await put(cache, KEY, 'a library').then(() => KEY))).toBe(path);
});

test('libraries unused for longest go first, and the new one stays', async () => {
  const cache = await opened(250);
  const keys = ['a', 'b', 'c', 'd'].map((name) => sha256(name));
  const content = 'x'.repeat(100);
  const used = async (key: string, seconds: number): Promise<void> => {
    utimesSync(join(cache.folder, `${key}.json`), seconds, seconds);
    return Promise.resolve();
  };
  const first = await put(cache, keys[0], content);
  await used(keys[0], 1000);
  await put(cache, keys[1], `${content.slice(1)}y`);
  await used(keys[1], 2000);
  // Looked up, hence younger than the second.
  expect(await cache.find(keys[0])).toBe(first);
  await put(cache, keys[2], `${content.slice(1)}z`);
  expect(await Promise.all(keys.map(async (key) => (await cache.find(key)) !== undefined))).toEqual([
    true,
    false,
    true,
    false,
  ]);
  // One library larger than all that is allowed: it is used, and nothing else is kept.
  await put(cache, keys[3], 'x'.repeat(300));
  expect(await Promise.all(keys.map(async (key) => (await cache.find(key)) !== undefined))).toEqual([
    false,
    false,
    false,
    true,
  ]);
  expect(readdirSync(cache.folder).filter((name) => name.endsWith('.so'))).toHaveLength(1);
});

test('what a process left that died is removed after an hour, not before', async () => {
  const cache = await opened();
  const [old, young] = [await cache.workFolder(), await cache.workFolder()];
  const orphan = join(cache.folder, `${KEY}-0123456789abcdef.so`);
  writeFileSync(orphan, 'x');
  const then = Date.now() / 1000 - 4000;
  for (const path of [old, orphan]) utimesSync(path, then, then);
  await put(cache, sha256('b'), 'y');
  expect([old, orphan, young].map((path) => existsSync(path))).toEqual([false, false, true]);
});

describe('a folder that cannot be trusted or written is not used, and that is said once', () => {
  const folder = (): string => join(temporaryFolder(), 'native');
  test.each([
    [
      'that others may write to',
      /others may write to .*mode 777/,
      () => {
        const path = folder();
        mkdirSync(path);
        chmodSync(path, 0o777);
        return path;
      },
    ],
    [
      'that is a file',
      /cannot be written \(EEXIST\)|is not a folder/,
      () => {
        const path = folder();
        writeFileSync(path, '');
        return path;
      },
    ],
    [
      'that is a link to a folder',
      /is not a folder/,
      () => {
        const path = folder();
        symlinkSync(temporaryFolder(), path);
        return path;
      },
    ],
    [
      'below a file',
      /cannot be written \(ENOTDIR\)/,
      () => {
        const file = folder();
        writeFileSync(file, '');
        return join(file, 'native');
      },
    ],
  ])('%s', async (_, reason, make) => {
    const path = make();
    const notices: string[] = [];
    const cache = await LibraryCache.open(path, { notice: (text) => notices.push(text) });
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(reason);
    expect(notices[0]).toContain('compiled anew at every start');
    expect(cache.folder.startsWith(path)).toBe(false);
    expect(statSync(cache.folder).mode & 0o777).toBe(0o700);
    const stored = await put(cache, KEY, 'a library');
    expect(await cache.find(KEY)).toBe(stored);
    await cache.close();
    expect(existsSync(cache.folder)).toBe(false);
  });

  test('of another user', async () => {
    const path = folder();
    mkdirSync(path, { mode: 0o700 });
    const uid = process.getuid!();
    const spy = jest.spyOn(process, 'getuid').mockReturnValue(uid + 1);
    try {
      const notices: string[] = [];
      const cache = await LibraryCache.open(path, { notice: (text) => notices.push(text) });
      expect(notices[0]).toContain(`belongs to user ${uid}, this is user ${uid + 1}`);
      await cache.close();
    } finally {
      spy.mockRestore();
    }
  });

  test('one that is the user’s own but open for reading is closed', async () => {
    const path = folder();
    mkdirSync(path);
    chmodSync(path, 0o755);
    const cache = await LibraryCache.open(path);
    expect(cache.kept).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });
});

test('processes that store and read the same keys at the same time find whole libraries or none', async () => {
  const path = join(temporaryFolder(), 'native');
  const script = join(__dirname, '../support/cache-race.js');
  const children = [1, 2, 3].map(
    (seed) =>
      new Promise<string>((resolve) => {
        const child = spawn(process.execPath, [script, path, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] });
        let text = '';
        child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
        child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
        child.on('close', () => resolve(text));
      }),
  );
  const results = (await Promise.all(children)).map((text) => JSON.parse(text) as { found: number; wrong: number });
  expect(results.reduce((sum, { wrong }) => sum + wrong, 0)).toBe(0);
  // The processes do meet each other's libraries.
  expect(Math.min(...results.map(({ found }) => found))).toBeGreaterThan(10);
}, 60_000);
