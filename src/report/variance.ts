/** Estimators held against one another at standing θ: table, notes, pictures, page. */
import type { TopLevelSpec } from 'vega-lite';
import type { GradientErrors, Interval } from '../outer/gradient-errors';
import { COLOURS, HEIGHT, renderSvg, SHARED, WIDTH, type Chart } from './charts';
import { escapeHtml, figures, formatNumber, page, table } from './page';

/** One estimator with one window at one θ. */
export interface VarianceRow {
  readonly estimator: string;
  /** W; absent of estimators that score whole episodes. */
  readonly window?: number;
  /** Pairs or workers of each estimate. */
  readonly count: number;
  /** Of each estimate, burn-in not counted. */
  readonly innerSteps: number;
  /** Of all repeats. */
  readonly burnInSteps: number;
  readonly repeats: number;
  readonly failed: number;
  readonly droppedPairs: number;
  /** Absent if fewer than two repeats had a gradient. */
  readonly errors?: GradientErrors;
}

/** All estimators at one θ. */
export interface VarianceAt {
  /** `θ₀`, or where a run stood. */
  readonly label: string;
  readonly theta: readonly number[];
  readonly reference: {
    /** ‖r̄‖² less what its noise adds. */
    readonly squaredNorm: number;
    /** Trace of the covariance of the mean r̄. */
    readonly variance: number;
    readonly n: number;
    readonly innerSteps: number;
  };
  readonly rows: readonly VarianceRow[];
}

export interface VarianceReport {
  readonly title: string;
  readonly horizon: number;
  /** Inner steps that each estimate is given. */
  readonly budget: number;
  /** Pairs of FullES that take as many. */
  readonly pairs: number;
  /** In words: `full-es, 4 pairs`. */
  readonly reference: string;
  /** σ of the reference's smoothing; absent of an exact one. */
  readonly sigma?: number;
  readonly confidence: number;
  readonly resamples: number;
  readonly at: readonly VarianceAt[];
  readonly engine: string;
  readonly seed: number;
  readonly seconds: number;
  readonly config: object;
  readonly reproduce: string;
}

const dash = '–';

const formatInterval = (interval: Interval | undefined): string =>
  interval === undefined
    ? dash
    : `${formatNumber(interval.value)} [${formatNumber(interval.low)}, ${formatNumber(interval.high)}]`;

/** The table at one θ: the first row is its head. */
export function varianceTable({ rows }: VarianceAt): string[][] {
  const head = ['', 'window', 'N', 'inner steps', 'total variance', 'bias²', 'mean squared error', 'failed'];
  const body = rows.map(({ estimator, window, count, innerSteps, errors, failed, droppedPairs }) => [
    estimator,
    window === undefined ? 'episode' : String(window),
    String(count),
    innerSteps.toLocaleString('en'),
    formatInterval(errors?.totalVariance),
    formatInterval(errors?.biasSquared),
    formatInterval(errors?.meanSquaredError),
    failed === 0 && droppedPairs === 0 ? '0' : `${failed} (${droppedPairs} dropped)`,
  ]);
  return [head, ...body];
}

/** What a reader of the numbers has to know. */
export function varianceNotes(report: VarianceReport): string[] {
  const { budget, pairs, reference, sigma, confidence, resamples, at } = report;
  const repeats = at[0].rows[0].repeats;
  const most = at.flatMap(({ rows }) => rows).some(({ failed, droppedPairs }) => failed + droppedPairs > 0);
  return [
    `Each estimate is the first of a fresh population; N is such that it has about ${budget.toLocaleString('en')} inner steps ` +
      `(all partners counted, burn-in not), as ${pairs} ${pairs === 1 ? 'pair' : 'pairs'} of FullES. ${repeats} independent estimates a row.`,
    `Reference: ${reference}. ${
      sigma === undefined
        ? 'It is the gradient without smoothing, so the bias² of evolutionary estimators has what their σ smooths away.'
        : `It estimates the gradient smoothed with σ = ${formatNumber(sigma)}, which is what estimators with one noise an episode and ` +
          'the same σ aim at. PES smooths with a noise for each window, and gradient estimators do not smooth: their bias² has that difference too.'
    }`,
    `In brackets: ${100 * confidence} % bootstrap intervals, ${resamples} resamples of estimates and reference. Bias² is corrected for the variance of ` +
      'both means, and negative by chance where there is no bias.',
    ...(most
      ? [
          'Dropped pairs (or workers) had losses that are not finite; an estimate without any other has failed, and is left out.',
        ]
      : []),
  ];
}

interface Place {
  readonly x: number;
  readonly line: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

type Quantity = 'totalVariance' | 'meanSquaredError';

function placesOf({ rows }: VarianceAt, horizon: number, quantity: Quantity): Place[] {
  return rows.flatMap(({ estimator, window, errors }) => {
    const interval = errors?.[quantity];
    // Nothing that is zero or negative has a place on a logarithmic axis.
    if (interval === undefined || !(interval.value > 0)) return [];
    const low = interval.low > 0 ? interval.low : interval.value;
    return [{ x: window ?? horizon, line: estimator, value: interval.value, low, high: interval.high }];
  });
}

function specOf(places: readonly Place[], title: string): TopLevelSpec {
  const lines = [...new Set(places.map(({ line }) => line))];
  const scale = { type: 'log', nice: false, padding: 12 } as const;
  const axis = { format: '~g', labelOverlap: true } as const;
  const x = { field: 'x', type: 'quantitative', title: 'window (steps)', scale, axis } as const;
  const y = (field: string) =>
    ({ field, type: 'quantitative', title, scale: { type: 'log' }, axis: { ...axis, format: '~e' } }) as const;
  const color = {
    field: 'line',
    type: 'nominal',
    title: null,
    scale: { domain: lines, range: lines.map((_, i) => PALETTE[i % PALETTE.length]) },
    legend: { orient: 'bottom', direction: 'vertical', columns: 2, labelLimit: 0 },
  } as const;
  return {
    ...SHARED,
    width: WIDTH,
    height: HEIGHT,
    data: { values: places.map((place) => ({ ...place })) },
    layer: [
      { mark: { type: 'rule', strokeWidth: 1.5 }, encoding: { x, y: y('low'), y2: { field: 'high' }, color } },
      { mark: { type: 'line', strokeWidth: 1.8, point: { size: 45 } }, encoding: { x, y: y('value'), color } },
    ],
  };
}

const PALETTE = COLOURS.slice(1);

/** Total variance and mean squared error against the window, both logarithmic; none without points. */
export async function varianceCharts({ at, horizon }: VarianceReport): Promise<Chart[]> {
  const quantities: [Quantity, string][] = [
    ['totalVariance', 'total variance'],
    ['meanSquaredError', 'mean squared error'],
  ];
  const charts = at.flatMap((one) =>
    quantities.map(([quantity, name]) => ({ name, at: one.label, places: placesOf(one, horizon, quantity) })),
  );
  return Promise.all(
    charts
      .filter(({ places }) => places.length > 0)
      .map(async ({ name, at: label, places }) => ({
        title: `${name[0].toUpperCase()}${name.slice(1)} at ${label}`,
        svg: await renderSvg(specOf(places, name)),
      })),
  );
}

/** θ and the reference's size there, in words. */
export function placeText({ label, theta, reference }: VarianceAt): string {
  const numbers = theta.length <= 4 ? ` = (${theta.map(formatNumber).join(', ')})` : '';
  const { squaredNorm, variance } = reference;
  return `${label}${numbers}: squared norm of the reference ${formatNumber(squaredNorm)}, variance of its mean ${formatNumber(variance)}`;
}

/** One file, nothing loaded from outside, readable without scripts. */
export async function renderVariance(report: VarianceReport): Promise<string> {
  const tables = report.at.map((one) => {
    const [head, ...rows] = varianceTable(one);
    return `<h2>At ${escapeHtml(one.label)}</h2>\n<p>${escapeHtml(placeText(one))}</p>\n${table(rows, head)}`;
  });
  const notes = [
    ...varianceNotes(report),
    'In the pictures, estimators of whole episodes stand at the horizon; what is zero or negative is left out.',
  ];
  const facts: [string, string][] = [
    ['engine', report.engine],
    ['seed', String(report.seed)],
    ['horizon', String(report.horizon)],
    ['seconds', formatNumber(report.seconds)],
  ];
  return page(
    `Variance: ${report.title}`,
    'Gradient estimators at standing θ, at equal inner steps.',
    `${tables.join('\n')}
<ul>${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>
<h2>Pictures</h2>
${figures(await varianceCharts(report))}
<h2>How it was measured</h2>
${table(facts)}
<h2>Again</h2>
<pre>${escapeHtml(report.reproduce)}</pre>
<h2>Settings</h2>
<pre>${escapeHtml(JSON.stringify(report.config, null, 2))}</pre>`,
  );
}
