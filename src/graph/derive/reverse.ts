/**
 * Reverse mode through an unrolled problem. A window runs forward and keeps something of every step; then `back` goes through
 * its steps from the last to the first, with the cotangent of the state and sums of θ's shares.
 */
import { GraphBuilder } from '../builder';
import { inline } from '../inline';
import type { Graph, ValueId, ValueType } from '../ir';
import { masksFromResults, optimise, runPasses, simplify } from '../passes';
import type { TracedProblem } from '../program';
import { vjp, type Seed } from '../vjp';
import { floatLeaves, inlineStep, stateInputs, thetaInputs, tInput } from './interface';
import { chooseKept, LEAST_BYTES, type KeepCosts } from './keep';

/**
 * Graphs of a reverse window beside the problem's own. With λ the cotangent of the state (float32 leaves only, in order) and
 * l that of a step's loss:
 * - `back`: θ leaves, state leaves before the step, t, λ after it, l → λ before it, θ's share of every leaf.
 * - `record`: inputs of the step → outputs of the step, then `residuals`: what `backFrom` needs and would be dear to make again.
 * - `backFrom`: θ leaves, state leaves before the step, state leaves after it, t, residuals, λ after, l → outputs of `back`.
 * - `start`: θ leaves, λ of the initial state → θ's shares through initState. Absent where it does not depend on θ.
 *
 * Input names: `theta.<path>`, `state.<path>`, `next.<path>`, `t`, `residual.<n>`, `cotangent.<path>`, `lossCotangent`.
 */
export interface ReverseProblem {
  readonly traced: TracedProblem;
  /** Indices of the state's float32 leaves. */
  readonly floats: readonly number[];
  readonly residuals: readonly ValueType[];
  readonly back: Graph;
  readonly record: Graph;
  readonly backFrom: Graph;
  readonly start?: Graph;
}

/**
 * @param traced for differentiation: with `stopGradient` still in it
 * @param costs which residuals: of the fewest bytes where nothing but moved numbers is computed twice, or as `costs` has it
 */
export function reverseProblem(traced: TracedProblem, costs: KeepCosts = LEAST_BYTES): ReverseProblem {
  const floats = floatLeaves(traced.state);
  const start = startGraph(traced, floats);
  return {
    traced,
    floats,
    ...split(traced, floats, costs),
    ...(start === undefined ? {} : { start }),
  };
}

/** The cotangent inputs of the step's float32 state outputs and of its loss. */
function cotangentInputs(
  builder: GraphBuilder,
  { state }: TracedProblem,
  floats: readonly number[],
): { readonly lambda: ValueId[]; readonly loss: ValueId } {
  const lambda = stateInputs(
    builder,
    floats.map((leaf) => state[leaf]),
    'cotangent',
  );
  return { lambda, loss: builder.input('lossCotangent', { shape: [], dtype: 'float32' }) };
}

function backGraph(traced: TracedProblem, floats: readonly number[]): Graph {
  const builder = new GraphBuilder(`${traced.step.name}.back`);
  const theta = thetaInputs(builder, traced);
  const state = stateInputs(builder, traced.state);
  const t = tInput(builder);
  const { lambda, loss } = cotangentInputs(builder, traced, floats);
  const outputs = inlineStep(builder, traced.step, { theta, state, t });
  const seeds: Seed[] = [
    ...floats.map((leaf, k) => ({ value: outputs[leaf], cotangent: lambda[k] })),
    { value: outputs[traced.state.length], cotangent: loss },
  ];
  const wrt = [...floats.map((leaf) => state[leaf]), ...theta];
  // The step's outputs stay, so that they and the backward part share what both compute.
  return builder.finish([...outputs, ...vjp(builder, seeds, wrt)]);
}

function startGraph(traced: TracedProblem, floats: readonly number[]): Graph | undefined {
  const builder = new GraphBuilder(`${traced.init.name}.back`);
  const theta = thetaInputs(builder, traced);
  const lambda = stateInputs(
    builder,
    floats.map((leaf) => traced.state[leaf]),
    'cotangent',
  );
  const outputs = inline(builder, traced.init, theta);
  const shares = vjp(
    builder,
    floats.map((leaf, k) => ({ value: outputs[leaf], cotangent: lambda[k] })),
    theta,
  );
  const graph = optimise(builder.finish(shares));
  const reads = reaching(graph, new Set(graph.inputs.slice(theta.length)));
  return graph.outputs.some((id) => reads.has(id)) ? graph : undefined;
}

/** The ids given and all that are computed from them. */
function reaching(graph: Graph, from: ReadonlySet<ValueId>): Set<ValueId> {
  const reached = new Set(from);
  graph.nodes.forEach(({ inputs }, id) => {
    if (inputs.some((input) => reached.has(input))) reached.add(id);
  });
  return reached;
}

/** Cuts step and backward part in two at the values that the backward part reads. */
function split(
  traced: TracedProblem,
  floats: readonly number[],
  costs: KeepCosts,
): Pick<ReverseProblem, 'back' | 'record' | 'backFrom' | 'residuals'> {
  // Of a rectifier only the result is kept.
  const whole = simplify(runPasses(optimise(backGraph(traced, floats)), [masksFromResults]));
  const { nodes, inputs, outputs } = whole;
  const leaves = traced.state.length;
  const stepOutputs = leaves + 1 + traced.metrics.length;
  const before = traced.theta.leaves.length + leaves + 1;
  const backward = reaching(whole, new Set(inputs.slice(before)));
  const given = new Set(inputs.slice(0, before));
  /** New states, by the leaf that they are: whoever goes back has them, as the state that the next step began with. */
  const next = new Map<ValueId, number>();
  outputs.slice(0, leaves).forEach((id, leaf) => {
    if (!given.has(id) && !next.has(id)) next.set(id, leaf);
  });

  const shares = outputs.slice(stepOutputs);
  const read = [...nodes.flatMap((node, id) => (backward.has(id) ? node.inputs : [])), ...shares];
  const { kept, again } = chooseKept(
    whole,
    read.filter((id) => !backward.has(id)),
    new Set([...given, ...next.keys()]),
    costs,
  );

  const recorder = new GraphBuilder(`${traced.step.name}.record`);
  const recorded = copyNodes(
    recorder,
    whole,
    new Map(inputs.slice(0, before).map((id) => [id, inputLike(recorder, whole, id)])),
    (id) => !backward.has(id),
  );

  const builder = new GraphBuilder(`${traced.step.name}.back-from`);
  const known = new Map<ValueId, ValueId>();
  const feed = (ids: readonly ValueId[]): void => ids.forEach((id) => known.set(id, inputLike(builder, whole, id)));
  feed(inputs.slice(0, before - 1));
  const nexts = stateInputs(builder, traced.state, 'next');
  next.forEach((leaf, id) => known.set(id, nexts[leaf]));
  feed(inputs.slice(before - 1, before));
  kept.forEach((id, n) => known.set(id, builder.input(`residual.${n}`, nodes[id].type)));
  feed(inputs.slice(before));
  const backed = copyNodes(builder, whole, known, (id) => backward.has(id) || again.has(id));

  const copied = (copies: ReadonlyMap<ValueId, ValueId>, ids: readonly ValueId[]): ValueId[] =>
    ids.map((id) => copies.get(id)!);
  return {
    back: optimise({ ...whole, name: `${traced.step.name}.back`, outputs: shares }),
    record: optimise(recorder.finish(copied(recorded, [...outputs.slice(0, stepOutputs), ...kept]))),
    backFrom: optimise(builder.finish(copied(backed, shares))),
    residuals: kept.map((id) => nodes[id].type),
  };
}

function inputLike(builder: GraphBuilder, graph: Graph, id: ValueId): ValueId {
  const node = graph.nodes[id];
  return builder.input(node.op === 'input' ? node.attributes.name : '', node.type);
}

/** Copies of the nodes that are wanted, reading `known` where it has a value. */
function copyNodes(
  builder: GraphBuilder,
  { nodes }: Graph,
  known: ReadonlyMap<ValueId, ValueId>,
  wanted: (id: ValueId) => boolean,
): Map<ValueId, ValueId> {
  const copies = new Map(known);
  nodes.forEach((node, id) => {
    if (copies.has(id) || node.op === 'input' || !wanted(id)) return;
    copies.set(
      id,
      builder.emit(
        node.op,
        node.inputs.map((input) => copies.get(input)!),
        node.attributes,
      ),
    );
  });
  return copies;
}
