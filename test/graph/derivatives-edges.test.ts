/**
 * Derivatives where they do not exist or where a naive rule gives NaN: the conventions of src/graph/partials.ts, by
 * value, in both modes. A cotangent (and tangent) of 0, which is what a branch gets that select did not take, gives 0
 * everywhere, and again in derivatives of reverse mode.
 */
import type { GraphBuilder } from '../../src/graph/builder';
import { jvpGraph } from '../../src/graph/jvp';
import type { ValueId } from '../../src/graph/ir';
import { vjpGraph } from '../../src/graph/vjp';
import { EPS, evaluate, expectClose, float, forwardJacobian, makeGraph, reverseJacobian } from '../support/jacobian';

type Build = (b: GraphBuilder, ...inputs: ValueId[]) => ValueId;
type Name = 'abs' | 'log' | 'log1p' | 'sqrt' | 'rsqrt' | 'exp' | 'expm1' | 'sigmoid' | 'tanh' | 'erf' | 'atan' | 'neg';
type BinaryName = 'div' | 'mod' | 'pow' | 'atan2' | 'max' | 'min' | 'mul';

const op =
  (name: Name | BinaryName): Build =>
  (b, ...inputs) =>
    b.op(name, ...inputs);
/** x to the power of a constant. */
const power =
  (exponent: number): Build =>
  (b, x) =>
    b.op('pow', x, b.fill(exponent, []));

interface Edge {
  readonly what: string;
  readonly build: Build;
  readonly at: readonly number[];
  readonly gradient: readonly number[];
}

function edge(what: string, build: Build, at: readonly number[], gradient: readonly number[]): Edge {
  return { what, build, at, gradient };
}

const NORM: Build = (b, x) => b.op('sqrt', b.op('mul', x, x));
const INF = Infinity;

const EDGES: readonly Edge[] = [
  // Ties: the mean of the one-sided derivatives.
  edge('abs at 0', op('abs'), [0], [0]),
  edge('abs at −0', op('abs'), [-0], [0]),
  edge('abs at −1e−300', op('abs'), [-1e-300], [-1]),
  edge('max of equals', op('max'), [2, 2], [0.5, 0.5]),
  edge('max of 0 and −0', op('max'), [0, -0], [0.5, 0.5]),
  edge('min of equals', op('min'), [2, 2], [0.5, 0.5]),
  edge('max of ∞ and ∞', op('max'), [INF, INF], [0.5, 0.5]),
  edge('max of nearly equals', op('max'), [1, 1 + EPS], [0, 1]),
  edge('min of nearly equals', op('min'), [1, 1 + EPS], [1, 0]),
  edge('max of x and x', (b, x) => b.op('max', x, x), [3], [1]),

  // Poles: ∞, with its sign.
  edge('log at 0', op('log'), [0], [INF]),
  edge('log1p at −1', op('log1p'), [-1], [INF]),
  edge('sqrt at 0', op('sqrt'), [0], [INF]),
  edge('rsqrt at 0', op('rsqrt'), [0], [-INF]),
  edge('1 / 0', (b, y) => b.op('div', b.fill(1, []), y), [0], [-INF]),
  edge('x / 0', (b, x) => b.op('div', x, b.fill(0, [])), [3], [INF]),

  // x^y.
  edge('0^2', power(2), [0], [0]),
  edge('0^1', power(1), [0], [1]),
  edge('0^0', power(0), [0], [0]),
  edge('0^½', power(0.5), [0], [INF]),
  edge('0^−1', power(-1), [0], [-INF]),
  edge('(−0)^3', power(3), [-0], [0]),
  edge('(−2)^2', power(2), [-2], [-4]),
  edge('(−2)^−1', power(-1), [-2], [-0.25]),
  edge('0^0, both operands', op('pow'), [0, 0], [0, 0]),
  edge('0^2, both operands', op('pow'), [0, 2], [0, 0]),
  edge('0^1, both operands', op('pow'), [0, 1], [1, 0]),
  edge('0^−1, both operands', op('pow'), [0, -1], [-INF, 0]),
  edge('(−2)^3, both operands', op('pow'), [-2, 3], [12, 0]),
  edge('(−2)^0, both operands', op('pow'), [-2, 0], [0, 0]),
  edge('2^0, both operands', op('pow'), [2, 0], [0, Math.LN2]),
  edge('1^1e300', op('pow'), [1, 1e300], [1e300, 0]),

  edge('atan2(0, 0)', op('atan2'), [0, 0], [0, 0]),
  edge('atan2(0, −0)', op('atan2'), [0, -0], [0, 0]),
  edge('atan2(1e200, 1e200): squares overflow', op('atan2'), [1e200, 1e200], [0.5e-200, -0.5e-200]),
  edge('atan2(1e−200, 1e−200): squares vanish', op('atan2'), [1e-200, 1e-200], [0.5e200, -0.5e200]),
  edge('atan2(0, −1)', op('atan2'), [0, -1], [-1, 0]),
  edge('mod at a jump', op('mod'), [4, 2], [1, -2]),
  edge('mod of 0', op('mod'), [0, 2], [1, 0]),

  // Large arguments: the limit, not NaN.
  edge('sigmoid(1000)', op('sigmoid'), [1000], [0]),
  edge('sigmoid(−1000)', op('sigmoid'), [-1000], [0]),
  edge('tanh(1000)', op('tanh'), [1000], [0]),
  edge('erf(1e200)', op('erf'), [1e200], [0]),
  edge('atan(1e200)', op('atan'), [1e200], [0]),
  edge('exp(−1000)', op('exp'), [-1000], [0]),
  edge('expm1(−50), where expm1 is −1', op('expm1'), [-50], [Math.exp(-50)]),
  edge('div by a large number', op('div'), [1e200, 1e200], [1e-200, -1e-200]),

  // Adam's update at a parameter that never had a gradient: the slope of √v is ∞, that of v is 0. 1/ε.
  edge('g/(√g² + ½) at 0', (b, g) => b.op('div', g, b.op('add', NORM(b, g), b.fill(0.5, []))), [0], [2]),
];

/** Poles in a branch that select does not take at x = 0 (TensorFlow.js's divNoNan is such a one). */
const UNTAKEN: readonly (readonly [string, Build])[] = [
  ['log x', op('log')],
  ['log1p(x − 1)', (b, x) => b.op('log1p', b.op('sub', x, b.fill(1, [])))],
  ['√x', op('sqrt')],
  ['1/√x', op('rsqrt')],
  ['1/x', (b, x) => b.op('div', b.fill(1, []), x)],
  ['x/x', (b, x) => b.op('div', x, x)],
  ['x^−½', power(-0.5)],
  ['x^0', power(0)],
  ['x^x', (b, x) => b.op('pow', x, x)],
  ['1 mod x', (b, x) => b.op('mod', b.fill(1, []), x)],
  ['atan2(x, x)', (b, x) => b.op('atan2', x, x)],
];

function guarded(build: Build): Build {
  return (b, x) => b.select(b.op('gt', x, b.fill(0, [])), build(b, x), b.fill(0, []));
}

const SCALAR = Float64Array.of(0);
const ONE = Float64Array.of(1);

describe('edges', () => {
  it.each(EDGES.map((row) => [row.what, row] as const))('%s', (_what, { build, at, gradient }) => {
    const graph = makeGraph(
      'edge',
      at.map(() => float()),
      build,
    );
    const feeds = at.map((x) => Float64Array.of(x));
    const reverse = reverseJacobian(graph, feeds)[0];
    const forward = at.map((_, i) => {
      const tangents = at.map((_x, j) => Float64Array.of(i === j ? 1 : 0));
      return evaluate(jvpGraph(graph), [...feeds, ...tangents])[1][0];
    });
    gradient.forEach((expected, i) => {
      // Four roundings.
      const tolerance = Number.isFinite(expected) ? 4 * EPS * Math.abs(expected) : 0;
      expectClose(reverse[i], expected, tolerance, `reverse ${i}`);
      expectClose(forward[i], expected, tolerance, `forward ${i}`);
    });
  });

  it.each(EDGES.map((row) => [row.what, row] as const))('%s: zero in, zero out', (_what, { build, at, gradient }) => {
    const graph = makeGraph(
      'edge',
      at.map(() => float()),
      build,
    );
    const feeds = at.map((x) => Float64Array.of(x));
    const reverse = evaluate(vjpGraph(graph), [...feeds, SCALAR]).slice(1);
    const forward = evaluate(jvpGraph(graph), [...feeds, ...feeds.map(() => SCALAR)]).slice(1);
    for (const [value] of reverse) expect(Math.abs(value)).toBe(0);
    for (const [value] of forward) expect(Math.abs(value)).toBe(0);
    expect(reverse).toHaveLength(gradient.length);
  });
});

describe('a pole in the branch that select does not take', () => {
  it.each(UNTAKEN)('%s: the derivative is 0, and that of reverse mode in both modes', (_what, build) => {
    const graph = makeGraph('untaken', [float()], guarded(build));
    const reverse = vjpGraph(graph);
    for (const mode of [reverse, jvpGraph(graph)]) expect(Math.abs(evaluate(mode, [SCALAR, ONE])[1][0])).toBe(0);
    for (const second of [vjpGraph(reverse), jvpGraph(reverse)]) {
      // Cotangents of both outputs, or tangents of both inputs.
      for (const [value] of evaluate(second, [SCALAR, ONE, ONE, ONE]).slice(2)) expect(Math.abs(value)).toBe(0);
    }
  });
});

describe('a zero cotangent away from the pole', () => {
  /** h, x₀, h(x₀), h′(x₀). */
  const rows: readonly (readonly [string, Build, number, number, number])[] = [
    ['√x', op('sqrt'), 4, 2, 1 / 4],
    ['1/√x', op('rsqrt'), 4, 1 / 2, -1 / 16],
    ['log x', op('log'), 1, 0, 1],
    ['log1p x', op('log1p'), 0, 0, 1],
    ['1/x', (b, x) => b.op('div', b.fill(1, []), x), 2, 1 / 2, -1 / 4],
    ['x/1, 1 not known', (b, x) => b.op('div', x, b.op('exp', b.fill(0, []))), 2, 2, 1],
    ['x^½', power(0.5), 4, 2, 1 / 4],
    ['x^−½', power(-0.5), 4, 1 / 2, -1 / 16],
    ['x² at 0', power(2), 0, 0, 0],
    ['x^1, 1 not known', (b, x) => b.op('pow', x, b.op('exp', b.fill(0, []))), 0, 0, 1],
    ['2^x at 0', (b, x) => b.op('pow', b.fill(2, []), x), 0, 1, Math.LN2],
    ['atan2(x, 1)', (b, x) => b.op('atan2', x, b.fill(1, [])), 0, 0, 1],
    ['7 mod x', (b, x) => b.op('mod', b.fill(7, []), x), 2, 1, -3],
  ];

  // f = ½(h(x) − h(x₀))² has f′ = 0 at x₀, because h gets cotangent 0 there, and f″ = h′².
  it.each(rows)('%s: does not cut the second derivative', (_what, build, at, value, slope) => {
    const graph = makeGraph('flat', [float()], (b, x) => {
      const rest = b.op('sub', build(b, x), b.fill(value, []));
      return b.op('mul', b.fill(0.5, []), b.op('mul', rest, rest));
    });
    const reverse = vjpGraph(graph);
    const feeds = [Float64Array.of(at), ONE];
    expect(Math.abs(evaluate(reverse, feeds)[1][0])).toBe(0);
    const [, , , forwardOver] = evaluate(jvpGraph(reverse), [...feeds, ONE, SCALAR]);
    const [, , reverseOver] = evaluate(vjpGraph(reverse), [...feeds, SCALAR, ONE]);
    for (const [second] of [forwardOver, reverseOver]) expectClose(second, slope ** 2, 8 * EPS * slope ** 2, 'f″');
  });
});

describe('atan2 at the origin', () => {
  it('has second derivatives 0', () => {
    const reverse = vjpGraph(makeGraph('origin', [float(), float()], op('atan2')));
    const at = [SCALAR, SCALAR, ONE];
    for (const second of [
      evaluate(vjpGraph(reverse), [...at, SCALAR, ONE, ONE]),
      evaluate(jvpGraph(reverse), [...at, ONE, ONE, SCALAR]),
    ]) {
      // After the graph's outputs: by both operands and the cotangent, or of the value (skipped) and both cotangents.
      for (const [value] of second.slice(4)) expect(Math.abs(value)).toBe(0);
    }
    expect(Math.abs(evaluate(vjpGraph(reverse), [...at, SCALAR, ONE, ONE])[3][0])).toBe(0);
  });
});

describe('ties of reduceMax and reduceMin', () => {
  it.each(['reduceMax', 'reduceMin'] as const)('%s shares equally', (name) => {
    const graph = makeGraph(name, [float(2, 3)], (b, x) => b.emit(name, [x], { axes: [1] }));
    const peak = name === 'reduceMax' ? 5 : -5;
    const feed = Float64Array.of(peak, 0, peak, 0, -0, 0);
    const third = 1 / 3;
    expect(reverseJacobian(graph, [feed])).toEqual([
      [0.5, 0, 0.5, 0, 0, 0],
      [0, 0, 0, third, third, third],
    ]);
    expect(forwardJacobian(graph, [feed])).toEqual(reverseJacobian(graph, [feed]));
  });
});
