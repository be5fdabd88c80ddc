import { ShapeError } from '../../src/contracts';
import { broadcastsTo, inferType } from '../../src/graph/infer';
import { formatType, type OpAttributes, type OpName, type ValueType } from '../../src/graph/ir';

/** `float32[2,3]` → its type. */
function type(text: string): ValueType {
  const [, dtype, extents] = /^(\w+)\[([\d,]*)\]$/.exec(text)!;
  return { dtype: dtype as ValueType['dtype'], shape: extents === '' ? [] : extents.split(',').map(Number) };
}
function infer<P extends OpName>(op: P, attributes: OpAttributes[P], ...operands: string[]): string {
  return formatType(inferType(op, operands.map(type), attributes));
}
const plain = { transposeA: false, transposeB: false };

// Expected types follow from docs/graph.md.
test.each<[string, () => string, string]>([
  ['elementwise keeps the type', () => infer('add', {}, 'int32[2,3]', 'int32[2,3]'), 'int32[2,3]'],
  ['a comparison is bool', () => infer('lt', {}, 'float32[2]', 'float32[2]'), 'bool[2]'],
  ['isNan is bool', () => infer('isNan', {}, 'float32[]'), 'bool[]'],
  ['cast', () => infer('cast', { dtype: 'float32' }, 'uint8[4]'), 'float32[4]'],
  ['matmul', () => infer('matmul', plain, 'float32[5,2,3]', 'float32[5,3,4]'), 'float32[5,2,4]'],
  [
    'matmul, a stored transposed',
    () => infer('matmul', { transposeA: true, transposeB: false }, 'float32[3,2]', 'float32[3,4]'),
    'float32[2,4]',
  ],
  [
    'matmul, b stored transposed',
    () => infer('matmul', { transposeA: false, transposeB: true }, 'float32[2,3]', 'float32[4,3]'),
    'float32[2,4]',
  ],
  ['reduceSum', () => infer('reduceSum', { axes: [0, 2] }, 'float32[2,3,4]'), 'float32[3]'],
  ['reduceSum of an empty axis', () => infer('reduceSum', { axes: [0] }, 'int32[0,3]'), 'int32[3]'],
  ['argMax', () => infer('argMax', { axis: 1 }, 'float32[2,3,4]'), 'int32[2,4]'],
  ['broadcast', () => infer('broadcast', { shape: [2, 3, 4] }, 'bool[3,1]'), 'bool[2,3,4]'],
  ['transpose', () => infer('transpose', { perm: [2, 0, 1] }, 'float32[2,3,4]'), 'float32[4,2,3]'],
  ['slice', () => infer('slice', { begin: [1], size: [3], strides: [2] }, 'float32[6]'), 'float32[3]'],
  // 1 + (3 + 2·2) + 2
  ['pad', () => infer('pad', { low: [1], high: [2], interior: [2] }, 'float32[3]'), 'float32[10]'],
  [
    'pad of nothing has no gaps',
    () => infer('pad', { low: [1], high: [2], interior: [2] }, 'float32[0]'),
    'float32[3]',
  ],
  [
    'windows',
    // (6 − 3)/1 + 1 and (7 − (1 + 2))/2 + 1 windows.
    () => infer('windows', { axes: [1, 2], sizes: [3, 2], strides: [1, 2], dilations: [1, 2] }, 'bool[5,6,7,8]'),
    'bool[5,4,3,3,2,8]',
  ],
  [
    'windows wider than the axis',
    () => infer('windows', { axes: [0], sizes: [4], strides: [1], dilations: [1] }, 'float32[3,2]'),
    'float32[0,4,2]',
  ],
  [
    'foldWindows',
    () =>
      infer('foldWindows', { axes: [1, 2], extents: [6, 8], strides: [1, 2], dilations: [1, 2] }, 'int32[5,4,3,3,2,8]'),
    'int32[5,6,8,8]',
  ],
  ['concat', () => infer('concat', { axis: 1 }, 'float32[2,3]', 'float32[2,0]', 'float32[2,4]'), 'float32[2,7]'],
  ['gather', () => infer('gather', {}, 'uint8[10,28,28]', 'int32[5,2]'), 'uint8[5,2,28,28]'],
  ['scatterAdd', () => infer('scatterAdd', { rows: 10 }, 'int32[5]', 'float32[5,3]'), 'float32[10,3]'],
  ['iota', () => infer('iota', { shape: [2, 3], axis: 1 }), 'int32[2,3]'],
])('%s', (_, actual, expected) => {
  expect(actual()).toBe(expected);
});

test.each<[string, () => string, RegExp]>([
  [
    'different shapes',
    () => infer('add', {}, 'float32[2]', 'float32[3]'),
    /add: expected two operands of one shape.*got \(float32\[2\], float32\[3\]\)/,
  ],
  ['no silent broadcasting', () => infer('mul', {}, 'float32[2]', 'float32[]'), /two operands of one shape/],
  ['different dtypes', () => infer('add', {}, 'float32[2]', 'int32[2]'), /one shape and of dtype/],
  ['exp of an integer', () => infer('exp', {}, 'int32[2]'), /exp: expected an operand of float32/],
  ['a sum of bools', () => infer('reduceSum', { axes: [0] }, 'bool[2]'), /float32 or int32/],
  ['add of bools', () => infer('add', {}, 'bool[2]', 'bool[2]'), /dtype float32 or int32/],
  ['and of numbers', () => infer('and', {}, 'int32[2]', 'int32[2]'), /dtype bool/],
  ['arithmetic on raw rows', () => infer('add', {}, 'uint8[2]', 'uint8[2]'), /dtype float32 or int32/],
  ['axes out of order', () => infer('reduceSum', { axes: [1, 0] }, 'float32[2,3]'), /ascending axes/],
  ['a repeated axis', () => infer('reduceSum', { axes: [1, 1] }, 'float32[2,3]'), /ascending axes/],
  ['a negative axis', () => infer('argMax', { axis: -1 }, 'float32[2,3]'), /non-empty axis -1/],
  ['the maximum of nothing', () => infer('reduceMax', { axes: [0] }, 'float32[0,3]'), /no empty axis/],
  ['inner sizes', () => infer('matmul', plain, 'float32[2,3]', 'float32[4,5]'), /equal batch axes and inner sizes/],
  ['batch axes', () => infer('matmul', plain, 'float32[2,2,3]', 'float32[1,3,5]'), /equal batch axes and inner sizes/],
  ['ranks', () => infer('matmul', plain, 'float32[3]', 'float32[3]'), /equal batch axes/],
  ['a condition that is a number', () => infer('select', {}, 'int32[2]', 'float32[2]', 'float32[2]'), /a bool and two/],
  ['a broadcast that shrinks', () => infer('broadcast', { shape: [2] }, 'float32[3]'), /broadcasts to \[2\]/],
  ['a reshape of another size', () => infer('reshape', { shape: [5] }, 'float32[2,3]'), /5 elements/],
  ['a perm with a repeat', () => infer('transpose', { perm: [0, 0] }, 'float32[2,3]'), /permutes/],
  ['a slice past the end', () => infer('slice', { begin: [1], size: [3], strides: [2] }, 'float32[5]'), /lies in/],
  ['a fractional slice', () => infer('slice', { begin: [0.5], size: [1], strides: [1] }, 'float32[5]'), /lies in/],
  ['a negative pad', () => infer('pad', { low: [-1], high: [0], interior: [0] }, 'float32[3]'), /non-negative/],
  [
    'a concat of other extents',
    () => infer('concat', { axis: 0 }, 'float32[2,3]', 'float32[2,4]'),
    /differ only along/,
  ],
  [
    'windows without a stride',
    () => infer('windows', { axes: [0], sizes: [2], strides: [], dilations: [1] }, 'float32[3]'),
    /a size, stride and dilation each/,
  ],
  [
    'windows of no element',
    () => infer('windows', { axes: [0], sizes: [0], strides: [1], dilations: [1] }, 'float32[3]'),
    /got .*sizes=\[0\]/,
  ],
  [
    'a fold to another extent',
    () => infer('foldWindows', { axes: [0], extents: [5], strides: [1], dilations: [1] }, 'float32[2,2]'),
    /what windows make of an operand with .*extents=\[5\]/,
  ],
  [
    'a fold of bool',
    () => infer('foldWindows', { axes: [0], extents: [3], strides: [1], dilations: [1] }, 'bool[2,2]'),
    /float32 or int32/,
  ],
  ['a concat of nothing', () => infer('concat', { axis: 0 }), /at least one/],
  ['float indices', () => infer('gather', {}, 'float32[3]', 'float32[2]'), /int32 indices/],
  ['rows to clamp to', () => infer('gather', {}, 'float32[0,2]', 'int32[2]'), /an operand with rows/],
  [
    'updates without the axes of the indices',
    () => infer('scatterAdd', { rows: 3 }, 'int32[2]', 'float32[3]'),
    /leading axes/,
  ],
])('refuses %s', (_, act, message) => {
  expect(act).toThrow(ShapeError);
  expect(act).toThrow(message);
});

test('broadcastsTo is right-aligned', () => {
  expect(broadcastsTo([], [2, 3])).toBe(true);
  expect(broadcastsTo([1, 3], [2, 3])).toBe(true);
  expect(broadcastsTo([2], [2, 3])).toBe(false);
  expect(broadcastsTo([2, 3], [3])).toBe(false);
  expect(broadcastsTo([3], [1])).toBe(false);
});
