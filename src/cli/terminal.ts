/** What the terminal shows at a run's end: the table before / after and curves drawn with characters. */
import * as asciichart from 'asciichart';
import Table from 'cli-table3';
import { beforeAfterRows, comparisonTable, formatNumber, type Comparison, type ReportedTheta } from '../report';

export interface TerminalOptions {
  /** Whether escape codes for colours may be written. */
  readonly colour: boolean;
}

/** The table before / after of a run. */
export function beforeAfterTable(before: ReportedTheta, after: ReportedTheta, options: TerminalOptions): string {
  const style = options.colour ? {} : { style: { head: [], border: [] } };
  const table = new Table({ head: ['', 'before', 'after'], ...style });
  table.push(...beforeAfterRows(before, after));
  return table.toString();
}

/** Words on lines of about so many letters. */
function wrapped(words: string, width: number): string {
  return words.split(' ').reduce((text, word) => {
    const last = text.slice(text.lastIndexOf('\n') + 1);
    return `${text}${last.length + word.length < width ? ' ' : '\n'}${word}`;
  });
}

/** A table of words: the first row is its head, the first column stands to the left. */
export function tableText(rows: readonly (readonly string[])[], options: TerminalOptions): string {
  const [head, ...body] = rows;
  const style = options.colour ? {} : { style: { head: [], border: [] } };
  const table = new Table({ head: head.map((words) => wrapped(words, 24)), ...style });
  table.push(...body.map((row) => [...row]));
  return table.toString();
}

/** The table of a comparison. */
export function comparisonText(comparison: Comparison, options: TerminalOptions): string {
  const [head, ...rows] = comparisonTable(comparison);
  const style = options.colour ? {} : { style: { head: [], border: [] } };
  // Numbers stand under one another by their ends.
  const colAligns = head.map((_, i) => (i < 2 ? ('left' as const) : ('right' as const)));
  const table = new Table({ head: head.map((words) => wrapped(words, 14)), colAligns, ...style });
  table.push(...rows);
  return table.toString();
}

interface Curve {
  readonly t: readonly number[];
  readonly value: readonly number[];
}

const COLUMNS = 60;
const ROWS = 10;
/** Above this ratio of the largest to the smallest value a curve is drawn on a logarithmic axis. */
const LOG_RATIO = 30;
/** A logarithmic axis ends this many decades below the largest value: a schedule may fall to where nothing happens. */
const DECADES = 4;

/** The curve's values at COLUMNS equally spaced steps between its ends, linearly interpolated. */
export function resample(curve: Curve, columns: number): number[] {
  const { t, value } = curve;
  if (t.length === 1) return new Array<number>(columns).fill(value[0]);
  const out: number[] = [];
  let i = 0;
  for (let column = 0; column < columns; column++) {
    const at = t[0] + ((t[t.length - 1] - t[0]) * column) / (columns - 1);
    while (i < t.length - 2 && t[i + 1] < at) i++;
    const share = t[i + 1] === t[i] ? 0 : (at - t[i]) / (t[i + 1] - t[i]);
    out.push(value[i] + (value[i + 1] - value[i]) * Math.min(1, Math.max(0, share)));
  }
  return out;
}

/** Two curves in one character plot, or undefined if neither has a finite point. */
export function plotCurves(
  title: string,
  before: Curve | undefined,
  after: Curve | undefined,
  options: TerminalOptions,
): string | undefined {
  const named = [
    { name: 'before', curve: before, colour: asciichart.darkgray },
    { name: 'after', curve: after, colour: asciichart.blue },
  ].flatMap(({ name, curve, colour }) => {
    if (curve === undefined || curve.t.length === 0) return [];
    const values = resample(curve, COLUMNS);
    return values.every(Number.isFinite) ? [{ name, colour, values, last: curve.t[curve.t.length - 1] }] : [];
  });
  if (named.length === 0) return undefined;
  const all = named.flatMap((line) => line.values);
  const least = all.reduce((a, b) => Math.min(a, b));
  const most = all.reduce((a, b) => Math.max(a, b));
  const logarithmic = least > 0 && most / least > LOG_RATIO;
  const floor = most * 10 ** -DECADES;
  const series = named.map(({ values }) =>
    logarithmic ? values.map((value) => Math.log10(Math.max(value, floor))) : values,
  );
  const plot = asciichart.plot(series, {
    height: ROWS,
    format: (y) => formatNumber(logarithmic ? 10 ** y : y).padStart(11),
    ...(options.colour ? { colors: named.map((line) => line.colour) } : {}),
  });
  const legend = named
    .map((line) => (options.colour ? asciichart.colored(`── ${line.name}`, line.colour) : line.name))
    .join('  ');
  const scale = logarithmic ? ', logarithmic' : '';
  return `${title} (inner steps 0 to ${named[0].last}${scale})  ${legend}\n${plot}`;
}
