import { noticesTo, type RunEvent } from '../../src/outer';
import { createContainer } from '../../src/container';
import { progressListener } from '../../src/cli/progress';
import { ReferenceEngine, type EngineOptions } from '../../src/engines';
import { train } from '../../src/library';

test('a notice is an event, once for each text', () => {
  const events: RunEvent[] = [];
  const notice = noticesTo([(event) => events.push(event)]);
  for (const text of ['chunks of 8', 'chunks of 8', 'chunks of 4', 'chunks of 8']) notice(text);
  expect(events).toEqual([
    { type: 'notice', text: 'chunks of 8' },
    { type: 'notice', text: 'chunks of 4' },
  ]);
});

test('progress shows it on a line of its own', () => {
  let shown = '';
  progressListener({ write: (text) => (shown += text) })({ type: 'notice', text: 'runs in chunks.' });
  expect(shown).toBe('note: runs in chunks.\n');
});

test('an engine gets the limits of a run, and its notices reach who listens', async () => {
  const given: (EngineOptions | undefined)[] = [];
  const container = createContainer({
    engines: {
      names: () => ['reference'],
      open: (_name, options) => {
        given.push(options);
        options?.notice?.('told twice');
        options?.notice?.('told twice');
        return Promise.resolve({ engine: new ReferenceEngine(), reason: 'the only one' });
      },
    },
  });
  const notices: string[] = [];
  await train(
    { preset: 'quadratic', engine: 'reference', iterations: 1 },
    {
      container,
      limits: { threads: 2, memoryBytes: 1e9 },
      onEvent: (event) => {
        if (event.type === 'notice') notices.push(event.text);
      },
    },
  );
  expect(given).toMatchObject([{ threads: 2, memoryBytes: 1e9 }]);
  expect(notices).toEqual(['told twice']);
});
