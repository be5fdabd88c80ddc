import type { Graph, Node, ValueId } from '../ir';
import type { Pass } from './pass';

/** Dead code elimination: drops what no output needs. Inputs always stay, so that feeds keep their places. */
export const eliminateDeadCode: Pass = {
  name: 'dce',
  run(graph: Graph): Graph {
    const live = graph.nodes.map((node) => node.op === 'input');
    for (const id of graph.outputs) live[id] = true;
    for (let id = graph.nodes.length - 1; id >= 0; id--) {
      if (live[id]) for (const input of graph.nodes[id].inputs) live[input] = true;
    }
    if (!live.includes(false)) return graph;
    const renamed: ValueId[] = [];
    const nodes: Node[] = [];
    graph.nodes.forEach((node, id) => {
      renamed.push(nodes.length);
      if (live[id]) nodes.push({ ...node, inputs: node.inputs.map((input) => renamed[input]) });
    });
    return {
      name: graph.name,
      nodes,
      inputs: graph.inputs.map((id) => renamed[id]),
      outputs: graph.outputs.map((id) => renamed[id]),
    };
  },
};
