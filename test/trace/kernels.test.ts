import * as tf from '@tensorflow/tfjs';
import type { Inner } from '../../src/contracts';
import type { ValueType } from '../../src/graph/ir';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import { KERNEL_RULES, traceFunction, traceInnerFunction } from '../../src/graph/trace';
import { TraceBackend } from '../../src/graph/trace/backend';
import { ROWS, type Operand } from './kernel-rows';

/**
 * tfjs-cpu computes each kernel in float64 and rounds its result to float32, with an error of 2⁻²⁴ of it; the
 * interpreter rounds never (float64) or after each op (float32), of which a kernel has up to ten or so. Sixteen such
 * roundings bound every row's and their growth.
 */
const TOLERANCE = 16 * 2 ** -24;

const typeOf = ({ shape, dtype }: Operand): ValueType => ({ shape, dtype });

function feed({ dtype, values }: Operand): Value {
  if (dtype === 'float32') return Float64Array.from(values, Math.fround);
  return dtype === 'int32' ? Int32Array.from(values) : Uint8Array.from(values);
}

const run = jest.spyOn(TraceBackend.prototype, 'run');

beforeAll(() => tf.setBackend('cpu'));
afterAll(() => {
  run.mockRestore();
});

describe('a traced expression computes what tfjs-cpu computes', () => {
  const precisions = ['float64', 'float32'] as const;
  const runs = precisions.flatMap((floats) => ROWS.map((row) => ({ ...row, floats })));
  test.each(runs)('$name, in $floats', ({ fn, operands, tolerance = TOLERANCE, floats }) => {
    const graph = traceFunction('row', fn, operands.map(typeOf));
    const traced = interpret(graph, operands.map(feed), stepContext(0, 0, 0, 0), { floats });
    tf.tidy(() => {
      const eager = fn(...operands.map(({ values, shape, dtype }) => tf.tensor([...values], [...shape], dtype)));
      const expected = Array.isArray(eager) ? eager : [eager];
      expect(graph.outputs.map((id) => graph.nodes[id].type)).toEqual(
        expected.map(({ shape, dtype }) => ({ shape, dtype })),
      );
      expected.forEach((tensor, i) => {
        const want = [...tensor.dataSync()];
        // float64 does not overflow where float32 does.
        [...traced[i]].map(tensor.dtype === 'float32' ? Math.fround : Number).forEach((got, j) => {
          const error = Math.abs(got - want[j]) / Math.max(1, Math.abs(want[j]));
          if (!Object.is(got, want[j]) && got !== want[j] && !(error <= tolerance)) {
            throw new Error(`element ${j}: expected ${want[j]}, got ${got}`);
          }
        });
      });
    });
  });

  // Rounded after each op, an intermediate overflows that float64 would hold.
  test.each([
    { name: 'asinh', fn: tf.asinh, at: [1e9, 1.1e9, 1e18, 1e20, -1e30, 3e38, Infinity, -Infinity, NaN] },
    { name: 'acosh', fn: tf.acosh, at: [1e9, 1.1e9, 1e18, 1e20, 1e30, 3e38, Infinity, 0.5, -1, -2, -1e30, NaN] },
  ])('$name of large numbers in float32', ({ name, fn, at }) => {
    const numbers = Float32Array.from(at);
    const both = (inner: Inner, x: tf.Tensor): tf.Tensor[] => [fn(x), inner.grad((y: tf.Tensor) => fn(y).sum())(x)];
    const graph = traceInnerFunction(name, both, [{ shape: [at.length], dtype: 'float32' }]);
    const [values, slopes] = interpret(graph, [numbers], stepContext(0, 0, 0, 0), { floats: 'float32' });
    numbers.forEach((x, i) => {
      const expected = name === 'asinh' ? Math.asinh(x) : Math.acosh(x);
      if (Number.isFinite(expected)) expect(Math.abs(values[i] / expected - 1)).toBeLessThan(2 ** -22);
      else expect(values[i]).toBe(expected);
      if (Math.abs(x) >= 1e9 && !Number.isNaN(expected)) expect(slopes[i] * Math.abs(x) - 1 || 0).toBeCloseTo(0, 6);
    });
  });

  // float32 ends at 3.4028e38, asinh of which is 89.416.
  test.each([
    { name: 'sinh', fn: tf.sinh, of: Math.sinh },
    { name: 'cosh', fn: tf.cosh, of: Math.cosh },
  ])('$name near overflow in float32', ({ name, fn, of }) => {
    const numbers = Float32Array.of(1e-20, -1e-3, 1, 88, 88.8, -89, 89.4, -89.41, 89.42, -90, 200, Infinity, -Infinity);
    const graph = traceFunction(name, fn, [{ shape: [numbers.length], dtype: 'float32' }]);
    const [values] = interpret(graph, [numbers], stepContext(0, 0, 0, 0), { floats: 'float32' });
    numbers.forEach((x, i) => {
      const expected = of(x);
      // Eight roundings at most.
      if (Number.isFinite(Math.fround(expected))) expect(Math.abs(values[i] / expected - 1)).toBeLessThan(2 ** -21);
      else expect(values[i]).toBe(Math.fround(expected));
    });
  });

  test('every kernel rule has a row', () => {
    const ran = new Set(run.mock.calls.map(([name]) => name));
    expect(Object.keys(KERNEL_RULES).filter((name) => !ran.has(name))).toEqual([]);
  });
});
