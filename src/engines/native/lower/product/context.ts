/** What the forms of a product share: the builder, addresses of the operands, blocks of results. */
import { addIndex, index, loadScalar, loadVector, scaleIndex, type NestBuilder } from '../../nest/builder';
import type { Expr, Index, Target } from '../../nest/ir';
import type { ProductEpilogue } from './epilogue';
import type { Roles } from './shape';

/** A matrix in a buffer; element (outer, depth) at origin + outer·strides.outer + depth·strides.depth. */
export interface Matrix {
  readonly buffer: string;
  readonly origin: Index;
  readonly outer: number;
  readonly depth: number;
}

export interface ProductContext {
  readonly builder: NestBuilder;
  readonly target: Target;
  readonly roles: Roles;
  readonly left: Matrix;
  readonly right: Matrix;
  readonly epilogue: ProductEpilogue;
  /** The result's row that row 0 of the left operand is. */
  readonly firstRow: Index;
  /** Bytes of the workspace that a form uses, and its buffer's name. */
  readonly workspace: string;
}

export function elementOf({ buffer, origin, outer, depth }: Matrix, row: Index, k: Index): Expr {
  return loadScalar(buffer, 'f32', addIndex(origin, scaleIndex(row, outer), scaleIndex(k, depth)));
}

/** A vector along the outer axis, or along k. */
export function vectorOf(matrix: Matrix, outer: Index, k: Index, along: 'outer' | 'depth', count?: number): Expr {
  const { buffer, origin } = matrix;
  const at = addIndex(origin, scaleIndex(outer, matrix.outer), scaleIndex(k, matrix.depth));
  return loadVector(buffer, 'f32', at, { stride: matrix[along], count });
}

/** Calls back for each full tile, in a loop, and for what remains. */
export function tiles(
  builder: NestBuilder,
  extent: number,
  size: number,
  prefix: string,
  write: (first: Index, size: number) => void,
): void {
  if (extent === 0) return;
  const full = Math.floor(extent / size);
  builder.loop(
    full * size,
    (first) => {
      write(first, size);
    },
    { step: size, prefix },
  );
  if (extent % size > 0) write(index(full * size), extent % size);
}

/**
 * Runs the epilogue over a block of raw results in memory, a vector at a time: of `rows` rows from `row` on, `columns`
 * elements each from `column` on; the block's rows lie `stride` elements apart.
 */
export function finishBlock(
  { builder, target, epilogue, firstRow }: ProductContext,
  block: { readonly buffer: string; readonly stride: number },
  row: Index,
  rows: number,
  column: Index,
  columns: number,
): void {
  const { lanes } = target;
  const rest = columns % lanes;
  builder.loop(
    rows,
    (r) => {
      const at = scaleIndex(r, block.stride);
      const vector = (c: Index, count?: number): void => {
        const raw = builder.let(loadVector(block.buffer, 'f32', addIndex(at, c), { count }));
        epilogue.store(raw, addIndex(firstRow, row, r), addIndex(column, c), { width: 'vector', count });
        epilogue.leave();
      };
      builder.loop(columns - rest, vector, { step: lanes, prefix: 'c' });
      if (rest > 0) vector(index(columns - rest), rest);
    },
    { prefix: 'r' },
  );
}

export function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
