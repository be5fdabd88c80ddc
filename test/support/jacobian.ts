/** Jacobians of a graph in float64: by reverse mode, by forward mode and by central differences. */
import { GraphBuilder } from '../../src/graph/builder';
import { compileInterpreter, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type ValueId, type ValueType } from '../../src/graph/ir';
import { jvpGraph } from '../../src/graph/jvp';
import { verifyGraph } from '../../src/graph/verify';
import { vjpGraph } from '../../src/graph/vjp';

/** [output element][input element], over all float32 outputs and inputs, flattened in order. */
export type Jacobian = readonly (readonly number[])[];

export const EPS = 2 ** -52;
const CONTEXT = stepContext(1, 0, 0, 0);

/** A graph of inputs x0, x1 …; `build` returns one output or several. */
export function makeGraph(
  name: string,
  types: readonly ValueType[],
  build: (b: GraphBuilder, ...inputs: ValueId[]) => ValueId | readonly ValueId[],
): Graph {
  const b = new GraphBuilder(name);
  const outputs = build(b, ...types.map((type, i) => b.input(`x${i}`, type)));
  return b.finish(typeof outputs === 'number' ? [outputs] : outputs);
}

export function float(...shape: number[]): ValueType {
  return { shape, dtype: 'float32' };
}
export function int(...shape: number[]): ValueType {
  return { shape, dtype: 'int32' };
}
export function bool(...shape: number[]): ValueType {
  return { shape, dtype: 'bool' };
}

/** Runs a graph once in float64. */
export function evaluate(graph: Graph, feeds: readonly Value[]): Value[] {
  return compileInterpreter(graph).run(feeds, CONTEXT);
}

export function isFloat(graph: Graph, id: ValueId): boolean {
  return graph.nodes[id].type.dtype === 'float32';
}

function floatsOf(graph: Graph, ids: readonly ValueId[], values: readonly Value[]): number[] {
  return ids.flatMap((id, i) => (isFloat(graph, id) ? [...values[i]] : []));
}

/** Zeros for each float32 value of `ids` but a 1 at the flat position `at`. */
function unit(graph: Graph, ids: readonly ValueId[], at: number): Float64Array[] {
  let start = 0;
  return ids
    .filter((id) => isFloat(graph, id))
    .map((id) => {
      const part = new Float64Array(sizeOf(graph.nodes[id].type.shape));
      if (at >= start && at < start + part.length) part[at - start] = 1;
      start += part.length;
      return part;
    });
}

function countFloats(graph: Graph, ids: readonly ValueId[]): number {
  return ids.reduce((sum, id) => sum + (isFloat(graph, id) ? sizeOf(graph.nodes[id].type.shape) : 0), 0);
}

function range<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

export function reverseJacobian(graph: Graph, feeds: readonly Value[]): Jacobian {
  const reverse = vjpGraph(graph);
  verifyGraph(reverse, 'vjp');
  const program = compileInterpreter(reverse);
  return range(countFloats(graph, graph.outputs), (row) =>
    program
      .run([...feeds, ...unit(graph, graph.outputs, row)], CONTEXT)
      .slice(graph.outputs.length)
      .flatMap((part) => [...part]),
  );
}

export function forwardJacobian(graph: Graph, feeds: readonly Value[]): Jacobian {
  const forward = jvpGraph(graph);
  verifyGraph(forward, 'jvp');
  const program = compileInterpreter(forward);
  const columns = range(countFloats(graph, graph.inputs), (column) =>
    program
      .run([...feeds, ...unit(graph, graph.inputs, column)], CONTEXT)
      .slice(graph.outputs.length)
      .flatMap((part) => [...part]),
  );
  return range(countFloats(graph, graph.outputs), (row) => columns.map((column) => column[row]));
}

export interface Difference {
  readonly slope: number;
  /** How far the exact derivative may be from `slope`. */
  readonly tolerance: number;
}

/**
 * Central differences D(h) = (f(x+h) − f(x−h))/2h at h = ε^⅓·max(1, |x|). Their error is h²f‴/6 by truncation, which
 * is (D(2h) − D(h))/3 to leading order and allowed three times over, and by rounding of f: each of the two values is
 * known to 16 ε·max(1, |f|) (a short chain of ops of ½ to 2 ulp each), divided by h.
 */
export function centralDifferences(graph: Graph, feeds: readonly Value[]): Difference[][] {
  const program = compileInterpreter(graph);
  const at = (input: number, element: number, x: number): number[] => {
    const moved = feeds.map((feed, i) => (i === input ? Float64Array.from(feed) : feed));
    moved[input][element] = x;
    return floatsOf(graph, graph.outputs, program.run(moved, CONTEXT));
  };
  const columns: Difference[][] = [];
  graph.inputs.forEach((id, input) => {
    if (!isFloat(graph, id)) return;
    feeds[input].forEach((x, element) => {
      const h = Math.cbrt(EPS) * Math.max(1, Math.abs(x));
      const [lower2, lower, upper, upper2] = [-2, -1, 1, 2].map((k) => at(input, element, x + k * h));
      columns.push(
        upper.map((value, i) => {
          const slope = (value - lower[i]) / (2 * h);
          const wide = (upper2[i] - lower2[i]) / (4 * h);
          const rounding = (16 * EPS * Math.max(1, Math.abs(value), Math.abs(lower[i]))) / h;
          return { slope, tolerance: Math.abs(wide - slope) + rounding };
        }),
      );
    });
  });
  return range(countFloats(graph, graph.outputs), (row) => columns.map((column) => column[row]));
}

/** Fails with the place and both numbers. */
export function expectClose(got: number, expected: number, tolerance: number, what: string): void {
  const same = Object.is(got, expected) || Math.abs(got - expected) <= tolerance;
  if (!same) throw new Error(`${what}: expected ${expected} ± ${tolerance}, got ${got}`);
}

/**
 * reverse = forward to rounding, and both = central differences to the differences' own error, which must itself be
 * small: else the point stands on a kink and the comparison would mean nothing.
 */
export function expectDerivatives(graph: Graph, feeds: readonly Value[]): void {
  verifyGraph(graph, 'test');
  const reverse = reverseJacobian(graph, feeds);
  const forward = forwardJacobian(graph, feeds);
  centralDifferences(graph, feeds).forEach((row, i) => {
    row.forEach(({ slope, tolerance }, j) => {
      const place = `${graph.name}, ∂out[${i}]/∂in[${j}]`;
      const size = Math.max(1, Math.abs(slope));
      expectClose(reverse[i][j], forward[i][j], 64 * EPS * size, `${place}, reverse against forward`);
      expectClose(tolerance, 0, 1e-6 * size, `${place}, error bound of the central difference`);
      expectClose(reverse[i][j], slope, tolerance, `${place}, reverse against central difference`);
    });
  });
}

/** The graph with only some of its outputs. */
export function withOutputs(graph: Graph, outputs: readonly ValueId[]): Graph {
  return { ...graph, outputs };
}
