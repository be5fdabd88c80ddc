/** Every optimizer at once, each on parameters of its own: one program of an engine runs them all. */
import * as tf from '@tensorflow/tfjs';
import { meta, type LearnedOptimizer, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import {
  accumulateGradients,
  adaBelief,
  adafactor,
  adagrad,
  adam,
  clipGradients,
  graft,
  inverseTime,
  lamb,
  lars,
  lion,
  nadamW,
  piecewiseLinear,
  rAdam,
  rmsProp,
  sgd,
  withWeightDecay,
  yogi,
} from '../../learned-optimizers';

const learningRate = meta.log(0.02);

/** With learned numbers of every transform; one a line. Tensors need no names. */
export const UNNAMED_OPTIMIZERS: Readonly<Record<string, LearnedOptimizer>> = {
  sgd: sgd({ learningRate: inverseTime({ initial: learningRate, decay: meta.log(2) }) }),
  knots: sgd({
    learningRate: piecewiseLinear({ values: [0.01, meta.log(0.03), meta.linear(0.02)], places: [0, 0.1, 0.2] }),
    momentum: piecewiseLinear({ values: [meta.logit(0.5), meta.logit(0.9)], timescale: meta.log(7) }),
  }),
  nesterov: sgd({ learningRate, momentum: meta.logit(0.9), nesterov: true }),
  adam: adam({ learningRate, beta1: meta.logit(0.9), epsilon: meta.log(1e-3), weightDecay: meta.linear(0.1) }),
  rmsprop: rmsProp({ learningRate, decay: meta.logit(0.9) }),
  centred: rmsProp({ learningRate, centered: true, momentum: meta.logit(0.5), epsilon: meta.log(1e-3) }),
  adagrad: adagrad({ learningRate, initialAccumulator: meta.log(0.1) }),
  nadamw: nadamW({ learningRate, beta1: meta.logit(0.9) }),
  adabelief: adaBelief({ learningRate, epsilon: meta.log(1e-3), beta2: meta.logit(0.99) }),
  yogi: yogi({ learningRate, initialAccumulator: meta.log(0.01), beta2: meta.logit(0.99) }),
  radam: rAdam({ learningRate, beta2: meta.logit(0.9), threshold: 4 }),
  adafactor: adafactor({ learningRate, clippingThreshold: meta.log(0.7), decayExponent: meta.log(0.8) }),
  lars: lars({ learningRate: meta.log(0.5), trustCoefficient: meta.log(0.1), weightDecay: meta.linear(0.1) }),
  lamb: lamb({ learningRate, weightDecay: meta.linear(0.1) }),
  lion: lion({ learningRate, weightDecay: meta.linear(0.1) }),
  clipped: clipGradients({ maxNorm: meta.log(0.05), maxTensorNorm: meta.log(0.08), optimizer: sgd({ learningRate }) }),
  decayed: withWeightDecay({ weightDecay: meta.linear(0.02), optimizer: adam({ learningRate }) }),
  grafted: graft({ direction: adam({ beta1: meta.logit(0.9) }), magnitude: sgd({ learningRate }) }),
  accumulated: accumulateGradients({ batches: 2, optimizer: sgd({ learningRate, momentum: meta.logit(0.5) }) }),
};

/** And those that tell the problem's tensors apart. */
export const ALL_OPTIMIZERS: Readonly<Record<string, LearnedOptimizer>> = {
  ...UNNAMED_OPTIMIZERS,
  layers: sgd({
    learningRate: { kernel: inverseTime({ initial: learningRate, decay: meta.log(2) }), bias: meta.log(0.1) },
    momentum: { bias: meta.logit(0.5), rest: meta.logit(0.9) },
  }),
  'layers of adam': adam({ learningRate: { kernel: meta.log(0.01), rest: learningRate }, beta1: meta.logit(0.9) }),
};

/** Loss of a matrix [2, 3] and a vector [3] that all optimizers start alike from: smooth, neither convex nor symmetric. */
function loss(params: TensorTree, x: tf.Tensor): tf.Tensor {
  const { kernel, bias } = params as { kernel: tf.Tensor2D; bias: tf.Tensor };
  const y = tf.tanh(tf.add(tf.matMul(x as tf.Tensor2D, kernel), bias));
  return tf.mean(tf.square(tf.sub(y, tf.tensor1d([0.5, -0.2, 0.9]))));
}

/** A task with keyed inputs, and every optimizer on it; the loss is the sum of theirs, each a metric too. */
export function allOptimizersProblem(
  optimizers: Readonly<Record<string, LearnedOptimizer>> = ALL_OPTIMIZERS,
): UnrolledProblem {
  const horizon = 20;
  const bound = Object.entries(optimizers).map(([name, made]) => [name, made.forHorizon?.(horizon) ?? made] as const);
  const each = <T>(of: (optimizer: LearnedOptimizer, name: string) => T): Record<string, T> =>
    Object.fromEntries(bound.map(([name, optimizer]) => [name, of(optimizer, name)]));
  return {
    name: 'all optimizers',
    horizon,
    initTheta: (random) => each((optimizer) => optimizer.initTheta(random)),
    initState: (theta, random) => {
      const params = { kernel: random.normal([2, 3]), bias: tf.zeros([3]) };
      return each((optimizer, name) => ({
        params,
        optimizer: optimizer.optimizer((theta as Record<string, TensorTree>)[name]).init(params),
      }));
    },
    step: (theta, state, inner) => {
      const x = inner.random.foldIn(0).normal([4, 2]);
      const results = each((optimizer, name) => {
        const { params, optimizer: before } = (state as Record<string, Record<string, TensorTree>>)[name];
        const { value, gradient } = inner.valueAndGrad((at: TensorTree) => loss(at, x))(params);
        const made = optimizer.optimizer((theta as Record<string, TensorTree>)[name]);
        const { t, random } = inner;
        const after = made.update({ params, gradients: gradient, state: before, t, loss: value, random });
        return { after, loss: loss(after.params, x) };
      });
      return {
        state: Object.fromEntries(
          Object.entries(results).map(([name, { after }]) => [name, { params: after.params, optimizer: after.state }]),
        ),
        loss: Object.values(results)
          .map((result) => result.loss)
          .reduce((a, b) => tf.add(a, b)),
        metrics: Object.fromEntries(Object.entries(results).map(([name, result]) => [name, result.loss])),
      };
    },
  };
}
