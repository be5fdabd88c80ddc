/**
 * Fusion: rows first (they need a whole chain), then epilogues of products, prologues and epilogues of reductions, and
 * last what is left as maps.
 */
import { sameShape, type Node, type ValueId } from '../../../graph/ir';
import { isElementwise, roleOf, type Analysis } from './analysis';
import { Grouping, type Group } from './groups';
import { rematerialise } from './rematerialise';
import { growRows } from './rows';

/** Groups of all computed nodes. */
export function fuse(analysis: Analysis): Grouping {
  const grouping = new Grouping(analysis);
  const { nodes } = analysis.graph;
  const computed = [...nodes.keys()].filter((id) => analysis.status[id] === 'computed');
  growRows(grouping, computed);
  const left = (role: ReturnType<typeof roleOf>): ValueId[] =>
    computed.filter((id) => roleOf(nodes[id]) === role && grouping.of(id) === undefined);

  const roots: Group[] = [];
  for (const id of left('product')) roots.push(grouping.open('product', id, { root: id }));
  for (const group of roots) growEpilogue(grouping, group);
  for (const id of left('reduce')) {
    const group = grouping.open('reduce', id, { root: id });
    growPrologue(grouping, group);
    growEpilogue(grouping, group);
  }
  for (const id of left('draw')) grouping.open('draw', id, { root: id });
  for (const id of left('scatter')) grouping.open('scatter', id, { root: id });
  growMaps(grouping, left('map'));
  rematerialise(grouping);
  return grouping;
}

function fusible({ graph, status, levels }: Analysis, id: ValueId, like: ValueId): boolean {
  const node = graph.nodes[id];
  return (
    status[id] === 'computed' && isElementwise(node) && levels[id] === levels[like] && shapeIs(node, graph.nodes[like])
  );
}

function shapeIs(a: Node, b: Node): boolean {
  return sameShape(a.type.shape, b.type.shape);
}

/** Elementwise nodes of the root's shape that depend on it, and what is computed for them only. */
function growEpilogue(grouping: Grouping, group: Group): void {
  const { analysis } = grouping;
  const root = group.root!;
  const result = [root];
  for (let next = result.pop(); next !== undefined; next = result.pop()) {
    for (const user of analysis.users[next]) {
      if (grouping.of(user) !== undefined || !fusible(analysis, user, root)) continue;
      if (grouping.tryAdd(group, [user])) {
        result.push(user);
        absorbOperands(grouping, group, user, root);
      }
    }
  }
}

/** Elementwise operands of `id` of the root's shape that nothing but the group reads. */
function absorbOperands(grouping: Grouping, group: Group, id: ValueId, like: ValueId): void {
  const { analysis } = grouping;
  for (const operand of analysis.graph.nodes[id].inputs) {
    if (grouping.of(operand) !== undefined || !fusible(analysis, operand, like) || analysis.returned[operand]) continue;
    if (!analysis.users[operand].every((user) => grouping.of(user) === group)) continue;
    if (grouping.tryAdd(group, [operand])) absorbOperands(grouping, group, operand, like);
  }
}

/** What a reduction's operand is computed from element by element, if nothing else reads it. */
function growPrologue(grouping: Grouping, group: Group): void {
  const { analysis } = grouping;
  const { graph, status, levels, users, returned } = analysis;
  const root = group.root!;
  if (graph.nodes[root].op.startsWith('arg')) return;
  const operandOf = graph.nodes[root].inputs[0];
  const grow = (id: ValueId): void => {
    const node = graph.nodes[id];
    const fits =
      status[id] === 'computed' &&
      grouping.of(id) === undefined &&
      (isElementwise(node) || node.op === 'gather') &&
      levels[id] === levels[root] &&
      shapeIs(node, graph.nodes[operandOf]) &&
      !returned[id] &&
      users[id].every((user) => grouping.of(user) === group);
    if (!fits || !grouping.tryAdd(group, [id])) return;
    if (isElementwise(node)) node.inputs.forEach(grow);
  };
  grow(operandOf);
}

/** The rest: neighbours of one shape and level; numbers without axes join whatever the way between them. */
function growMaps(grouping: Grouping, ids: readonly ValueId[]): void {
  const { analysis } = grouping;
  const { nodes } = analysis.graph;
  for (const id of ids) {
    const node = nodes[id];
    const near = isElementwise(node) ? node.inputs : [];
    const homes = new Set(near.map((operand) => grouping.of(operand)));
    let home: Group | undefined;
    for (const group of homes) {
      if (group?.kind !== 'map' || !fits(analysis, group, id)) continue;
      if (home === undefined) {
        if (grouping.tryAdd(group, [id])) home = group;
      } else grouping.tryMerge(home, group);
    }
    if (home === undefined) grouping.open('map', id);
  }
  mergeSiblings(grouping);
}

function fits({ graph, levels }: Analysis, group: Group, id: ValueId): boolean {
  const [some] = group.members;
  return levels[some] === levels[id] && shapeIs(graph.nodes[some], graph.nodes[id]);
}

/** Maps of one shape that read one value, and all maps over single numbers, share a kernel where they can. */
function mergeSiblings(grouping: Grouping): void {
  const { analysis } = grouping;
  const { nodes } = analysis.graph;
  const maps = grouping.groups.filter(({ kind }) => kind === 'map');
  const reads = (group: Group): Set<ValueId> => {
    const all = new Set<ValueId>();
    for (const id of group.members) {
      for (const operand of nodes[id].inputs) if (analysis.status[operand] !== 'free') all.add(operand);
    }
    return all;
  };
  for (let i = 0; i < maps.length; i++) {
    const [first] = maps[i].members;
    const scalar = nodes[first].type.shape.length === 0;
    let mine = reads(maps[i]);
    for (let j = i + 1; j < maps.length;) {
      const [other] = maps[j].members;
      const related = scalar || [...reads(maps[j])].some((id) => mine.has(id) || maps[i].members.has(id));
      if (related && fits(analysis, maps[i], other) && grouping.tryMerge(maps[i], maps[j])) {
        maps.splice(j, 1);
        mine = reads(maps[i]);
      } else j++;
    }
  }
}
