/**
 * Maps run in the nest interpreter in float64, so that every number must be that of the reference interpreter but for the
 * order of roundings: a fused multiply-add differs by a few 2⁻⁵³ of its terms.
 */
import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { stepContext, type Value } from '../../src/graph/interpreter';
import { sameShape, sizeOf, type OpName, type Shape, type ValueId, type ValueType } from '../../src/graph/ir';
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
  const words = bits([17, salt], sizeOf(type.shape));
  if (type.dtype === 'bool' || type.dtype === 'uint8') return Uint8Array.from(words, (word) => word & 1);
  if (type.dtype === 'int32') return Int32Array.from(words, (word) => (word % 19) - 9);
  return Float64Array.from(words, (word) => ((word % 256) - 128) / 32);
}

/** Every output of the graph, alone, under all layouts and targets. */
function expectMaps(build: (b: GraphBuilder) => readonly ValueId[]): void {
  const builder = new GraphBuilder('map');
  const stores = build(builder);
  const graph = builder.finish(stores);
  const feeds = graph.inputs.map((id, i) => numbers(graph.nodes[id].type, i));
  const values = allValues(graph, feeds, stepContext(1, 0, 0, 0));
  for (const target of TARGETS) {
    for (const layout of LAYOUTS) {
      const fragment = fragmentFor(graph, 'map', stores, { layout });
      const got = runFragment(fragment, values, { target });
      for (const id of stores) {
        const difference = disagreement(got.get(id) ?? [], values[id], TOLERANCE);
        if (difference !== undefined) {
          throw new Error(`%${id} ${graph.nodes[id].op}, ${layout}, ${target.lanes} lanes: ${difference}`);
        }
      }
    }
  }
}

const UNARY = (
  'neg abs sign floor ceil round exp expm1 log log1p sqrt rsqrt sin cos atan tanh sigmoid erf isNan isFinite identity ' +
  'stopGradient'
).split(' ') as ('neg' | 'exp')[];
const BINARY = 'add sub mul div mod pow atan2 max min eq ne lt le gt ge'.split(' ') as ('add' | 'eq')[];
const INTEGER = 'add sub mul div mod max min eq ne lt le gt ge'.split(' ') as ('add' | 'eq')[];

const SHAPES: readonly Shape[] = [[], [1], [5], [16], [37], [3, 20], [20, 3], [2, 3, 17], [1, 19, 1]];

describe('ops over shapes', () => {
  test.each(SHAPES.map((shape) => [shape]))('elementwise over [%s]', (shape) => {
    expectMaps((b) => {
      const x = b.input('x', { shape, dtype: 'float32' });
      const y = b.input('y', { shape, dtype: 'float32' });
      const n = b.input('n', { shape, dtype: 'int32' });
      const m = b.input('m', { shape, dtype: 'int32' });
      const p = b.input('p', { shape, dtype: 'bool' });
      const q = b.input('q', { shape, dtype: 'bool' });
      return [
        ...UNARY.map((op) => b.op(op, x)),
        ...BINARY.map((op) => b.op(op, x, y)),
        ...INTEGER.map((op) => b.op(op, n, m)),
        ...(['neg', 'abs', 'sign'] as const).map((op) => b.op(op, n)),
        b.op('and', p, q),
        b.op('or', p, q),
        b.op('not', p),
        b.op('select', p, x, y),
        b.op('select', p, n, m),
        b.op('select', p, q, p),
        b.emit('cast', [x], { dtype: 'int32' }),
        b.emit('cast', [x], { dtype: 'bool' }),
        b.emit('cast', [n], { dtype: 'float32' }),
        b.emit('cast', [n], { dtype: 'bool' }),
        b.emit('cast', [p], { dtype: 'float32' }),
        b.emit('cast', [p], { dtype: 'int32' }),
        ...shape.map((_, axis) => b.emit('iota', [], { shape, axis })),
      ];
    });
  });

  test('broadcasts, from and to every side', () => {
    expectMaps((b) => {
      const full = b.input('x', { shape: [3, 20, 5], dtype: 'float32' });
      const parts = [[], [5], [20, 1], [20, 5], [3, 1, 1], [3, 1, 5], [1, 20, 1], [1, 1, 1]].map((shape, i) =>
        b.broadcast(b.input(`p${i}`, { shape, dtype: 'float32' }), [3, 20, 5]),
      );
      return [parts.reduce((sum, part) => b.op('add', sum, part), full), ...parts];
    });
  });

  test('transposes and reverses', () => {
    expectMaps((b) => {
      const x = b.input('x', { shape: [3, 20, 5], dtype: 'float32' });
      const y = b.input('y', { shape: [5, 3, 20], dtype: 'float32' });
      const t = b.emit('transpose', [x], { perm: [2, 0, 1] });
      return [
        t,
        b.op('mul', t, y),
        b.emit('reverse', [t], { axes: [0, 2] }),
        b.emit('transpose', [b.emit('transpose', [y], { perm: [1, 0, 2] })], { perm: [1, 0, 2] }),
      ];
    });
  });

  test('transposes in blocks', () => {
    expectMaps((b) => [b.emit('transpose', [b.input('x', { shape: [37, 21], dtype: 'float32' })], { perm: [1, 0] })]);
    expectMaps((b) => {
      const x = b.input('x', { shape: [3, 32, 17], dtype: 'float32' });
      return [b.emit('transpose', [x], { perm: [2, 0, 1] })];
    });
  });

  test('slices with strides, pads with an interior', () => {
    expectMaps((b) => {
      const x = b.input('x', { shape: [6, 41], dtype: 'float32' });
      return [b.emit('slice', [x], { begin: [1, 2], size: [3, 19], strides: [2, 2] })];
    });
    for (const interior of [
      [0, 0],
      [1, 0],
      [0, 2],
    ]) {
      for (const dtype of ['float32', 'int32', 'bool'] as const) {
        expectMaps((b) => {
          const x = b.input('x', { shape: [3, 18], dtype });
          return [b.emit('pad', [x], { low: [1, 2], high: [0, 3], interior })];
        });
      }
    }
  });

  test('a pad around a pad, and within an expression', () => {
    expectMaps((b) => {
      const x = b.input('x', { shape: [3, 18], dtype: 'float32' });
      const y = b.input('y', { shape: [6, 24], dtype: 'float32' });
      const inner = b.emit('pad', [b.op('exp', x)], { low: [1, 2], high: [0, 0], interior: [0, 0] });
      const outer = b.emit('pad', [inner], { low: [0, 3], high: [2, 1], interior: [0, 0] });
      return [b.op('add', outer, y)];
    });
  });

  test('concats along every axis, of many and of empty parts', () => {
    for (const axis of [0, 1, 2]) {
      expectMaps((b) => {
        const part = (i: number, extent: number): ValueId =>
          b.input(`x${i}`, { shape: [2, 5, 3].map((each, at) => (at === axis ? extent : each)), dtype: 'float32' });
        const parts = [4, 0, 17, 1].map((extent, i) => part(i, extent));
        const joined = b.emit('concat', [...parts, parts[0], b.op('tanh', parts[2])], { axis });
        return [joined, b.op('neg', joined)];
      });
    }
    expectMaps((b) => {
      const parts = Array.from({ length: 60 }, (_, i) => b.input(`x${i}`, { shape: [7, 1], dtype: 'float32' }));
      return [b.emit('concat', parts, { axis: 1 })];
    });
  });

  test('concat of broadcasts and of concats', () => {
    expectMaps((b) => {
      const x = b.input('x', { shape: [20, 3], dtype: 'float32' });
      const s = b.broadcast(b.input('s', { shape: [4], dtype: 'float32' }), [20, 4]);
      const inner = b.emit('concat', [x, s], { axis: 1 });
      return [b.emit('concat', [inner, x, b.emit('reverse', [inner], { axes: [1] })], { axis: 1 })];
    });
  });

  test('reshapes that join, split and insert axes', () => {
    expectMaps((b) => {
      const x = b.input('x', { shape: [4, 3, 10], dtype: 'float32' });
      return [b.op('exp', b.reshape(x, [12, 10]))];
    });
    expectMaps((b) => {
      const x = b.input('x', { shape: [12, 10], dtype: 'float32' });
      const y = b.broadcast(b.input('y', { shape: [3, 1], dtype: 'float32' }), [4, 3, 10]);
      return [b.op('mul', b.reshape(x, [4, 3, 10]), y)];
    });
    expectMaps((b) => {
      const x = b.input('x', { shape: [4, 3, 10], dtype: 'float32' });
      const y = b.broadcast(b.input('y', { shape: [3, 1], dtype: 'float32' }), [4, 3, 10]);
      return [b.op('neg', b.reshape(b.op('mul', x, y), [120])), b.reshape(x, [120])];
    });
    expectMaps((b) => {
      const x = b.input('x', { shape: [6], dtype: 'float32' });
      const both = b.op('add', b.reshape(b.reshape(x, [1, 2, 3]), [6]), b.reshape(b.reshape(x, [3, 2, 1]), [6]));
      return [both, b.op('exp', b.reshape(b.emit('transpose', [b.reshape(x, [2, 3])], { perm: [1, 0] }), [6]))];
    });
    expectMaps((b) => {
      const x = b.input('x', { shape: [5, 7], dtype: 'float32' });
      // 5·7 and 7·5 have no common loops: positions are divided.
      return [b.reshape(b.emit('transpose', [b.reshape(x, [7, 5])], { perm: [1, 0] }), [7, 5])];
    });
  });

  test('rows gathered from tables, from values and along lanes; indices beyond both ends', () => {
    for (const rowShape of [[], [3], [2, 20], [37]]) {
      expectMaps((b) => {
        const values = Uint8Array.from({ length: 6 * sizeOf(rowShape) }, (_, i) => (i * 41) % 256);
        const table = b.table({ name: 'rows', values, dtype: 'uint8', rows: 6, rowShape });
        const floats = b.input('floats', { shape: [5, ...rowShape], dtype: 'float32' });
        const at = b.input('at', { shape: [19], dtype: 'int32' });
        const one = b.op('gather', b.op('neg', b.op('gather', floats, at)), at);
        return [b.cast(b.op('gather', table, at), 'float32'), b.op('gather', floats, at), one];
      });
    }
    expectMaps((b) => {
      const single = b.input('single', { shape: [1, 5], dtype: 'float32' });
      const at = b.input('at', { shape: [], dtype: 'int32' });
      return [b.op('gather', single, at), b.op('gather', b.input('x', { shape: [4, 5], dtype: 'float32' }), at)];
    });
    expectMaps((b) => {
      const x = b.input('x', { shape: [4, 5], dtype: 'bool' });
      const at = b.input('at', { shape: [2, 3], dtype: 'int32' });
      return [b.op('gather', x, at)];
    });
  });

  test('nothing to do for empty shapes', () => {
    expectMaps((b) => [b.op('neg', b.input('x', { shape: [3, 0], dtype: 'float32' }))]);
    expectMaps((b) => {
      const empty = b.input('x', { shape: [0, 3], dtype: 'float32' });
      return [b.emit('pad', [empty], { low: [2, 1], high: [1, 1], interior: [0, 0] })];
    });
  });
});

test('a store may lie where an operand is read at the element written', () => {
  const b = new GraphBuilder('momentum');
  const shape = [7, 37];
  const w = b.input('w', { shape, dtype: 'float32' });
  const v = b.input('v', { shape, dtype: 'float32' });
  const g = b.input('g', { shape: [37], dtype: 'float32' });
  const velocity = b.op('add', b.op('mul', v, b.fill(0.9, shape)), b.broadcast(g, shape));
  const next = b.op('sub', w, b.op('mul', velocity, b.fill(0.25, shape)));
  const graph = b.finish([next, velocity]);
  const values = allValues(
    graph,
    graph.inputs.map((id, i) => numbers(graph.nodes[id].type, i)),
    stepContext(1, 0, 0, 0),
  );
  const inPlace = new Map([
    [next, w],
    [velocity, v],
  ]);
  for (const target of TARGETS) {
    const fragment = fragmentFor(graph, 'map', [next, velocity]);
    const got = runFragment(fragment, values, { target, inPlace });
    for (const id of [next, velocity]) {
      expect(disagreement(got.get(id) ?? [], values[id], TOLERANCE)).toBeUndefined();
    }
  }
});

describe('random graphs', () => {
  const ops = GENERATED_OPS.filter(
    (op: OpName) => !REDUCTIONS.has(op) && op !== 'matmul' && op !== 'scatterAdd' && op !== 'random',
  );
  const rows = TARGETS.flatMap((target) =>
    (['tame', 'any'] as const).map((domain) => [domain, target.lanes, target] as const),
  );
  test.each(rows)('%s numbers, %d lanes', (domain, _, target) => {
    fc.assert(
      fc.property(randomGraphs({ domain, ops }), fc.nat(2), (random, layout) => {
        const { graph, feeds } = random;
        const values = allValues(graph, feeds, contextOf(random));
        for (const id of new Set(graph.outputs)) {
          const { op, type } = graph.nodes[id];
          if (op === 'input' || op === 'table' || op === 'constant') continue;
          const twin = graph.nodes.findIndex(
            (node, other) => other < id && sameShape(node.type.shape, type.shape) && node.inputs.length > 0,
          );
          const stores = twin < 0 ? [id] : [id, twin];
          const fragment = fragmentFor(graph, 'map', stores, { layout: LAYOUTS[layout], seed: random.seed });
          const got = runFragment(fragment, values, { target });
          for (const store of stores) {
            const difference = disagreement(got.get(store) ?? [], values[store], TOLERANCE);
            if (difference !== undefined) throw new Error(`%${store}: ${difference}`);
          }
        }
      }),
      { numRuns: 100, seed: 5 },
    );
  });
});
