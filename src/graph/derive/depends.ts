/** Whether the loss of an unrolled problem depends on θ by a path on which every op has a derivative. */
import { DifferentiationError } from '../../contracts';
import type { Graph } from '../ir';
import type { TracedProblem } from '../program';
import { VJP_RULES } from '../vjp-rules';

/**
 * @throws DifferentiationError if no path from θ to the loss, over any number of steps, has a derivative: an estimator
 * would see a gradient of zero and stand still without a word.
 */
export function checkDifferentiable(traced: TracedProblem): void {
  const { problem, theta, state, init, step } = traced;
  const thetas = theta.leaves.map(() => true);
  const fromInit = dependence(init, thetas);
  let active = state.map((_, leaf) => fromInit[leaf]);
  // Each round can only add leaves; as many rounds as there are leaves reach the fixed point.
  for (let round = 0; round <= state.length; round++) {
    const outputs = dependence(step, [...thetas, ...active, false]);
    if (outputs[state.length]) return;
    active = active.map((was, leaf) => was || outputs[leaf]);
  }
  throw new DifferentiationError(
    `the objective of "${problem.name}" has no derivative: every path from θ to it goes through operations whose derivative ` +
      'is zero everywhere (comparison, argmax, rounding, stopGradient). Use an evolutionary estimator: ' +
      'nres, pes, gpes, full-es or truncated-es.',
  );
}

/** Per output: whether it depends on a marked input through ops with a derivative. */
function dependence(graph: Graph, marked: readonly boolean[]): boolean[] {
  const active = new Set(graph.inputs.filter((id, i) => marked[i] && graph.nodes[id].type.dtype === 'float32'));
  graph.nodes.forEach(({ op, inputs, type }, id) => {
    if (type.dtype !== 'float32' || VJP_RULES[op] === undefined) return;
    if (inputs.some((input) => active.has(input))) active.add(id);
  });
  return graph.outputs.map((id) => active.has(id));
}
