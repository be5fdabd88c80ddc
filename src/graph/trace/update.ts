/** An optimizer by itself: its functions as graphs, on parameters and gradients that are fed. */
import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, TensorTree, ThetaLayout, UnrolledProblem } from '../../contracts';
import type { Graph, Shape } from '../ir';
import type { StateLeaf, TracedProblem } from '../program';
import { traceProblem } from './problem';

/**
 * Inputs by name: `theta.<path>`, `state.params.<i>`, `state.gradients.<i>`, `state.<path>` of the optimizer's state,
 * `state.loss` and `t`.
 */
export interface UpdateGraphs {
  readonly name: string;
  readonly theta: ThetaLayout;
  /** Shapes of parameters and gradients. */
  readonly shapes: readonly Shape[];
  /** The optimizer's state. */
  readonly state: readonly StateLeaf[];
  /** → state leaves. */
  readonly init: Graph;
  /** → state leaves, then params. */
  readonly update: Graph;
}

/** What is given anew in every call, and what stays. */
interface UpdateState extends Record<string, TensorTree> {
  params: tf.Tensor[];
  gradients: tf.Tensor[];
  loss: tf.Scalar;
  optimizer: TensorTree;
}

type Next = (theta: TensorTree, state: UpdateState, inner: Parameters<UnrolledProblem['step']>[2]) => UpdateState;

/** A step that does `next` to a state that has gradients and loss beside the parameters. */
function traced(optimizer: LearnedOptimizer, shapes: readonly Shape[], next: Next): TracedProblem {
  const zeros = (): tf.Tensor[] => shapes.map((shape) => tf.zeros([...shape]));
  return traceProblem({
    name: optimizer.name,
    horizon: Infinity,
    initTheta: (random) => optimizer.initTheta(random),
    initState: (theta): UpdateState => {
      const params = zeros();
      return { params, gradients: zeros(), loss: tf.scalar(0), optimizer: optimizer.optimizer(theta).init(params) };
    },
    step: (theta, state, inner) => {
      const after = next(theta, state as UpdateState, inner);
      return { state: after, loss: after.loss };
    },
  });
}

const isBelow = (name: string, path: string): boolean => path === name || path.startsWith(`${name}.`);

/** The outputs of a traced step that are leaves below one of these names, in their order. */
function onlyOutputs({ step, state }: TracedProblem, ...names: readonly string[]): Graph {
  const below = (name: string): number[] =>
    state.flatMap(({ path }, i) => (isBelow(name, path) ? [step.outputs[i]] : []));
  return { ...step, outputs: names.flatMap(below) };
}

/** @throws TraceError for an optimizer that cannot be traced */
export function traceUpdate(optimizer: LearnedOptimizer, shapes: readonly Shape[]): UpdateGraphs {
  const update = traced(optimizer, shapes, (theta, { params, gradients, loss, optimizer: state }, { t, random }) => {
    const result = optimizer.optimizer(theta).update({ params, gradients, state, t, loss, random });
    return { params: result.params as tf.Tensor[], gradients, loss, optimizer: result.state };
  });
  const init = traced(optimizer, shapes, (theta, state) => ({
    ...state,
    optimizer: optimizer.optimizer(theta).init(state.params),
  }));
  return {
    name: optimizer.name,
    theta: update.theta,
    shapes,
    state: update.state.filter(({ path }) => isBelow('optimizer', path)),
    init: onlyOutputs(init, 'optimizer'),
    update: onlyOutputs(update, 'optimizer', 'params'),
  };
}
