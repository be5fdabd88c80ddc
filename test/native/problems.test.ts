/** Every registered problem and the presets against the float64 reference; what takes longer is in test/full. */
import { NativeEngine } from '../../src/engines/native/engine';
import { describeNative } from '../support/native';
import { stepsAgainstReference } from '../support/reference-steps';
import { PRESET_PROBLEMS, SMALL_PROBLEMS } from '../support/registered-problems';

/** Of a few numbers: those that could as well lie in lanes. */
const FEW = ['quadratic', 'influence-balancing', 'lorenz'];
/** The published presets differ from `mnist-lr` by a horizon or the loss. */
const LONG = ['preset mnist-lr-paper', 'preset mnist-lr-paper-loss'];

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

  test.each(PRESET_PROBLEMS.filter(({ name }) => !LONG.includes(name)))(
    '$name',
    async ({ problem }) => {
      expect(await stepsAgainstReference(engine, await problem(), 2, 2)).toEqual([]);
    },
    120_000,
  );
});
