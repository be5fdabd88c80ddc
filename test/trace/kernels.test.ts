import * as tf from '@tensorflow/tfjs';
import type { ValueType } from '../../src/graph/ir';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import { KERNEL_RULES, traceFunction } from '../../src/graph/trace';
import { TraceBackend } from '../../src/graph/trace/backend';
import { ROWS, type Operand } from './kernel-rows';

/**
 * tfjs-cpu computes each kernel in float64 and rounds its result to float32, with an error of 2⁻²⁴ of it; the
 * interpreter does not round. Sixteen such roundings bound every row's few kernels and their growth.
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
  test.each(ROWS)('$name', ({ fn, operands, tolerance = TOLERANCE }) => {
    const graph = traceFunction('row', fn, operands.map(typeOf));
    const traced = interpret(graph, operands.map(feed), stepContext(0, 0, 0, 0));
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

  test('every kernel rule has a row', () => {
    const ran = new Set(run.mock.calls.map(([name]) => name));
    expect(Object.keys(KERNEL_RULES).filter((name) => !ran.has(name))).toEqual([]);
  });
});
