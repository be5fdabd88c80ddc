/** A disk that fills up while a run writes to it. */
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageError } from '../../src/contracts';
import { append, writeWhole } from '../../src/outer/run-directory/files';

const refused = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', errno: -28 });
let full = false;
jest.mock('write-file-atomic', () => ({
  sync: (path: string, contents: string) => {
    if (full) throw refused;
    jest.requireActual<{ sync(path: string, contents: string): void }>('write-file-atomic').sync(path, contents);
  },
}));

let folder: string;
beforeEach(() => {
  full = false;
  folder = mkdtempSync(join(tmpdir(), 'outerloop-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('says which file could not be written, why and what to do; the old file stays', () => {
  const path = join(folder, 'a');
  writeWhole(path, 'old');
  full = true;
  expect(() => writeWhole(path, 'new')).toThrow(
    `${path} could not be written: the disk is full (ENOSPC). Files written before are whole: make room, and go on with outerloop resume.`,
  );
  expect(() => writeWhole(path, 'new')).toThrow(StorageError);
  expect(readFileSync(path, 'utf8')).toBe('old');
});

test('another refusal is named by its code; a mistake of ours stays what it is', () => {
  expect(() => writeWhole(join(folder, 'none', 'a'), 'x')).toThrow(/none.*could not be written: ENOENT\./);
  expect(() => writeWhole(join(folder, 'a'), 7 as unknown as string)).toThrow(/must be of type string/);
});

test('lines are appended whole', () => {
  const path = join(folder, 'lines');
  const file = openSync(path, 'a');
  append(path, file, 'θ\n');
  append(path, file, 'b\n');
  closeSync(file);
  expect(readFileSync(path, 'utf8')).toBe('θ\nb\n');
});

const FULL_DEVICE = '/dev/full';
// Linux has a device that is always full.
(existsSync(FULL_DEVICE) ? test : test.skip)('a line that does not fit is an error', () => {
  const file = openSync(FULL_DEVICE, 'w');
  try {
    expect(() => append('metrics.jsonl', file, 'line\n')).toThrow(
      /^metrics\.jsonl could not be written: the disk is full \(ENOSPC\)/,
    );
  } finally {
    closeSync(file);
  }
});
