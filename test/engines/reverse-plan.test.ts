/** What a reverse window keeps, and its schedule executed on a machine whose states are numbers. */
import { ConfigurationError } from '../../src/contracts';
import {
  planReverse,
  reverseSchedule,
  type ReverseDemand,
  type ReverseInstruction,
} from '../../src/engines/shared/reverse-plan';

const demand = (more: Partial<ReverseDemand>): ReverseDemand => ({
  steps: 20,
  stateBytes: 4,
  residualBytes: 6,
  limit: Infinity,
  ...more,
});

describe('planned by memory', () => {
  // 20·(4 + 6) = 200; 20·4 + 6 and a second working state of 4 = 90; stretches of 3 make 7 of them, the last of 2:
  // (7 + 2)·4 + 3·6 + 4 = 58. Stretches of 2 and of 4 need 60.
  test.each([
    [Infinity, { keeps: 'everything', stretch: 20, states: 20, tapes: 20, again: false, bytes: 200 }],
    [200, { keeps: 'everything', stretch: 20, states: 20, tapes: 20, again: false, bytes: 200 }],
    [199, { keeps: 'states', stretch: 1, states: 20, tapes: 1, again: true, bytes: 90 }],
    [90, { keeps: 'states', stretch: 1, states: 20, tapes: 1, again: true, bytes: 90 }],
    [89, { keeps: 'checkpoints', stretch: 3, states: 9, tapes: 3, again: true, bytes: 58 }],
    [58, { keeps: 'checkpoints', stretch: 3, states: 9, tapes: 3, again: true, bytes: 58 }],
  ] as const)('%d bytes', (limit, expected) => {
    expect(planReverse(demand({ limit }))).toEqual({ steps: 20, ...expected });
  });

  test('working memory counts, and a second working state only where steps are run again', () => {
    expect(planReverse(demand({ workingBytes: 30, limit: 230 })).bytes).toBe(230);
    expect(planReverse(demand({ workingBytes: 30, limit: 229 })).bytes).toBe(120);
    expect(planReverse(demand({ againBytes: 0, limit: 199 })).bytes).toBe(86);
  });

  test('states that are dearer than everything are passed over', () => {
    // All states and a second one: 11·100 + 1; everything: 10·101. Stretches of 2: (5 + 1)·100 + 2 + 100.
    const sized = { steps: 10, stateBytes: 100, residualBytes: 1 };
    expect(planReverse(demand({ ...sized, limit: 1009 }))).toMatchObject({ keeps: 'checkpoints', bytes: 702 });
  });

  test('a window of one step keeps its state and its residuals, or does not run', () => {
    expect(planReverse(demand({ steps: 1, limit: 10 }))).toMatchObject({ keeps: 'everything', bytes: 10 });
    expect(() => planReverse(demand({ steps: 1, limit: 9 }))).toThrow(ConfigurationError);
  });

  test('one byte less than the least is refused, with the numbers and what to do', () => {
    const KiB = 2 ** 10;
    const sized = { stateBytes: 4 * KiB, residualBytes: 6 * KiB, workingBytes: KiB, limit: 59 * KiB };
    expect(planReverse(demand(sized)).keeps).toBe('checkpoints');
    expect(() => planReverse(demand({ ...sized, limit: 58.5 * KiB }))).toThrow(
      new ConfigurationError(
        'memory',
        'at least 59.0 KiB for a reverse window of 20 steps that keeps as little as it can (1.0 KiB to work in + ' +
          '9 × 4.0 KiB of states + 4.0 KiB to run steps again + 3 × 6.0 KiB of what steps leave for their derivative)',
        '58.5 KiB',
        'Allow more (--memory, memoryBytes), or take a shorter window.',
      ),
    );
  });
});

/** s_{t+1}: another number for every state and step. */
const step = (state: number, t: number): number => (31 * state + 7 * t + 3) % 1_000_003;
const residuals = (state: number, t: number): string => `${state} at ${t}`;

interface Ran {
  /** Steps whose derivative was taken, in order. */
  readonly back: number[];
  /** Steps run in the first pass, and again. */
  readonly counted: number[];
  readonly again: number[];
  /** Particle's own state at the end. */
  readonly end: number;
  readonly states: number;
  readonly tapes: number;
}

/** Executes as the instructions' documentation says. @throws Error for anything that it does not have or that is wrong */
function execute(instructions: readonly ReverseInstruction[], truth: readonly number[]): Ran {
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    if (got !== wanted) throw new Error(`${what}: expected ${String(wanted)}, got ${String(got)}`);
  };
  const states: number[] = [];
  const tapes: string[] = [];
  const working = [truth[0]];
  const [back, counted, again]: number[][] = [[], [], []];
  const run = (t: number, first: boolean): void => {
    expect('pass', first, working.length === 1);
    (first ? counted : again).push(t);
    expect(`state before ${t}`, working[working.length - 1], truth[t]);
    working.push(step(working.pop()!, t));
  };
  for (const instruction of instructions) {
    switch (instruction.op) {
      case 'save':
        states[instruction.slot] = working[working.length - 1];
        break;
      case 'load':
        working[1] = states[instruction.slot];
        break;
      case 'step':
        run(instruction.t, instruction.counted);
        break;
      case 'record':
        tapes[instruction.tape] = residuals(working[working.length - 1], instruction.t);
        run(instruction.t, instruction.counted);
        break;
      case 'back': {
        const { t, state, next, tape } = instruction;
        expect(`state of back ${t}`, states[state], truth[t]);
        expect(`next of back ${t}`, next === -1 ? working[working.length - 1] : states[next], truth[t + 1]);
        expect(`tape of back ${t}`, tapes[tape], residuals(truth[t], t));
        back.push(t);
      }
    }
  }
  return { back, counted, again, end: working[0], states: states.length, tapes: tapes.length };
}

describe('executed', () => {
  const truth = [17];
  for (let t = 0; t < 40; t++) truth.push(step(truth[t], t));
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

  function check(plan: { stretch: number; states: number; tapes: number }, steps: number): Ran {
    const ran = execute(reverseSchedule(plan, steps), truth);
    expect(ran.back).toEqual(upTo(steps).reverse());
    expect(ran.counted).toEqual(upTo(steps));
    expect(ran.end).toBe(truth[steps]);
    expect(ran.states).toBeLessThanOrEqual(plan.states);
    expect(ran.tapes).toBeLessThanOrEqual(plan.tapes);
    // All but the last stretch, once more.
    expect([...ran.again].sort((a, b) => a - b)).toEqual(upTo(steps - Math.min(plan.stretch, steps)));
    return ran;
  }

  // Residuals of 6 beside states of 4: each kind is the first that fits somewhere. See the numbers above.
  const kinds = (steps: number): { keeps: string; limit: number }[] => [
    { keeps: 'everything', limit: 10 * steps },
    ...(steps > 1 ? [{ keeps: 'states', limit: 10 * steps - 1 }] : []),
    ...(steps > 5 ? [{ keeps: 'checkpoints', limit: 4 * steps + 9 }] : []),
  ];

  test.each(upTo(40).map((t) => t + 1))('a window of %d steps', (steps) => {
    for (const { keeps, limit } of kinds(steps)) {
      const plan = planReverse(demand({ steps, limit }));
      expect(plan.keeps).toBe(keeps);
      const { states, tapes } = check(plan, steps);
      // What is paid for is used.
      expect([states, tapes]).toEqual([plan.states, plan.tapes]);
    }
  });

  test('shorter windows run on the slots of the longest', () => {
    for (const limit of [Infinity, 199, 89]) {
      const plan = planReverse(demand({ limit }));
      for (let steps = 1; steps <= plan.steps; steps++) check(plan, steps);
    }
  });

  test('stretches of any length', () => {
    for (const steps of [1, 2, 7, 12, 13]) {
      for (let stretch = 1; stretch <= steps; stretch++) {
        check({ stretch, states: Math.ceil(steps / stretch) + stretch - 1, tapes: stretch }, steps);
      }
    }
  });
});
