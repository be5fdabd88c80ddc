/** Runs a user's function once on tensors that stand for graph inputs, and returns the graph. */
import * as tf from '@tensorflow/tfjs';
import { OuterloopError, ShapeError, TraceError, type Inner } from '../../contracts';
import { GraphBuilder } from '../builder';
import type { Graph, ValueType } from '../ir';
import { optimise, simplify } from '../passes';
import { firstDifference } from './compare';
import { TracedInner, type InnerData } from './inner';
import { userLine } from './lines';
import { onTraceBackend } from './scope';
import { TraceSession, type DrawScope } from './session';

/** What becomes of a traced graph: `run` drops the marks that only differentiation reads; `raw` is as recorded. */
export type TraceFor = 'run' | 'differentiate' | 'raw';

export interface TraceRequest extends InnerData {
  /** Name of the graph. */
  readonly name: string;
  /** How messages call the function: `step of problem "lorenz"`. */
  readonly what: string;
  readonly inputs: readonly { readonly name: string; readonly type: ValueType }[];
  readonly draws: DrawScope;
  readonly for: TraceFor;
  /** Returns the graph's outputs. `inner.t` is the input named `t`, or 0. */
  body(tensors: readonly tf.Tensor[], inner: Inner): readonly tf.Tensor[];
}

/**
 * Traces twice and compares, since a function may depend on hidden state that no scope gives away.
 * @throws TraceError naming the user's line.
 */
export function traceGraph(request: TraceRequest): Graph {
  const graph = record(request);
  const again = record(request);
  const difference = firstDifference(graph, again);
  if (difference !== undefined) throw notRepeatable(request, difference);
  if (request.for === 'raw') return graph;
  return request.for === 'run' ? optimise(graph) : simplify(graph);
}

function notRepeatable(request: TraceRequest, difference: number): TraceError {
  // A third trace finds the line; the others do not look it up, since that is slow.
  const { session } = recordWith(request, difference);
  return new TraceError(
    `${request.what} gives another graph or other constants when it is called again: it uses unkeyed randomness ` +
      '(Math.random, Date) or keeps state of its own. Draw from inner.random, and keep what changes in the state.',
    session.watchedLine,
  );
}

const record = (request: TraceRequest): Graph => recordWith(request).graph;

function recordWith(request: TraceRequest, watched?: number): { graph: Graph; session: TraceSession } {
  const builder = new GraphBuilder(request.name);
  const session = new TraceSession(builder, request.draws, watched);
  const ids = request.inputs.map(({ name, type }) => builder.input(name, type));
  try {
    const outputs = onTraceBackend(session, (backend) => {
      const tensors = ids.map((id) => backend.tensor(id));
      const at = request.inputs.findIndex(({ name }) => name === 't');
      const t = (at < 0 ? tf.scalar(0, 'int32') : tensors[at]) as tf.Scalar;
      const results = request.body(tensors, new TracedInner(backend, session, t, request));
      return results.map((tensor) => backend.idOf(tensor));
    });
    if (session.failure !== undefined) throw session.failure;
    return { graph: builder.finish(outputs), session };
  } catch (error) {
    throw session.failure ?? explained(error, request.what);
  }
}

/** tfjs's text for a kernel that a backend lacks. */
const MISSING_KERNEL = /^Kernel '(.+)' not registered for backend/;

function explained(error: unknown, what: string): Error {
  if (!(error instanceof Error)) return new TraceError(`${what} threw ${String(error)}.`);
  if (error instanceof OuterloopError && !(error instanceof ShapeError)) return error;
  const kernel = MISSING_KERNEL.exec(error.message)?.[1];
  let message = `${what} cannot be traced: ${error.message}`;
  if (kernel !== undefined) {
    const advice = kernel === 'Multinomial' ? 'draw from inner.random' : 'write it with other ops';
    message = `${what} uses the tfjs kernel ${kernel}, which the graph lacks: ${advice}`;
  }
  return new TraceError(message, userLine(error), { cause: error });
}

export interface TraceFunctionOptions extends InnerData {
  /** Names of the inputs; `x0`, `x1` … by default. An int32 scalar named `t` is `inner.t`. */
  readonly names?: readonly string[];
  /** Default: stream `user`, keyed by step. */
  readonly draws?: DrawScope;
  /** Default `run`. */
  readonly for?: TraceFor;
}

/**
 * The graph of a tfjs function of tensors; it may return one tensor or several.
 * @throws TraceError if it cannot be traced.
 */
export function traceFunction(
  name: string,
  fn: (...tensors: tf.Tensor[]) => tf.Tensor | readonly tf.Tensor[],
  types: readonly ValueType[],
  options: TraceFunctionOptions = {},
): Graph {
  return traceInnerFunction(name, (_, ...tensors) => fn(...tensors), types, options);
}

/** Like `traceFunction`, for a function that also takes `inner`. */
export function traceInnerFunction(
  name: string,
  fn: (inner: Inner, ...tensors: tf.Tensor[]) => tf.Tensor | readonly tf.Tensor[],
  types: readonly ValueType[],
  options: TraceFunctionOptions = {},
): Graph {
  const { names, draws = { stream: 'user', perStep: true }, for: use = 'run', ...data } = options;
  return traceGraph({
    name,
    what: `function "${name}"`,
    inputs: types.map((type, i) => ({ name: names?.[i] ?? `x${i}`, type })),
    draws,
    for: use,
    ...data,
    body: (tensors, inner) => {
      const results = fn(inner, ...tensors);
      return results instanceof tf.Tensor ? [results] : results;
    },
  });
}
