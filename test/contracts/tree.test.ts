import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import {
  ShapeError,
  treeDifference,
  treeFlatten,
  treeLeaves,
  treeMap,
  treeMap2,
  treeUnflatten,
  type Tree,
} from '../../src/contracts';

const trees: fc.Arbitrary<Tree<number>> = fc.letrec<{ tree: Tree<number> }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    fc.integer(),
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(fc.string({ minLength: 1, maxLength: 4 }), tie('tree'), { maxKeys: 4 }),
  ),
})).tree;

test('objects are walked by key in code-unit order, arrays by index, depth first', () => {
  const tree = { b: [10, 11], a: { z: 1, B: 2, é: 3 }, '10': 4, '9': 5 };
  expect(treeLeaves<number>(tree)).toEqual([
    { path: '10', value: 4 },
    { path: '9', value: 5 },
    { path: 'a.B', value: 2 },
    { path: 'a.z', value: 1 },
    { path: 'a.é', value: 3 },
    { path: 'b.0', value: 10 },
    { path: 'b.1', value: 11 },
  ]);
});

test('the order of insertion does not matter', () => {
  expect(treeFlatten<number>({ x: 1, y: 2 })).toEqual(treeFlatten<number>({ y: 2, x: 1 }));
});

test('a bare leaf, an empty tree and a class instance', () => {
  expect(treeLeaves<number>(3)).toEqual([{ path: '', value: 3 }]);
  expect(treeLeaves<number>({})).toEqual([]);
  const tensor = tf.scalar(1);
  expect(treeFlatten<tf.Tensor>({ w: tensor })[0]).toBe(tensor);
  tensor.dispose();
});

test('unflatten undoes flatten; map keeps the structure (random trees)', () => {
  fc.assert(
    fc.property(trees, (tree) => {
      const back = treeUnflatten<number>(tree, treeFlatten<number>(tree));
      expect(treeDifference(tree, back)).toBeUndefined();
      expect(treeFlatten<number>(back)).toEqual(treeFlatten<number>(tree));
      expect(treeFlatten<number>(treeMap<number, number>(tree, (x) => 2 * x))).toEqual(
        treeFlatten<number>(tree).map((x) => 2 * x),
      );
    }),
    { seed: 11, numRuns: 200 },
  );
});

test('differences are named', () => {
  expect(treeDifference({ a: 1, b: 2 }, { a: 1 })).toBe('expected a leaf "b", found none');
  expect(treeDifference({ a: 1 }, { a: { c: 1 } })).toBe('expected a leaf "a", found none');
  expect(treeDifference({ a: 1 }, { a: 1, d: [0] })).toBe('unexpected leaf "d.0"');
  expect(() => treeMap2({ a: 1 }, { b: 1 }, () => 0)).toThrow(ShapeError);
  expect(() => treeUnflatten({ a: 0, b: 0 }, [1])).toThrow(ShapeError);
});
