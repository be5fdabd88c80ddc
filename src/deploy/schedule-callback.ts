/** A learning rate that follows a schedule in somebody's own `model.fit`. Runs in a browser too. */
import * as tf from '@tensorflow/tfjs';
import { UserError } from '../contracts';

/** What TensorFlow.js' optimizers have: the one reads its rate at each update, the other keeps it as a tensor. */
type Paced = tf.Optimizer & { learningRate?: unknown; setLearningRate?: (rate: number) => void };

/**
 * Sets the learning rate of the model's optimizer before each batch. Batches are counted from 0 on, over all calls of `fit` that it is
 * given to, as the steps of an optimizer's state are.
 */
export class ScheduleCallback extends tf.Callback {
  private step = 0;

  /** @param rate the learning rate at inner step t */
  constructor(private readonly rate: (t: number) => number) {
    super();
  }

  /** Rejects by a UserError for an optimizer without a learning rate of its own. */
  override onTrainBegin(): Promise<void> {
    const { optimizer } = this;
    if (typeof optimizer.learningRate === 'number') return Promise.resolve();
    return Promise.reject(
      new UserError(
        `the callback sets the learning rate of the model's optimizer: expected one of tf.train, got a ${optimizer.getClassName()}` +
          ' without such a number. Compile the model with tf.train.sgd or another of those, or leave the callback out.',
      ),
    );
  }

  override onBatchBegin(): Promise<void> {
    const { optimizer } = this;
    const rate = this.rate(this.step++);
    if (optimizer.setLearningRate === undefined) optimizer.learningRate = rate;
    else optimizer.setLearningRate(rate);
    return Promise.resolve();
  }

  private get optimizer(): Paced {
    return this.model.optimizer;
  }
}
