/**
 * What the planner makes of the problems that it was built for: kernel calls by kind and memory, with the reason of each
 * number. A call more is a pass over memory more; a number that changes wants a new reason, or a look at what broke.
 * Needs no compiler.
 */
import { WINDOW_CASES } from '../../bench/cases';
import { lowerProgram } from '../../src/engines/native/plan';
import type {
  LaneMajorProgram,
  NativeProgram,
  ParticleMajorProgram,
  PlannedFunction,
} from '../../src/engines/native/plan/program';
import type { Target } from '../../src/engines/native/nest/ir';
import { traceProblem } from '../../src/graph/trace';

const AVX512: Target = { lanes: 16, registers: 32 };

async function planOf(name: string, variant: string): Promise<NativeProgram> {
  const row = WINDOW_CASES.find((each) => each.name === name && each.variant === variant);
  if (row === undefined) throw new Error(`the bench has no case ${name} ${variant}`);
  return lowerProgram(traceProblem(await row.problem()), AVX512);
}

function particleMajor(program: NativeProgram): ParticleMajorProgram {
  if (program.mode !== 'particle-major') throw new Error(`expected particle-major, got ${program.mode}`);
  return program;
}

function laneMajor(program: NativeProgram): LaneMajorProgram {
  if (program.mode !== 'lane-major') throw new Error(`expected lane-major, got ${program.mode}`);
  return program;
}

/** Calls of a step by kind; places in the thread's scratch; bytes. */
function countsOf({ step, state }: ParticleMajorProgram): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { origin } of step.calls) {
    const [kind] = origin.split(' ');
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  const sorted = Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    ...sorted,
    'calls a step': step.calls.length,
    'calls a window': step.prologue.length,
    'buffers in scratch': buffersOf(step),
    'scratch bytes': step.scratchBytes,
    'window bytes': step.windowBytes,
    'record bytes': state.bytes,
  };
}

function buffersOf({ calls }: PlannedFunction): number {
  const places = calls.flatMap((call) => call.places).filter(({ arena }) => arena === 'scratch');
  return new Set(places.map(({ offset }) => offset)).size;
}

test('mnist-window: eleven products, and next to nothing between them', async () => {
  const program = particleMajor(await planOf('mnist-window', 'loss'));
  // draw: rows of the two batches. product: three forward, two back and three of weights for training, three forward for
  // validation; bias, ReLU, gates and the optimizer's update are in their epilogues. rows: softmax and cross-entropy, a
  // pass over the logits for each batch. map: images and labels of the two batches, gathered and converted; the rates of
  // the step; the last bias's update; the mean of the losses. reduce: gradient and update of each hidden bias. copies: the
  // loss is the objective and a metric. A window: the schedule's constants.
  expect(countsOf(program)).toMatchInlineSnapshot(`
    {
      "buffers in scratch": 11,
      "calls a step": 24,
      "calls a window": 1,
      "copies": 1,
      "draw": 2,
      "map": 6,
      "product": 11,
      "record bytes": 727680,
      "reduce": 2,
      "rows": 2,
      "scratch bytes": 492928,
      "window bytes": 256,
    }
  `);
  // Parameters and velocities; rows of 100 are padded to 112, those of 10 to 16.
  const numbers = 784 * 100 + 100 + 100 * 100 + 100 + 100 * 10 + 10;
  expect(program.state.bytes).toBeGreaterThanOrEqual(2 * 4 * numbers);
  expect(program.state.bytes).toBeLessThan(1.15 * 2 * 4 * numbers);
  // A batch of images and three activations at once; not the nine of the traced graph.
  expect(program.step.scratchBytes).toBeLessThan(4 * (100 * 784 + 5 * 100 * 112));
});

test('lopt-window: the network of every tensor is one pass', async () => {
  const program = particleMajor(await planOf('lopt-window', '64-32-32-32-10'));
  // draw: rows of the two batches. product: four forward, three back with the activations' slopes, four of weights (with six
  // momenta in their epilogues), the time features' own product, four forward for validation. rows: the whole per-parameter
  // network of each of the eight tensors, the two losses. reduce: the mean square of each of the eight features of each of
  // the eight tensors; gradients of three biases with their momenta. map: images of the two batches, labels of the first; the
  // means of both losses, the first as a metric; momenta of the last bias; time. copies: the loss is the objective and a metric.
  expect(countsOf(program)).toMatchInlineSnapshot(`
    {
      "buffers in scratch": 58,
      "calls a step": 103,
      "calls a window": 0,
      "copies": 1,
      "draw": 2,
      "map": 7,
      "product": 16,
      "record bytes": 126784,
      "reduce": 67,
      "rows": 10,
      "scratch bytes": 256576,
      "window bytes": 0,
    }
  `);
  expect(program.step.calls.filter(({ origin }) => origin.startsWith('reduce'))).toHaveLength(8 * 8 + 3);
  // Features of the largest tensor alone, [2048, 19], would be 156 kB a copy.
  expect(program.step.scratchBytes).toBeLessThan(2 * 4 * 2048 * 19);
});

test('lopt-window on 784-32-10: scratch is the batch and what a tensor needs', async () => {
  const program = particleMajor(await planOf('lopt-window', '784-32-10'));
  expect(countsOf(program)).toMatchInlineSnapshot(`
    {
      "buffers in scratch": 32,
      "calls a step": 57,
      "calls a window": 0,
      "copies": 1,
      "draw": 2,
      "map": 7,
      "product": 8,
      "record bytes": 712768,
      "reduce": 33,
      "rows": 6,
      "scratch bytes": 520576,
      "window bytes": 0,
    }
  `);
});

test.each([
  // The position and its target.
  ['lorenz-window', '', 6],
  // The vector of 23 numbers.
  ['influence', 'banded', 23],
] as const)('%s %s lies in lanes: no memory but the state', async (name, variant, elements) => {
  const program = laneMajor(await planOf(name, variant));
  expect(program.state.elements).toBe(elements);
  expect(program.streams).toEqual([]);
  expect(program.tables).toEqual([]);
  // theta, state, its int32 view, results, t, keys.
  expect(program.step.buffers).toHaveLength(6);
});
