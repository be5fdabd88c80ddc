/** What is refused before it is taken: graphs too large (for populations see memory.test.ts). Needs no compiler. */
import { EngineError } from '../../src/contracts';
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
