/** Copies of the right operand in which the columns lie next to each other. */
import { addIndex, index, scaleIndex } from '../../nest/builder';
import type { Index } from '../../nest/ir';
import { tiles, vectorOf, type Matrix, type ProductContext } from './context';
import type { Packing } from './cost';

/** Elements from one k to the next: whole vectors. */
function packedStride({ roles, target }: ProductContext): number {
  return Math.ceil(roles.columns / target.lanes) * target.lanes;
}

/** Bytes of workspace that `pack` needs. */
export function packedBytes(columns: number, depth: number, lanes: number): number {
  return 4 * depth * Math.ceil(columns / lanes) * lanes;
}

/** Writes the copy; the operand as it is to be read from now on. */
export function pack(context: ProductContext, packing: Packing): Matrix {
  const { builder, roles, right, target, workspace } = context;
  if (packing === 'none' || packing === 'strided') return right;
  const { lanes } = target;
  const stride = packedStride(context);
  const copy: Matrix = { buffer: workspace, origin: index(0), outer: 1, depth: stride };
  tiles(builder, roles.columns, lanes, 'n', (column, columns) => {
    if (packing === 'copy') {
      builder.loop(
        roles.depth,
        (k) => {
          const count = columns < lanes ? columns : undefined;
          const value = builder.let(vectorOf(right, column, k, 'outer', count));
          builder.storeVector(workspace, 'f32', packedAt(stride, column, k), value, { count });
        },
        { prefix: 'k' },
      );
      return;
    }
    tiles(builder, roles.depth, lanes, 'k', (k, depth) => {
      const from = addIndex(right.origin, scaleIndex(column, right.outer), scaleIndex(k, right.depth));
      builder.append({
        kind: 'transpose',
        from: { buffer: right.buffer, index: from, stride: right.outer },
        to: { buffer: workspace, index: packedAt(stride, column, k), stride },
        rows: columns,
        columns: depth,
      });
    });
  });
  return copy;
}

function packedAt(stride: number, column: Index, k: Index): Index {
  return addIndex(column, scaleIndex(k, stride));
}
