/** What planning has to know of every node: who reads it, how often it changes, and in what sense it is a value at all. */
import { sizeOf, type Graph, type Node, type OpName, type ValueId } from '../../../graph/ir';
import { denseLayout, matrixOfLoops, viewOf } from './views';

/**
 * - `resident`: lies in memory before the function runs: inputs, tables, constants of several elements.
 * - `free`: made anew at every element by whoever reads it: constants of one element, iotas, views of these, and what
 *   rematerialise.ts adds.
 * - `view`: the same memory as its operand under other strides.
 * - `computed`: made by a kernel; in memory if something reads it outside of that kernel.
 */
export type Status = 'resident' | 'free' | 'view' | 'computed';

/** How a computed node may be fused. `map` nodes are made element by element over their own shape. */
export type Role = 'product' | 'reduce' | 'draw' | 'scatter' | 'map';

/** `window`: the same in every step of a window. */
export type Level = 'window' | 'step';

export interface Analysis {
  readonly graph: Graph;
  readonly status: readonly Status[];
  readonly levels: readonly Level[];
  /** Nodes that read each node, without repeats. */
  readonly users: readonly (readonly ValueId[])[];
  /** Whether the graph returns the node. */
  readonly returned: readonly boolean[];
  /** Windows by rows that products read where they are, under loops; these are views too. */
  readonly loops: ReadonlySet<ValueId>;
}

const VIEW_OPS: ReadonlySet<OpName> = new Set([
  'broadcast',
  'reshape',
  'transpose',
  'slice',
  'windows',
  'identity',
  'stopGradient',
]);

export function roleOf(node: Node): Role {
  switch (node.op) {
    case 'matmul':
      return 'product';
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
    case 'argMax':
    case 'argMin':
      return 'reduce';
    case 'random':
      return 'draw';
    case 'scatterAdd':
      return 'scatter';
    default:
      return 'map';
  }
}

const MOVEMENT: ReadonlySet<OpName> = new Set([
  ...VIEW_OPS,
  'reverse',
  'pad',
  'foldWindows',
  'concat',
  'gather',
  'scatterAdd',
  'constant',
  'table',
  'iota',
  'input',
  'random',
  'matmul',
  'reduceSum',
  'reduceMax',
  'reduceMin',
  'argMax',
  'argMin',
]);

/** Elementwise: the result at an element is made of the operands at that element. */
export function isElementwise(node: Node): boolean {
  return !MOVEMENT.has(node.op);
}

function usersOf(graph: Graph): ValueId[][] {
  const users = graph.nodes.map((): ValueId[] => []);
  graph.nodes.forEach((node, id) => {
    for (const operand of new Set(node.inputs)) users[operand].push(id);
  });
  return users;
}

/** Whether nothing but products reads it, and each as its left operand. */
function onlyLeftOfProducts({ nodes }: Graph, users: readonly ValueId[], id: ValueId): boolean {
  return users.every((user) => {
    const { op, inputs } = nodes[user];
    return op === 'matmul' && inputs[0] === id && inputs[1] !== id;
  });
}

/**
 * @param hoist Whether the function runs several times with the same θ: then what depends on neither the state nor t is
 * at level `window`.
 */
export function analyse(graph: Graph, hoist: boolean): Analysis {
  const users = usersOf(graph);
  const returned = graph.nodes.map(() => false);
  for (const id of graph.outputs) returned[id] = true;
  const levels: Level[] = [];
  const status: Status[] = [];
  const loops = new Set<ValueId>();
  // Layouts that every value would have if it were dense: whether a chain of views can be followed at all.
  const layouts = graph.nodes.map(({ type }) => denseLayout(type));

  const needsMemory = (id: ValueId): boolean =>
    returned[id] ||
    users[id].some((user) => {
      const { op, inputs } = graph.nodes[user];
      return (
        op === 'matmul' ||
        op === 'scatterAdd' ||
        op === 'argMax' ||
        op === 'argMin' ||
        (op === 'gather' && inputs[0] === id)
      );
    });

  graph.nodes.forEach((node, id) => {
    const operandLevels = node.inputs.map((operand) => levels[operand]);
    const changes =
      (node.op === 'input' && !node.attributes.name.startsWith('theta.')) ||
      (node.op === 'random' && node.attributes.perStep) ||
      operandLevels.includes('step');
    levels.push(changes || !hoist ? 'step' : 'window');

    if (node.op === 'input' || node.op === 'table') status.push('resident');
    else if (node.op === 'constant') {
      if (sizeOf(node.type.shape) > 1) status.push('resident');
      else status.push(needsMemory(id) ? 'computed' : 'free');
    } else if (node.op === 'iota') status.push(needsMemory(id) ? 'computed' : 'free');
    else if (VIEW_OPS.has(node.op)) {
      const operand = node.inputs[0];
      if (status[operand] === 'free') {
        const follows = node.op !== 'reshape' || sizeOf(graph.nodes[operand].type.shape) === 1;
        status.push(follows && !needsMemory(id) ? 'free' : 'computed');
      } else {
        const view = status[operand] === 'computed' ? denseLayout(graph.nodes[operand].type) : layouts[operand];
        const seen = viewOf(node, view);
        if (seen === undefined) {
          const follows = status[operand] === 'view' && onlyLeftOfProducts(graph, users[id], id) && !returned[id];
          if (follows && matrixOfLoops(node, view) !== undefined) {
            loops.add(id);
            status.push('view');
          } else status.push('computed');
        } else {
          status.push('view');
          layouts[id] = seen.layout;
        }
      }
    } else status.push('computed');
  });
  return { graph, status, levels, users, returned, loops };
}
