/** Draws and scatters against src/random and the reference interpreter: integers, uniforms and their places exactly. */
import { GraphBuilder } from '../../src/graph/builder';
import { stepContext } from '../../src/graph/interpreter';
import { sizeOf, type Distribution, type Shape } from '../../src/graph/ir';
import { episodeKey, foldIn } from '../../src/random';
import { allValues, disagreement, fragmentFor, runFragment, TARGETS, type LayoutKind } from '../support/nest-fragment';

const LAYOUTS: readonly LayoutKind[] = ['dense', 'padded', 'transposed'];
const SHAPES: readonly Shape[] = [
  [],
  [1],
  [2],
  [3],
  [8],
  [31],
  [32],
  [33],
  [100],
  [5, 6],
  [5, 7],
  [3, 4, 10],
  [2, 3, 37],
  [0],
];
const DISTRIBUTIONS: readonly Distribution[] = [
  { name: 'uniform' },
  { name: 'integer', low: -3, high: 60000 },
  { name: 'integer', low: -(2 ** 30), high: 2 ** 30 - 1 },
  { name: 'normal' },
];

describe('draws', () => {
  test.each(DISTRIBUTIONS.map((distribution) => [distribution]))('%j', (distribution) => {
    for (const shape of SHAPES) {
      const b = new GraphBuilder('draw');
      const id = b.emit('random', [], { stream: 'user', perStep: true, path: [3], distribution, shape });
      const graph = b.finish([id]);
      const values = allValues(graph, [], stepContext(11, 2, 5, 7));
      const [key0, key1] = foldIn(foldIn(episodeKey(11, 'user', 2, 5), 7), 3);
      for (const target of TARGETS) {
        for (const layout of LAYOUTS) {
          for (const seed of [1, 2]) {
            const fragment = fragmentFor(graph, 'draw', [id], { root: id, layout, seed });
            const got = runFragment(fragment, values, { target, key: [key0, key1] }).get(id) ?? [];
            expect(got).toHaveLength(sizeOf(shape));
            // Normals in float64: the interpreters' own functions, in the same order.
            const difference = disagreement(got, values[id], distribution.name === 'normal' ? 1e-12 : 0);
            if (difference !== undefined) throw new Error(`[${shape.join()}], ${layout}: ${difference}`);
          }
        }
      }
    }
  });
});

describe('scatterAdd', () => {
  test.each([
    [[19], [], 5],
    [[19], [37], 5],
    [[4, 3], [5], 6],
    [[7], [3, 20], 1],
    [[], [18], 3],
    [[0], [18], 3],
    [[5], [0], 3],
  ] as const)('indices %j, rows %j, %d of them: in order and clamped', (indices, row, rows) => {
    for (const dtype of ['float32', 'int32'] as const) {
      const b = new GraphBuilder('scatter');
      const at = b.input('at', { shape: indices, dtype: 'int32' });
      const x = b.input('x', { shape: [...indices, ...row], dtype });
      const id = b.emit('scatterAdd', [at, x], { rows });
      const graph = b.finish([id]);
      const feeds = [
        Int32Array.from({ length: sizeOf(indices) }, (_, i) => ((i * 7) % 11) - 2),
        dtype === 'int32'
          ? Int32Array.from({ length: sizeOf(b.shape(x)) }, (_, i) => (i * 2654435761) | 0)
          : // Large and small: another order of the additions gives other sums.
            Float64Array.from(
              { length: sizeOf(b.shape(x)) },
              (_, i) => (i % 3 === 0 ? 1e16 : 1) * (i % 2 === 0 ? 1 : -1),
            ),
      ];
      const values = allValues(graph, feeds, stepContext(1, 0, 0, 0));
      for (const target of TARGETS) {
        for (const layout of LAYOUTS) {
          const fragment = fragmentFor(graph, 'scatter', [id], { root: id, layout });
          const got = runFragment(fragment, values, { target }).get(id) ?? [];
          expect(disagreement(got, values[id], 0)).toBeUndefined();
        }
      }
    }
  });
});
