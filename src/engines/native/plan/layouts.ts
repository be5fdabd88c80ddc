/**
 * The layout of every value in memory. Values that one kernel treats element by element share one; each such class takes
 * the layout for which the products, the row chains and the gathers that touch it cost least.
 */
import { sizeOf, type Shape, type ValueId } from '../../../graph/ir';
import { levelsOf, productCost, type ProductSpec } from '../lower/product';
import type { Target } from '../nest/ir';
import type { Grouping } from './groups';
import { baseOf, layoutsFor, seenThrough, storesOf } from './memory';
import type { Layout } from './program';
import { isTerminal } from './rows';
import { denseLayout } from './views';

/** Cycles an element when lanes do not lie next to each other, against one vector at a time. */
const STRIDED = 1;

export interface LayoutRequest {
  readonly grouping: Grouping;
  readonly target: Target;
  /** Layouts that are given: θ, tables, constants, results, and the state where another function has chosen. */
  readonly fixed: ReadonlyMap<ValueId, Layout>;
  /** Where a value goes in the end; taken unless a view of the value does not allow it. */
  readonly preferred: ReadonlyMap<ValueId, Layout>;
  /** Whether a layout suits everything else that the value meets, such as other functions. */
  readonly suits?: (id: ValueId, layout: Layout) => boolean;
  /** Pairs that had better share a layout: what a state leaf was and what it becomes. */
  readonly tied: readonly (readonly [ValueId, ValueId])[];
  /** Shared by the functions of a program. */
  readonly costs: ProductCosts;
}

/** Estimates for one target, each made once: classes, sweeps and functions ask for the same ones over and over. */
export class ProductCosts {
  private readonly known = new Map<string, number>();

  constructor(private readonly target: Target) {}

  of(spec: ProductSpec): number {
    const key = JSON.stringify(spec);
    let cost = this.known.get(key);
    if (cost === undefined) this.known.set(key, (cost = productCost(spec, this.target)));
    return cost;
  }
}

interface LayoutClass {
  readonly members: ValueId[];
  readonly candidates: readonly Layout[];
  chosen: Layout;
}

export function chooseLayouts({
  grouping,
  target,
  fixed,
  preferred,
  suits,
  tied,
  costs,
}: LayoutRequest): Map<ValueId, Layout> {
  const { analysis } = grouping;
  const { graph, status, users } = analysis;
  const stores = grouping.groups.map((group) => storesOf(grouping, group));
  const inMemory = new Set<ValueId>(stores.flat());
  status.forEach((is, id) => {
    if (is === 'resident') inMemory.add(id);
  });

  const parent = new Map<ValueId, ValueId>([...inMemory].map((id) => [id, id]));
  const find = (id: ValueId): ValueId => {
    let top = id;
    while (parent.get(top) !== top) top = parent.get(top)!;
    parent.set(id, top);
    return top;
  };
  const tie = (a: ValueId, b: ValueId): void => {
    const [x, y] = [graph.nodes[a].type, graph.nodes[b].type];
    const alike = x.shape.length === 2 && y.shape.length === 2 && x.shape.every((extent, i) => extent === y.shape[i]);
    if (alike && inMemory.has(a) && inMemory.has(b)) parent.set(find(a), find(b));
  };
  for (const [a, b] of tied) tie(a, b);
  grouping.groups.forEach((group, g) => {
    if (group.kind !== 'product' && group.kind !== 'map') return;
    const first = stores[g].find((id) => graph.nodes[id].type.shape.length === 2);
    if (first === undefined) return;
    for (const id of stores[g]) tie(first, id);
    for (const member of group.members) {
      if (member === group.root || graph.nodes[member].op === 'gather') continue;
      for (const operand of graph.nodes[member].inputs) if (inMemory.has(operand)) tie(first, operand);
    }
  });

  const viewsOf = new Map<ValueId, ValueId[]>();
  graph.nodes.forEach((_, id) => {
    if (status[id] !== 'view') return;
    const base = baseOf(analysis, id);
    const views = viewsOf.get(base);
    if (views === undefined) viewsOf.set(base, [id]);
    else views.push(id);
  });
  const classes = new Map<ValueId, ValueId[]>();
  for (const id of inMemory) {
    const members = classes.get(find(id));
    if (members === undefined) classes.set(find(id), [id]);
    else members.push(id);
  }
  const all: LayoutClass[] = [];
  const layouts = new Map<ValueId, Layout>();
  for (const members of classes.values()) {
    const wanted = members.map((id) => fixed.get(id) ?? preferred.get(id)).find((layout) => layout !== undefined);
    const pinned = members.flatMap((id) => viewsOf.get(id) ?? []);
    let candidates = layoutsFor(analysis, members[0], target);
    if (wanted !== undefined) candidates = [wanted, ...candidates];
    candidates = candidates.filter(
      (layout) =>
        pinned.every((view) => seenThrough(analysis, view, layout) !== undefined) &&
        members.every((id) => fixed.has(id) || suits?.(id, layout) !== false),
    );
    if (candidates.length === 0) candidates = [denseLayout(graph.nodes[members[0]].type)];
    if (candidates[0] === wanted && members.some((id) => preferred.has(id))) candidates = [wanted];
    all.push({ members, candidates, chosen: candidates[0] });
    for (const id of members)
      layouts.set(id, fixed.get(id) ?? { ...candidates[0], memory: denseLayout(graph.nodes[id].type).memory });
  }

  const assign = (each: LayoutClass, layout: Layout): void => {
    for (const id of each.members) {
      if (!fixed.has(id)) layouts.set(id, { ...layout, memory: denseLayout(graph.nodes[id].type).memory });
    }
  };
  const numbers = new Map(grouping.groups.map((group, g) => [group, g]));
  const touching = (each: LayoutClass): number[] => {
    const near = new Set<number>();
    const add = (id: ValueId): void => {
      const group = grouping.of(id);
      if (group !== undefined) near.add(numbers.get(group)!);
    };
    const readers = (id: ValueId): void => {
      for (const user of users[id]) {
        add(user);
        if (status[user] === 'view') readers(user);
      }
    };
    for (const id of each.members) {
      add(id);
      readers(id);
    }
    return [...near];
  };
  const open = all.filter(({ candidates }) => candidates.length > 1);
  const near = open.map(touching);
  const costOf = (g: number): number => groupCost(grouping, g, stores[g], layouts, target, costs);
  for (let sweep = 0; sweep < 2; sweep++) {
    open.forEach((each, i) => {
      let best = Infinity;
      for (const candidate of each.candidates) {
        assign(each, candidate);
        const cost = near[i].reduce((sum, g) => sum + costOf(g), 0);
        // A hair's breadth decides for the earlier candidate.
        if (cost < best * 0.995) {
          best = cost;
          each.chosen = candidate;
        }
      }
      assign(each, each.chosen);
    });
  }
  return layouts;
}

function groupCost(
  grouping: Grouping,
  g: number,
  stores: readonly ValueId[],
  layouts: ReadonlyMap<ValueId, Layout>,
  target: Target,
  costs: ProductCosts,
): number {
  const { analysis } = grouping;
  const { nodes } = analysis.graph;
  const group = grouping.groups[g];
  const layoutOf = (id: ValueId): Layout | undefined => {
    const layout = layouts.get(baseOf(analysis, id));
    return layout === undefined ? undefined : seenThrough(analysis, id, layout)?.layout;
  };
  if (group.kind === 'product') {
    const root = nodes[group.root!];
    const result = stores.length > 0 ? layoutOf(stores[0]) : undefined;
    const [a, b] = root.inputs.map(layoutOf);
    if (root.op !== 'matmul' || a === undefined || b === undefined) return 0;
    return costs.of(specOf(root.type.shape, root.attributes, a, b, result ?? denseLayout(root.type)));
  }
  let cost = 0;
  const along = (id: ValueId, axis: number): void => {
    const layout = layoutOf(id);
    if (layout === undefined || layout.shape.length < 2) return;
    const size = sizeOf(layout.shape);
    const stride = Math.abs(layout.strides[axis]);
    cost += stride <= 1 ? size / target.lanes : size * STRIDED;
  };
  for (const member of group.members) {
    if (group.kind === 'rows') {
      for (const operand of nodes[member].inputs) if (grouping.of(operand) !== group) along(operand, 0);
    }
    if (nodes[member].op === 'gather') {
      for (const store of stores) along(store, nodes[store].type.shape.length - 1);
    }
  }
  if (group.kind === 'rows') for (const store of stores) if (!isTerminal(nodes[store])) along(store, 0);
  return cost;
}

function specOf(
  shape: Shape,
  { transposeA, transposeB }: { readonly transposeA: boolean; readonly transposeB: boolean },
  a: Layout,
  b: Layout,
  result: Layout,
): ProductSpec {
  const [m, n] = shape.slice(-2);
  const [a0, a1] = a.strides.slice(-2);
  const [b0, b1] = b.strides.slice(-2);
  const [r0, r1] = result.strides.slice(-2);
  return {
    batch: sizeOf(shape.slice(0, -2)),
    m,
    n,
    k: a.shape.slice(-2)[transposeA ? 0 : 1],
    a: transposeA ? { m: a1, k: a0 } : { m: a0, k: a1 },
    b: transposeB ? { k: b1, n: b0 } : { k: b0, n: b1 },
    result: { m: r0, n: r1 },
    ...(a.levels === undefined ? {} : { levels: levelsOf(a.levels, transposeA) }),
  };
}
