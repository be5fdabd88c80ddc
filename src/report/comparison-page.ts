/** The page of a comparison. */
import { comparisonCharts } from './comparison-charts';
import { comparisonNotes, comparisonTable, seedOf, type Comparison } from './comparison';
import { escapeHtml, figures, page, table } from './page';

const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;

/** One file, nothing loaded from outside, readable without scripts. */
export async function renderComparison(comparison: Comparison): Promise<string> {
  const [head, ...rows] = comparisonTable(comparison);
  const runs = comparison.groups.flatMap(({ label, runs: own }) => own.map((run) => ({ label, run })));
  const list = runs.map(({ label, run }) => [
    label,
    String(seedOf(run)),
    run.path,
    run.config.engine,
    `${run.history.length}${run.finished ? '' : run.diverged === undefined ? ' (unfinished)' : ' (diverged)'}`,
  ]);
  const notes = comparisonNotes(comparison).map((note) => `<li>${escapeHtml(note)}</li>`);
  return page(
    `Comparison: ${comparison.title}`,
    `${plural(runs.length, 'run')} of ${plural(comparison.groups.length, 'setting')}. Lines are means over seeds, bands reach from the least to the most.`,
    `<h2>At the end</h2>
${table(rows, head)}
<ul>${notes.join('')}</ul>
<h2>Pictures</h2>
${figures(await comparisonCharts(comparison))}
<h2>The objective that all share</h2>
${table(Object.entries(comparison.objective))}
<h2>The runs</h2>
${table(list, ['', 'seed', 'folder', 'engine', 'iterations'])}`,
  );
}
