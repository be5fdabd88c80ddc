/** Products as compiled C, held against a float64 triple loop. */
import { planProduct, productPlans, shapeOf } from '../../src/engines/native/lower/product';
import { CPrograms } from '../support/c-program';
import { CompiledNests, targetOf } from '../support/nest-compiled';
import { boundProduct, PRODUCT_CASES, productProblem, type ProductCase } from '../support/product-fragments';

const programs = new CPrograms();
afterAll(() => {
  programs.dispose();
});

/** Some of the interpreted tests' cases. */
const CASES: readonly ProductCase[] = PRODUCT_CASES.filter((_, i) => i % 8 === 1);

const LARGE: readonly ProductCase[] = [
  { batch: [], m: 100, n: 100, k: 784, transposeB: true, epilogue: 'bias-relu' },
  { batch: [], m: 100, n: 784, k: 100, transposeA: true, epilogue: 'momentum' },
  { batch: [2], m: 128, n: 33, k: 1500, b: 'padded', epilogue: 'gate' },
];

describe.each(programs.targets)('products as C for $name', (target) => {
  (target.runs ? it : it.skip)('are the sums of their terms', () => {
    const native = targetOf(target.lanes);
    const bound = [...CASES, ...LARGE].flatMap((of) => {
      // The program gets copies, so that all plans may share the memory.
      const problem = productProblem(of);
      const { spec } = shapeOf(problem.fragment);
      const plans = LARGE.includes(of) ? [planProduct(spec, native)] : productPlans(spec, native);
      return plans.map((plan) => boundProduct(problem, native, plan));
    });
    const nests = new CompiledNests(
      programs,
      target,
      bound.map(({ kernel, memories }) => ({ kernel, buffers: memories })),
    );
    nests.run().forEach((after, i) => {
      bound[i].compare(after);
    });
  });
});
