/** The way back of lane-major programs: the derivative of one step as a step of its own, in the same lanes. */
import type { ThetaLeaf } from '../../../../contracts';
import type { ReverseProblem } from '../../../../graph/derive';
import { GraphBuilder } from '../../../../graph/builder';
import { inline } from '../../../../graph/inline';
import { sizeOf, type Shape, type ValueId } from '../../../../graph/ir';
import type { StateLeaf, TracedProblem } from '../../../../graph/program';

/**
 * `back` as the step of a problem: its θ is what is given (θ, the state before the step, the loss's cotangent, in this
 * order), its state the cotangents of the state, its sums the gradient by θ. undefined where that cannot be: a state with
 * numbers that are no float32, or an initial state that depends on θ.
 */
export function laneBackProblem({ traced, floats, back, start }: ReverseProblem): TracedProblem | undefined {
  if (start !== undefined || floats.length < traced.state.length) return undefined;
  let size = 0;
  const leaf = (path: string, shape: Shape): ThetaLeaf => {
    const placed = { path, shape, offset: size, size: sizeOf(shape) };
    size += placed.size;
    return placed;
  };
  const leaves = [
    ...traced.theta.leaves.map(({ shape }, i) => leaf(`theta${i}`, shape)),
    ...traced.state.map(({ type }, i) => leaf(`state${i}`, type.shape)),
    leaf('loss', []),
  ];
  const state = traced.state.map(({ type }, i): StateLeaf => ({ path: `cotangent${i}`, type }));

  const init = new GraphBuilder(`${back.name}.init`);
  const thetaInputs = (b: GraphBuilder): ValueId[] =>
    leaves.map(({ path, shape }) => b.input(`theta.${path}`, { shape, dtype: 'float32' }));
  thetaInputs(init);
  const zeros = state.map(({ type }) => init.zeros(type));

  const step = new GraphBuilder(back.name);
  const given = thetaInputs(step);
  const [loss] = given.splice(-1);
  const cotangents = state.map(({ path, type }) => step.input(`state.${path}`, type));
  const t = step.input('t', { shape: [], dtype: 'int32' });
  const outputs = inline(step, back, [...given, t, ...cotangents, loss]);
  return {
    problem: traced.problem,
    theta: { size, leaves },
    state,
    metrics: [],
    sums: traced.theta.leaves.map(({ shape }) => ({ shape, dtype: 'float32' })),
    finishes: [],
    init: init.finish(zeros),
    step: step.finish([...outputs.slice(0, state.length), step.fill(0, []), ...outputs.slice(state.length)]),
  };
}
