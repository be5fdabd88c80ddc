/** Products as loop nests, run in the interpreter of nests and held against a float64 triple loop. */
import { lowerProduct, planProduct, productCost, productPlans, shapeOf } from '../../src/engines/native/lower/product';
import type { ProductPlan, ProductSpec } from '../../src/engines/native/lower/product';
import type { Target } from '../../src/engines/native/nest/ir';
import { runNest, type NestBuffer } from '../support/nest-interpreter';
import {
  elementsOf,
  paddingKept,
  productProblem,
  type EpilogueName,
  type Lie,
  type ProductCase,
} from '../support/product-fragments';

const TARGETS: readonly Target[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
  { lanes: 4, registers: 32 },
];

/** Runs the plan and compares every store with its expectation, and all padding with what it was. */
function check(of: ProductCase, target: Target, plan?: ProductPlan): void {
  const { fragment, values, expected } = productProblem(of);
  const { kernel, buffers } = lowerProduct(fragment, target, plan);
  const memories = buffers.map((use): NestBuffer => {
    if (use.kind === 'workspace') return new Float32Array(use.bytes / 4).fill(NaN);
    return values.get(use.value)!.memory;
  });
  runNest(kernel, memories, [], { lanes: target.lanes });
  for (const [id, { value, tolerance }] of expected) {
    const got = elementsOf(values.get(id)!);
    value.forEach((exact, at) => {
      if (!(Math.abs(got[at] - exact) <= tolerance[at])) {
        throw new Error(
          `${JSON.stringify(of)}\n${JSON.stringify(plan)}\nelement ${at}: ${got[at]}, not ${exact} ± ${tolerance[at]}`,
        );
      }
    });
  }
  for (const placed of values.values()) expect(paddingKept(placed)).toBe(true);
}

function plansOf(of: ProductCase, target: Target): readonly ProductPlan[] {
  return productPlans(shapeOf(productProblem(of).fragment).spec, target);
}

const SIZES = [1, 2, 3, 5, 10, 15, 16, 17, 33, 100];
const LIES: readonly Lie[] = ['dense', 'padded', 'transposed', 'spread'];
const EPILOGUES: readonly EpilogueName[] = ['none', 'bias-relu', 'momentum', 'gate', 'silu'];
const BATCHES: readonly (readonly number[])[] = [[], [2], [], [2, 3], [1]];

/** Every size as m, as n and as k, with flags, layouts, epilogues and batches going round; small enough to interpret. */
const CASES: readonly ProductCase[] = SIZES.flatMap((m, i) =>
  [1, 3, 7, 9].map((step, j): ProductCase => {
    const turn = 4 * i + j;
    const k = SIZES[(i * step + j + 2) % 10];
    const n = SIZES[(i + step * 3) % 10];
    const batch = m * n * k > 1000 ? [] : BATCHES[turn % 5];
    return {
      batch,
      m,
      n: m * n * k > 20000 ? 5 : n,
      k,
      transposeA: turn % 2 === 1,
      transposeB: turn % 3 === 1,
      a: LIES[turn % 4],
      b: LIES[(turn >> 2) % 4],
      result: LIES[(turn * 3) % 4],
      epilogue: EPILOGUES[(turn + i) % 5],
    };
  }),
);

const nameOf = ({ batch, m, n, k, transposeA, transposeB, a, b, result, epilogue }: ProductCase): string =>
  `${batch.join('×')}[${m},${k}]·[${k},${n}]${transposeA ? ' Aᵀ' : ''}${transposeB ? ' Bᵀ' : ''} ${a}·${b}→${result} ${epilogue}`;

describe.each(TARGETS)('products in $lanes lanes', (target) => {
  it.each(CASES.map((of) => [nameOf(of), of] as const))('%s, in every form', (_, of) => {
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
    const of: ProductCase = { batch: [], m: 14, n: 9, k: 1100, epilogue: 'momentum', b: 'padded' };
    const blocked = plansOf(of, eight).filter(
      (plan) => plan.form === 'broadcast' && plan.groups.some(({ block }) => block < of.k),
    );
    expect(blocked.length).toBeGreaterThan(0);
    for (const plan of blocked) check(of, eight, plan);
  });

  it('with many rows and a block each keep sums of some rows at a time', () => {
    const of: ProductCase = { batch: [], m: 150, n: 9, k: 9, epilogue: 'bias-relu' };
    const groups = [{ count: 2, columns: 1, rows: 4, block: 4 }];
    check(of, eight, { form: 'broadcast', swapped: false, width: 8, groups, strip: 150, packing: 'none', cycles: 0 });
  });

  it('go through strips of many rows when the left operand is the larger', () => {
    const of: ProductCase = { batch: [], m: 120, n: 20, k: 60, a: 'padded', transposeA: true, epilogue: 'momentum' };
    const stripped = plansOf(of, eight).filter((plan) => plan.form === 'broadcast' && plan.strip < of.m);
    expect(stripped.length).toBeGreaterThan(0);
    check(of, eight, stripped[0]);
    // Strips that do not divide the rows.
    check(of, eight, { ...stripped[0], strip: 50 } as ProductPlan);
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
            expect(rows * columns + columns + 1).toBeLessThan(target.registers);
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
