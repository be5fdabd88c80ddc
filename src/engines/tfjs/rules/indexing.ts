/** Rules of gather and scatter-add. */
import type { DataTable } from '../../../contracts';
import { sizeOf, type Node, type Shape } from '../../../graph/ir';
import { gatherForAll, gatherRows, scatterAddRows, tableGatherer, type Decode } from '../host/gather';
import { anyBatched, type Lowering, type Result, type Value } from '../lowering';
import { binaryKernel } from './elementwise';
import type { Rule } from './rule';

/** Indices clamped to [0, rows), for kernels that throw outside it. */
function clamped(l: Lowering, indices: Value, rows: number): Value {
  const spread = (value: number): Value =>
    l.view(
      l.scalar(value, 'int32'),
      indices.shape.map(() => 1),
    );
  return binaryKernel(l, 'Minimum', binaryKernel(l, 'Maximum', indices, spread(0), 'int32'), spread(rows - 1), 'int32');
}

/** Indices into the rows of all particles, one after another. */
function intoAllRows(l: Lowering, indices: Value, rows: number): Value {
  const starts = l.particleConstant(`row starts ${rows}`, (p) => p * rows);
  const ones = indices.shape.map(() => 1);
  return binaryKernel(l, 'Add', indices, l.view(starts, ones), 'int32');
}

const gather: Rule<'gather'> = (l, node, [lazyOperand, lazyIndices]) => {
  const indices = l.full(lazyIndices, l.logicalShape(node.inputs[1]));
  const [rows, ...rowShape] = l.logicalShape(node.inputs[0]);
  const operand = l.full(lazyOperand, [rows, ...rowShape]);
  const width = sizeOf(rowShape);
  const count = sizeOf(indices.shape);
  const result: Result = {
    shape: node.type.shape,
    dtype: operand.dtype,
    batched: anyBatched([operand, indices]),
  };
  if (l.device.memory !== undefined) {
    const particles = result.batched ? l.particles : 1;
    const operandStride = operand.batched ? rows * width : 0;
    const indexStride = indices.batched ? count : 0;
    return l.host('gather', [operand, indices], result, (out, [x, index]) => {
      gatherRows(out, x, rows, width, operandStride, index, count, indexStride, particles);
    });
  }
  const safe = l.isBelow(node.inputs[1], rows) ? indices : clamped(l, indices, rows);
  if (!operand.batched) return l.kernel('GatherV2', { x: operand, indices: safe }, { axis: 0, batchDims: 0 }, result);
  const shapes = { x: [l.particles * rows, ...rowShape] };
  const global = intoAllRows(l, safe, rows);
  return l.kernel('GatherV2', { x: operand, indices: global }, { axis: 0, batchDims: 0 }, result, shapes);
};

/** Rows of a table by indices, decoded on the way. Host memory only. */
export function gatherTable(
  l: Lowering,
  node: Node,
  table: DataTable,
  lazyIndices: Value,
  indexShape: Shape,
  decode: Decode | undefined,
): Value {
  const indices = l.full(lazyIndices, indexShape);
  const dtype = decode !== undefined || table.dtype === 'float32' ? 'float32' : 'int32';
  const gatherer = tableGatherer(table, decode);
  const width = table.values.length / table.rows;
  const count = sizeOf(indices.shape);
  const result: Result = { shape: node.type.shape, dtype, batched: indices.batched };
  return l.host(`gather ${table.name}`, [indices], result, (out, [index], { drawer }) => {
    if (!indices.batched) gatherer(out, 0, index, 0, count);
    else gatherForAll(gatherer, width, out, index, count, (p) => drawer?.source(p, true) ?? p);
  });
}

const scatterAdd: Rule<'scatterAdd'> = (l, node, [lazyIndices, lazyUpdates]) => {
  const { rows } = node.attributes;
  const indices = l.full(lazyIndices, l.logicalShape(node.inputs[0]));
  const updates = l.full(lazyUpdates, l.logicalShape(node.inputs[1]));
  const { shape } = node.type;
  const width = sizeOf(shape.slice(1));
  const count = sizeOf(indices.shape);
  const result: Result = { shape, dtype: updates.dtype, batched: anyBatched([indices, updates]) };
  if (l.device.memory !== undefined) {
    const particles = result.batched ? l.particles : 1;
    const indexStride = indices.batched ? count : 0;
    const updateStride = updates.batched ? count * width : 0;
    return l.host('scatterAdd', [indices, updates], result, (out, [index, x]) => {
      scatterAddRows(out, rows, width, index, count, indexStride, x, updateStride, particles);
    });
  }
  const safe = l.isBelow(node.inputs[0], rows) ? indices : clamped(l, indices, rows);
  const [index, x] = result.batched ? [intoAllRows(l, l.batch(safe), rows), l.batch(updates)] : [safe, updates];
  const all = result.batched ? l.particles : 1;
  const shapes = { indices: [all * count, 1], updates: [all * count, width] };
  const made = [all * rows, width];
  return l.kernel('ScatterNd', { indices: index, updates: x }, { shape: made }, result, shapes, made);
};

export const INDEXING_RULES = { gather, scatterAdd } as const;
