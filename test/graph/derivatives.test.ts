/** Derivatives of whole graphs: closed forms to third order, random graphs, and a gradient through SGD steps. */
import * as fc from 'fast-check';
import type { GraphBuilder } from '../../src/graph/builder';
import { compileInterpreter, stepContext } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type OpName, type ValueId } from '../../src/graph/ir';
import { jvp, jvpGraph } from '../../src/graph/jvp';
import { NON_SMOOTH_OPS } from '../../src/graph/vjp-rules';
import { OP_NAMES } from '../../src/graph/infer';
import { verifyGraph } from '../../src/graph/verify';
import { vjp, vjpGraph } from '../../src/graph/vjp';
import { EPS, evaluate, expectClose, expectDerivatives, float, makeGraph, withOutputs } from '../support/jacobian';
import { randomGraph } from '../support/smooth-graph';

function gradient(b: GraphBuilder, y: ValueId, x: ValueId): ValueId {
  return vjp(b, [{ value: y, cotangent: b.fill(1, b.shape(y)) }], [x])[0];
}
function directional(b: GraphBuilder, y: ValueId, x: ValueId, along: ValueId): ValueId {
  const [tangent] = jvp(b, new Map([[x, along]]), [y]);
  return tangent ?? b.zeros(b.type(y));
}
/** d/dx by reverse or by forward mode, of an elementwise graph. */
type Differentiate = (b: GraphBuilder, y: ValueId, x: ValueId) => ValueId;
const MODES: readonly (readonly [string, Differentiate])[] = [
  ['reverse', gradient],
  ['forward', (b, y, x) => directional(b, y, x, b.fill(1, b.shape(x)))],
];

function logSumExp(b: GraphBuilder, x: ValueId): ValueId {
  const top = b.emit('reduceMax', [x], { axes: [0] });
  const shifted = b.binary('sub', x, top);
  return b.op('add', top, b.op('log', b.reduceSum(b.op('exp', shifted), [0])));
}

function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return Array.from(x).reduce((sum, value, i) => sum + value * y[i], 0);
}

/** Rows of the Hessian of a scalar graph of one vector, by reverse over reverse and by forward over reverse. */
function hessians(build: (b: GraphBuilder, x: ValueId) => ValueId, at: readonly number[]): number[][][] {
  const n = at.length;
  const overReverse = makeGraph('hessian', [float(n), float(n)], (b, x, along) => {
    const first = gradient(b, build(b, x), x);
    return [vjp(b, [{ value: first, cotangent: along }], [x])[0], directional(b, first, x, along)];
  });
  const rows = at.map((_, i) =>
    evaluate(overReverse, [Float64Array.from(at), Float64Array.from(at, (_x, j) => (i === j ? 1 : 0))]),
  );
  return [0, 1].map((mode) => rows.map((row) => [...row[mode]]));
}

function expectMatrix(
  got: readonly (readonly number[])[],
  expected: readonly (readonly number[])[],
  ulps: number,
): void {
  const size = Math.max(...expected.flat().map(Math.abs));
  expected.forEach((row, i) => {
    row.forEach((value, j) => expectClose(got[i][j], value, ulps * EPS * size, `[${i}][${j}]`));
  });
}

describe('closed forms', () => {
  const POINTS = [-8, -1, 0, 0.5, 1, 3];

  // TensorFlow.js's nested tape gets f″ of this one wrong.
  describe.each(MODES)('x·sigmoid(x), outermost %s', (_outer, outer) => {
    it.each(MODES)('f′, f″, f‴ over %s', (_inner, inner) => {
      const graph = makeGraph('swish', [float(POINTS.length)], (b, x) => {
        const first = inner(b, b.op('mul', x, b.op('sigmoid', x)), x);
        const second = outer(b, first, x);
        return [first, second, outer(b, second, x)];
      });
      const [first, second, third] = evaluate(graph, [Float64Array.from(POINTS)]);
      POINTS.forEach((x, i) => {
        const s = 1 / (1 + Math.exp(-x));
        const s1 = s * (1 - s);
        const s2 = s1 * (1 - 2 * s);
        const s3 = s1 * (1 - 6 * s1);
        expectClose(first[i], s + x * s1, 16 * EPS, `f′(${x})`);
        expectClose(second[i], 2 * s1 + x * s2, 64 * EPS, `f″(${x})`);
        expectClose(third[i], 3 * s2 + x * s3, 256 * EPS, `f‴(${x})`);
      });
    });
  });

  it.each([
    ['distinct', [0.3, -1, 2, 0.1]],
    ['tied at the maximum', [2, -1, 2, 2]],
    ['far apart', [700, -700, 699, 0]],
  ])('log-sum-exp, %s: gradient p, Hessian diag(p) − ppᵀ', (_what, at) => {
    const top = Math.max(...at);
    const weights = at.map((x) => Math.exp(x - top));
    const total = weights.reduce((sum, w) => sum + w, 0);
    const p = weights.map((w) => w / total);
    const graph = makeGraph('lse', [float(at.length)], (b, x) => gradient(b, logSumExp(b, x), x));
    expectMatrix([[...evaluate(graph, [Float64Array.from(at)])[0]]], [p], 16);
    const expected = p.map((x, i) => p.map((y, j) => (i === j ? x : 0) - x * y));
    for (const hessian of hessians(logSumExp, at)) expectMatrix(hessian, expected, 32);
  });

  it('quadratic form xᵀAx: Hessian A + Aᵀ', () => {
    const a = [1, 2, -3, 0.5, 4, 7, -1, 0, 2];
    const quadratic = (b: GraphBuilder, x: ValueId): ValueId => {
      const row = b.reshape(x, [1, 3]);
      const matrix = b.constant(Float32Array.from(a), [3, 3], 'float32');
      const product = b.emit('matmul', [row, matrix], { transposeA: false, transposeB: false });
      return b.reshape(b.emit('matmul', [product, row], { transposeA: false, transposeB: true }), []);
    };
    const expected = [0, 1, 2].map((i) => [0, 1, 2].map((j) => a[3 * i + j] + a[3 * j + i]));
    for (const hessian of hessians(quadratic, [0.3, -1, 2])) expect(hessian).toEqual(expected);
  });

  it('Euclidean norm: Hessian (1 − uuᵀ)/‖x‖', () => {
    const at = [3, -4, 12];
    const norm = (b: GraphBuilder, x: ValueId): ValueId => b.op('sqrt', b.reduceSum(b.op('mul', x, x), [0]));
    const expected = at.map((x, i) => at.map((y, j) => ((i === j ? 1 : 0) - (x * y) / 169) / 13));
    for (const hessian of hessians(norm, at)) expectMatrix(hessian, expected, 16);
  });

  it('polynomial x⁵ by repeated reverse mode: 120 x⁰ at order 5, 0 at order 6', () => {
    const graph = makeGraph('x5', [float()], (b, x) => {
      const orders = [b.op('pow', x, b.fill(5, []))];
      for (let order = 0; order < 6; order++) orders.push(gradient(b, orders[order], x));
      return orders;
    });
    // At a negative base and at 0, where logarithms and poles of pow would show.
    expect(evaluate(graph, [Float64Array.of(-2)]).map(([v]) => v + 0)).toEqual([-32, 80, -160, 240, -240, 120, 0]);
    expect(evaluate(graph, [Float64Array.of(0)]).map(([v]) => v + 0)).toEqual([0, 0, 0, 0, 0, 120, 0]);
  });
});

/** Sum of |terms| of the dot products, which their rounding errors are relative to. */
function scale(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return Array.from(x).reduce((sum, value, i) => sum + Math.abs(value * y[i]), 0);
}

function split(sizes: readonly number[], all: Float64Array): Float64Array[] {
  let start = 0;
  return sizes.map((size) => all.slice(start, (start += size)));
}

function sizesOf(graph: Graph, ids: readonly ValueId[]): number[] {
  return ids.map((id) => sizeOf(graph.nodes[id].type.shape));
}

function total(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ at random u and v. */
function expectTransposed(graph: Graph, feeds: readonly Float64Array[], vector: (size: number) => Float64Array): void {
  const context = stepContext(1, 0, 0, 0);
  const inSizes = sizesOf(graph, graph.inputs);
  const outSizes = sizesOf(graph, graph.outputs);
  const reverse = vjpGraph(graph);
  const forward = jvpGraph(graph);
  verifyGraph(reverse, 'vjp');
  verifyGraph(forward, 'jvp');
  const u = vector(total(outSizes));
  const v = vector(total(inSizes));
  const flat = (parts: readonly ArrayLike<number>[]): number[] => parts.flatMap((part) => Array.from(part));
  const skip = graph.outputs.length;
  const jv = flat(
    compileInterpreter(forward)
      .run([...feeds, ...split(inSizes, v)], context)
      .slice(skip),
  );
  const ju = flat(
    compileInterpreter(reverse)
      .run([...feeds, ...split(outSizes, u)], context)
      .slice(skip),
  );
  // Every partial sum is bounded by a few hundred for graphs of this size; what remains is rounding.
  const tolerance = 1e-12 * Math.max(1, scale(u, jv), scale(ju, v));
  expectClose(dot(u, jv), dot(ju, v), tolerance, `${graph.name}, ⟨u, Jv⟩ against ⟨Jᵀu, v⟩`);
}

describe('random graphs', () => {
  const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });
  const steps = fc.integer({ min: 1, max: 14 });

  it('reverse mode is the transpose of forward mode, also for the derivative graphs themselves', () => {
    fc.assert(
      fc.property(seeds, steps, (seed, count) => {
        const { graph, feeds, vector } = randomGraph(seed, count);
        expectTransposed(graph, feeds, vector);
        const reverse = vjpGraph(graph);
        const cotangents = reverse.inputs.slice(graph.inputs.length);
        const more = cotangents.map((id) => vector(sizeOf(reverse.nodes[id].type.shape)));
        expectTransposed(reverse, [...feeds, ...more], vector);
      }),
      { seed: 3, numRuns: 150 },
    );
  });

  it('reverse = forward = central differences', () => {
    fc.assert(
      fc.property(seeds, steps, (seed, count) => {
        const { graph, feeds } = randomGraph(seed, count);
        expectDerivatives(graph, feeds);
      }),
      { seed: 4, numRuns: 60 },
    );
  });

  it('second derivatives = central differences of the gradient', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 7 }), (seed, count) => {
        const { graph, feeds, vector } = randomGraph(seed, count);
        const reverse = vjpGraph(graph);
        const cotangents = reverse.inputs.slice(graph.inputs.length);
        const more = cotangents.map((id) => vector(sizeOf(reverse.nodes[id].type.shape)));
        expectDerivatives(withOutputs(reverse, reverse.outputs.slice(graph.outputs.length)), [...feeds, ...more]);
      }),
      { seed: 5, numRuns: 40 },
    );
  });

  it('hold every op that has a derivative', () => {
    const seen = new Set<OpName>();
    for (let seed = 0; seed < 200; seed++) for (const node of randomGraph(seed, 14).graph.nodes) seen.add(node.op);
    const elsewhere: readonly OpName[] = [...NON_SMOOTH_OPS, 'table', 'random', 'iota', 'mod', 'cast'];
    expect(OP_NAMES.filter((op) => !seen.has(op) && !elsewhere.includes(op))).toEqual([]);
  });
});
