/** A run that begins at a θ which another run has found. */
import * as tf from '@tensorflow/tfjs';
import {
  ConfigurationError,
  treeFlatten,
  treeUnflatten,
  type TensorTree,
  type ThetaLayout,
  type UnrolledProblem,
} from '../contracts';
import type { RunPlan } from './run';
import { layoutOf, thetaLayout } from './theta';

/** A θ, and how its numbers are laid out. */
export interface StartingTheta {
  readonly theta: Float64Array;
  readonly layout: ThetaLayout;
  /** Where it is from, for errors. */
  readonly from: string;
}

/** What two layouts differ in, in words; undefined if they are the same. */
function difference(own: ThetaLayout, given: ThetaLayout): string | undefined {
  const worded = ({ path, shape }: ThetaLayout['leaves'][number]): string => `"${path}" of shape [${shape.join()}]`;
  const [wanted, had] = [own, given].map(({ leaves }) => leaves.map(worded));
  const at = wanted.findIndex((leaf, i) => leaf !== had[i]);
  if (at >= 0) return `${had[at] ?? 'nothing'} where ${wanted[at]} is`;
  return had.length > wanted.length ? `${had[wanted.length]} beyond its end` : undefined;
}

/** The problem with another θ₀, whatever the seed; rounded to float32, as every θ₀ is. */
function startingThere<P extends Pick<UnrolledProblem, 'initTheta'>>(problem: P, theta: Float64Array): P {
  const initTheta = (random: Parameters<UnrolledProblem['initTheta']>[0]): TensorTree => {
    const like = problem.initTheta(random);
    const { leaves } = layoutOf(like);
    const values = treeFlatten(like).map(({ shape, dtype }, i) => {
      const { offset, size } = leaves[i];
      return tf.tensor(Float32Array.from(theta.subarray(offset, offset + size)), shape, dtype);
    });
    return treeUnflatten(like, values);
  };
  return { ...problem, initTheta };
}

/**
 * The plan with its θ₀ there; all else, the seed's other draws included, stays.
 * @throws ConfigurationError where the plan's θ has other leaves
 */
export function startingAt(plan: RunPlan, { theta, layout, from }: StartingTheta): RunPlan {
  const { problem, tasks } = plan;
  const differs = difference(thetaLayout(problem), layout);
  if (differs !== undefined) {
    throw new ConfigurationError(
      'warmStart',
      `a θ with the leaves that "${problem.name}" has`,
      `${from}, which has ${differs}`,
      'Options of the optimizer that shape θ have to be those of that run.',
    );
  }
  const members = tasks?.members.map((member) => ({ ...member, problem: startingThere(member.problem, theta) }));
  return {
    ...plan,
    problem: startingThere(problem, theta),
    ...(tasks === undefined ? {} : { tasks: { ...tasks, members: members! } }),
  };
}
