/** Every registered problem and the presets against the float64 reference; what takes longer is in test/full. */
import * as tf from '@tensorflow/tfjs';
import type { UnrolledProblem } from '../../src/contracts';
import { NativeEngine } from '../../src/engines/native/engine';
import { describeNative } from '../support/native';
import { stepsAgainstReference } from '../support/reference-steps';
import { PRESET_PROBLEMS, SMALL_PROBLEMS } from '../support/registered-problems';

/** Of a few numbers: those that could as well lie in lanes. */
const FEW = ['quadratic', 'influence-balancing', 'lorenz'];
/** The published presets differ from `mnist-lr` by a horizon or the loss; a network over ten tensors takes a compiler long. */
const LONG = ['preset mnist-lr-paper', 'preset mnist-lr-paper-loss', 'preset lopt-cifar10'];

describeNative('native against the float64 reference', () => {
  let engine: NativeEngine;
  beforeAll(async () => {
    engine = await NativeEngine.open({ threads: 2 });
  }, 60_000);
  afterAll(() => engine.dispose());

  test.each(SMALL_PROBLEMS)(
    '$name',
    async ({ name, problem }) => {
      for (const mode of ['particle-major', ...(FEW.includes(name) ? (['lane-major'] as const) : [])] as const) {
        expect(await stepsAgainstReference(engine, await problem(), 5, 6, { mode })).toEqual([]);
      }
    },
    120_000,
  );

  test('θ and state that are bare tensors, without a path', async () => {
    const problem: UnrolledProblem = {
      name: 'bare',
      horizon: 10,
      initTheta: () => tf.tensor1d([0.5, 2]),
      initState: () => tf.tensor1d([1, 2, 3]),
      step: (theta, state) => {
        const [rate, shift] = tf.split(theta as tf.Tensor1D, 2);
        const next = tf.add(tf.mul(state as tf.Tensor1D, rate), shift);
        return { state: next, loss: tf.sum(next) };
      },
    };
    for (const mode of ['particle-major', 'lane-major'] as const) {
      expect(await stepsAgainstReference(engine, problem, 3, 4, { mode })).toEqual([]);
    }
  });

  test.each(PRESET_PROBLEMS.filter(({ name }) => !LONG.includes(name)))(
    '$name',
    async ({ problem }) => {
      expect(await stepsAgainstReference(engine, await problem(), 2, 2)).toEqual([]);
    },
    120_000,
  );
});
