import { GraphBuilder } from '../builder';
import type { Graph, Node, NodeOf, OpName, ValueId } from '../ir';
import { verifyGraph } from '../verify';
import { ConstantHashes } from './hashes';

/** A pure function from graph to graph. The inputs stay, in number, order and type, and so do the outputs. */
export interface Pass {
  /** Cited by errors and tests. */
  readonly name: string;
  /** `hashes` is shared by the passes that run together. */
  run(graph: Graph, hashes: ConstantHashes): Graph;
}

/**
 * Runs passes in order; the graph is verified before the first and after each.
 * @throws GraphError naming the pass that left a graph invalid.
 */
export function runPasses(graph: Graph, passes: readonly Pass[], hashes = new ConstantHashes()): Graph {
  verifyGraph(graph, passes.length > 0 ? `entry to ${passes[0].name}` : 'entry');
  return passes.reduce((current, pass) => {
    const next = pass.run(current, hashes);
    verifyGraph(next, `exit from ${pass.name}`);
    return next;
  }, graph);
}

/**
 * Rebuilds a graph node by node. `rule` sees each node with its operands already replaced, and returns the value that
 * takes its place, or undefined to keep the node. Input nodes are always kept.
 */
export function rewriteGraph(graph: Graph, rule: (builder: GraphBuilder, node: Node) => ValueId | undefined): Graph {
  const builder = new GraphBuilder(graph.name);
  const replaced: ValueId[] = [];
  const keep = <P extends OpName>(node: NodeOf<P>): ValueId => builder.emit(node.op, node.inputs, node.attributes);
  for (const old of graph.nodes) {
    const node = { ...old, inputs: old.inputs.map((input) => replaced[input]) };
    replaced.push((node.op === 'input' ? undefined : rule(builder, node)) ?? keep<OpName>(node));
  }
  return builder.finish(graph.outputs.map((id) => replaced[id]));
}

/** True if both graphs have the same nodes (attributes compared by identity, as passes hand them on). */
export function sameNodes(a: Graph, b: Graph): boolean {
  const sameIds = (x: readonly ValueId[], y: readonly ValueId[]): boolean =>
    x.length === y.length && x.every((id, i) => id === y[i]);
  return (
    a.nodes.length === b.nodes.length &&
    sameIds(a.outputs, b.outputs) &&
    a.nodes.every((node, id) => {
      const other = b.nodes[id];
      return node.op === other.op && node.attributes === other.attributes && sameIds(node.inputs, other.inputs);
    })
  );
}
