import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import type { Graph, OpName, ValueId } from '../../src/graph/ir';
import { masksFromResults, runPasses, simplify } from '../../src/graph/passes';
import { printGraph } from '../../src/graph/print';
import {
  broadcastLate,
  columns,
  featureGradients,
  foldProducts,
  optimiseForWindows,
  sharedFeatures,
} from '../../src/engines/native/passes';
import { contextOf, randomGraphs } from '../support/random-graph';

const CONTEXT = stepContext(1, 2, 3, 4);
const f32 = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

function ops(graph: Graph, op: OpName): number {
  return graph.nodes.filter((node) => node.op === op).length;
}

function expectSameBits(actual: readonly Value[], expected: readonly Value[]): void {
  actual.forEach((value, i) => {
    expect(Array.from(value)).toEqual(Array.from(expected[i]));
  });
}

test.each([broadcastLate, columns, featureGradients, masksFromResults, sharedFeatures])(
  '$name preserves every bit of random graphs',
  (pass) => {
    // No random graph has a product of joined features, whose sums two of them reorder.
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), (random) => {
        const context = contextOf(random);
        const after = runPasses(random.graph, [pass]);
        expectSameBits(interpret(after, random.feeds, context), interpret(random.graph, random.feeds, context));
      }),
      { numRuns: 150, seed: 7 },
    );
  },
);

describe('masks-from-results', () => {
  const rectifier = (limit: number): Graph => {
    const b = new GraphBuilder('relu');
    const x = b.input('x', f32(6));
    const back = b.input('back', f32(6));
    const zero = b.fill(limit, [6]);
    const mask = b.op('le', x, zero);
    const h = b.op('select', mask, zero, x);
    return b.finish([h, b.op('select', mask, b.fill(0, [6]), back)]);
  };
  const feeds = [Float64Array.of(-1, 0, 2, NaN, Infinity, 1e-30), Float64Array.of(1, 2, 3, 4, 5, 6)];

  test('the backward mask reads the activation; the value stays, for NaN too', () => {
    const graph = simplify(runPasses(rectifier(0), [masksFromResults]));
    // A second comparison, of the result: the first one is the rectifier's own.
    expect(ops(graph, 'le')).toBe(2);
    const h = graph.outputs[0];
    expect(graph.nodes.some((node) => node.op === 'le' && node.inputs[0] === h)).toBe(true);
    expectSameBits(interpret(graph, feeds, CONTEXT), [
      Float64Array.of(0, 0, 2, NaN, Infinity, 1e-30),
      Float64Array.of(0, 0, 3, 4, 5, 6),
    ]);
  });

  test('a limit that is NaN is left alone', () => {
    const graph = runPasses(rectifier(NaN), [masksFromResults]);
    expect(ops(graph, 'le')).toBe(1);
  });
});

describe('broadcast-late', () => {
  test('what all rows share is computed once', () => {
    const b = new GraphBuilder('g');
    const x = b.input('x', f32(4, 3));
    const row = b.broadcast(b.input('row', f32(3)), [4, 3]);
    const scale = b.broadcast(b.input('scale', f32()), [4, 3]);
    const graph = runPasses(b.finish([b.op('add', x, b.op('exp', b.op('mul', row, scale)))]), [broadcastLate]);
    const shapes = graph.nodes.filter(({ op }) => op === 'mul' || op === 'exp').map(({ type }) => type.shape);
    expect(shapes).toEqual([[3], [3]]);
    const feeds = [new Float64Array(12).fill(1), Float64Array.of(0, 1, 2), Float64Array.of(2)];
    const e = [1, Math.exp(2), Math.exp(4)].map((y) => 1 + y);
    expectSameBits(interpret(graph, feeds, CONTEXT), [Float64Array.of(...e, ...e, ...e, ...e)]);
  });
});

describe('feature-gradients', () => {
  const integers = (n: number, from: number): Float64Array => Float64Array.from({ length: n }, (_, i) => from + i);
  /** Features [6,1], [6,2] of the rows and [3] of all rows, in this order of the parts; cotangents [6,4]. */
  const build = (order: string, transposeB: boolean): Graph => {
    const b = new GraphBuilder('g');
    const parts: Record<string, ValueId> = {
      u: b.input('u', f32(6, 1)),
      v: b.input('v', f32(6, 2)),
      s: b.broadcast(b.input('s', f32(3)), [6, 3]),
    };
    const cotangents = b.input('cotangents', transposeB ? f32(4, 6) : f32(6, 4));
    const joined = b.emit(
      'concat',
      order.split('-').map((name) => parts[name]),
      { axis: 1 },
    );
    return b.finish([b.emit('matmul', [joined, cotangents], { transposeA: true, transposeB })]);
  };
  // Small whole numbers, so that the order of summation does not matter.
  const feeds = [integers(6, 1), integers(12, -3), integers(3, 7), integers(24, -9)];

  test.each(['u-v-s', 's-v-u', 'u-s-v'].flatMap((order) => [false, true].map((flag) => [order, flag] as const)))(
    'the gradient by weights of shared features is an outer product: parts %s, cotangents transposed: %s',
    (order, flag) => {
      const graph = build(order, flag);
      const split = simplify(runPasses(graph, [featureGradients]));
      const depths = split.nodes.filter(({ op }) => op === 'matmul').map(({ type }) => type.shape);
      expect(depths).toEqual(
        order === 'u-s-v'
          ? [
              [1, 4],
              [2, 4],
            ]
          : [[3, 4]],
      );
      expect(ops(split, 'reduceSum')).toBe(1);
      expectSameBits(interpret(split, feeds, CONTEXT), interpret(graph, feeds, CONTEXT));
    },
  );

  const columnsRead = (transposeB: boolean, wanted: readonly (readonly [number, number])[], whole: boolean): Graph => {
    const b = new GraphBuilder('g');
    const w = b.input('w', transposeB ? f32(5, 4) : f32(4, 5));
    const product = b.emit('matmul', [b.input('x', f32(3, 4)), w], { transposeA: false, transposeB });
    const read = wanted.map(([from, size]) =>
      b.emit('slice', [product], { begin: [0, from], size: [3, size], strides: [1, 1] }),
    );
    return b.finish(whole ? [...read, product] : read);
  };
  const products = (graph: Graph) => graph.nodes.filter(({ op }) => op === 'matmul').map(({ type }) => type.shape);

  test.each([false, true])('only the columns that are read are computed; weights transposed: %s', (flag) => {
    const some = [integers(20, -4), integers(12, 2)];
    const graph = columnsRead(
      flag,
      [
        [1, 1],
        [2, 2],
      ],
      false,
    );
    const narrow = simplify(runPasses(graph, [featureGradients]));
    expect(products(narrow)).toEqual([[3, 3]]);
    expectSameBits(interpret(narrow, some, CONTEXT), interpret(graph, some, CONTEXT));
  });

  test('a product of which somebody reads all, or whose ends are both read, stays', () => {
    expect(products(runPasses(columnsRead(false, [[1, 1]], true), [featureGradients]))).toEqual([[3, 5]]);
    expect(
      products(
        runPasses(
          columnsRead(
            false,
            [
              [0, 1],
              [4, 1],
            ],
            false,
          ),
          [featureGradients],
        ),
      ),
    ).toEqual([[3, 5]]);
  });
});

describe('shared-features', () => {
  /** Columns u [5,1] and v [5,1] of the rows' own, s [2] shared by all, in this order of the parts. */
  const build = (order: string, transposeB: boolean, biased = false): Graph => {
    const b = new GraphBuilder('g');
    const parts: Record<string, ValueId> = {
      u: b.input('u', f32(5, 1)),
      v: b.input('v', f32(5, 1)),
      s: b.broadcast(b.input('s', f32(2)), [5, 2]),
    };
    const w = b.input('w', transposeB ? f32(3, 4) : f32(4, 3));
    const joined = b.emit(
      'concat',
      order.split('-').map((name) => parts[name]),
      { axis: 1 },
    );
    const product = b.emit('matmul', [joined, w], { transposeA: false, transposeB });
    return b.finish([
      biased ? b.binary('add', b.binary('add', product, b.input('c', f32(3))), b.input('d', f32(5, 3))) : product,
    ]);
  };
  const integers = (n: number, from: number): Float64Array => Float64Array.from({ length: n }, (_, i) => from + i);
  // Small whole numbers, so that the order of summation does not matter.
  const feeds = [integers(5, 1), integers(5, -3), integers(2, 7), integers(12, -6)];

  test.each(
    ['u-v-s', 's-v-u', 'u-s-v', 's-u-v'].flatMap((order) => [false, true].map((flag) => [order, flag] as const)),
  )('parts %s, second operand transposed: %s', (order, flag) => {
    const graph = build(order, flag);
    const split = simplify(runPasses(graph, [sharedFeatures]));
    const products = split.nodes.filter(({ op }) => op === 'matmul').map(({ type }) => type.shape);
    expect(products).toEqual([
      [1, 3],
      [5, 3],
    ]);
    expectSameBits(interpret(split, feeds, CONTEXT), interpret(graph, feeds, CONTEXT));
  });

  test('what is added to all rows alike is added to the shared part, once', () => {
    const graph = build('u-v-s', false, true);
    const split = simplify(runPasses(graph, [sharedFeatures]));
    const sums = split.nodes.filter(({ op }) => op === 'add').map(({ type }) => type.shape);
    // The shared product and the bias; that and the own product; what differs between rows.
    expect(sums).toEqual([
      [1, 3],
      [5, 3],
      [5, 3],
    ]);
    const all = [...feeds, integers(3, 11), integers(15, -9)];
    expectSameBits(interpret(split, all, CONTEXT), interpret(graph, all, CONTEXT));
  });
});

describe('columns', () => {
  test('a network over the elements of a tensor is surrounded by columns', () => {
    const b = new GraphBuilder('g');
    const p = b.input('p', f32(2, 3));
    const g = b.input('g', f32(2, 3));
    const w = b.input('w', f32(2, 1));
    const scaled = b.op('mul', g, b.fill(2, [2, 3]));
    const features = b.emit('concat', [b.reshape(scaled, [6, 1]), b.reshape(p, [6, 1])], { axis: 1 });
    const out = b.reshape(b.emit('matmul', [features, w], { transposeA: false, transposeB: false }), [2, 3]);
    const graph = simplify(runPasses(b.finish([b.op('sub', p, b.op('exp', out))]), [columns]));
    for (const op of ['mul', 'exp', 'sub'] as const) {
      expect(graph.nodes.filter((node) => node.op === op).map(({ type }) => type.shape)).toEqual([[6, 1]]);
    }
    const feeds = [Float64Array.of(1, 2, 3, 4, 5, 6), Float64Array.of(0, 1, 0, -1, 0, 1), Float64Array.of(0.5, 0)];
    const expected = [1, 2, 3, 4, 5, 6].map((x, i) => x - Math.exp([0, 1, 0, -1, 0, 1][i]));
    expectSameBits(interpret(graph, feeds, CONTEXT), [Float64Array.from(expected)]);
  });

  test('a value that something else reads as well keeps its shape', () => {
    const b = new GraphBuilder('g');
    const x = b.input('x', f32(2, 3));
    const twice = b.op('add', x, x);
    const graph = runPasses(b.finish([b.reshape(twice, [6, 1]), twice]), [columns]);
    expect(graph.nodes.filter(({ op }) => op === 'add').map(({ type }) => type.shape)).toEqual([[2, 3]]);
  });
});

test('all passes together keep values of random graphs to rounding', () => {
  fc.assert(
    fc.property(randomGraphs({ domain: 'tame' }), (random) => {
      const context = contextOf(random);
      const got = interpret(optimiseForWindows(random.graph), random.feeds, context);
      interpret(random.graph, random.feeds, context).forEach((expected, i) => {
        // float64 throughout; sums of at most some hundred terms of moderate size.
        expected.forEach((x, j) => {
          expect(Math.abs(got[i][j] - x)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(x)));
        });
      });
    }),
    { numRuns: 150, seed: 8 },
  );
});

test('a printed pipeline of the smallest network step', () => {
  // Why: the backward mask comes from the activation, so that the pre-activation is never stored.
  const b = new GraphBuilder('step');
  const x = b.input('x', f32(4, 3));
  const w = b.input('w', f32(3, 2));
  const pre = b.emit('matmul', [x, w], { transposeA: false, transposeB: false });
  const zero = b.zeros(f32(4, 2));
  const mask = b.op('le', pre, zero);
  const h = b.op('select', mask, zero, pre);
  const back = b.op('select', mask, zero, h);
  const graph = b.finish([b.emit('matmul', [x, back], { transposeA: true, transposeB: false })]);
  expect(printGraph(optimiseForWindows(graph))).toMatchInlineSnapshot(`
    "step(%0 x: float32[4,3], %1 w: float32[3,2]) {
      %2 = matmul(%0, %1) transposeA=false transposeB=false : float32[4,2]
      %3 = constant 0 : float32[]
      %4 = broadcast(%3) : float32[4,2]
      %5 = le(%2, %4) : bool[4,2]
      %6 = select(%5, %4, %2) : float32[4,2]
      %7 = le(%6, %4) : bool[4,2]
      %8 = select(%7, %4, %6) : float32[4,2]
      %9 = matmul(%0, %8) transposeA=true transposeB=false : float32[3,2]
      return %9
    }"
  `);
});

describe('fold-products', () => {
  /** The gradient by the input of a convolution, [2, 5, 4, 3] with 3 × 2 taps to 4 channels, as it is derived. */
  function gradient(options: { stride?: number; dilation?: number; pad?: number; transposeB?: boolean } = {}): Graph {
    const { stride = 1, dilation = 1, pad = 0, transposeB = true } = options;
    const b = new GraphBuilder('back');
    const extents = [5 + 2 * pad, 4 + pad];
    const [height, width] = extents.map((extent, i) => Math.floor((extent - (2 - i) * dilation - 1) / stride) + 1);
    const g = b.input('g', f32(2 * height * width, 4));
    const filter = b.input('filter', transposeB ? f32(18, 4) : f32(4, 18));
    const patches = b.emit('matmul', [g, filter], { transposeA: false, transposeB });
    const folded = b.emit('foldWindows', [b.reshape(patches, [2, height, width, 3, 2, 3])], {
      axes: [1, 2],
      extents,
      strides: [stride, stride],
      dilations: [dilation, dilation],
    });
    if (pad === 0) return b.finish([folded]);
    return b.finish([b.emit('slice', [folded], { begin: [0, pad, 0, 0], size: [2, 5, 4, 3], strides: [1, 1, 1, 1] })]);
  }
  const feedsOf = (graph: Graph): Float64Array[] =>
    graph.inputs.map((id, i) => {
      const size = graph.nodes[id].type.shape.reduce((a, c) => a * c, 1);
      return Float64Array.from({ length: size }, (_, j) => Math.sin(2.17 * j + i));
    });

  test.each([
    {},
    { pad: 1 },
    { pad: 2 },
    { dilation: 2, pad: 1 },
    { transposeB: false },
    { transposeB: false, pad: 2 },
  ])('%j: the same sums, as a product over windows of the padded gradient', (options) => {
    const before = gradient(options);
    const after = simplify(runPasses(before, [foldProducts]));
    expect(ops(after, 'foldWindows')).toBe(0);
    expect(ops(after, 'matmul')).toBe(1);
    const [got] = interpret(after, feedsOf(before), CONTEXT);
    const [expected] = interpret(before, feedsOf(before), CONTEXT);
    expect(got.length).toBe(expected.length);
    // Sums of 24 products in another order.
    expected.forEach((value, i) => expect(Math.abs(got[i] - value)).toBeLessThan(1e-13));
  });

  test.each([{ stride: 2, pad: 1 }, { pad: 3 }])('%j: the fold stays, or the slice', (options) => {
    const after = simplify(runPasses(gradient(options), [foldProducts]));
    expect(ops(after, 'foldWindows')).toBe('stride' in options ? 1 : 0);
    const [got] = interpret(after, feedsOf(after), CONTEXT);
    const [expected] = interpret(gradient(options), feedsOf(after), CONTEXT);
    expected.forEach((value, i) => expect(Math.abs(got[i] - value)).toBeLessThan(1e-13));
  });

  test('patches that something else reads stay', () => {
    const b = new GraphBuilder('shared');
    const patches = b.emit('matmul', [b.input('g', f32(12, 4)), b.input('f', f32(4, 4))], {
      transposeA: false,
      transposeB: false,
    });
    const folded = b.emit('foldWindows', [b.reshape(patches, [1, 3, 4, 2, 2, 1])], {
      axes: [1, 2],
      extents: [4, 5],
      strides: [1, 1],
      dilations: [1, 1],
    });
    const graph = b.finish([folded, patches]);
    expect(ops(runPasses(graph, [foldProducts]), 'foldWindows')).toBe(1);
  });
});
