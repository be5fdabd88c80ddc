/** The order of groups: dependencies, and readers of an old state before the kernel that writes the new one in place. */
import type { ValueId } from '../../../graph/ir';
import type { Group, Grouping } from './groups';

/** A state leaf that `writer` may overwrite where it lies, once all `readers` have run. */
export interface InPlace {
  readonly leaf: number;
  readonly writer: Group;
  readonly readers: readonly Group[];
}

export interface Order {
  readonly groups: readonly Group[];
  /** Leaves whose new value goes straight into the record. */
  readonly inPlace: ReadonlySet<number>;
}

export function orderGroups(grouping: Grouping, wishes: readonly InPlace[]): Order {
  const { graph } = grouping.analysis;
  const successors = new Map<Group, Set<Group>>(grouping.groups.map((group) => [group, new Set<Group>()]));
  /** Groups that a value is made by, through views and what is made anew. */
  const makers = (id: ValueId): Group[] => {
    const group = grouping.of(id);
    if (group !== undefined) return [group];
    const is = grouping.analysis.status[id];
    return is === 'view' || is === 'free' ? graph.nodes[id].inputs.flatMap(makers) : [];
  };
  for (const group of grouping.groups) {
    for (const member of group.members) {
      for (const operand of graph.nodes[member].inputs) {
        for (const maker of makers(operand)) if (maker !== group) successors.get(maker)!.add(group);
      }
    }
  }
  const reaches = (from: Group, to: Group): boolean => {
    const seen = new Set<Group>();
    const stack = [from];
    for (let group = stack.pop(); group !== undefined; group = stack.pop()) {
      if (group === to) return true;
      if (seen.has(group)) continue;
      seen.add(group);
      stack.push(...successors.get(group)!);
    }
    return false;
  };
  const inPlace = new Set<number>();
  for (const { leaf, writer, readers } of wishes) {
    const others = readers.filter((reader) => reader !== writer);
    if (others.some((reader) => reaches(writer, reader))) continue;
    for (const reader of others) successors.get(reader)!.add(writer);
    inPlace.add(leaf);
  }
  return { groups: sorted(grouping.groups, successors), inPlace };
}

/** Topological, otherwise as the nodes stand in the graph: what was written together runs together. */
function sorted(groups: readonly Group[], successors: ReadonlyMap<Group, ReadonlySet<Group>>): Group[] {
  const rank = new Map(groups.map((group) => [group, group.root ?? Math.min(...group.members)]));
  const waiting = new Map(groups.map((group) => [group, 0]));
  for (const next of successors.values()) for (const group of next) waiting.set(group, waiting.get(group)! + 1);
  const ready = groups.filter((group) => waiting.get(group) === 0);
  const result: Group[] = [];
  while (ready.length > 0) {
    let first = 0;
    for (let i = 1; i < ready.length; i++) if (rank.get(ready[i])! < rank.get(ready[first])!) first = i;
    const [group] = ready.splice(first, 1);
    result.push(group);
    for (const next of successors.get(group)!) {
      waiting.set(next, waiting.get(next)! - 1);
      if (waiting.get(next) === 0) ready.push(next);
    }
  }
  return result;
}
