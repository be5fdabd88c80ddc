import { ShapeError } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { copyInto, freshName, inline } from '../../src/graph/inline';
import type { Graph, ValueId } from '../../src/graph/ir';
import { jvp, jvpGraph } from '../../src/graph/jvp';
import { verifyGraph } from '../../src/graph/verify';
import { vjp, vjpGraph } from '../../src/graph/vjp';
import { bool, evaluate, float, int, makeGraph } from '../support/jacobian';

const F = Float64Array;

function opsAfter(b: GraphBuilder, from: number): string[] {
  return Array.from({ length: b.size - from }, (_, i) => b.node(from + i).op);
}

function inputNamesOf(graph: Graph): string[] {
  return graph.nodes.flatMap((node) => (node.op === 'input' ? [node.attributes.name] : []));
}

describe('vjp', () => {
  it('differentiates the part of a graph between wrt and the seeds, which are any values', () => {
    const b = new GraphBuilder('part');
    const x = b.input('x', float());
    const cut = b.op('identity', b.op('mul', x, x));
    const y = b.op('mul', cut, cut);
    const [gradient] = vjp(b, [{ value: y, cotangent: b.fill(1, []) }], [cut]);
    b.op('exp', y);
    // y = c², c = x² = 9.
    expect(evaluate(b.finish([gradient]), [F.of(3)])[0][0]).toBe(18);
  });

  it('gives total derivatives where one wrt depends on another', () => {
    const b = new GraphBuilder('total');
    const x = b.input('x', float());
    const square = b.op('mul', x, x);
    const y = b.op('add', square, x);
    const gradients = vjp(b, [{ value: y, cotangent: b.fill(1, []) }], [x, square]);
    expect(evaluate(b.finish(gradients), [F.of(3)]).map(([value]) => value)).toEqual([7, 1]);
  });

  it('adds up several seeds, one value seeded twice, and a value that is seed and wrt at once', () => {
    const b = new GraphBuilder('seeds');
    const x = b.input('x', float());
    const y = b.op('mul', x, x);
    const two = b.fill(2, []);
    const seeds = [
      { value: y, cotangent: two },
      { value: y, cotangent: b.fill(1, []) },
      { value: x, cotangent: b.fill(10, []) },
    ];
    const gradients = vjp(b, seeds, [x, y]);
    expect(evaluate(b.finish(gradients), [F.of(5)]).map(([value]) => value)).toEqual([40, 3]);
  });

  it('gives zeros of their own types to what nothing depends on, and to integers', () => {
    const b = new GraphBuilder('zeros');
    const x = b.input('x', float(2));
    const n = b.input('n', int(3));
    const p = b.input('p', bool(1));
    const unused = b.input('unused', float(2, 2));
    const y = b.reduceSum(b.op('mul', x, x), [0]);
    const gradients = vjp(b, [{ value: y, cotangent: b.fill(1, []) }], [unused, n, p, x]);
    expect(gradients.map((id) => b.type(id))).toEqual([float(2, 2), int(3), bool(1), float(2)]);
    const values = evaluate(b.finish(gradients), [F.of(1, 2), Int32Array.of(1, 2, 3), Uint8Array.of(1), new F(4)]);
    expect(values.map((value) => [...value])).toEqual([[0, 0, 0, 0], [0, 0, 0], [0], [2, 4]]);
  });

  it('emits nothing for operands that are not asked for, nor for dead branches', () => {
    const b = new GraphBuilder('lean');
    const x = b.input('x', float(5, 4));
    const w = b.input('w', float(4, 3));
    const y = b.emit('matmul', [x, w], { transposeA: false, transposeB: false });
    b.op('exp', y);
    const cotangent = b.input('g', float(5, 3));
    const before = b.size;
    vjp(b, [{ value: y, cotangent }], [w]);
    expect(opsAfter(b, before)).toEqual(['matmul']);
  });

  it('returns nothing for no wrt, and zeros for no seeds', () => {
    const b = new GraphBuilder('none');
    const x = b.input('x', float());
    expect(vjp(b, [{ value: x, cotangent: b.fill(1, []) }], [])).toEqual([]);
    const [gradient] = vjp(b, [], [x]);
    expect(evaluate(b.finish([gradient]), [F.of(3)])[0][0]).toBe(0);
  });

  it.each([
    ['of another shape', (b: GraphBuilder): [ValueId, ValueId] => [b.fill(1, [2]), b.fill(1, [3])]],
    ['of another dtype', (b: GraphBuilder): [ValueId, ValueId] => [b.fill(1, [2]), b.fill(1, [2], 'int32')]],
    ['of an integer', (b: GraphBuilder): [ValueId, ValueId] => [b.fill(1, [2], 'int32'), b.fill(1, [2], 'int32')]],
  ])('refuses a cotangent or tangent %s', (_what, build) => {
    const b = new GraphBuilder('bad');
    const [value, other] = build(b);
    expect(() => vjp(b, [{ value, cotangent: other }], [value])).toThrow(ShapeError);
    expect(() => vjp(b, [{ value, cotangent: other }], [value])).toThrow(/expected the same type, float32, got/);
    expect(() => jvp(b, new Map([[value, other]]), [value])).toThrow(ShapeError);
  });
});

describe('jvp', () => {
  it('is undefined for what depends on no tangent, and for integers', () => {
    const b = new GraphBuilder('undefined');
    const x = b.input('x', float());
    const y = b.input('y', float());
    const tangents = new Map([[x, b.fill(1, [])]]);
    const outputs = [b.op('exp', y), b.cast(x, 'int32'), b.op('floor', x), b.op('stopGradient', x), y];
    const before = b.size;
    expect(jvp(b, tangents, outputs)).toEqual(outputs.map(() => undefined));
    expect(b.size).toBe(before);
  });

  it('keeps a tangent that is given, also downstream of another', () => {
    const b = new GraphBuilder('given');
    const x = b.input('x', float());
    const square = b.op('mul', x, x);
    const y = b.op('add', square, x);
    const tangents = new Map([
      [x, b.fill(1, [])],
      [square, b.fill(100, [])],
    ]);
    const [tangent] = jvp(b, tangents, [y]);
    expect(evaluate(b.finish([tangent!]), [F.of(3)])[0][0]).toBe(101);
  });

  it('emits nothing for what no output needs', () => {
    const b = new GraphBuilder('lean');
    const x = b.input('x', float());
    const y = b.op('neg', x);
    b.op('exp', y);
    const tangents = new Map([[x, b.fill(1, [])]]);
    const before = b.size;
    jvp(b, tangents, [y]);
    expect(opsAfter(b, before)).toEqual(['neg']);
  });
});

describe('vjpGraph and jvpGraph', () => {
  const graph = makeGraph('mixed', [float(2), int(2), float(2)], (b, x, n, y) => [
    b.op('mul', x, y),
    b.op('add', n, n),
    b.reduceSum(b.op('mul', x, b.cast(n, 'float32')), [0]),
  ]);
  const feeds = [F.of(2, 3), Int32Array.of(4, 5), F.of(6, 7)];

  it('take a cotangent for each float32 output and give one for each float32 input', () => {
    const reverse = vjpGraph(graph);
    verifyGraph(reverse, 'vjp');
    expect(inputNamesOf(reverse)).toEqual(['x0', 'x1', 'x2', 'cotangent.0', 'cotangent.2']);
    const outputs = evaluate(reverse, [...feeds, F.of(1, 10), F.of(100)]);
    expect(outputs.map((value) => [...value])).toEqual([[12, 21], [8, 10], [23], [406, 570], [2, 30]]);
  });

  it('take a tangent for each float32 input and give one for each float32 output', () => {
    const forward = jvpGraph(graph);
    verifyGraph(forward, 'jvp');
    expect(inputNamesOf(forward)).toEqual(['x0', 'x1', 'x2', 'tangent.x0', 'tangent.x2']);
    const outputs = evaluate(forward, [...feeds, F.of(1, 10), F.of(100, 1000)]);
    expect(outputs.map((value) => [...value])).toEqual([[12, 21], [8, 10], [23], [206, 3070], [54]]);
  });

  it('nest, with distinct input names', () => {
    const nested = vjpGraph(jvpGraph(vjpGraph(vjpGraph(graph))));
    verifyGraph(nested, 'nested');
    expect(new Set(inputNamesOf(nested)).size).toBe(nested.inputs.length);
  });

  it('accept outputs that are inputs, constants or repeated', () => {
    const odd = makeGraph('odd', [float()], (b, x) => [x, x, b.fill(7, [])]);
    const feed = F.of(3);
    const reverse = evaluate(vjpGraph(odd), [feed, F.of(1), F.of(10), F.of(100)]);
    expect(reverse.map(([value]) => value)).toEqual([3, 3, 7, 11]);
    expect(evaluate(jvpGraph(odd), [feed, F.of(5)]).map(([value]) => value)).toEqual([3, 3, 7, 5, 5, 0]);
  });
});

describe('inline', () => {
  const square = makeGraph('square', [float()], (b, x) => b.op('mul', x, x));

  it('copies a graph to where its inputs are values', () => {
    const b = new GraphBuilder('outer');
    const x = b.input('x', float());
    const [once] = inline(b, square, [x]);
    const [twice] = inline(b, square, [once]);
    const graph = b.finish([twice]);
    verifyGraph(graph, 'inline');
    expect(inputNamesOf(graph)).toEqual(['x']);
    expect(evaluate(graph, [F.of(3)])[0][0]).toBe(81);
  });

  it('keeps inputs and their names when it copies a whole graph', () => {
    const b = new GraphBuilder('copy');
    const { inputs, outputs } = copyInto(b, square);
    expect(inputs).toHaveLength(1);
    expect(inputNamesOf(b.finish(outputs))).toEqual(['x0']);
  });

  it('refuses inputs that do not fit', () => {
    const b = new GraphBuilder('outer');
    expect(() => inline(b, square, [])).toThrow(/expected 1 inputs to inline it with, got 0/);
    const pair = b.input('pair', float(2));
    expect(() => inline(b, square, [pair])).toThrow(/input 0: expected float32\[\], got float32\[2\]/);
  });

  it('makes fresh names', () => {
    const taken = new Set(['a', "a'"]);
    expect([freshName(taken, 'a'), freshName(taken, 'a'), freshName(taken, 'b')]).toEqual(["a''", "a'''", 'b']);
  });
});
