/**
 * The dot form: k lies in lanes. A tile of r rows by c columns has one vector accumulator an element, summed over the lanes
 * at the end, four at once. Sums of a strip of rows go to memory, and the epilogue runs over them with the columns in
 * lanes.
 */
import { f32, fma, index, shiftIndex, addIndex } from '../../nest/builder';
import type { Index } from '../../nest/ir';
import { finishBlock, range, tiles, vectorOf, type ProductContext } from './context';
import type { Tile } from './cost';

/** Columns of a strip, about: it stays in L1. */
const COLUMNS_OF_STRIP = 1024;

export function dotForm(context: ProductContext, tile: Tile): void {
  const { builder, roles, target } = context;
  const unit = tile.columns * target.lanes;
  const widest = Math.max(1, Math.floor(COLUMNS_OF_STRIP / unit)) * unit;
  tiles(builder, roles.columns, Math.min(roles.columns, widest), 'o', (start, wide) => {
    const stride = Math.ceil(wide / target.lanes) * target.lanes;
    const buffer = builder.local('f32', Math.min(tile.rows, roles.rows) * stride, 'strip');
    tiles(builder, roles.rows, tile.rows, 'm', (row, rows) => {
      tiles(builder, wide, tile.columns, 'n', (column, columns) => {
        sumTile(context, row, rows, { start, column }, columns, { buffer, stride });
      });
      finishBlock(context, { buffer, stride }, row, rows, start, wide);
    });
  });
}

function sumTile(
  { builder, roles, target, left, right }: ProductContext,
  row: Index,
  rows: number,
  { start, column }: { readonly start: Index; readonly column: Index },
  columns: number,
  strip: { readonly buffer: string; readonly stride: number },
): void {
  const { lanes } = target;
  const sums = range(rows).map(() => range(columns).map(() => builder.var(f32(0), 'vector', 'a')));
  const step = (k: Index, count?: number): void => {
    const rowVector = (r: number) => builder.let(vectorOf(left, shiftIndex(row, r), k, 'depth', count), 'p');
    const first = addIndex(start, column);
    const columnVector = (c: number) => builder.let(vectorOf(right, shiftIndex(first, c), k, 'depth', count), 'q');
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
