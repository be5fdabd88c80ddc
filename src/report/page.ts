/** What pages share: each is one file, nothing loaded from outside, readable without scripts. */
import type { Chart } from './charts';

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

const cells = (row: readonly string[], tag: 'th' | 'td'): string =>
  `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;

/** A table of plain text. */
export function table(rows: readonly (readonly string[])[], head?: readonly string[]): string {
  const first = head === undefined ? '' : `<thead>${cells(head, 'th')}</thead>`;
  return `<table>${first}<tbody>${rows.map((row) => cells(row, 'td')).join('')}</tbody></table>`;
}

/** Pictures beside one another, as many as there is room for. */
export function figures(charts: readonly Chart[]): string {
  const all = charts.map(({ title, svg }) => `<figure><figcaption>${escapeHtml(title)}</figcaption>${svg}</figure>`);
  return `<div class="charts">\n${all.join('\n')}\n</div>`;
}

/** The whole page. `body` is HTML, title and lead are text. */
export function page(title: string, lead: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} – Outerloop</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p class="lead">${escapeHtml(lead)}</p>
${body}
</body>
</html>
`;
}
