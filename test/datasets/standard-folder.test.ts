/** Folders of the published files, made small here by the formats' definitions. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { cifar10, fashionMnist } from '../../datasets';
import { readCifarFolder, readIdxFolder } from '../../datasets/files/standard-folder';
import { ConfigurationError, DatasetError, DatasetUnavailableError } from '../../src/contracts';
import { uniforms } from '../../src/random';
import { temporaryFolder } from '../outer/compiled';
import { idx } from '../support/made-packages';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (seed: number, count: number): Uint8Array =>
  Uint8Array.from(uniforms([seed, 9], count), (u) => Math.floor(u * 256));

describe('IDX files', () => {
  const ROWS = { train: 6, test: 3 };
  const content = {
    'train-images-idx3-ubyte': idx([6, 28, 28], bytes(1, 6 * 784)),
    'train-labels-idx1-ubyte': idx([6], Uint8Array.of(9, 0, 0, 3, 0, 2)),
    't10k-images-idx3-ubyte': idx([3, 28, 28], bytes(2, 3 * 784)),
    't10k-labels-idx1-ubyte': idx([3], Uint8Array.of(9, 2, 1)),
  };
  type Name = keyof typeof content;
  const write = (gzipped: readonly Name[] = []): void => {
    for (const name of Object.keys(content) as Name[]) {
      if (gzipped.includes(name)) writeFileSync(join(folder, `${name}.gz`), gzipSync(content[name]));
      else writeFileSync(join(folder, name), content[name]);
    }
  };

  test.each<[string, Name[]]>([
    ['plain', []],
    ['gzipped', Object.keys(content) as Name[]],
    ['mixed', ['train-images-idx3-ubyte', 't10k-labels-idx1-ubyte']],
  ])('%s: the numbers in their order', async (_, gzipped) => {
    write(gzipped);
    const { train, test: held } = await readIdxFolder(folder, ROWS);
    expect(train).toMatchObject({ rows: 6, height: 28, width: 28, channels: 1 });
    expect(Buffer.compare(train.pixels, bytes(1, 6 * 784))).toBe(0);
    expect([...train.labels]).toEqual([9, 0, 0, 3, 0, 2]);
    expect(Buffer.compare(held.pixels, bytes(2, 3 * 784))).toBe(0);
    expect([...held.labels]).toEqual([9, 2, 1]);
    expect(train.pixels.constructor).toBe(Uint8Array);
  });

  test('folders of other numbers have other names', async () => {
    write();
    const first = (await readIdxFolder(folder, ROWS)).content;
    expect((await readIdxFolder(folder, ROWS)).content).toBe(first);
    content['t10k-labels-idx1-ubyte'][content['t10k-labels-idx1-ubyte'].length - 1] ^= 1;
    write();
    expect((await readIdxFolder(folder, ROWS)).content).not.toBe(first);
    content['t10k-labels-idx1-ubyte'][content['t10k-labels-idx1-ubyte'].length - 1] ^= 1;
  });

  test.each<[string, () => void, string]>([
    [
      'cut short',
      () => writeFileSync(join(folder, 'train-images-idx3-ubyte'), content['train-images-idx3-ubyte'].subarray(0, 800)),
      'expected a size of 4720 bytes, got 800 bytes',
    ],
    [
      'of MNIST’s number of rows',
      () => writeFileSync(join(folder, 'train-labels-idx1-ubyte'), idx([5], Uint8Array.of(1, 2, 3, 4, 5))),
      'expected the shape [6], got [5]',
    ],
  ])('a file %s is refused', async (_, damage, message) => {
    write();
    damage();
    const refused = readIdxFolder(folder, ROWS);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toThrow('Put the published file there.');
  });

  test.each<[string, (packed: Buffer) => Buffer]>([
    ['cut short', (packed) => packed.subarray(0, packed.length - 20)],
    [
      'with a changed byte',
      (packed) =>
        Buffer.concat([packed.subarray(0, -6), Buffer.of(packed[packed.length - 6] ^ 1), packed.subarray(-5)]),
    ],
    ['that is none', () => Buffer.from('not gzipped')],
    ['that unpacks to far more', () => gzipSync(Buffer.alloc(1e6))],
  ])('a gzip file %s is refused', async (_, change) => {
    write(['train-images-idx3-ubyte']);
    const path = join(folder, 'train-images-idx3-ubyte.gz');
    writeFileSync(path, change(gzipSync(content['train-images-idx3-ubyte'])));
    const refused = readIdxFolder(folder, ROWS);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(`${path}: expected a whole gzip file, got`);
  });

  test('fashionMnist reads the folder in the published order', async () => {
    // At the published size; one number a row differs.
    const pixels = new Uint8Array(60000 * 784);
    for (let row = 0; row < 60000; row++) pixels[row * 784 + (row % 784)] = 1 + (row % 255);
    const labels = Uint8Array.from({ length: 60000 }, (_, row) => (row * 7) % 10);
    writeFileSync(join(folder, 'train-images-idx3-ubyte'), idx([60000, 28, 28], pixels));
    writeFileSync(join(folder, 'train-labels-idx1-ubyte'), idx([60000], labels));
    writeFileSync(join(folder, 't10k-images-idx3-ubyte'), idx([10000, 28, 28], pixels.subarray(0, 10000 * 784)));
    writeFileSync(join(folder, 't10k-labels-idx1-ubyte'), idx([10000], labels.subarray(0, 10000)));
    const { splits } = await fashionMnist({ folder });
    expect([splits.train.rows, splits.validation.rows, splits.test.rows]).toEqual([50000, 10000, 10000]);
    expect([...splits.validation.ys.table.values.slice(0, 4)]).toEqual([0, 7, 4, 1]);
    expect(splits.validation.xs.table.values[50000 % 784]).toBe(1 + (50000 % 255));

    const shared = await fashionMnist({ folder, validationShare: 0.2 });
    expect([shared.splits.train.rows, shared.splits.validation.rows]).toEqual([48000, 12000]);
    expect([...shared.splits.validation.ys.table.values.slice(0, 2)]).toEqual([(48000 * 7) % 10, (48001 * 7) % 10]);
    // Engines keep one copy a name, so other numbers need another.
    const names = [splits, shared.splits].flatMap(({ train, validation, test: held }) =>
      [train, validation, held].map(({ xs }) => xs.table.name),
    );
    expect(new Set(names).size).toBe(5);

    // An empty image is found whatever its row.
    pixels[12345 * 784 + (12345 % 784)] = 0;
    writeFileSync(join(folder, 'train-images-idx3-ubyte'), idx([60000, 28, 28], pixels));
    await expect(fashionMnist({ folder })).rejects.toThrow('got nothing but zeros in row 12345');
  });
});

describe('CIFAR binary files', () => {
  const NAMES = [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`).concat('test_batch.bin');
  const record = (label: number, seed: number): Buffer => Buffer.concat([Buffer.of(label), bytes(seed, 3072)]);
  const write = (): void =>
    NAMES.forEach((name, i) =>
      writeFileSync(join(folder, name), Buffer.concat([record(i, 2 * i), record(i + 1, 2 * i + 1)])),
    );

  test('planes of colours become interleaved pixels', async () => {
    write();
    const { train, test: held } = await readCifarFolder(folder, 2);
    expect(train).toMatchObject({ rows: 10, height: 32, width: 32, channels: 3 });
    expect([...train.labels]).toEqual([0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
    expect([...held.labels]).toEqual([5, 6]);
    // The pixel in line y and column x of the second image of batch 3, by the definition: red plane, green plane, blue plane.
    const planes = bytes(5, 3072);
    for (const [y, x] of [
      [0, 0],
      [0, 31],
      [31, 0],
      [17, 4],
    ]) {
      const at = ((5 * 32 + y) * 32 + x) * 3;
      const pixel = 32 * y + x;
      expect([...train.pixels.subarray(at, at + 3)]).toEqual([
        planes[pixel],
        planes[1024 + pixel],
        planes[2048 + pixel],
      ]);
    }
  });

  test('a file of another size is refused', async () => {
    write();
    writeFileSync(join(folder, 'data_batch_4.bin'), record(1, 1));
    const refused = readCifarFolder(folder, 2);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(
      `${join(folder, 'data_batch_4.bin')}: expected a size of 6146 bytes, got 3073 bytes`,
    );
  });
});

test.each([
  [cifar10, 'data.folder: expected the file data_batch_1.bin in'],
  [fashionMnist, 'data.folder: expected the file train-'],
])('a folder without the files is a mistake of the user', async (load, message) => {
  const refused = load({ folder });
  await expect(refused).rejects.toThrow(DatasetUnavailableError);
  await expect(refused).rejects.toThrow(message);
  await expect(load({ folder: join(folder, 'nowhere') })).rejects.toThrow(message);
  await expect(refused).rejects.toMatchObject({ exitCode: 2 });
});

test.each([
  [{ folder: '' }, 'cifar-10.folder: expected the path of a folder, got ""'],
  [{ validationShare: 1 }, 'cifar-10.validationShare: expected a number between 0 and 1, both excluded, got 1'],
  [{ colour: true }, 'cifar-10: expected the options size, flatten, normalise, validationShare, folder, got "colour"'],
])('options %j are refused before anything is fetched', async (options, message) => {
  const refused = cifar10(options as Parameters<typeof cifar10>[0]);
  await expect(refused).rejects.toThrow(ConfigurationError);
  await expect(refused).rejects.toThrow(message);
});
