/** Reverse mode: the pass `vjp` appends the vector-Jacobian product of part of a graph to the same graph. */
import { ShapeError } from '../contracts';
import { GraphBuilder } from './builder';
import { copyInto, freshName, inputNames } from './inline';
import { formatType, sameShape, type Graph, type NodeOf, type OpName, type ValueId } from './ir';
import { VJP_RULES } from './vjp-rules';

/** A value to differentiate and the cotangent that it starts with, of the value's own type. */
export interface Seed {
  readonly value: ValueId;
  readonly cotangent: ValueId;
}

/**
 * Σ over seeds of cotangentᵀ·∂value/∂wrt, as a value of each wrt's type. Total derivatives: if one wrt depends on another,
 * the other's cotangent includes the path through it. Only float32 carries a derivative; a wrt that no seed depends
 * on, or of another dtype, gets zeros. A value seeded twice adds up.
 * @throws ShapeError if a seed is not float32, or its cotangent is of another type.
 */
export function vjp(builder: GraphBuilder, seeds: readonly Seed[], wrt: readonly ValueId[]): ValueId[] {
  for (const { value, cotangent } of seeds) checkDerivative(builder, 'vjp: the cotangent', value, cotangent);
  const first = wrt.reduce((least, id) => Math.min(least, id), builder.size);
  const last = seeds.reduce((greatest, { value }) => Math.max(greatest, value), -1);
  const active = dependents(builder, wrt, first, last);

  const cotangents = new Map<ValueId, ValueId>();
  const accumulate = (id: ValueId, term: ValueId): void => {
    const sum = cotangents.get(id);
    cotangents.set(id, sum === undefined ? term : builder.op('add', sum, term));
  };
  for (const { value, cotangent } of seeds) if (active.has(value)) accumulate(value, cotangent);

  for (let id = last; id >= first; id--) {
    const cotangent = cotangents.get(id);
    if (cotangent === undefined) continue;
    const node = builder.node(id);
    node.inputs.forEach((input, operand) => {
      if (!active.has(input)) return;
      const term = applyRule(builder, node, id, operand, cotangent);
      if (term !== undefined) accumulate(input, term);
    });
  }
  return wrt.map((id) => cotangents.get(id) ?? builder.zeros(builder.type(id)));
}

/**
 * The graph with its reverse mode. Inputs: the graph's, then `cotangent.<i>` for each float32 output i. Outputs: the
 * graph's, then the cotangent of each float32 input.
 */
export function vjpGraph(graph: Graph): Graph {
  const builder = new GraphBuilder(`${graph.name}.vjp`);
  const { inputs, outputs } = copyInto(builder, graph);
  const names = inputNames(graph);
  const seeds = outputs.flatMap((value, i): Seed[] => {
    const type = builder.type(value);
    if (type.dtype !== 'float32') return [];
    return [{ value, cotangent: builder.input(freshName(names, `cotangent.${i}`), type) }];
  });
  const wrt = inputs.filter((id) => builder.type(id).dtype === 'float32');
  return builder.finish([...outputs, ...vjp(builder, seeds, wrt)]);
}

/** @throws ShapeError unless `derivative` can be a cotangent or a tangent of `value`. */
export function checkDerivative(builder: GraphBuilder, what: string, value: ValueId, derivative: ValueId): void {
  const expected = builder.type(value);
  const got = builder.type(derivative);
  if (expected.dtype !== 'float32' || got.dtype !== 'float32' || !sameShape(expected.shape, got.shape)) {
    throw new ShapeError(
      `${what} of a ${formatType(expected)} value: expected the same type, float32, got ${formatType(got)}.`,
    );
  }
}

/** The float32 values among first … last that depend on `wrt` through ops with a derivative. */
function dependents(builder: GraphBuilder, wrt: readonly ValueId[], first: ValueId, last: ValueId): Set<ValueId> {
  const active = new Set(wrt.filter((id) => builder.type(id).dtype === 'float32'));
  for (let id = first; id <= last; id++) {
    const { op, inputs, type } = builder.node(id);
    if (type.dtype === 'float32' && VJP_RULES[op] !== undefined && inputs.some((input) => active.has(input))) {
      active.add(id);
    }
  }
  return active;
}

function applyRule<P extends OpName>(
  builder: GraphBuilder,
  node: NodeOf<P>,
  id: ValueId,
  operand: number,
  cotangent: ValueId,
): ValueId | undefined {
  // A wrt may itself be the result of an op without a derivative.
  return VJP_RULES[node.op]?.(builder, node, id, operand, cotangent);
}
