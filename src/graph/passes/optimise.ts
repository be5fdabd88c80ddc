import type { Graph } from '../ir';
import { canonicalise } from './canonicalise';
import { eliminateCommonSubexpressions } from './cse';
import { eliminateDeadCode } from './dce';
import { foldConstants } from './fold';
import { ConstantHashes } from './hashes';
import { dropGradientMarkers } from './markers';
import { runPasses, sameNodes, type Pass } from './pass';

/** Preserves values and derivatives. */
export const SIMPLIFICATION: readonly Pass[] = [
  canonicalise,
  foldConstants,
  eliminateCommonSubexpressions,
  eliminateDeadCode,
];

/** Rewrites reach deeper with each round; a graph that still changes after these is right, only not minimal. */
const MAX_ROUNDS = 12;

/** Simplifies to a fixed point. Derivatives stay as they are, so the result may be differentiated. */
export function simplify(graph: Graph): Graph {
  const hashes = new ConstantHashes();
  let current = graph;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const next = runPasses(current, SIMPLIFICATION, hashes);
    if (sameNodes(current, next)) return next;
    current = next;
  }
  return current;
}

/** What engines run: simplified, without marks that only differentiation reads. Differentiate before, not after. */
export function optimise(graph: Graph): Graph {
  return simplify(runPasses(graph, [dropGradientMarkers]));
}
