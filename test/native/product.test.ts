/** Products as loop nests, run in the interpreter of nests and held against a float64 triple loop. */
import { lowerProduct, planProduct, productCost, productPlans, shapeOf } from '../../src/engines/native/lower/product';
import type { ProductPlan, ProductSpec } from '../../src/engines/native/lower/product';
import type { Target } from '../../src/engines/native/nest/ir';
import { verifyKernel } from '../../src/engines/native/nest/verify';
import { runNest } from '../support/nest-interpreter';
import {
  boundProduct,
  LIES,
  PRODUCT_CASES,
  productName,
  productProblem,
  type ProductCase,
} from '../support/product-fragments';

const TARGETS: readonly Target[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
  { lanes: 4, registers: 32 },
];

/** Runs the plan and compares every store with its expectation, and all padding with what it was. */
function check(of: ProductCase, target: Target, plan?: ProductPlan): void {
  const { kernel, memories, compare } = boundProduct(productProblem(of), target, plan);
  verifyKernel(kernel, target);
  runNest(kernel, memories, [], { lanes: target.lanes });
  compare();
}

function plansOf(of: ProductCase, target: Target): readonly ProductPlan[] {
  return productPlans(shapeOf(productProblem(of).fragment).spec, target);
}

const SIZES = [1, 2, 3, 5, 10, 15, 16, 17, 33, 100];
describe.each(TARGETS)('products in $lanes lanes', (target) => {
  // All in 8 lanes, one half each in 16 and in 4, to be quick.
  const cases = PRODUCT_CASES.filter((_, i) => target.lanes === 8 || (i % 2 === 0) === (target.lanes === 16));
  it.each(cases.map((of) => [productName(of), of] as const))('%s, in every form', (_, of) => {
    for (const plan of plansOf(of, target)) check(of, target, plan);
    check(of, target);
  });
});

describe('products', () => {
  const [wide, eight] = TARGETS;

  it('of nothing are zeros', () => {
    for (const plan of plansOf({ batch: [2], m: 3, n: 5, k: 0 }, eight)) {
      check({ batch: [2], m: 3, n: 5, k: 0, epilogue: 'bias-relu' }, eight, plan);
    }
  });

  it('without elements run no loop', () => {
    for (const [batch, m, n] of [
      [0, 3, 5],
      [2, 0, 5],
      [2, 3, 0],
    ]) {
      for (const plan of plansOf({ batch: [batch], m, n, k: 4 }, eight))
        check({ batch: [batch], m, n, k: 4 }, eight, plan);
    }
  });

  it('go through a long k in blocks when there are many rows', () => {
    const { spec } = shapeOf(productProblem({ batch: [], m: 128, n: 100, k: 3000 }).fragment);
    for (const target of TARGETS) {
      const plan = planProduct(spec, target);
      const blocks = plan.form === 'broadcast' ? plan.groups.map(({ block }) => block) : [];
      expect(Math.min(...blocks)).toBeLessThan(3000);
    }
  });

  // Rows that are worth a copy of the panel, and fewer; rows and blocks that do not divide; a part of a vector at the end.
  it.each([
    [50, 18, 45, 20],
    [14, 9, 100, 33],
    [150, 9, 9, 4],
    // The last rows are fewer than a tile.
    [130, 9, 9, 4],
  ])('add up [%i,k]·[k,%i], k = %i in blocks of %i', (m, n, k, block) => {
    for (const b of LIES) {
      const of: ProductCase = { batch: [2], m, n, k, b, epilogue: 'momentum' };
      const groups = [
        { count: 1, columns: 2, rows: 4, block },
        { count: 1, columns: 1, rows: 7, block },
      ].slice(n > 16 ? 0 : 1);
      const some = n > 16 ? groups : [{ ...groups[0], count: 2 }];
      const packing = b === 'transposed' || b === 'spread' ? 'strided' : 'none';
      check(of, eight, { form: 'broadcast', swapped: false, width: 8, groups: some, strip: m, packing, cycles: 0 });
    }
  });

  it('go through strips of many rows when the left operand is the larger', () => {
    const of: ProductCase = { batch: [], m: 120, n: 20, k: 60, a: 'padded', transposeA: true, epilogue: 'momentum' };
    const stripped = plansOf(of, eight).filter((plan) => plan.form === 'broadcast' && plan.strip < of.m);
    expect(stripped.length).toBeGreaterThan(0);
    check(of, eight, stripped[0]);
    // Strips that do not divide the rows.
    check(of, eight, { ...stripped[0], strip: 50 } as ProductPlan);
  });

  it('take neighbouring rows of a strip by whole cache lines', () => {
    for (const target of TARGETS) {
      for (const [m, k] of [
        [784, 100],
        [1000, 128],
      ]) {
        const spec = { batch: 1, m, n: 100, k, a: { m: 1, k: m }, b: { k: 104, n: 1 }, result: { m: 104, n: 1 } };
        const plan = planProduct(spec, target);
        // 64 bytes are 16 elements.
        expect(plan).toMatchObject({ form: 'broadcast', swapped: false });
        if (plan.form !== 'broadcast') continue;
        expect(plan.strip).toBeLessThan(m);
        expect(plan.strip % 16).toBe(0);
      }
    }
  });

  it('give what does not fill a group of columns to the last group, where a tile of it fits', () => {
    const spec = {
      batch: 1,
      m: 96,
      n: 100,
      k: 100,
      a: { m: 104, k: 1 },
      b: { k: 104, n: 1 },
      result: { m: 104, n: 1 },
    };
    const plan = planProduct(spec, eight);
    expect(plan).toMatchObject({ form: 'broadcast', swapped: false });
    if (plan.form !== 'broadcast') return;
    // 13 vectors: of six groups of two and one of one the latter would load an element an addition.
    expect(plan.groups.map(({ count, columns, rows }) => [count, columns, rows])).toEqual([
      [5, 2, 6],
      [1, 3, 4],
    ]);
  });

  it('sum strips of many columns one after another', () => {
    const of: ProductCase = { batch: [], m: 2, n: 1300, k: 3, transposeB: true, epilogue: 'bias-relu' };
    check(of, eight, { form: 'dot', swapped: false, tile: { rows: 2, columns: 4 }, cycles: 0 });
  });

  it('ask early for what a large epilogue streams', () => {
    const of: ProductCase = { batch: [], m: 90, n: 100, k: 18, transposeA: true, epilogue: 'momentum' };
    const { kernel } = lowerProduct(productProblem(of).fragment, wide);
    expect(JSON.stringify(kernel.body)).toContain('"prefetch"');
    check(of, wide);
  });

  it('load a scalar operand once, before all loops', () => {
    const { fragment } = productProblem({ batch: [], m: 20, n: 40, k: 10, epilogue: 'momentum' });
    const { kernel, buffers } = lowerProduct(fragment, wide);
    const rate = kernel.buffers[buffers.findIndex((use) => use.kind === 'operand' && scalar(use.value))].name;
    function scalar(id: number): boolean {
      return fragment.graph.nodes[id].type.shape.length === 0;
    }
    const loads = (statements: unknown): number => JSON.stringify(statements).split(`"buffer":"${rate}"`).length - 1;
    expect(loads(kernel.body)).toBe(1);
    expect(loads(kernel.body.filter(({ kind }) => kind === 'loop'))).toBe(0);
  });
});

describe('the choice of loops', () => {
  const spec = (m: number, n: number, k: number, a: 'mk' | 'km', b: 'kn' | 'nk'): ProductSpec => ({
    batch: 1,
    m,
    n,
    k,
    a: a === 'mk' ? { m: k, k: 1 } : { m: 1, k: m },
    b: b === 'kn' ? { k: n, n: 1 } : { k: 1, n: k },
    result: { m: n, n: 1 },
  });
  const [wide] = TARGETS;

  it('puts k in lanes where both operands lie along a long k', () => {
    expect(planProduct(spec(100, 100, 784, 'mk', 'nk'), wide).form).toBe('dot');
  });

  it('splats the left operand where the right one lies along n', () => {
    expect(planProduct(spec(100, 784, 100, 'km', 'kn'), wide)).toMatchObject({ form: 'broadcast', packing: 'none' });
  });

  it('transposes an operand of a short k', () => {
    expect(planProduct(spec(100, 100, 100, 'mk', 'nk'), wide)).toMatchObject({ packing: 'transpose' });
    expect(planProduct({ ...spec(100, 100, 100, 'mk', 'nk'), packing: false }, wide).form).toBe('dot');
  });

  it('tiles within the registers', () => {
    for (const target of TARGETS) {
      for (const m of SIZES) {
        for (const n of SIZES) {
          const plan = planProduct(spec(m, n, 33, 'mk', 'kn'), target);
          if (plan.form !== 'broadcast') continue;
          for (const { rows, columns } of plan.groups) {
            expect(rows * columns + columns + 1).toBeLessThanOrEqual(target.registers);
          }
        }
      }
    }
  });

  it('costs at least what the multiply-adds take at two a cycle, and not four times that for a large one', () => {
    const cost = productCost(spec(256, 256, 256, 'mk', 'kn'), wide);
    const least = 256 ** 3 / 16 / 2;
    expect(cost).toBeGreaterThanOrEqual(least);
    expect(cost).toBeLessThan(4 * least);
  });
});
