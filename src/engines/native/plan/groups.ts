/**
 * Which nodes one kernel computes. Groups grow greedily, and never so that two groups would need each other: the graph of
 * groups stays acyclic.
 */
import type { ValueId } from '../../../graph/ir';
import type { Fragment } from '../lower/fragment';
import type { Analysis } from './analysis';
import { Joins } from './joins';

export interface Group {
  readonly kind: Fragment['kind'];
  readonly root?: ValueId;
  readonly members: Set<ValueId>;
  /** Extent of the leading axis; for `rows`. */
  readonly rows?: number;
}

/** A partition under construction. Nodes without a group stand for themselves. */
export class Grouping {
  readonly groups: Group[] = [];
  private readonly groupOf: (Group | undefined)[];
  private readonly joins: Joins;
  private released = false;

  constructor(public analysis: Analysis) {
    this.groupOf = new Array<Group | undefined>(analysis.graph.nodes.length).fill(undefined);
    this.joins = new Joins(analysis.users);
  }

  of(id: ValueId): Group | undefined {
    return this.groupOf[id];
  }

  open(kind: Fragment['kind'], seed: ValueId, extra: { readonly root?: ValueId; readonly rows?: number } = {}): Group {
    const group: Group = { kind, members: new Set(), ...extra };
    this.groups.push(group);
    this.put(group, seed);
    return group;
  }

  /** Adds the nodes, unless a group would come to need its own result through another one. */
  tryAdd(group: Group, ids: readonly ValueId[]): boolean {
    if (this.released) throw new Error('planner: groups grow no more once values were released.');
    const [some] = group.members;
    if (!this.joins.tryJoin([some, ...ids])) return false;
    for (const id of ids) this.put(group, id);
    return true;
  }

  /** Makes one group of two, unless that would close a cycle. */
  tryMerge(group: Group, other: Group): boolean {
    if (!this.tryAdd(group, [...other.members])) return false;
    this.groups.splice(this.groups.indexOf(other), 1);
    return true;
  }

  /** Its readers make it anew; see rematerialise. */
  release(id: ValueId): void {
    this.released = true;
    this.groupOf[id]?.members.delete(id);
    this.groupOf[id] = undefined;
    const status = [...this.analysis.status];
    status[id] = 'free';
    this.analysis = { ...this.analysis, status };
  }

  private put(group: Group, id: ValueId): void {
    group.members.add(id);
    this.groupOf[id] = group;
  }
}
