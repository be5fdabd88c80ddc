import type { Registrar } from '../src/contracts';
import { imageOptions } from './image-dataset';
import { mnist } from './mnist';

export { arrayDataset, type ArrayDatasetOptions, type SplitArrays } from './array-dataset';
export { type ImageOptions } from './image-dataset';
export { mnist } from './mnist';

/** One line a data set. */
export function registerDatasets({ dataset }: Registrar): void {
  dataset('mnist', {
    description: 'MNIST digits, 28 × 28 grey, 50000 train / 10000 validation / 10000 test',
    options: imageOptions,
    create: mnist,
  });
}
