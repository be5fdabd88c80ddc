export { checkDifferentiable } from './depends';
export { rankOneProblem } from './rank-one';
export { reverseProblem, type ReverseProblem } from './reverse';
export { tangentProblem } from './tangent';
