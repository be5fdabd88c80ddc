import { KilledRuns } from '../../outer/killed';

test('killed at calls all over its work, again and again, a run ends as if untouched', async () => {
  const runs = new KilledRuns();
  try {
    // The last calls of all, when everything is written already, included.
    await runs.expectSameEnd((calls) => Array.from({ length: Math.ceil(calls / 5) }, (_, i) => calls - 1 - 5 * i));
  } finally {
    runs.dispose();
  }
}, 600000);
