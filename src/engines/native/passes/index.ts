import type { Graph } from '../../../graph/ir';
import { masksFromResults, optimise, runPasses, simplify } from '../../../graph/passes';
import { broadcastLate } from './broadcast-late';
import { columns } from './columns';
import { featureGradients } from './feature-gradients';
import { foldProducts } from './fold-products';
import { sharedFeatures } from './shared-features';

export { splitRows, bytesOfRow, type RowTiles, type TileBody, type TileLimits } from './tile-rows';
export { broadcastLate, columns, featureGradients, foldProducts, masksFromResults, sharedFeatures };

/** The graph as compiled engines run it: optimised, and rewritten where computing less or keeping less pays. */
export function optimiseForWindows(graph: Graph): Graph {
  const spread = simplify(
    runPasses(optimise(graph), [foldProducts, broadcastLate, columns, sharedFeatures, featureGradients, broadcastLate]),
  );
  return simplify(runPasses(spread, [masksFromResults]));
}
