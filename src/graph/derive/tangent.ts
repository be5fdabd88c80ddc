/** Forward mode through an unrolled problem: a problem whose state has the tangents of the state beside it. */
import type { ThetaLayout } from '../../contracts';
import { GraphBuilder } from '../builder';
import { inline } from '../inline';
import { sizeOf, type Graph, type ValueId } from '../ir';
import { jvp } from '../jvp';
import { optimise } from '../passes';
import { inputName, type StateLeaf, type TracedProblem } from '../program';
import { floatLeaves, freshPrefix, inlineStep, stateInputs, thetaInputs, tInput, widened } from './interface';

/**
 * The problem with `directions` tangents: θ has a leaf more, the directions [directions, θ size], and the state one more
 * for each of its float32 leaves, [directions, …shape]: ∂leaf/∂θ·v, from initState on. The step's only sum is
 * [directions], the derivative of its loss along each.
 * @param traced for differentiation: with `stopGradient` still in it
 */
export function tangentProblem(traced: TracedProblem, directions: number): TracedProblem {
  const floats = floatLeaves(traced.state);
  const prefix = freshPrefix(
    'tangent',
    traced.state.map(({ path }) => path),
  );
  const added = floats.map((leaf): StateLeaf => {
    const { path, type } = traced.state[leaf];
    return { path: inputName(prefix, path), type: { shape: [directions, ...type.shape], dtype: 'float32' } };
  });
  const theta = withDirections(traced.theta, directions);
  const directionLeaf = theta.leaves[theta.leaves.length - 1];
  const directionInput = (builder: GraphBuilder): ValueId =>
    builder.input(inputName('theta', directionLeaf.path), { shape: directionLeaf.shape, dtype: 'float32' });

  /** Tangents of outputs along every direction, stacked: [directions, …shape]. */
  const stacked = (
    builder: GraphBuilder,
    along: (direction: number) => ReadonlyMap<ValueId, ValueId>,
    outputs: readonly ValueId[],
  ): ValueId[] => {
    const rows = Array.from({ length: directions }, (_, d) => jvp(builder, along(d), outputs));
    return outputs.map((output, k) => {
      const shape = builder.shape(output);
      const parts = rows.map((row) =>
        builder.reshape(row[k] ?? builder.zeros({ shape, dtype: 'float32' }), [1, ...shape]),
      );
      return directions === 1 ? parts[0] : builder.emit('concat', parts, { axis: 0 });
    });
  };
  const seeds = (
    builder: GraphBuilder,
    thetas: readonly ValueId[],
    direction: ValueId,
    d: number,
  ): [ValueId, ValueId][] =>
    thetas.map((id, i) => [id, thetaPart(builder, direction, d, traced.theta.leaves[i].offset, builder.shape(id))]);

  const init = ((): Graph => {
    const builder = new GraphBuilder(`${traced.init.name}.tangent`);
    const thetas = thetaInputs(builder, traced);
    const direction = directionInput(builder);
    const outputs = inline(builder, traced.init, thetas);
    const tangents = stacked(
      builder,
      (d) => new Map(seeds(builder, thetas, direction, d)),
      floats.map((leaf) => outputs[leaf]),
    );
    return optimise(builder.finish([...outputs, ...tangents]));
  })();

  const step = ((): Graph => {
    const builder = new GraphBuilder(`${traced.step.name}.tangent`);
    const thetas = thetaInputs(builder, traced);
    const direction = directionInput(builder);
    const state = stateInputs(builder, traced.state);
    const tangents = stateInputs(builder, added);
    const outputs = inlineStep(builder, traced.step, { theta: thetas, state, t: tInput(builder) });
    const leaves = traced.state.length;
    const results = stacked(
      builder,
      (d) =>
        new Map([
          ...seeds(builder, thetas, direction, d),
          ...floats.map((leaf, k): [ValueId, ValueId] => [state[leaf], row(builder, tangents[k], d)]),
        ]),
      [...floats.map((leaf) => outputs[leaf]), outputs[leaves]],
    );
    return optimise(
      builder.finish([
        ...outputs.slice(0, leaves),
        ...results.slice(0, -1),
        ...outputs.slice(leaves),
        results[results.length - 1],
      ]),
    );
  })();

  const finish = traced.finish === undefined ? undefined : widened(traced, traced.finish, added, directionInput);
  return {
    ...traced,
    theta,
    state: [...traced.state, ...added],
    sums: [{ shape: [directions], dtype: 'float32' }],
    init,
    step,
    ...(finish === undefined ? {} : { finish }),
  };
}

function withDirections({ size, leaves }: ThetaLayout, directions: number): ThetaLayout {
  const path = freshPrefix(
    'direction',
    leaves.map((leaf) => leaf.path),
  );
  const leaf = { path, shape: [directions, size], offset: size, size: directions * size };
  return { size: size + leaf.size, leaves: [...leaves, leaf] };
}

/** Row d of a value, without its first axis. */
function row(builder: GraphBuilder, id: ValueId, d: number): ValueId {
  const shape = builder.shape(id);
  const begin = shape.map((_, axis) => (axis === 0 ? d : 0));
  const size = shape.map((extent, axis) => (axis === 0 ? 1 : extent));
  return builder.reshape(builder.emit('slice', [id], { begin, size, strides: shape.map(() => 1) }), shape.slice(1));
}

/** The part of direction d that belongs to one leaf of θ. */
function thetaPart(
  builder: GraphBuilder,
  direction: ValueId,
  d: number,
  offset: number,
  shape: readonly number[],
): ValueId {
  const part = builder.emit('slice', [direction], { begin: [d, offset], size: [1, sizeOf(shape)], strides: [1, 1] });
  return builder.reshape(part, shape);
}
