/** An optimizer at gradients and losses that are given as numbers, step by step. */
import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, TensorTree, UnrolledProblem } from '../../src/contracts';
import type { GivenStep } from './c-optimizer';

/** State `params` has a leaf for each shape. */
export function givenGradients(
  optimizer: LearnedOptimizer,
  shapes: readonly (readonly number[])[],
  start: readonly (readonly number[])[],
  steps: readonly GivenStep[],
): UnrolledProblem {
  const at = (rows: readonly (readonly number[])[], shape: readonly number[], t: tf.Scalar): tf.Tensor =>
    tf.reshape(tf.gather(tf.tensor2d(rows as number[][]), tf.reshape(t, [1])), [...shape]);
  return {
    name: `${optimizer.name} at given gradients`,
    horizon: steps.length,
    initTheta: (random) => optimizer.initTheta(random),
    initState: (theta) => {
      const params = shapes.map((shape, i) => tf.tensor([...start[i]], [...shape]));
      return { params, optimizer: optimizer.optimizer(theta).init(params) };
    },
    step: (theta, state, { t, random }) => {
      const { params, optimizer: before } = state as { params: tf.Tensor[]; optimizer: TensorTree };
      const loss = at(
        steps.map((step) => [step.loss]),
        [],
        t,
      ) as tf.Scalar;
      const gradients = shapes.map((shape, i) =>
        at(
          steps.map((step) => step.gradients[i]),
          shape,
          t,
        ),
      );
      const after = optimizer.optimizer(theta).update({ params, gradients, state: before, t, loss, random });
      return { state: { params: after.params, optimizer: after.state }, loss };
    },
  };
}
