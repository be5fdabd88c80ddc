/** The data set `images`: a folder of the user's with a folder of pictures for each class. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { DataFileError, SPLITS, type Dataset, type Split } from '../../src/contracts';
import { arrayDataset } from '../array-dataset';
import { checkedOptions, deal, dealOptions, dealtSplits, pathOrPaths, type BySplit } from '../deal';
import { decodeOf, imageOptions } from '../image-dataset';
import { resizeBilinear } from '../resize';
import { decodeImage } from './decode-image';
import { readOwn, unreadable } from './own-file';

const MOST_FILE_BYTES = 64 * 2 ** 20;
/** Pixels of all pictures are kept in memory, a byte each. */
const MOST_BYTES = 2 ** 31;
/** What systems put into folders. */
const IGNORED = /^(?:\.|Thumbs\.db$|desktop\.ini$)/i;

export const imageFolderOptions = imageOptions
  .pick({ size: true, normalise: true })
  .extend(dealOptions.shape)
  .extend({
    /** Colours, or grey. */
    channels: z.union([z.literal(1), z.literal(3)]).default(3),
    flatten: z.boolean().default(false),
    /** The folder, or one for each split: {train, validation?, test?}. */
    path: pathOrPaths,
  });
export type ImageFolderOptions = Omit<z.input<typeof imageFolderOptions>, 'path'>;
type Settings = z.output<typeof imageFolderOptions>;

interface Labelled {
  readonly file: string;
  readonly label: string;
}

async function sortedNames(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !IGNORED.test(name)).sort((a, b) => (a < b ? -1 : 1));
  } catch (cause) {
    return unreadable('images', folder, cause, 'folder');
  }
}

/** Every file of every class, by class and name. */
async function listed(folder: string): Promise<{ readonly classes: string[]; readonly files: Labelled[] }> {
  const classes: string[] = [];
  const files: Labelled[] = [];
  for (const label of await sortedNames(folder)) {
    if (!(await stat(join(folder, label))).isDirectory()) continue;
    classes.push(label);
    const names = await sortedNames(join(folder, label));
    if (names.length === 0) throw new DataFileError(join(folder, label), {}, 'pictures', 'an empty folder');
    files.push(...names.map((name) => ({ file: join(folder, label, name), label })));
  }
  if (classes.length >= 2) return { classes, files };
  const got = classes.length === 0 ? 'no folder' : `only "${classes[0]}"`;
  throw new DataFileError(folder, {}, 'a folder of pictures for each of two classes or more', got);
}

/** Decodes pictures one after another into one array; the first of all says what size the others have. */
class Pixels {
  private shape: readonly [number, number] | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly total: number,
  ) {}

  /** [height, width, channels] */
  get rowShape(): number[] {
    return [...(this.shape ?? []), this.settings.channels];
  }

  async of(files: readonly Labelled[]): Promise<Uint8Array> {
    const { size, channels } = this.settings;
    let out = new Uint8Array();
    for (const [i, { file }] of files.entries()) {
      const { width, height, pixels } = decodeImage(file, await readOwn(file, 'images', MOST_FILE_BYTES), channels);
      this.shape ??= [size ?? height, size ?? width];
      const [h, w] = this.shape;
      if (size === undefined && (h !== height || w !== width)) {
        const hint = 'Resize all of them by data.size.';
        throw new DataFileError(file, {}, `a picture of ${w} × ${h}, as the first is`, `${width} × ${height}`, hint);
      }
      const row = h * w * channels;
      if (row * this.total > MOST_BYTES) {
        const got = `${this.total} pictures of ${w} × ${h}`;
        throw new DataFileError(
          file,
          {},
          `at most ${MOST_BYTES} bytes of pixels`,
          got,
          'Make them smaller by data.size.',
        );
      }
      if (out.length === 0) out = new Uint8Array(files.length * row);
      const fits = h === height && w === width;
      out.set(fits ? pixels : resizeBilinear({ pixels, rows: 1, height, width, channels }, h), i * row);
    }
    return out;
  }
}

function momentsOf(pixels: Uint8Array): { mean: number; std: number } {
  let [sum, squares] = [0, 0];
  for (const pixel of pixels) {
    sum += pixel;
    squares += pixel * pixel;
  }
  const mean = sum / pixels.length;
  const variance = squares / pixels.length - mean * mean;
  return { mean: mean / 255, std: variance > 0 ? Math.sqrt(variance) / 255 : 1 };
}

/**
 * Pictures, PNG or JPEG, in a folder for each class. The class of a picture is the name of its folder; classes are numbered in
 * the order of their names (by UTF-16 units), and `classNames` lists them. Inputs are [height, width, channels], or one vector with
 * `flatten`. Without `size` all have one size; with it each is made size × size as the built-in sets are.
 *
 * Pictures are permuted by `seed` (0) and cut by `shares` (0.8, 0.1, 0.1). `path` may also be {train, validation?, test?}: what has
 * no folder of its own is dealt out of that of `train`. `normalise: 'standard'` takes mean and deviation of the pixels of `train`.
 * Turned pictures (EXIF) stay as they are stored; interlaced PNGs are refused.
 * @throws DatasetUnavailableError for a folder that is not there. @throws DataFileError for a file that is no picture, is cut
 * short or of another size, a class that `train` lacks. @throws ConfigurationError
 */
export async function imageFolderDataset(
  path: string | BySplit<string>,
  options: ImageFolderOptions = {},
): Promise<Dataset> {
  const settings = checkedOptions(imageFolderOptions, { ...options, path }, 'data');
  const given: BySplit<string> = typeof settings.path === 'string' ? { train: settings.path } : settings.path;
  const train = await listed(given.train);
  const order = deal(`"${given.train}"`, train.files.length, dealtSplits(given), settings);
  const filesOf = async (split: Split): Promise<Labelled[]> => {
    const own = given[split];
    const dealt = order[split];
    if (dealt !== undefined || own === undefined) return Array.from(dealt ?? [], (row) => train.files[row]);
    const { files } = await listed(own);
    const strange = files.find(({ label }) => !train.classes.includes(label));
    if (strange === undefined) return files;
    throw new DataFileError(strange.file, {}, `a class of ${given.train}`, `"${strange.label}"`);
  };
  const files = { train: await filesOf('train'), validation: await filesOf('validation'), test: await filesOf('test') };
  const pixels = new Pixels(
    settings,
    SPLITS.reduce((sum, split) => sum + files[split].length, 0),
  );
  const arraysOf = async (split: Split) => ({
    xs: await pixels.of(files[split]),
    ys: files[split].map(({ label }) => train.classes.indexOf(label)),
  });
  const splits = {
    train: await arraysOf('train'),
    validation: await arraysOf('validation'),
    test: await arraysOf('test'),
  };
  const shape = pixels.rowShape;
  return arrayDataset({
    name: `images ${basename(resolve(given.train))}`,
    inputShape: settings.flatten ? [shape.reduce((a, b) => a * b, 1)] : shape,
    classes: train.classes.length,
    classNames: train.classes,
    decode: decodeOf(settings.normalise, momentsOf(splits.train.xs)),
    splits,
  });
}
