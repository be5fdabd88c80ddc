/**
 * What has become of a graph whose nodes are joined: a topological order of the parts is kept, so that a join looks only
 * at what lies between the parts in this order (after Pearce and Kelly, 2006).
 */
import type { ValueId } from '../../../graph/ir';

export class Joins {
  /** By node: the part that it belongs to, named by one of its nodes. */
  private readonly partOf: ValueId[];
  private readonly nodesOf: ValueId[][];
  /** By part. */
  private readonly rank: number[];
  /** By rank; a part that was joined to another one leaves a hole. */
  private readonly order: (ValueId | undefined)[];

  /** @param users by node, all of a higher number: as graphs have them. */
  constructor(private readonly users: readonly (readonly ValueId[])[]) {
    this.partOf = users.map((_, id) => id);
    this.nodesOf = users.map((_, id) => [id]);
    this.rank = users.map((_, id) => id);
    this.order = users.map((_, id) => id);
  }

  /** Makes one part of those that the nodes belong to, unless a path would leave it and come back. */
  tryJoin(ids: Iterable<ValueId>): boolean {
    const parts = new Set<ValueId>();
    for (const id of ids) parts.add(this.partOf[id]);
    if (parts.size < 2) return true;
    let low = Infinity;
    let high = -1;
    for (const part of parts) {
      low = Math.min(low, this.rank[part]);
      high = Math.max(high, this.rank[part]);
    }
    const after = this.reached(parts, high);
    if (after === undefined) return false;

    const [first, ...others] = parts;
    for (const part of others) {
      for (const id of this.nodesOf[part]) this.partOf[id] = first;
      this.nodesOf[first].push(...this.nodesOf[part]);
      this.nodesOf[part] = [];
    }
    // What the new part does not need, and what needs it.
    const before: ValueId[] = [];
    const behind: ValueId[] = [];
    for (let rank = low; rank <= high; rank++) {
      const part = this.order[rank];
      if (part === undefined || parts.has(part)) continue;
      (after.has(part) ? behind : before).push(part);
    }
    let rank = low;
    for (const part of [...before, first, ...behind]) {
      this.rank[part] = rank;
      this.order[rank++] = part;
    }
    while (rank <= high) this.order[rank++] = undefined;
    return true;
  }

  /** Other parts up to this rank that need one of these; undefined if one of these needs such a part. */
  private reached(parts: ReadonlySet<ValueId>, high: number): Set<ValueId> | undefined {
    const seen = new Set<ValueId>();
    const stack = [...parts];
    for (let part = stack.pop(); part !== undefined; part = stack.pop()) {
      for (const id of this.nodesOf[part]) {
        for (const user of this.users[id]) {
          const next = this.partOf[user];
          if (next === part || seen.has(next)) continue;
          if (parts.has(next)) {
            if (parts.has(part)) continue;
            return undefined;
          }
          if (this.rank[next] > high) continue;
          seen.add(next);
          stack.push(next);
        }
      }
    }
    return seen;
  }
}
