/**
 * Reductions run in the nest interpreter in float64: only the order of the additions differs from the reference
 * interpreter's. Accuracy in float32 is held against the bound that reduce.ts states.
 */
import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type Shape, type ValueId, type ValueType } from '../../src/graph/ir';
import { bits } from '../../src/random';
import {
  allValues,
  disagreement,
  fragmentFor,
  REDUCTIONS,
  runFragment,
  TARGETS,
  type LayoutKind,
} from '../support/nest-fragment';
import { contextOf, randomGraphs, GENERATED_OPS } from '../support/random-graph';

const LAYOUTS: readonly LayoutKind[] = ['dense', 'padded', 'transposed'];
const TOLERANCE = 1e-12;

function numbers(type: ValueType, salt: number): Value {
  const words = bits([23, salt], sizeOf(type.shape));
  if (type.dtype === 'bool') return Uint8Array.from(words, (word) => word & 1);
  // Few different numbers, so that ties occur.
  if (type.dtype === 'int32') return Int32Array.from(words, (word) => (word % 19) - 9);
  return Float64Array.from(words, (word) => ((word % 64) - 32) / 8);
}

function valuesOf(graph: Graph, feeds?: readonly Value[]): Value[] {
  const given = feeds ?? graph.inputs.map((id, i) => numbers(graph.nodes[id].type, i));
  return allValues(graph, given, stepContext(1, 0, 0, 0));
}

interface Built {
  readonly root: ValueId;
  readonly stores?: readonly ValueId[];
}

function expectReductions(build: (b: GraphBuilder) => readonly Built[], feeds?: readonly Value[]): void {
  const builder = new GraphBuilder('reduce');
  const built = build(builder);
  const graph = builder.finish(built.map(({ root }) => root));
  const values = valuesOf(graph, feeds);
  for (const target of TARGETS) {
    for (const layout of LAYOUTS) {
      for (const { root, stores = [root] } of built) {
        const fragment = fragmentFor(graph, 'reduce', stores, { root, layout });
        const got = runFragment(fragment, values, { target });
        for (const id of stores) {
          const difference = disagreement(got.get(id) ?? [], values[id], TOLERANCE);
          if (difference !== undefined) {
            throw new Error(`%${id} ${graph.nodes[root].op}, ${layout}, ${target.lanes} lanes: ${difference}`);
          }
        }
      }
    }
  }
}

const SHAPES: readonly Shape[] = [[1], [5], [16], [100], [3, 37], [37, 3], [40, 40], [2, 19, 3], [3, 1, 18], [3, 2, 5]];

function subsets(rank: number): number[][] {
  return Array.from({ length: 2 ** rank }, (_, set) =>
    Array.from({ length: rank }, (_, axis) => axis).filter((axis) => (set >> axis) & 1),
  );
}

describe('ops over shapes and axes', () => {
  test.each(SHAPES.map((shape) => [shape]))('over [%s]', (shape) => {
    expectReductions((b) => {
      const x = b.input('x', { shape, dtype: 'float32' });
      const n = b.input('n', { shape, dtype: 'int32' });
      return [
        ...subsets(shape.length).flatMap((axes) =>
          (['reduceSum', 'reduceMax', 'reduceMin'] as const).flatMap((op) => [
            { root: b.emit(op, [x], { axes }) },
            { root: b.emit(op, [n], { axes }) },
          ]),
        ),
        ...shape.flatMap((_, axis) =>
          (['argMax', 'argMin'] as const).flatMap((op) => [
            { root: b.emit(op, [x], { axis }) },
            { root: b.emit(op, [n], { axis }) },
          ]),
        ),
      ];
    });
  });

  test('nothing to add gives zeros, which go through the epilogue', () => {
    expectReductions((b) => {
      const x = b.input('x', { shape: [3, 0, 2], dtype: 'float32' });
      const sum = b.emit('reduceSum', [x], { axes: [1] });
      const after = b.op('exp', sum);
      return [
        { root: sum, stores: [after] },
        { root: b.emit('reduceSum', [x], { axes: [0] }) },
        { root: b.emit('reduceSum', [x], { axes: [0, 1, 2] }) },
      ];
    });
  });

  test('prologues and epilogues', () => {
    expectReductions((b) => {
      const x = b.input('x', { shape: [9, 37], dtype: 'float32' });
      const y = b.input('y', { shape: [9, 37], dtype: 'float32' });
      const row = b.input('row', { shape: [37], dtype: 'float32' });
      const column = b.input('column', { shape: [9, 1], dtype: 'float32' });
      const flags = b.op('lt', x, y);
      const shifted = b.op('exp', b.op('sub', x, b.broadcast(column, [9, 37])));
      const dot = b.op('mul', x, b.broadcast(row, [9, 37]));
      return [0, 1].flatMap((axis) => {
        const other = b.input(`other${axis}`, { shape: [axis === 0 ? 37 : 9], dtype: 'float32' });
        const sums = [shifted, dot, b.cast(flags, 'float32')].map((operand) =>
          b.emit('reduceSum', [operand], { axes: [axis] }),
        );
        return sums.map((root) => {
          const scaled = b.op('mul', root, b.fill(0.125, b.shape(root)));
          return { root, stores: [b.op('add', scaled, other), scaled, root] };
        });
      });
    });
  });

  test('of a concat, a pad, a reshape, a transpose and gathered rows', () => {
    expectReductions((b) => {
      const x = b.input('x', { shape: [4, 20], dtype: 'float32' });
      const y = b.input('y', { shape: [3, 20], dtype: 'float32' });
      const at = b.input('at', { shape: [7], dtype: 'int32' });
      const operands = [
        b.emit('concat', [x, y], { axis: 0 }),
        b.emit('pad', [y], { low: [1, 0], high: [3, 0], interior: [0, 0] }),
        b.reshape(b.reshape(x, [16, 5]), [2, 40]),
        b.emit('transpose', [x], { perm: [1, 0] }),
        b.op('gather', x, at),
        b.reshape(b.emit('transpose', [x], { perm: [1, 0] }), [8, 10]),
      ];
      return operands.flatMap((operand) => [
        ...subsets(2).map((axes) => ({ root: b.emit('reduceSum', [operand], { axes }) })),
        { root: b.emit('argMax', [operand], { axis: 1 }) },
        { root: b.emit('argMin', [operand], { axis: 0 }) },
      ]);
    });
  });

  test('places within an axis that a reshape splits are in order', () => {
    expectReductions((b) => {
      const x = b.input('x', { shape: [4, 3, 5], dtype: 'float32' });
      const mixed = b.reshape(b.emit('transpose', [x], { perm: [2, 0, 1] }), [60]);
      return [{ root: b.emit('argMax', [mixed], { axis: 0 }) }, { root: b.emit('argMin', [mixed], { axis: 0 }) }];
    });
  });

  test('NaN, infinities and ties', () => {
    const rows = [
      [NaN, 1, 2],
      [1, NaN, 2],
      [-Infinity, -Infinity, -Infinity],
      [Infinity, 3, Infinity],
      [-0, 0, -0],
      [2, 2, 1],
      [-Infinity, NaN, -1],
    ];
    expectReductions(
      (b) => {
        const x = b.input('x', { shape: [7, 3], dtype: 'float32' });
        return [
          ...(['reduceSum', 'reduceMax', 'reduceMin'] as const).map((op) => ({ root: b.emit(op, [x], { axes: [1] }) })),
          ...(['argMax', 'argMin'] as const).map((op) => ({ root: b.emit(op, [x], { axis: 1 }) })),
        ];
      },
      [Float64Array.from(rows.flat())],
    );
  });

  test('a sum of negative zeros is a negative zero, whatever the lanes', () => {
    const b = new GraphBuilder('zeros');
    const x = b.input('x', { shape: [37], dtype: 'float32' });
    const root = b.emit('reduceSum', [x], { axes: [0] });
    const graph = b.finish([root]);
    const values = valuesOf(graph, [new Float64Array(37).fill(-0)]);
    for (const target of TARGETS) {
      const [sum] = runFragment(fragmentFor(graph, 'reduce', [root], { root }), values, { target }).get(root) ?? [];
      expect(Object.is(sum, -0)).toBe(true);
    }
  });

  test('int32 sums wrap', () => {
    expectReductions(
      (b) => [{ root: b.emit('reduceSum', [b.input('x', { shape: [50], dtype: 'int32' })], { axes: [0] }) }],
      [Int32Array.from({ length: 50 }, (_, i) => 2 ** 31 - 1 - i)],
    );
  });
});

describe('accuracy of long float32 sums', () => {
  /** With whether lanes run along the terms: then w of the bound in reduce.ts is 4·lanes, else it is 4. */
  const rows: readonly (readonly [shape: Shape, axes: readonly number[], across: boolean])[] = [
    [[60000], [0], true],
    [[24000, 8], [0], false],
    [[3, 2, 10000], [1, 2], true],
    [[8000, 3, 4], [0, 1], false],
  ];
  test.each(rows)('of %j over %j', (shape, axes, across) => {
    const b = new GraphBuilder('long');
    const x = b.input('x', { shape, dtype: 'float32' });
    const root = b.reduceSum(x, axes);
    const graph = b.finish([root]);
    // Equal terms: every addition is rounded to the same side, so that errors grow as fast as they can.
    const term = Math.fround(0.7);
    const values = valuesOf(graph, [new Float64Array(sizeOf(shape)).fill(term)]);
    const terms = sizeOf(axes.map((axis) => shape[axis]));
    const boundFor = (ways: number, lanes: number): number =>
      (2 * Math.sqrt(terms / ways) + Math.log2(lanes * 4) + 2) * 2 ** -24;
    let oneAfterAnother = 0;
    for (let i = 0; i < terms; i++) oneAfterAnother = Math.fround(oneAfterAnother + term);
    expect(Math.abs(oneAfterAnother / (terms * term) - 1)).toBeGreaterThan(boundFor(1, 16));
    for (const target of TARGETS) {
      const fragment = fragmentFor(graph, 'reduce', [root], { root });
      const got = runFragment(fragment, values, { target, precision: 'float32' }).get(root) ?? [];
      const bound = boundFor(across ? 4 * target.lanes : 4, target.lanes);
      expect(got).toHaveLength(values[root].length);
      got.forEach((sum, i) => {
        expect(Math.abs(sum / values[root][i] - 1)).toBeLessThan(bound);
      });
    }
  });
});

describe('random graphs', () => {
  const ops = GENERATED_OPS.filter((op) => op !== 'matmul' && op !== 'scatterAdd' && op !== 'random');
  test.each(TARGETS.map((target) => [target.lanes, target] as const))('%d lanes', (_, target) => {
    fc.assert(
      fc.property(
        randomGraphs({ domain: 'tame', ops: [...ops, ...REDUCTIONS, ...REDUCTIONS] }),
        fc.nat(2),
        (random, layout) => {
          const { graph, feeds } = random;
          const values = allValues(graph, feeds, contextOf(random));
          graph.nodes.forEach(({ op }, root) => {
            if (!REDUCTIONS.has(op)) return;
            const fragment = fragmentFor(graph, 'reduce', [root], { root, layout: LAYOUTS[layout], seed: random.seed });
            const difference = disagreement(
              runFragment(fragment, values, { target }).get(root) ?? [],
              values[root],
              TOLERANCE,
            );
            if (difference !== undefined) throw new Error(`%${root}: ${difference}`);
          });
        },
      ),
      { numRuns: 100, seed: 6 },
    );
  });
});
