/** Reverse windows of compiled code: whatever they keep, the numbers are the same; memory is as stated; calls behave. */
import { CancelledError, ConfigurationError, type Differentiation, type Perturbation } from '../../src/contracts';
import { NativeEngine } from '../../src/engines/native/engine';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import { SMALL_PROBLEMS, spreadThetas } from '../support/registered-problems';

const STEPS = 48;
const SIZE = 5;
const ALL = Int32Array.from({ length: SIZE }, (_, i) => i);
const REVERSE: Differentiation = { mode: 'reverse', steps: STEPS, windowLoss: 'mean' };

async function network(): Promise<TracedProblem> {
  const { problem } = SMALL_PROBLEMS.find(({ name }) => name.startsWith('mlp'))!;
  return traceProblem(await problem(), { for: 'differentiate' });
}

async function withEngine<T>(
  options: { readonly memoryBytes?: number; readonly threads?: number; readonly notice?: (text: string) => void },
  use: (engine: NativeEngine) => Promise<T>,
): Promise<T> {
  const engine = await NativeEngine.open(options);
  try {
    return await use(engine);
  } finally {
    await engine.dispose();
  }
}

/** Two windows, the second shorter than planned. */
async function windows(engine: NativeEngine, traced: TracedProblem) {
  const program = await engine.compileDerivative(traced, REVERSE);
  const perturbation: Perturbation = { form: 'explicit', thetas: spreadThetas(traced, SIZE, 0.02) };
  const population = await program.createPopulation({ size: SIZE, seed: 3 });
  await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: new Int32Array(SIZE) });
  const first = await population.differentiate({ particles: ALL, perturbation, steps: STEPS });
  const second = await population.differentiate({ particles: ALL, perturbation, steps: 7 });
  const saved = await population.save();
  return { reverse: program.reverse!, numbers: [first, second], saved };
}

test('everything, states or checkpoints: the same bits, within the memory that was stated', async () => {
  const traced = await network();
  const all = await withEngine({ threads: 1 }, (engine) => windows(engine, traced));
  expect(all.reverse.keeps).toBe('everything');
  expect(all.reverse.atOnce).toBe(1);
  const seen = new Set<string>();
  // Half of the memory is for windows.
  for (let memoryBytes = 2 * all.reverse.bytes; seen.size < 2 && memoryBytes > 4096; memoryBytes *= 0.93) {
    const limit = Math.floor(memoryBytes);
    const less = await withEngine({ threads: 1, memoryBytes: limit }, (engine) => windows(engine, traced));
    if (seen.has(less.reverse.keeps)) continue;
    expect(less.reverse.bytes).toBeLessThanOrEqual(limit);
    if (less.reverse.keeps === 'everything') continue;
    seen.add(less.reverse.keeps);
    expect(less.numbers).toEqual(all.numbers);
    expect(less.saved).toEqual(all.saved);
  }
  expect([...seen].sort()).toEqual(['checkpoints', 'states']);
}, 120_000);

test('a bound that nothing fits into is refused with the numbers before anything is compiled', async () => {
  const traced = await network();
  const refused = withEngine({ threads: 2, memoryBytes: 2000 }, (engine) => engine.compileDerivative(traced, REVERSE));
  await expect(refused).rejects.toThrow(ConfigurationError);
  await expect(refused).rejects.toThrow(
    /memory: expected at least .*KiB for a reverse window of 48 steps.*got 2\.0 KiB/,
  );
});

test('bits do not depend on the number of threads or on the company', async () => {
  const traced = await network();
  const [one, three] = await Promise.all(
    [1, 3].map((threads) => withEngine({ threads }, (engine) => windows(engine, traced))),
  );
  expect(three.numbers).toEqual(one.numbers);
  await withEngine({}, async (engine) => {
    const program = await engine.compileDerivative(traced, REVERSE);
    const thetas = spreadThetas(traced, SIZE, 0.02);
    const population = await program.createPopulation({ size: SIZE, seed: 3 });
    const perturbation: Perturbation = { form: 'explicit', thetas };
    await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: new Int32Array(SIZE) });
    const d = traced.theta.size;
    for (const i of [3, 0, 4, 1, 2]) {
      const alone = await population.differentiate({
        particles: Int32Array.of(i),
        perturbation: { form: 'explicit', thetas: thetas.slice(i * d, (i + 1) * d) },
        steps: STEPS,
      });
      expect([...alone.derivatives]).toEqual([...one.numbers[0].derivatives.subarray(i * d, (i + 1) * d)]);
    }
  });
}, 60_000);

test('a population that runs in chunks has the bits of one that is resident', async () => {
  const traced = await network();
  const resident = await withEngine({ threads: 1 }, (engine) => windows(engine, traced));
  const notices: string[] = [];
  // Room for the window that keeps everything, and for two of the five records.
  const memoryBytes = 2 * resident.reverse.bytes + 4096;
  const size = 400;
  await withEngine({ threads: 1, memoryBytes, notice: (text) => notices.push(text) }, async (engine) => {
    const program = await engine.compileDerivative(traced, REVERSE);
    expect(program.reverse!.keeps).toBe('everything');
    const population = await program.createPopulation({ size, seed: 3 });
    const particles = Int32Array.from({ length: size }, (_, i) => i);
    const five = spreadThetas(traced, SIZE, 0.02);
    const d = traced.theta.size;
    const thetas = Float64Array.from({ length: size * d }, (_, at) => five[at % (SIZE * d)]);
    const perturbation: Perturbation = { form: 'explicit', thetas };
    await population.reset({
      particles,
      perturbation,
      workers: particles.map((i) => i % SIZE),
      episodes: new Int32Array(size),
    });
    const { derivatives } = await population.differentiate({ particles, perturbation, steps: STEPS });
    const expected = resident.numbers[0].derivatives;
    derivatives.forEach((value, at) => expect(value).toBe(expected[at % expected.length]));
  });
  expect(notices.join(' ')).toMatch(/chunks/);
}, 60_000);

test('a window that is cancelled leaves the population as it was', async () => {
  const traced = await network();
  await withEngine({}, async (engine) => {
    const program = await engine.compileDerivative(traced, REVERSE);
    const perturbation: Perturbation = { form: 'explicit', thetas: spreadThetas(traced, SIZE, 0.02) };
    const population = await program.createPopulation({ size: SIZE, seed: 3 });
    await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: new Int32Array(SIZE) });
    const before = await population.save();
    const controller = new AbortController();
    controller.abort();
    const request = { particles: ALL, perturbation, steps: STEPS };
    await expect(population.differentiate({ ...request, signal: controller.signal })).rejects.toThrow(CancelledError);
    expect(await population.save()).toEqual(before);
    await expect(population.differentiate(request)).resolves.toBeDefined();
  });
}, 60_000);
