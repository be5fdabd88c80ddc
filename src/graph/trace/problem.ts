/** Traces a problem: its three functions, with everything checked that engines rely on. */
import * as tf from '@tensorflow/tfjs';
import {
  isTreeContainer,
  TraceError,
  treeDifference,
  treeLeaves,
  treeUnflatten,
  type TensorTree,
  type ThetaLayout,
  type Tree,
  type UnrolledProblem,
} from '../../contracts';
import { EagerRandom, episodeKey } from '../../random';
import { formatType, sizeOf, type Graph, type ValueType } from '../ir';
import { inputName, type StateLeaf, type TracedProblem } from '../program';
import { traceGraph, type TraceFor, type TraceRequest } from './function';
import { onBackend } from './scope';
import { constantDType } from './session';

export interface TraceOptions {
  /** `differentiate` keeps the marks that derivatives of the step read. Default `run`. */
  readonly for?: Exclude<TraceFor, 'raw'>;
}

/** The structure of a tree whose leaves are tensors, without the tensors. */
type Structure = Tree<string>;

interface Described {
  readonly structure: Structure;
  readonly leaves: readonly StateLeaf[];
}

/**
 * Runs `initTheta` eagerly once for the layout, and traces the rest.
 * @throws TraceError for a function that cannot be traced, reads values, uses unkeyed randomness, or returns another
 * structure, shape or dtype than it must.
 */
export function traceProblem(problem: UnrolledProblem, options: TraceOptions = {}): TracedProblem {
  return new ProblemTracer(problem, options.for ?? 'run').trace();
}

class ProblemTracer {
  constructor(
    private readonly problem: UnrolledProblem,
    private readonly use: TraceFor,
  ) {}

  trace(): TracedProblem {
    const { problem } = this;
    const theta = this.describeTheta();
    const { graph: init, state } = this.init(theta);
    const { graph: step, metrics } = this.step(theta, state);
    const { graph: finish, finishes } = this.finish(theta, state);
    return {
      problem,
      theta: layout(theta.leaves),
      state: state.leaves,
      metrics,
      finishes,
      init,
      step,
      ...(finish === undefined ? {} : { finish }),
    };
  }

  private describeTheta(): Described {
    const { problem } = this;
    const what = `initTheta of problem "${problem.name}"`;
    const theta = onBackend('cpu', () =>
      describe(problem.initTheta(new EagerRandom(episodeKey(0, 'theta', 0, 0))), what),
    );
    for (const { path, type } of theta.leaves) {
      if (type.dtype !== 'float32') {
        throw new TraceError(`${what}, leaf "${path}": expected float32, got ${formatType(type)}.`);
      }
    }
    return theta;
  }

  private init(theta: Described): { graph: Graph; state: Described } {
    const { problem } = this;
    const what = `initState of problem "${problem.name}"`;
    let state: Described | undefined;
    const graph = traceGraph({
      ...this.request('init', what, inputs('theta', theta)),
      draws: { stream: 'init', perStep: false },
      body: (tensors, { random }) => {
        const initial = problem.initState(fill(theta, tensors), random);
        state = describe(initial, what);
        return treeLeaves<tf.Tensor>(initial).map(({ value }) => value);
      },
    });
    return { graph, state: state! };
  }

  private step(theta: Described, state: Described): { graph: Graph; metrics: readonly string[] } {
    const { problem } = this;
    const what = `step of problem "${problem.name}"`;
    let metrics: readonly string[] = [];
    const graph = traceGraph({
      ...this.request('step', what, this.stepInputs(theta, state)),
      body: (tensors, inner) => {
        const result: unknown = problem.step(...this.split(theta, state, tensors), inner);
        const { state: next, loss, metrics: scalars = {} } = stepResult(result, what);
        metrics = Object.keys(scalars).sort();
        return [
          ...sameLeaves(state, next, what),
          scalar(loss, `${what}, loss`, false),
          ...metrics.map((name) => scalar(scalars[name], `${what}, metric "${name}"`, true)),
        ];
      },
    });
    return { graph, metrics };
  }

  private finish(theta: Described, state: Described): { graph?: Graph; finishes: readonly string[] } {
    const { problem } = this;
    if (problem.finish === undefined) return { finishes: [] };
    const what = `finish of problem "${problem.name}"`;
    let finishes: readonly string[] = [];
    const graph = traceGraph({
      ...this.request('finish', what, this.stepInputs(theta, state)),
      body: (tensors, inner) => {
        const outputs: unknown = problem.finish!(...this.split(theta, state, tensors), inner);
        if (!isRecord(outputs)) {
          throw new TraceError(`${what}: expected an object of scalar tensors, got ${kindOf(outputs)}.`);
        }
        finishes = Object.keys(outputs).sort();
        return finishes.map((name) => scalar(outputs[name], `${what}, output "${name}"`, true));
      },
    });
    return { graph, finishes };
  }

  private request(part: string, what: string, graphInputs: TraceRequest['inputs']): Omit<TraceRequest, 'body'> {
    const { name, dataset, batchSize } = this.problem;
    return {
      name: `${name}.${part}`,
      what,
      inputs: graphInputs,
      draws: { stream: 'user', perStep: true },
      for: this.use,
      ...(dataset === undefined ? {} : { dataset }),
      ...(batchSize === undefined ? {} : { batchSize }),
    };
  }

  private stepInputs(theta: Described, state: Described): TraceRequest['inputs'] {
    const t = { name: 't', type: { shape: [], dtype: 'int32' } } as const;
    return [...inputs('theta', theta), ...inputs('state', state), t];
  }

  private split(theta: Described, state: Described, tensors: readonly tf.Tensor[]): [TensorTree, TensorTree] {
    const middle = theta.leaves.length;
    return [fill(theta, tensors.slice(0, middle)), fill(state, tensors.slice(middle, middle + state.leaves.length))];
  }
}

function inputs(prefix: string, tree: Described): TraceRequest['inputs'] {
  return tree.leaves.map(({ path, type }) => ({ name: inputName(prefix, path), type }));
}

function fill(tree: Described, tensors: readonly tf.Tensor[]): TensorTree {
  return treeUnflatten(tree.structure, tensors);
}

function isTensor(value: unknown): value is tf.Tensor {
  return value instanceof tf.Tensor;
}

function typeOf(tensor: tf.Tensor): ValueType {
  return { shape: [...tensor.shape], dtype: constantDType(tensor.dtype) };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return isTreeContainer(value) && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value instanceof Promise) return 'a promise; it must not be async';
  if (isTensor(value)) return 'a tensor';
  if (typeof value === 'object' && value !== null && 'dataId' in value) {
    return 'a tensor of another TensorFlow.js; install @tensorflow/tfjs once, next to outerloop';
  }
  return value === null ? 'null' : typeof value;
}

function repeated(paths: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return paths.find((path) => seen.size === seen.add(path).size);
}

function describe(tree: TensorTree, what: string): Described {
  if (tree instanceof Promise) throw new TraceError(`${what}: expected a tree of tensors, got ${kindOf(tree)}.`);
  const leaves = treeLeaves<unknown>(tree).map(({ path, value }) => {
    if (!isTensor(value)) {
      throw new TraceError(`${what}, leaf "${path}": expected a tensor, got ${kindOf(value)}.`);
    }
    return { path, type: typeOf(value) };
  });
  const paths = leaves.map(({ path }) => path);
  const twice = repeated(paths);
  if (twice !== undefined) {
    throw new TraceError(`${what}: expected leaves of different paths, got "${twice}" twice; use keys without dots.`);
  }
  return {
    structure: treeUnflatten(tree, paths),
    leaves,
  };
}

function stepResult(
  result: unknown,
  what: string,
): { state: TensorTree; loss: unknown; metrics?: Readonly<Record<string, unknown>> } {
  if (typeof result !== 'object' || result === null || !('state' in result) || !('loss' in result)) {
    throw new TraceError(`${what}: expected {state, loss, metrics?}, got ${kindOf(result)}.`);
  }
  return result as { state: TensorTree; loss: unknown; metrics?: Readonly<Record<string, unknown>> };
}

/** The leaves of the next state. @throws TraceError unless structure, shapes and dtypes are those of the state. */
function sameLeaves(state: Described, next: TensorTree, what: string): tf.Tensor[] {
  const returned = describe(next, `${what}, state`);
  const difference = treeDifference(state.structure, returned.structure);
  if (difference !== undefined) {
    throw new TraceError(`${what} must return a state of the structure it got: ${difference}.`);
  }
  returned.leaves.forEach(({ path, type }, i) => {
    const [expected, got] = [formatType(state.leaves[i].type), formatType(type)];
    if (expected !== got) throw new TraceError(`${what}, state leaf "${path}": expected ${expected}, got ${got}.`);
  });
  return treeLeaves<tf.Tensor>(next).map(({ value }) => value);
}

/** A float32 scalar; a reported one may also be an int32 or bool. */
function scalar(value: unknown, what: string, reported: boolean): tf.Tensor {
  if (!isTensor(value)) throw new TraceError(`${what}: expected a scalar tensor, got ${kindOf(value)}.`);
  const type = typeOf(value);
  if (type.shape.length > 0 || (type.dtype !== 'float32' && !reported)) {
    throw new TraceError(`${what}: expected a float32 scalar, got ${formatType(type)}. Use tf.mean or tf.sum.`);
  }
  return value.toFloat<tf.Tensor>();
}

function layout(leaves: readonly StateLeaf[]): ThetaLayout {
  let size = 0;
  const laidOut = leaves.map(({ path, type }) => {
    const leaf = { path, shape: type.shape, offset: size, size: sizeOf(type.shape) };
    size += leaf.size;
    return leaf;
  });
  return { size, leaves: laidOut };
}
