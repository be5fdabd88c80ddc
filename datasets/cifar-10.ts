import { z } from 'zod';
import type { Dataset, DataWatch } from '../src/contracts';
import { CIFAR_10 } from './files/cifar-10';
import { loadImages } from './files/image-store';
import { readCifarFolder } from './files/standard-folder';
import { checkedImageOptions, fetchedImageOptions, imageDataset, type FetchedImageOptions } from './image-dataset';

/**
 * Mean and standard deviation of x/255 over all pixels and colours of the training images; of the colours by themselves
 * (0.4914, 0.4822, 0.4465) and (0.2470, 0.2435, 0.2616). One pair for all three, as a column has one scale and offset.
 */
const MOMENTS = { mean: 0.4734, std: 0.2516 };

/** As MNIST's, but images keep their shape unless `flatten` is asked for. */
export const cifarOptions = fetchedImageOptions.extend({ flatten: z.boolean().default(false) });

/**
 * CIFAR-10: 32 × 32 colour images, 60000 in 10 classes of 6000. Fetched on first use (139 MB) and kept. In the published
 * order: training batches 1 to 4 are `train`, batch 5 is `validation`, the test batch `test`. Inputs are [32, 32, 3], or
 * [3072] with `flatten`. `folder` names a folder with the published binary files instead.
 * @throws DatasetUnavailableError where it cannot be fetched. @throws DatasetError for a damaged file.
 * @throws ConfigurationError for a wrong option.
 */
export async function cifar10(options: FetchedImageOptions = {}, watch?: DataWatch): Promise<Dataset> {
  const { folder, ...rest } = checkedImageOptions('cifar-10', options, cifarOptions);
  const images = folder === undefined ? await loadImages(CIFAR_10, watch) : await readCifarFolder(folder);
  return imageDataset({ name: 'cifar-10', classes: 10, validationRows: 10000, moments: MOMENTS, ...images }, rest);
}
