export { canonicalise } from './canonicalise';
export { eliminateCommonSubexpressions } from './cse';
export { eliminateDeadCode } from './dce';
export { foldConstants, MAX_FOLDED_ELEMENTS } from './fold';
export { dropGradientMarkers } from './markers';
export { masksFromResults } from './masks';
export { optimise, simplify, SIMPLIFICATION } from './optimise';
export { runPasses, rewriteGraph, type Pass } from './pass';
