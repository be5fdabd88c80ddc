import * as tf from '@tensorflow/tfjs';
import { ConfigurationError, hyperTheta, hyperValues, meta, treeLeaves, type Schedule } from '../../src/contracts';

const halving: Schedule = {
  kind: 'schedule',
  name: 'halving',
  parameters: { initial: meta.log(0.5), floor: 0.125 },
  at: ({ initial, floor }, t) => tf.maximum(tf.mul(initial, tf.pow(tf.scalar(0.5), t.toFloat())), floor),
};

test('only wrapped numbers are in θ, stored transformed', () => {
  const theta = hyperTheta({ learningRate: halving, momentum: meta.logit(0.9), decay: 0.1, shift: meta.linear(-2) });
  const stored = treeLeaves<tf.Tensor>(theta as never).map(({ path, value }) => [path, value.dataSync()[0]] as const);
  expect(stored.map(([path]) => path)).toEqual(['learningRate.initial', 'momentum', 'shift']);
  expect(stored[0][1]).toBeCloseTo(Math.log(0.5), 6);
  expect(stored[1][1]).toBeCloseTo(Math.log(9), 6);
  expect(stored[2][1]).toBe(-2);
});

test('natural values come back, schedules at one step or at many', () => {
  const hyperparameters = { learningRate: halving, momentum: meta.logit(0.9), decay: 0.1 };
  const theta = hyperTheta(hyperparameters);
  const at = (t: tf.Tensor) => hyperValues(hyperparameters, theta, t);
  expect(at(tf.scalar(1, 'int32')).learningRate.dataSync()[0]).toBeCloseTo(0.25, 6);
  expect(at(tf.scalar(0, 'int32')).momentum.dataSync()[0]).toBeCloseTo(0.9, 6);
  expect(at(tf.scalar(0, 'int32')).decay.dataSync()[0]).toBeCloseTo(0.1, 6);
  const curve = at(tf.tensor1d([0, 1, 2, 3, 4], 'int32')).learningRate.dataSync();
  [0.5, 0.25, 0.125, 0.125, 0.125].forEach((expected, i) => expect(curve[i]).toBeCloseTo(expected, 6));
});

test.each([
  ['meta.log', () => meta.log(0)],
  ['meta.log', () => meta.log(Infinity)],
  ['meta.logit', () => meta.logit(1)],
  ['meta.linear', () => meta.linear(NaN)],
])('%s refuses what it cannot store', (key, wrap) => {
  expect(wrap).toThrow(ConfigurationError);
  expect(wrap).toThrow(key);
});
