/** Windows of text: their numbers, their parts, and files that are no text. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { textDataset, textFile, vocabularyOf } from '../../datasets';
import { ConfigurationError, DatasetUnavailableError, SPLITS, UserError } from '../../src/contracts';

const TEXT = 'the cat sat on the mat; the dog ate the cat’s hat. 𝄞';
const symbols = Array.from(TEXT);

function decoded(
  dataset: ReturnType<typeof textDataset>,
  split: (typeof SPLITS)[number],
  column: 'xs' | 'ys',
): string[] {
  const { table } = dataset.splits[split][column];
  const vocabulary = vocabularyOf(TEXT);
  const [length] = table.rowShape;
  return Array.from({ length: table.rows }, (_, row) =>
    Array.from(table.values.subarray(row * length, (row + 1) * length), (code) => vocabulary[code]).join(''),
  );
}

test('the vocabulary has every character once, in order of code points', () => {
  expect(vocabularyOf('banana 𝄞é')).toEqual([' ', 'a', 'b', 'n', 'é', '𝄞']);
});

test.each([
  [4, undefined],
  [4, 1],
  [3, 2],
  [1, 1],
])('windows of %s at every %s: what follows each character, and no window beyond its part', (length, stride) => {
  const dataset = textDataset({ text: TEXT, length, ...(stride !== undefined && { stride }) });
  expect(dataset.inputShape).toEqual([length]);
  expect(dataset.classes).toBe(new Set(TEXT).size);
  // 52 characters: 42 (41.6 rounded), 5 (to 46.8, rounded 47), 5.
  expect(symbols).toHaveLength(52);
  const parts = [symbols.slice(0, 42), symbols.slice(42, 47), symbols.slice(47)];
  SPLITS.forEach((split, i) => {
    const [xs, ys]: string[][] = [[], []];
    for (let at = 0; at + length + 1 <= parts[i].length; at += stride ?? length) {
      xs.push(parts[i].slice(at, at + length).join(''));
      ys.push(parts[i].slice(at + 1, at + 1 + length).join(''));
    }
    expect(xs.length).toBeGreaterThan(0);
    expect(decoded(dataset, split, 'xs')).toEqual(xs);
    expect(decoded(dataset, split, 'ys')).toEqual(ys);
    expect(dataset.splits[split].rows).toBe(xs.length);
  });
});

test('symbols are bytes up to 256 of them, int32 beyond', () => {
  const text = (count: number) =>
    Array.from({ length: 3 * count }, (_, i) => String.fromCodePoint(0x4e00 + (i % count))).join('');
  expect(textDataset({ text: text(256), length: 2 }).splits.train.xs.table.dtype).toBe('uint8');
  expect(textDataset({ text: text(257), length: 2 }).splits.train.xs.table.dtype).toBe('int32');
});

test.each([
  ['text: expected a text, got nothing: it is empty', { text: '' }],
  ['text: expected a text of two different characters or more, got "a" throughout', { text: 'aaaa' }],
  ['text: expected a text of about 50 characters or more, got 40 characters.', { text: 'ab'.repeat(20), length: 4 }],
  [
    'data.shares: expected positive shares that sum to 1, got a sum of 0.9',
    { text: TEXT, shares: { train: 0.7, validation: 0.1, test: 0.1 } },
  ],
  ['data.length: expected', { text: TEXT, length: 0 }],
])('%s', (message, options) => {
  expect(() => textDataset(options)).toThrow(ConfigurationError);
  expect(() => textDataset(options)).toThrow(message);
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'outerloop-text-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, contents: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, contents);
    return path;
  };

  test('a file gives the windows of its text', async () => {
    const dataset = await textFile({ path: file('cat.txt', TEXT), length: 4 });
    expect(decoded(dataset, 'train', 'xs')).toEqual(decoded(textDataset({ text: TEXT, length: 4 }), 'train', 'xs'));
    expect(dataset.name).toBe('text cat.txt');
  });

  test('a file that is not there', async () => {
    const path = join(folder, 'none.txt');
    await expect(textFile({ path })).rejects.toThrow(DatasetUnavailableError);
    await expect(textFile({ path })).rejects.toThrow(`there is no file "${path}"`);
  });

  test.each([
    ['empty.txt', '', 'it is empty'],
    ['short.txt', 'too short', 'characters or more, got 9 characters'],
    ['zero.bin', Uint8Array.of(97, 98, 0, 99), 'which has a zero byte at 2: a binary file'],
    ['latin.txt', Uint8Array.of(97, 0xe9, 98, 99), 'whose bytes are no UTF-8'],
  ])('%s is refused before anything runs', async (name, contents, message) => {
    const path = file(name, contents);
    await expect(textFile({ path })).rejects.toThrow(UserError);
    await expect(textFile({ path })).rejects.toThrow(message);
    await expect(textFile({ path })).rejects.toThrow('data.path');
  });

  test('a folder is refused', async () => {
    await expect(textFile({ path: folder })).rejects.toThrow('which is a folder');
  });
});
