export { checkDifferentiable } from './depends';
export { LEAST_BYTES, LEAST_TIME, type KeepCosts } from './keep';
export { rankOneProblem } from './rank-one';
export { reverseProblem, type ReverseProblem } from './reverse';
export { tangentProblem } from './tangent';
