import { splatOf } from './splat';
import { GraphBuilder } from '../builder';
import type { Graph, NodeOf, OpName, ValueId } from '../ir';
import type { Pass } from './pass';

/**
 * A rectifier h = select(x ≤ c, c, x) is above c exactly where x is, NaN included: whoever asks for x ≤ c later can ask
 * for h ≤ c, and neither x nor the mask has to be kept.
 */
export const masksFromResults: Pass = {
  name: 'masks-from-results',
  run(graph: Graph): Graph {
    const builder = new GraphBuilder(graph.name);
    const replaced: ValueId[] = [];
    /** Rectifiers that have been seen, by their mask (an id of the old graph). */
    const rectified = new Map<ValueId, ValueId>();
    const keep = <P extends OpName>(node: NodeOf<P>): ValueId => builder.emit(node.op, node.inputs, node.attributes);
    graph.nodes.forEach((old, id) => {
      const inputs = old.inputs.map((operand) => {
        const rectifier = rectified.get(operand);
        const mask = graph.nodes[operand];
        if (rectifier === undefined || mask.op !== 'le') return replaced[operand];
        return builder.op('le', replaced[rectifier], replaced[mask.inputs[1]]);
      });
      replaced.push(keep<OpName>({ ...old, inputs }));
      if (old.op !== 'select') return;
      const [condition, low, x] = old.inputs;
      const mask = graph.nodes[condition];
      if (mask.op !== 'le' || mask.inputs[0] !== x || mask.inputs[1] !== low) return;
      const limit = splatOf(builder, replaced[low]);
      if (limit !== undefined && !Number.isNaN(limit) && !rectified.has(condition)) rectified.set(condition, id);
    });
    return builder.finish(graph.outputs.map((id) => replaced[id]));
  },
};
