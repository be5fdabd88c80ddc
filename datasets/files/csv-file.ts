/** The data set `csv`: tables of the user's. */
import { isUtf8 } from 'node:buffer';
import { basename } from 'node:path';
import { DataFileError, SPLITS, type Dataset, type Split } from '../../src/contracts';
import { arrayDataset, type SplitArrays } from '../array-dataset';
import { csvFileOptions, csvTargets, parseCsv, type CsvOptions, type CsvRows, type CsvSettings } from './csv';
import { checkedOptions, deal, dealtSplits, type BySplit } from '../deal';
import { readOwn } from './own-file';

/** Rows are kept in memory, as text while they are read. */
const MOST_BYTES = 256 * 2 ** 20;

export type CsvFileOptions = CsvOptions & { readonly path: string | BySplit<string> };

async function readRows(file: string, settings: CsvSettings) {
  const bytes = await readOwn(file, 'csv', MOST_BYTES);
  if (bytes.includes(0)) {
    throw new DataFileError(file, { offset: bytes.indexOf(0) }, 'UTF-8 text', 'a zero byte: a binary file');
  }
  if (!isUtf8(bytes)) {
    // Line ends are single bytes in UTF-8, and never part of another character.
    let [from, line] = [0, 1];
    for (let end = bytes.indexOf(10); end >= 0 && isUtf8(bytes.subarray(from, end)); end = bytes.indexOf(10, from)) {
      from = end + 1;
      line++;
    }
    throw new DataFileError(file, { line, offset: from }, 'UTF-8 text', 'bytes that are none');
  }
  return { file, rows: parseCsv(bytes, file, settings) };
}

/** Rows of xs [rows, width] and ys [rows], in the given order. */
function gathered(order: Int32Array, xs: Float32Array, ys: readonly number[]): { xs: Float32Array; ys: number[] } {
  const width = xs.length / ys.length;
  const out = new Float32Array(order.length * width);
  order.forEach((row, i) => out.set(xs.subarray(row * width, (row + 1) * width), i * width));
  return { xs: out, ys: Array.from(order, (row) => ys[row]) };
}

/** Standardises the columns of all splits by the moments that they have in `train`; a column of one value is only shifted. */
function standardise(splits: Readonly<Record<Split, { readonly xs: Float32Array }>>, width: number): void {
  const { xs } = splits.train;
  const rows = xs.length / width;
  for (let c = 0; c < width; c++) {
    let [mean, squares] = [0, 0];
    for (let at = c; at < xs.length; at += width) mean += xs[at] / rows;
    for (let at = c; at < xs.length; at += width) squares += (xs[at] - mean) ** 2 / rows;
    const std = squares > 0 ? Math.sqrt(squares) : 1;
    for (const split of SPLITS) {
      const values = splits[split].xs;
      for (let at = c; at < values.length; at += width) values[at] = (values[at] - mean) / std;
    }
  }
}

/**
 * A table: inputs [columns], float32, and a class label or a number in the column `label`.
 *
 * Rows of one file are permuted by `seed` (0) and cut by `shares` (0.8, 0.1, 0.1); with `order: 'source'` they are cut as they
 * stand. `path` may also be {train, validation?, test?}: what has no file of its own is dealt out of that of `train`. Inputs
 * are standardised by the moments of `train`, unless `normalise: 'none'`. The names of the classes, in order, are `classNames`.
 * @throws DatasetUnavailableError for a file that is not there. @throws DataFileError (file, line, column, expected, got) for a
 * cell that is empty or no finite number, a row of another length, a label that is no class. @throws ConfigurationError
 */
export async function csvDataset(path: string | BySplit<string>, options: CsvOptions): Promise<Dataset> {
  const { path: paths, ...settings } = checkedOptions(csvFileOptions, { ...options, path }, 'data');
  const given: BySplit<string> = typeof paths === 'string' ? { train: paths } : paths;
  const splitsOfFiles = SPLITS.filter((split) => given[split] !== undefined);
  const files: { readonly file: string; readonly rows: CsvRows }[] = [];
  for (const split of splitsOfFiles) files.push(await readRows(given[split]!, settings));
  const [{ rows: first }] = files;
  for (const { file, rows } of files.slice(1)) {
    if (rows.inputs.join() === first.inputs.join()) continue;
    throw new DataFileError(file, { line: 1 }, `the columns ${first.inputs.join(', ')}`, rows.inputs.join(', '));
  }
  const { classNames, ys } = csvTargets(files, settings);
  const order = deal(`"${given.train}"`, first.rows, dealtSplits(given), settings);
  const arraysOf = (split: Split): { xs: Float32Array; ys: number[] } => {
    const dealt = order[split];
    const at = dealt === undefined ? splitsOfFiles.indexOf(split) : 0;
    const { rows } = files[at];
    return dealt === undefined ? { xs: rows.xs, ys: [...ys[at]] } : gathered(dealt, rows.xs, ys[at]);
  };
  const splits = { train: arraysOf('train'), validation: arraysOf('validation'), test: arraysOf('test') };
  if (settings.normalise === 'standard') standardise(splits, first.inputs.length);
  return arrayDataset({
    name: `csv ${basename(given.train)}`,
    inputShape: [first.inputs.length],
    ...(classNames === undefined ? {} : { classes: classNames.length, classNames }),
    splits: splits satisfies Record<Split, SplitArrays>,
  });
}
