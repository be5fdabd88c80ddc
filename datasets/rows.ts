/** Checks that every row of an image set has to pass, wherever it comes from. */
import { DatasetError } from '../src/contracts';

/** What is wrong with one row of pixels; undefined if nothing is. A row needs `length` integers from 0 to 255, not all zero. */
export function unsoundRow(row: ArrayLike<number>, length: number): string | undefined {
  if (row.length !== length) return `${row.length} numbers instead of ${length}`;
  let any = false;
  for (let i = 0; i < length; i++) {
    const value = row[i];
    if (!(Number.isInteger(value) && value >= 0 && value <= 255)) return `${value} at column ${i}, not 0 to 255`;
    any ||= value !== 0;
  }
  return any ? undefined : 'nothing but zeros';
}

/**
 * Rows [rows, length] of uint8 pixels with one label each.
 * @param what Named in errors.
 * @param advice What to do about a row that is wrong.
 * @throws DatasetError for numbers that do not fill the rows, an empty row, a label out of range.
 */
export function checkRows(
  what: string,
  images: { readonly rows: number; readonly pixels: Uint8Array; readonly labels: Uint8Array },
  classes: number,
  advice: string,
): void {
  const { rows, pixels, labels } = images;
  const length = pixels.length / rows;
  const fail = (expected: string, got: string): never => {
    throw new DatasetError(`${what}: expected ${expected}, got ${got}. ${advice}`);
  };
  if (!Number.isInteger(length)) fail(`${rows} rows of equal length`, `${pixels.length} numbers`);
  if (labels.length !== rows) fail(`${rows} labels`, `${labels.length}`);
  for (let row = 0; row < rows; row++) {
    if (labels[row] >= classes) fail(`labels from 0 to ${classes - 1}`, `${labels[row]} in row ${row}`);
    let at = row * length;
    const end = at + length;
    while (at < end && pixels[at] === 0) at++;
    if (at === end) fail('a row with numbers other than zero', `nothing but zeros in row ${row}`);
  }
}
