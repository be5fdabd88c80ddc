/**
 * A convolutional network for CIFAR-10 (Metz et al. 2022, the Conv_Cifar10 tasks), the registered task as it is by default, on
 * data that nothing has to be fetched for: layers of 3 × 3 taps, the first of them of stride 2, ReLU, the mean over all places
 * and a linear layer. Trained by SGD with momentum, whose schedule is tuned.
 */
import { inverseTime, sgd } from '../../learned-optimizers';
import { meta, type UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { cnn } from '../../tasks';
import { noiseImages } from './lopt';

export const CONV_CHANNELS: readonly number[] = [3, 32, 32, 32, 32];
export const CONV_BATCH = 32;
const SIDE = 32;
const CLASSES = 10;
const TAPS = 9;

/**
 * Products of one inner step, as everyone counts: training forward, gradients by weights and (but for the first layer's) by
 * inputs, and a second forward on the validation batch. Padding counts as what it is multiplied as.
 */
export function convFlops(): number {
  const places = (SIDE / 2) ** 2;
  const layers = CONV_CHANNELS.slice(1).map((out, i) => 2 * CONV_BATCH * places * TAPS * CONV_CHANNELS[i] * out);
  const dense = 2 * CONV_BATCH * CONV_CHANNELS[CONV_CHANNELS.length - 1] * CLASSES;
  const forward = layers.reduce((a, b) => a + b, dense);
  return 4 * forward - layers[0];
}

export async function convolutional(): Promise<UnrolledProblem> {
  const [colours, ...channels] = CONV_CHANNELS;
  const data = await noiseImages([SIDE, SIDE, colours], { train: 8000, validation: 2000, test: 100 });
  return unroll({
    task: cnn({ data, channels, batchSize: CONV_BATCH }),
    optimizer: sgd({
      momentum: 0.9,
      learningRate: inverseTime({ initial: meta.log(0.003), decay: meta.log(30), timescale: 5000 }),
    }),
    objective: { metric: 'loss', split: 'validation', over: 'sum' },
    horizon: 5000,
  });
}
