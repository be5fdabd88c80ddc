/** What reports of several runs read from a folder, and what they refuse. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunDirectoryError } from '../../src/contracts';
import { readRecordedRun } from '../../src/outer/run-directory';
import { temporaryFolder } from './compiled';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const line = (iteration: number): string => JSON.stringify({ iteration, meanLoss: 1, innerSteps: 10, wallSeconds: 1 });
const CONFIG = JSON.stringify({ engine: 'reference', run: { versions: {} } });

function written(name: string, files: Readonly<Record<string, string>>): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}

test('an unfinished run: its whole lines, without the one that was being written', () => {
  const text = `${line(0)}\n${line(1)}\n${line(2).slice(0, 9)}`;
  const run = readRecordedRun(written('unfinished', { 'config.json': CONFIG, 'metrics.jsonl': text }));
  expect(run).toMatchObject({ finished: false, config: { engine: 'reference' } });
  expect(run.history.map(({ iteration }) => iteration)).toEqual([0, 1]);
  expect(run.before).toBeUndefined();
});

test('a run that diverged, in its first iteration too', () => {
  const divergence = JSON.stringify({ iteration: 0, message: 'θ is not finite' });
  const files = { 'config.json': CONFIG, 'metrics.jsonl': '', 'divergence.json': divergence };
  expect(readRecordedRun(written('diverged', files))).toMatchObject({ finished: false, diverged: 0, history: [] });
});

test('a finished run: with what it was before and after', () => {
  const summary = JSON.stringify({ iterations: 1 });
  const evaluation = JSON.stringify({ before: { mean: 2, standardError: 'number:NaN' }, after: { mean: 1 } });
  const files = { 'config.json': CONFIG, 'metrics.jsonl': `${line(0)}\n`, 'summary.json': summary };
  expect(readRecordedRun(written('finished', { ...files, 'evaluation.json': evaluation }))).toMatchObject({
    finished: true,
    before: { mean: 2, standardError: NaN },
    after: { mean: 1 },
  });
});

test.each<[string, Readonly<Record<string, string>>, string]>([
  ['no run', { 'notes.txt': 'mine' }, 'no run holds no run: config.json cannot be read (ENOENT)'],
  ['no metrics', { 'config.json': CONFIG }, 'metrics.jsonl cannot be read (ENOENT)'],
  ['no line', { 'config.json': CONFIG, 'metrics.jsonl': '' }, 'no line has not done an iteration yet'],
  [
    'damaged in the middle',
    { 'config.json': CONFIG, 'metrics.jsonl': `${line(0)}\n{"iter\n${line(2)}\n` },
    'metrics.jsonl is damaged at line 2: expected the metrics of iteration 1, got {"iter.',
  ],
  ['a line lost', { 'config.json': CONFIG, 'metrics.jsonl': `${line(0)}\n${line(2)}\n` }, 'is damaged at line 2'],
  [
    'null',
    { 'config.json': CONFIG, 'metrics.jsonl': 'null\n' },
    'is damaged at line 1: expected the metrics of iteration 0',
  ],
  [
    'cut short after the end',
    { 'config.json': CONFIG, 'metrics.jsonl': `${line(0)}\n`, 'summary.json': '{"iterations":2}' },
    'it has 1 lines, and the run has done 2 iterations',
  ],
  [
    'a damaged summary',
    { 'config.json': CONFIG, 'metrics.jsonl': `${line(0)}\n`, 'summary.json': '{' },
    'summary.json is damaged',
  ],
])('refused in words: %s', (name, files, message) => {
  const path = written(name, files);
  expect(() => readRecordedRun(path)).toThrow(RunDirectoryError);
  expect(() => readRecordedRun(path)).toThrow(message);
});
