/** An optimizer's update by itself, planned as a step is: but parameters and gradients lie where the caller has them. */
import { EngineError, UserError } from '../../../contracts';
import type { Graph } from '../../../graph/ir';
import { inputName } from '../../../graph/program';
import type { UpdateGraphs } from '../../../graph/trace';
import type { Target } from '../nest/ir';
import { optimiseForWindows } from '../passes';
import { align } from './arena';
import { checkSize, constraints, partOf } from './index';
import { planFunction, type Bound, type Goal } from './function';
import { chooseLayouts, ProductCosts } from './layouts';
import type { PlannedFunction, StateRecord, UpdateProgram } from './program';
import { Tables } from './tables';
import { bytesOf, denseLayout, spanOf } from './views';

/** @throws EngineError for a graph of more than `MOST_NODES` ops, or one that draws random numbers */
export function planUpdate({ name, theta, shapes, state, init, update }: UpdateGraphs, target: Target): UpdateProgram {
  const tables = new Tables();
  const costs = new ProductCosts(target);
  let bytes = 0;
  const leaves = state.map(({ type }) => {
    const layout = denseLayout(type);
    const offset = bytes;
    bytes += align(spanOf(layout) * bytesOf(layout.memory));
    return { offset, layout };
  });
  const record: StateRecord = { leaves, bytes };
  const stateBounds = leaves.map(({ offset, layout }, leaf): Bound & Goal => ({
    place: { arena: 'state', offset },
    layout,
    leaf,
  }));
  const tensors = (arena: 'parameter' | 'gradient'): Bound[] =>
    shapes.map((shape, tensor) => ({
      place: { arena, tensor, offset: 0 },
      layout: denseLayout({ shape, dtype: 'float32' }),
      // What is written over what is read is a leaf of the planner's.
      ...(arena === 'parameter' ? { leaf: state.length + tensor } : {}),
    }));
  const parameters = tensors('parameter');
  const scalar = (dtype: 'float32' | 'int32') => denseLayout({ shape: [], dtype });
  const bounds = new Map<string, Bound>([
    ...theta.leaves.map(({ path, shape, offset }): [string, Bound] => [
      inputName('theta', path),
      { place: { arena: 'theta', offset: 4 * offset }, layout: denseLayout({ shape, dtype: 'float32' }) },
    ]),
    ...parameters.map((bound, i): [string, Bound] => [`state.params.${i}`, bound]),
    ...tensors('gradient').map((bound, i): [string, Bound] => [`state.gradients.${i}`, bound]),
    ...state.map(({ path }, leaf): [string, Bound] => [inputName('state', path), stateBounds[leaf]]),
    ['state.loss', { place: { arena: 'loss', offset: 0 }, layout: scalar('float32') }],
    ['t', { place: { arena: 't', offset: 0 }, layout: scalar('int32') }],
  ]);

  const plan = (graph: Graph, hoist: boolean, outputs: readonly Goal[]): PlannedFunction => {
    checkSize(name, graph);
    const { grouping } = partOf(optimiseForWindows(graph), hoist);
    const { nodes, inputs: ids } = grouping.analysis.graph;
    if (nodes.some(({ op }) => op === 'random')) {
      throw new UserError(`"${name}" draws random numbers, which the C form of an optimizer has none of.`);
    }
    const inputs = ids.map((id): Bound => {
      const node = nodes[id];
      const bound = node.op === 'input' ? bounds.get(node.attributes.name) : undefined;
      if (bound === undefined) throw new EngineError(`the input %${String(id)} of "${name}" has no place.`);
      return bound;
    });
    const given = constraints(grouping.analysis, inputs, outputs);
    const layouts = chooseLayouts({ grouping, target, ...given, tied: [], costs });
    return planFunction({ grouping, target, tables, inputs, outputs, layouts });
  };
  return {
    target,
    state: record,
    init: plan(init, false, stateBounds),
    update: plan(update, true, [...stateBounds, ...parameters]),
    tables: tables.list,
  };
}
