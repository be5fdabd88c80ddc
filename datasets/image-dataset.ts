/** Image classification sets as resident uint8 tables: what MNIST and its relatives share. */
import { z } from 'zod';
import { ConfigurationError, type Dataset, type DataSplit, type Split } from '../src/contracts';
import { resizeBilinear } from './resize';
import { checkRows } from './rows';
import { tableDataset } from './table-dataset';

/** Images [rows, height, width, channels], row-major, with one label each. */
export interface LabelledImages {
  readonly rows: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

export const imageOptions = z.strictObject({
  /** Resizes to size × size (datasets/resize.ts). By default images keep their size. */
  size: z.int().min(1).max(256).optional(),
  /** `inputShape` is [height·width·channels] if true, else [height, width, channels]. */
  flatten: z.boolean().default(true),
  /**
   * `standard`: (x/255 − mean)/std with the published mean and standard deviation of the training pixels at full size;
   * `unit`: x/255; or a mean and a standard deviation of one's own, both of x/255.
   */
  normalise: z
    .union([z.enum(['standard', 'unit']), z.strictObject({ mean: z.number(), std: z.number().positive() })])
    .default('standard'),
  /** Part of the training images that is `validation`, between 0 and 1; the test images stay what they are. */
  validationShare: z.number().gt(0).lt(1).optional(),
});
export type ImageOptions = z.input<typeof imageOptions>;

/** Of sets that are fetched. */
export const fetchedImageOptions = imageOptions.extend({
  /** A folder of the files that the set was published as, instead of the fetched ones. */
  folder: z.string().min(1).optional(),
});
export type FetchedImageOptions = z.input<typeof fetchedImageOptions>;

type ImageSchema = typeof imageOptions | typeof fetchedImageOptions;

/** @throws ConfigurationError for the first option that is wrong, under the name of the data set. */
export function checkedImageOptions<S extends ImageSchema = typeof imageOptions>(
  name: string,
  options: z.input<S>,
  schema: S = imageOptions as S,
): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data as z.output<S>;
  const [issue] = parsed.error.issues;
  if (issue.code === 'unrecognized_keys') {
    throw new ConfigurationError(
      name,
      `the options ${Object.keys(schema.shape).join(', ')}`,
      issue.keys.map((key) => `"${key}"`).join(', '),
    );
  }
  const given = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], options);
  const expected: Record<string, string> = {
    size: 'an integer from 1 to 256',
    flatten: 'true or false',
    normalise: '"standard", "unit" or {mean, std} with a positive std',
    validationShare: 'a number between 0 and 1, both excluded',
    folder: 'the path of a folder',
  };
  const key = String(issue.path[0]);
  throw new ConfigurationError(
    `${name}.${key}`,
    expected[key],
    typeof given === 'number' ? String(given) : JSON.stringify(given),
  );
}

/** Raw pixels 0 … 255 to network inputs, as `raw·scale + offset`. */
export function decodeOf(
  normalise: z.output<typeof imageOptions>['normalise'],
  published: { readonly mean: number; readonly std: number },
): { readonly scale: number; readonly offset: number } {
  if (normalise === 'unit') return { scale: 1 / 255, offset: 0 };
  const { mean, std } = normalise === 'standard' ? published : normalise;
  return { scale: 1 / (255 * std), offset: -mean / std };
}

/** Training rows that are `validation`. @throws ConfigurationError for a share that leaves one of the two parts empty. */
function validationRowsOf(name: string, rows: number, share: number): number {
  const validation = Math.round(rows * share);
  if (validation > 0 && validation < rows) return validation;
  throw new ConfigurationError(
    `${name}.validationShare`,
    `a share that leaves a row or more in both parts of ${rows} rows`,
    String(share),
  );
}

/**
 * The first `train.rows − validationRows` training images are the split `train`, the last `validationRows` (or the share
 * that the options ask for) are `validation`, all of the test images are `test`. Splits are views of one table; labels are
 * uint8, seen as int32.
 * @throws DatasetError for an empty image or a label out of range. @throws ConfigurationError for a wrong option.
 */
export function imageDataset(
  source: {
    readonly name: string;
    /** Tells contents of one name apart; absent if there is but one. */
    readonly content?: string;
    readonly classes: number;
    readonly validationRows: number;
    /** Published moments of x/255 over the training pixels. */
    readonly moments: { readonly mean: number; readonly std: number };
    readonly train: LabelledImages;
    readonly test: LabelledImages;
  },
  options: ImageOptions = {},
): Dataset {
  const { name, classes, train, test } = source;
  const { size, flatten, normalise, validationShare } = checkedImageOptions(name, options);
  const validationRows =
    validationShare === undefined ? source.validationRows : validationRowsOf(name, train.rows, validationShare);
  checkRows(`${name} training images`, train, classes, 'Fetch the file again.');
  checkRows(`${name} test images`, test, classes, 'Fetch the file again.');

  const called = source.content === undefined ? name : `${name}@${source.content}`;
  const shape = [size ?? train.height, size ?? train.width, train.channels];
  const rowSize = shape.reduce((a, b) => a * b, 1);
  const inputShape = flatten ? [rowSize] : shape;
  const decode = decodeOf(normalise, source.moments);
  const pixelsOf = (images: LabelledImages): Uint8Array =>
    size === undefined || (size === images.height && size === images.width)
      ? images.pixels
      : resizeBilinear(images, size);

  const splitOf = (split: Split, pixels: Uint8Array, labels: Uint8Array, from: number, to: number): DataSplit => {
    const rows = to - from;
    // Engines keep one copy a name: whatever changes a table's numbers or shape is part of it.
    const named = (column: string, rowShape: readonly number[]): string =>
      `${called}/${split}/${column}[${[rows, ...rowShape].join('x')}]`;
    return {
      rows,
      xs: {
        table: {
          name: named(`xs-${shape.join('x')}`, inputShape),
          values: pixels.subarray(from * rowSize, to * rowSize),
          dtype: 'uint8',
          rows,
          rowShape: inputShape,
        },
        decode,
      },
      ys: {
        table: { name: named('ys', []), values: labels.subarray(from, to), dtype: 'uint8', rows, rowShape: [] },
      },
    };
  };

  const trainRows = train.rows - validationRows;
  const trainPixels = pixelsOf(train);
  return tableDataset({
    name,
    inputShape,
    classes,
    splits: {
      train: splitOf('train', trainPixels, train.labels, 0, trainRows),
      validation: splitOf('validation', trainPixels, train.labels, trainRows, train.rows),
      test: splitOf('test', pixelsOf(test), test.labels, 0, test.rows),
    },
  });
}
