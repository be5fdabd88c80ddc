/** What a product fragment multiplies: extents and strides, and the two ways of calling its axes rows and columns. */
import { GraphError } from '../../../../contracts';
import { sizeOf, type ValueId } from '../../../../graph/ir';
import type { Layout, Level } from '../../plan/program';
import type { Fragment } from '../fragment';

/**
 * One product of a batch and its strides, in elements: result [m,n] = Σ_k a[m,k]·b[k,n], whatever the flags say. Strides
 * of an axis of extent 1 say nothing.
 */
export interface ProductSpec {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: { readonly m: number; readonly k: number };
  readonly b: { readonly k: number; readonly n: number };
  readonly result: { readonly m: number; readonly n: number };
  /** Of a left operand whose axes are loops: along m and along k. */
  readonly levels?: Levels;
  /** Whether an operand may be copied into a workspace first. Yes unless told. */
  readonly packing?: boolean;
}

export interface Levels {
  readonly m: readonly Level[];
  readonly k: readonly Level[];
}

/** Loops by axis of the matrix as it is stored, as loops along m and k. */
export function levelsOf([first, second]: readonly (readonly Level[])[], transposed: boolean): Levels {
  return transposed ? { m: second, k: first } : { m: first, k: second };
}

/**
 * The product with its axes as rows and columns. Columns are what lies in lanes, or what the lanes are summed into.
 * `left` has the rows, `right` the columns; `outer` is their stride along that axis, `depth` along k.
 */
export interface Roles {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly left: { readonly outer: number; readonly depth: number };
  readonly right: { readonly outer: number; readonly depth: number };
  /** The stride along the columns of what is stored. */
  readonly resultStride: number;
  /** Rows are n and columns m. */
  readonly swapped: boolean;
  /** Loops around the rows: of the left operand and of the result's rows. */
  readonly around: readonly RowLoop[];
  /** k as loops, outer ones first, if it is more than one: extents, and the left operand's strides. */
  readonly nest: readonly Level[];
}

export interface RowLoop extends Level {
  /** Rows of the result from one round to the next. */
  readonly rows: number;
}

export function rolesOf(spec: ProductSpec, swapped: boolean): Roles {
  const { n, k } = spec;
  const rows = spec.levels?.m ?? [];
  // Along m only the inmost loop is the product's own.
  const m = rows.at(-1)?.extent ?? spec.m;
  const nest = spec.levels === undefined || spec.levels.k.length < 2 ? [] : spec.levels.k;
  const around = rows.slice(0, -1).map((level, i) => ({
    ...level,
    rows: rows.slice(i + 1).reduce((product, { extent }) => product * extent, 1),
  }));
  const stride = (extent: number, of: number): number => (extent <= 1 ? 1 : of);
  const a = { outer: stride(m, spec.a.m), depth: stride(k, spec.a.k) };
  const b = { outer: stride(n, spec.b.n), depth: stride(k, spec.b.k) };
  return swapped
    ? {
        rows: n,
        columns: m,
        depth: k,
        left: b,
        right: a,
        resultStride: stride(m, spec.result.m),
        swapped,
        around,
        nest,
      }
    : {
        rows: m,
        columns: n,
        depth: k,
        left: a,
        right: b,
        resultStride: stride(n, spec.result.n),
        swapped,
        around,
        nest,
      };
}

/** An operand of the matmul within a fragment. */
export interface OperandSide {
  readonly value: ValueId;
  /** Strides along the leading axes. */
  readonly batch: readonly number[];
  /** Along m or n. */
  readonly outer: number;
  /** Along k. */
  readonly depth: number;
}

export interface ProductShape {
  readonly root: ValueId;
  /** Extents of the leading axes. */
  readonly batch: readonly number[];
  readonly a: OperandSide;
  readonly b: OperandSide;
  readonly spec: ProductSpec;
}

const LOWERING = 'lowering of products';

/** A product fragment without a matmul as its root, or without a layout, is a bug of the planner. */
export function shapeOf(fragment: Fragment): ProductShape {
  const { root: id } = fragment;
  const root = id === undefined ? undefined : fragment.graph.nodes[id];
  if (id === undefined || root?.op !== 'matmul') {
    throw new GraphError(
      LOWERING,
      `${fragment.graph.name}: a product fragment has ${root?.op ?? 'nothing'} as its root, not a matmul`,
    );
  }
  const { shape } = root.type;
  const rank = shape.length;
  const [m, n] = shape.slice(-2);
  const { transposeA, transposeB } = root.attributes;
  const side = (value: ValueId, depthLast: boolean): OperandSide => {
    const { strides } = layoutOf(fragment, value);
    const [first, second] = strides.slice(-2);
    const batch = strides.slice(0, -2);
    return depthLast ? { value, batch, outer: first, depth: second } : { value, batch, outer: second, depth: first };
  };
  const a = side(root.inputs[0], !transposeA);
  const b = side(root.inputs[1], transposeB);
  const stored = fragment.graph.nodes[root.inputs[0]].type.shape;
  const k = transposeA ? stored[rank - 2] : stored[rank - 1];
  const { levels } = layoutOf(fragment, root.inputs[0]);
  // Stores of one fragment are laid out alike as a rule; the first stands for all.
  const result = fragment.stores.length > 0 ? layoutOf(fragment, fragment.stores[0]).strides.slice(-2) : [n, 1];
  return {
    root: id,
    batch: shape.slice(0, -2),
    a,
    b,
    spec: {
      batch: sizeOf(shape.slice(0, -2)),
      m,
      n,
      k,
      a: { m: a.outer, k: a.depth },
      b: { k: b.depth, n: b.outer },
      result: { m: result[0], n: result[1] },
      ...(levels === undefined ? {} : { levels: levelsOf(levels, transposeA) }),
    },
  };
}

export function layoutOf(fragment: Fragment, value: ValueId): Layout {
  const layout = fragment.layouts.get(value);
  if (layout === undefined) {
    const { op } = fragment.graph.nodes[value];
    throw new GraphError(
      LOWERING,
      `${fragment.graph.name}: %${value} (${op}) has no layout; operands and stores of a product need one`,
    );
  }
  return layout;
}
