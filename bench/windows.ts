/** Populations at work as an estimator puts them to work: antithetic pairs under Gaussian noise. */
import type { Perturbation, Population, UnrollProgram, WindowResult } from '../src/contracts';
import { EagerRandom, noiseKey, seedKey } from '../src/random';
import { treeFlatten } from '../src/contracts';
import type { BenchCase } from './cases';

const SEED = 1;

async function initialTheta(program: UnrollProgram): Promise<Float64Array> {
  const theta = new Float64Array(program.theta.size);
  const leaves = treeFlatten(program.problem.initTheta(new EagerRandom(seedKey(SEED))));
  for (const [i, leaf] of leaves.entries()) {
    theta.set(await leaf.data(), program.theta.leaves[i].offset);
    leaf.dispose();
  }
  return theta;
}

/** A population that is advanced window by window, reset (untimed) where its episode ends. */
export class Windows {
  private windows = 0;
  private episode = 0;

  private constructor(
    private readonly population: Population,
    private readonly theta: Float64Array,
    private readonly sigma: number,
    private readonly horizon: number,
  ) {}

  static async start(program: UnrollProgram, { sigma }: BenchCase, particles: number): Promise<Windows> {
    const population = await program.createPopulation({ size: particles, seed: SEED });
    const theta = await initialTheta(program);
    const windows = new Windows(population, theta, sigma, program.problem.horizon);
    await windows.reset();
    return windows;
  }

  /**
   * Advances all particles by `count` windows, one after the other, timed together. Noise is new for each, as with PES;
   * its keys are at hand before the clock starts, the noise itself is drawn within.
   */
  async advance(steps: number, count = 1): Promise<{ readonly seconds: number; readonly result: WindowResult }> {
    if (this.population.phases()[0] + count * steps > this.horizon) await this.reset();
    const particles = this.particles();
    const perturbations = Array.from({ length: count }, () => {
      this.windows += 1;
      return this.perturbation();
    });
    let result: WindowResult | undefined;
    const start = performance.now();
    for (const perturbation of perturbations) {
      result = await this.population.advance({ particles, perturbation, steps });
    }
    const seconds = (performance.now() - start) / 1000;
    if (result?.lossSum.every((loss) => Number.isFinite(loss)) !== true) {
      throw new Error('a loss is NaN or infinite');
    }
    return { seconds, result };
  }

  private async reset(): Promise<void> {
    const pairs = Int32Array.from({ length: this.population.size }, (_, i) => i >> 1);
    const episodes = new Int32Array(this.population.size).fill(this.episode++);
    await this.population.reset({
      particles: this.particles(),
      perturbation: this.perturbation(),
      workers: pairs,
      episodes,
    });
  }

  private particles(): Int32Array {
    return Int32Array.from({ length: this.population.size }, (_, i) => i);
  }

  private perturbation(): Perturbation {
    const { size } = this.population;
    const keys = new Uint32Array(2 * size);
    for (let i = 0; i < size; i++) keys.set(noiseKey(SEED, i >> 1, this.episode, this.windows), 2 * i);
    const signs = Int8Array.from({ length: size }, (_, i) => (i % 2 === 0 ? 1 : -1));
    return { form: 'gaussian', theta: this.theta, sigma: this.sigma, keys, signs };
  }
}
