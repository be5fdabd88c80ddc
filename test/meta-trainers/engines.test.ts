/** The estimators on engines: the linear system as a traced problem, against the definition in plain float64. */
import * as tf from '@tensorflow/tfjs';
import type { ArrayBundle, TensorTree, UnrolledProblem } from '../../src/contracts';
import { createEngine } from '../../src/engines';
import { byHand } from '../support/estimator-by-hand';
import { estimatorRows, gradientRows, HORIZON } from '../support/estimator-rows';
import { gradientByHand } from '../support/gradient-by-hand';
import { linearProblem, linearSystem, type LinearSystem } from '../support/linear-program';
import { HAS_COMPILER } from '../support/native';
import type { PlainProblem } from '../support/plain-program';

const SIGMA = 0.5;
const SEED = 4;
const PAIRS = 5;

/** The constants as float32 holds them, as a graph does. */
function rounded(system: LinearSystem): LinearSystem {
  const rows = (matrix: LinearSystem['a']): number[][] => matrix.map((row) => row.map(Math.fround));
  return {
    ...system,
    a: rows(system.a),
    b: rows(system.b),
    start: system.start.map(Math.fround),
    target: system.target.map(Math.fround),
  };
}

/** @param startsAtTheta adds θ to the first numbers of the start */
function traced(system: LinearSystem, startsAtTheta = false): UnrolledProblem {
  const matrix = (rows: LinearSystem['a']): tf.Tensor2D => tf.tensor2d(rows.map((row) => [...row]));
  const times = (rows: LinearSystem['a'], x: tf.Tensor): tf.Tensor =>
    tf.sum(tf.mul(matrix(rows), tf.reshape(x, [1, rows[0].length])), 1);
  return {
    name: 'linear',
    horizon: system.horizon,
    initTheta: () => tf.tensor1d([0.3, -0.4]),
    initState: (theta: TensorTree) => {
      const start = tf.tensor1d([...system.start]);
      return startsAtTheta ? tf.add(start, tf.pad1d(theta as tf.Tensor1D, [0, 1])) : start;
    },
    step: (theta: TensorTree, state: TensorTree) => {
      const next = tf.add(times(system.a, state as tf.Tensor), times(system.b, theta as tf.Tensor));
      const loss = tf.cos(tf.sum(tf.mul(next, tf.tensor1d([...system.target]))));
      return { state: next, loss, metrics: { metric: tf.reshape(tf.slice(next, 0, 1), []) } };
    },
  };
}

// reference: float64 but for ξ in float32. tfjs: states and losses in float32, 6e-8 relative a step over 12 steps, in
// sums of losses of size 3 that are divided by 2σW.
describe.each([
  ['reference', 2e-6],
  ['tfjs:cpu', 2e-5],
])('%s', (name, tolerance) => {
  it.each(estimatorRows)('$label: every estimate is its definition', async (row) => {
    const system = rounded(linearSystem('cosine', HORIZON));
    const { engine } = await createEngine(name);
    const program = await engine.compile(traced(system));
    const estimator = row.make({ pairs: PAIRS, sigma: SIGMA });
    const population = await estimator.populate(program, SEED);
    const thetas = Array.from({ length: 7 }, (_, i) => Float64Array.of(0.3 + 0.05 * i, -0.4 - 0.02 * i));
    const estimates = [await estimator.estimate(thetas[0], population, 0)];
    const offsets = Array.from((await population.save()).phases.data, (t) => t - row.scoredSteps);
    for (let i = 1; i < thetas.length; i++) estimates.push(await estimator.estimate(thetas[i], population, i));
    const truth = byHand({ problem: linearProblem(system), row, sigma: SIGMA, seed: SEED, offsets, thetas });
    estimates.forEach((estimate, i) => {
      estimate.gradient.forEach((g, k) => expect(Math.abs(g - truth[i].gradient[k])).toBeLessThan(tolerance));
      expect(Math.abs(estimate.meanLoss - truth[i].meanLoss)).toBeLessThan(tolerance);
      expect(Math.abs(estimate.metrics.metric - truth[i].metric)).toBeLessThan(tolerance);
      expect(estimate.burnInSteps).toBe(truth[i].burnInSteps);
    });
    await population.dispose();
    await program.dispose();
    await engine.dispose();
  });
});

// reference: float64 but for ξ in float32. Elsewhere float32: as above, with as many roundings again for derivatives, and
// UORO's vectors, whose products are some ten times as large as the gradient.
const DIFFERENTIATING: readonly (readonly [string, number])[] = [
  ['reference', 2e-6],
  ['tfjs:cpu', 1e-4],
  ...(HAS_COMPILER ? [['native', 1e-4] as const] : []),
];
describe.each(DIFFERENTIATING)('%s', (name, tolerance) => {
  it.each(gradientRows)(
    '$label: every estimate is its definition, and goes on from a checkpoint',
    async (row) => {
      const { engine } = await createEngine(name);
      if (!engine.capabilities.has(row.capability)) throw new Error(`${name} has no ${row.capability} windows`);
      const system = rounded(linearSystem('cosine', HORIZON));
      const plain = linearProblem(system);
      const problem: PlainProblem = {
        ...plain,
        init: (theta, state, ...rest) => {
          plain.init(theta, state, ...rest);
          theta.forEach((x, k) => (state[k] += x));
        },
        tangent: { ...plain.tangent!, init: (_theta, v, out) => out.fill(0).set(v) },
      };
      const program = await engine.compile(traced(system, true));
      const estimator = row.make({ workers: PAIRS });
      const population = await estimator.populate(program, SEED);
      const thetas = Array.from({ length: 7 }, (_, i) => Float64Array.of(0.3 + 0.05 * i, -0.4 - 0.02 * i));
      const estimates = [await estimator.estimate(thetas[0], population, 0)];
      const offsets = Array.from((await population.save()).phases.data, (t) => t - row.scoredSteps);
      let bundle: ArrayBundle = {};
      for (let i = 1; i < thetas.length; i++) {
        if (i === 3) bundle = structuredClone(await population.save());
        estimates.push(await estimator.estimate(thetas[i], population, i));
      }
      const resumed = await estimator.populate(program, SEED);
      await resumed.load(bundle);
      for (let i = 3; i < thetas.length; i++) {
        expect(await estimator.estimate(thetas[i], resumed, i)).toEqual(estimates[i]);
      }
      await resumed.dispose();
      const truth = gradientByHand({ problem, row, sigma: SIGMA, seed: SEED, offsets, thetas });
      // Noise is float32 in the definition: DODGE's directions, PES's ξ.
      const noisy = row.kind === 'analytic' || row.kind === 'direction';
      const bound = name === 'reference' && !noisy ? 1e-12 : tolerance;
      estimates.forEach((estimate, i) => {
        estimate.gradient.forEach((g, k) => expect(Math.abs(g - truth[i].gradient[k])).toBeLessThan(bound));
        expect(Math.abs(estimate.meanLoss - truth[i].meanLoss)).toBeLessThan(bound);
        expect(Math.abs(estimate.metrics.metric - truth[i].metric)).toBeLessThan(bound);
        expect(estimate.burnInSteps).toBe(truth[i].burnInSteps);
      });
      await population.dispose();
      await program.dispose();
      await engine.dispose();
    },
    120_000,
  );
});
