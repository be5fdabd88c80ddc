import * as tf from '@tensorflow/tfjs';
import type { Setting } from './direct-windows';

/** TensorFlow.js' convolution of a setting. */
export function convolution({ strides, dilations, pad, depthwise }: Setting) {
  const padding = typeof pad === 'string' ? pad : ([[0, 0], ...pad, [0, 0]] as tf.backend_util.ExplicitPadding);
  const [by, apart] = [[...strides], [...dilations]] as [[number, number], [number, number]];
  return (x: tf.Tensor, filter: tf.Tensor): tf.Tensor =>
    depthwise === true
      ? tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, by, padding, 'NHWC', apart)
      : tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, by, padding, 'NHWC', apart);
}
