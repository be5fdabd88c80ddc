/**
 * The broadcast form: columns lie in lanes. A tile of r rows by c vectors is accumulated over k; a step loads c vectors of
 * the right operand and splats r elements of the left one. Tiles of one group of columns follow one another, so that its
 * panel of the right operand stays in the cache; where it would not, k is gone through in blocks, and sums between blocks
 * lie in memory.
 */
import { addIndex, f32, fma, index, loadVector, scaleIndex, shiftIndex } from '../../nest/builder';
import type { Expr, Index, Read } from '../../nest/ir';
import type { Level } from '../../plan/program';
import { elementOf, finishBlock, range, tiles, vectorOf, type Matrix, type ProductContext } from './context';
import { blockRows, LINE, type ColumnGroup, type ProductPlan } from './cost';

/** From so many rows on, a block of a panel is copied to lie densely before they go through it, unless it is a copy. */
const ROWS_WORTH_A_COPY = 32;

/** Bytes of what a tile's epilogue brings in and writes, in all tiles, from which on it is worth asking for early. */
const PREFETCHED_BYTES = 64 * 1024;

type BroadcastPlan = Extract<ProductPlan, { readonly form: 'broadcast' }>;

/** A group of columns: `columns` vectors from `column` on, of which the last has `last` elements. */
interface Panel {
  readonly right: Matrix;
  /** Elements of a vector, or 1 to do without vectors. */
  readonly width: number;
  readonly column: Index;
  readonly columns: number;
  readonly last: number;
  /** Rows of a tile. */
  readonly rows: number;
  /** Steps of k of a block. */
  readonly block: number;
}

/** Rows from `first` on. */
interface Strip {
  readonly first: Index;
  readonly rows: number;
}

/** Memory of a blocked panel; without `copy` it is read where it lies. */
interface Scratch {
  readonly sums: string;
  readonly copy: string | undefined;
}

/** `right`: the right operand, which may have been packed. */
export function broadcastForm(context: ProductContext, plan: BroadcastPlan, right: Matrix): void {
  const { builder, roles } = context;
  const scratch = scratchOf(context, plan, right);
  tiles(builder, roles.rows, plan.strip, 's', (first, rows) => {
    allGroups(context, plan, right, { first, rows }, scratch);
  });
}

function scratchOf(
  { builder, roles, workspace }: ProductContext,
  { groups, width }: BroadcastPlan,
  right: Matrix,
): Scratch | undefined {
  const blocked = groups.filter(({ block }) => block < roles.depth);
  if (blocked.length === 0 || roles.rows === 0) return undefined;
  const most = (of: (group: ColumnGroup) => number): number => Math.max(...blocked.map(of)) * width;
  const copied = roles.rows >= ROWS_WORTH_A_COPY && right.buffer !== workspace;
  return {
    sums: builder.local(
      'f32',
      most(({ columns, rows }) => columns * blockRows(roles.rows, rows)),
      'sums',
    ),
    copy: copied
      ? builder.local(
          'f32',
          most(({ columns, block }) => columns * block),
          'copy',
        )
      : undefined,
  };
}

function allGroups(
  context: ProductContext,
  { groups, width }: BroadcastPlan,
  right: Matrix,
  strip: Strip,
  scratch: Scratch | undefined,
): void {
  const { builder, roles } = context;
  let first = 0;
  groups.forEach(({ count, columns, rows, block }, number) => {
    const wide = columns * width;
    const start = first;
    first += count * wide;
    // The last vector may be a part of one; its group is written by itself.
    const last = number === groups.length - 1 ? roles.columns - (first - width) : width;
    const whole = last === width ? count : count - 1;
    const panel = (column: Index, last: number): void => {
      const of = { right, width, columns, rows, block, column, last };
      aroundRows(context, (here) => {
        if (block < roles.depth && scratch !== undefined) blockedPanel(here, of, strip, scratch);
        else wholePanel(here, of, strip);
      });
    };
    builder.loop(
      whole * wide,
      (column) => {
        panel(shiftIndex(column, start), width);
      },
      { step: wide, prefix: 'n' },
    );
    if (whole < count) panel(index(start + whole * wide), last);
  });
}

/** The loops around the rows, within those over columns: a panel stays in the cache for all of them. */
function aroundRows(context: ProductContext, write: (context: ProductContext) => void, level = 0): void {
  const loop = context.roles.around.at(level);
  if (loop === undefined) {
    write(context);
    return;
  }
  context.builder.loop(
    loop.extent,
    (i) => {
      const left = { ...context.left, origin: addIndex(context.left.origin, scaleIndex(i, loop.stride)) };
      const firstRow = addIndex(context.firstRow, scaleIndex(i, loop.rows));
      aroundRows({ ...context, left, firstRow }, write, level + 1);
    },
    { prefix: 'w' },
  );
}

function wholePanel(context: ProductContext, of: Panel, strip: Strip): void {
  tiles(context.builder, strip.rows, of.rows, 'm', (row, rows) => {
    wholeTile(context, of, addIndex(strip.first, row), rows);
  });
}

function blockedPanel(context: ProductContext, of: Panel, strip: Strip, { sums, copy }: Scratch): void {
  const { builder } = context;
  const { width, columns, column, last } = of;
  const stride = columns * width;
  tiles(builder, strip.rows, blockRows(strip.rows, of.rows), 'o', (origin, height) => {
    const start = addIndex(strip.first, origin);
    builder.loop(
      height * stride,
      (at) => {
        builder.storeVector(sums, 'f32', at, f32(0));
      },
      { step: width, prefix: 'z' },
    );
    overBlocks(context, of, (context, of, steps) => {
      const dense: Panel =
        copy !== undefined
          ? { ...of, right: { buffer: copy, origin: index(0), outer: 1, depth: stride }, column: index(0), last: width }
          : of;
      // The first tile makes the copy on its way: its multiply-adds go on while the panel's lines arrive.
      const ahead = copy === undefined ? 0 : Math.min(of.rows, height);
      if (copy !== undefined) {
        blockTile(context, of, start, ahead, steps, { buffer: sums, origin: index(0), stride }, copy);
      }
      tiles(builder, height - ahead, of.rows, 'm', (offset, rows) => {
        const row = shiftIndex(offset, ahead);
        blockTile(context, dense, addIndex(start, row), rows, steps, { buffer: sums, origin: row, stride });
      });
    });
    finishBlock(context, { buffer: sums, stride }, start, height, column, (columns - 1) * width + last);
  });
}

/** The matrix without what is before `k`. */
function from(matrix: Matrix, k: Index): Matrix {
  return { ...matrix, origin: addIndex(matrix.origin, scaleIndex(k, matrix.depth)) };
}

/** Steps of k that follow one another, as loops from the inmost one outwards; see `Roles.nest`. */
interface Steps {
  readonly count: number;
  /** Loops of the nest that these steps are, if there is a nest. */
  readonly nest: readonly Level[];
}

/** Calls back for each block of k, with operands that begin with it. */
function overBlocks(
  context: ProductContext,
  of: Panel,
  write: (context: ProductContext, of: Panel, steps: Steps) => void,
): void {
  const { builder, roles } = context;
  if (roles.nest.length === 0) {
    tiles(builder, roles.depth, of.block, 'b', (k, count) => {
      const here = { ...context, left: from(context.left, k) };
      write(here, { ...of, right: from(of.right, k) }, { count, nest: [] });
    });
    return;
  }
  overNest(context, of, roles.nest, of.block, (here, panel, nest) => {
    write(here, panel, { count: of.block, nest });
  });
}

/** Goes through outer loops of a nest until what is left of it has `count` steps. `k`: steps gone through before. */
function overNest(
  context: ProductContext,
  of: Panel,
  nest: readonly Level[],
  count: number,
  write: (context: ProductContext, of: Panel, nest: readonly Level[], k: Index) => void,
  k: Index = index(0),
): void {
  const steps = nest.reduce((product, { extent }) => product * extent, 1);
  if (steps <= count) {
    write(context, of, nest, k);
    return;
  }
  const [{ extent, stride }, ...inner] = nest;
  const each = steps / extent;
  context.builder.loop(
    extent,
    (i) => {
      const left = { ...context.left, origin: addIndex(context.left.origin, scaleIndex(i, stride)) };
      const right = from(of.right, scaleIndex(i, each));
      overNest({ ...context, left }, { ...of, right }, inner, count, write, addIndex(k, scaleIndex(i, each)));
    },
    { prefix: 'b' },
  );
}

/** A loop over steps of k, as the nest has them. */
function overSteps(
  context: ProductContext,
  of: Panel,
  { count, nest }: Steps,
  write: (context: ProductContext, of: Panel, k: Index, before: Index) => void,
): void {
  const { builder } = context;
  if (nest.length === 0) {
    builder.loop(
      count,
      (k) => {
        write(context, of, k, index(0));
      },
      { prefix: 'k' },
    );
    return;
  }
  const inmost = nest[nest.length - 1];
  overNest(context, of, nest, inmost.extent, (here, panel, _, before) => {
    const inner = { ...here, left: { ...here.left, depth: inmost.stride } };
    builder.loop(
      inmost.extent,
      (k) => {
        write(inner, panel, k, before);
      },
      { prefix: 'k' },
    );
  });
}

/** All of k, and the epilogue. */
function wholeTile(context: ProductContext, of: Panel, row: Index, rows: number): void {
  const { builder, roles, epilogue, firstRow } = context;
  const { width, columns, column, last } = of;
  const vector = width > 1;
  const sums = range(rows).map(() => range(columns).map(() => builder.var(f32(0), vector ? 'vector' : 'scalar', 'a')));
  const all = (callback: (sum: Read, r: number, c: number) => void): void => {
    sums.forEach((of, r) => {
      of.forEach((sum, c) => {
        callback(sum, r, c);
      });
    });
  };
  const streamed = 4 * roles.rows * roles.columns * epilogue.streams.length;
  if (vector && roles.nest.length === 0 && streamed > PREFETCHED_BYTES && roles.depth >= 2 * rows) {
    // One row of the tile's lines after another, so that the requests do not queue up.
    const steps = Math.floor(roles.depth / rows);
    builder.loop(
      rows,
      (r) => {
        for (let c = 0; c < columns * width; c += LINE)
          epilogue.prefetch(addIndex(firstRow, row, r), shiftIndex(column, c));
        builder.loop(
          steps,
          (k) => {
            step(context, of, row, addIndex(scaleIndex(r, steps), k), sums);
          },
          { prefix: 'k' },
        );
      },
      { prefix: 'p' },
    );
    builder.loop(
      roles.depth - rows * steps,
      (k) => {
        step(context, of, row, shiftIndex(k, rows * steps), sums);
      },
      { prefix: 'k' },
    );
  } else {
    overSteps(context, of, { count: roles.depth, nest: roles.nest }, (here, panel, k) => {
      step(here, panel, row, k, sums);
    });
  }

  if (vector && epilogue.expensive) {
    const buffer = builder.local('f32', rows * columns * width, 'tile');
    all((sum, r, c) => {
      builder.storeVector(buffer, 'f32', index((r * columns + c) * width), sum);
    });
    finishBlock(context, { buffer, stride: columns * width }, row, rows, column, (columns - 1) * width + last);
    return;
  }
  all((sum, r, c) => {
    const count = c === columns - 1 && last < width ? last : undefined;
    const span = vector ? ({ width: 'vector', count } as const) : ({ width: 'scalar' } as const);
    epilogue.store(sum, addIndex(firstRow, shiftIndex(row, r)), shiftIndex(column, c * width), span);
  });
  epilogue.leave();
}

/** Some steps of k, added to sums in memory. Both operands begin with this block; `copy` gets the right one, dense. */
function blockTile(
  context: ProductContext,
  of: Panel,
  row: Index,
  rows: number,
  steps: Steps,
  block: { readonly buffer: string; readonly origin: Index; readonly stride: number },
  copy?: string,
): void {
  const { builder } = context;
  const at = (r: number, c: number): Index =>
    shiftIndex(scaleIndex(block.origin, block.stride), r * block.stride + c * of.width);
  const sums = range(rows).map((r) =>
    range(of.columns).map((c) => builder.var(loadVector(block.buffer, 'f32', at(r, c)), 'vector', 'a')),
  );
  overSteps(context, of, steps, (here, panel, k, before) => {
    step(here, panel, row, k, sums, copy === undefined ? undefined : { buffer: copy, before });
  });
  sums.forEach((row, r) => {
    row.forEach((sum, c) => {
      builder.storeVector(block.buffer, 'f32', at(r, c), sum);
    });
  });
}

/** Adds what one k, and the steps `before` it, contributes to a tile. Of a copy, elements behind the last column are zeros. */
function step(
  context: ProductContext,
  of: Panel,
  row: Index,
  k: Index,
  sums: readonly (readonly Read[])[],
  copy?: { readonly buffer: string; readonly before: Index },
): void {
  const { builder, left } = context;
  const { right, width, column, columns, last } = of;
  const held = range(columns).map((c): Expr => {
    const at = shiftIndex(column, c * width);
    if (width === 1) return builder.let(elementOf(right, at, k), 'b');
    const count = c === columns - 1 && last < width ? last : undefined;
    return builder.let(vectorOf(right, at, k, 'outer', count), 'b', true);
  });
  if (copy !== undefined) {
    held.forEach((vector, c) => {
      const at = scaleIndex(addIndex(copy.before, k), columns * width);
      builder.storeVector(copy.buffer, 'f32', shiftIndex(at, c * width), vector);
    });
  }
  sums.forEach((of, r) => {
    const splat = builder.let(elementOf(left, shiftIndex(row, r), k), 's');
    of.forEach((sum, c) => {
      builder.set(sum, fma(splat, held[c], sum));
    });
  });
}
