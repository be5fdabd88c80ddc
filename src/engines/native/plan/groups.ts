/**
 * Which nodes one kernel computes. Groups grow greedily, and never so that two groups would need each other: the graph of
 * groups stays acyclic.
 */
import type { ValueId } from '../../../graph/ir';
import type { Fragment } from '../lower/fragment';
import type { Analysis } from './analysis';

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

  constructor(public analysis: Analysis) {
    this.groupOf = new Array<Group | undefined>(analysis.graph.nodes.length).fill(undefined);
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
    const added = new Set(ids);
    if (this.closesCycle(group, added)) return false;
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

  /** Whether a path leaves group ∪ added and comes back, groups on the way taken as wholes. */
  private closesCycle(group: Group, added: ReadonlySet<ValueId>): boolean {
    const { users } = this.analysis;
    const inside = (id: ValueId): boolean => added.has(id) || this.groupOf[id] === group;
    const seen = new Set<ValueId>();
    const stack: ValueId[] = [];
    for (const set of [group.members, added]) {
      for (const id of set) {
        for (const user of users[id]) if (!inside(user)) stack.push(user);
      }
    }
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      if (seen.has(id)) continue;
      if (inside(id)) return true;
      seen.add(id);
      const other = this.groupOf[id];
      const whole = other === undefined ? [id] : other.members;
      for (const member of whole) {
        seen.add(member);
        for (const user of users[member]) if (!seen.has(user)) stack.push(user);
      }
    }
    return false;
  }
}
