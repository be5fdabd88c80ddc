/** Optimizers as C: compiled by a strict compiler, run beside the same update in float64. */
import { rmSync } from 'node:fs';
import type { LearnedOptimizer } from '../../src/contracts';
import type { OptimizerWeights } from '../../src/deploy';
import { cFiles, parseShapes } from '../../src/deploy/c-source';
import { ReferenceEngine } from '../../src/engines';
import { initialTheta, layoutOfOptimizer } from '../../src/outer';
import { normals } from '../../src/random';
import { compileC, trajectory, writeC, type GivenStep } from './c-optimizer';
import { givenGradients } from './given-gradients';
import { describeNative, temporaryFolder } from './native';

/** A matrix that fills several tiles, a vector, a scalar, four axes of which two are equal, one number in a row. */
const SHAPES = parseShapes('24x17, 7, scalar, 2x3x1x3, 1x1');
const SIZES = SHAPES.map((shape) => shape.reduce((a, b) => a * b, 1));
const STEPS = 12;

const drawn = (n: number, size: number): number[] => [...normals([n, 4711], size)].map(Math.fround);
const START = SIZES.map((size, i) => drawn(i, size));
/** Of sizes between 0.001 and 10, and zeros. */
const GIVEN: readonly GivenStep[] = Array.from({ length: STEPS }, (_, t) => ({
  loss: Math.fround(3 / (t + 1)),
  gradients: SIZES.map((size, i) =>
    drawn(100 + 7 * t + i, size).map((x, k) => (k % 5 === 3 ? 0 : Math.fround(x * 10 ** ((i % 5) - 3)))),
  ),
}));

/** θ₀ moved by N(0, 0.05²), so that nothing in it is zero. */
export function weightsOf(optimizer: LearnedOptimizer): OptimizerWeights {
  const base = initialTheta({ initTheta: (random) => optimizer.initTheta(random) }, 5);
  const moves = normals([5, 1], base.length);
  return {
    optimizer: { name: optimizer.name },
    featureVersion: 1,
    layout: layoutOfOptimizer(optimizer),
    theta: Float32Array.from(base, (x, k) => x + 0.05 * moves[k]),
    record: { iterations: 3 },
  };
}

/** Parameters after each step in float64, by the interpreter of graphs. */
async function inFloat64(optimizer: LearnedOptimizer, theta: Float32Array): Promise<number[][][]> {
  const engine = new ReferenceEngine();
  const program = await engine.compile(givenGradients(optimizer, SHAPES, START, GIVEN));
  const population = await program.createPopulation({ size: 1, seed: 0 });
  const one = Int32Array.of(0);
  const request = { particles: one, perturbation: { form: 'none', theta: Float64Array.from(theta) } } as const;
  await population.reset({ ...request, workers: one, episodes: one });
  const steps: number[][][] = [];
  for (let t = 0; t < STEPS; t++) {
    await population.advance({ ...request, steps: 1 });
    const saved = await population.save();
    steps.push(SHAPES.map((_, i) => [...saved[`state.params.${i}`].data]));
  }
  await engine.dispose();
  return steps;
}

/** float32: roundings of a number of the parameter's size at every step, and what they make of a step. */
function expectNear(got: readonly number[][][], wanted: readonly number[][][]): void {
  wanted.forEach((params, t) => {
    params.forEach((values, i) => {
      values.forEach((want, k) => {
        const moved = Math.abs(want - START[i][k]);
        const tolerance = 2e-3 * moved + 4e-6 * Math.max(1, Math.abs(want));
        if (!(Math.abs(got[t][i][k] - want) <= tolerance)) {
          throw new Error(`step ${t}, tensor ${i}, number ${k}: expected ${want}, got ${got[t][i][k]}`);
        }
      });
    });
  });
}

export interface CRow {
  readonly name: string;
  readonly make: () => LearnedOptimizer;
}

/** Each optimizer, compiled with each list of flags: its steps are those of float64. */
export function stepsInC(rows: readonly CRow[], compilations: readonly (readonly string[])[]): void {
  describeNative('C', () => {
    const folder = temporaryFolder();
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    test.each(rows)(
      '$name: steps are those of float64',
      async ({ name, make }) => {
        const optimizer = make();
        const weights = weightsOf(optimizer);
        const prefix = name.replaceAll('-', '_');
        writeC(folder, prefix, cFiles(weights, optimizer, SHAPES, prefix));
        const wanted = await inFloat64(optimizer, weights.theta);
        for (const flags of compilations) {
          expectNear(trajectory(compileC(folder, prefix, SIZES, flags), START, GIVEN), wanted);
        }
      },
      300_000,
    );
  });
}
