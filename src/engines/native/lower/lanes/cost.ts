/** How much a graph is when it is written out element by element, and whether particles are to lie in lanes. */
import { sizeOf, type Graph, type Node } from '../../../../graph/ir';
import type { TracedProblem } from '../../../../graph/program';

/** Threefry takes 73 integer operations a block of two words; Box and Muller about as many as a logarithm and a sine. */
const DRAW = { uniform: 45, integer: 45, normal: 70 } as const;

/** Scalar operations of a node, its result written out; movement is free. */
export function operationsOf(graph: Graph, node: Node): number {
  const size = sizeOf(node.type.shape);
  const operand = node.inputs.length > 0 ? sizeOf(graph.nodes[node.inputs[0]].type.shape) : 0;
  switch (node.op) {
    case 'input':
    case 'constant':
    case 'table':
    case 'iota':
    case 'identity':
    case 'stopGradient':
    case 'broadcast':
    case 'reshape':
    case 'transpose':
    case 'slice':
    case 'windows':
    case 'pad':
    case 'concat':
    case 'reverse':
      return 0;
    case 'random':
      return size * DRAW[node.attributes.distribution.name];
    case 'matmul': {
      const { shape } = graph.nodes[node.inputs[0]].type;
      return size * shape[shape.length - (node.attributes.transposeA ? 2 : 1)];
    }
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
    case 'foldWindows':
      return operand;
    case 'argMax':
    case 'argMin':
      return 3 * operand;
    case 'scatterAdd':
      return sizeOf(graph.nodes[node.inputs[1]].type.shape) * node.attributes.rows;
    default:
      return size;
  }
}

export function operationsOfGraph(graph: Graph): number {
  return graph.nodes.reduce((sum, node) => sum + operationsOf(graph, node), 0);
}

export interface LaneMajorCost {
  /** Scalar operations of the largest of the problem's graphs, written out. */
  readonly operations: number;
  /** Numbers of state and θ that a lane holds. */
  readonly elements: number;
  /** Elements of the largest value within a graph, tables aside. */
  readonly largest: number;
}

export function laneMajorCost(traced: TracedProblem): LaneMajorCost {
  const graphs = [traced.init, traced.step, ...(traced.finish === undefined ? [] : [traced.finish])];
  const state = traced.state.reduce((sum, { type }) => sum + sizeOf(type.shape), 0);
  const sizes = graphs.flatMap(({ nodes }) =>
    nodes.filter(({ op }) => op !== 'table' && op !== 'constant').map(({ type }) => sizeOf(type.shape)),
  );
  return {
    operations: Math.max(...graphs.map(operationsOfGraph)),
    elements: state + traced.theta.size,
    largest: Math.max(1, ...sizes),
  };
}

/** Up to which size a problem runs lane-major. */
export const LANE_MAJOR_LIMITS: LaneMajorCost = { operations: 4096, elements: 256, largest: 1024 };

export type Mode = 'lane-major' | 'particle-major';

/**
 * The rule: particles lie in lanes if a particle is so small that its state and everything computed from it stay in
 * registers and the first-level cache when there is one in every lane: at most 256 numbers of state and θ, 4096 scalar
 * operations a step (code is written out once for each), and no value of more than 1024 elements. Every lane is then busy
 * whatever the shapes. Larger problems have enough parallelism within one particle, and one particle at a time needs the
 * cache of one. `override` decides instead.
 */
export function chooseMode(traced: TracedProblem, override?: Mode): Mode {
  if (override !== undefined) return override;
  const cost = laneMajorCost(traced);
  const fits = (Object.keys(LANE_MAJOR_LIMITS) as (keyof LaneMajorCost)[]).every(
    (what) => cost[what] <= LANE_MAJOR_LIMITS[what],
  );
  return fits ? 'lane-major' : 'particle-major';
}
