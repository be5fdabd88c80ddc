/** report.html: one file, nothing loaded from outside, readable without scripts. */
import { reportCharts } from './charts';
import type { Measurement } from '../outer/events';
import type { RunResult } from '../outer/result';
import { thetaAfter, thetaBefore, type ReportedTheta, type RunReport } from './run-report';

export function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

/** Four significant digits, without trailing noise. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-3 || magnitude >= 1e6)) return value.toExponential(3);
  return String(Number(value.toPrecision(4)));
}

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
  return rows;
}

const STYLE = `
:root { color-scheme: light dark; --text: #1b1f24; --page: #fcfcfc; --line: #d5d9de; --soft: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --page: #16181b; --line: #3a3f45; --soft: #a0a8b2; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.lead { color: var(--soft); margin-top: .2rem; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line); padding: .35rem .9rem .35rem 0; text-align: left; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .3rem; } figure svg { max-width: 100%; height: auto; border-radius: 6px; }
pre { overflow: auto; border: 1px solid var(--line); border-radius: 6px; padding: .8rem; font-size: .85rem; }
`;

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

/** The whole page. */
export async function renderReport(report: RunReport): Promise<string> {
  const { result } = report;
  const charts = await reportCharts(result);
  const rows = beforeAfterRows(thetaBefore(result), thetaAfter(result));
  const dropped = result.history.reduce((sum, line) => sum + line.droppedPairs, 0);
  const facts: [string, string][] = [
    ['engine', `${result.engine} (${result.engineReason})`],
    ['seed', String(report.seed)],
    ['outer iterations', String(result.iterations)],
    ['inner steps', result.innerSteps.toLocaleString('en')],
    ['dropped pairs', String(dropped)],
    ['wall time', `${result.wallSeconds.toFixed(1)} s`],
  ];
  const cells = (row: readonly string[], tag: string): string =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  const figures = charts
    .map(({ title, svg }) => `<figure><figcaption>${escapeHtml(title)}</figcaption>${svg}</figure>`)
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(report.title)} – Outerloop</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(report.title)}</h1>
<p class="lead">${escapeHtml(verdict(result))}</p>
<h2>Before and after</h2>
<table><thead>${cells(['', 'before', 'after'], 'th')}</thead><tbody>${rows.map((row) => cells(row, 'td')).join('')}</tbody></table>
<h2>Pictures</h2>
<div class="charts">
${figures}
</div>
<h2>The run</h2>
<table><tbody>${facts.map((row) => cells(row, 'td')).join('')}</tbody></table>
<h2>Run it again</h2>
<pre>${escapeHtml(report.reproduce)}</pre>
<h2>Settings</h2>
<pre>${escapeHtml(JSON.stringify(report.config, null, 2))}</pre>
</body>
</html>
`;
}
