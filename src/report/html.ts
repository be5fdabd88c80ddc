/** report.html of a run. */
import { reportCharts } from './charts';
import { escapeHtml, figures, formatNumber, page, table } from './page';
import type { Measurement } from '../outer/events';
import type { RunResult } from '../outer/result';
import { sigmaAdvice, type SigmaProbe } from '../outer/sigma-probe';
import { sigmaLine, sigmaTable } from './sigma';
import { thetaAfter, thetaBefore, type ReportedTheta, type RunReport } from './run-report';
import { runStepSizes, STEP_SIZES_NOTE, stepSizeCharts } from './step-sizes';
import { UPDATE_MAP_NOTE, updateMapChart, type UpdateMap } from './update-map';

/** `0.7712 ± 0.0034 (n = 5)`. */
export function formatMeasurement(measurement: Measurement | undefined): string {
  if (measurement === undefined) return 'not measured';
  const { mean, standardError, n } = measurement;
  // Four decimals would print a small loss as 0.0000.
  const format = Math.abs(mean) < 0.01 && mean !== 0 ? formatNumber : (value: number) => value.toFixed(4);
  return `${format(mean)} ± ${format(standardError)} (n = ${n})`;
}

/** Rows of the table before / after: [what, before, after]. */
export function beforeAfterRows(before: ReportedTheta, after: ReportedTheta): [string, string, string][] {
  const names = Object.keys({ ...before.description?.values, ...after.description?.values });
  const value = (theta: ReportedTheta, name: string): string => {
    const number = theta.description?.values[name];
    return number === undefined ? '–' : formatNumber(number);
  };
  const rows = names.map((name): [string, string, string] => [name, value(before, name), value(after, name)]);
  const metric = after.measurement?.metric ?? before.measurement?.metric;
  if (metric !== undefined) {
    rows.push([metric, formatMeasurement(before.measurement), formatMeasurement(after.measurement)]);
  }
  for (const name of Object.keys({ ...before.measurement?.members, ...after.measurement?.members })) {
    const member = ({ measurement }: ReportedTheta): string =>
      measurement?.members === undefined ? 'not measured' : formatNumber(measurement.members[name]);
    rows.push([`${name}: mean loss`, member(before), member(after)]);
  }
  const heldOut = ({ measurement }: ReportedTheta): Measurement['heldOut'] => measurement?.heldOut;
  for (const [name, one] of Object.entries({ ...heldOut(before), ...heldOut(after) })) {
    const [start, end] = [before, after].map((theta) => heldOut(theta)?.[name]);
    rows.push([`${name}: ${one.metric}`, formatMeasurement(start), formatMeasurement(end)]);
    const metaLoss = (measured: typeof start): string =>
      measured === undefined ? 'not measured' : formatNumber(measured.metaLoss);
    rows.push([`${name}: meta-loss`, metaLoss(start), metaLoss(end)]);
  }
  return rows;
}

/**
 * Mean and standard error of after − before. Both are measured from the same fresh starts, so the error is that of the
 * differences start by start; of unequal numbers of starts it is that of two independent means.
 */
export function change(before: Measurement, after: Measurement): { mean: number; standardError: number } {
  const mean = after.mean - before.mean;
  const n = after.values.length;
  if (n < 2 || before.values.length !== n) {
    return { mean, standardError: Math.hypot(before.standardError, after.standardError) };
  }
  const squares = after.values.reduce((sum, value, i) => sum + (value - before.values[i] - mean) ** 2, 0);
  return { mean, standardError: Math.sqrt(squares / (n - 1) / n) };
}

/** A sentence that answers what came of it, from the two measurements. */
function verdict({ before, after }: RunResult): string {
  if (before === undefined || after === undefined) return '';
  const { mean, standardError } = change(before, after);
  const size = `${formatNumber(Math.abs(mean))} ± ${formatNumber(standardError)}`;
  if (Math.abs(mean) <= 2 * standardError) {
    return `${after.metric} changed by ${formatNumber(mean)} ± ${formatNumber(standardError)}: within two standard errors, so no change is shown.`;
  }
  const better = after.minimise ? mean < 0 : mean > 0;
  return `${after.metric} is ${better ? 'better' : 'worse'} by ${size} (difference ± its standard error over ${after.n} starts).`;
}

/** `0.91 ± 0.01 (n = 5) after iteration 40; the run ends with its last θ`; empty if there is none. */
export function bestLine({ best, select }: Pick<RunResult, 'best' | 'select'>): string {
  if (best === undefined) return '';
  const ends = select === 'best' ? 'with it' : 'with its last θ';
  return `${formatMeasurement(best.measurement)} after iteration ${best.iteration}; the run ends ${ends}`;
}

/** The probe of σ, with what it says. */
function sigmaSection(probe: SigmaProbe | undefined): string {
  if (probe === undefined) return '';
  const [head, ...rows] = sigmaTable(probe);
  const advice = sigmaAdvice(probe);
  return `<h2>The meta-loss at θ ± σ</h2>
<p>${escapeHtml(sigmaLine(probe))}</p>
${rows.length === 0 ? '' : table(rows, head)}
${advice === undefined ? '' : `<p><strong>${escapeHtml(advice)}</strong></p>`}
`;
}

/** What the optimizer does with gradients. */
async function updateSection(maps: readonly UpdateMap[] | undefined): Promise<string> {
  if (maps === undefined) return '';
  return `<h2>What the optimizer does</h2>
<p>${escapeHtml(UPDATE_MAP_NOTE)}</p>
${figures(await Promise.all(maps.map(updateMapChart)))}
`;
}

/** How far it goes. */
async function stepSection(result: RunResult): Promise<string> {
  const charts = await stepSizeCharts(runStepSizes(result));
  if (charts.length === 0) return '';
  return `<h2>Step sizes</h2>
<p>${escapeHtml(STEP_SIZES_NOTE)}</p>
${figures(charts)}
`;
}

/** The whole page. */
export async function renderReport(report: RunReport): Promise<string> {
  const { result } = report;
  const charts = await reportCharts(result);
  const rows = beforeAfterRows(thetaBefore(result), thetaAfter(result));
  const dropped = result.history.reduce((sum, line) => sum + line.droppedPairs, 0);
  const facts: [string, string][] = [
    ['engine', `${result.engine} (${result.engineReason})`],
    ['seed', String(report.seed)],
    ['outer iterations', `${result.iterations}${result.stopped ? ', stopped early (evaluation.patience)' : ''}`],
    ...(result.best === undefined ? [] : [['best evaluation', bestLine(result)] as [string, string]]),
    ['inner steps', result.innerSteps.toLocaleString('en')],
    [`dropped ${result.counts ?? 'pairs'}`, String(dropped)],
    ['wall time', `${result.wallSeconds.toFixed(1)} s`],
  ];
  return page(
    report.title,
    verdict(result),
    `<h2>Before and after</h2>
${table(rows, ['', 'before', 'after'])}
${sigmaSection(result.sigmaProbe)}<h2>Pictures</h2>
${figures(charts)}
${await updateSection(report.updates)}${await stepSection(result)}<h2>The run</h2>
${table(facts)}
<h2>Run it again</h2>
<pre>${escapeHtml(report.reproduce)}</pre>
<h2>Settings</h2>
<pre>${escapeHtml(JSON.stringify(report.config, null, 2))}</pre>`,
  );
}
