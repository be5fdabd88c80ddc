/**
 * The broadcast form: columns lie in lanes. A tile of r rows by c vectors is accumulated over k; a step loads c vectors of
 * the right operand and splats r elements of the left one. Tiles of one group of columns follow one another, so that its
 * panel of the right operand stays in the cache.
 */
import { f32, fma, index, shiftIndex } from '../../nest/builder';
import type { Expr, Index, Read } from '../../nest/ir';
import { elementOf, finishBlock, tiles, vectorOf, type Matrix, type ProductContext } from './context';
import type { ColumnGroup } from './cost';

/** `width`: elements of a vector, or 1 to do without vectors. The right operand may have been packed. */
export function broadcastForm(
  context: ProductContext,
  groups: readonly ColumnGroup[],
  width: number,
  right: Matrix,
): void {
  const { builder, roles } = context;
  let first = 0;
  groups.forEach(({ count, columns, rows }, number) => {
    const wide = columns * width;
    const start = first;
    first += count * wide;
    // The last vector may be a part of one; its group is written by itself.
    const rest = number === groups.length - 1 ? roles.columns - (first - width) : width;
    const whole = rest === width ? count : count - 1;
    builder.loop(
      whole * wide,
      (column) => {
        panel(context, right, width, shiftIndex(column, start), columns, rows, width);
      },
      { step: wide, prefix: 'n' },
    );
    if (whole < count) panel(context, right, width, index(start + whole * wide), columns, rows, rest);
  });
}

/** One group of columns, all rows. `last`: elements of the last vector. */
function panel(
  context: ProductContext,
  right: Matrix,
  width: number,
  column: Index,
  columns: number,
  rows: number,
  last: number,
): void {
  tiles(
    context.builder,
    context.roles.rows,
    rows,
    (row, high) => {
      tile(context, right, width, row, high, column, columns, last);
    },
    'm',
  );
}

function tile(
  context: ProductContext,
  right: Matrix,
  width: number,
  row: Index,
  rows: number,
  column: Index,
  columns: number,
  last: number,
): void {
  const { builder, roles, left, epilogue } = context;
  const vector = width > 1;
  const sums = matrix(rows, columns, () => builder.var(f32(0), vector ? 'vector' : 'scalar', 'a'));
  builder.loop(
    roles.depth,
    (k) => {
      const held = range(columns).map((c): Expr => {
        const at = shiftIndex(column, c * width);
        if (!vector) return builder.let(elementOf(right, at, k), 'b');
        return builder.let(vectorOf(right, at, k, 'outer', c === columns - 1 ? partial(last, width) : undefined), 'b');
      });
      for (const r of range(rows)) {
        const splat = builder.let(elementOf(left, shiftIndex(row, r), k), 's');
        range(columns).forEach((c) => {
          builder.set(sums[r][c], fma(splat, held[c], sums[r][c]));
        });
      }
    },
    { prefix: 'k' },
  );

  if (vector && epilogue.expensive) {
    const block = builder.local('f32', rows * columns * width, 'tile');
    sums.forEach((of, r) => {
      of.forEach((sum, c) => {
        builder.storeVector(block, 'f32', index((r * columns + c) * width), sum);
      });
    });
    finishBlock(context, { buffer: block, stride: columns * width }, row, rows, column, (columns - 1) * width + last);
    return;
  }
  sums.forEach((of, r) => {
    of.forEach((sum, c) => {
      const count = vector && c === columns - 1 ? partial(last, width) : undefined;
      epilogue.store(sum, shiftIndex(row, r), shiftIndex(column, c * width), {
        width: vector ? 'vector' : 'scalar',
        count,
      });
    });
  });
  epilogue.leave();
}

function partial(elements: number, width: number): number | undefined {
  return elements === width ? undefined : elements;
}

function matrix(rows: number, columns: number, make: () => Read): Read[][] {
  return range(rows).map(() => range(columns).map(make));
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
