import { GraphError, type DataTable } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import type { Graph, Node, ValueType } from '../../src/graph/ir';
import { UINT8_OPERATIONS, verifyGraph } from '../../src/graph/verify';

const FLOAT: ValueType = { shape: [2], dtype: 'float32' };
const table: DataTable = { name: 'rows', values: Uint8Array.of(1, 2, 3, 4), dtype: 'uint8', rows: 2, rowShape: [2] };

/** %0 = x, %1 = constant, %2 = x + constant. */
function valid(): Graph {
  const b = new GraphBuilder('g');
  const x = b.input('x', FLOAT);
  return b.finish([b.op('add', x, b.constant(Float32Array.of(1, 2), [2], 'float32'))]);
}

/** The valid graph with node `id` changed. */
function withNode(id: number, change: Partial<Record<keyof Node, unknown>>): Graph {
  const graph = valid();
  return { ...graph, nodes: graph.nodes.map((node, i) => (i === id ? ({ ...node, ...change } as Node) : node)) };
}

/** A graph of one leaf, made without the builder's checks. */
function leaf(op: string, attributes: object, type: ValueType): Graph {
  const node = { op, inputs: [], attributes, type } as unknown as Node;
  return { name: 'g', nodes: [node], inputs: op === 'input' ? [0] : [], outputs: [] };
}

const constant = (data: object, dtype: string, shape = [2]): Graph =>
  leaf('constant', { data, dtype, shape }, { dtype: dtype as 'float32', shape });
const random = (change: object, type: ValueType = FLOAT): Graph =>
  leaf(
    'random',
    { stream: 'user', perStep: true, path: [1], distribution: { name: 'uniform' }, shape: [2], ...change },
    type,
  );
const integer = (low: number, high: number): Graph =>
  random({ distribution: { name: 'integer', low, high } }, { shape: [2], dtype: 'int32' });

test('accepts a graph that keeps the specification', () => {
  expect(() => verifyGraph(valid(), 'test')).not.toThrow();
  expect(() => verifyGraph(random({ path: [0, 0xffffffff] }), 'test')).not.toThrow();
  expect(() => verifyGraph(integer(-5, 2 ** 31 - 6), 'test')).not.toThrow();
  expect(() => verifyGraph(constant(Uint8Array.of(0, 1), 'bool'), 'test')).not.toThrow();
});

test('the error names the pass, the graph and the node', () => {
  expect(() => verifyGraph(withNode(2, { type: { shape: [3], dtype: 'float32' } }), 'my-pass')).toThrow(
    new GraphError(
      'my-pass',
      'expected the inferred type float32[2], got float32[3], in %2 = add(%0, %1) : float32[3] (graph "g").',
    ),
  );
});

const twoInputs = (names: readonly [string, string]): Graph => {
  const b = new GraphBuilder('g');
  return b.finish(names.map((name) => b.input(name, FLOAT)));
};

test.each<[rule: string, graph: Graph, message: RegExp]>([
  ['an unknown op', withNode(2, { op: 'frobnicate' }), /known op, got "frobnicate"/],
  [
    'an operand that comes later',
    withNode(1, { op: 'neg', inputs: [2], attributes: {} }),
    /topological order\), got 2/,
  ],
  ['an operand that is the node itself', withNode(2, { inputs: [0, 2] }), /topological order\), got 2/],
  ['an operand that is none', withNode(2, { inputs: [0, -1] }), /topological order\), got -1/],
  ['a fractional operand', withNode(2, { inputs: [0, 0.5] }), /topological order\), got 0.5/],
  ['too few operands', withNode(2, { inputs: [0] }), /add: expected 2 operands/],
  ['a leaf with operands', withNode(1, { inputs: [0] }), /expected no operands, got 1/],
  [
    'another shape than inferred',
    withNode(2, { type: { shape: [1, 2], dtype: 'float32' } }),
    /inferred type float32\[2\]/,
  ],
  ['another dtype than inferred', withNode(2, { type: { shape: [2], dtype: 'int32' } }), /got int32\[2\]/],
  [
    'an unknown dtype',
    leaf('input', { name: 'x', type: { shape: [], dtype: 'f16' } }, { shape: [], dtype: 'f16' as 'bool' }),
    /got "f16"/,
  ],
  [
    'a negative extent',
    leaf('input', { name: 'x', type: { shape: [-1], dtype: 'bool' } }, { shape: [-1], dtype: 'bool' }),
    /\[-1\]/,
  ],
  ['a fractional extent', leaf('iota', { shape: [1.5], axis: 0 }, { shape: [1.5], dtype: 'int32' }), /\[1.5\]/],
  ['attributes that do not fit', withNode(2, { op: 'transpose', inputs: [0], attributes: { perm: [1] } }), /permutes/],
  ['an input that is not listed', { ...valid(), inputs: [] }, /every input node once and in order, \[0\], got \[\]/],
  ['an input that is listed twice', { ...valid(), inputs: [0, 0] }, /got \[0,0\]/],
  ['a listed input that is none', { ...valid(), inputs: [0, 1] }, /got \[0,1\]/],
  ['inputs out of order', { ...twoInputs(['x', 'y']), inputs: [1, 0] }, /got \[1,0\]/],
  ['two inputs of one name', twoInputs(['x', 'x']), /"x" twice/],
  ['an output that does not exist', { ...valid(), outputs: [3] }, /outputs among 0 … 2, got 3/],
  ['a fractional output', { ...valid(), outputs: [0.5] }, /got 0.5/],
  [
    'a uint8 input',
    leaf('input', { name: 'x', type: { shape: [], dtype: 'uint8' } }, { shape: [], dtype: 'uint8' }),
    /no uint8 input/,
  ],
  [
    'float32 data of another class',
    constant(Float64Array.of(1, 2), 'float32'),
    /Float32Array for a float32.*Float64Array/,
  ],
  ['int32 data of another class', constant(Float32Array.of(1, 2), 'int32'), /Int32Array for a int32/],
  ['bool data of another class', constant(Int32Array.of(1, 0), 'bool'), /Uint8Array for a bool/],
  ['a bool that is 2', constant(Uint8Array.of(1, 2), 'bool'), /0 and 1/],
  ['data of another length', constant(Float32Array.of(1), 'float32'), /2 numbers, data has 1/],
  [
    'a table of another class',
    leaf('table', { table: { ...table, values: Int32Array.of(1, 2, 3, 4) } }, { shape: [2, 2], dtype: 'uint8' }),
    /Uint8Array for the uint8 table "rows", got Int32Array/,
  ],
  [
    'a table of another length',
    leaf('table', { table: { ...table, values: Uint8Array.of(1) } }, { shape: [2, 2], dtype: 'uint8' }),
    /4 numbers in table "rows", got 1/,
  ],
  ['an unknown stream', random({ stream: 'dice' }), /stream of .*got "dice"/],
  ['a path word of more than 32 bits', random({ path: [2 ** 32] }), /32-bit words/],
  ['a negative path word', random({ path: [-1] }), /32-bit words/],
  ['an empty range of integers', integer(3, 3), /low < high/],
  ['a range of integers of 2³¹', integer(-1, 2 ** 31 - 1), /low < high/],
  ['a fractional bound', integer(0.5, 3), /low < high/],
])('refuses %s', (_, graph, message) => {
  expect(() => verifyGraph(graph, 'test')).toThrow(GraphError);
  expect(() => verifyGraph(graph, 'test')).toThrow(message);
});

describe('uint8', () => {
  const rows = (b: GraphBuilder): number => b.op('gather', b.table(table), b.constant(Int32Array.of(1), [1], 'int32'));

  test('moves and is cast', () => {
    const b = new GraphBuilder('g');
    const sliced = b.emit('slice', [rows(b)], { begin: [0, 0], size: [1, 1], strides: [1, 1] });
    const moved = b.transpose(b.emit('reshape', [sliced], { shape: [1, 1, 1] }), [1, 0, 2]);
    const marked = b.op('stopGradient', b.op('identity', moved));
    const graph = b.finish([b.cast(marked, 'float32')]);
    expect(() => verifyGraph(graph, 'test')).not.toThrow();
    expect(new Set(UINT8_OPERATIONS)).toEqual(
      new Set(['gather', 'slice', 'reshape', 'transpose', 'identity', 'stopGradient', 'cast']),
    );
  });

  test('goes nowhere else, and is no output', () => {
    const refused: readonly ((b: GraphBuilder) => number)[] = [
      (b) => b.emit('broadcast', [rows(b)], { shape: [3, 2] }),
      (b) => b.emit('concat', [rows(b), rows(b)], { axis: 0 }),
      (b) => b.emit('pad', [rows(b)], { low: [0, 0], high: [1, 0], interior: [0, 0] }),
      (b) => b.emit('reverse', [rows(b)], { axes: [0] }),
      (b) => b.op('select', b.fill(1, [1, 2], 'bool'), rows(b), rows(b)),
    ];
    for (const make of refused) {
      const b = new GraphBuilder('g');
      make(b);
      expect(() => verifyGraph(b.finish([]), 'test')).toThrow(/expected uint8 only in gather/);
    }
    const b = new GraphBuilder('g');
    const output = rows(b);
    expect(() => verifyGraph(b.finish([output]), 'test')).toThrow(/no uint8 output/);
  });
});
