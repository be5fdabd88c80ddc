import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { interpret, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type ValueId } from '../../src/graph/ir';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import type { Fragment } from '../../src/engines/native/lower/fragment';
import {
  chooseMode,
  laneMajorCost,
  lowerLaneMajor,
  lowerRows,
  rowRoles,
  rowsEligible,
} from '../../src/engines/native/lower/lanes';
import type { Target } from '../../src/engines/native/nest/ir';
import { lowerProgram } from '../../src/engines/native/plan';
import type { Layout } from '../../src/engines/native/plan/program';
import { uniforms } from '../../src/random';
import { influenceBalancing } from '../../tasks/influence-balancing';
import { lorenz } from '../../tasks/lorenz';
import { quadraticProblem } from '../../tasks/quadratic';
import { bool, f32, handBuilt, i32, lorenzLike, networkLike } from '../support/engine-problems';
import {
  advanceByDefinition,
  advanceInLanes,
  elementsOf,
  finishInLanes,
  functionByDefinition,
  initInLanes,
  paddedLayout,
  rebuilt,
  runRows,
  type Particle,
} from '../support/lane-programs';
import { randomGraphs, type RandomGraph } from '../support/random-graph';

const TARGETS: readonly Target[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
  { lanes: 4, registers: 16 },
];

/** Nests run in float64: what remains is the order of sums, some 10² roundings of 10⁻¹⁶ times what follows amplifies. */
const TOLERANCE = 1e-10;

function expectNear(got: readonly number[], expected: readonly number[], what: string): void {
  const far = expected.findIndex(
    (x, i) => !(Object.is(x, got[i]) || Math.abs(got[i] - x) <= TOLERANCE * (1 + Math.abs(x))),
  );
  if (far >= 0) throw new Error(`${what}, number ${far}: expected ${expected[far]}, got ${got[far]}.`);
  expect(got).toHaveLength(expected.length);
}

const numbers = (salt: number, count: number, scale = 1): Float64Array =>
  Float64Array.from(uniforms([3, salt], count), (u) => Math.fround(scale * (2 * u - 1)));

function valueOf(dtype: string, size: number, salt: number): Value {
  const floats = numbers(salt, size);
  if (dtype === 'float32') return floats;
  return dtype === 'bool'
    ? Uint8Array.from(floats, (x) => (x > 0 ? 1 : 0))
    : Int32Array.from(floats, (x) => Math.round(8 * x));
}

/** Another θ, state and t in every lane. */
function particlesOf(traced: TracedProblem, count: number): Particle[] {
  return Array.from({ length: count }, (_, lane) => ({
    theta: traced.theta.leaves.map(({ size }, i) => numbers(100 * lane + i, size)),
    state: traced.state.map(({ type }, i) => valueOf(type.dtype, sizeOf(type.shape), 100 * lane + 50 + i)),
    t: lane % 5,
  }));
}

function checkProblem(traced: TracedProblem, target: Target, vectors: number, steps: number): void {
  const program = lowerLaneMajor(traced, target, { vectors });
  const block = vectors * target.lanes;
  const particles = particlesOf(traced, block);
  const expected = advanceByDefinition(traced, particles, steps);
  const got = advanceInLanes(traced, program, particles, steps);
  particles.forEach((_, lane) => {
    expectNear(got.states[lane].flat(), expected.states[lane].flat(), `state of lane ${lane}`);
    expectNear(got.results[lane], expected.results[lane], `results of lane ${lane}`);
  });
  const thetas = particles.map(({ theta }) => theta);
  const starts = functionByDefinition(traced.init, thetas, new Array<number>(block).fill(0));
  initInLanes(traced, program, thetas).forEach((state, lane) => {
    expectNear(state.flat(), starts[lane].flat(), `initial state of lane ${lane}`);
  });
  if (traced.finish === undefined) return;
  const feeds = particles.map(({ theta, state, t }) => [...theta, ...state, Int32Array.of(t)]);
  const ends = functionByDefinition(
    traced.finish,
    feeds,
    particles.map(({ t }) => t),
  );
  finishInLanes(traced, program, particles).forEach((outputs, lane) => {
    expectNear(outputs, ends[lane].flat(), `finish of lane ${lane}`);
  });
}

/** Leaves of every dtype, some too long to be unrolled; draws of every kind, odd and even, short and long. */
function everything(): TracedProblem {
  const draw = (b: GraphBuilder, perStep: boolean, path: number[], name: string, shape: number[]): ValueId =>
    b.emit('random', [], {
      stream: perStep ? 'user' : 'batch',
      perStep,
      path,
      distribution: name === 'integer' ? { name, low: -3, high: 9 } : { name: name as 'normal' | 'uniform' },
      shape,
    });
  return handBuilt({
    name: 'everything',
    theta: { scale: f32(), weights: f32(9, 8) },
    state: { flags: bool(3), grid: f32(10, 9), steps: i32(2), swapA: f32(), swapB: f32() },
    init: (b) => ({
      flags: b.op('gt', draw(b, false, [1], 'normal', [3]), b.zeros(f32(3))),
      grid: draw(b, false, [], 'normal', [10, 9]),
      steps: draw(b, false, [2], 'integer', [2]),
      swapA: b.fill(1, []),
      swapB: b.fill(2, []),
    }),
    step: (b, theta, s, t) => {
      const product = b.emit('matmul', [s.grid, theta.weights], { transposeA: false, transposeB: false });
      const bent = b.op('tanh', b.binary('add', product, draw(b, true, [7, 9], 'uniform', [10, 8])));
      const wide = b.emit('concat', [bent, b.broadcast(theta.scale, [10, 1])], { axis: 1 });
      const grid = b.binary('mul', b.emit('reverse', [wide], { axes: [0] }), b.fill(0.5, []));
      const rows = b.emit('gather', [grid, s.steps], {});
      const back = b.emit('scatterAdd', [s.steps, rows], { rows: 12 });
      const padded = b.emit('pad', [s.grid], { low: [1, 0], high: [0, 2], interior: [0, 1] });
      const sum = (x: ValueId): ValueId => b.reduceSum(x, [...b.shape(x).keys()]);
      const best = b.emit('argMax', [b.reshape(grid, [90])], { axis: 0 });
      const high = b.reduceSum(b.emit('reduceMax', [b.transpose(padded, [1, 0])], { axes: [1] }), [0]);
      const flip = b.binary('mul', b.cast(t, 'float32'), b.fill(0.125, []));
      return {
        state: {
          flags: b.op('not', s.flags),
          grid,
          steps: b.binary('add', s.steps, b.fill(1, [2], 'int32')),
          swapA: s.swapB,
          swapB: s.swapA,
        },
        loss: b.binary('add', sum(back), high),
        metrics: {
          best: b.cast(best, 'float32'),
          drawn: sum(draw(b, true, [], 'normal', [3])),
          flags: sum(b.cast(s.flags, 'float32')),
          long: sum(b.op('abs', draw(b, false, [5], 'normal', [67]))),
          swap: b.binary('add', s.swapA, flip),
        },
      };
    },
    finish: (b, _, s, t) => ({
      steps: b.cast(b.binary('mul', b.reduceSum(s.steps, [0]), t), 'float32'),
      top: b.emit('reduceMax', [s.grid], { axes: [0, 1] }),
    }),
  });
}

describe('lane-major programs', () => {
  const problems: readonly (readonly [string, () => TracedProblem, number])[] = [
    ['lorenz', () => traceProblem(lorenz()), 5],
    ['influence balancing', () => traceProblem(influenceBalancing()), 4],
    ['quadratic', () => traceProblem(quadraticProblem()), 3],
    ['lorenz by hand, with draws and metrics', lorenzLike, 3],
    ['a network on gathered rows', networkLike, 2],
    ['every dtype, loops and draws', everything, 2],
  ];
  it.each(problems)('%s: as the definition, in every lane', (_, make, steps) => {
    const traced = make();
    for (const target of TARGETS) checkProblem(traced, target, 1, steps);
    checkProblem(traced, TARGETS[2], 3, steps);
  });

  it('runs no step, and leaves the state as it is', () => {
    const traced = lorenzLike();
    const program = lowerLaneMajor(traced, TARGETS[2], { vectors: 1 });
    const particles = particlesOf(traced, 4);
    const { states, results } = advanceInLanes(traced, program, particles, 0);
    expect(states).toEqual(particles.map(({ state }) => state.map((leaf) => [...leaf])));
    expect(results).toEqual(particles.map(() => [0, 0, 0]));
  });

  it('computes what does not change before the steps', () => {
    const traced = traceProblem(lorenz());
    const { step } = lowerLaneMajor(traced, TARGETS[0]);
    const loop = step.body.find(({ kind }) => kind === 'loop');
    expect(JSON.stringify(loop)).not.toContain('"exp"');
    expect(JSON.stringify(step.body)).toContain('"exp"');
    // Variables that a step reads: 6 of state and a sum. It then computes 2 · (3 + 3 + 3) numbers, their distance, its
    // square and the sum.
    const { vectors } = lowerLaneMajor(traced, TARGETS[0]);
    const lets = loop?.kind === 'loop' ? loop.body.filter(({ kind }) => kind === 'let') : [];
    expect(lets.length / vectors).toBeLessThanOrEqual(7 + 2 * 9 + 3);
  });

  it('fuses a product with a sum, but not the difference of two that may have to be 0', () => {
    const difference = (scaled: boolean): TracedProblem =>
      handBuilt({
        name: 'difference',
        theta: {},
        state: { x: f32(), y: f32() },
        init: (b) => ({ x: b.fill(0.1, []), y: b.fill(0.1, []) }),
        step: (b, _, { x, y }) => {
          const loss = b.op('sub', b.op('mul', x, x), scaled ? b.op('mul', y, b.fill(3, [])) : b.op('mul', y, y));
          return { state: { x, y }, loss };
        },
      });
    const body = (scaled: boolean): string =>
      JSON.stringify(lowerLaneMajor(difference(scaled), TARGETS[2], { vectors: 1 }).step.body);
    expect(body(true)).toContain('"fma"');
    expect(body(false)).not.toContain('"fma"');
  });

  it('are any random graph', () => {
    fc.assert(
      fc.property(randomGraphs({ domain: 'tame', maxOps: 16 }), fc.nat(2), (random, which) => {
        const traced = problemOf(random);
        const { lanes } = TARGETS[which];
        const program = lowerLaneMajor(traced, TARGETS[which], { vectors: 1 });
        const particles = Array.from({ length: lanes }, (_, lane) => rotated(random, lane));
        const expected = advanceByDefinition(traced, particles, 1);
        const got = advanceInLanes(traced, program, particles, 1);
        particles.forEach((_, lane) => expectNear(got.results[lane], expected.results[lane], `lane ${lane}`));
      }),
      { numRuns: 150, seed: 11 },
    );
  });
});

/** Every element of every output as a metric. θ is s, the state the other inputs, all unchanged. */
function problemOf({ graph }: RandomGraph): TracedProblem {
  const types = new Map(
    graph.inputs.map((id) => {
      const node = graph.nodes[id];
      return [node.op === 'input' ? node.attributes.name : '', node.type] as const;
    }),
  );
  const leaves = ['n', 'p', 'x', 'y'];
  let metrics = 0;
  const step = rebuilt(graph, ['s', ...leaves, 't'], (b, values) => {
    const all = elementsOf(
      b,
      graph.outputs.map((id) => values[id]),
    );
    metrics = all.length;
    const at = (name: string): ValueId =>
      values[graph.nodes.findIndex((node) => node.op === 'input' && node.attributes.name === name)];
    return [...leaves.map(at), b.fill(0, []), ...all];
  });
  const init = new GraphBuilder('init');
  init.input('theta', f32());
  const shell = handBuilt({
    name: 'random',
    theta: { s: f32() },
    state: {},
    init: () => ({}),
    step: (b) => ({ state: {}, loss: b.fill(0, []) }),
  });
  return {
    ...shell,
    state: leaves.map((path) => ({ path, type: types.get(path)! })),
    metrics: Array.from({ length: metrics }, (_, i) => String(i)),
    init: init.finish(leaves.map((name) => init.zeros(types.get(name)!))),
    step,
  };
}

/** The graph's feeds, with the elements of every leaf moved on by the lane's number. */
function rotated({ graph, feeds, t }: RandomGraph, lane: number): Particle {
  const feed = (name: string): Value => {
    const at = graph.inputs.findIndex((id) => {
      const node = graph.nodes[id];
      return node.op === 'input' && node.attributes.name === name;
    });
    return feeds[at].map((_, i, all) => all[(i + lane) % all.length]);
  };
  return { theta: [feed('s')], state: ['n', 'p', 'x', 'y'].map(feed), t: t + lane };
}

// Rows.

interface RowsCase {
  readonly graph: Graph;
  readonly operands: readonly ValueId[];
  readonly stores: readonly ValueId[];
  readonly rows: number;
}

function memoryOf(dtype: string): Layout['memory'] {
  return dtype === 'float32' ? 'f32' : dtype === 'int32' ? 'i32' : 'u8';
}

interface RowsCheck {
  readonly vectors?: number;
  /** Elements between rows. */
  readonly gap?: number;
  readonly inPlace?: ReadonlyMap<ValueId, ValueId>;
}

/** With rows `gap` elements apart. */
function fragmentOf({ graph, operands, stores, rows }: RowsCase, gap = 0): Fragment {
  const members = graph.nodes.flatMap((_, id) => (operands.includes(id) ? [] : [id]));
  const layouts = new Map(
    [...operands, ...stores].map((id) => {
      const { shape, dtype } = graph.nodes[id].type;
      return [id, paddedLayout(shape, memoryOf(dtype), gap)] as const;
    }),
  );
  return { kind: 'rows', graph, members, layouts, stores, rows };
}

function checkRows(rowsCase: RowsCase, target: Target, how: RowsCheck = {}): void {
  const { graph, operands, stores, rows } = rowsCase;
  const { vectors, gap, inPlace } = how;
  const fragment = fragmentOf(rowsCase, gap);
  const values = new Map(
    operands.map((id, i) => [id, valueOf(graph.nodes[id].type.dtype, sizeOf(graph.nodes[id].type.shape), i)] as const),
  );
  const lowered = lowerRows(fragment, target, vectors === undefined ? {} : { vectors });
  const got = runRows(fragment, lowered, values, target.lanes, inPlace);
  const feeds = graph.inputs.map((id) => values.get(id)!);
  const expected = interpret({ ...graph, outputs: stores }, feeds, { key: () => [0, 0], t: 0 });
  expected.forEach((value, i) => expectNear(got[i], [...value], `store ${i} (%${stores[i]}) of ${rows} rows`));
}

/** Softmax cross-entropy with its gradient, mean loss, accuracy and the gradient's sum over the rows. */
function crossEntropy(rows: number, classes: number): RowsCase {
  const b = new GraphBuilder('cross-entropy');
  const logits = b.input('logits', f32(rows, classes));
  const labels = b.input('labels', i32(rows));
  const top = b.reshape(b.emit('reduceMax', [logits], { axes: [1] }), [rows, 1]);
  const shifted = b.binary('sub', logits, top);
  const powers = b.op('exp', shifted);
  const total = b.reduceSum(powers, [1]);
  const classIds = b.emit('iota', [], { shape: [rows, classes], axis: 1 });
  const hot = b.cast(b.binary('eq', b.reshape(labels, [rows, 1]), classIds), 'float32');
  const loss = b.op('sub', b.op('log', total), b.reduceSum(b.op('mul', hot, shifted), [1]));
  const error = b.binary('sub', b.binary('div', powers, b.reshape(total, [rows, 1])), hot);
  const gradient = b.binary('mul', error, b.fill(1 / rows, []));
  const hits = b.cast(b.op('eq', b.emit('argMax', [logits], { axis: 1 }), labels), 'float32');
  const stores = [gradient, b.reduceSum(loss, [0]), b.reduceSum(hits, [0]), b.reduceSum(gradient, [0])];
  return { graph: b.finish(stores), operands: [logits, labels], stores, rows };
}

/** A network over parameters: their features side by side, two hidden layers, an update and what it comes to. */
function parameterNetwork(
  rows: number,
  features: number,
  hidden: number,
  relu: (b: GraphBuilder, x: ValueId) => ValueId = (b, x) => b.op('max', x, b.zeros(b.type(x))),
): RowsCase {
  const b = new GraphBuilder('network');
  const columns = Array.from({ length: features }, (_, i) => b.input(`f${i}`, f32(rows)));
  const weights = [
    b.input('w1', f32(features, hidden)),
    b.input('b1', f32(hidden)),
    b.input('w2', f32(hidden, hidden)),
    b.input('b2', f32(hidden)),
    b.input('w3', f32(hidden, 2)),
  ];
  const [w1, b1, w2, b2, w3] = weights;
  const product = (x: ValueId, y: ValueId): ValueId =>
    b.emit('matmul', [x, y], { transposeA: false, transposeB: false });
  const x = b.emit(
    'concat',
    columns.map((column) => b.reshape(column, [rows, 1])),
    { axis: 1 },
  );
  const h1 = relu(b, b.binary('add', product(x, w1), b1));
  const h2 = relu(b, b.binary('add', product(h1, w2), b2));
  const out = product(h2, w3);
  const column = (i: number): ValueId =>
    b.reshape(b.emit('slice', [out], { begin: [0, i], size: [rows, 1], strides: [1, 1] }), [rows]);
  const step = b.op('mul', column(0), b.op('exp', b.binary('mul', column(1), b.fill(0.001, []))));
  const next = b.op('sub', columns[0], b.binary('mul', step, b.fill(0.001, [])));
  const squares = b.reduceSum(b.op('mul', next, next), [0]);
  const stores = [next, squares, h1, b.reduceSum(h2, [0])];
  return { graph: b.finish(stores), operands: [...columns, ...weights], stores, rows };
}

/** The rectifier as it is traced: the product behind it is read twice. */
function rectifier(b: GraphBuilder, x: ValueId): ValueId {
  const zeros = b.zeros(b.type(x));
  return b.select(b.op('le', x, zeros), zeros, x);
}

/** The way back through two layers: hidden values anew, then the gradients by the weights and by the features. */
function networkBack(rows: number, features: number, hidden: number, outputs: number): RowsCase {
  const b = new GraphBuilder('network back');
  const columns = Array.from({ length: features }, (_, i) => b.input(`f${i}`, f32(rows)));
  const [w, v] = [b.input('w', f32(features, hidden)), b.input('v', f32(hidden, outputs))];
  const cotangent = b.input('g', f32(rows, outputs));
  const product = (x: ValueId, y: ValueId, transposeA = false, transposeB = false): ValueId =>
    b.emit('matmul', [x, y], { transposeA, transposeB });
  const x = b.emit(
    'concat',
    columns.map((column) => b.reshape(column, [rows, 1])),
    { axis: 1 },
  );
  const h = rectifier(b, product(x, w));
  const zeros = b.zeros(b.type(h));
  const back = b.select(b.op('le', h, zeros), zeros, product(cotangent, v, false, true));
  const alike = b.broadcast(
    b.reshape(b.emit('slice', [v], { begin: [1, 0], size: [1, outputs], strides: [1, 1] }), [outputs]),
    [rows, outputs],
  );
  const stores = [
    product(h, cotangent, true),
    product(x, back, true),
    product(back, w, false, true),
    b.reduceSum(back, [0]),
    product(h, alike, true),
    product(alike, h, true),
  ];
  return { graph: b.finish(stores), operands: [...columns, w, v, cotangent], stores, rows };
}

/** Two products that meet: what is done to one needs the other, and reads both more than once. */
function gated(rows: number): RowsCase {
  const b = new GraphBuilder('gated');
  const x = b.input('x', f32(rows, 7));
  const weights = [b.input('w', f32(7, 24)), b.input('v', f32(7, 24)), b.input('c', f32(24))];
  const [w, v, c] = weights;
  const product = (y: ValueId): ValueId => b.emit('matmul', [x, y], { transposeA: false, transposeB: false });
  const left = b.binary('add', product(w), c);
  const right = product(v);
  const gate = b.op('mul', right, b.op('sigmoid', right));
  const out = rectifier(b, b.op('sub', b.op('mul', left, gate), b.op('mul', left, left)));
  const stores = [out, b.reduceSum(b.op('mul', left, rectifier(b, left)), [1])];
  return { graph: b.finish(stores), operands: [x, ...weights], stores, rows };
}

/** Numbers of rows, booleans, transposes within a row, gathers from a shared table, rows from a strided operand. */
function oddities(rows: number): RowsCase {
  const b = new GraphBuilder('oddities');
  const x = b.input('x', f32(rows, 3, 4));
  const flags = b.input('flags', bool(rows));
  const table = b.input('table', f32(5, 4));
  const index = b.input('index', i32(rows, 2));
  const own = b.emit('iota', [], { shape: [rows, 3], axis: 0 });
  const picked = b.emit('gather', [table, index], {});
  const turned = b.transpose(x, [0, 2, 1]);
  const wide = b.emit('matmul', [x, turned], { transposeA: false, transposeB: false });
  const masked = b.select(
    b.broadcast(b.reshape(flags, [rows, 1]), [rows, 3]),
    b.cast(own, 'float32'),
    b.reduceSum(x, [2]),
  );
  const sizes = b.emit('reduceMin', [b.reshape(wide, [rows, 9])], { axes: [1] });
  const shares = b.binary('mul', table, b.fill(3, []));
  const stretched = b.binary('add', b.broadcast(b.reshape(shares, [1, 20]), [rows, 20]), b.reshape(sizes, [rows, 1]));
  const stores = [
    turned,
    picked,
    masked,
    b.op('not', flags),
    b.emit('pad', [masked], { low: [0, 1], high: [0, 0], interior: [0, 2] }),
    b.emit('argMin', [b.reshape(picked, [rows, 8])], { axis: 1 }),
    b.reduceSum(own, [0]),
    stretched,
    b.reduceSum(stretched, [0]),
    b.reduceSum(x, [0, 1]),
  ];
  return { graph: b.finish(stores), operands: [x, flags, table, index], stores, rows };
}

describe('rows fragments', () => {
  const cases: readonly (readonly [string, (rows: number) => RowsCase])[] = [
    ['softmax cross-entropy over 10 classes', (rows) => crossEntropy(rows, 10)],
    ['softmax cross-entropy over 21 classes, in loops', (rows) => crossEntropy(rows, 21)],
    ['a small network over parameters', (rows) => parameterNetwork(rows, 3, 4)],
    ['a network over parameters with 19 features', (rows) => parameterNetwork(rows, 19, 32)],
    ['a network of odd sizes', (rows) => parameterNetwork(rows, 5, 19)],
    ['a network of traced rectifiers', (rows) => parameterNetwork(rows, 8, 32, rectifier)],
    ['products that meet', gated],
    ['the way back through a network', (rows) => networkBack(rows, 8, 32, 2)],
    ['the way back through a network of odd sizes', (rows) => networkBack(rows, 3, 19, 5)],
    ['what else a row can hold', oddities],
  ];
  // One row; less than a vector; whole vectors; some tiles and a partial vector.
  describe.each([1, 3, 16, 37, 100])('%i rows', (rows) => {
    it.each(cases)('%s', (_, make) => {
      const case_ = make(rows);
      TARGETS.forEach((target) => checkRows(case_, target));
      checkRows(case_, TARGETS[1], { vectors: 2, gap: 3 });
    });
  });

  it('rectifies a product before it is stored', () => {
    const layers = (relu?: typeof rectifier): RowsCase => parameterNetwork(64, 8, 32, relu);
    const tiles = (case_: RowsCase): unknown[] =>
      lowerRows(fragmentOf(case_), TARGETS[1]).kernel.body.filter(({ kind }) => kind === 'local');
    // Features, two hidden layers, and the lanes of the sum of the second. A product that was stored first has one more.
    expect(tiles(layers(rectifier))).toHaveLength(4);
    expect(tiles(layers())).toHaveLength(4);
    // The left product, which both results read, and the first result, made where the right product is.
    expect(tiles(gated(64))).toHaveLength(2);
  });

  it.each([3, 32])('writes in place what it reads at the same element, %i wide', (hidden) => {
    const network = parameterNetwork(37, 3, hidden);
    // Both are read by all that follows, and by each other's stores.
    const inPlace = new Map([[network.stores[0], network.operands[0]]]);
    for (const target of TARGETS) checkRows(network, target, { inPlace });

    const b = new GraphBuilder('exchange');
    const [x, y] = [b.input('x', f32(37, hidden)), b.input('y', f32(37, hidden))];
    const stores = [b.op('add', x, y), b.op('sub', x, y), b.op('mul', x, y)];
    const exchange: RowsCase = { graph: b.finish(stores), operands: [x, y], stores, rows: 37 };
    const both = new Map([
      [stores[0], y],
      [stores[2], x],
    ]);
    for (const target of TARGETS) checkRows(exchange, target, { inPlace: both });
  });

  it('say how operands enter a row, and what is none', () => {
    const b = new GraphBuilder('roles');
    const x = b.input('x', f32(6, 4));
    const w = b.input('w', f32(4, 6));
    const product = b.emit('matmul', [x, w], { transposeA: false, transposeB: false });
    const bias = b.broadcast(b.input('b', f32(6)), [6, 6]);
    const turned = b.emit('matmul', [x, x], { transposeA: true, transposeB: false });
    const ids = [product, bias, turned, b.transpose(product, [1, 0]), b.reduceSum(x, [0]), b.reduceSum(x, [1])];
    const graph = b.finish(ids);
    expect(ids.map((id) => rowRoles(graph, id))).toEqual([
      ['row', 'uniform'],
      ['uniform'],
      undefined,
      undefined,
      undefined,
      ['row'],
    ]);
    // A product that sums over the rows is a store, as a sum over them is.
    expect(ids.map((id) => rowsEligible(graph, id))).toEqual([true, true, true, false, true, true]);
  });
});

describe('the cost rule', () => {
  it('puts small problems into lanes and lets itself be overridden', () => {
    expect(chooseMode(traceProblem(lorenz()))).toBe('lane-major');
    expect(chooseMode(traceProblem(influenceBalancing()))).toBe('lane-major');
    expect(chooseMode(traceProblem(quadraticProblem()))).toBe('lane-major');
    const network = networkLike({ hidden: 40, batch: 16 });
    expect(chooseMode(network)).toBe('particle-major');
    expect(chooseMode(network, 'lane-major')).toBe('lane-major');
    // θ of 2, two systems of 3 numbers.
    expect(laneMajorCost(traceProblem(lorenz())).elements).toBe(8);
  });

  it('is not overridden where values in lanes would not fit on a stack', () => {
    // Each of the values has 1024 numbers for every lane, and all are needed at the end.
    const wide = handBuilt({
      name: 'wide',
      theta: { rate: f32() },
      state: { x: f32(4) },
      init: (b) => ({ x: b.fill(1, [4]) }),
      step: (b, { rate }, { x }) => {
        const row = b.broadcast(b.reshape(b.emit('slice', [x], { begin: [0], size: [1], strides: [1] }), []), [1024]);
        let sum = b.op('mul', row, b.broadcast(rate, [1024]));
        const kept = Array.from({ length: 24 }, () => (sum = b.op('exp', b.emit('reverse', [sum], { axes: [0] }))));
        const loss = kept.reduce((total, value) => b.op('add', total, b.emit('reverse', [value], { axes: [0] })));
        return { state: { x }, loss: b.reduceSum(loss, [0]) };
      },
    });
    const target: Target = { lanes: 16, registers: 32 };
    expect(lowerProgram(wide, target).mode).toBe('particle-major');
    expect(() => lowerProgram(wide, target, { mode: 'lane-major' })).toThrow(
      /bytes of a thread's stack.*particle-major/,
    );
  });
});
