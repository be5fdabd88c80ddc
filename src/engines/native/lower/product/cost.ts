/**
 * Which loops a product becomes. The rule estimates cycles of each form and takes the least:
 *
 * - A step of a tile of r×c vector accumulators costs the largest of its fused multiply-adds (two a cycle), its loads (two
 *   a cycle: c vectors, r splats), the latency of one chain (four cycles), and what a vector operand that exceeds L1 brings
 *   from L2 (two bytes a lane and cycle). Tiles are those that fit the registers: accumulators, the vectors held, one for
 *   what is loaded, and one spare (without it GCC loads what should be held once for each use).
 * - A tile costs some cycles to start, and two a vector stored (one an element if what is stored does not lie along the
 *   lanes). A horizontal sum of four vectors costs ten cycles.
 * - A vector load with a stride costs one and a half load a lane. Copying an operand costs one cycle a vector; transposing
 *   a block of w×w costs w·(log₂w + 1).
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
const L1_BYTES = 24 * 1024;
/** Of a block of a panel. */
const PANEL_BYTES = 20 * 1024;
/** Of a strip of the left operand. */
const STRIP_BYTES = 20 * 1024;
/** A cycle, for each lane of a vector. */
const L2_BYTES = 2;
const LARGEST_TILE = 14;

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
function panelCost(vectors: number, bytes: number): number {
  return bytes > L1_BYTES ? (4 * vectors) / L2_BYTES : 0;
}

function planBroadcast(roles: Roles, target: Target, packing: Packing): ProductPlan {
  const { lanes, registers } = target;
  const { rows, columns, depth, swapped } = roles;
  const vectors = Math.ceil(columns / lanes);
  const load = packing === 'strided' ? 1.5 * lanes : 1;
  const store = roles.resultStride === 1 ? STORE : lanes;

  const tileCycles = (r: number, c: number): number => {
    const step = Math.max((r * c) / 2, (r + c * load) / 2, LATENCY, panelCost(c, 4 * lanes * c * depth));
    return TILE_START + depth * step + r * c * store;
  };
  const strip = stripOf(roles, lanes);
  const columnCycles = (c: number): { rows: number; cycles: number } =>
    cheapest(
      range(1, Math.min(Math.max(strip, 1), LARGEST_TILE))
        .filter((r) => fits(r * c + c, registers))
        .map((r) => {
          const rest = strip % r;
          const cycles = Math.floor(strip / r) * tileCycles(r, c) + (rest > 0 ? tileCycles(rest, c) : 0);
          return { rows: r, cycles: strip === 0 ? 0 : (cycles * rows) / strip };
        }),
    );
  const widest = range(1, Math.min(Math.max(vectors, 1), 8)).filter((c) => fits(c + c, registers));
  const splits = widest.map((c) => {
    const count = Math.floor(vectors / c);
    const rest = vectors % c;
    const groups: ColumnGroup[] = [];
    let cycles = 0;
    for (const [many, wide] of [
      [count, c],
      [1, rest],
    ]) {
      if (many === 0 || wide === 0) continue;
      const best = columnCycles(wide);
      const block = strip < rows ? depth : blockOf(roles, wide * lanes, best.rows);
      groups.push({ count: many, columns: wide, rows: best.rows, block });
      cycles += many * best.cycles;
    }
    return { groups, cycles };
  });
  const { groups, cycles } = cheapest(splits);
  const packed = cycles + packingCost(roles, lanes, packing);
  return { form: 'broadcast', swapped, width: lanes, groups, strip, packing, cycles: packed };
}

/** Blocks of equal size if such there are, else the last one is shorter. */
function blockOf({ rows, depth }: Roles, width: number, tileRows: number): number {
  if (4 * width * depth <= L1_BYTES || rows <= 2 * tileRows) return depth;
  const fewest = Math.ceil((4 * width * depth) / PANEL_BYTES);
  const blocks = range(fewest, fewest + 3).find((count) => depth % count === 0) ?? fewest;
  return Math.ceil(depth / blocks);
}

/**
 * Of two large operands the larger is gone through once. Where that is the left one, strips of it stay in L1 while all of
 * the right one goes by; a number of rows that divides theirs, if there is one that is not small.
 */
function stripOf({ rows, columns, depth }: Roles, lanes: number): number {
  const bytes = 4 * rows * depth;
  if (bytes <= L1_BYTES || rows <= columns || columns <= lanes) return rows;
  const most = Math.floor(STRIP_BYTES / (4 * depth));
  if (most < 2 * LARGEST_TILE) return rows;
  const divisor = range(Math.ceil(most / 2), most)
    .reverse()
    .find((each) => rows % each === 0);
  return divisor ?? most;
}

function packingCost({ columns, depth }: Roles, lanes: number, packing: Packing): number {
  if (packing === 'copy') return depth * Math.ceil(columns / lanes) * 1.5 * lanes;
  if (packing === 'transpose') {
    return Math.ceil(depth / lanes) * Math.ceil(columns / lanes) * lanes * (Math.log2(lanes) + 1);
  }
  return 0;
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
    const step = Math.max((r * c) / 2, (r + c) / 2, LATENCY, panelCost(c, 4 * columns * depth));
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

/** `used`: accumulators and the vectors held. */
function fits(used: number, registers: number): boolean {
  return used + 2 <= registers;
}

function cheapest<T extends { readonly cycles: number }>(candidates: readonly T[]): T {
  return candidates.reduce((best, each) => (each.cycles < best.cycles ? each : best));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
