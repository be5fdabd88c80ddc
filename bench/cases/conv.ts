/**
 * A convolutional network for CIFAR-10 (Metz et al. 2022, the Conv_Cifar10 tasks): layers of 3 × 3 taps, the first of them of
 * stride 2, ReLU, the mean over all places and a linear layer. Trained by SGD with momentum, whose schedule is tuned.
 */
import * as tf from '@tensorflow/tfjs';
import { inverseTime, sgd } from '../../learned-optimizers';
import { meta, type Task, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { crossEntropy } from '../../tasks/classification';
import { noiseImages } from './lopt';

export const CONV_CHANNELS: readonly number[] = [3, 32, 32, 32, 32];
export const CONV_BATCH = 32;
const SIDE = 32;
const CLASSES = 10;
const TAPS = 9;

interface Layer extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}

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

function logits(layers: readonly Layer[], xs: tf.Tensor): tf.Tensor {
  const [last, ...reversed] = [...layers].reverse();
  const features = reversed.reverse().reduce((x, { kernel, bias }, i) => {
    const z = tf.conv2d(x as tf.Tensor4D, kernel as tf.Tensor4D, i === 0 ? 2 : 1, 'same');
    return tf.relu(tf.add(z, bias));
  }, xs);
  return tf.add(tf.matMul(tf.mean<tf.Tensor2D>(features, [1, 2]), last.kernel as tf.Tensor2D), last.bias);
}

export async function convolutional(): Promise<UnrolledProblem> {
  const dataset = await noiseImages([SIDE, SIDE, 3], { train: 8000, validation: 2000, test: 100 });
  const task: Task<Layer[]> = {
    name: `conv ${CONV_CHANNELS.join('-')}`,
    dataset,
    batchSize: CONV_BATCH,
    init: (random) => {
      const normal = (i: number, shape: readonly number[], fanIn: number): tf.Tensor =>
        random.foldIn(i).normal(shape, { std: Math.sqrt(2 / fanIn) });
      const layers = CONV_CHANNELS.slice(1).map((out, i): Layer => {
        const inputs = CONV_CHANNELS[i];
        return { bias: tf.zeros([out]), kernel: normal(i, [3, 3, inputs, out], TAPS * inputs) };
      });
      const width = CONV_CHANNELS[CONV_CHANNELS.length - 1];
      return [...layers, { bias: tf.zeros([CLASSES]), kernel: normal(layers.length, [width, CLASSES], width) }];
    },
    loss: (layers, { xs, ys }) => crossEntropy(logits(layers, xs), ys),
  };
  return unroll({
    task: task,
    optimizer: sgd({
      momentum: 0.9,
      learningRate: inverseTime({ initial: meta.log(0.003), decay: meta.log(30), timescale: 5000 }),
    }),
    objective: { metric: 'loss', split: 'validation', over: 'sum' },
    horizon: 5000,
  });
}
