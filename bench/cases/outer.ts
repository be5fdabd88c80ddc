/** Whole outer iterations: the estimator, its population and the outer optimizer as a run has them. */
import { lorenz } from '../../tasks';
import { adam, nres, pes, sgd } from '../../meta-trainers';
import { createContainer } from '../../src/container';
import type { GradientEstimator, OuterOptimizer, UnrolledProblem } from '../../src/contracts';
import { prepareRun, resolveConfig } from '../../src/outer';
import type { JaxProgram } from '../candidates/jax';
import { LEARNED_OPTIMIZATION } from '../targets';
import { notebookLopt } from './lopt';

export interface OuterPlan {
  readonly problem: UnrolledProblem;
  readonly estimator: GradientEstimator;
  readonly outerOptimizer: OuterOptimizer;
}

export interface OuterCase {
  readonly name: string;
  /** Outer iterations of a round. */
  readonly iterations: number;
  readonly plan: () => Promise<OuterPlan>;
  /** The same in JAX, by name of the peer. */
  readonly jax: Readonly<Record<string, JaxProgram>>;
}

export const OUTER_CASES: readonly OuterCase[] = [
  {
    name: 'mnist-lr',
    iterations: 2,
    // What `npm start` runs.
    plan: async () => {
      const container = createContainer();
      const { plan } = await prepareRun(resolveConfig({ preset: 'mnist-lr' }, [], container), container);
      return plan;
    },
    jax: {},
  },
  {
    name: 'lorenz',
    iterations: 200,
    plan: () =>
      Promise.resolve({
        problem: lorenz(),
        estimator: nres({ pairs: 200, sigma: 0.04, window: 100 }),
        outerOptimizer: sgd({ learningRate: 1e-5 }),
      }),
    jax: {
      // As the released code computes it, keys and fresh noise at every inner step included, but in one jitted scan.
      'jax: as released, jitted scan': { program: 'lorenz-outer', options: { scan: 20, released: true } },
      'jax: whole windows, jitted scan': { program: 'lorenz-outer', options: { scan: 100 } },
      'jax: whole windows, a call an iteration': { program: 'lorenz-outer', options: { scan: 1 } },
    },
  },
  {
    name: 'lopt-notebook',
    iterations: 20,
    plan: async () => ({
      problem: await notebookLopt(),
      estimator: pes({ pairs: 16, sigma: 0.01, window: 10 }),
      outerOptimizer: adam({ learningRate: 3e-4 }),
    }),
    jax: {
      [LEARNED_OPTIMIZATION]: { program: 'learned-optimization-pes', options: {}, package: 'learned_optimization' },
    },
  },
];
