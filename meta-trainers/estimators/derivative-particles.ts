import type { DerivativePopulation, DerivativeProgram, Differentiation, UnrollProgram } from '../../src/contracts';

/** A program that differentiates and a population of it. Disposing of both is up to whoever made them. */
export class DerivativeParticles {
  private constructor(
    readonly program: DerivativeProgram,
    readonly population: DerivativePopulation,
  ) {}

  /** @throws what `UnrollProgram.differentiate` rejects with; nothing is left to dispose of then */
  static async create(
    program: UnrollProgram,
    differentiation: Differentiation,
    options: { readonly size: number; readonly seed: number },
  ): Promise<DerivativeParticles> {
    const derivative = await program.differentiate(differentiation);
    try {
      return new DerivativeParticles(derivative, await derivative.createPopulation(options));
    } catch (error) {
      await derivative.dispose();
      throw error;
    }
  }
}
