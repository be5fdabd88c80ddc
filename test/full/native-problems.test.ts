/** Native windows against the float64 reference: evaluations, learned optimizers, networks in lanes. */
import { NativeEngine } from '../../src/engines/native/engine';
import { describeNative } from '../support/native';
import { stepsAgainstReference } from '../support/reference-steps';
import { BENCH_PROBLEMS, PRESET_PROBLEMS, SMALL_PROBLEMS } from '../support/registered-problems';

describeNative('native against the float64 reference', () => {
  let engine: NativeEngine;
  beforeAll(async () => {
    engine = await NativeEngine.open({ threads: 2 });
  }, 60_000);
  afterAll(() => engine.dispose());

  test.each(SMALL_PROBLEMS)(
    '$name, lane-major',
    async ({ problem }) => {
      expect(await stepsAgainstReference(engine, await problem(), 5, 6, { mode: 'lane-major' })).toEqual([]);
    },
    600_000,
  );

  test.each(PRESET_PROBLEMS)(
    '$name, and its evaluation',
    async ({ problem }) => {
      const built = await problem();
      expect(await stepsAgainstReference(engine, built, 2, 2)).toEqual([]);
      const evaluated = built.evaluation?.problem;
      if (evaluated !== undefined && evaluated !== built) {
        expect(await stepsAgainstReference(engine, evaluated, 2, 1)).toEqual([]);
      }
    },
    600_000,
  );

  test.each(BENCH_PROBLEMS)(
    '$name',
    async ({ problem }) => {
      expect(await stepsAgainstReference(engine, await problem(), 1, 2)).toEqual([]);
    },
    600_000,
  );
});
