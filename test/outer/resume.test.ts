/** SIGKILL at any moment, then resume: the same bits as a run that nobody touched. Real processes. */
import { join } from 'node:path';
import { HAS_COMPILER } from '../support/native';
import { ITERATIONS, KilledRuns, outcome, OVERRIDES } from './killed';

let runs: KilledRuns;
beforeAll(() => {
  runs = new KilledRuns();
});
afterAll(() => runs.dispose());

test('same seed, same bits in two processes; another seed, other bits', async () => {
  const dirs = ['first', 'second', 'other'].map((name) => join(runs.folder, name));
  const done = await Promise.all([
    runs.run(dirs[0]),
    runs.run(dirs[1]),
    runs.run(dirs[2], { overrides: [...OVERRIDES, 'seed=1'] }),
  ]);
  expect(done.map(({ code, stderr }) => ({ code, stderr }))).toEqual(dirs.map(() => ({ code: 0, stderr: '' })));
  const [first, second, other] = dirs.map(outcome);
  expect(first.lines).toHaveLength(ITERATIONS);
  expect(first.lines.map(({ evaluation }) => evaluation !== undefined)).toEqual(
    Array.from({ length: ITERATIONS }, (_, i) => i === 4 || i === 9),
  );
  expect(second).toEqual(first);
  expect(other.lines[0].theta).not.toEqual(first.lines[0].theta);
}, 60000);

test('killed here and there, again and again, it ends as if untouched (at calls all over its work: test/full)', async () => {
  await runs.expectSameEnd(() => [3, 17, 31, 74]);
}, 120000);

(HAS_COMPILER ? test : test.skip)(
  'so it does on engine native, with another number of threads after each kill',
  async () => {
    const overrides = [...OVERRIDES, 'engine=native', 'task.hidden=[8]'];
    const native = new KilledRuns('mnist-lr-small', overrides, { OUTERLOOP_THREADS: '3' });
    try {
      await native.expectSameEnd(() => [31, 74]);
    } finally {
      native.dispose();
    }
  },
  240000,
);
