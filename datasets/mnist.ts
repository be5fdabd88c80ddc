import type { Dataset } from '../src/contracts';
import { readMnistData } from './files/mnist-data';
import { checkedImageOptions, imageDataset, type ImageOptions } from './image-dataset';

/** Mean and standard deviation of x/255 over the 60000 training images (Vicol et al. 2021 normalise with them). */
const MOMENTS = { mean: 0.13066, std: 0.30811 };

/**
 * MNIST: 28 × 28 grey images of digits, 10 classes. Training rows 0 … 49999 are `train`, rows 50000 … 59999
 * `validation`, the 10000 test images `test`, each in the order of the files.
 * @throws DatasetError for a missing or damaged file. @throws ConfigurationError for a wrong option.
 */
export async function mnist(options: ImageOptions = {}): Promise<Dataset> {
  checkedImageOptions('mnist', options);
  const files = await readMnistData();
  return imageDataset({ name: 'mnist', classes: 10, validationRows: 10000, moments: MOMENTS, ...files }, options);
}
