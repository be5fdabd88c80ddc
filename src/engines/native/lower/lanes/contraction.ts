/**
 * Products that sum over the rows: of two values of every row, [m] and [n], their outer product [m, n]. What a weight's
 * gradient is made of. A tile's rows lie in lanes; one of the two is transposed, so that its columns do, and elements of
 * the other are splat. A tile's sums are made in registers and added to sums in memory that last for the whole kernel.
 */
import { index as indexOf, scaleIndex, addIndex, shiftIndex, variableIndex } from '../../nest/builder';
import type { Expr, Index, Statement, Target } from '../../nest/ir';
import type { Names } from '../../nest/names';
import type { Layout } from '../../plan/program';
import type { Ref } from './dag';
import type { Evaluator } from './evaluate';
import type { Home } from './home';

/** Vectors of columns that one pass over the rows adds up, at most. */
const ABREAST = 2;

const ZERO: Expr = { kind: 'literal', type: 'f32', value: 0 };

/** A row's values in the per-row graph. */
export interface Pair {
  readonly left: number;
  readonly right: number;
}

/** Declares a buffer of whole vectors and sets it to zero. */
export function zeroed(names: Names, buffer: string, length: number, lanes: number): readonly Statement[] {
  const variable = names.fresh('i');
  const index = variableIndex(variable);
  const body: Statement[] = [{ kind: 'store', buffer, memory: 'f32', index, value: ZERO, width: 'vector' }];
  return [
    { kind: 'local', buffer, memory: 'f32', length },
    { kind: 'loop', variable, extent: length, step: lanes, body },
  ];
}

export class Contraction {
  /** Columns of the splat operand, and of the one in lanes. */
  private readonly splats: number;
  private readonly columns: number;
  /** Whether the left operand is the one in lanes. */
  private readonly swapped: boolean;
  private readonly sums: string;
  private readonly stride: number;

  /** @param shape of the result */
  constructor(
    private readonly names: Names,
    private readonly target: Target,
    shape: readonly number[],
    private readonly layout: Layout,
    private readonly buffer: string,
  ) {
    const { lanes } = target;
    const [m, n] = shape;
    const waste = (extent: number): number => (Math.ceil(extent / lanes) * lanes) / extent;
    this.swapped = waste(m) < waste(n);
    [this.splats, this.columns] = this.swapped ? [n, m] : [m, n];
    this.stride = Math.ceil(this.columns / lanes) * lanes;
    this.sums = names.fresh('sums');
  }

  /** Declares the sums and sets them to zero. */
  open(): readonly Statement[] {
    return zeroed(this.names, this.sums, this.splats * this.stride, this.target.lanes);
  }

  /** Whether a transposed tile has columns that nothing is written to. */
  get ragged(): boolean {
    return this.stride > this.columns;
  }

  /** Numbers of a transposed tile of `span` rows. */
  transposedLength(span: number): number {
    return span * this.stride;
  }

  /** Adds what the tile's first `rows` rows come to. `transposed`: memory for one of the operands. */
  add(evaluator: Evaluator, { left, right }: Pair, rows: number, transposed: string): Ref {
    const { dag, tiles } = evaluator;
    const [splat, vector] = (this.swapped ? [right, left] : [left, right]).map((id) => tiles.home(id));
    return dag.effect([...splat.after, ...vector.after], () => [
      ...this.transpose(vector, dag.span, rows, transposed),
      ...this.multiply(splat, dag.span, rows, transposed),
    ]);
  }

  private transpose({ buffer, varying }: Home, span: number, rows: number, to: string): readonly Statement[] {
    const { lanes } = this.target;
    if (!varying) {
      // All rows are alike.
      const [row, column] = [this.names.fresh('r'), this.names.fresh('i')];
      const value: Expr = { kind: 'load', buffer, memory: 'f32', index: variableIndex(column), width: 'scalar' };
      const index = addIndex(scaleIndex(variableIndex(row), this.stride), variableIndex(column));
      const copy: Statement = { kind: 'store', buffer: to, memory: 'f32', index, value, width: 'scalar' };
      const inner: Statement = { kind: 'loop', variable: column, extent: this.columns, step: 1, body: [copy] };
      return [{ kind: 'loop', variable: row, extent: rows, step: 1, body: [inner] }];
    }
    const statements: Statement[] = [];
    for (let row = 0; row < rows; row += lanes) {
      const block = (column: Index, count: number): Statement => ({
        kind: 'transpose',
        from: { buffer, index: shiftIndex(scaleIndex(column, span), row), stride: span },
        to: { buffer: to, index: shiftIndex(column, row * this.stride), stride: this.stride },
        rows: count,
        columns: Math.min(lanes, rows - row),
      });
      const whole = this.columns - (this.columns % lanes);
      const variable = this.names.fresh('i');
      if (whole > 0) {
        const body = [block(variableIndex(variable), lanes)];
        statements.push({ kind: 'loop', variable, extent: whole, step: lanes, body });
      }
      if (whole < this.columns) statements.push(block(indexOf(whole), this.columns - whole));
    }
    return statements;
  }

  private multiply({ buffer, varying }: Home, span: number, rows: number, transposed: string): readonly Statement[] {
    const { lanes, registers } = this.target;
    const statements: Statement[] = [];
    for (let first = 0; first < this.stride; first += ABREAST * lanes) {
      const vectors = Math.min(ABREAST, (this.stride - first) / lanes);
      const most = Math.floor((registers - vectors - 1) / vectors);
      // Blocks of two sizes that differ by one: a last block of few sums would wait for its own.
      const blocks = Math.ceil(this.splats / most);
      const block = Math.floor(this.splats / blocks);
      const larger = this.splats - blocks * block;
      const run = (start: number, count: number, extent: number): void => {
        if (count === 0) return;
        const variable = this.names.fresh('i');
        const at = shiftIndex(variableIndex(variable), start);
        const body = this.block({ buffer, varying, span, rows, transposed }, at, extent, first, vectors);
        statements.push({ kind: 'loop', variable, extent: count * extent, step: extent, body });
      };
      run(0, larger, block + 1);
      run(larger * (block + 1), blocks - larger, block);
    }
    return statements;
  }

  /** `extent` elements of the splat operand by some vectors of the other, over all rows. */
  private block(
    tile: {
      readonly buffer: string;
      readonly varying: boolean;
      readonly span: number;
      readonly rows: number;
      readonly transposed: string;
    },
    at: Index,
    extent: number,
    first: number,
    vectors: number,
  ): readonly Statement[] {
    const { lanes } = this.target;
    const each = Array.from({ length: vectors }, (_, c) => c);
    const sums = Array.from({ length: extent }, () => each.map(() => this.names.fresh('a')));
    const open = sums.flat().map((name): Statement => ({ kind: 'var', name, value: ZERO, width: 'vector' }));
    const row = this.names.fresh('r');
    const held = each.map(() => this.names.fresh('b'));
    const body: Statement[] = each.map((c) => {
      const index = shiftIndex(scaleIndex(variableIndex(row), this.stride), first + c * lanes);
      const value: Expr = { kind: 'load', buffer: tile.transposed, memory: 'f32', index, width: 'vector' };
      return { kind: 'let', name: held[c], value, hold: true };
    });
    sums.forEach((names, i) => {
      const splat = this.names.fresh('s');
      const place = shiftIndex(at, i);
      const index = tile.varying ? addIndex(scaleIndex(place, tile.span), variableIndex(row)) : place;
      body.push({
        kind: 'let',
        name: splat,
        value: { kind: 'load', buffer: tile.buffer, memory: 'f32', index, width: 'scalar' },
      });
      names.forEach((name, c) => {
        const a: Expr = { kind: 'read', name: splat, type: 'f32', width: 'scalar' };
        const b: Expr = { kind: 'read', name: held[c], type: 'f32', width: 'vector' };
        const sum: Expr = { kind: 'read', name, type: 'f32', width: 'vector' };
        body.push({ kind: 'set', name, value: { kind: 'fma', a, b, c: sum } });
      });
    });
    const close = sums.flatMap((names, i) =>
      names.map((name, c): Statement => {
        const index = shiftIndex(scaleIndex(shiftIndex(at, i), this.stride), first + c * lanes);
        const before: Expr = { kind: 'load', buffer: this.sums, memory: 'f32', index, width: 'vector' };
        const sum: Expr = { kind: 'read', name, type: 'f32', width: 'vector' };
        const value: Expr = { kind: 'binary', op: 'add', a: before, b: sum };
        return { kind: 'store', buffer: this.sums, memory: 'f32', index, value, width: 'vector' };
      }),
    );
    return [...open, { kind: 'loop', variable: row, extent: tile.rows, step: 1, body }, ...close];
  }

  /** Writes the sums where they belong. */
  close(): readonly Statement[] {
    const { lanes } = this.target;
    const [across, along] = this.swapped ? [...this.layout.strides].reverse() : this.layout.strides;
    const variable = this.names.fresh('i');
    const body: Statement[] = [];
    for (let first = 0; first < this.columns; first += lanes) {
      const left = this.columns - first;
      const from = shiftIndex(scaleIndex(variableIndex(variable), this.stride), first);
      body.push({
        kind: 'store',
        buffer: this.buffer,
        memory: 'f32',
        index: shiftIndex(scaleIndex(variableIndex(variable), across), first * along),
        value: { kind: 'load', buffer: this.sums, memory: 'f32', index: from, width: 'vector' },
        width: 'vector',
        ...(along !== 1 && { stride: along }),
        ...(left < lanes && { count: left }),
      });
    }
    return [{ kind: 'loop', variable, extent: this.splats, step: 1, body }];
  }
}
