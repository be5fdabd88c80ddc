import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { TraceError, type Inner } from '../../src/contracts';
import type { Graph } from '../../src/graph/ir';
import { traceInnerFunction } from '../../src/graph/trace';

/** A refused function; the mark `@line <name>` stands on the line that the message must name. */
interface Refusal {
  readonly name: string;
  readonly fn: (inner: Inner, x: tf.Tensor) => tf.Tensor | tf.Tensor[];
  readonly message: RegExp;
}

const outside = tf.tensor1d([1, 2, 3]);
const variable = tf.variable(tf.tensor1d([4, 5, 6]), true, 'weights');
let calls = 0;
let earlier: tf.Tensor | undefined;

/** A user's helper: the line is where it calls tfjs, not where the helper is called. */
function helper(x: tf.Tensor): tf.Tensor {
  return tf.image.resizeBilinear(x.reshape<tf.Tensor4D>([1, 3, 1, 1]), [2, 2]); // @line missing kernel
}

const REFUSALS: readonly Refusal[] = [
  {
    name: 'dataSync',
    fn: (_, x) => tf.scalar(x.dataSync()[0]), // @line dataSync
    message: /value of a traced tensor is read.*tf\.where/s,
  },
  {
    name: 'arraySync of a result',
    fn: (_, x) => tf.tensor(x.mul(2).arraySync()), // @line arraySync of a result
    message: /value of a traced tensor is read/,
  },
  {
    name: 'dataSync inside tf.grad',
    fn: (_, x) =>
      tf.grad((y) => {
        const power = y.exp().square();
        return power.mul(power.dataSync()[0]).sum(); // @line dataSync inside tf.grad
      })(x),
    message: /value of a traced tensor is read/,
  },
  {
    name: 'print',
    fn: (_, x) => {
      x.print(); // @line print
      return x;
    },
    message: /value of a traced tensor is read/,
  },
  {
    name: 'data',
    fn: (_, x) => {
      void x.data().then((values) => values[0]); // @line data
      return x;
    },
    message: /value of a traced tensor is read/,
  },
  {
    name: 'array',
    fn: (_, x) => {
      void x.array(); // @line array
      return x;
    },
    message: /value of a traced tensor is read/,
  },
  {
    name: 'randomNormal',
    fn: (_, x) => x.add(tf.randomNormal([3])), // @line randomNormal
    message: /tf\.randomNormal.*inner\.random/s,
  },
  {
    name: 'seeded randomUniform',
    fn: (_, x) => x.add(tf.randomUniform([3], 0, 1, 'float32', 7)), // @line seeded randomUniform
    message: /tf\.randomUniform.*seeded or not.*inner\.random/s,
  },
  {
    name: 'truncatedNormal',
    fn: (_, x) => x.add(tf.truncatedNormal([3])), // @line truncatedNormal
    message: /tf\.truncatedNormal/,
  },
  {
    name: 'rand',
    fn: (_, x) => x.add(tf.rand([3], () => 0.5)), // @line rand
    message: /tf\.rand /,
  },
  {
    name: 'randomGamma',
    fn: (_, x) => x.add(tf.randomGamma([3], 1)), // @line randomGamma
    message: /tf\.randomGamma/,
  },
  {
    name: 'randomUniformInt',
    fn: (_, x) => x.add(tf.randomUniformInt([3], 0, 9)), // @line randomUniformInt
    message: /tf\.randomUniform/,
  },
  {
    name: 'multinomial',
    fn: (_, x) => tf.multinomial(x as tf.Tensor1D, 1, 3), // @line multinomial
    message: /Multinomial.*inner\.random/s,
  },
  {
    name: 'an initializer of layers',
    fn: (_, x) => x.add(tf.initializers.glorotNormal({ seed: 1 }).apply([3])), // @line an initializer of layers
    message: /tf\.truncatedNormal.*inner\.random/s,
  },
  {
    name: 'Math.random',
    fn: (_, x) => x.mul(Math.random()), // @line Math.random
    message: /another graph or other constants.*inner\.random/s,
  },
  {
    name: 'a counter',
    fn: (_, x) => (calls++ % 2 === 0 ? x.sin() : x.cos()),
    message: /another graph or other constants/,
  },
  { name: 'missing kernel', fn: (_, x) => helper(x), message: /kernel ResizeBilinear, which the graph lacks/ },
  {
    name: 'nested tf.grad',
    fn: (_, x) =>
      tf.grad((y) =>
        tf
          .grad((z) => z.mul(z).sum())(y) // @line nested tf.grad
          .sum(),
      )(x),
    message: /nested tf\.grad.*inner\.grad/s,
  },
  {
    name: 'inner.grad inside tf.grad',
    fn: (inner, x) => {
      const gradient = inner.grad((z: tf.Tensor) => z.mul(z).sum());
      return tf.grad((y) => gradient(y).sum())(x); // @line inner.grad inside tf.grad
    },
    message: /inner\.grad inside tf\.grad/,
  },
  {
    name: 'tf.customGrad inside inner.grad',
    fn: (inner, x) =>
      inner.grad((y: tf.Tensor) => {
        const straight = tf.customGrad((z) => ({
          value: (z as tf.Tensor).round(), // @line tf.customGrad inside inner.grad
          gradFunc: (dy: tf.Tensor) => dy,
        }));
        return straight(y).sum();
      })(x),
    message: /tf\.customGrad.*inner\.stopGradient/s,
  },
  {
    name: 'inner.grad of a vector',
    fn: (inner, x) => inner.grad((y: tf.Tensor) => y.mul(2))(x), // @line inner.grad of a vector
    message: /expected the function to return a float32 scalar, got float32\[3\]/,
  },
  {
    name: 'inner.grad of int32',
    fn: (inner, x) => inner.grad((y: tf.Tensor) => y.toFloat().sum())(x.toInt()), // @line inner.grad of int32
    message: /expected float32 parameters, got int32\[3\]/,
  },
  {
    name: 'assigning a variable',
    fn: (_, x) => {
      variable.assign(x.mul<tf.Tensor1D>(2));
      return variable.add(0);
    },
    message: /"weights" is assigned.*state/s,
  },
  {
    name: 'making a variable',
    fn: (_, x) => tf.variable(x, true, 'new').mul(2),
    message: /"new" is made in a traced function/,
  },
  {
    name: 'a tensor of an earlier call',
    fn: (_, x) => {
      earlier ??= x.mul(2);
      return earlier.add(1); // @line a tensor of an earlier call
    },
    message: /earlier trace.*state|disposed/s,
  },
  {
    name: 'shapes that do not fit',
    fn: (_, x) => x.matMul(outside), // @line shapes that do not fit
    message: /BatchMatMul: matmul: expected float32 matrices/,
  },
  {
    name: 'shapes that do not broadcast',
    fn: (_, x) => x.add(tf.zeros([2])), // @line shapes that do not broadcast
    message: /Add: shapes \[3\] and \[2\] do not broadcast together/,
  },
  {
    name: 'bool arithmetic',
    fn: (_, x) => x.greater(0).add(x.less(0)), // @line bool arithmetic
    message: /Add: expected numbers, got two bool tensors; cast them/,
  },
  {
    name: 'complex numbers',
    fn: (_, x) => tf.complex(x, x), // @line complex numbers
    message: /Complex/,
  },
  {
    name: 'strings',
    fn: (_, x) => x.add(tf.tensor(['a', 'b', 'c'], [3], 'string').toFloat()), // @line strings
    message: /a string tensor cannot be traced/,
  },
  {
    name: 'an error of the function itself',
    fn: () => {
      throw new RangeError('no such thing'); // @line an error of the function itself
    },
    message: /function "f" cannot be traced: no such thing/,
  },
];

const source = readFileSync(__filename, 'utf8').split('\n');

function markedLine(name: string): string | undefined {
  const line = source.findIndex((text) => text.endsWith(`// @line ${name}`));
  return line < 0 ? undefined : `${__filename}:${line + 1}:`;
}

beforeAll(() => tf.setBackend('cpu'));
afterAll(() => {
  tf.dispose([outside, variable]);
});

describe('refused, with the user’s line, and without a trace left behind', () => {
  test.each(REFUSALS)('$name', ({ name, fn, message }) => {
    const memory = { ...tf.memory() };
    let error: unknown;
    try {
      traceInnerFunction('f', fn, [{ shape: [3], dtype: 'float32' }]);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(TraceError);
    const refusal = error as TraceError;
    expect(refusal.message).toMatch(message);
    expect(refusal.exitCode).toBe(2);
    const line = markedLine(name);
    if (line !== undefined) expect(refusal.line).toMatch(line);

    expect(tf.getBackend()).toBe('cpu');
    expect(tf.engine().state).toMatchObject({ gradientDepth: 0, kernelDepth: 0, scopeStack: [] });
    expect(tf.memory()).toMatchObject({ numTensors: memory.numTensors, numBytes: memory.numBytes });
    expect([...variable.dataSync()]).toEqual([4, 5, 6]);
    expect([...outside.dataSync()]).toEqual([1, 2, 3]);
    expect([
      ...tf
        .grad((x) => x.mul(x).sum())(outside)
        .dataSync(),
    ]).toEqual([2, 4, 6]);
  });

  test('all lines but those of checks after the function are marked', () => {
    const unmarked = REFUSALS.filter(({ name }) => markedLine(name) === undefined).map(({ name }) => name);
    expect(unmarked).toEqual(['a counter', 'assigning a variable', 'making a variable']);
  });
});

describe('what is outside stays usable', () => {
  test('tensors and variables on their own backend, and data shared by tensors of other shapes and dtypes', () => {
    const flat = tf.tensor1d([1, 0, 2, 3]);
    const square = flat.reshape([2, 2]);
    const truth = tf.tensor1d([true, false], 'bool');
    const numbers = truth.toFloat();
    const before = tf.memory().numTensors;
    traceInnerFunction('f', (_, x) => x.mul(square).add(numbers).add(flat.sum()).add(variable.sum()), [
      { shape: [2, 2], dtype: 'float32' },
    ]);
    expect(tf.memory().numTensors).toBe(before);
    const { tensorInfo } = tf.engine().state;
    for (const tensor of [flat, square, truth, numbers, variable]) {
      expect(tensorInfo.get(tensor.dataId)!.backend).toBe(tf.findBackend('cpu'));
    }
    expect([...square.add(1).dataSync()]).toEqual([2, 1, 3, 4]);
    expect([...numbers.dataSync()]).toEqual([1, 0]);
    tf.dispose([flat, square, truth, numbers]);
  });

  test('a constant of the function can be read, a traced value outside cannot', () => {
    let traced: tf.Tensor | undefined;
    let read: number[] = [];
    traceInnerFunction(
      'f',
      (_, x) => {
        read = [...tf.tensor1d([7, 8, 9]).dataSync()];
        traced = tf.keep(x.mul(2));
        return x;
      },
      [{ shape: [3], dtype: 'float32' }],
    );
    expect(read).toEqual([7, 8, 9]);
    expect(() => traced!.dataSync()).toThrow(TraceError);
    traced!.dispose();
  });

  test('a trace inside tf.tidy and inside another trace', () => {
    let graph: Graph | undefined;
    tf.tidy(() => {
      graph = traceInnerFunction(
        'outer',
        (_, x) => {
          const inner = traceInnerFunction('inner', (__, y) => y.exp(), [{ shape: [], dtype: 'float32' }]);
          expect(inner.nodes.map(({ op }) => op)).toEqual(['input', 'exp']);
          return x.sin();
        },
        [{ shape: [], dtype: 'float32' }],
      );
    });
    expect(graph!.nodes.map(({ op }) => op)).toEqual(['input', 'sin']);
  });

  test('debug mode', () => {
    tf.env().set('DEBUG', true);
    try {
      const graph = traceInnerFunction('f', (_, x) => x.log(), [{ shape: [], dtype: 'float32' }]);
      expect(graph.nodes.map(({ op }) => op)).toEqual(['input', 'log']);
      expect(tf.env().getBool('DEBUG')).toBe(true);
    } finally {
      tf.env().set('DEBUG', false);
    }
  });
});
