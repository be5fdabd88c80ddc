import type { Registrar } from '../src/contracts';
import { cifar10, cifarOptions } from './cifar-10';
import { fashionMnist } from './fashion-mnist';
import { CIFAR_10 } from './files/cifar-10';
import { FASHION_MNIST } from './files/fashion-mnist';
import { csvFileOptions } from './files/csv';
import { csvDataset } from './files/csv-file';
import { imageFolderDataset, imageFolderOptions } from './files/image-folder';
import { filesOf } from './files/image-store';
import { mnistFiles } from './files/mnist-data';
import { textFile, textFileOptions } from './files/text-file';
import { fetchedImageOptions, imageOptions } from './image-dataset';
import { mnist } from './mnist';

export { arrayDataset, type ArrayDatasetOptions, type SplitArrays } from './array-dataset';
export { cifar10 } from './cifar-10';
export { type CsvOptions } from './files/csv';
export { type BySplit, type DealOptions } from './deal';
export { fashionMnist } from './fashion-mnist';
export { type FetchedImageOptions, type ImageOptions } from './image-dataset';
export { csvDataset } from './files/csv-file';
export { imageFolderDataset, type ImageFolderOptions } from './files/image-folder';
export { textFile, type TextFileOptions } from './files/text-file';
export { mnist } from './mnist';
export { tfDataset, type TfDatasetOptions } from './tf-dataset';
export { textDataset, vocabularyOf, type TextDatasetOptions, type TextOptions } from './text';

/** One line a data set. */
export function registerDatasets({ dataset }: Registrar): void {
  dataset('mnist', {
    description: 'MNIST digits, 28 × 28 grey, 50000 train / 10000 validation / 10000 test',
    options: imageOptions,
    files: mnistFiles(),
    create: mnist,
  });
  dataset('fashion-mnist', {
    description:
      'Fashion-MNIST clothes, 28 × 28 grey, 50000 train / 10000 validation / 10000 test; fetched on first use',
    options: fetchedImageOptions,
    files: filesOf(FASHION_MNIST),
    create: (options, { watch }) => fashionMnist(options, watch),
  });
  dataset('cifar-10', {
    description: 'CIFAR-10, 32 × 32 colour, 40000 train / 10000 validation / 10000 test; fetched on first use',
    options: cifarOptions,
    files: filesOf(CIFAR_10),
    create: (options, { watch }) => cifar10(options, watch),
  });
  dataset('csv', {
    description: 'a CSV file of your own: numbers, and a label in the column that `label` names',
    options: csvFileOptions,
    create: ({ path, ...options }) => csvDataset(path, options),
  });
  dataset('images', {
    description: 'a folder of your own, with a folder of PNG or JPEG pictures for each class',
    options: imageFolderOptions,
    create: ({ path, ...options }) => imageFolderDataset(path, options),
  });
  dataset('text', {
    description: 'windows of the characters of a text file, cut in order into train, validation and test',
    options: textFileOptions,
    create: textFile,
  });
}
