/** Rows added at looked-up places. */
import { EngineError } from '../../../contracts';
import type { Shape } from '../../../graph/ir';
import {
  add,
  addIndex,
  binary,
  i32,
  index,
  loadScalar,
  loadVector,
  NestBuilder,
  scaleIndex,
  zero,
} from '../nest/builder';
import type { Expr, Index, Target } from '../nest/ir';
import type { Layout } from '../plan/program';
import type { Fragment, Lowered } from './fragment';
import { layoutOf, operandName, storeName } from './frame';

/** Zeros, then every update added at its row (clamped), in order: lanes run along a row, never across rows. */
export function lowerScatter(fragment: Fragment, target: Target): Lowered {
  const [id] = fragment.stores;
  const node = fragment.graph.nodes[id];
  if (node.op !== 'scatterAdd') {
    throw new EngineError(`a scatter was to be made of ${node.op}; this is a defect of the plan.`);
  }
  const [indices, updates] = node.inputs;
  const { rows } = node.attributes;
  const rank = fragment.graph.nodes[indices].type.shape.length;
  const [to, from, where] = [id, updates, indices].map((value) => layoutOf(fragment, value));
  const [outBuffer, fromBuffer, whereBuffer] = [storeName(id), operandName(updates), operandName(indices)];
  const { memory } = to;
  const rowShape = to.shape.slice(1);
  const builder = new NestBuilder();

  const toRow = { ...to, shape: rowShape, strides: to.strides.slice(1) };
  const fromRow = { ...from, shape: rowShape, strides: from.strides.slice(rank) };

  if (!to.shape.includes(0)) {
    builder.loop(rows, (row) => {
      const start = scaleIndex(row, to.strides[0]);
      overElements(builder, target, [toRow], ([at], write) => {
        write(outBuffer, addIndex(start, at), zero(memory === 'f32' ? 'f32' : 'i32'));
      });
    });
    overPositions(builder, where.shape, (positions) => {
      const row = loadScalar(whereBuffer, where.memory, dot(where, positions));
      const inside = binary('min', binary('max', row, i32(0)), i32(rows - 1));
      const start = scaleIndex(builder.letIndex(inside), to.strides[0]);
      const first = dot({ ...from, strides: from.strides.slice(0, rank) }, positions);
      overElements(builder, target, [toRow, fromRow], ([at, source], write, load) => {
        const sum = add(load(0, outBuffer, addIndex(start, at)), load(1, fromBuffer, addIndex(first, source)));
        write(outBuffer, addIndex(start, at), sum);
      });
    });
  }
  const operands = [...new Set([indices, updates])];
  return {
    kernel: builder.kernel({
      name: `scatter_${id}`,
      buffers: [
        ...operands.map((value) => ({
          name: operandName(value),
          memory: layoutOf(fragment, value).memory,
          written: false,
        })),
        { name: outBuffer, memory, written: true },
      ],
    }),
    buffers: [...operands.map((value) => ({ kind: 'operand' as const, value })), { kind: 'store', value: id }],
  };
}

function dot({ strides }: Layout, positions: readonly Index[]): Index {
  return addIndex(index(), ...positions.map((each, axis) => scaleIndex(each, strides[axis])));
}

function overPositions(builder: NestBuilder, shape: Shape, write: (positions: readonly Index[]) => void): void {
  const [extent, ...rest] = shape;
  if (shape.length === 0) {
    write([]);
    return;
  }
  builder.loop(extent, (variable) => {
    overPositions(builder, rest, (positions) => {
      write([variable, ...positions]);
    });
  });
}

type Write = (buffer: string, at: Index, value: Expr) => void;
type Load = (layout: number, buffer: string, at: Index) => Expr;

/** Loops over a row's elements, lanes along its last axis: `build` gets the place in each layout, and how to access it. */
function overElements(
  builder: NestBuilder,
  { lanes }: Target,
  layouts: readonly Layout[],
  build: (at: readonly Index[], write: Write, load: Load) => void,
): void {
  const [{ shape }] = layouts;
  const along = joinable(layouts) ? [shape.reduce((a, b) => a * b, 1)] : shape;
  const strides = layouts.map((layout) => (along === shape ? layout.strides : layout.strides.slice(-1)));
  const { memory } = layouts[0];
  const axis = along.length - 1;
  const size = along.length === 0 ? 1 : along[axis];
  overPositions(builder, along.slice(0, -1), (outer) => {
    const start = strides.map((steps) =>
      addIndex(index(), ...outer.map((variable, i) => scaleIndex(variable, steps[i]))),
    );
    if (size === 1) {
      build(
        start,
        (buffer, at, value) => {
          builder.storeScalar(buffer, memory, at, value);
        },
        (_, buffer, at) => loadScalar(buffer, memory, at),
      );
      return;
    }
    const vector = (i: Index, count?: number): void => {
      build(
        start.map((at, layout) => addIndex(at, scaleIndex(i, strides[layout][axis]))),
        (buffer, at, value) => {
          builder.storeVector(buffer, memory, at, value, { stride: strides[0][axis], count });
        },
        (layout, buffer, at) => loadVector(buffer, memory, at, { stride: strides[layout][axis], count }),
      );
    };
    const whole = size - (size % lanes);
    builder.loop(whole, vector, { step: lanes });
    if (whole < size) vector(index(whole), size - whole);
  });
}

/** Whether the elements of a row lie one behind the other in all layouts. */
function joinable(layouts: readonly Layout[]): boolean {
  return layouts.every(
    ({ shape, strides }) =>
      shape.length > 0 && strides.every((stride, i) => i === 0 || strides[i - 1] === stride * shape[i]),
  );
}
