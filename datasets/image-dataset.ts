/** Image classification sets as resident uint8 tables: what MNIST and its relatives share. */
import { z } from 'zod';
import { ConfigurationError, DatasetError, type Dataset, type DataSplit, type Split } from '../src/contracts';
import { resizeBilinear } from './resize';
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
});
export type ImageOptions = z.input<typeof imageOptions>;

/** @throws ConfigurationError for the first option that is wrong, under the name of the data set. */
export function checkedImageOptions(name: string, options: ImageOptions): z.output<typeof imageOptions> {
  const parsed = imageOptions.safeParse(options);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue.code === 'unrecognized_keys') {
    throw new ConfigurationError(
      name,
      `the options ${Object.keys(imageOptions.shape).join(', ')}`,
      issue.keys.map((key) => `"${key}"`).join(', '),
    );
  }
  const given = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], options);
  const expected: Record<string, string> = {
    size: 'an integer from 1 to 256',
    flatten: 'true or false',
    normalise: '"standard", "unit" or {mean, std} with a positive std',
  };
  const key = String(issue.path[0]);
  throw new ConfigurationError(
    `${name}.${key}`,
    expected[key],
    typeof given === 'number' ? String(given) : JSON.stringify(given),
  );
}

/** Raw pixels 0 … 255 to network inputs, as `raw·scale + offset`. */
function decodeOf(
  normalise: z.output<typeof imageOptions>['normalise'],
  published: { readonly mean: number; readonly std: number },
): { readonly scale: number; readonly offset: number } {
  if (normalise === 'unit') return { scale: 1 / 255, offset: 0 };
  const { mean, std } = normalise === 'standard' ? published : normalise;
  return { scale: 1 / (255 * std), offset: -mean / std };
}

function checkLabels(name: string, labels: Uint8Array, classes: number): void {
  const row = labels.findIndex((label) => label >= classes);
  if (row >= 0) {
    throw new DatasetError(
      `${name}: expected labels from 0 to ${classes - 1}, got ${labels[row]} in row ${row}. Fetch the file again.`,
    );
  }
}

/**
 * The first `train.rows − validationRows` training images are the split `train`, the last `validationRows` are
 * `validation`, all of the test images are `test`. Splits are views of one table; labels are uint8, seen as int32.
 * @throws DatasetError for a label out of range. @throws ConfigurationError for a wrong option.
 */
export function imageDataset(
  source: {
    readonly name: string;
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
  const { size, flatten, normalise } = checkedImageOptions(name, options);
  checkLabels(`${name} training labels`, train.labels, classes);
  checkLabels(`${name} test labels`, test.labels, classes);

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
      `${name}/${split}/${column}[${rowShape.join('x')}]`;
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

  const trainRows = train.rows - source.validationRows;
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
