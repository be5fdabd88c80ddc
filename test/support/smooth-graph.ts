/** Random graphs for derivative tests: every op with a derivative may occur, values stay within a few units. */
import type { GraphBuilder } from '../../src/graph/builder';
import { sizeOf, type Graph, type Shape, type ValueId } from '../../src/graph/ir';
import { float, makeGraph } from './jacobian';

/** A small reproducible generator (mulberry32): the tests must not depend on the generator under test. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface RandomGraph {
  readonly graph: Graph;
  readonly feeds: readonly Float64Array[];
  /** Numbers in (−1, 1) for vectors of the tests. */
  readonly vector: (size: number) => Float64Array;
}

const SHAPES: readonly Shape[] = [[3], [2, 3], [3, 2], [2, 2]];

const UNARY = ['neg', 'abs', 'sin', 'cos', 'atan', 'tanh', 'sigmoid', 'erf', 'identity', 'expm1'] as const;
const BINARY = ['add', 'sub', 'mul', 'max', 'min', 'atan2'] as const;

/**
 * `steps` ops on values drawn from those made so far; two outputs, the last value and the sum of another. tanh
 * follows what could grow, and divisors, bases and logarithms are taken of 1 + x².
 */
export function randomGraph(seed: number, steps: number): RandomGraph {
  const next = numbers(seed);
  const vector = (size: number): Float64Array => Float64Array.from({ length: size }, () => 2 * next() - 1);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)];
  const types = [pick(SHAPES), pick(SHAPES), pick(SHAPES)].map((shape) => float(...shape));

  const graph = makeGraph(`random ${seed}`, types, (b, ...inputs) => {
    const values = [...inputs];
    for (let i = 0; i < steps; i++) values.push(step(b, values, pick, next));
    const last = values[values.length - 1];
    const other = pick(values);
    return [
      last,
      b.reduceSum(
        other,
        b.shape(other).map((_, axis) => axis),
      ),
    ];
  });
  return { graph, feeds: types.map((type) => vector(sizeOf(type.shape))), vector };
}

function step(
  b: GraphBuilder,
  values: readonly ValueId[],
  pick: <T>(from: readonly T[]) => T,
  next: () => number,
): ValueId {
  const x = pick(values);
  const shape = b.shape(x);
  /** Another value made to fit x's shape: cut or repeated. */
  const partner = (): ValueId => {
    const y = pick(values);
    const flat = b.reshape(y, [sizeOf(b.shape(y))]);
    const row = b.emit('slice', [flat], { begin: [0], size: [1], strides: [1] });
    const same = values.filter((id) => b.shape(id).join() === shape.join());
    return next() < 0.3 ? b.broadcast(b.reshape(row, []), shape) : pick(same);
  };
  const positive = (y: ValueId): ValueId => b.op('add', b.fill(1, b.shape(y)), b.op('mul', y, y));
  const axis = Math.floor(next() * shape.length);
  const at = (value: number): number[] => shape.map((_, i) => (i === axis ? value : 0));

  switch (Math.floor(next() * 17)) {
    case 0:
    case 1:
      return b.op('tanh', b.op(pick(UNARY), x));
    case 2:
    case 3:
      return b.op('tanh', b.op(pick(BINARY), x, partner()));
    case 4:
      return b.op('div', x, positive(partner()));
    case 5:
      return b.op(pick(['log', 'log1p', 'sqrt', 'rsqrt'] as const), positive(x));
    case 6:
      return b.op('tanh', b.op('pow', positive(x), b.op('tanh', partner())));
    case 7:
      return b.op('select', b.op('gt', partner(), partner()), b.op('sin', x), b.op('exp', b.op('tanh', x)));
    case 8: {
      const y = shape.length === 2 ? x : b.reshape(x, [1, ...shape]);
      const [transposeA, transposeB] = [next() < 0.5, next() < 0.5];
      // y with itself, one of the two transposed: both flags equal needs one transposed by hand.
      const other = transposeA === transposeB ? b.transpose(y, [1, 0]) : y;
      return b.op('tanh', b.emit('matmul', [y, other], { transposeA, transposeB }));
    }
    case 9: {
      const reduced = b.emit(pick(['reduceSum', 'reduceMax', 'reduceMin'] as const), [x], { axes: [axis] });
      const kept = shape.map((extent, i) => (i === axis ? 1 : extent));
      return b.op('tanh', b.broadcast(b.reshape(reduced, kept), shape));
    }
    case 10:
      return b.transpose(x, [...shape.keys()].reverse());
    case 11: {
      const padded = b.emit('pad', [x], { low: at(1), high: at(0), interior: at(1) });
      return b.emit('slice', [padded], { begin: at(1), size: shape, strides: shape.map(() => 1) });
    }
    case 12: {
      const both = b.emit('concat', [x, partner()], { axis });
      return b.emit('slice', [both], { begin: at(1), size: shape, strides: shape.map((_, i) => (i === axis ? 1 : 1)) });
    }
    case 13:
      return b.emit('reverse', [x], { axes: [axis] });
    case 14: {
      const index = b.constant(
        Int32Array.from({ length: 3 }, () => Math.floor(next() * 4)),
        [3],
        'int32',
      );
      return b.op('gather', x, index);
    }
    case 15: {
      const moves = { axes: [axis], strides: [1 + Math.floor(next() * 2)], dilations: [1] };
      const seen = b.emit('windows', [x], { ...moves, sizes: [Math.min(2, shape[axis])] });
      return b.op('tanh', b.emit('foldWindows', [b.op('sin', seen)], { ...moves, extents: [shape[axis]] }));
    }
    default: {
      const rows = Int32Array.from({ length: shape[0] }, () => Math.floor(next() * 3));
      const index = b.constant(rows, [shape[0]], 'int32');
      return b.op('tanh', b.emit('scatterAdd', [index, x], { rows: 3 }));
    }
  }
}
