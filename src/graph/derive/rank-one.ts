/**
 * UORO as a problem: the state has two vectors beside it whose outer product is an unbiased estimate of ∂state/∂θ
 * (Tallec & Ollivier 2017, "Unbiased Online Recurrent Optimization", Alg. 1).
 */
import { drawWord } from '../../random';
import { GraphBuilder } from '../builder';
import { inline } from '../inline';
import type { Graph, ValueId } from '../ir';
import { jvp } from '../jvp';
import { optimise } from '../passes';
import { inputName, type StateLeaf, type TracedProblem } from '../program';
import { vjp, type Seed } from '../vjp';
import {
  floatLeaves,
  freshPrefix,
  inlineStep,
  stateInputs,
  thetaInputs,
  thetaType,
  tInput,
  widened,
} from './interface';

/** ε of the paper's algorithm, which keeps both scales finite and above zero. */
const GUARD = 1e-7;

/**
 * The problem with s̃ (shaped as the float32 leaves of the state) and θ̃ (as θ). With F the step, ν uniform on {−1, 1} per
 * number and step (stream `noise`, shared by antithetic partners), all vectors over all leaves at once:
 *
 *     gradient of L_t:  (∂L_t/∂s·s̃)·θ̃ + ∂L_t/∂θ
 *     ρ₀ = √(‖θ̃‖ / (‖∂F/∂s·s̃‖ + ε)) + ε        ρ₁ = √(‖νᵀ∂F/∂θ‖ / (‖ν‖ + ε)) + ε
 *     s̃ ← ρ₀·∂F/∂s·s̃ + ρ₁·ν                      θ̃ ← θ̃/ρ₀ + νᵀ∂F/∂θ/ρ₁
 *
 * from s̃ = θ̃ = 0, or from one such update of 0 by initState where that depends on θ. The step's sums are the gradient,
 * one for each leaf of θ.
 * @param traced for differentiation: with `stopGradient` still in it
 */
export function rankOneProblem(traced: TracedProblem): TracedProblem {
  const floats = floatLeaves(traced.state);
  const prefix = freshPrefix(
    'uoro',
    traced.state.map(({ path }) => path),
  );
  const stateLeaves = floats.map((leaf): StateLeaf => {
    const { path, type } = traced.state[leaf];
    return { path: inputName(`${prefix}.state`, path), type };
  });
  const thetaLeaves = traced.theta.leaves.map((leaf): StateLeaf => ({
    path: inputName(`${prefix}.theta`, leaf.path),
    type: thetaType(leaf),
  }));
  const added = [...stateLeaves, ...thetaLeaves];

  /** ν for each of some values. */
  const signs = (builder: GraphBuilder, values: readonly ValueId[], perStep: boolean): ValueId[] =>
    values.map((id, k) => {
      const shape = builder.shape(id);
      const uniform = builder.emit('random', [], {
        stream: 'noise',
        perStep,
        path: [drawWord(k)],
        distribution: { name: 'uniform' },
        shape,
      });
      const positive = builder.binary('lt', uniform, builder.fill(0.5, []));
      return builder.select(positive, builder.fill(1, shape), builder.fill(-1, shape));
    });
  const pairs = (values: readonly ValueId[], cotangents: readonly ValueId[]): Seed[] =>
    values.map((value, k) => ({ value, cotangent: cotangents[k] }));

  const init = ((): Graph => {
    const builder = new GraphBuilder(`${traced.init.name}.rank-one`);
    const thetas = thetaInputs(builder, traced);
    const outputs = inline(builder, traced.init, thetas);
    const starts = floats.map((leaf) => outputs[leaf]);
    const zeros = added.map(({ type }) => builder.zeros(type));
    if (!dependsOnTheta(traced.init)) return optimise(builder.finish([...outputs, ...zeros]));
    const nu = signs(builder, starts, false);
    const shares = vjp(builder, pairs(starts, nu), thetas);
    const rho = scale(builder, norm(builder, shares), norm(builder, nu));
    return optimise(
      builder.finish([
        ...outputs,
        ...nu.map((sign) => builder.binary('mul', sign, rho)),
        ...shares.map((share) => builder.binary('div', share, rho)),
      ]),
    );
  })();

  const step = ((): Graph => {
    const builder = new GraphBuilder(`${traced.step.name}.rank-one`);
    const thetas = thetaInputs(builder, traced);
    const state = stateInputs(builder, traced.state);
    const sTilde = stateInputs(builder, stateLeaves);
    const thetaTilde = stateInputs(builder, thetaLeaves);
    const outputs = inlineStep(builder, traced.step, { theta: thetas, state, t: tInput(builder) });
    const leaves = traced.state.length;
    const loss = outputs[leaves];
    const nexts = floats.map((leaf) => outputs[leaf]);

    const tangents = new Map(floats.map((leaf, k) => [state[leaf], sTilde[k]]));
    const [lossTangent, ...moved] = jvp(builder, tangents, [loss, ...nexts]);
    const direct = vjp(builder, [{ value: loss, cotangent: builder.fill(1, []) }], thetas);
    const gradient = direct.map((part, i) =>
      lossTangent === undefined ? part : builder.op('add', part, builder.binary('mul', thetaTilde[i], lossTangent)),
    );

    const nu = signs(builder, nexts, true);
    const carried = moved.map((value, k) => value ?? builder.zeros(builder.type(nexts[k])));
    const shares = vjp(builder, pairs(nexts, nu), thetas);
    const rho0 = scale(builder, norm(builder, thetaTilde), norm(builder, carried));
    const rho1 = scale(builder, norm(builder, shares), norm(builder, nu));
    const mixed = (a: readonly ValueId[], b: readonly ValueId[], op: 'mul' | 'div'): ValueId[] =>
      a.map((x, k) => builder.op('add', builder.binary(op, x, rho0), builder.binary(op, b[k], rho1)));
    return optimise(
      builder.finish([
        ...outputs.slice(0, leaves),
        ...mixed(carried, nu, 'mul'),
        ...mixed(thetaTilde, shares, 'div'),
        ...outputs.slice(leaves),
        ...gradient,
      ]),
    );
  })();

  return {
    ...traced,
    state: [...traced.state, ...added],
    sums: traced.theta.leaves.map(thetaType),
    init,
    step,
    ...(traced.finish === undefined ? {} : { finish: widened(traced, traced.finish, added) }),
  };
}

/** √(above / (below + ε)) + ε. */
function scale(builder: GraphBuilder, above: ValueId, below: ValueId): ValueId {
  const guard = builder.fill(GUARD, []);
  return builder.op('add', builder.op('sqrt', builder.op('div', above, builder.op('add', below, guard))), guard);
}

/** Euclidean norm over all of some values. */
function norm(builder: GraphBuilder, values: readonly ValueId[]): ValueId {
  const squares = values.map((id) =>
    builder.reduceSum(
      builder.op('mul', id, id),
      builder.shape(id).map((_, axis) => axis),
    ),
  );
  if (squares.length === 0) return builder.fill(0, []);
  return builder.op(
    'sqrt',
    squares.reduce((sum, term) => builder.op('add', sum, term)),
  );
}

function dependsOnTheta(init: Graph): boolean {
  const reached = new Set(init.inputs);
  init.nodes.forEach(({ inputs }, id) => {
    if (inputs.some((input) => reached.has(input))) reached.add(id);
  });
  return init.outputs.some((id) => reached.has(id));
}
