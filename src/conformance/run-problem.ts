/** Runs one particle of a problem on the reference interpreter, in float64 unless told otherwise. */
import * as tf from '@tensorflow/tfjs';
import { treeFlatten, type TensorTree, type UnrolledProblem } from '../contracts';
import {
  compileInterpreter,
  stepContext,
  type InterpreterContext,
  type InterpreterOptions,
  type Value,
} from '../graph/interpreter';
import { traceProblem } from '../graph/trace';
import { EagerRandom, seedKey } from '../random';

export interface RunOptions {
  readonly steps: number;
  /** θ by leaf, in tree order; by default that of `initTheta`. */
  readonly theta?: readonly (readonly number[])[];
  readonly seed?: number;
  readonly worker?: number;
  readonly episode?: number;
}

export interface Trajectory {
  /** One a step. */
  readonly losses: readonly number[];
  readonly metrics: Readonly<Record<string, readonly number[]>>;
  /** State leaves by path after each step; index 0 is the initial state. */
  readonly states: readonly Readonly<Record<string, Float64Array>>[];
  /** Outputs of `finish` after the last step. */
  readonly finish: Readonly<Record<string, number>>;
}

/** θ₀ by leaf. */
export function initialTheta(problem: UnrolledProblem): number[][] {
  return tf.tidy(() =>
    treeFlatten<tf.Tensor>(problem.initTheta(new EagerRandom(seedKey(0)))).map((leaf) => Array.from(leaf.dataSync())),
  );
}

/** Traces and compiles a problem once, to be run with many θ and keys. */
export function runnerOf(problem: UnrolledProblem, { floats = 'float64' }: InterpreterOptions = {}) {
  const traced = traceProblem(problem);
  const [init, step] = [traced.init, traced.step].map((graph) => compileInterpreter(graph, { floats }));
  const finish = traced.finish === undefined ? undefined : compileInterpreter(traced.finish, { floats });
  const named = (values: readonly Value[]): Record<string, Float64Array> =>
    Object.fromEntries(traced.state.map(({ path }, i) => [path, Float64Array.from(values[i])]));
  return ({ steps, seed = 0, worker = 0, episode = 0, ...options }: RunOptions): Trajectory => {
    const theta: Value[] = (options.theta ?? initialTheta(problem)).map((leaf) => Float64Array.from(leaf));
    const context = (t: number): InterpreterContext => stepContext(seed, worker, episode, t);
    let state = init.run(theta, context(0));
    const states = [named(state)];
    const losses: number[] = [];
    const metrics: Record<string, number[]> = Object.fromEntries(traced.metrics.map((name) => [name, []]));
    for (let t = 0; t < steps; t++) {
      const outputs = step.run([...theta, ...state, Int32Array.of(t)], context(t));
      state = outputs.slice(0, state.length);
      states.push(named(state));
      losses.push(outputs[state.length][0]);
      traced.metrics.forEach((name, i) => metrics[name].push(outputs[state.length + 1 + i][0]));
    }
    const finished = finish?.run([...theta, ...state, Int32Array.of(steps)], context(steps)) ?? [];
    const outputs = Object.fromEntries(traced.finishes.map((name, i) => [name, finished[i][0]]));
    return { losses, metrics, states, finish: outputs };
  };
}

export function runProblem(problem: UnrolledProblem, options: RunOptions): Trajectory {
  return runnerOf(problem)(options);
}

/** Loss and gradient by params of a function of a tree, in float64 on the graph. */
export function lossAndGradient(
  params: Readonly<Record<string, { readonly shape: readonly number[]; readonly values: readonly number[] }>>,
  loss: (params: TensorTree) => tf.Tensor,
  unflatten: (leaves: Readonly<Record<string, tf.Tensor>>) => TensorTree = (leaves) => leaves,
): { loss: number; gradient: Readonly<Record<string, Float64Array>> } {
  const names = Object.keys(params).sort();
  const problem: UnrolledProblem = {
    name: 'loss and gradient',
    horizon: 1,
    // The parameters are fed as θ: θ's float32 leaves carry float64 numbers on the interpreter.
    initTheta: () => Object.fromEntries(names.map((name) => [name, tf.zeros([...params[name].shape])])),
    initState: () => Object.fromEntries(names.map((name) => [name, tf.zeros([...params[name].shape])])),
    step: (theta, _, inner) => {
      const { value, gradient } = inner.valueAndGrad((leaves: TensorTree) =>
        loss(unflatten(leaves as Record<string, tf.Tensor>)),
      )(theta);
      return { state: gradient, loss: value };
    },
  };
  const { losses, states } = runProblem(problem, { steps: 1, theta: names.map((name) => params[name].values) });
  return { loss: losses[0], gradient: states[1] };
}
