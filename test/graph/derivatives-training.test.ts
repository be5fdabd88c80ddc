/**
 * A gradient through a graph that holds gradients: the loss after k SGD steps of a two-layer network, differentiated by
 * the learning rate and the initial weights, against float64 code written by hand (backpropagation, and Pearlmutter's
 * R-operator for the Hessian-vector products; Pearlmutter 1994, "Fast exact multiplication by the Hessian").
 */
import { GraphBuilder } from '../../src/graph/builder';
import type { Graph, ValueId } from '../../src/graph/ir';
import { jvp, jvpGraph } from '../../src/graph/jvp';
import { verifyGraph } from '../../src/graph/verify';
import { vjp, vjpGraph } from '../../src/graph/vjp';
import { EPS, evaluate, expectClose, expectDerivatives, float } from '../support/jacobian';
import { numbers } from '../support/smooth-graph';

const [ROWS, INPUTS, HIDDEN] = [5, 2, 3];

/** Row-major matrices by hand. */
type Matrix = readonly (readonly number[])[];
interface Parameters {
  readonly w: Matrix;
  readonly v: Matrix;
}

function matrix(rows: number, columns: number, at: (i: number, j: number) => number): Matrix {
  return Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_c, j) => at(i, j)));
}
function product(x: Matrix, y: Matrix): Matrix {
  return matrix(x.length, y[0].length, (i, j) => x[i].reduce((sum, value, k) => sum + value * y[k][j], 0));
}
function transposed(x: Matrix): Matrix {
  return matrix(x[0].length, x.length, (i, j) => x[j][i]);
}
function zip(x: Matrix, y: Matrix, f: (a: number, b: number) => number): Matrix {
  return matrix(x.length, x[0].length, (i, j) => f(x[i][j], y[i][j]));
}
function plus(x: Matrix, y: Matrix): Matrix {
  return zip(x, y, (a, b) => a + b);
}
function times(x: Matrix, y: Matrix): Matrix {
  return zip(x, y, (a, b) => a * b);
}
function scaled(factor: number, x: Matrix): Matrix {
  return x.map((row) => row.map((value) => factor * value));
}
function mapParameters(p: Parameters, q: Parameters, f: (x: Matrix, y: Matrix) => Matrix): Parameters {
  return { w: f(p.w, q.w), v: f(p.v, q.v) };
}
function inner(p: Parameters, q: Parameters): number {
  const sum = (x: Matrix): number => x.flat().reduce((a, b) => a + b, 0);
  return sum(times(p.w, q.w)) + sum(times(p.v, q.v));
}

const next = numbers(7);
const X = matrix(ROWS, INPUTS, () => Math.fround(2 * next() - 1));
const Y = matrix(ROWS, 1, () => Math.fround(2 * next() - 1));
const START: Parameters = {
  w: matrix(INPUTS, HIDDEN, () => 2 * next() - 1),
  v: matrix(HIDDEN, 1, () => 2 * next() - 1),
};

/** ½·mean (tanh(XW)·v − Y)², its gradient, and the gradient's derivative along r. */
function handWritten(p: Parameters, r: Parameters): { loss: number; gradient: Parameters; along: Parameters } {
  const h = product(X, p.w).map((row) => row.map(Math.tanh));
  const slope = h.map((row) => row.map((value) => 1 - value * value));
  const dp = scaled(
    1 / ROWS,
    zip(product(h, p.v), Y, (a, b) => a - b),
  );
  const dh = product(dp, transposed(p.v));
  const da = times(dh, slope);

  const rh = times(slope, product(X, r.w));
  const rdp = scaled(1 / ROWS, plus(product(rh, p.v), product(h, r.v)));
  const rdh = plus(product(rdp, transposed(p.v)), product(dp, transposed(r.v)));
  const rda = plus(times(rdh, slope), scaled(-2, times(times(dh, h), rh)));
  return {
    loss: (ROWS / 2) * dp.flat().reduce((sum, value) => sum + value * value, 0),
    gradient: { w: product(transposed(X), da), v: product(transposed(h), dp) },
    along: { w: product(transposed(X), rda), v: plus(product(transposed(rh), dp), product(transposed(h), rdp)) },
  };
}

const ZERO: Parameters = { w: scaled(0, START.w), v: scaled(0, START.v) };

/** Loss after `steps` steps, and its derivatives by the learning rate and by the initial weights. */
function handTrained(steps: number, rate: number): { loss: number; byRate: number; byWeights: Parameters } {
  const path = [START];
  // θ′ = θ − α·g(θ), so dθ′/dα = s − g − α·H·s with s = dθ/dα.
  let s = ZERO;
  for (let k = 0; k < steps; k++) {
    const { gradient, along } = handWritten(path[k], s);
    s = mapParameters(
      s,
      mapParameters(gradient, along, (g, hs) => plus(g, scaled(rate, hs))),
      (x, y) => plus(x, scaled(-1, y)),
    );
    path.push(mapParameters(path[k], gradient, (x, g) => plus(x, scaled(-rate, g))));
  }
  const { loss, gradient } = handWritten(path[steps], ZERO);
  // Adjoint λ = dL/dθ_k: λ_k = λ_{k+1} − α·H(θ_k)·λ_{k+1}.
  let adjoint = gradient;
  for (let k = steps - 1; k >= 0; k--) {
    const { along } = handWritten(path[k], adjoint);
    adjoint = mapParameters(adjoint, along, (x, h) => plus(x, scaled(-rate, h)));
  }
  return { loss, byRate: inner(gradient, s), byWeights: adjoint };
}

function constant(b: GraphBuilder, x: Matrix): ValueId {
  return b.constant(Float32Array.from(x.flat()), [x.length, x[0].length], 'float32');
}

function loss(b: GraphBuilder, w: ValueId, v: ValueId): ValueId {
  const plain = { transposeA: false, transposeB: false };
  const hidden = b.op('tanh', b.emit('matmul', [constant(b, X), w], plain));
  const rest = b.op('sub', b.emit('matmul', [hidden, v], plain), constant(b, Y));
  const sum = b.reduceSum(b.op('mul', rest, rest), [0, 1]);
  return b.op('div', sum, b.fill(2 * ROWS, []));
}

/** learning rate, W, v → loss after `steps` steps; each step's gradient is a vjp in the same graph. */
function training(steps: number): Graph {
  const b = new GraphBuilder(`training ${steps}`);
  const rate = b.input('rate', float());
  let parameters = [b.input('w', float(INPUTS, HIDDEN)), b.input('v', float(HIDDEN, 1))];
  for (let k = 0; k < steps; k++) {
    // The inner gradient cuts here: nothing before these ids is differentiated by it.
    const cut = parameters.map((id) => b.op('identity', id));
    const gradients = vjp(b, [{ value: loss(b, cut[0], cut[1]), cotangent: b.fill(1, []) }], cut);
    parameters = cut.map((id, i) => b.op('sub', id, b.binary('mul', rate, gradients[i])));
  }
  return b.finish([loss(b, parameters[0], parameters[1])]);
}

const RATE = 0.7;
const FEEDS = [Float64Array.of(RATE), Float64Array.from(START.w.flat()), Float64Array.from(START.v.flat())];

describe('a gradient through SGD steps', () => {
  // The steps contract little and amplify less than tenfold; 1e-12 leaves some thousand roundings.
  const tolerance = 4096 * EPS;

  it.each([0, 1, 2, 5])('after %d steps: by learning rate and by initial weights, reverse and forward', (steps) => {
    const graph = training(steps);
    verifyGraph(graph, 'training');
    const expected = handTrained(steps, RATE);
    const [value, byRate, byW, byV] = evaluate(vjpGraph(graph), [...FEEDS, Float64Array.of(1)]);
    expectClose(value[0], expected.loss, tolerance, 'loss');
    expectClose(byRate[0], expected.byRate, tolerance, 'reverse, by rate');
    expected.byWeights.w.flat().forEach((x, i) => expectClose(byW[i], x, tolerance, `by w[${i}]`));
    expected.byWeights.v.flat().forEach((x, i) => expectClose(byV[i], x, tolerance, `by v[${i}]`));
    const zeros = [new Float64Array(INPUTS * HIDDEN), new Float64Array(HIDDEN)];
    const forward = evaluate(jvpGraph(graph), [...FEEDS, Float64Array.of(1), ...zeros]);
    expectClose(forward[1][0], expected.byRate, tolerance, 'forward, by rate');
    // The case is not trivial.
    if (steps > 0) expect(Math.abs(expected.byRate)).toBeGreaterThan(1e-3);
  });

  it('central differences agree, and second meta-derivatives too', () => {
    expectDerivatives(training(3), FEEDS);
    const reverse = vjpGraph(training(2));
    expectDerivatives({ ...reverse, outputs: reverse.outputs.slice(1) }, [...FEEDS, Float64Array.of(1)]);
  });

  it('an inner gradient of an inner gradient: a step that follows the gradient of ‖∇L‖²', () => {
    // d/dα of L(θ − α·∇½‖∇L‖²) = −∇L(θ′)·H∇L, the Hessian-vector product by hand.
    const b = new GraphBuilder('nested');
    const rate = b.input('rate', float());
    const parameters = [b.input('w', float(INPUTS, HIDDEN)), b.input('v', float(HIDDEN, 1))];
    const one = b.fill(1, []);
    const gradients = vjp(b, [{ value: loss(b, parameters[0], parameters[1]), cotangent: one }], parameters);
    const half = b.fill(0.5, []);
    const squares = gradients.map((id) => b.op('mul', half, b.reduceSum(b.op('mul', id, id), [0, 1])));
    const norm = b.op('add', squares[0], squares[1]);
    const descent = vjp(b, [{ value: norm, cotangent: one }], parameters);
    const moved = parameters.map((id, i) => b.op('sub', id, b.binary('mul', rate, descent[i])));
    const after = loss(b, moved[0], moved[1]);
    const [byRate] = vjp(b, [{ value: after, cotangent: one }], [rate]);
    const [tangent] = jvp(b, new Map([[rate, one]]), [after]);

    const { gradient } = handWritten(START, ZERO);
    const { along } = handWritten(START, gradient);
    const there = mapParameters(START, along, (x, h) => plus(x, scaled(-RATE, h)));
    const expected = -inner(handWritten(there, ZERO).gradient, along);
    const [reverse, forward] = evaluate(b.finish([byRate, tangent!]), FEEDS);
    expectClose(reverse[0], expected, tolerance, 'reverse');
    expectClose(forward[0], expected, tolerance, 'forward');
    expect(Math.abs(expected)).toBeGreaterThan(1e-3);
  });
});
