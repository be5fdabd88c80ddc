/** What tfjs engines keep on the device, beside what the contract says of every engine. */
import { CancelledError, type Perturbation } from '../../src/contracts';
import type { TfjsEngine } from '../../src/engines';
import { networkLike, PIXELS } from '../support/engine-problems';
import { ENGINES } from '../support/engine-table';

const SIZE = 6;
const ALL = Int32Array.from({ length: SIZE }, (_, i) => i);
const perturbation: Perturbation = { form: 'none', theta: Float64Array.of(0.9, -1) };

/** Aborted from the n-th look on. */
function abortedAt(n: number): AbortSignal {
  let looks = 0;
  return {
    get aborted() {
      return ++looks >= n;
    },
  } as AbortSignal;
}

describe.each(ENGINES.filter(({ name }) => name.startsWith('tfjs')))('$name', ({ open }) => {
  test('a table lies on the device once for all programs, until the last one goes', async () => {
    const engine = (await open()) as TfjsEngine;
    const { backend } = engine.device;
    const before = backend.numDataIds();
    const written = jest.spyOn(backend, 'write');
    const programs = [await engine.compileTraced(networkLike()), await engine.compileTraced(networkLike())];
    const ends: number[][] = [];
    for (const program of programs) {
      const population = await program.createPopulation({ size: SIZE, seed: 3 });
      await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: ALL });
      await population.advance({ particles: ALL, perturbation, steps: 2 });
      ends.push(...Object.values(await population.finish({ particles: ALL, perturbation })).map((row) => [...row]));
      await population.dispose();
    }
    const shape = JSON.stringify([PIXELS.rows, ...PIXELS.rowShape]);
    const tables = written.mock.calls.filter(([, at, dtype]) => dtype === 'int32' && JSON.stringify(at) === shape);
    written.mockRestore();
    // Host memory gathers rows from the table itself; what `finish` computes of it once, it computes for each program.
    expect(tables).toHaveLength(engine.device.memory === undefined ? 1 : 2);
    expect(ends.slice(2)).toEqual(ends.slice(0, 2));
    // The second program goes on with what the first one leaves.
    await programs[0].dispose();
    const last = await programs[1].createPopulation({ size: SIZE, seed: 3 });
    await last.reset({ particles: ALL, perturbation, workers: ALL, episodes: ALL });
    await last.advance({ particles: ALL, perturbation, steps: 2 });
    const again = Object.values(await last.finish({ particles: ALL, perturbation })).map((row) => [...row]);
    expect(again).toEqual(ends.slice(0, 2));
    await last.dispose();
    await programs[1].dispose();
    expect(backend.numDataIds()).toBe(before);
  });

  test('a window cancelled in its second group leaves the first one as it was, and nothing on the device', async () => {
    const engine = (await open()) as TfjsEngine;
    const { backend } = engine.device;
    const program = await engine.compileTraced(networkLike(), { workingSetBytes: 4 << 10 });
    const group = program.groupSize('step');
    expect(group).toBeLessThan(SIZE);
    const population = await program.createPopulation({ size: SIZE, seed: 3 });
    const start = { particles: ALL, perturbation, workers: ALL, episodes: ALL };
    await population.reset(start);
    await population.advance({ particles: ALL, perturbation, steps: 2 });
    const before = await population.save();
    const held = backend.numDataIds();
    // Three steps of the first group, one of the second.
    const window = population.advance({ particles: ALL, perturbation, steps: 3, signal: abortedAt(5) });
    await expect(window).rejects.toThrow(
      new CancelledError(
        'advance was cancelled after 1 of 3 inner steps; the population is as it was before the call.',
      ),
    );
    await expect(population.reset({ ...start, signal: abortedAt(2) })).rejects.toThrow(/^reset was cancelled after/);
    expect(await population.save()).toEqual(before);
    expect(backend.numDataIds()).toBe(held);
    await population.dispose();
    await program.dispose();
  });

  test('a reverse window, through or cancelled anywhere, leaves nothing on the device but the states', async () => {
    const engine = (await open()) as TfjsEngine;
    const { backend } = engine.device;
    const start = backend.numDataIds();
    const traced = networkLike();
    const steps = 7;
    const reverse = { mode: 'reverse', steps, windowLoss: 'mean', start: true } as const;
    let memoryBytes = Number.MAX_SAFE_INTEGER;
    for (const keeps of ['everything', 'states']) {
      const program = await engine.compileDerivative(traced, reverse, { memoryBytes, workingSetBytes: 4 << 10 });
      expect(program.reverse!.keeps).toBe(keeps);
      expect(program.reverse!.atOnce).toBeLessThan(SIZE);
      memoryBytes = program.reverse!.bytes - 1;
      const population = await program.createPopulation({ size: SIZE, seed: 3 });
      await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: ALL });
      const before = await population.save();
      // With what is uploaded once.
      await population.differentiate({ particles: ALL.slice(0, 1), perturbation, steps });
      await population.load(before);
      await population.differentiate({ particles: ALL, perturbation, steps });
      await population.load(before);
      const held = backend.numDataIds();
      // Seven steps forward and seven back, those between run twice where only states are kept.
      for (const look of [1, 4, 7, 8, 12, 14, 16]) {
        const window = population.differentiate({ particles: ALL, perturbation, steps, signal: abortedAt(look) });
        await expect(window).rejects.toThrow(/^differentiate was cancelled after \d of 7 inner steps/);
        expect(backend.numDataIds()).toBe(held);
        expect(await population.save()).toEqual(before);
      }
      await population.differentiate({ particles: ALL, perturbation, steps });
      expect(backend.numDataIds()).toBe(held);
      await population.dispose();
      await program.dispose();
      expect(backend.numDataIds()).toBe(start);
    }
  });
});
