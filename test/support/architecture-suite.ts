/** What every learned architecture is held to: a row each, with its update in plain float64 (architecture-oracles.ts). */
import * as tf from '@tensorflow/tfjs';
import {
  adafacMlp,
  learnableAdam,
  learnableSgd,
  learnableSgdm,
  lstmCoordinatewise,
  nnAdam,
  perParameterMlp,
  rnnMlp,
} from '../../learned-optimizers';
import { nres, tbptt } from '../../meta-trainers';
import {
  treeFlatten,
  treeMap,
  type DerivativePopulation,
  type LearnedOptimizer,
  type Population,
  type TensorTree,
  type UnrolledProblem,
  type UnrollProgram,
} from '../../src/contracts';
import { createEngine, type GraphEngine } from '../../src/engines';
import { unroll } from '../../src/outer';
import { traceProblem } from '../../src/graph/trace';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { quadraticTask } from '../../tasks';
import { outer } from '../../src';
import {
  adafacMlpOracle,
  adamOracle,
  lstmCoordinatewiseOracle,
  nnAdamOracle,
  perParameterMlpOracle,
  rnnMlpOracle,
  sgdOracle,
  type Oracle,
} from './architecture-oracles';
import type { EngineUnderTest } from './engine-table';
import { metaTrain } from './meta-train';
import { HAS_COMPILER } from './native';

export interface ArchitectureRow {
  readonly name: string;
  readonly make: () => LearnedOptimizer;
  /** Numbers of θ as published. */
  readonly size: number;
  readonly oracle: Oracle;
  /** What meta-training on a quadratic starts from, and the outer learning rate; the architecture itself if absent. */
  readonly small?: () => LearnedOptimizer;
  readonly rate: number;
}

export const ARCHITECTURES: readonly ArchitectureRow[] = [
  { name: 'learnable-sgd', make: learnableSgd, size: 1, oracle: sgdOracle(false), rate: 0.1 },
  { name: 'learnable-sgdm', make: learnableSgdm, size: 2, oracle: sgdOracle(true), rate: 0.1 },
  { name: 'learnable-adam', make: learnableAdam, size: 4, oracle: adamOracle, rate: 0.1 },
  // 19·32 + 32 + 32·32 + 32 + 32·2 + 2
  { name: 'per-parameter-mlp', make: perParameterMlp, size: 1762, oracle: perParameterMlpOracle, rate: 0.01 },
  // 39·4 + 4 + 4·4 + 4 + 4·2 + 2 + 3 + 1 + 3
  { name: 'adafac-mlp', make: adafacMlp, size: 197, oracle: adafacMlpOracle, rate: 0.02 },
  // (19 + 32)·128 + 128 + 32·4 + 4 + 2·32 + 4
  { name: 'nn-adam', make: nnAdam, size: 6856, oracle: nnAdamOracle, rate: 0.02 },
  // (52 + 64)·256 + 256 + 64·17 + 17 + 64·18 + 18 + 54·32 + 32 + 32·32 + 32 + 32·18 + 18 + 16 + 18 + 2·64
  {
    name: 'rnn-mlp',
    make: rnnMlp,
    size: 35799,
    oracle: rnnMlpOracle,
    small: () => rnnMlp({ units: 8, hidden: [8] }),
    rate: 0.01,
  },
  // (2 + 20)·80 + 80 + (20 + 20)·80 + 80 + 20 + 1
  {
    name: 'lstm-coordinatewise',
    make: lstmCoordinatewise,
    size: 5141,
    oracle: lstmCoordinatewiseOracle,
    small: () => lstmCoordinatewise({ units: [6, 6] }),
    rate: 0.01,
  },
];

const STEPS = 20;
const SEED = 5;
/** Particles: two of waves, one of each other kind. */
const SIZE = 5;
const ALL = Int32Array.from({ length: SIZE }, (_, i) => i);

/** A matrix, a vector, a scalar, four axes of which two are equal, and zeros. */
const SHAPES = { a: [3, 5], b: [7], c: [], d: [2, 3, 1, 3], e: [4] } as const;
const LEAVES = Object.values(SHAPES);
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const curvature = (i: number): number => Math.fround(0.1 + 0.3 * i);
const start = (leaf: number, i: number): number => (leaf === 4 ? 0 : Math.fround(1.5 - 0.4 * i + 0.05 * leaf));

/** By kind: waves (½hx² + sin x), or a gradient that stays: zero, huge, tiny. */
const KINDS = [1, 0, 1e15, 1e-30];
const WAVES = 0;

function paramsTree(of: (leaf: number, shape: readonly number[]) => tf.Tensor): TensorTree {
  const [a, b, c, d, e] = LEAVES.map((shape, leaf) => of(leaf, shape));
  return { a, rest: [b, c, { d }], zeros: e };
}
const filled = (shape: readonly number[], of: (i: number) => number): tf.Tensor =>
  tf.tensor(
    Array.from({ length: sizeOf(shape) }, (_, i) => of(i)),
    [...shape],
  );

/** An optimizer at gradients that are given, not derived, so that they may be of any size. */
function problemOf(optimizer: LearnedOptimizer): UnrolledProblem {
  const waves = (x: tf.Tensor): tf.Tensor => {
    const h = filled(x.shape, curvature);
    return tf.sum(tf.add(tf.mul(tf.mul(h, 0.5), tf.square(x)), tf.sin(x)));
  };
  const lossOf = (params: TensorTree): tf.Tensor =>
    treeFlatten<tf.Tensor>(params)
      .map(waves)
      .reduce((a, b) => tf.add(a, b));
  return {
    name: `${optimizer.name} on waves`,
    horizon: STEPS,
    initTheta: (random) => optimizer.initTheta(random),
    initState: (theta, random) => {
      const params = paramsTree((leaf, shape) => filled(shape, (i) => start(leaf, i)));
      const kind = tf.oneHot(random.integer([], 0, KINDS.length) as tf.Tensor1D, KINDS.length).toFloat();
      return { params, optimizer: optimizer.optimizer(theta).init(params), kind };
    },
    step: (theta, state, inner) => {
      const { params, kind, ...rest } = state as { params: TensorTree; kind: tf.Tensor; optimizer: TensorTree };
      const isWaves = tf.reshape(tf.slice(kind, [WAVES], [1]), []);
      const constant = tf.sum(tf.mul(kind, tf.tensor1d(KINDS.map((scale, k) => (k === WAVES ? 0 : scale)))));
      const gradients = treeMap(params, (x: tf.Tensor) => {
        const h = filled(x.shape, curvature);
        const sign = filled(x.shape, (i) => (i % 3 === 0 ? -1 : 1));
        const wave = tf.mul(tf.add(tf.mul(h, x), tf.cos(x)), isWaves);
        return tf.add(wave, tf.mul(tf.mul(h, sign), constant));
      }) as TensorTree;
      const loss = tf.add<tf.Scalar>(tf.mul(lossOf(params), isWaves), constant);
      const next = optimizer.optimizer(theta).update({
        params,
        gradients,
        state: rest.optimizer,
        t: inner.t,
        loss,
        random: inner.random,
      });
      return { state: { params: next.params, optimizer: next.state, kind }, loss: lossOf(next.params) };
    },
  };
}

const PATHS = ['params.a', 'params.rest.0', 'params.rest.1', 'params.rest.2.d', 'params.zeros'];

/** Parameters after `STEPS` steps of the waves, and where they started. */
function expected(oracle: Oracle, program: UnrollProgram, theta: Float64Array): number[][] {
  const leaf = (path: string): number[] => {
    const { offset, size } = program.theta.leaves.find((one) => one.path === path)!;
    return [...theta.subarray(offset, offset + size)];
  };
  const update = oracle(leaf);
  let params = LEAVES.map((shape, i) => ({
    shape,
    values: Array.from({ length: sizeOf(shape) }, (_, k) => start(i, k)),
  }));
  for (let t = 0; t < STEPS; t++) {
    const gradients = params.map(({ values }) => values.map((x, k) => curvature(k) * x + Math.cos(x)));
    const losses = params.flatMap(({ values }) => values.map((x, k) => 0.5 * curvature(k) * x * x + Math.sin(x)));
    const next = update({ params, gradients, t, loss: losses.reduce((a, b) => a + b, 0) });
    params = params.map(({ shape }, i) => ({ shape, values: next[i] }));
  }
  return params.map(({ values }) => values);
}

/** θ₀ moved by `spread`·N(0, 1), so that nothing in it is zero; a row a particle, two different ones in turn. */
function thetasOf(program: UnrollProgram, spread = 0.05): Float64Array {
  const base = tf.tidy(() =>
    treeFlatten<tf.Tensor>(program.problem.initTheta(new EagerRandom(seedKey(SEED)))).flatMap((x) => [...x.dataSync()]),
  );
  const moves = normals([SEED, 1], 2 * base.length);
  return Float64Array.from({ length: SIZE * base.length }, (_, at) => {
    const [particle, k] = [Math.floor(at / base.length), at % base.length];
    return Math.fround(base[k] + spread * moves[(particle % 2) * base.length + k]);
  });
}

async function started(
  program: Pick<UnrollProgram, 'createPopulation'>,
  thetas: Float64Array,
  workers: Int32Array,
): Promise<Population> {
  const size = workers.length;
  const population = await program.createPopulation({ size, seed: SEED });
  const particles = Int32Array.from({ length: size }, (_, i) => i);
  const perturbation = { form: 'explicit', thetas } as const;
  await population.reset({ particles, perturbation, workers, episodes: new Int32Array(size) });
  return population;
}

/** Two workers that draw waves, and one of each other kind. */
async function workersOf(program: UnrollProgram): Promise<Int32Array> {
  const size = 24;
  const population = await program.createPopulation({ size, seed: SEED });
  const workers = Int32Array.from({ length: size }, (_, i) => i);
  const perturbation = { form: 'none', theta: new Float64Array(program.theta.size) } as const;
  await population.reset({ particles: workers, perturbation, workers, episodes: new Int32Array(size) });
  const saved = await population.save();
  await population.dispose();
  const drawn = [WAVES, ...KINDS.keys()].map((kind, n) =>
    [...workers].filter((i) => kindOf(saved, i) === kind).at(n === 0 ? 1 : 0)!,
  );
  return Int32Array.from(drawn);
}

type Saved = Awaited<ReturnType<Population['save']>>;
function rowOf(saved: Saved, path: string, particle: number): number[] {
  const { shape, data } = saved[`state.${path}`];
  const width = data.length / shape[0];
  return Array.from(data.subarray(particle * width, (particle + 1) * width));
}
const kindOf = (saved: Saved, particle: number): number => rowOf(saved, 'kind', particle).indexOf(1);

/** A compiler may be busy. */
const COMPILING = 300_000;

/** Each architecture on each engine: 20 steps against float64, and finite numbers. */
export function followOracles(
  engines: readonly EngineUnderTest[],
  rows: (engine: EngineUnderTest) => readonly ArchitectureRow[],
): void {
  describe.each(engines)('$name', (underTest) => {
    const { open, exact } = underTest;
    let engine: GraphEngine;
    beforeAll(async () => {
      engine = await open();
    });
    afterAll(() => engine.dispose());

    test.each(rows(underTest))(
      '$name: 20 steps are those of float64, and no gradient leaves the finite numbers',
      async ({ make, oracle, size }) => {
        const program = await engine.compile(problemOf(make()));
        expect(program.theta.size).toBe(size);
        const thetas = thetasOf(program);
        const population = await started(program, thetas, await workersOf(program));
        await population.advance({ particles: ALL, perturbation: { form: 'explicit', thetas }, steps: STEPS });
        const saved = await population.save();
        expect([...ALL].map((i) => kindOf(saved, i))).toEqual([WAVES, ...KINDS.keys()]);
        for (const { data } of Object.values(saved)) expect([...data].every(Number.isFinite)).toBe(true);

        const wanted = [0, 1].map((row) => expected(oracle, program, thetas.subarray(row * size, (row + 1) * size)));
        for (const i of [0, 1]) {
          PATHS.forEach((path, leaf) => {
            rowOf(saved, path, i).forEach((got, k) => {
              const want = wanted[i][leaf][k];
              const moved = Math.abs(want - start(leaf, k));
              expect(moved).toBeGreaterThan(0);
              // float32: 20 roundings of a number of the parameter's size, and what they and those of sums make of a step.
              const tolerance = exact ? 1e-9 * moved + 1e-14 : 2e-3 * moved + 4e-6 * Math.max(1, Math.abs(want));
              expect(Math.abs(got - want)).toBeLessThanOrEqual(tolerance);
            });
          });
        }
        await population.dispose();
        await program.dispose();
      },
      COMPILING,
    );
  });
}

/** Derivatives by θ, θ₀, and what meta-training does. */
export function deriveAndTrain(rows: readonly ArchitectureRow[]): void {
  describe.each(rows)('$name', ({ name, make, small, rate }) => {
    test(
      'the gradient by θ is that of central differences',
      async () => {
        const { engine } = await createEngine('reference');
        const traced = traceProblem(problemOf(make()), { for: 'differentiate' });
        const reverse = await engine.compileDerivative(traced, {
          mode: 'reverse',
          steps: 4,
          windowLoss: 'mean',
          start: true,
        });
        const forward = await engine.compile(problemOf(make()));
        const { size } = forward.theta;
        const theta = thetasOf(forward).slice(0, size);
        const [worker, , still] = await workersOf(forward);
        const both = { form: 'explicit', thetas: Float64Array.of(...theta, ...theta) } as const;
        const population = (await started(reverse, both.thetas, Int32Array.of(worker, still))) as DerivativePopulation;
        const { derivatives } = await population.differentiate({
          particles: Int32Array.of(0, 1),
          perturbation: both,
          steps: 4,
        });
        // Where all gradients are zero, so are lengths and deviations, whose roots have no derivative there.
        expect(derivatives.every(Number.isFinite)).toBe(true);
        const gradient = derivatives.slice(0, size);
        const length = Math.hypot(...gradient);
        expect(length).toBeGreaterThan(0);
        const lossAt = async (direction: Float64Array, h: number): Promise<number> => {
          const thetas = theta.map((x, k) => x + h * direction[k]);
          const moved = await started(forward, thetas, Int32Array.of(worker));
          const { lossSum } = await moved.advance({
            particles: Int32Array.of(0),
            perturbation: { form: 'explicit', thetas },
            steps: 4,
          });
          return lossSum[0] / 4;
        };
        const along = [0, 1, 2].map((n) => normals([n, 77], size));
        // Where it is steepest, too: there nothing hides behind rounding.
        for (const direction of [...along.map((v) => Float64Array.from(v)), gradient.map((g) => g / length)]) {
          const h = 1e-6;
          const [one, two] = [h, 2 * h].map(
            async (by) => ((await lossAt(direction, by)) - (await lossAt(direction, -by))) / (2 * by),
          );
          const value = direction.reduce((sum, v, k) => sum + v * gradient[k], 0);
          // Their own error: a third of what the next step size adds, and rounding of losses of about 20.
          const error = Math.abs((await two) - (await one)) + (100 * 2 ** -53 * 20) / h;
          expect(Math.abs(value - (await one))).toBeLessThanOrEqual(error);
        }
        await engine.dispose();
      },
      COMPILING,
    );

    test('θ₀ is keyed by the seed', () => {
      const numbers = (seed: number): number[] =>
        tf.tidy(() =>
          treeFlatten<tf.Tensor>(make().initTheta(new EagerRandom(seedKey(seed)))).flatMap((x) => [...x.dataSync()]),
        );
      expect(numbers(1)).toEqual(numbers(1));
      // Of the three whose θ is hyperparameters there is nothing to draw.
      if (!name.startsWith('learnable')) expect(numbers(1)).not.toEqual(numbers(2));
    });

    test.each(['nres', 'tbptt'] as const)(
      'meta-training by %s lowers the meta-loss of a quadratic',
      async (method) => {
        const { engine } = await createEngine(HAS_COMPILER ? 'native' : 'reference');
        const problem = unroll({
          task: quadraticTask({ size: 4 }),
          optimizer: (small ?? make)(),
          objective: { metric: 'loss', split: 'train', over: 'mean' },
          horizon: 20,
        });
        const program = await engine.compile(problem);
        const particles = Int32Array.from({ length: 16 }, (_, i) => i);
        const metaLoss = async (theta: Float64Array): Promise<number> => {
          const population = await program.createPopulation({ size: 16, seed: 999 });
          const request = { particles, perturbation: { form: 'none', theta } } as const;
          await population.reset({ ...request, workers: particles, episodes: new Int32Array(16) });
          const { lossSum } = await population.advance({ ...request, steps: 20 });
          return lossSum.reduce((a, b) => a + b) / (16 * 20);
        };
        const begin = Float64Array.from(
          tf.tidy(() =>
            treeFlatten<tf.Tensor>(problem.initTheta(new EagerRandom(seedKey(SEED)))).flatMap((x) => [...x.dataSync()]),
          ),
        );
        const estimator =
          method === 'nres' ? nres({ pairs: 64, sigma: 0.02, window: 5 }) : tbptt({ workers: 16, window: 5 });
        const trained = await metaTrain(program, estimator, outer.adam({ learningRate: rate }), {
          start: [...begin],
          iterations: 30,
          seed: 3,
        });
        expect(await metaLoss(trained[29])).toBeLessThan(await metaLoss(begin));
        await program.dispose();
        await engine.dispose();
      },
      COMPILING,
    );
  });
}
