/** Joining nodes of a graph so that no two parts come to need each other, against plain searches for cycles. */
import fc from 'fast-check';
import { Joins } from '../../src/engines/native/plan/joins';

/** Whether the parts, taken as wholes, need each other in a circle: those that need nothing are taken away in turn. */
function hasCycle(users: readonly (readonly number[])[], partOf: readonly number[]): boolean {
  const left = new Set(partOf);
  for (;;) {
    const needing = new Set<number>();
    users.forEach((readers, id) => {
      if (!left.has(partOf[id])) return;
      for (const user of readers) if (partOf[user] !== partOf[id]) needing.add(partOf[user]);
    });
    const free = [...left].filter((part) => !needing.has(part));
    if (free.length === 0) return left.size > 0;
    for (const part of free) left.delete(part);
  }
}

test('a join is refused exactly where it would close a circle', () => {
  const node = fc.nat(19);
  const edges = fc.array(fc.tuple(node, node), { minLength: 15, maxLength: 60, size: 'max' });
  const joins = fc.array(fc.array(node, { minLength: 2, maxLength: 3 }), { minLength: 10, maxLength: 30, size: 'max' });
  const counts = { joined: 0, refused: 0 };
  fc.assert(
    fc.property(edges, joins, (pairs, wishes) => {
      const users = Array.from({ length: 20 }, (): number[] => []);
      for (const [a, b] of pairs) if (a !== b) users[Math.min(a, b)].push(Math.max(a, b));
      const kept = new Joins(users);
      let partOf = users.map((_, id) => id);
      for (const ids of wishes) {
        const parts = new Set(ids.map((id) => partOf[id]));
        const next = partOf.map((part) => (parts.has(part) ? partOf[ids[0]] : part));
        const possible = !hasCycle(users, next);
        expect(kept.tryJoin(ids)).toBe(possible);
        counts[possible ? 'joined' : 'refused'] += 1;
        if (possible) partOf = next;
      }
    }),
    { seed: 4, numRuns: 300 },
  );
  expect(Math.min(counts.joined, counts.refused)).toBeGreaterThan(500);
});
