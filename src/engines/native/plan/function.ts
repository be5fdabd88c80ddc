/** One traced function of a particle-major program: groups, layouts, order, places, kernels. */
import { GraphBuilder } from '../../../graph/builder';
import { sizeOf, type Graph, type ValueId, type ValueType } from '../../../graph/ir';
import { printNode } from '../../../graph/print';
import { lowerFragment } from '../lower';
import type { Fragment } from '../lower/fragment';
import type { Target } from '../nest/ir';
import { isElementwise, type Analysis } from './analysis';
import { placeBuffers, type Lifetime } from './arena';
import type { Group, Grouping } from './groups';
import { baseOf, seenThrough, storesOf } from './memory';
import { orderGroups, type InPlace } from './order';
import type { DrawKey, KernelCall, Layout, Place, PlannedFunction, Span } from './program';
import type { Tables } from './tables';
import { bytesOf, denseLayout, spanOf } from './views';

/** What an input of the function is bound to. */
export interface Bound {
  readonly place: Place;
  readonly layout: Layout;
  /** Number of the state leaf. */
  readonly leaf?: number;
}

/** Where an output of the function goes. */
export interface Goal {
  readonly place: Place;
  readonly layout: Layout;
  readonly leaf?: number;
}

export interface FunctionRequest {
  readonly grouping: Grouping;
  readonly target: Target;
  readonly tables: Tables;
  /** By position in graph.inputs and graph.outputs. */
  readonly inputs: readonly Bound[];
  readonly outputs: readonly Goal[];
  readonly layouts: ReadonlyMap<ValueId, Layout>;
}

/**
 * Whether a group reads the old value of a state leaf only where, element for element, it writes the new one: then the
 * new one may lie in its place.
 */
function readsWhereWritten(
  analysis: Analysis,
  group: Group,
  old: { readonly id: ValueId; readonly layout: Layout },
  written: Layout,
): boolean {
  const { nodes } = analysis.graph;
  for (const member of group.members) {
    const node = nodes[member];
    for (const operand of node.inputs) {
      if (group.members.has(operand) || baseOf(analysis, operand) !== old.id) continue;
      const seen = seenThrough(analysis, operand, old.layout);
      const narrow = group.kind !== 'rows' || sizeOf(node.type.shape.slice(1)) === 1;
      if (seen?.offset !== 0 || !isElementwise(node) || !narrow || !sameLayout(seen.layout, written)) return false;
    }
  }
  return true;
}

function sameLayout(a: Layout, b: Layout): boolean {
  return (
    a.memory === b.memory &&
    a.shape.length === b.shape.length &&
    a.shape.every((extent, axis) => extent === b.shape[axis]) &&
    a.strides.every((stride, axis) => stride === b.strides[axis] || a.shape[axis] <= 1)
  );
}

export function planFunction(request: FunctionRequest): PlannedFunction {
  const { grouping, inputs, outputs, layouts } = request;
  const { analysis } = grouping;
  const { graph, status, levels } = analysis;

  // Groups that read each state leaf.
  const readersOf = (id: ValueId): Group[] => {
    const groups = new Set<Group>();
    const follow = (value: ValueId): void => {
      for (const user of analysis.users[value]) {
        const group = grouping.of(user);
        if (group !== undefined) groups.add(group);
        if (status[user] === 'view') follow(user);
      }
    };
    follow(id);
    return [...groups];
  };

  // Outputs that their kernel can write where they belong.
  const direct = new Map<ValueId, Goal>();
  const wishes: (InPlace & { readonly output: ValueId })[] = [];
  const sources = new Map<number, Bound & { readonly id: ValueId }>();
  inputs.forEach((bound, i) => {
    if (bound.leaf !== undefined) sources.set(bound.leaf, { ...bound, id: graph.inputs[i] });
  });
  outputs.forEach((goal, position) => {
    const id = graph.outputs[position];
    const base = baseOf(analysis, id);
    const writer = grouping.of(base);
    const layout = layouts.get(base);
    if (status[base] !== 'computed' || writer === undefined || layout === undefined || direct.has(base)) return;
    // The output may be a view; its base then has to fill exactly the place of the output.
    const seen = seenThrough(analysis, id, layout);
    if (levels[base] === 'window' || seen?.offset !== 0 || !sameLayout(seen.layout, goal.layout)) return;
    if (sizeOf(layout.shape) !== sizeOf(goal.layout.shape)) return;
    const old = goal.leaf === undefined ? undefined : sources.get(goal.leaf);
    if (old !== undefined && !readsWhereWritten(analysis, writer, old, layout)) return;
    direct.set(base, goal);
    if (old !== undefined) wishes.push({ leaf: goal.leaf!, writer, readers: readersOf(old.id), output: base });
  });
  // A leaf whose old value is copied to another leaf is saved first (below), so that no order is asked for.
  const { groups, inPlace } = orderGroups(grouping, wishes);
  for (const { leaf, output } of wishes) if (!inPlace.has(leaf)) direct.delete(output);

  const planner = new CallPlanner(request, direct);
  // An old leaf that becomes another one is saved before anything overwrites it.
  const pending: { readonly from: ValueId; readonly goal: Goal }[] = [];
  outputs.forEach((goal, position) => {
    const id = graph.outputs[position];
    const base = baseOf(analysis, id);
    if (direct.get(base) === goal) return;
    const bound = status[base] === 'resident' ? inputs[graph.inputs.indexOf(base)] : undefined;
    if (bound?.leaf !== undefined && bound.leaf === goal.leaf && base === id) return;
    if (bound?.leaf !== undefined) planner.save(id);
    pending.push({ from: id, goal });
  });
  for (const group of groups) planner.run(group);
  for (const { from, goal } of pending) planner.copy(from, goal);
  const results = outputs.filter(({ place }) => place.arena === 'result');
  return planner.finish(results.reduce((sum, { layout }) => sum + sizeOf(layout.shape), 0));
}

type Slot = { readonly arena: 'window' | 'scratch'; readonly number: number };

/** Gathers calls, with places that are known once all lifetimes are. */
class CallPlanner {
  private readonly prologue: PendingCall[] = [];
  private readonly calls: PendingCall[] = [];
  private readonly slots = new Map<ValueId, Slot>();
  private readonly windowBytes: number[] = [];
  private readonly lifetimes: { bytes: number; from: number; to: number }[] = [];
  private readonly saved = new Map<ValueId, { readonly slot: Slot; readonly layout: Layout }>();

  constructor(
    private readonly request: FunctionRequest,
    private readonly direct: ReadonlyMap<ValueId, Goal>,
  ) {}

  /** Keeps the present value of an old state leaf, or of a view of it, for the end of the step. */
  save(id: ValueId): void {
    if (this.saved.has(id)) return;
    const { type } = this.request.grouping.analysis.graph.nodes[id];
    const layout = denseLayout(type);
    const slot = this.scratch(spanOf(layout) * bytesOf(layout.memory));
    this.saved.set(id, { slot, layout });
    this.copyCall(type, this.seen(id), { place: slot, layout }, `keeps the old ${this.label(id)}`);
  }

  run(group: Group): void {
    const { grouping, target, layouts } = this.request;
    const { graph, levels } = grouping.analysis;
    const stores = storesOf(grouping, group);
    if (stores.length === 0) return;
    const fragment = fragmentOf(grouping, group, stores, (id) => this.layout(id));
    const hoisted = levels[stores[0]] === 'window';
    for (const id of stores) {
      if (this.direct.has(id)) continue;
      const layout = layouts.get(id)!;
      const bytes = spanOf(layout) * bytesOf(layout.memory);
      if (hoisted) this.slots.set(id, { arena: 'window', number: this.windowBytes.push(bytes) - 1 });
      else this.slots.set(id, this.scratch(bytes));
    }
    const { kernel, buffers } = lowerFragment(fragment, target);
    const places = buffers.map((use): PendingPlace => {
      if (use.kind === 'workspace') {
        return hoisted
          ? {
              place: { arena: 'window', number: this.windowBytes.push(use.bytes) - 1 },
              bytes: 0,
              span: { from: 0, to: use.bytes },
            }
          : { place: this.scratch(use.bytes), bytes: 0, span: { from: 0, to: use.bytes } };
      }
      const { place, bytes, span } = this.seen(use.value);
      return { place, bytes, span };
    });
    const root = group.root === undefined ? undefined : graph.nodes[group.root];
    const key: DrawKey | undefined =
      root?.op === 'random'
        ? { stream: root.attributes.stream, perStep: root.attributes.perStep, path: root.attributes.path }
        : undefined;
    this.push(hoisted, {
      kernel,
      places,
      ...(key === undefined ? {} : { key }),
      origin: originOf(graph, group, stores),
    });
  }

  copy(from: ValueId, goal: Goal): void {
    const { type } = this.request.grouping.analysis.graph.nodes[from];
    const kept = this.saved.get(from);
    const source = kept === undefined ? this.seen(from) : located(kept.slot, kept.layout);
    this.copyCall(type, source, goal, `copies ${this.label(from)}`);
  }

  finish(results: number): PlannedFunction {
    const scratch = placeBuffers(this.lifetimes);
    const window = placeBuffers(this.windowBytes.map((bytes): Lifetime => ({ bytes, from: 0, to: 0 })));
    const settle = ({ places, ...call }: PendingCall): KernelCall => ({
      ...call,
      places: places.map(({ place, bytes }): Place => {
        if (!('number' in place)) return { ...place, offset: place.offset + bytes };
        const offsets = place.arena === 'window' ? window.offsets : scratch.offsets;
        return { arena: place.arena, offset: offsets[place.number] + bytes };
      }),
      spans: places.map(({ span }) => span),
    });
    return {
      prologue: this.prologue.map(settle),
      calls: this.calls.map(settle),
      scratchBytes: scratch.bytes,
      windowBytes: window.bytes,
      results,
    };
  }

  private push(hoisted: boolean, call: PendingCall): void {
    (hoisted ? this.prologue : this.calls).push(call);
    if (hoisted) return;
    const now = this.calls.length - 1;
    for (const { place } of call.places) {
      if (!('number' in place) || place.arena !== 'scratch') continue;
      this.lifetimes[place.number].to = now;
    }
  }

  /** A new buffer that is first written by the next call. */
  private scratch(bytes: number): Slot {
    const now = this.calls.length;
    return { arena: 'scratch', number: this.lifetimes.push({ bytes, from: now, to: now }) - 1 };
  }

  private label(id: ValueId): string {
    const node = this.request.grouping.analysis.graph.nodes[id];
    return node.op === 'input' ? node.attributes.name : `%${String(id)}`;
  }

  /** Layout of a value in memory, views included. */
  private layout(id: ValueId): Layout {
    return this.seen(id).layout;
  }

  private seen(id: ValueId): PendingPlace & { readonly layout: Layout } {
    const { analysis } = this.request.grouping;
    const base = baseOf(analysis, id);
    const layout = this.request.layouts.get(base);
    const view = layout === undefined ? undefined : seenThrough(analysis, id, layout);
    if (view === undefined) throw new Error(`planner: %${String(id)} does not lie in memory.`);
    return { ...located(this.place(base), view.layout), bytes: view.offset * bytesOf(view.layout.memory) };
  }

  private place(base: ValueId): Place | Slot {
    const goal = this.direct.get(base);
    if (goal !== undefined) return goal.place;
    const slot = this.slots.get(base);
    if (slot !== undefined) return slot;
    const { grouping, inputs, tables } = this.request;
    const { graph } = grouping.analysis;
    const node = graph.nodes[base];
    if (node.op === 'input') return inputs[graph.inputs.indexOf(base)].place;
    if (node.op === 'table') return { arena: 'table', table: tables.table(node.attributes.table), offset: 0 };
    if (node.op === 'constant') return { arena: 'table', table: tables.constant(node.attributes.data), offset: 0 };
    // Asked for its layout before it has a place.
    return { arena: 'scratch', offset: 0 };
  }

  private copyCall(
    type: ValueType,
    from: PendingPlace & { readonly layout: Layout },
    to: { readonly place: Place | Slot; readonly layout: Layout },
    origin: string,
  ): void {
    const { fragment, input } = copyFragment(type, from.layout, to.layout);
    const { kernel, buffers } = lowerFragment(fragment, this.request.target);
    const places = buffers.map((use): PendingPlace => {
      if (use.kind === 'workspace')
        return { place: this.scratch(use.bytes), bytes: 0, span: { from: 0, to: use.bytes } };
      return use.value === input ? from : located(to.place, to.layout);
    });
    this.push(false, { kernel, places, origin });
  }
}

interface PendingPlace {
  readonly place: Place | Slot;
  /** Added to the place's offset. */
  readonly bytes: number;
  /** From there on. */
  readonly span: Span;
}

function located(place: Place | Slot, layout: Layout): PendingPlace & { readonly layout: Layout } {
  const { shape, strides, memory } = layout;
  const back = shape.reduce((sum, extent, axis) => sum + (extent - 1) * Math.min(0, strides[axis]), 0);
  const [from, length] = sizeOf(shape) === 0 ? [0, 0] : [back, spanOf(layout)];
  return { place, bytes: 0, span: { from: from * bytesOf(memory), to: (from + length) * bytesOf(memory) }, layout };
}
type PendingCall = Omit<KernelCall, 'places'> & { readonly places: readonly PendingPlace[] };

function originOf(graph: Graph, group: Group, stores: readonly ValueId[]): string {
  const head = group.root ?? stores[0];
  const more = group.members.size - 1;
  return `${group.kind} ${printNode(graph.nodes[head], head)}${more > 0 ? ` and ${more} more` : ''}`;
}

/** The group with the free nodes that it reads, and the layouts of what lies in memory. */
function fragmentOf(
  { analysis }: Grouping,
  group: Group,
  stores: readonly ValueId[],
  layoutOf: (id: ValueId) => Layout,
): Fragment {
  const { graph, status } = analysis;
  const members = new Set(group.members);
  const layouts = new Map<ValueId, Layout>(stores.map((id) => [id, layoutOf(id)]));
  const visit = (id: ValueId): void => {
    for (const operand of graph.nodes[id].inputs) {
      if (members.has(operand)) continue;
      if (status[operand] === 'free') {
        members.add(operand);
        visit(operand);
      } else layouts.set(operand, layoutOf(operand));
    }
  };
  for (const member of [...members]) visit(member);
  return {
    kind: group.kind,
    graph,
    members: [...members].sort((a, b) => a - b),
    layouts,
    stores,
    ...(group.root === undefined ? {} : { root: group.root }),
    ...(group.rows === undefined ? {} : { rows: group.rows }),
  };
}

function copyFragment(
  type: ValueType,
  from: Layout,
  to: Layout,
): { readonly fragment: Fragment; readonly input: ValueId } {
  const b = new GraphBuilder('copy');
  const input = b.emit('input', [], { name: 'from', type });
  const output = b.emit('identity', [input], {});
  const fragment: Fragment = {
    kind: 'map',
    graph: b.finish([output]),
    members: [output],
    layouts: new Map([
      [input, from],
      [output, to],
    ]),
    stores: [output],
  };
  return { fragment, input };
}
