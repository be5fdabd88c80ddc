/** The element emitter: what it writes once, outside, fused or not at all. What it computes is held in map.test.ts. */
import { EngineError } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { sizeOf, type Shape, type ValueId } from '../../src/graph/ir';
import { Emitter, reshapeFollows } from '../../src/engines/native/lower/emit';
import { lowerMap } from '../../src/engines/native/lower/map';
import { lowerReduce } from '../../src/engines/native/lower/reduce';
import { NestBuilder, read, variableIndex } from '../../src/engines/native/nest/builder';
import { printKernel, printStatement } from '../../src/engines/native/nest/print';
import { fragmentFor } from '../support/nest-fragment';

const TARGET = { lanes: 16, registers: 32 } as const;

function printedMap(build: (b: GraphBuilder) => readonly ValueId[]): string {
  const b = new GraphBuilder('emit');
  const stores = build(b);
  const { kernel } = lowerMap(fragmentFor(b.finish(stores), 'map', stores), TARGET);
  return `\n${printKernel(kernel)}\n`;
}

describe('where values are made', () => {
  test('a number for all elements before the loop, products fused into sums', () => {
    const shape = [784, 100];
    const text = printedMap((b) => {
      const [w, v, g] = ['w', 'v', 'g'].map((name) => b.input(name, { shape, dtype: 'float32' }));
      const rate = b.broadcast(b.op('exp', b.input('rate', { shape: [], dtype: 'float32' })), shape);
      const next = b.op('add', b.op('mul', v, b.fill(0.5, shape)), g);
      return [b.op('sub', w, b.op('mul', next, rate)), next];
    });
    expect(text).toMatchInlineSnapshot(`
      "
      map_add_9(f32 in3[], f32 in1[], f32 in2[], f32 in0[], out f32 out11[], out f32 out9[]) {
        f32 x4 = in3[0]
        f32 x5 = exp(x4)
        for i0 < 78400 step 16 {
          f32v x1 = in1[i0 : lanes]
          f32v x2 = in2[i0 : lanes]
          f32v x3 = fma(x1, 0.5, x2)
          f32v x6 = in0[i0 : lanes]
          f32v x7 = fma(neg(x3), x5, x6)
          out11[i0 : lanes] = f32 x7
          out9[i0 : lanes] = f32 x3
        }
      }
      "
    `);
  });

  test('a row of bytes is looked up once, fetched ahead, and converted a vector at a time', () => {
    const text = printedMap((b) => {
      const values = new Uint8Array(2000 * 160);
      const table = b.table({ name: 'rows', values, dtype: 'uint8', rows: 2000, rowShape: [160] });
      const rows = b.op('gather', table, b.input('at', { shape: [100], dtype: 'int32' }));
      return [b.op('mul', b.cast(rows, 'float32'), b.fill(0.25, [100, 160]))];
    });
    expect(text).toMatchInlineSnapshot(`
      "
      map_mul_6(u8 in0[], i32 in1[], out f32 out6[]) {
        for i0 < 100 {
          i32 x2 = in1[i0]
          i32 p3 = min(max(x2, 0), 1999)
          i32 p4 = min((i0 + 2), 99)
          i32 x5 = in1[p4]
          i32 p6 = min(max(x5, 0), 1999)
          prefetch in0[p6*160]
          prefetch in0[p6*160 + 64]
          prefetch in0[p6*160 + 128]
          for i1 < 160 step 16 {
            i32v x7 = u8 in0[p3*160 + i1 : lanes]
            f32v x8 = f32(x7)
            f32v x9 = (x8 * 0.25)
            out6[i0*160 + i1 : lanes] = f32 x9
          }
        }
      }
      "
    `);
  });

  test('the parts of a concat have loops of their own', () => {
    const text = printedMap((b) => {
      const x = b.input('x', { shape: [100, 32], dtype: 'float32' });
      const y = b.broadcast(b.input('y', { shape: [16], dtype: 'float32' }), [100, 16]);
      return [b.emit('concat', [x, y], { axis: 1 })];
    });
    expect(text).toMatchInlineSnapshot(`
      "
      map_concat_3(f32 in1[], f32 in0[], out f32 out3[]) {
        f32v x4 = in1[0 : lanes]
        for i0 < 100 {
          for i1 < 32 step 16 {
            f32v x2 = in0[i0*32 + i1 : lanes]
            out3[i0*48 + i1 : lanes] = f32 x2
          }
        }
        for i3 < 100 {
          out3[i3*48 + 32 : lanes] = f32 x4
        }
      }
      "
    `);
  });

  test('a bias gradient goes down the rows, several rows and vectors at a time', () => {
    const b = new GraphBuilder('emit');
    const root = b.reduceSum(b.input('g', { shape: [100, 32], dtype: 'float32' }), [0]);
    const { kernel } = lowerReduce(fragmentFor(b.finish([root]), 'reduce', [root], { root }), TARGET);
    expect(`\n${printKernel(kernel)}\n`).toMatchInlineSnapshot(`
      "
      reduce_reduceSum_1(f32 in0[], out f32 out1[]) {
        var f32v v0 = -0.0
        var f32v v1 = -0.0
        var f32v v2 = -0.0
        var f32v v3 = -0.0
        var f32v v4 = -0.0
        var f32v v5 = -0.0
        var f32v v6 = -0.0
        var f32v v7 = -0.0
        for i8 < 100 step 4 {
          f32v x9 = in0[i8*32 : lanes]
          v0 = (v0 + x9)
          f32v x10 = in0[i8*32 + 16 : lanes]
          v4 = (v4 + x10)
          f32v x11 = in0[i8*32 + 32 : lanes]
          v1 = (v1 + x11)
          f32v x12 = in0[i8*32 + 48 : lanes]
          v5 = (v5 + x12)
          f32v x13 = in0[i8*32 + 64 : lanes]
          v2 = (v2 + x13)
          f32v x14 = in0[i8*32 + 80 : lanes]
          v6 = (v6 + x14)
          f32v x15 = in0[i8*32 + 96 : lanes]
          v3 = (v3 + x15)
          f32v x16 = in0[i8*32 + 112 : lanes]
          v7 = (v7 + x16)
        }
        f32v r17 = ((v0 + v2) + (v1 + v3))
        f32v r18 = ((v4 + v6) + (v5 + v7))
        out1[0 : lanes] = f32 r17
        out1[16 : lanes] = f32 r18
      }
      "
    `);
  });
});

describe('fused multiply-adds', () => {
  const printed = (build: (b: GraphBuilder, x: ValueId, y: ValueId) => readonly ValueId[]): string =>
    printedMap((b) => {
      const shape = [32];
      return build(b, b.input('x', { shape, dtype: 'float32' }), b.input('y', { shape, dtype: 'float32' }));
    });

  test.each([
    ['x·y + x', (b: GraphBuilder, x: ValueId, y: ValueId) => b.op('add', b.op('mul', x, y), x), true],
    ['x + x·y', (b: GraphBuilder, x: ValueId, y: ValueId) => b.op('add', x, b.op('mul', x, y)), true],
    ['x·y − x', (b: GraphBuilder, x: ValueId, y: ValueId) => b.op('sub', b.op('mul', x, y), x), true],
    ['x − x·y', (b: GraphBuilder, x: ValueId, y: ValueId) => b.op('sub', x, b.op('mul', x, y)), true],
    // Rounding one of two products alone would make x² − y² of equal numbers something else than 0.
    ['x² − y²', (b: GraphBuilder, x: ValueId, y: ValueId) => b.op('sub', b.op('mul', x, x), b.op('mul', y, y)), false],
  ])('%s', (_, build, fuses) => {
    expect(printed((b, x, y) => [build(b, x, y)]).includes('fma(')).toBe(fuses);
  });

  test('not of a product that is read twice or stored', () => {
    const square = (b: GraphBuilder, x: ValueId, y: ValueId): readonly ValueId[] => {
      const product = b.op('mul', x, y);
      return [b.op('add', product, x), b.op('exp', product)];
    };
    expect(printed(square)).not.toContain('fma(');
  });

  test('not of integers', () => {
    const text = printedMap((b) => {
      const x = b.input('x', { shape: [32], dtype: 'int32' });
      return [b.op('add', b.op('mul', x, x), x)];
    });
    expect(text).not.toContain('fma(');
  });
});

describe('Emitter', () => {
  /** relu(root + bias) of a product's shape, as its epilogue would ask for it. */
  function epilogue(): { emitter: Emitter; builder: NestBuilder; root: ValueId; result: ValueId } {
    const b = new GraphBuilder('epilogue');
    const left = b.input('a', { shape: [8, 4], dtype: 'float32' });
    const right = b.input('b', { shape: [4, 32], dtype: 'float32' });
    const root = b.emit('matmul', [left, right], { transposeA: false, transposeB: false });
    const bias = b.broadcast(b.input('bias', { shape: [32], dtype: 'float32' }), [8, 32]);
    const result = b.op('max', b.op('add', root, bias), b.fill(0, [8, 32]));
    const fragment = { ...fragmentFor(b.finish([result]), 'map', [result], { root }), kind: 'product' as const, root };
    const builder = new NestBuilder();
    const buffers = new Map([...fragment.layouts.keys()].map((id) => [id, `b${id}`]));
    const emitter = new Emitter(fragment, { names: builder.names, lanes: 16, buffers, body: builder });
    return { emitter, builder, root, result };
  }
  const at = (row: number) => [
    { index: { offset: row, terms: [] }, lanes: 0 },
    { index: variableIndex('j'), lanes: 1 },
  ];

  test('defined values are taken until they are forgotten; others are made once', () => {
    const { emitter, builder, root, result } = epilogue();
    emitter.define(root, read('acc0', 'f32', 'vector'));
    const first = emitter.value(result, at(0));
    expect(emitter.value(result, at(0))).toBe(first);
    emitter.forget();
    emitter.define(root, read('acc1', 'f32', 'vector'));
    expect(emitter.value(result, at(1))).not.toEqual(first);
    expect(builder.statements.map(printStatement)).toMatchInlineSnapshot(`
      [
        "f32v x0 = b3[j : lanes]",
        "f32v x1 = (acc0 + x0)",
        "f32v x2 = max(x1, 0.0)",
        "f32v x3 = b3[j : lanes]",
        "f32v x4 = (acc1 + x3)",
        "f32v x5 = max(x4, 0.0)",
      ]
    `);
  });

  test('partial vectors touch the lanes in use only', () => {
    const { emitter, builder, root, result } = epilogue();
    emitter.limit(5);
    emitter.define(root, read('acc0', 'f32', 'vector'));
    emitter.value(result, at(0));
    expect(printStatement(builder.statements[0])).toContain('first 5');
  });

  test('a root that was not defined is a typed error', () => {
    const { emitter, result } = epilogue();
    expect(() => emitter.value(result, at(0))).toThrow(EngineError);
  });
});

test('reshapeFollows tells whether positions have to be divided', () => {
  const shapes: Shape[] = [
    [24],
    [2, 12],
    [12, 2],
    [3, 8],
    [8, 3],
    [4, 6],
    [6, 4],
    [2, 3, 4],
    [4, 3, 2],
    [2, 2, 6],
    [1, 24],
    [2, 1, 12],
    [3, 2, 2, 2],
  ];
  for (const from of shapes) {
    for (const to of shapes) {
      const text = printedMap((b) => {
        // Last axis first, so that no axis can be joined with the next.
        const x = b.input('x', { shape: [...from].reverse(), dtype: 'float32' });
        const perm = from.map((_, axis) => from.length - 1 - axis);
        const moved = b.emit('transpose', [x], { perm });
        return [b.op('neg', b.emit('reshape', [moved], { shape: to }))];
      });
      const followed = from.length === 1 || reshapeFollows(from, to);
      expect([from, to, !/div|mod|\/|%/.test(text)]).toEqual([from, to, followed]);
    }
  }
  expect(sizeOf([0, 3])).toBe(0);
  expect(reshapeFollows([0, 3], [5, 0])).toBe(true);
});
