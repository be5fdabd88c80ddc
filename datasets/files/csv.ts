/** Tables of numbers with a label in one column, as CSV files hold them. */
import { parse, CsvError } from 'csv-parse/sync';
import { z } from 'zod';
import { ConfigurationError, DataFileError } from '../../src/contracts';
import { orderOptions, pathOrPaths } from '../deal';

const column = z.union([z.string(), z.int().min(0)]);

export const csvOptions = orderOptions.extend({
  /** The column of the targets: its name in the header, or its number from 0. */
  label: column,
  /**
   * What the label is: a list, the names of the classes in their order; a number n, labels 0 … n − 1; false, a number to
   * predict. By default the labels that occur are the classes, in ascending order.
   */
  classes: z.union([z.array(z.string()).min(2), z.int().min(2), z.literal(false)]).optional(),
  /** The columns of the inputs, in this order; by default all but the label. */
  columns: z.array(column).min(1).optional(),
  /** Whether the first line has the names of the columns. */
  header: z.boolean().default(true),
  delimiter: z.string().length(1).default(','),
  /** `standard`: each input column minus its mean, over its standard deviation, both of the rows of `train`. */
  normalise: z.enum(['standard', 'none']).default('standard'),
});
export const csvFileOptions = csvOptions.extend({
  /** A file of UTF-8 text, or one for each split: {train, validation?, test?}. */
  path: pathOrPaths,
});
export type CsvOptions = z.input<typeof csvOptions>;
export type CsvSettings = z.output<typeof csvOptions>;

/** The rows of one file. */
export interface CsvRows {
  readonly rows: number;
  readonly inputs: readonly string[];
  /** [rows, inputs] */
  readonly xs: Float32Array;
  /** As they are written, trimmed, with the line of each. */
  readonly labels: readonly string[];
  readonly lines: readonly number[];
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const MOST_SHOWN = 40;
/** More inferred classes than this are a number that somebody forgot to say is one. */
const MOST_INFERRED = 1000;

const quoted = (text: string): string =>
  JSON.stringify(text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text);

/** What is wrong with a cell that should be a number, for errors; undefined if nothing is. */
function notNumber(cell: string): string | undefined {
  if (cell === '') return 'an empty cell';
  if (!NUMBER.test(cell)) return quoted(cell);
  return Number.isFinite(Math.fround(Number(cell))) ? undefined : `${cell}, which float32 cannot hold`;
}

/** Numbers that come one by one. */
class Numbers {
  private values = new Float32Array(1024);
  private count = 0;

  push(value: number): void {
    if (this.count === this.values.length) {
      const larger = new Float32Array(2 * this.count);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count++] = value;
  }

  all(): Float32Array {
    return this.values.slice(0, this.count);
  }
}

interface Columns {
  readonly width: number;
  readonly label: number;
  readonly inputs: readonly number[];
  /** For errors and listings: the name in quotes, or the number. */
  readonly shown: (index: number) => string;
}

/** Which columns are meant. @throws DataFileError, ConfigurationError */
function columnsOf(file: string, first: readonly string[], settings: CsvSettings): Columns {
  const { header, label, columns } = settings;
  const shown = (index: number): string => (header ? quoted(first[index]) : String(index));
  if (header) {
    const twice = first.findIndex((name, i) => first.indexOf(name) !== i);
    if (twice >= 0) {
      throw new DataFileError(file, { line: 1 }, 'a name for each column', `${quoted(first[twice])} twice`);
    }
  }
  const indexOf = (key: string, asked: string | number): number => {
    const index = typeof asked === 'number' ? asked : header ? first.indexOf(asked) : -1;
    if (index >= 0 && index < first.length) return index;
    const have = header ? first.map(quoted).join(', ') : `0 to ${first.length - 1}`;
    const got = typeof asked === 'number' ? String(asked) : quoted(asked);
    const hint = header || typeof asked === 'number' ? undefined : 'Without a header, columns have numbers.';
    throw new ConfigurationError(key, `a column of ${file} (${have})`, got, hint);
  };
  const labelAt = indexOf('data.label', label);
  const inputs =
    columns?.map((asked, i) => indexOf(`data.columns.${i}`, asked)) ??
    first.map((_, i) => i).filter((i) => i !== labelAt);
  if (inputs.length === 0) {
    throw new DataFileError(
      file,
      { line: 1 },
      'a column of inputs beside the label',
      '1 column',
      'Is data.delimiter right?',
    );
  }
  if (inputs.includes(labelAt)) {
    throw new ConfigurationError('data.columns', 'columns other than the label', shown(labelAt));
  }
  return { width: first.length, label: labelAt, inputs, shown };
}

/**
 * Reads CSV (RFC 4180: quotes, doubled quotes, line breaks within quotes; blanks around cells and empty lines do not
 * count; a byte order mark may stand first). Every input must be a finite number.
 * @param file Named in errors.
 * @throws DataFileError with file, line and column; ConfigurationError for a column that is not there
 */
export function parseCsv(bytes: Uint8Array, file: string, settings: CsvSettings): CsvRows {
  const xs = new Numbers();
  const labels: string[] = [];
  const lines: number[] = [];
  let columns: Columns | undefined;
  const take = (record: readonly string[], lastLine: number): void => {
    const line = lastLine - record.reduce((sum, cell) => sum + cell.split('\n').length - 1, 0);
    if (columns === undefined) {
      columns = columnsOf(file, record, settings);
      if (settings.header) return;
    }
    const { width, inputs, label, shown } = columns;
    if (record.length !== width) {
      throw new DataFileError(file, { line }, `${width} cells`, String(record.length));
    }
    for (const index of inputs) {
      const wrong = notNumber(record[index]);
      if (wrong !== undefined) throw new DataFileError(file, { line, column: shown(index) }, 'a number', wrong);
      xs.push(Number(record[index]));
    }
    if (record[label] === '') {
      throw new DataFileError(file, { line, column: shown(label) }, 'a label', 'an empty cell');
    }
    labels.push(record[label]);
    lines.push(line);
  };
  try {
    parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), {
      bom: true,
      delimiter: settings.delimiter,
      skip_empty_lines: true,
      trim: true,
      // Counted here, with the line that the record begins in.
      relax_column_count: true,
      on_record: (record: string[], { lines: line }) => {
        take(record, line);
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { lines: line } = error as CsvError & { readonly lines?: number };
    throw new DataFileError(file, line === undefined ? {} : { line }, 'CSV', error.message, undefined, {
      cause: error,
    });
  }
  if (columns === undefined || labels.length === 0) {
    throw new DataFileError(file, {}, 'rows', bytes.length === 0 ? 'an empty file' : 'none below the header');
  }
  const { inputs, shown } = columns;
  return { rows: labels.length, inputs: inputs.map(shown), xs: xs.all(), labels, lines };
}

/** Targets, and the names of the classes if they are class labels. */
export interface CsvTargets {
  readonly classNames?: readonly string[];
  /** One a file, in its order. */
  readonly ys: readonly (readonly number[])[];
}

/** Makes targets of the labels of all files. @throws DataFileError for a label that is none */
export function csvTargets(
  files: readonly { readonly file: string; readonly rows: CsvRows }[],
  { classes, label }: CsvSettings,
): CsvTargets {
  const column = typeof label === 'string' ? JSON.stringify(label) : String(label);
  const read = (convert: (text: string) => number | undefined, expected: string, hint?: string): number[][] =>
    files.map(({ file, rows }) =>
      rows.labels.map((text, i) => {
        const value = convert(text);
        if (value !== undefined) return value;
        throw new DataFileError(file, { line: rows.lines[i], column }, expected, quoted(text), hint);
      }),
    );
  if (classes === false)
    return { ys: read((text) => (notNumber(text) === undefined ? Number(text) : undefined), 'a number') };
  if (typeof classes === 'number') {
    const isLabel = (text: string): boolean => /^\d+$/.test(text) && Number(text) < classes;
    return {
      classNames: Array.from({ length: classes }, (_, i) => String(i)),
      ys: read((text) => (isLabel(text) ? Number(text) : undefined), `a label from 0 to ${classes - 1}`),
    };
  }
  const names = classes ?? inferredClasses(files);
  const codes = new Map(names.map((name, i) => [name, i]));
  if (codes.size < names.length) {
    throw new ConfigurationError('data.classes', 'different names', JSON.stringify(names));
  }
  const known = names.slice(0, 10).map(quoted).join(', ');
  return {
    classNames: names,
    ys: read((text) => codes.get(text), `one of the classes ${known}${names.length > 10 ? ' …' : ''}`),
  };
}

function inferredClasses(files: readonly { readonly file: string; readonly rows: CsvRows }[]): string[] {
  const names = [...new Set(files.flatMap(({ rows }) => rows.labels))];
  const [{ file }] = files;
  const areNumbers = names.every((name) => NUMBER.test(name));
  const hint = 'If it is a number to predict, say classes: false.';
  if (areNumbers && !names.every((name) => /^-?\d+$/.test(name))) {
    throw new ConfigurationError('data.classes', `classes, as the labels of ${file} are numbers`, 'nothing', hint);
  }
  if (names.length < 2) {
    throw new DataFileError(file, {}, 'labels of two classes or more', `${quoted(names[0])} throughout`);
  }
  if (names.length > MOST_INFERRED) {
    const got = `${names.length} different labels in ${file}`;
    throw new ConfigurationError('data.classes', `at most ${MOST_INFERRED} classes where none are named`, got, hint);
  }
  return names.sort(areNumbers ? (a, b) => Number(a) - Number(b) : (a, b) => (a < b ? -1 : 1));
}
