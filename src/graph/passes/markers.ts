import { rewriteGraph, type Pass } from './pass';

/**
 * Drops identity and stopGradient, which mean something to differentiation only. Not for graphs that will still be
 * differentiated: their derivative would no longer stop there.
 */
export const dropGradientMarkers: Pass = {
  name: 'drop-gradient-markers',
  run: (graph) =>
    rewriteGraph(graph, (_, node) =>
      node.op === 'identity' || node.op === 'stopGradient' ? node.inputs[0] : undefined,
    ),
};
