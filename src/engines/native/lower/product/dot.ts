/**
 * The dot form: k lies in lanes. A tile of r rows by c columns has one vector accumulator an element, summed over the lanes
 * at the end, four at once. Sums of a strip of rows go to memory, and the epilogue runs over them with the columns in
 * lanes.
 */
import { f32, fma, index, shiftIndex, addIndex } from '../../nest/builder';
import type { Index } from '../../nest/ir';
import { finishBlock, tiles, vectorOf, type ProductContext } from './context';
import type { Tile } from './cost';

export function dotForm(context: ProductContext, tile: Tile): void {
  const { builder, roles, target } = context;
  const stride = Math.ceil(roles.columns / target.lanes) * target.lanes;
  if (stride === 0 || roles.rows === 0) return;
  const strip = builder.local('f32', Math.min(tile.rows, roles.rows) * stride, 'strip');
  tiles(
    builder,
    roles.rows,
    tile.rows,
    (row, rows) => {
      tiles(
        builder,
        roles.columns,
        tile.columns,
        (column, columns) => {
          sumTile(context, row, rows, column, columns, { buffer: strip, stride });
        },
        'n',
      );
      finishBlock(context, { buffer: strip, stride }, row, rows, index(0), roles.columns);
    },
    'm',
  );
}

function sumTile(
  { builder, roles, target, left, right }: ProductContext,
  row: Index,
  rows: number,
  column: Index,
  columns: number,
  strip: { readonly buffer: string; readonly stride: number },
): void {
  const { lanes } = target;
  const sums = range(rows).map(() => range(columns).map(() => builder.var(f32(0), 'vector', 'a')));
  const step = (k: Index, count?: number): void => {
    const rowVector = (r: number) => builder.let(vectorOf(left, shiftIndex(row, r), k, 'depth', count), 'p');
    const columnVector = (c: number) => builder.let(vectorOf(right, shiftIndex(column, c), k, 'depth', count), 'q');
    const add = (r: number, c: number, x: ReturnType<typeof rowVector>, y: typeof x) => {
      builder.set(sums[r][c], fma(x, y, sums[r][c]));
    };
    // The side with fewer vectors is held in registers.
    if (columns <= rows) {
      const held = range(columns).map(columnVector);
      for (const r of range(rows)) {
        const x = rowVector(r);
        held.forEach((y, c) => {
          add(r, c, x, y);
        });
      }
    } else {
      const held = range(rows).map(rowVector);
      for (const c of range(columns)) {
        const y = columnVector(c);
        held.forEach((x, r) => {
          add(r, c, x, y);
        });
      }
    }
  };
  const rest = roles.depth % lanes;
  builder.loop(
    roles.depth - rest,
    (k) => {
      step(k);
    },
    { step: lanes, prefix: 'k' },
  );
  if (rest > 0) step(index(roles.depth - rest), rest);
  for (const r of range(rows)) {
    for (let c = 0; c < columns; c += 4) {
      const parts = sums[r].slice(c, c + 4);
      const at = addIndex(index(r * strip.stride + c), column);
      const count = parts.length < lanes ? parts.length : undefined;
      builder.storeVector(strip.buffer, 'f32', at, { kind: 'sums', parts }, { count });
    }
  }
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
