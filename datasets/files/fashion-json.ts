/**
 * Rows of numbers from `{"data":[[0,12,…],[…],…]}`, the form of the package `fashion-mnist`, byte by byte as they arrive:
 * JSON.parse would make an object of a gigabyte of its 149 MB. Rows that are no images are left out and listed; anything
 * else that is not of this form is an error.
 */
import { DatasetError } from '../../src/contracts';
import { unsoundRow } from '../rows';
import type { FileReader } from './npm-package';

const HEAD = '{"data":[';
const [OPEN, CLOSE, BRACE, COMMA, ZERO, NINE] = Array.from('[]},09', (c) => c.charCodeAt(0));
/** More digits than any number that could be meant; keeps them exact. */
const MAX_DIGITS = 9;

/** What may come next. */
type State = 'head' | 'row or end' | 'row' | 'number' | 'digit' | 'comma or end' | 'brace' | 'nothing';
const EXPECTED: Readonly<Record<State, string>> = {
  head: `"${HEAD}"`,
  'row or end': '"[" or "]"',
  row: '"["',
  number: 'a digit',
  digit: 'a digit, "," or "]"',
  'comma or end': '"," or "]"',
  brace: '"}"',
  nothing: 'the end of the file',
};

export interface JsonRows extends FileReader {
  /** Sound rows so far. */
  readonly rows: number;
  /** The first `capacity` of them, row after row. */
  readonly pixels: Uint8Array;
  /** `row 1000: 0 numbers instead of 784`, counted from 0. */
  readonly leftOut: readonly string[];
}

/**
 * @param file Named in errors.
 * @param length Numbers in a row.
 * @param capacity Sound rows that are kept; more are counted.
 */
export function jsonRows(file: string, length: number, capacity: number): JsonRows {
  const pixels = new Uint8Array(capacity * length);
  const leftOut: string[] = [];
  let state: State = 'head';
  let headAt = 0;
  let position = 0;
  let row = 0;
  let rows = 0;
  let values: number[] = [];
  let value = 0;
  let digits = 0;

  const fail = (got: string): never => {
    throw new DatasetError(
      `${file}: expected ${EXPECTED[state]} at byte ${position} (row ${row}), got ${got}. Fetch the package again.`,
    );
  };
  const endRow = (): void => {
    const wrong = unsoundRow(values, length);
    if (wrong !== undefined) leftOut.push(`row ${row}: ${wrong}`);
    else {
      if (rows < capacity) pixels.set(values, rows * length);
      rows++;
    }
    values = [];
    row++;
    state = 'comma or end';
  };
  const step = (byte: number): void => {
    switch (state) {
      case 'digit':
        if (byte >= ZERO && byte <= NINE) {
          if (++digits > MAX_DIGITS) fail(`a number of more than ${MAX_DIGITS} digits`);
          value = value * 10 + (byte - ZERO);
        } else if (byte === COMMA || byte === CLOSE) {
          values.push(value);
          if (byte === CLOSE) endRow();
          else state = 'number';
        } else fail(shown(byte));
        return;
      case 'number':
        if (byte >= ZERO && byte <= NINE) {
          value = byte - ZERO;
          digits = 1;
          state = 'digit';
        } else if (byte === CLOSE && values.length === 0) endRow();
        else fail(shown(byte));
        return;
      case 'head':
        if (byte !== HEAD.charCodeAt(headAt)) fail(shown(byte));
        if (++headAt === HEAD.length) state = 'row or end';
        return;
      case 'row or end':
      case 'row':
        if (byte === OPEN) state = 'number';
        else if (byte === CLOSE && state === 'row or end') state = 'brace';
        else fail(shown(byte));
        return;
      case 'comma or end':
        if (byte === COMMA) state = 'row';
        else if (byte === CLOSE) state = 'brace';
        else fail(shown(byte));
        return;
      case 'brace':
        if (byte !== BRACE) fail(shown(byte));
        state = 'nothing';
        return;
      case 'nothing':
        // A line's end at the end of a file is none of its data.
        if (byte !== 10 && byte !== 13) fail(shown(byte));
    }
  };

  return {
    get rows() {
      return rows;
    },
    pixels,
    leftOut,
    write: (chunk) => {
      for (let i = 0; i < chunk.length; i++, position++) step(chunk[i]);
    },
    end: () => {
      if (state !== 'nothing') fail('the end of the file');
    },
  };
}

const shown = (byte: number): string =>
  byte > 32 && byte < 127 ? JSON.stringify(String.fromCharCode(byte)) : `byte 0x${byte.toString(16).padStart(2, '0')}`;
