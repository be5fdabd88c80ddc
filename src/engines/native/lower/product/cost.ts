/**
 * Which loops a product becomes. The rule estimates cycles of each form and takes the least:
 *
 * - A step of a tile of r×c vector accumulators costs the largest of its fused multiply-adds (two a cycle), its loads (two
 *   a cycle: c vectors, r splats), the latency of one chain (four cycles), and what comes from L2 when the vectors belong to
 *   a panel that exceeds L1. Tiles are those that fit the registers: accumulators, the vectors held, and some to spare for
 *   what is loaded and for numbers that the epilogue keeps (without them compilers spill).
 * - A tile costs some cycles to start, and two a vector stored (one an element if what is stored does not lie along the
 *   lanes). A horizontal sum of four vectors costs ten cycles.
 * - Going through k in blocks costs a load and a store an accumulator and block, and copying the panel, for every
 *   so many rows.
 * - A vector load with a stride costs one and a half load a lane. Copying an operand costs as much; transposing a block of
 *   w×w costs w·(log₂w + 1). If that exceeds L2, what is read and written comes from there.
 * - Without vectors, a multiply-add costs as much as with.
 *
 * The numbers are those of recent x86 cores; they need to rank forms, not to predict times.
 */
import type { Target } from '../../nest/ir';
import { rolesOf, type ProductSpec, type Roles } from './shape';

const LATENCY = 4;
const TILE_START = 12;
const STORE = 2;
const SUM_OF_FOUR = 10;
const STRIDED_LOAD = 1.5;
/** Registers to spare less where the operand is held by order, not by the compiler's choice. */
const HELD = 1;
const L1_BYTES = 24 * 1024;
const L2_BYTES = 256 * 1024;
/** Panels from here on are gone through in blocks of about the second number. */
const BLOCKED_BYTES = 40 * 1024;
const BLOCK_BYTES = 16 * 1024;
/** Elements of a cache line. */
export const LINE = 16;
/** Of a strip of the left operand. */
const STRIP_BYTES = 20 * 1024;
/** Rows of a tile of one vector, and of wider ones: each row is a stream, and a cache has eight places for an address. */
const MOST_ROWS = 14;
const MOST_ROWS_OF_WIDE = 8;

/** Rows whose sums lie in memory between blocks of k: few enough to stay in the cache. */
const ROWS_OF_BLOCK = 128;

/** What L2 gives, bytes a cycle: measured on cores with AVX-512 and with AVX2. */
function bandwidthOf(lanes: number): number {
  return lanes === 16 ? 48 : 10;
}

/** How the right operand gets into lanes: as it lies, by strided loads, or from a copy. */
export type Packing = 'none' | 'strided' | 'copy' | 'transpose';

/** A tile's extents: rows, and vectors (columns, for the dot form). */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

export type ProductPlan =
  /** Columns lie in lanes; elements of the left operand are splat. `width` 1: no vectors. */
  | {
      readonly form: 'broadcast';
      readonly swapped: boolean;
      readonly width: number;
      readonly groups: readonly ColumnGroup[];
      /** Rows that all groups go through before the next rows have their turn; all, or so many that they stay in L1. */
      readonly strip: number;
      readonly packing: Packing;
      readonly cycles: number;
    }
  /** k lies in lanes; sums over them at the end. */
  | { readonly form: 'dot'; readonly swapped: boolean; readonly tile: Tile; readonly cycles: number };

interface Split {
  readonly groups: readonly ColumnGroup[];
  readonly cycles: number;
}

/** `count` neighbouring groups of `columns` vectors each, gone through in tiles of `rows`. */
export interface ColumnGroup {
  readonly count: number;
  readonly columns: number;
  readonly rows: number;
  /** Steps of k after which the next tile has its turn; all, or so many that the group's panel stays in L1. */
  readonly block: number;
}

/** Plans of every form that the strides allow, both ways round. */
export function productPlans(spec: ProductSpec, target: Target): readonly ProductPlan[] {
  if (spec.levels !== undefined) {
    const roles = rolesOf(spec, false);
    return packings(roles, spec.packing ?? true).map((packing) => planBroadcast(roles, target, packing));
  }
  return [false, true].flatMap((swapped) => {
    const roles = rolesOf(spec, swapped);
    const broadcasts = packings(roles, spec.packing ?? true).map((packing) => planBroadcast(roles, target, packing));
    const dots = roles.left.depth === 1 && roles.right.depth === 1 ? [planDot(roles, target)] : [];
    return [...broadcasts, ...dots, planScalar(roles, target)];
  });
}

/** The cheapest plan. */
export function planProduct(spec: ProductSpec, target: Target): ProductPlan {
  return cheapest(productPlans(spec, target));
}

/** Estimated cycles of all products of the batch, in the cheapest form. */
export function productCost(spec: ProductSpec, target: Target): number {
  return spec.batch * planProduct(spec, target).cycles;
}

function packings({ right }: Roles, allowed: boolean): Packing[] {
  if (right.outer === 1) return ['none'];
  if (!allowed) return ['strided'];
  return right.depth === 1 ? ['strided', 'transpose'] : ['strided', 'copy'];
}

/** Cycles of a step for bringing that many vectors, if what they are part of is so large. */
function panelCost(vectors: number, lanes: number, bytes: number): number {
  return bytes > L1_BYTES ? (4 * vectors * lanes) / bandwidthOf(lanes) : 0;
}

/** Rows whose sums are kept between blocks of k: whole tiles. */
export function blockRows(rows: number, tile: number): number {
  return Math.min(rows, Math.max(1, Math.floor(ROWS_OF_BLOCK / tile)) * tile);
}

function planBroadcast(roles: Roles, target: Target, packing: Packing): ProductPlan {
  const { lanes, registers } = target;
  const { rows, columns, depth, swapped } = roles;
  const vectors = Math.ceil(columns / lanes);
  const load = packing === 'strided' ? STRIDED_LOAD * lanes : 1;
  const store = roles.resultStride === 1 ? STORE : lanes;
  const strip = stripOf(roles, lanes);

  /** All tiles of one group of columns, which are `c` vectors, with `r` rows to a tile. */
  const groupCost = (r: number, c: number): { rows: number; block: number; cycles: number } => {
    const bytes = 4 * c * lanes * depth;
    const block =
      strip < rows || rows <= 2 * r ? depth : roles.nest.length > 0 ? blockOfNest(roles, bytes) : blockOf(depth, bytes);
    const blocks = Math.ceil(depth / Math.max(1, block));
    const panel = blocks > 1 ? 0 : panelCost(c, lanes, bytes);
    const tile = (height: number): number => {
      if (height === 0) return 0;
      const step = Math.max((height * c) / 2, (height + c * load) / 2, LATENCY, panel);
      const between = blocks > 1 ? blocks * height * c * STORE : 0;
      return blocks * TILE_START + depth * step + between + height * c * store;
    };
    const copies = blocks > 1 ? depth * c * load * Math.ceil(rows / blockRows(rows, r)) : 0;
    const strips = strip === 0 ? 0 : rows / strip;
    return { rows: r, block, cycles: copies + strips * (Math.floor(strip / r) * tile(r) + tile(strip % r)) };
  };
  const bestRows = (c: number): ReturnType<typeof groupCost> =>
    cheapest(
      range(1, Math.min(Math.max(strip, 1), c === 1 ? Math.min(MOST_ROWS, registers - 3) : MOST_ROWS_OF_WIDE))
        .filter((r) => fits(r * c + c - HELD, registers))
        .map((r) => groupCost(r, c)),
    );
  const widest = range(1, Math.min(Math.max(vectors, 1), 8)).filter((c) => fits(c + c, registers));
  const split = (parts: readonly (readonly [count: number, columns: number])[]): Split => {
    const groups: ColumnGroup[] = [];
    let cycles = 0;
    for (const [many, wide] of parts) {
      if (many === 0 || wide === 0) continue;
      const best = bestRows(wide);
      groups.push({ count: many, columns: wide, rows: best.rows, block: best.block });
      cycles += many * best.cycles;
    }
    return { groups, cycles };
  };
  const splits = widest.flatMap((c) => {
    const count = Math.floor(vectors / c);
    const rest = vectors % c;
    const narrow = split([
      [count, c],
      [1, rest],
    ]);
    // What is left over may join the last group.
    return rest === 0 || count === 0 || !widest.includes(c + rest)
      ? [narrow]
      : [
          narrow,
          split([
            [count - 1, c],
            [1, c + rest],
          ]),
        ];
  });
  const { groups, cycles } = cheapest(splits);
  const rounds = roles.around.reduce((product, { extent }) => product * extent, 1);
  const packed = rounds * cycles + packingCost(roles, lanes, packing);
  return { form: 'broadcast', swapped, width: lanes, groups, strip, packing, cycles: packed };
}

/** Steps of k of a block of a panel of so many bytes: equal ones if such there are, else the last one is shorter. */
function blockOf(depth: number, bytes: number): number {
  if (bytes <= BLOCKED_BYTES) return depth;
  const fewest = Math.ceil(bytes / BLOCK_BYTES);
  const blocks = range(fewest, fewest + 3).find((count) => depth % count === 0) ?? fewest;
  return Math.ceil(depth / blocks);
}

/** The same where k is several loops: all rounds of the inner ones, as many of these as a block may be long. */
function blockOfNest({ depth, nest }: Roles, bytes: number): number {
  if (bytes <= BLOCKED_BYTES) return depth;
  const most = (depth * BLOCKED_BYTES) / bytes;
  let block = nest[nest.length - 1].extent;
  for (const { extent } of nest.slice(0, -1).reverse()) {
    if (block * extent > most) break;
    block *= extent;
  }
  return block;
}

/**
 * Of two large operands the larger is gone through once. Where that is the left one, strips of it stay in L1 while all of
 * the right one goes by; a number of rows that divides theirs, if there is one that is not small, or else fills cache lines.
 */
function stripOf({ rows, columns, depth, left, nest, around }: Roles, lanes: number): number {
  const bytes = 4 * rows * depth;
  if (nest.length > 0 || around.length > 0) return rows;
  if (bytes <= L1_BYTES || rows <= columns || columns <= lanes) return rows;
  const most = Math.floor(STRIP_BYTES / (4 * depth));
  if (most < 2 * MOST_ROWS) return rows;
  // Neighbouring rows share cache lines: whole ones.
  if (left.outer === 1 && left.depth !== 1) return Math.floor(most / LINE) * LINE;
  const divisor = range(Math.ceil(most / 2), most)
    .reverse()
    .find((each) => rows % each === 0);
  return divisor ?? most;
}

function packingCost({ columns, depth }: Roles, lanes: number, packing: Packing): number {
  if (packing === 'none' || packing === 'strided') return 0;
  const vectors = Math.ceil(columns / lanes);
  const bytes = 8 * columns * depth;
  const moved = bytes > L2_BYTES ? bytes / bandwidthOf(lanes) : 0;
  return packing === 'copy'
    ? moved + depth * vectors * STRIDED_LOAD * lanes
    : moved + Math.ceil(depth / lanes) * vectors * lanes * (Math.log2(lanes) + 1);
}

function planScalar(roles: Roles, target: Target): ProductPlan {
  const { rows, columns, depth, swapped } = roles;
  const tiles = range(1, Math.min(Math.max(columns, 1), 4)).map((c) => {
    const r = Math.max(1, Math.min(rows, Math.floor((target.registers - 1 - c) / c), 4));
    const step = Math.max((r * c) / 2, (r + c) / 2, LATENCY);
    const cycles = Math.ceil(rows / r) * Math.ceil(columns / c) * (TILE_START + depth * step + r * c * STORE);
    const groups: ColumnGroup[] = [{ count: Math.floor(columns / c), columns: c, rows: r, block: depth }];
    if (columns % c > 0) groups.push({ count: 1, columns: columns % c, rows: r, block: depth });
    return { groups: groups.filter(({ count }) => count > 0), cycles };
  });
  const { groups, cycles } = cheapest(tiles);
  return { form: 'broadcast', swapped, width: 1, groups, strip: rows, packing: 'none', cycles };
}

function planDot(roles: Roles, target: Target): ProductPlan {
  const { lanes, registers } = target;
  const { rows, columns, depth, swapped } = roles;
  const steps = Math.ceil(depth / lanes);
  const tileCycles = (r: number, c: number): number => {
    const step = Math.max((r * c) / 2, (r + c) / 2, LATENCY, panelCost(c, lanes, 4 * columns * depth));
    return TILE_START + steps * step + r * Math.ceil(c / 4) * SUM_OF_FOUR;
  };
  const store = roles.resultStride === 1 ? STORE : lanes;
  const tiles: { tile: Tile; cycles: number }[] = [];
  for (const r of range(1, Math.min(Math.max(rows, 1), 8))) {
    for (const c of range(1, Math.min(Math.max(columns, 1), 8))) {
      if (!fits(r * c + Math.min(r, c), registers)) continue;
      let cycles = rows * Math.ceil(columns / lanes) * store;
      for (const [rowTiles, high] of [
        [Math.floor(rows / r), r],
        [1, rows % r],
      ]) {
        for (const [columnTiles, wide] of [
          [Math.floor(columns / c), c],
          [1, columns % c],
        ]) {
          if (high > 0 && wide > 0) cycles += rowTiles * columnTiles * tileCycles(high, wide);
        }
      }
      tiles.push({ tile: { rows: r, columns: c }, cycles });
    }
  }
  return { form: 'dot', swapped, ...cheapest(tiles) };
}

/** `used`: accumulators and the vectors that each step begins with. */
function fits(used: number, registers: number): boolean {
  return used + registers / 8 <= registers;
}

function cheapest<T extends { readonly cycles: number }>(candidates: readonly T[]): T {
  return candidates.reduce((best, each) => (each.cycles < best.cycles ? each : best));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
