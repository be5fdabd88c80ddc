/** Reverse windows in two parts against reverse windows in one piece, and what has no derivative. */
import * as tf from '@tensorflow/tfjs';
import { DifferentiationError, type UnrolledProblem } from '../../src/contracts';
import { checkDifferentiable, LEAST_BYTES, LEAST_TIME, reverseProblem } from '../../src/graph/derive';
import { compileInterpreter, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf } from '../../src/graph/ir';
import { traceProblem } from '../../src/graph/trace';
import { verifyGraph } from '../../src/graph/verify';
import { normals } from '../../src/random';
import { SMALL_PROBLEMS } from '../support/registered-problems';
import { initialTheta } from '../support/run-problem';

const ALMOST = 1e-12;

const KEPT = SMALL_PROBLEMS.flatMap((each) => [
  { ...each, costs: LEAST_BYTES, by: 'bytes' },
  { ...each, costs: LEAST_TIME, by: 'time' },
]);

test.each(KEPT)('$name: what a step keeps by $by is all that its derivative needs', async ({ problem, costs }) => {
  const unrolled = await problem();
  const reverse = reverseProblem(traceProblem(unrolled, { for: 'differentiate' }), costs);
  const { traced, floats } = reverse;
  for (const graph of [reverse.back, reverse.record, reverse.backFrom]) verifyGraph(graph, 'test');

  const theta: Value[] = initialTheta(unrolled).map((leaf) => Float64Array.from(leaf));
  const context = stepContext(3, 1, 2, 5);
  const t = Int32Array.of(5);
  const state = compileInterpreter(traced.init)
    .run(theta, context)
    .map((leaf) => leaf.slice());
  const cotangents: Value[] = floats.map((leaf, k) =>
    Float64Array.from(normals([7, k], sizeOf(traced.state[leaf].type.shape))),
  );
  const lossCotangent = Float64Array.of(0.7);

  const run = (graph: typeof reverse.back, inputs: readonly Value[]): Value[] =>
    compileInterpreter(graph)
      .run(inputs, context)
      .map((output) => output.slice());
  const whole = run(reverse.back, [...theta, ...state, t, ...cotangents, lossCotangent]);
  const recorded = run(reverse.record, [...theta, ...state, t]);
  const stepped = run(traced.step, [...theta, ...state, t]);
  const [next, residuals] = [recorded.slice(0, state.length), recorded.slice(stepped.length)];
  const parts = run(reverse.backFrom, [...theta, ...state, ...next, t, ...residuals, ...cotangents, lossCotangent]);

  expect(residuals.map(({ length }) => length)).toEqual(reverse.residuals.map(({ shape }) => sizeOf(shape)));
  const close = (got: readonly Value[], expected: readonly Value[]): void => {
    expect(got).toHaveLength(expected.length);
    expected.forEach((values, k) => {
      const size = Math.max(1, ...Array.from(values, Math.abs));
      values.forEach((value, i) => expect(Math.abs(got[k][i] - value)).toBeLessThanOrEqual(ALMOST * size));
    });
  };
  close(recorded.slice(0, stepped.length), stepped);
  close(parts, whole);
  expect(whole.some((values) => values.some((value) => value !== 0))).toBe(true);
});

describe('an objective without a derivative', () => {
  const problem = (loss: (theta: tf.Tensor, state: tf.Tensor) => tf.Tensor): UnrolledProblem => ({
    name: 'steps',
    horizon: 4,
    initTheta: () => ({ rate: tf.scalar(0.5) }),
    initState: () => ({ x: tf.tensor1d([1, 2]) }),
    step: (theta, state) => {
      const { rate } = theta as { rate: tf.Tensor };
      const { x } = state as { x: tf.Tensor };
      const next = tf.mul(x, rate);
      return { state: { x: next }, loss: loss(rate, next) };
    },
  });
  const check = (loss: (theta: tf.Tensor, state: tf.Tensor) => tf.Tensor): void =>
    checkDifferentiable(traceProblem(problem(loss), { for: 'differentiate' }));

  test('is refused by name, with what to use instead', () => {
    const counted = (_: tf.Tensor, x: tf.Tensor): tf.Tensor => tf.sum(tf.greater(x, 0.3).toFloat());
    expect(() => check(counted)).toThrow(DifferentiationError);
    expect(() => check(counted)).toThrow(/"steps".*nres, pes/);
  });

  test('is told from one that has a derivative by a path of several steps', () => {
    expect(() => check((_, x) => tf.sum(x))).not.toThrow();
    expect(() => check((rate) => tf.square(rate).asScalar())).not.toThrow();
  });
});
