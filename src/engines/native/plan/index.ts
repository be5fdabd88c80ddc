/** A traced problem becomes a program: passes, mode, groups, layouts, order, places, kernels. */
import { EngineError } from '../../../contracts';
import type { ReverseProblem } from '../../../graph/derive';
import { sizeOf, type Graph, type ValueId, type ValueType } from '../../../graph/ir';
import { optimiseForWindows, type TileLimits } from '../passes';
import { inputName, type StateLeaf, type TracedProblem } from '../../../graph/program';
import { chooseMode, laneBackProblem, lowerLaneMajor, type Mode } from '../lower/lanes';
import { LOCAL_BYTES, localBytes, type Target } from '../nest/ir';
import { analyse, type Analysis } from './analysis';
import { align } from './arena';
import { fuse } from './fuse';
import { planFunction, type Bound, type Goal } from './function';
import type { Grouping } from './groups';
import { chooseLayouts, ProductCosts } from './layouts';
import { baseOf, seenThrough } from './memory';
import type {
  Layout,
  NativeProgram,
  ParticleMajorProgram,
  PlannedFunction,
  ReverseFunctions,
  StateRecord,
} from './program';
import { Tables } from './tables';
import { splitFunction, type SplitFunction } from './tiles';
import { bytesOf, denseLayout, spanOf } from './views';

export interface LoweringOptions {
  /** Overrides the cost rule of `chooseMode`. */
  readonly mode?: Mode;
  /** Overrides `TILE_LIMITS`: which functions run in tiles of rows, and in how large ones. Particle-major only. */
  readonly tiles?: TileLimits;
}

/** Ops of a function. A learned optimizer on eight tensors has 1,200; the compiler's time grows faster than their number. */
export const MOST_NODES = 20_000;

/** @throws EngineError for a graph that would keep the compiler busy for minutes */
export function checkSize(name: string, graph: Graph): void {
  const { length } = graph.nodes;
  if (length <= MOST_NODES) return;
  throw new EngineError(
    `"${name}": its function "${graph.name}" has ${length} ops, engine native compiles at most ${MOST_NODES}. ` +
      'Loops are traced once a round: write them as ops on larger tensors, or choose another engine.',
  );
}

/**
 * @param traced With graphs as traced; the passes run here.
 * @throws EngineError if a graph is larger than `MOST_NODES`
 */
export function lowerProgram(traced: TracedProblem, target: Target, options: LoweringOptions = {}): NativeProgram {
  for (const graph of [traced.init, traced.step, traced.finish]) {
    if (graph !== undefined) checkSize(traced.problem.name, graph);
  }
  const ready = prepared(traced);
  const mode = options.mode ?? chooseMode(ready);
  if (mode === 'lane-major') {
    const program = lowerLaneMajor(ready, target);
    const { init, step, finish } = program;
    const bytes = Math.max(...[init, step, ...(finish === undefined ? [] : [finish])].map(localBytes));
    // The cost rule takes no such problem.
    if (bytes > LOCAL_BYTES) {
      throw new EngineError(
        `"${traced.problem.name}" needs ${bytes} bytes of a thread's stack in lane-major code, which may have ${LOCAL_BYTES}. ` +
          'Leave OUTERLOOP_NATIVE_MODE alone, or set it to particle-major.',
      );
    }
    return program;
  }
  return planParticleMajor(ready, target, options.tiles);
}

/**
 * A program whose windows also run in reverse.
 * @throws EngineError if a graph is larger than `MOST_NODES`
 */
export function lowerReverse(reverse: ReverseProblem, target: Target, options: LoweringOptions = {}): NativeProgram {
  const { traced, record, backFrom, start } = reverse;
  const lanes = options.mode === 'particle-major' ? undefined : reverseInLanes(reverse, target, options);
  if (lanes !== undefined) return lanes;
  for (const graph of [traced.init, traced.step, traced.finish, record, backFrom, start]) {
    if (graph !== undefined) checkSize(traced.problem.name, graph);
  }
  return planParticleMajor(prepared(traced), target, options.tiles, {
    ...reverse,
    record: optimiseForWindows(record),
    backFrom: optimiseForWindows(backFrom),
    ...(start === undefined ? {} : { start: optimiseForWindows(start) }),
  });
}

/** In lanes, if step and way back both are to lie there. */
function reverseInLanes(reverse: ReverseProblem, target: Target, { mode }: LoweringOptions): NativeProgram | undefined {
  const derived = laneBackProblem(reverse);
  if (derived === undefined) return undefined;
  const [forward, backward] = [prepared(reverse.traced), prepared(derived)];
  if (chooseMode(forward, mode) !== 'lane-major' || chooseMode(backward, mode) !== 'lane-major') return undefined;
  const program = lowerLaneMajor(forward, target);
  const back = lowerLaneMajor(backward, target, { vectors: program.vectors });
  if (localBytes(back.step) > LOCAL_BYTES) return undefined;
  return { ...program, tables: [...program.tables, ...back.tables], back };
}

function prepared(traced: TracedProblem): TracedProblem {
  return {
    ...traced,
    init: optimiseForWindows(traced.init),
    step: optimiseForWindows(traced.step),
    ...(traced.finish === undefined ? {} : { finish: optimiseForWindows(traced.finish) }),
  };
}

/** A graph divided into groups, and its inputs by name. */
export interface Part {
  readonly grouping: Grouping;
  readonly inputs: ReadonlyMap<string, ValueId>;
}

export function partOf(graph: Graph, hoist: boolean): Part {
  const inputs = new Map<string, ValueId>();
  for (const id of graph.inputs) {
    const node = graph.nodes[id];
    if (node.op === 'input') inputs.set(node.attributes.name, id);
  }
  return { grouping: fuse(analyse(graph, hoist)), inputs };
}

function planParticleMajor(
  traced: TracedProblem,
  target: Target,
  limits?: TileLimits,
  reverse?: ReverseProblem,
): ParticleMajorProgram {
  const tables = new Tables();
  const step = partOf(traced.step, true);
  const init = partOf(traced.init, false);
  const split = traced.finish === undefined ? undefined : splitFunction(traced.finish, tables, limits);
  const tiles = split?.tiles.map((tile) => ({ ...tile, part: partOf(tile.graph, false) })) ?? [];
  const rest = split === undefined ? [] : [partOf(split.rest, false)];
  const record = reverse === undefined ? undefined : partOf(reverse.record, true);
  const back = reverse === undefined ? undefined : partOf(reverse.backFrom, true);
  const start = reverse?.start === undefined ? undefined : partOf(reverse.start, false);
  const others = [
    init,
    ...tiles.map(({ part }) => part),
    ...rest,
    ...[record, back].filter((part) => part !== undefined),
  ];

  const leafOf = new Map(traced.state.map(({ path }, leaf) => [inputName('state', path), leaf]));
  const nextOf = new Map(traced.state.map(({ path }, leaf) => [inputName('next', path), leaf]));
  const costs = new ProductCosts(target);
  const leafLayouts = stateLayouts(traced.state, step, others, target, costs);
  let bytes = 0;
  const records = leafLayouts.map((layout) => {
    const offset = bytes;
    bytes += align(spanOf(layout) * bytesOf(layout.memory));
    return { offset, layout };
  });
  const state: StateRecord = { leaves: records, bytes };

  const bind = ({ grouping }: Part, more?: ReadonlyMap<string, Bound>): Bound[] => {
    const { graph } = grouping.analysis;
    return graph.inputs.map((id): Bound => {
      const node = graph.nodes[id];
      const name = node.op === 'input' ? node.attributes.name : '';
      const given = more?.get(name);
      if (given !== undefined) return given;
      const leaf = leafOf.get(name);
      if (leaf !== undefined) {
        const { offset, layout } = state.leaves[leaf];
        return { place: { arena: 'state', offset }, layout, leaf };
      }
      const layout = denseLayout(node.type);
      if (name === 't') return { place: { arena: 't', offset: 0 }, layout };
      const after = nextOf.get(name);
      if (after !== undefined) {
        const { offset, layout: same } = state.leaves[after];
        return { place: { arena: 'next', offset }, layout: same };
      }
      const theta = traced.theta.leaves.find(({ path }) => inputName('theta', path) === name);
      if (theta === undefined) throw new EngineError(`engine native does not know where "${name}" lies.`);
      return { place: { arena: 'theta', offset: 4 * theta.offset }, layout };
    });
  };
  const stateGoals = state.leaves.map(({ offset, layout }, leaf): Goal => ({
    place: { arena: 'state', offset },
    layout,
    leaf,
  }));
  const resultGoals = (graph: Graph, from: number): Goal[] => {
    let offset = 0;
    return graph.outputs.slice(from).map((id): Goal => {
      const layout = denseLayout(graph.nodes[id].type);
      const place = { arena: 'result', offset } as const;
      offset += 4 * sizeOf(layout.shape);
      return { place, layout };
    });
  };

  const plan = (part: Part, outputs: readonly Goal[], more?: ReadonlyMap<string, Bound>): PlannedFunction => {
    const inputs = bind(part, more);
    const { grouping } = part;
    const given = constraints(grouping.analysis, inputs, outputs);
    const layouts = chooseLayouts({ grouping, target, ...given, tied: [], costs });
    return planFunction({ grouping, target, tables, inputs, outputs, layouts });
  };
  const planSplit = ({ rest: graph, partials, partialBytes }: SplitFunction): PlannedFunction => {
    const bodies = tiles.map(({ part, goals, inputs, count }) => ({ count, ...plan(part, goals, inputs) }));
    const end = plan(rest[0], resultGoals(graph, 0), partials);
    if (bodies.length === 0) return end;
    return {
      ...end,
      tiles: bodies.map(({ count, calls }) => ({ count, calls })),
      // One after the other, they use the same memory.
      scratchBytes: Math.max(end.scratchBytes, ...bodies.map(({ scratchBytes }) => scratchBytes)),
      windowBytes: partialBytes,
    };
  };
  return {
    mode: 'particle-major',
    target,
    thetaSize: traced.theta.size,
    state,
    tables: tables.list,
    init: plan(init, stateGoals),
    step: plan(step, [...stateGoals, ...resultGoals(traced.step, stateGoals.length)]),
    ...(split === undefined ? {} : { finish: planSplit(split) }),
    ...(reverse === undefined ? {} : { reverse: planReverse(reverse) }),
  };

  function planReverse({ residuals, floats, backFrom, start: started }: ReverseProblem): ReverseFunctions {
    // As `record` likes to leave them; dense where `back` could not see them so.
    const { analysis } = record!.grouping;
    const firsts = [...stateGoals, ...resultGoals(traced.step, stateGoals.length)];
    const given = constraints(analysis, bind(record!), firsts);
    const free = chooseLayouts({ grouping: record!.grouping, target, ...given, tied: [], costs });
    const layoutOf = (type: ValueType, n: number): Layout => {
      const id = analysis.graph.outputs[firsts.length + n];
      const layout = analysis.status[id] === 'computed' ? free.get(id) : undefined;
      return layout !== undefined && views([back!], `residual.${n}`, layout) ? layout : denseLayout(type);
    };
    let tapeBytes = 0;
    const tape = residuals.map((type, n) => {
      const layout = layoutOf(type, n);
      const place = { arena: 'tape', offset: tapeBytes } as const;
      tapeBytes += align(spanOf(layout) * bytesOf(layout.memory));
      return { place, layout };
    });
    // As the leaves lie, which they are added to; dense where `back` could not see them so.
    const cotangents = floats.map((leaf) => {
      const { layout } = state.leaves[leaf];
      const name = inputName('cotangent', traced.state[leaf].path);
      return views([back!, ...(start === undefined ? [] : [start])], name, layout)
        ? layout
        : denseLayout(traced.state[leaf].type);
    });
    let cotangentBytes = 0;
    const carried = cotangents.map((layout, k): Bound & Goal => {
      const place = { arena: 'cotangent', offset: cotangentBytes } as const;
      cotangentBytes += align(spanOf(layout) * bytesOf(layout.memory));
      return { place, layout, leaf: traced.state.length + k };
    });
    const lossOffset = cotangentBytes;
    cotangentBytes += align(4);
    const loss: Bound = {
      place: { arena: 'cotangent', offset: lossOffset },
      layout: denseLayout({ shape: [], dtype: 'float32' }),
    };
    const bound = new Map<string, Bound>([
      ...tape.map((place, n): [string, Bound] => [`residual.${n}`, place]),
      ...carried.map((place, k): [string, Bound] => [inputName('cotangent', traced.state[floats[k]].path), place]),
      ['lossCotangent', loss],
    ]);
    return {
      record: plan(record!, [...firsts, ...tape]),
      back: plan(back!, [...carried, ...resultGoals(backFrom, carried.length)], bound),
      ...(start === undefined || started === undefined ? {} : { start: plan(start, resultGoals(started, 0), bound) }),
      tapeBytes,
      cotangentBytes,
      lossOffset,
    };
  }
}

/** Layouts of what lies in memory beforehand, and of where outputs go. */
export function constraints(
  { graph, status }: Analysis,
  inputs: readonly Bound[],
  outputs: readonly Goal[],
): { readonly fixed: ReadonlyMap<ValueId, Layout>; readonly preferred: ReadonlyMap<ValueId, Layout> } {
  const fixed = new Map<ValueId, Layout>();
  graph.nodes.forEach((node, id) => {
    if (status[id] === 'resident') fixed.set(id, denseLayout(node.type));
  });
  inputs.forEach(({ layout }, position) => fixed.set(graph.inputs[position], layout));
  const preferred = new Map<ValueId, Layout>();
  outputs.forEach(({ layout }, position) => {
    const id = graph.outputs[position];
    if (status[id] === 'computed' && !preferred.has(id)) preferred.set(id, layout);
  });
  return { fixed, preferred };
}

/** The step decides how the state lies, among the layouts under which every function can view it. */
function stateLayouts(
  leaves: readonly StateLeaf[],
  step: Part,
  others: readonly Part[],
  target: Target,
  costs: ProductCosts,
): Layout[] {
  const { grouping } = step;
  const { analysis } = grouping;
  const { graph, status } = analysis;
  const fixed = new Map<ValueId, Layout>();
  graph.nodes.forEach((node, id) => {
    const isState = node.op === 'input' && node.attributes.name.startsWith('state.');
    if (status[id] === 'resident' && !isState) fixed.set(id, denseLayout(node.type));
  });
  const inputs = leaves.map(({ path }) => step.inputs.get(inputName('state', path))!);
  const leafNumbers = new Map(inputs.map((id, leaf) => [id, leaf]));
  const tied = leaves.flatMap((_, leaf): [ValueId, ValueId][] =>
    status[graph.outputs[leaf]] === 'computed' ? [[inputs[leaf], graph.outputs[leaf]]] : [],
  );
  const suits = (id: ValueId, layout: Layout): boolean => {
    const leaf = leafNumbers.get(id);
    if (leaf === undefined) return true;
    return ['state', 'next'].every((prefix) => views(others, inputName(prefix, leaves[leaf].path), layout));
  };
  const layouts = chooseLayouts({ grouping, target, fixed, preferred: new Map(), suits, tied, costs });
  return inputs.map((id) => layouts.get(id)!);
}

/** Whether every view of an input that the parts have can be had of that layout. */
function views(parts: readonly Part[], name: string, layout: Layout): boolean {
  return parts.every(({ inputs, grouping: { analysis } }) => {
    const input = inputs.get(name);
    if (input === undefined) return true;
    return analysis.graph.nodes.every(
      (_, view) =>
        analysis.status[view] !== 'view' ||
        baseOf(analysis, view) !== input ||
        seenThrough(analysis, view, layout) !== undefined,
    );
  });
}
