/** What is refused before it is taken: graphs too large, populations that do not fit. Needs no compiler. */
import { EngineError } from '../../src/contracts';
import { plannedThreads } from '../../src/engines/native/memory';
import { lowerProgram, MOST_NODES } from '../../src/engines/native/plan';
import { f32, handBuilt } from '../support/engine-problems';

/** A chain of so many additions. */
function chain(length: number) {
  return handBuilt({
    name: 'chain',
    theta: { a: f32() },
    state: { x: f32() },
    init: (b) => ({ x: b.fill(0, []) }),
    step: (b, { a }, { x }) => {
      let sum = x;
      for (let i = 0; i < length; i++) sum = b.binary('mul', b.binary('add', sum, a), a);
      return { state: { x: sum }, loss: sum };
    },
  });
}

test('a graph that is too large is refused at once, with the limit and its size', () => {
  const target = { lanes: 4, registers: 16 } as const;
  expect(() => lowerProgram(chain(10), target)).not.toThrow();
  const large = chain(MOST_NODES);
  const ops = large.step.nodes.length;
  expect(ops).toBeGreaterThan(MOST_NODES);
  const start = Date.now();
  expect(() => lowerProgram(large, target)).toThrow(EngineError);
  expect(() => lowerProgram(large, target)).toThrow(
    `"chain": its function "step" has ${ops} ops, engine native compiles at most ${MOST_NODES}`,
  );
  expect(Date.now() - start).toBeLessThan(1000);
});

describe('memory', () => {
  const driver = { sources: [], scratch: { init: 1 << 20, step: 8 << 20, finish: 0 }, record: 4 << 20, lanes: 1 };
  const planned = (size: number, memoryBytes?: number, notice?: (text: string) => void): number =>
    plannedThreads({
      size,
      bytes: size * driver.record,
      driver,
      threads: 4,
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      ...(notice === undefined ? {} : { notice }),
    });

  test('records of all particles, and the scratch space of as many threads as fit', () => {
    const notices: string[] = [];
    const notice = (text: string): number => notices.push(text);
    // 10 records of 4 MiB and 8 MiB a thread.
    expect(planned(10, 72 << 20, notice)).toBe(4);
    expect(notices).toEqual([]);
    expect(planned(10, (72 << 20) - 1, notice)).toBe(3);
    expect(planned(10, 48 << 20, notice)).toBe(1);
    expect(notices).toEqual([
      'Windows run on 3 of 4 threads, each of which needs 8.0 MiB of memory.',
      'Windows run on 1 of 4 threads, each of which needs 8.0 MiB of memory.',
    ]);
  });

  test('a population that does not fit is told how many do; a single particle is told what it needs', () => {
    expect(() => planned(10, (48 << 20) - 1)).toThrow(EngineError);
    expect(() => planned(10, (48 << 20) - 1)).toThrow(/needs 48\.0 MiB: 40\.0 MiB .* 8\.0 MiB .* at most 9 particles/);
    expect(() => planned(1, (12 << 20) - 1)).toThrow(/needs 12\.0 MiB.*Allow more memory\.$/);
    // Without a limit, the machine's: no machine has the 2⁵² bytes of these.
    expect(() => planned(2 ** 30)).toThrow(EngineError);
  });
});
