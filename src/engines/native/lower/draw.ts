/** Keyed draws: src/random/draws.ts over vectors of block numbers. */
import { EngineError } from '../../../contracts';
import { sizeOf, type Distribution } from '../../../graph/ir';
import {
  add,
  addIndex,
  convert,
  f32,
  i32,
  index,
  loadScalar,
  loadVector,
  mul,
  mulHigh,
  NestBuilder,
  position,
  ramp,
  read,
  scaleIndex,
  shift,
  shiftIndex,
  u32,
} from '../nest/builder';
import type { Expr, Index, MemoryType, Target, Width } from '../nest/ir';
import type { Layout } from '../plan/program';
import type { Fragment, Lowered } from './fragment';
import { layoutOf, storeName } from './frame';

const KEY = [read('key0', 'u32', 'scalar'), read('key1', 'u32', 'scalar')] as const;

/** Blocks of which the words are written out one by one: not worth a vector. */
const FEW_BLOCKS = 2;

/**
 * Block b gives elements 2b and 2b+1 of the row-major order. Integers and uniforms are those of src/random to the bit,
 * normals those of the nest's `normals`.
 */
export function lowerDraw(fragment: Fragment, target: Target): Lowered {
  const [id] = fragment.stores;
  const node = fragment.graph.nodes[id];
  if (node.op !== 'random') throw new EngineError(`a draw was to be made of ${node.op}; this is a defect of the plan.`);
  const { distribution } = node.attributes;
  const buffer = storeName(id);
  const layout = layoutOf(fragment, id);
  const { memory } = layout;
  const size = sizeOf(node.type.shape);
  const builder = new NestBuilder();
  const axes = joinedAxes(layout);
  const inner = axes.at(-1) ?? { extent: 1, stride: 1 };
  const drawn = new Draw(builder, distribution, memory, target);
  if (size > 0 && axes.length <= 1) {
    drawn.run(buffer, index(), index(), size, inner.stride);
  } else if (size > 0 && inner.extent % 2 === 0) {
    // No block belongs to two rows.
    overRows(builder, axes.slice(0, -1), index(), index(), (row, at) => {
      drawn.run(buffer, at, scaleIndex(row, inner.extent / 2), inner.extent, inner.stride);
    });
  } else if (size > 0) {
    const local = builder.local(memory, size);
    drawn.run(local, index(), index(), size, 1);
    overRows(builder, axes.slice(0, -1), index(), index(), (row, at) => {
      const from = scaleIndex(row, inner.extent);
      copy(builder, target, memory, { buffer: local, at: from }, { buffer, at, stride: inner.stride }, inner.extent);
    });
  }
  return {
    kernel: builder.kernel({
      name: `draw_${distribution.name}_${id}`,
      buffers: [{ name: buffer, memory, written: true }],
      scalars: [
        { name: 'key0', type: 'u32' },
        { name: 'key1', type: 'u32' },
      ],
    }),
    buffers: [{ kind: 'store', value: id }],
  };
}

interface LayoutAxis {
  readonly extent: number;
  readonly stride: number;
}

/** Axes of extent 1 are left out, and neighbours that lie densely are one. */
function joinedAxes({ shape, strides }: Layout): LayoutAxis[] {
  const axes: LayoutAxis[] = [];
  shape.forEach((extent, axis) => {
    if (extent === 1) return;
    const last = axes.at(-1);
    const stride = strides[axis];
    if (last?.stride === stride * extent) axes[axes.length - 1] = { extent: last.extent * extent, stride };
    else axes.push({ extent, stride });
  });
  return axes;
}

/** Loops over the outer axes: the number of the row, and where it starts. */
function overRows(
  builder: NestBuilder,
  axes: readonly LayoutAxis[],
  row: Index,
  at: Index,
  write: (row: Index, at: Index) => void,
): void {
  if (axes.length === 0) {
    write(row, at);
    return;
  }
  const [{ extent, stride }, ...rest] = axes;
  builder.loop(extent, (variable) => {
    overRows(
      builder,
      rest,
      addIndex(scaleIndex(row, extent), variable),
      addIndex(at, scaleIndex(variable, stride)),
      write,
    );
  });
}

class Draw {
  constructor(
    private readonly builder: NestBuilder,
    private readonly distribution: Distribution,
    private readonly memory: MemoryType,
    private readonly target: Target,
  ) {}

  /** Elements of the blocks from `block` on, `size` of them, to at + i·stride. */
  run(buffer: string, at: Index, block: Index, size: number, stride: number): void {
    const { lanes } = this.target;
    const pairs = Math.floor(size / 2);
    const behind = (blocks: Index): Index => addIndex(at, scaleIndex(blocks, 2 * stride));
    const one = (blocks: Index): void => {
      this.block(addIndex(block, blocks)).forEach((value, i) => {
        this.builder.storeScalar(buffer, this.memory, shiftIndex(behind(blocks), i * stride), value);
      });
    };
    const vector = (blocks: Index, count?: number): void => {
      this.vector(addIndex(block, blocks)).forEach((value, i) => {
        const access = { stride: 2 * stride, count };
        this.builder.storeVector(buffer, this.memory, shiftIndex(behind(blocks), i * stride), value, access);
      });
    };
    if (pairs <= FEW_BLOCKS) for (let b = 0; b < pairs; b++) one(index(b));
    else {
      const whole = pairs - (pairs % lanes);
      this.builder.loop(whole, vector, { step: lanes });
      if (whole < pairs) vector(index(whole), pairs - whole);
    }
    if (size % 2 === 1) {
      const [value] = this.block(shiftIndex(block, pairs));
      this.builder.storeScalar(buffer, this.memory, behind(index(pairs)), value);
    }
  }

  private block(number: Index): readonly [Expr, Expr] {
    return this.elements(convert('u32', position(number)), 'scalar');
  }

  private vector(first: Index): readonly [Expr, Expr] {
    return this.elements(convert('u32', add(position(first), ramp())), 'vector');
  }

  private elements(block: Expr, width: Width): readonly [Expr, Expr] {
    const words = this.builder.threefry(KEY, [block, u32(0)], width);
    const { distribution } = this;
    switch (distribution.name) {
      case 'normal':
        return this.builder.normals(words, width);
      case 'uniform':
        return [uniform(words[0]), uniform(words[1])];
      case 'integer':
        return [integer(words[0], distribution), integer(words[1], distribution)];
    }
  }
}

/** 24 bits are exact in float32, and not negative as an i32. */
function uniform(word: Expr): Expr {
  return mul(convert('f32', convert('i32', shift('right', 8, word))), f32(2 ** -24));
}

function integer(word: Expr, { low, high }: { readonly low: number; readonly high: number }): Expr {
  return add(convert('i32', mulHigh(word, u32(high - low))), i32(low));
}

function copy(
  builder: NestBuilder,
  { lanes }: Target,
  memory: MemoryType,
  from: { readonly buffer: string; readonly at: Index },
  to: { readonly buffer: string; readonly at: Index; readonly stride: number },
  size: number,
): void {
  const { stride } = to;
  const move = (i: Index, count?: number): void => {
    const value = loadVector(from.buffer, memory, addIndex(from.at, i), { count });
    builder.storeVector(to.buffer, memory, addIndex(to.at, scaleIndex(i, stride)), value, { stride, count });
  };
  const whole = size - (size % lanes);
  if (size < lanes / 2) {
    for (let i = 0; i < size; i++) {
      const value = loadScalar(from.buffer, memory, shiftIndex(from.at, i));
      builder.storeScalar(to.buffer, memory, shiftIndex(to.at, i * stride), value);
    }
    return;
  }
  builder.loop(whole, move, { step: lanes });
  if (whole < size) move(index(whole), size - whole);
}
