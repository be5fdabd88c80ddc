/** Losses and metrics of class labels, for tasks that end in logits. */
import * as tf from '@tensorflow/tfjs';

/**
 * Mean cross-entropy in nats of logits [batch, classes] against int32 labels [batch].
 * log softmax(z)_y = (z_y − m) − ln Σ exp(z − m), with m the row's maximum rounded down: any m near the maximum keeps
 * the sum finite, and the derivative of `floor` is zero, so that reverse mode does not walk through the maximum.
 */
export function crossEntropy(logits: tf.Tensor, labels: tf.Tensor): tf.Tensor {
  const [, classes] = logits.shape;
  const shifted = tf.sub(logits, tf.floor(tf.max(logits, 1, true)));
  const picked = tf.sum(tf.mul(shifted, tf.oneHot(tf.cast(labels, 'int32') as tf.Tensor1D, classes)), 1);
  return tf.mean(tf.sub(tf.log(tf.sum(tf.exp(shifted), 1)), picked));
}

/** Share of the rows whose largest logit is the label's; in [0, 1]. */
export function accuracy(logits: tf.Tensor, labels: tf.Tensor): tf.Tensor {
  const hits = tf.equal(tf.argMax(logits, 1), tf.cast(labels, 'int32'));
  return tf.mean(tf.cast(hits, 'float32'));
}
