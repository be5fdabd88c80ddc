/** What is RTRL's alone: a θ that one particle is too small for, and a bound of memory. */
import type { Differentiation, UnrollProgram } from '../../src/contracts';
import { rtrl } from '../../meta-trainers';
import { horizonGradient, linearProgram, linearSystem, type LinearSystem } from '../support/linear-program';

const T = 12;
const W = 3;

/** The linear system with `size` numbers of θ. */
function wide(size: number): LinearSystem {
  const system = linearSystem('cosine', T);
  return { ...system, b: system.b.map((_, i) => Array.from({ length: size }, (__, k) => Math.sin(1 + i + 3 * k))) };
}

/** The program, and what it was asked to differentiate. */
function watched(system: LinearSystem): {
  readonly program: UnrollProgram;
  readonly asked: Differentiation[];
  readonly steps: () => number;
} {
  const plain = linearProgram(system);
  const asked: Differentiation[] = [];
  const program = {
    ...plain,
    differentiate: (differentiation: Differentiation) => {
      asked.push(differentiation);
      return plain.differentiate(differentiation);
    },
  };
  return { program, asked, steps: () => plain.steps };
}

describe('θ is shared out between particles of one episode, at most eight directions each', () => {
  it.each([
    [1, 1, 1],
    [8, 1, 8],
    [9, 2, 5],
    [20, 3, 7],
  ])('θ of %d: %d particles with %d directions', async (size, particles, directions) => {
    const system = wide(size);
    const { program, asked, steps } = watched(system);
    const estimator = rtrl({ workers: T / W, window: W });
    const population = await estimator.populate(program, 1);
    expect(asked).toEqual([{ mode: 'tangent', directions }]);
    const theta = Float64Array.from({ length: size }, (_, k) => 0.1 * Math.cos(k));
    // One worker at every window of the episode: the mean is that of the whole horizon.
    const estimate = await estimator.estimate(theta, population, 0);
    const exact = horizonGradient(system, theta, { sigma: 0, period: T, window: W, perturbed: 'persistent' });
    estimate.gradient.forEach((g, k) => expect(Math.abs(g - exact[k])).toBeLessThan(1e-12));
    expect(estimate.validPairs).toBe(T / W);
    expect(estimate.innerSteps).toBe(particles * (T / W) * W);
    expect(steps()).toBe(estimate.innerSteps + estimate.burnInSteps);
  });
});

describe('memory', () => {
  // 5 workers × θ of 1000 × (3 numbers of state in float32 and 1000 of directions in float64).
  const bytes = 5 * 1000 * (4 * 3 + 8 * 1000);
  const mib = Math.ceil(bytes / 2 ** 20);

  it('beyond the bound is refused before anything is compiled, with what it would take', async () => {
    const { program, asked } = watched(wide(1000));
    const estimator = rtrl({ workers: 5, window: W, memoryLimit: mib - 1 });
    await expect(estimator.populate(program, 1)).rejects.toMatchObject({
      key: 'estimator.memoryLimit',
      exitCode: 2,
      message:
        `estimator.memoryLimit: expected at least ${mib} MiB for rtrl with 5 workers, θ of 1000 and a state of 3 numbers, ` +
        `got ${mib - 1} MiB. uoro and dodge estimate the same gradient in as much memory as θ and the state themselves.`,
    });
    expect(asked).toEqual([]);
  });

  it('within it, is not', async () => {
    const { program, asked } = watched(wide(1000));
    await (await rtrl({ workers: 5, window: W, memoryLimit: mib }).populate(program, 1)).dispose();
    expect(asked).toHaveLength(1);
  });
});
