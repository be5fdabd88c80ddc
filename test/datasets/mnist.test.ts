import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageDataset } from '../../datasets/image-dataset';
import { mnistDataFolder, readMnistData } from '../../datasets/files/mnist-data';
import { mnist, registerDatasets } from '../../datasets';
import { ConfigurationError, DatasetError, type Dataset, type Registrar } from '../../src/contracts';

const FILES = [
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
];

test('splits are views of the files, without a copy of the pixels', async () => {
  const { train, validation, test: held } = (await mnist()).splits;
  expect(train.xs.table.values.buffer).toBe(validation.xs.table.values.buffer);
  expect(train.ys.table.values.buffer).toBe(validation.ys.table.values.buffer);
  // The published sizes of the files: 16 or 8 bytes of header before the numbers.
  expect(train.xs.table.values.buffer.byteLength).toBe(47040016);
  expect(held.xs.table.values.buffer.byteLength).toBe(7840016);
});

test('the first rows are those of the published files', async () => {
  const { splits } = await mnist();
  // The first labels of train-labels-idx1-ubyte and t10k-labels-idx1-ubyte, as everyone's first plot shows them.
  expect([...splits.train.ys.table.values.slice(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
  expect([...splits.test.ys.table.values.slice(0, 10)]).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
  // Row 50000 of the file is the first of the validation rows.
  const labels = await readFile(join(mnistDataFolder(), 'train-labels-idx1-ubyte'));
  expect([...splits.validation.ys.table.values.slice(0, 10)]).toEqual([...labels.subarray(50008, 50018)]);
  const images = await readFile(join(mnistDataFolder(), 'train-images-idx3-ubyte'));
  const row = images.subarray(16 + 50000 * 784, 16 + 50001 * 784);
  expect(Buffer.compare(row, Buffer.from(splits.validation.xs.table.values.slice(0, 784)))).toBe(0);
});

test.each([
  ['standard', { scale: 1 / 255 / 0.30811, offset: -0.13066 / 0.30811 }],
  ['unit', { scale: 1 / 255, offset: 0 }],
  [
    { mean: 0.5, std: 0.25 },
    { scale: 4 / 255, offset: -2 },
  ],
] as const)('normalisation %j is a scale and an offset', async (normalise, expected) => {
  const { decode } = (await mnist({ normalise })).splits.test.xs;
  expect(decode?.scale).toBeCloseTo(expected.scale, 15);
  expect(decode?.offset).toBeCloseTo(expected.offset, 15);
});

test('tables of other numbers or shapes have other names, tables of the same have the same', async () => {
  const name = async (options: Parameters<typeof mnist>[0]): Promise<string> =>
    (await mnist(options)).splits.test.xs.table.name;
  const names = await Promise.all([{}, { size: 28 }, { normalise: 'unit' as const }].map(name));
  expect(new Set(names).size).toBe(1);
  const others = await Promise.all([{}, { size: 8 }, { size: 7 }, { flatten: false }].map(name));
  expect(new Set(others).size).toBe(4);
});

test.each([
  [{ size: 0 }, 'mnist.size: expected an integer from 1 to 256, got 0'],
  [{ size: 8.5 }, 'mnist.size: expected an integer from 1 to 256, got 8.5'],
  [{ size: NaN }, 'mnist.size: expected an integer from 1 to 256, got NaN'],
  [{ flatten: 'yes' }, 'mnist.flatten: expected true or false, got "yes"'],
  [
    { normalise: 'unti' },
    'mnist.normalise: expected "standard", "unit" or {mean, std} with a positive std, got "unti"',
  ],
  [
    { normalise: { mean: 0, std: 0 } },
    'mnist.normalise: expected "standard", "unit" or {mean, std} with a positive std',
  ],
  [{ sise: 8 }, 'mnist: expected the options size, flatten, normalise, validationShare, got "sise"'],
])('options %j are refused', async (options, message) => {
  const refused = mnist(options as Parameters<typeof mnist>[0]);
  await expect(refused).rejects.toThrow(ConfigurationError);
  await expect(refused).rejects.toThrow(message);
});

describe('files', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'outerloop-mnist-'));
    for (const file of FILES) await copyFile(join(mnistDataFolder(), file), join(folder, file));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const damage = async (file: string, change: (bytes: Buffer) => Buffer): Promise<string> => {
    const path = join(folder, file);
    await writeFile(path, change(await readFile(path)));
    return path;
  };
  const poke = (at: number, value: number) => (bytes: Buffer) => {
    bytes[at] = value;
    return bytes;
  };

  test.each([
    [
      'cut short',
      'train-images-idx3-ubyte',
      (b: Buffer) => b.subarray(0, 1000),
      'expected a size of 47040016 bytes, got 1000 bytes',
    ],
    [
      'one byte too long',
      't10k-labels-idx1-ubyte',
      (b: Buffer) => Buffer.concat([b, b.subarray(0, 1)]),
      'expected a size of 10008 bytes, got 10009 bytes',
    ],
    [
      'empty',
      't10k-labels-idx1-ubyte',
      (b: Buffer) => b.subarray(0, 0),
      'expected a header of 8 bytes, got a file of 0 bytes',
    ],
    [
      'of another magic number',
      't10k-images-idx3-ubyte',
      poke(3, 1),
      'expected the magic number 0x00000803, got 0x00000801',
    ],
    [
      'still gzipped',
      'train-labels-idx1-ubyte',
      (b: Buffer) => {
        b.writeUInt32BE(0x1f8b0808);
        return b;
      },
      'got 0x1f8b0808',
    ],
    [
      'of another shape',
      't10k-images-idx3-ubyte',
      poke(11, 32),
      'expected the shape [10000, 28, 28], got [10000, 32, 28]',
    ],
    ['with a changed pixel', 'train-images-idx3-ubyte', poke(20_000_000, 77), 'expected SHA-256 ba891046e650'],
    ['with a changed label', 'train-labels-idx1-ubyte', poke(100, 11), 'expected SHA-256 65a50cbbf4e9'],
  ])('a file %s', async (_, file, change, message) => {
    const path = await damage(file, change);
    const refused = readMnistData(folder);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(`${path}: `);
    await expect(refused).rejects.toThrow(message);
  });

  test('a missing file', async () => {
    await rm(join(folder, 't10k-labels-idx1-ubyte'));
    const refused = readMnistData(folder);
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow('t10k-labels-idx1-ubyte: expected a readable file, got ENOENT');
  });
});

test('labels out of range are refused, with the row', () => {
  const images = { rows: 3, height: 1, width: 1, channels: 1, pixels: Uint8Array.of(1, 2, 3) };
  const source = { name: 'tiny', classes: 2, validationRows: 1, moments: { mean: 0, std: 1 } };
  const make = (labels: Uint8Array): Dataset =>
    imageDataset({ ...source, train: { ...images, labels }, test: { ...images, labels: Uint8Array.of(0, 1, 1) } });
  expect(make(Uint8Array.of(0, 1, 1)).splits.train.rows).toBe(2);
  expect(() => make(Uint8Array.of(0, 1, 2))).toThrow(DatasetError);
  expect(() => make(Uint8Array.of(0, 1, 2))).toThrow(
    'tiny training images: expected labels from 0 to 1, got 2 in row 2',
  );
});

test('is registered under its name, with strict options', async () => {
  const registered = new Map<string, Parameters<Registrar['dataset']>[1]>();
  const dataset = (name: string, registration: Parameters<Registrar['dataset']>[1]): void => {
    registered.set(name, registration);
  };
  registerDatasets({ dataset } as unknown as Registrar);
  const entry = registered.get('mnist');
  if (entry === undefined || typeof entry === 'function') throw new Error('expected a registration with options');
  expect(entry.options?.safeParse({ size: 8, colour: 1 }).success).toBe(false);
  expect(entry.options?.parse({})).toEqual({ flatten: true, normalise: 'standard' });
  const made = await entry.create(entry.options?.parse({ size: 8 }), undefined as never);
  expect(made.inputShape).toEqual([64]);
});

test('loads within 1.5 s and 150 MB', async () => {
  const memory = (): number => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  const before = memory();
  const start = performance.now();
  const dataset = await mnist();
  expect(performance.now() - start).toBeLessThan(1500);
  expect(memory() - before).toBeLessThan(150e6);
  expect(dataset.splits.train.rows).toBe(50000);
});
