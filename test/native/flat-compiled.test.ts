/**
 * Flat kernels as compiled C against the nest interpreter. Numbers are small integers and ops are exact on them (or
 * rounded once by both), so that every result is the same to the bit; memory beside the buffers must not be touched.
 */
import { lowerDraw } from '../../src/engines/native/lower/draw';
import type { Fragment, Lowered } from '../../src/engines/native/lower/fragment';
import { lowerMap } from '../../src/engines/native/lower/map';
import { lowerReduce } from '../../src/engines/native/lower/reduce';
import { lowerScatter } from '../../src/engines/native/lower/scatter';
import type { Target } from '../../src/engines/native/nest/ir';
import { GraphBuilder } from '../../src/graph/builder';
import { sizeOf, type Graph, type Shape, type ValueId } from '../../src/graph/ir';
import { bits } from '../../src/random';
import { CPrograms } from '../support/c-program';
import { CompiledNests, targetOf } from '../support/nest-compiled';
import { fragmentFor, type LayoutKind } from '../support/nest-fragment';
import { runNest } from '../support/nest-interpreter';

const programs = new CPrograms();
afterAll(() => {
  programs.dispose();
});

interface Case {
  readonly name: string;
  readonly fragment: Fragment;
  readonly lower: (fragment: Fragment, target: Target) => Lowered;
}

const CASES: Case[] = [];
const LAYOUTS: readonly LayoutKind[] = ['dense', 'padded', 'transposed'];

function everyLayout(
  name: string,
  graph: Graph,
  kind: 'map' | 'reduce' | 'draw' | 'scatter',
  stores: readonly ValueId[],
  root?: ValueId,
): void {
  const lower = { map: lowerMap, reduce: lowerReduce, draw: lowerDraw, scatter: lowerScatter }[kind];
  for (const layout of kind === 'map' ? LAYOUTS : LAYOUTS.slice(1)) {
    CASES.push({ name: `${name}, ${layout}`, fragment: fragmentFor(graph, kind, stores, { layout, root }), lower });
  }
}

function map(name: string, build: (b: GraphBuilder) => readonly ValueId[]): void {
  const b = new GraphBuilder(name);
  const stores = build(b);
  everyLayout(name, b.finish(stores), 'map', stores);
}

function rooted(name: string, kind: 'reduce' | 'draw' | 'scatter', build: (b: GraphBuilder) => ValueId): void {
  const b = new GraphBuilder(name);
  const root = build(b);
  everyLayout(name, b.finish([root]), kind, [root], root);
}

const float = (b: GraphBuilder, name: string, ...shape: number[]): ValueId =>
  b.input(name, { shape, dtype: 'float32' });
const int = (b: GraphBuilder, name: string, ...shape: number[]): ValueId => b.input(name, { shape, dtype: 'int32' });
const bool = (b: GraphBuilder, name: string, ...shape: number[]): ValueId => b.input(name, { shape, dtype: 'bool' });

map('arithmetic of three types', (b) => {
  const [x, y] = [float(b, 'x', 3, 37), float(b, 'y', 3, 37)];
  const [n, m] = [int(b, 'n', 3, 37), int(b, 'm', 3, 37)];
  const [p, q] = [bool(b, 'p', 3, 37), bool(b, 'q', 3, 37)];
  const both = b.op('and', p, b.op('not', q));
  return [
    b.op('select', both, b.op('add', b.op('mul', x, y), x), b.op('max', x, y)),
    b.op('div', n, m),
    b.op('mod', n, m),
    b.op('select', b.op('lt', x, y), p, q),
    both,
    b.emit('cast', [b.op('mul', x, b.fill(0.75, [3, 37]))], { dtype: 'int32' }),
    b.emit('cast', [p], { dtype: 'float32' }),
    b.emit('iota', [], { shape: [3, 37], axis: 1 }),
  ];
});
map('broadcasts', (b) => {
  const x = float(b, 'x', 5, 3, 20);
  const parts = [float(b, 'a'), float(b, 'b', 20), float(b, 'c', 3, 1), float(b, 'd', 5, 1, 1)];
  return [parts.reduce((sum, part) => b.op('add', sum, b.broadcast(part, [5, 3, 20])), x)];
});
map('transpose and reverse', (b) => {
  const moved = b.emit('transpose', [float(b, 'x', 37, 21)], { perm: [1, 0] });
  return [b.emit('reverse', [b.op('neg', moved)], { axes: [1] })];
});
map('blocks', (b) => [b.emit('transpose', [float(b, 'x', 37, 21)], { perm: [1, 0] })]);
map('slice, pad and concat', (b) => {
  const x = float(b, 'x', 6, 41);
  const part = b.emit('slice', [x], { begin: [0, 2], size: [6, 13], strides: [1, 3] });
  const padded = b.emit('pad', [part], { low: [0, 1], high: [0, 2], interior: [0, 1] });
  return [b.emit('concat', [padded, x, part], { axis: 1 })];
});
map('rows of bytes', (b) => {
  const values = new Uint8Array(9 * 37);
  const table = b.table({ name: 'rows', values, dtype: 'uint8', rows: 9, rowShape: [37] });
  return [b.cast(b.op('gather', table, int(b, 'at', 12)), 'float32')];
});
map('numbers looked up a lane', (b) => [b.op('gather', bool(b, 'flags', 7), int(b, 'at', 40))]);
map('reshape with division', (b) => {
  const turned = b.emit('transpose', [float(b, 'x', 5, 7)], { perm: [1, 0] });
  return [b.reshape(b.op('neg', turned), [5, 7])];
});

const SHAPES: readonly Shape[] = [[100], [37, 3], [4, 19, 5]];
for (const shape of SHAPES) {
  for (let axis = 0; axis < shape.length; axis++) {
    for (const op of ['reduceSum', 'reduceMax', 'reduceMin'] as const) {
      rooted(`${op} of [${shape.join()}] over ${axis}`, 'reduce', (b) =>
        b.emit(op, [float(b, 'x', ...shape)], { axes: [axis] }),
      );
    }
    rooted(`argMax of [${shape.join()}] over ${axis}`, 'reduce', (b) =>
      b.emit('argMax', [float(b, 'x', ...shape)], { axis }),
    );
    rooted(`int32 sum of [${shape.join()}] over ${axis}`, 'reduce', (b) =>
      b.emit('reduceSum', [int(b, 'x', ...shape)], { axes: [axis] }),
    );
  }
}
rooted('a long sum', 'reduce', (b) => b.reduceSum(float(b, 'x', 3, 5000), [0, 1]));
rooted('uniforms', 'draw', (b) =>
  b.emit('random', [], { stream: 'user', perStep: false, path: [], distribution: { name: 'uniform' }, shape: [5, 37] }),
);
rooted('integers', 'draw', (b) => {
  const distribution = { name: 'integer' as const, low: -3, high: 60000 };
  return b.emit('random', [], { stream: 'user', perStep: false, path: [], distribution, shape: [3, 50] });
});
rooted('scatter', 'scatter', (b) => b.emit('scatterAdd', [int(b, 'at', 19), float(b, 'x', 19, 37)], { rows: 5 }));

const KEY = [0x12345678, 0x9abcdef0];

/** Small integers; indices and bools at times beyond what they index. */
function contents(fragment: Fragment, lowered: Lowered): (Float32Array | Int32Array | Uint8Array)[] {
  return lowered.buffers.map((use, i) => {
    if (use.kind === 'workspace') return new Float32Array(use.bytes / 4);
    const { shape, strides, memory } = fragment.layouts.get(use.value) ?? { shape: [], strides: [], memory: 'f32' };
    const size =
      sizeOf(shape) === 0 ? 0 : 1 + shape.reduce((sum, extent, axis) => sum + (extent - 1) * strides[axis], 0);
    const words = bits([77, i], size);
    if (memory === 'u8') {
      const isTable = fragment.graph.nodes[use.value].op === 'table';
      return Uint8Array.from(words, (word) => (isTable ? word % 256 : word & 1));
    }
    const small = (word: number): number => (word % 23) - 9;
    return memory === 'i32' ? Int32Array.from(words, small) : Float32Array.from(words, small);
  });
}

describe.each(programs.targets.map((target) => [target.name, target] as const))(
  '%s',
  (_, { lanes, flags, compiles, runs }) => {
    (compiles && runs ? test : test.skip)('every flat kernel gives what the interpreter gives', () => {
      const target = targetOf(lanes);
      const made = CASES.map(({ fragment, lower }) => {
        const lowered = lower(fragment, target);
        const scalars = lowered.kernel.scalars.length === 0 ? [] : KEY;
        return { kernel: lowered.kernel, buffers: contents(fragment, lowered), scalars };
      });
      const compiled = new CompiledNests(programs, { flags, lanes }, made).run();
      const different = made.flatMap(({ kernel, buffers, scalars }, i) => {
        runNest(kernel, buffers, scalars, { lanes });
        const equal = buffers.every((buffer, b) =>
          buffer.every((x, at) => Object.is(x, compiled[i][b][at]) || x === compiled[i][b][at]),
        );
        return equal ? [] : [CASES[i].name];
      });
      expect(different).toEqual([]);
    });
  },
);
