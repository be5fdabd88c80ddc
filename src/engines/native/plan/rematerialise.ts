/**
 * What a kernel would store although its readers can make it from something else that is stored: masks, 1 − h², x/2. A
 * load saved is worth more than an addition or a product.
 */
import { sizeOf, type OpName, type ValueId } from '../../../graph/ir';
import { isElementwise } from './analysis';
import type { Group, Grouping } from './groups';
import { storesOf } from './memory';

const CHEAP: ReadonlySet<OpName> = new Set([
  'add',
  'sub',
  'mul',
  'neg',
  'abs',
  'max',
  'min',
  'select',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'not',
  'and',
  'or',
  'cast',
]);

/** Shorter values are not worth a thought. */
const SHORTEST = 64;

/** Turns such stores into `free` values. Afterwards the grouping's analysis is another one. */
export function rematerialise(grouping: Grouping): void {
  for (const group of grouping.groups) {
    if (group.kind !== 'product' && group.kind !== 'map') continue;
    const stores = storesOf(grouping, group);
    const kept = new Set(stores);
    for (const id of [...stores].reverse()) {
      if (!isReplaceable(grouping, group, id, kept)) continue;
      kept.delete(id);
      grouping.release(id);
    }
  }
}

function isReplaceable(grouping: Grouping, group: Group, id: ValueId, kept: ReadonlySet<ValueId>): boolean {
  const { graph, status, users, returned } = grouping.analysis;
  const node = graph.nodes[id];
  if (id === group.root || returned[id] || !CHEAP.has(node.op) || sizeOf(node.type.shape) < SHORTEST) return false;
  const fromKept = node.inputs.every((operand) => kept.has(operand) || status[operand] === 'free');
  // Otherwise there would be nothing to make it from, or what it is made from may be gone: an old state.
  if (!fromKept || !node.inputs.some((operand) => kept.has(operand))) return false;
  return users[id].every((user) => {
    const reader = graph.nodes[user];
    const sums = reader.op === 'reduceSum' || reader.op === 'reduceMax' || reader.op === 'reduceMin';
    return isElementwise(reader) || (sums && grouping.of(user)?.kind === 'reduce');
  });
}
