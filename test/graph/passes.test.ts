import * as fc from 'fast-check';
import { GraphError } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { OP_NAMES } from '../../src/graph/infer';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import type { Graph, OpName, ValueId } from '../../src/graph/ir';
import {
  canonicalise,
  dropGradientMarkers,
  eliminateCommonSubexpressions,
  eliminateDeadCode,
  foldConstants,
  MAX_FOLDED_ELEMENTS,
  optimise,
  runPasses,
  simplify,
} from '../../src/graph/passes';
import { printGraph } from '../../src/graph/print';
import { verifyGraph } from '../../src/graph/verify';
import { vjp } from '../../src/graph/vjp';
import { contextOf, GENERATED_OPS, randomGraphs, type RandomGraph } from '../support/random-graph';

const CONTEXT = stepContext(1, 2, 3, 4);

/** Element by element with Object.is: NaN equals NaN, 0 does not equal −0. */
function expectSameBits(actual: readonly Value[], expected: readonly Value[]): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Array.from(value)).toEqual(Array.from(expected[i]));
  });
}

function countOps(graph: Graph): number {
  return graph.nodes.filter((node) => node.op !== 'input').length;
}

/** A graph of one float32 [3] input x, float32 [3] input y and int32 [3] input n. */
function graphOf(make: (b: GraphBuilder, x: ValueId, y: ValueId, n: ValueId) => ValueId | readonly ValueId[]): Graph {
  const b = new GraphBuilder('g');
  const x = b.input('x', { shape: [3], dtype: 'float32' });
  const y = b.input('y', { shape: [3], dtype: 'float32' });
  const n = b.input('n', { shape: [3], dtype: 'int32' });
  return b.finish([make(b, x, y, n)].flat());
}

describe('on random graphs', () => {
  const passes = [
    { name: 'canonicalise', run: (g: Graph) => runPasses(g, [canonicalise]) },
    { name: 'cse', run: (g: Graph) => runPasses(g, [eliminateCommonSubexpressions]) },
    { name: 'dce', run: (g: Graph) => runPasses(g, [eliminateDeadCode]) },
    { name: 'drop-gradient-markers', run: (g: Graph) => runPasses(g, [dropGradientMarkers]) },
    { name: 'fold', run: (g: Graph) => runPasses(g, [foldConstants]) },
    { name: 'simplify', run: simplify },
    { name: 'optimise', run: optimise },
  ] as const;

  test.each(passes)('$name preserves every bit in both precisions, NaN, infinities and −0 included', ({ run }) => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), (random) => {
        const after = run(random.graph);
        for (const floats of ['float64', 'float32'] as const) {
          const evaluate = (graph: Graph): Value[] => interpret(graph, random.feeds, contextOf(random), { floats });
          expectSameBits(evaluate(after), evaluate(random.graph));
        }
        expect(after.inputs.map((id) => after.nodes[id].attributes)).toEqual(
          random.graph.inputs.map((id) => random.graph.nodes[id].attributes),
        );
      }),
      { seed: 20260101, numRuns: 150 },
    );
  });

  test('optimise is idempotent and never adds ops', () => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'any' }), ({ graph }) => {
        const once = optimise(graph);
        expect(printGraph(optimise(once))).toBe(printGraph(once));
        expect(countOps(once)).toBeLessThanOrEqual(countOps(graph));
      }),
      { seed: 20260102, numRuns: 100 },
    );
  });

  test('the generator reaches every op, in both domains', () => {
    for (const domain of ['any', 'tame'] as const) {
      const seen = new Set<OpName>();
      for (const { graph } of fc.sample(randomGraphs({ domain }), { seed: 3, numRuns: 300 })) {
        for (const node of graph.nodes) seen.add(node.op);
        verifyGraph(graph, 'the generator');
      }
      expect(OP_NAMES.filter((op) => !seen.has(op))).toEqual([]);
    }
    expect(GENERATED_OPS).toHaveLength(OP_NAMES.length - 1);
  });

  test('tame graphs stay finite and moderate, and float32 follows float64', () => {
    const check = (random: RandomGraph): void => {
      const wide = interpret(random.graph, random.feeds, contextOf(random));
      const narrow = interpret(random.graph, random.feeds, contextOf(random), { floats: 'float32' });
      wide.forEach((value, i) => {
        // Up to 24 ops, each of a condition number of at most a few tens, on 2⁻²⁴ of rounding. NaN is outside too.
        const outside = Array.from(value).filter(
          (x, j) => !(Math.abs(x) < 1e5 && Math.abs(x - narrow[i][j]) <= 1e-3 * Math.max(1, Math.abs(x))),
        );
        expect(outside).toEqual([]);
      });
    };
    fc.assert(fc.property(randomGraphs({ domain: 'tame' }), check), { seed: 20260103, numRuns: 150 });
  });
});

describe('canonicalise', () => {
  type Make = Parameters<typeof graphOf>[0];
  const fill = (b: GraphBuilder, value: number): ValueId => b.fill(value, [3]);
  const ints = (b: GraphBuilder, value: number): ValueId => b.fill(value, [3], 'int32');
  const reshape = (b: GraphBuilder, x: ValueId, ...shape: number[]): ValueId => b.emit('reshape', [x], { shape });
  const slice = (b: GraphBuilder, x: ValueId, begin: number, size: number, stride: number): ValueId =>
    b.emit('slice', [x], { begin: [begin], size: [size], strides: [stride] });
  const cube = (b: GraphBuilder): ValueId => b.input('c', { shape: [2, 3, 4], dtype: 'float32' });
  const bool = (b: GraphBuilder): ValueId => b.input('p', { shape: [3], dtype: 'bool' });
  const transpose = (b: GraphBuilder, x: ValueId, ...perm: number[]): ValueId => b.emit('transpose', [x], { perm });
  const cast = (b: GraphBuilder, x: ValueId, ...dtypes: ('float32' | 'int32' | 'bool')[]): ValueId =>
    dtypes.reduce((value, dtype) => b.emit('cast', [value], { dtype }), x);

  /** What the first graph becomes; both are run on NaN, infinities, both zeros and int32's ends. */
  const rewritten: readonly (readonly [name: string, before: Make, after: Make])[] = [
    ['identity x → x', (b, x) => b.op('identity', x), (_, x) => x],
    ['−(−x) → x', (b, x) => b.op('neg', b.op('neg', x)), (_, x) => x],
    ['x + (−0) → x', (b, x) => b.op('add', x, fill(b, -0)), (_, x) => x],
    ['(−0) + x → x', (b, x) => b.op('add', fill(b, -0), x), (_, x) => x],
    ['exp x + 0 → exp x', (b, x) => b.op('add', b.op('exp', x), fill(b, 0)), (b, x) => b.op('exp', x)],
    ['n + 0 → n', (b, _x, _y, n) => b.op('add', n, ints(b, 0)), (_b, _x, _y, n) => n],
    ['x − 0 → x', (b, x) => b.op('sub', x, fill(b, 0)), (_, x) => x],
    ['(−0) − x → −x', (b, x) => b.op('sub', fill(b, -0), x), (b, x) => b.op('neg', x)],
    ['x·1 → x', (b, x) => b.op('mul', x, fill(b, 1)), (_, x) => x],
    ['(−1)·x → −x', (b, x) => b.op('mul', fill(b, -1), x), (b, x) => b.op('neg', x)],
    ['n·0 → 0', (b, _x, _y, n) => b.op('mul', n, ints(b, 0)), (b) => ints(b, 0)],
    ['x/1 → x', (b, x) => b.op('div', x, fill(b, 1)), (_, x) => x],
    ['n/(−1) → −n', (b, _x, _y, n) => b.op('div', n, ints(b, -1)), (b, _x, _y, n) => b.op('neg', n)],
    ['x + (−y) → x − y', (b, x, y) => b.op('add', x, b.op('neg', y)), (b, x, y) => b.op('sub', x, y)],
    ['(−x) + y → y − x', (b, x, y) => b.op('add', b.op('neg', x), y), (b, x, y) => b.op('sub', y, x)],
    ['x − (−y) → x + y', (b, x, y) => b.op('sub', x, b.op('neg', y)), (b, x, y) => b.op('add', x, y)],
    ['(−x)·(−y) → x·y', (b, x, y) => b.op('mul', b.op('neg', x), b.op('neg', y)), (b, x, y) => b.op('mul', x, y)],
    ['(−x)/(−y) → x/y', (b, x, y) => b.op('div', b.op('neg', x), b.op('neg', y)), (b, x, y) => b.op('div', x, y)],
    ['x¹ → x', (b, x) => b.op('pow', x, fill(b, 1)), (_, x) => x],
    ['|−x| → |x|', (b, x) => b.op('abs', b.op('neg', x)), (b, x) => b.op('abs', x)],
    ['⌊round x⌋ → round x', (b, x) => b.op('floor', b.op('round', x)), (b, x) => b.op('round', x)],
    ['max(x, x) → x', (b, x) => b.op('max', x, x), (_, x) => x],
    ['select(c, x, x) → x', (b, x) => b.op('select', bool(b), x, x), (b, x) => (bool(b), x)],
    ['select(true, x, y) → x', (b, x, y) => b.op('select', b.fill(1, [3], 'bool'), x, y), (_, x) => x],
    ['select(false, x, y) → y', (b, x, y) => b.op('select', b.fill(0, [3], 'bool'), x, y), (_, _x, y) => y],
    [
      'select(¬c, x, y) → select(c, y, x)',
      (b, x, y) => b.op('select', b.op('not', bool(b)), x, y),
      (b, x, y) => b.op('select', bool(b), y, x),
    ],
    ['p ∧ true → p', (b) => b.op('and', bool(b), b.fill(1, [3], 'bool')), (b) => bool(b)],
    ['p ∨ true → true', (b) => b.op('or', bool(b), b.fill(1, [3], 'bool')), (b) => (bool(b), b.fill(1, [3], 'bool'))],
    ['bool → int32 → float32', (b) => cast(b, bool(b), 'int32', 'float32'), (b) => cast(b, bool(b), 'float32')],
    ['bool → float32 → bool', (b) => cast(b, bool(b), 'float32', 'bool'), (b) => bool(b)],
    ['int32 → float32 → bool', (b, _x, _y, n) => cast(b, n, 'float32', 'bool'), (b, _x, _y, n) => cast(b, n, 'bool')],
    ['reshape of a reshape', (b, x) => reshape(b, reshape(b, x, 3, 1), 1, 3), (b, x) => reshape(b, x, 1, 3)],
    ['reshape there and back', (b, x) => reshape(b, reshape(b, x, 3, 1), 3), (_, x) => x],
    [
      'transposes compose',
      (b) => transpose(b, transpose(b, cube(b), 1, 2, 0), 1, 0, 2),
      (b) => transpose(b, cube(b), 2, 1, 0),
    ],
    ['transposes cancel', (b) => transpose(b, transpose(b, cube(b), 1, 2, 0), 2, 0, 1), (b) => cube(b)],
    [
      'a transpose of ones is a reshape',
      (b, x) => transpose(b, reshape(b, x, 1, 3, 1), 2, 1, 0),
      (b, x) => reshape(b, x, 1, 3, 1),
    ],
    ['slices compose', (b, x) => slice(b, slice(b, x, 1, 2, 1), 1, 1, 1), (b, x) => slice(b, x, 2, 1, 1)],
    [
      'strides of slices multiply',
      (b) => {
        const long = b.input('l', { shape: [20], dtype: 'float32' });
        return slice(b, slice(b, long, 1, 9, 2), 2, 3, 3);
      },
      (b) => slice(b, b.input('l', { shape: [20], dtype: 'float32' }), 5, 3, 6),
    ],
    ['a whole slice', (b, x) => slice(b, x, 0, 3, 1), (_, x) => x],
    ['a pad by nothing', (b, x) => b.emit('pad', [x], { low: [0], high: [0], interior: [0] }), (_, x) => x],
    [
      'windows of one element are a slice',
      (b) => {
        const long = b.input('l', { shape: [7], dtype: 'float32' });
        return b.emit('windows', [long], { axes: [0], sizes: [1], strides: [3], dilations: [1] });
      },
      (b) => reshape(b, slice(b, b.input('l', { shape: [7], dtype: 'float32' }), 0, 3, 3), 3, 1),
    ],
    [
      'windows side by side are a reshape',
      (b) => b.emit('windows', [cube(b)], { axes: [2], sizes: [2], strides: [2], dilations: [1] }),
      (b) => reshape(b, cube(b), 2, 3, 2, 2),
    ],
    [
      'windows side by side along two axes are a transpose',
      (b) => b.emit('windows', [cube(b)], { axes: [0, 2], sizes: [2, 2], strides: [1, 2], dilations: [1, 1] }),
      (b) => transpose(b, reshape(b, cube(b), 1, 2, 3, 2, 2), 0, 2, 3, 1, 4),
    ],
    [
      'a fold of windows side by side is a pad',
      (b) => {
        const seen = b.input('l', { shape: [2, 3, 2], dtype: 'float32' });
        return b.emit('foldWindows', [seen], { axes: [1], extents: [7], strides: [2], dilations: [1] });
      },
      (b) =>
        b.emit('pad', [reshape(b, b.input('l', { shape: [2, 3, 2], dtype: 'float32' }), 2, 6)], {
          low: [0, 0],
          high: [0, 1],
          interior: [0, 0],
        }),
    ],
    ['a concat of one', (b, x) => b.emit('concat', [x], { axis: 0 }), (_, x) => x],
    [
      'reverse there and back',
      (b, x) => b.emit('reverse', [b.emit('reverse', [x], { axes: [0] })], { axes: [0] }),
      (_, x) => x,
    ],
    ['a sum of nothing', (b, x) => b.emit('reduceSum', [x], { axes: [] }), (_, x) => x],
    [
      'a sum along an axis of one',
      (b, x) => b.emit('reduceSum', [reshape(b, x, 1, 3, 1)], { axes: [0, 2] }),
      (_, x) => x,
    ],
    [
      'broadcasts compose',
      (b, x) => b.emit('broadcast', [b.emit('broadcast', [x], { shape: [2, 3] })], { shape: [4, 2, 3] }),
      (b, x) => b.emit('broadcast', [x], { shape: [4, 2, 3] }),
    ],
    [
      'elementwise before broadcast',
      (b, x, y) => b.op('mul', b.broadcast(x, [5, 3]), b.broadcast(y, [5, 3])),
      (b, x, y) => b.broadcast(b.op('mul', x, y), [5, 3]),
    ],
    [
      'a transpose of the last axes becomes a flag of the product',
      (b) => b.emit('matmul', [cube(b), transpose(b, cubeOf(b), 0, 2, 1)], { transposeA: false, transposeB: false }),
      (b) => b.emit('matmul', [cube(b), cubeOf(b)], { transposeA: false, transposeB: true }),
    ],
    [
      'a transpose of a transposed right operand cancels its flag',
      (b) => b.emit('matmul', [cube(b), transpose(b, cubeOf(b), 0, 2, 1)], { transposeA: true, transposeB: true }),
      (b) => b.emit('matmul', [cube(b), cubeOf(b)], { transposeA: true, transposeB: false }),
    ],
    [
      'a transpose of a transposed operand cancels its flag',
      (b) => b.emit('matmul', [transpose(b, cube(b), 0, 2, 1), cubeOf(b)], { transposeA: true, transposeB: true }),
      (b) => b.emit('matmul', [cube(b), cubeOf(b)], { transposeA: false, transposeB: true }),
    ],
  ];
  function cubeOf(b: GraphBuilder): ValueId {
    return b.input('d', { shape: [2, 3, 4], dtype: 'float32' });
  }

  const special = [NaN, Infinity, -Infinity, 0, -0, 1.5, -2];
  function feedsOf(graph: Graph, salt: number): Value[] {
    return graph.inputs.map((id, i) => {
      const { shape, dtype } = graph.nodes[id].type;
      const numbers = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, j) => j + salt + 3 * i);
      if (dtype === 'bool') return Uint8Array.from(numbers, (j) => j % 2);
      return dtype === 'int32'
        ? Int32Array.from(numbers, (j) => [-2147483648, 2147483647, 0, -5][j % 4])
        : Float64Array.from(numbers, (j) => special[j % special.length]);
    });
  }

  test.each(rewritten)('%s', (_, before, after) => {
    const graph = graphOf(before);
    // Twice, since one rewrite may open another.
    const simplified = runPasses(graph, [canonicalise, canonicalise, eliminateDeadCode]);
    expect(printGraph(simplified)).toBe(printGraph(runPasses(graphOf(after), [eliminateDeadCode])));
    for (let salt = 0; salt < special.length; salt++) {
      const feeds = feedsOf(graph, salt);
      expectSameBits(interpret(simplified, feeds, CONTEXT), interpret(graph, feeds, CONTEXT));
    }
  });

  const kept: readonly (readonly [name: string, make: Make, why: string])[] = [
    ['x + 0', (b, x) => b.op('add', x, fill(b, 0)), '−0 + 0 is 0'],
    ['0 − x', (b, x) => b.op('sub', fill(b, 0), x), '0 − 0 is 0, −0 is not'],
    ['x − (−0)', (b, x) => b.op('sub', x, fill(b, -0)), '−0 − (−0) is 0'],
    ['x·0', (b, x) => b.op('mul', x, fill(b, 0)), 'NaN·0 and ∞·0 are NaN'],
    ['x − x', (b, x) => b.op('sub', x, x), '∞ − ∞ is NaN'],
    ['x/x', (b, x) => b.op('div', x, x), '0/0 is NaN'],
    ['int32 → float32 → int32', (b, _x, _y, n) => cast(b, n, 'float32', 'int32'), 'float32 has 24 bits'],
    ['float32 → int32 → float32', (b, x) => cast(b, x, 'int32', 'float32'), 'it truncates'],
    [
      'windows that overlap',
      (b) => b.emit('windows', [cube(b)], { axes: [1], sizes: [2], strides: [1], dilations: [1] }),
      'an element is seen twice',
    ],
    ['uint8 stays out', (b, x) => cast(b, x, 'bool', 'float32'), 'x is not 0 or 1'],
    ['√(x·x)', (b, x) => b.op('sqrt', b.op('mul', x, x)), 'x·x rounds and overflows'],
    [
      'x + (−0, 0, −0)',
      (b, x) => b.op('add', x, b.constant(Float32Array.of(-0, 0, -0), [3], 'float32')),
      '0 is not −0',
    ],
    [
      'a large constant + 0',
      (b) => b.op('add', b.constant(new Float32Array(4097).fill(1), [4097], 'float32'), b.fill(0, [4097])),
      'to look for −0 in it takes long',
    ],
    [
      'an outer product',
      (b, x, y) => b.op('mul', b.broadcast(b.emit('reshape', [x], { shape: [3, 1] }), [3, 3]), b.broadcast(y, [3, 3])),
      'neither operand holds the other',
    ],
    [
      'reverses of different axes',
      (b) => b.emit('reverse', [b.emit('reverse', [cube(b)], { axes: [0] })], { axes: [1] }),
      'both count',
    ],
    ['x = x', (b, x) => b.op('eq', x, x), 'NaN is not equal to itself'],
    [
      '(−m)/(−n), int32',
      (b, _x, _y, n) => b.op('div', b.op('neg', b.emit('reverse', [n], { axes: [0] })), b.op('neg', n)),
      '−(−2³¹) is −2³¹',
    ],
  ];
  test.each(kept.map(([name, make, why]) => ({ name, make, why })))('keeps $name: $why', ({ make }) => {
    const graph = graphOf(make);
    const ops = (g: Graph): string[] => g.nodes.map((node) => node.op);
    expect(ops(runPasses(graph, [canonicalise, eliminateDeadCode]))).toEqual(ops(graph));
  });
});

describe('fold', () => {
  test.each([
    ['1/4', (b: GraphBuilder) => b.op('div', b.fill(1, []), b.fill(4, [])), Float32Array.of(0.25)],
    ['∞ − ∞', (b: GraphBuilder) => b.op('sub', b.fill(Infinity, []), b.fill(Infinity, [])), Float32Array.of(NaN)],
    [
      '1/3 > 0, but not 1/3',
      (b: GraphBuilder) => b.op('gt', b.op('div', b.fill(1, []), b.fill(3, [])), b.fill(0, [])),
      Uint8Array.of(1),
    ],
  ])('computes %s', (_, make, data) => {
    const folded = runPasses(graphOf(make), [foldConstants, eliminateDeadCode]);
    expect(folded.nodes.at(-1)).toMatchObject({ op: 'constant', attributes: { data } });
  });

  test.each([
    ['1/3', (b: GraphBuilder) => b.op('div', b.fill(1, []), b.fill(3, []))],
    ['2²⁴ + 1', (b: GraphBuilder) => b.op('add', b.fill(2 ** 24, []), b.fill(1, []))],
    ['3e38 + 3e38, which overflows', (b: GraphBuilder) => b.op('add', b.fill(3e38, []), b.fill(3e38, []))],
    [
      '2²⁴ + 1 > 2²⁴, which depends on the precision',
      (b: GraphBuilder) => b.op('gt', b.op('add', b.fill(2 ** 24, []), b.fill(1, [])), b.fill(2 ** 24, [])),
    ],
  ])('leaves %s to the machine', (_, make) => {
    const graph = graphOf(make);
    expect(printGraph(runPasses(graph, [foldConstants, eliminateDeadCode]))).toBe(
      printGraph(runPasses(graph, [eliminateDeadCode])),
    );
  });

  test('float64 keeps the digits of the derivative of erf, 2/√π·exp(−x²)', () => {
    const b = new GraphBuilder('erf');
    const x = b.input('x', { shape: [3], dtype: 'float32' });
    const [slope] = vjp(b, [{ value: b.op('erf', x), cotangent: b.fill(1, [3]) }], [x]);
    const numbers = Float64Array.of(0, 0.5, -1.25);
    const [slopes] = interpret(optimise(b.finish([slope])), [numbers], CONTEXT);
    // The factor has 48 bits.
    numbers.forEach((at, i) => {
      expect(Math.abs(slopes[i] / ((2 / Math.sqrt(Math.PI)) * Math.exp(-at * at)) - 1)).toBeLessThan(2 ** -47);
    });
  });

  test('does not write out large constants: iota, broadcast and sums of them stay compact', () => {
    const large = MAX_FOLDED_ELEMENTS + 1;
    const graph = graphOf((b) => [
      b.op('add', b.fill(1, [large]), b.fill(2, [large])),
      b.op('neg', b.cast(b.emit('iota', [], { shape: [large], axis: 0 }), 'float32')),
    ]);
    const elements = optimise(graph).nodes.map((node) => (node.op === 'constant' ? node.attributes.data.length : 0));
    expect(Math.max(...elements)).toBe(1);
  });

  test('a constant with equal elements is a broadcast number; 0 and −0 are not equal', () => {
    const zeros = (x: number): Graph =>
      graphOf((b) =>
        b.op(
          'mul',
          b.constant(Float32Array.of(0, 0, 0), [3], 'float32'),
          b.constant(Float32Array.of(1, x, 1), [3], 'float32'),
        ),
      );
    expect(optimise(zeros(2)).nodes.at(-1)?.op).toBe('broadcast');
    expect(Array.from(interpret(optimise(zeros(-1)), feedless(), CONTEXT)[0])).toEqual([0, -0, 0]);
  });

  test('never folds a draw', () => {
    const random = { stream: 'user', perStep: false, path: [], distribution: { name: 'uniform' }, shape: [3] } as const;
    const graph = graphOf((b) => b.op('neg', b.emit('random', [], random)));
    expect(optimise(graph).nodes.map((node) => node.op)).toContain('random');
  });

  function feedless(): Value[] {
    return [new Float64Array(3), new Float64Array(3), new Int32Array(3)];
  }
});

describe('cse', () => {
  const draw = (b: GraphBuilder, path: number[], perStep = true): ValueId =>
    b.emit('random', [], { stream: 'user', perStep, path, distribution: { name: 'normal' }, shape: [3] });
  const distinct = (make: Parameters<typeof graphOf>[0]): number =>
    new Set(runPasses(graphOf(make), [eliminateCommonSubexpressions]).outputs).size;

  test.each([
    ['equal draws are one', (b: GraphBuilder) => [draw(b, [1]), draw(b, [1])], 1],
    ['another path is another draw', (b: GraphBuilder) => [draw(b, [1]), draw(b, [2])], 2],
    ['a draw of the step is not that of the episode', (b: GraphBuilder) => [draw(b, [1]), draw(b, [1], false)], 2],
    ['0 is not −0', (b: GraphBuilder) => [b.fill(0, []), b.fill(-0, [])], 2],
    ['int32 0 is not float32 0', (b: GraphBuilder) => [b.fill(0, []), b.fill(0, [], 'int32')], 2],
    ['equal constants are one', (b: GraphBuilder) => [b.fill(0.1, []), b.fill(0.1, [])], 1],
    ['x·y is y·x', (b: GraphBuilder, x: ValueId, y: ValueId) => [b.op('mul', x, y), b.op('mul', y, x)], 1],
    ['x − y is not y − x', (b: GraphBuilder, x: ValueId, y: ValueId) => [b.op('sub', x, y), b.op('sub', y, x)], 2],
    ['x < y is not y < x', (b: GraphBuilder, x: ValueId, y: ValueId) => [b.op('lt', x, y), b.op('lt', y, x)], 2],
    ['inputs stay apart', (_: GraphBuilder, x: ValueId, y: ValueId) => [x, y], 2],
  ])('%s', (_, make, count) => {
    expect(distinct(make)).toBe(count);
  });

  test('constants whose hashes collide stay apart', () => {
    // Both have the same 32-bit FNV-1a hash (found by search).
    const pair = (a: number) => Int32Array.of(a, 7 * a + 1);
    expect(distinct((b) => [26640, 67060].map((a) => b.constant(pair(a), [2], 'int32')))).toBe(2);
    expect(distinct((b) => [26640, 26640].map((a) => b.constant(pair(a), [2], 'int32')))).toBe(1);
  });

  test('reads a constant to tell it apart once, not once a round', () => {
    let reads = 0;
    const data = Float32Array.from({ length: 5000 }, (_, i) => i);
    const { buffer } = data;
    Object.defineProperty(data, 'buffer', { get: () => (reads++, buffer) });
    const graph = graphOf((b) => {
      const x = b.op('identity', b.op('identity', b.constant(data, [5000], 'float32')));
      return b.op('sin', b.op('neg', b.op('neg', x)));
    });
    // That there is more than one round follows from the graph's change: the last one changes nothing.
    expect(countOps(simplify(graph))).toBeLessThan(countOps(graph));
    expect(reads).toBe(1);
  });

  test('tables are equal by identity, not by name', () => {
    const table = () => ({ name: 'same', values: Int32Array.of(1), dtype: 'int32', rows: 1, rowShape: [] }) as const;
    const [a, other] = [table(), table()];
    expect(distinct((b) => [b.table(a), b.table(a)])).toBe(1);
    expect(distinct((b) => [b.table(a), b.table(other)])).toBe(2);
  });
});

test('dce keeps every input and nothing that no output needs', () => {
  const graph = graphOf((b, x) => {
    b.op('exp', x);
    return b.op('sin', x);
  });
  expect(printGraph(runPasses(graph, [eliminateDeadCode]))).toMatchInlineSnapshot(`
    "g(%0 x: float32[3], %1 y: float32[3], %2 n: int32[3]) {
      %3 = sin(%0) : float32[3]
      return %3
    }"
  `);
});

describe('the whole', () => {
  test('an SGD step at rate e^(ln 1) and no momentum: constants are gone; 0 − y stays, for it is not −y where y is 0', () => {
    const graph = graphOf((b, x, y) => {
      const velocity = b.binary('add', b.binary('mul', b.fill(0.9, []), b.fill(0, [3])), b.op('neg', y));
      const rate = b.op('exp', b.op('log', b.fill(1, [])));
      return b.op('add', x, b.binary('mul', b.op('identity', velocity), rate));
    });
    expect(printGraph(optimise(graph))).toMatchInlineSnapshot(`
      "g(%0 x: float32[3], %1 y: float32[3], %2 n: int32[3]) {
        %3 = constant 0 : float32[]
        %4 = broadcast(%3) : float32[3]
        %5 = sub(%4, %1) : float32[3]
        %6 = add(%0, %5) : float32[3]
        return %6
      }"
    `);
  });

  test('a dense layer’s backward pass: transposes become flags, scalars stay scalar', () => {
    const b = new GraphBuilder('dense');
    const x = b.input('x', { shape: [8, 3], dtype: 'float32' });
    const g = b.input('g', { shape: [8, 2], dtype: 'float32' });
    const s = b.input('s', { shape: [], dtype: 'float32' });
    const scaled = b.binary('mul', b.fill(0.5, [3, 2]), b.broadcast(s, [3, 2]));
    const dw = b.emit('matmul', [b.transpose(x, [1, 0]), g], { transposeA: false, transposeB: false });
    const graph = b.finish([b.op('mul', scaled, dw), b.sumTo(g, [1, 2])]);
    expect(printGraph(optimise(graph))).toMatchInlineSnapshot(`
      "dense(%0 x: float32[8,3], %1 g: float32[8,2], %2 s: float32[]) {
        %3 = constant 0.5 : float32[]
        %4 = mul(%3, %2) : float32[]
        %5 = broadcast(%4) : float32[3,2]
        %6 = matmul(%0, %1) transposeA=true transposeB=false : float32[3,2]
        %7 = mul(%5, %6) : float32[3,2]
        %8 = reduceSum(%1) axes=[0] : float32[2]
        %9 = reshape(%8) : float32[1,2]
        return %7, %9
      }"
    `);
  });

  test('simplify leaves stopGradient, which differentiation reads; optimise does not', () => {
    const graph = graphOf((b, x) => b.op('stopGradient', b.op('sin', x)));
    expect(simplify(graph).nodes.map((node) => node.op)).toContain('stopGradient');
    expect(optimise(graph).nodes.map((node) => node.op)).not.toContain('stopGradient');
  });
});

test('a pass that breaks the graph is named', () => {
  const broken = { name: 'broken', run: (graph: Graph): Graph => ({ ...graph, outputs: [99] }) };
  const graph = graphOf((_, x) => x);
  expect(() => runPasses(graph, [canonicalise, broken])).toThrow(GraphError);
  expect(() => runPasses(graph, [canonicalise, broken])).toThrow(/^graph is invalid at exit from broken: /);
  expect(() => runPasses({ ...graph, inputs: [] }, [canonicalise])).toThrow(/entry to canonicalise/);
});
