/** Products whose left operand is windows that lie where they are, as loop nests, held against loops in float64. */
import { GraphBuilder } from '../../src/graph/builder';
import { inferType } from '../../src/graph/infer';
import { windowIndices } from '../../src/graph/interpreter/indexing';
import type { Fragment } from '../../src/engines/native/lower/fragment';
import { lowerProduct, productPlans, shapeOf } from '../../src/engines/native/lower/product';
import type { Target } from '../../src/engines/native/nest/ir';
import { verifyKernel } from '../../src/engines/native/nest/verify';
import { denseLayout, matrixOfLoops, spanOf, viewOf } from '../../src/engines/native/plan/views';
import { normals } from '../../src/random';
import { runNest } from '../support/nest-interpreter';

const TARGETS: readonly Target[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
  { lanes: 4, registers: 32 },
];

interface Case {
  readonly x: readonly number[];
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly outputs: number;
  /** The gradient by the filter: sums over the places. */
  readonly transposed?: boolean;
}

const CASES: readonly Case[] = [
  { x: [2, 6, 7, 3], sizes: [3, 3], strides: [1, 1], dilations: [1, 1], outputs: 9 },
  { x: [1, 9, 8, 2], sizes: [3, 2], strides: [2, 3], dilations: [1, 1], outputs: 5 },
  { x: [2, 9, 8, 2], sizes: [3, 2], strides: [1, 1], dilations: [2, 3], outputs: 17 },
  { x: [3, 6, 18, 4], sizes: [2, 5], strides: [2, 1], dilations: [1, 1], outputs: 33 },
  { x: [2, 6, 7, 3], sizes: [3, 3], strides: [1, 1], dilations: [1, 1], outputs: 9, transposed: true },
  { x: [3, 9, 8, 2], sizes: [3, 2], strides: [2, 3], dilations: [1, 1], outputs: 5, transposed: true },
  // Places enough for blocks, rows enough for a copy of the panel.
  { x: [4, 12, 34, 12], sizes: [2, 3], strides: [1, 1], dilations: [1, 1], outputs: 16, transposed: true },
];

function problem({ x: image, sizes, strides, dilations, outputs, transposed = false }: Case) {
  const b = new GraphBuilder('windows');
  const x = b.input('x', { shape: image, dtype: 'float32' });
  const attributes = { axes: [1, 2], sizes, strides, dilations };
  const windows = b.emit('windows', [x], attributes);
  const [n, rows, columns] = b.shape(windows);
  const [places, patch] = [n * rows * columns, sizes[0] * sizes[1] * image[3]];
  const matrix = b.reshape(windows, [places, patch]);
  const other = b.input('other', { shape: [transposed ? places : patch, outputs], dtype: 'float32' });
  const root = b.emit('matmul', [matrix, other], { transposeA: transposed, transposeB: false });
  const seen = viewOf(b.node(windows), denseLayout(b.type(x)))!;
  const loops = matrixOfLoops(b.node(matrix), seen.layout)!;
  const fragment: Fragment = {
    kind: 'product',
    graph: b.finish([root]),
    members: [root],
    root,
    layouts: new Map([
      [matrix, loops],
      [other, denseLayout(b.type(other))],
      [root, denseLayout(b.type(root))],
    ]),
    stores: [root],
  };
  const size = image.reduce((a, c) => a * c, 1);
  const data = {
    x: Float32Array.from(normals([1, 5], size)),
    other: Float32Array.from(
      normals(
        [2, 5],
        b.shape(other).reduce((a, c) => a * c, 1),
      ),
    ),
  };
  // By the interpreter's own places of the windows, in float64.
  const at = windowIndices(inferType('windows', [b.type(x)], attributes).shape, image, attributes);
  const [m, k] = transposed ? [patch, places] : [places, patch];
  const expected = new Float64Array(m * outputs);
  const bound = new Float64Array(m * outputs);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < k; j++) {
      const left = data.x[at[transposed ? j * patch + i : i * patch + j]];
      for (let o = 0; o < outputs; o++) {
        expected[i * outputs + o] += left * data.other[j * outputs + o];
        bound[i * outputs + o] += Math.abs(left * data.other[j * outputs + o]);
      }
    }
  return { fragment, matrix, other, root, loops, data, expected, bound, k };
}

describe.each(TARGETS)('windows in $lanes lanes', (target) => {
  // The interpreter of nests takes its time: the largest in 8 lanes only.
  const cases = CASES.filter((_, i) => i < 6 || target.lanes === 8);
  test.each(cases)('%j', (of) => {
    const { fragment, matrix, root, loops, data, expected, bound, k } = problem(of);
    expect(spanOf(loops)).toBeLessThanOrEqual(data.x.length);
    const plans = productPlans(shapeOf(fragment).spec, target);
    for (const plan of plans) {
      const { kernel, buffers } = lowerProduct(fragment, target, plan);
      verifyKernel(kernel, target);
      const out = new Float32Array(expected.length).fill(NaN);
      const memories = buffers.map((use) =>
        use.kind === 'workspace'
          ? new Float32Array(use.bytes / 4)
          : use.value === matrix
            ? data.x
            : use.value === root
              ? out
              : data.other,
      );
      runNest(kernel, memories, [], { lanes: target.lanes });
      // k roundings of sums of at most Σ|a·b| (Higham 2002, eq. 3.5).
      expected.forEach((value, i) => {
        if (!(Math.abs(out[i] - value) <= k * 2 ** -24 * bound[i]))
          throw new Error(`${i}: expected ${value}, got ${out[i]}`);
      });
    }
  });
});

test('places that are many are gone through in blocks of whole loops', () => {
  const { fragment } = problem(CASES[6]);
  const { spec } = shapeOf(fragment);
  const [plan] = productPlans(spec, { lanes: 8, registers: 16 });
  const blocks = plan.form === 'broadcast' ? plan.groups.map(({ block }) => block) : [];
  // 4 pictures of 11 × 32 places.
  for (const block of blocks) expect([32, 11 * 32]).toContain(block);
});

test('rows that lie regularly are no loops', () => {
  const b = new GraphBuilder('plain');
  const x = b.input('x', { shape: [2, 3, 4], dtype: 'float32' });
  const flat = b.reshape(x, [6, 4]);
  expect(matrixOfLoops(b.node(flat), denseLayout(b.type(x)))?.levels).toEqual([
    [{ extent: 6, stride: 4 }],
    [{ extent: 4, stride: 1 }],
  ]);
  // An axis that would have to be cut.
  const cut = b.reshape(x, [8, 3]);
  expect(matrixOfLoops(b.node(cut), { ...denseLayout(b.type(x)), strides: [24, 8, 1] })).toBeUndefined();
});
