/** Estimators held against one another at standing θ: table, notes, pictures, page. */
import type { TopLevelSpec } from 'vega-lite';
import type { GradientErrors, Interval } from '../outer/gradient-errors';
import type { PredictedVariance } from '../outer/variance-formulas';
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
  /** Repeats are episodes in lockstep, from all of whose windows the variance of an estimate follows. */
  readonly episodes?: boolean;
  readonly failed: number;
  readonly droppedPairs: number;
  /** Absent if fewer than two repeats had a gradient. */
  readonly errors?: GradientErrors;
  /** Total variance by the formulas for linear losses; absent where there is none. */
  readonly predicted?: PredictedVariance;
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
  /** Of how many episodes predictions are made, 1 where episodes do not differ; or why there are none. Absent if not asked. */
  readonly predictions?: { readonly episodes: number } | { readonly none: string };
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

function formatPrediction(predicted: PredictedVariance | undefined): string {
  if (predicted === undefined) return dash;
  const { value, standardError } = predicted;
  if (standardError === 0) return formatNumber(value);
  return `${formatNumber(value)} ± ${standardError === undefined ? '?' : formatNumber(standardError)}`;
}

/** The table at one θ: the first row is its head. Predictions have columns where there are any. */
export function varianceTable({ rows }: VarianceAt): string[][] {
  const columns: [string, (row: VarianceRow) => string][] = [
    ['', ({ estimator }) => estimator],
    ['window', ({ window }) => (window === undefined ? 'episode' : String(window))],
    ['N', ({ count }) => String(count)],
    ['inner steps', ({ innerSteps }) => innerSteps.toLocaleString('en')],
    ['total variance', ({ errors }) => formatInterval(errors?.totalVariance)],
    ...(rows.some(({ predicted }) => predicted !== undefined)
      ? ([
          ['predicted', ({ predicted }) => formatPrediction(predicted)],
          ['ratio', (row) => formatRatio(row)],
        ] as [string, (row: VarianceRow) => string][])
      : []),
    ['bias²', ({ errors }) => formatInterval(errors?.biasSquared)],
    ['mean squared error', ({ errors }) => formatInterval(errors?.meanSquaredError)],
    [
      'failed',
      ({ failed, droppedPairs }) => (failed === 0 && droppedPairs === 0 ? '0' : `${failed} (${droppedPairs} dropped)`),
    ],
  ];
  return [columns.map(([head]) => head), ...rows.map((row) => columns.map(([, cell]) => cell(row)))];
}

function formatRatio({ errors, predicted }: VarianceRow): string {
  if (errors === undefined || predicted === undefined || !(predicted.value > 0)) return dash;
  return formatNumber(errors.totalVariance.value / predicted.value);
}

/** What a reader of the numbers has to know. */
export function varianceNotes(report: VarianceReport): string[] {
  const { budget, pairs, reference, sigma, confidence, resamples, at } = report;
  const predicted = at.flatMap(({ predictions }) => (predictions === undefined ? [] : [predictions]));
  const repeats = at[0].rows[0].repeats;
  const [first] = at;
  const alone = first.rows.some(({ episodes }) => episodes === undefined);
  const together = first.rows.some(({ episodes }) => episodes === true);
  const most = at.flatMap(({ rows }) => rows).some(({ failed, droppedPairs }) => failed + droppedPairs > 0);
  return [
    `N is such that an estimate has about ${budget.toLocaleString('en')} inner steps (all partners counted, burn-in not), ` +
      `as ${pairs} ${pairs === 1 ? 'pair' : 'pairs'} of FullES.` +
      (alone ? ` ${repeats} independent estimates a row, each the first of a fresh population.` : '') +
      (together
        ? ` ${alone ? 'Of estimators of windows, ' : ''}${repeats} episodes of one worker a row, which is scored in every window: the variance of ` +
          'an estimate follows from those of its workers and from how they lie over the episode.'
        : ''),
    `Reference: ${reference}. ${
      sigma === undefined
        ? 'It is the gradient without smoothing, so the bias² of evolutionary estimators has what their σ smooths away.'
        : `It estimates the gradient smoothed with σ = ${formatNumber(sigma)}, which is what estimators with one noise an episode and ` +
          'the same σ aim at. PES smooths with a noise for each window, and gradient estimators do not smooth: their bias² has that difference too.'
    }`,
    `In brackets: ${100 * confidence} % bootstrap intervals, ${resamples} resamples of estimates and reference. Bias² is corrected for the variance of ` +
      'both means, and negative by chance where there is no bias.',
    ...predictionNotes(predicted),
    ...(most
      ? [
          'Dropped pairs (or workers) had losses that are not finite; an estimate without any other has failed, and is left out.',
        ]
      : []),
  ];
}

/** What predictions are, where there are any, and why there are none elsewhere. */
function predictionNotes(predictions: readonly NonNullable<VarianceAt['predictions']>[]): string[] {
  const episodes = predictions.flatMap((one) => ('episodes' in one ? [one.episodes] : []));
  const reasons = new Set(predictions.flatMap((one) => ('none' in one ? [one.none] : [])));
  const [least, most] = [Math.min(...episodes), Math.max(...episodes)];
  const many = least === most ? String(most) : `${least} to ${most}`;
  return [
    ...(episodes.length === 0
      ? []
      : [
          'Predicted: by the formulas for losses that are linear in the noise (σ → 0), from the gradients of windows by chunks of noise, ' +
            (most === 1
              ? 'of one episode, since no two differ. '
              : `of ${many} episodes, minibatches and starts their own; ± is a standard error. `) +
            'Ratio: measured over predicted. Where what is predicted lies far outside the interval of what is measured, σ is large ' +
            'against the bend of the loss, and the formulas do not hold.',
        ]),
    ...[...reasons].map((reason) => `No prediction: ${reason}.`),
  ];
}

interface Place {
  readonly x: number;
  readonly line: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly predicted?: number;
}

type Quantity = 'totalVariance' | 'meanSquaredError';

function placesOf({ rows }: VarianceAt, horizon: number, quantity: Quantity): Place[] {
  return rows.flatMap(({ estimator, window, errors, predicted }) => {
    const interval = errors?.[quantity];
    // Nothing that is zero or negative has a place on a logarithmic axis.
    if (interval === undefined || !(interval.value > 0)) return [];
    const low = interval.low > 0 ? interval.low : interval.value;
    const { value, high } = interval;
    const foreseen = quantity === 'totalVariance' && predicted !== undefined && predicted.value > 0;
    const place = { x: window ?? horizon, line: estimator, value, low, high };
    return [foreseen ? { ...place, predicted: predicted.value } : place];
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
      ...(places.some(({ predicted }) => predicted !== undefined)
        ? [
            {
              transform: [{ filter: 'isValid(datum.predicted)' }],
              mark: {
                type: 'line' as const,
                strokeWidth: 1.2,
                strokeDash: [5, 4],
                point: { size: 70, filled: false, fill: 'transparent' },
              },
              encoding: { x, y: y('predicted'), color },
            },
          ]
        : []),
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
    'In the pictures, estimators of whole episodes stand at the horizon; what is zero or negative is left out.' +
      (report.at.some(({ rows }) => rows.some(({ predicted }) => predicted !== undefined))
        ? ' Dashed, with open points: predicted.'
        : ''),
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
