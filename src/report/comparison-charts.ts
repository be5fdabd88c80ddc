/** Pictures of a comparison: a line a group, the mean over its seeds, in a band from the least to the most. */
import type { TopLevelSpec } from 'vega-lite';
import { COLOURS, HEIGHT, renderSvg, SHARED, WIDTH, type Chart } from './charts';
import {
  evaluationMetric,
  evaluationsOf,
  sequentialSteps,
  type ComparedRun,
  type Comparison,
  type RunGroup,
} from './comparison';

/** What a curve is drawn over. */
const AXES = {
  innerSteps: 'inner steps, total',
  sequentialSteps: 'inner steps, in sequence',
  seconds: 'seconds',
} as const;
type Axis = keyof typeof AXES;

/** One place of a band: over seeds, at one number of iterations. */
export interface BandPoint extends Readonly<Partial<Record<Axis, number>>> {
  readonly mean: number;
  readonly least: number;
  readonly most: number;
  /** Seeds that have reached it. */
  readonly n: number;
}

/** Points a line at most. */
const MOST_POINTS = 400;
/** From this ratio of the largest to the smallest value on, an axis is logarithmic. */
const LOG_RATIO = 20;

interface Sample extends Readonly<Partial<Record<Axis, number>>> {
  readonly value: number;
}

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function mean(samples: readonly Sample[], key: Axis): number | undefined {
  const values = samples.map((sample) => sample[key]);
  return values.every((value) => value !== undefined) ? meanOf(values) : undefined;
}

/** One sample a seed → one place of the band. */
function band(samples: readonly Sample[]): BandPoint {
  const values = samples.map(({ value }) => value);
  const axes = (Object.keys(AXES) as Axis[]).map((key) => [key, mean(samples, key)] as const);
  return {
    ...(Object.fromEntries(axes.filter(([, value]) => value !== undefined)) as Partial<Record<Axis, number>>),
    mean: meanOf(values),
    least: Math.min(...values),
    most: Math.max(...values),
    n: values.length,
  };
}

/** Where a run stood after so many iterations. */
function placeOf(run: ComparedRun): (iterations: number) => Omit<Sample, 'value'> {
  const sequential = sequentialSteps(run.history);
  return (iterations) => {
    if (iterations === 0) return { innerSteps: 0, sequentialSteps: 0, seconds: 0 };
    const line = run.history[iterations - 1];
    const steps = sequential[iterations - 1];
    return {
      innerSteps: line.innerSteps,
      ...(steps === undefined ? {} : { sequentialSteps: steps }),
      seconds: line.wallSeconds,
    };
  };
}

/** Meta-loss: seeds meet at equal iterations, of which as many are averaged as leave 400 points. */
export function metaLossBand({ runs }: RunGroup): BandPoint[] {
  const longest = Math.max(...runs.map(({ history }) => history.length));
  const width = Math.ceil(longest / MOST_POINTS);
  const places = runs.map(placeOf);
  const points: BandPoint[] = [];
  for (let first = 0; first < longest; first += width) {
    const samples = runs.flatMap(({ history }, r): Sample[] => {
      const lines = history.slice(first, first + width).filter((line) => line.meanLoss !== null);
      if (lines.length === 0) return [];
      const parts = lines.map((line) => ({ ...places[r](line.iteration + 1), value: line.meanLoss ?? NaN }));
      const { mean: value, ...place } = band(parts);
      return [{ innerSteps: place.innerSteps, sequentialSteps: place.sequentialSteps, seconds: place.seconds, value }];
    });
    if (samples.length > 0) points.push(band(samples));
  }
  return points;
}

/** Evaluation: seeds meet where they were judged after equally many iterations. */
export function evaluationBand({ runs }: RunGroup): BandPoint[] {
  const byIteration = new Map<number, Sample[]>();
  for (const run of runs) {
    const place = placeOf(run);
    for (const { iteration, mean: value } of evaluationsOf(run)) {
      byIteration.set(iteration, [...(byIteration.get(iteration) ?? []), { ...place(iteration), value }]);
    }
  }
  return [...byIteration].sort(([a], [b]) => a - b).map(([, samples]) => band(samples));
}

interface Line {
  readonly label: string;
  readonly points: readonly BandPoint[];
}

interface BandChart {
  readonly title: string;
  readonly x: Axis;
  readonly y: string;
  readonly lines: readonly Line[];
  /** Evaluations are few: each is marked. */
  readonly marked: boolean;
}

/** A logarithmic axis where the values ask for one and none is below 0; exact zeros lie at the smallest value then. */
function scaleOf(points: readonly BandPoint[]): { readonly logarithmic: boolean; readonly floor: number } {
  const values = points.flatMap(({ least, most }) => [least, most]);
  const positive = values.filter((value) => value > 0);
  const floor = positive.reduce((a, b) => Math.min(a, b), Infinity);
  const ratio = positive.reduce((a, b) => Math.max(a, b), 0) / floor;
  return { logarithmic: values.every((value) => value >= 0) && ratio > LOG_RATIO, floor };
}

const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

function specOf(chart: BandChart): TopLevelSpec {
  const { logarithmic, floor } = scaleOf(chart.lines.flatMap(({ points }) => points));
  const shown = (value: number): number => (logarithmic ? Math.max(value, floor) : value);
  const values = chart.lines.flatMap(({ label, points }) =>
    points.map((point) => ({
      x: point[chart.x],
      line: label,
      mean: shown(point.mean),
      least: shown(point.least),
      most: shown(point.most),
    })),
  );
  const labels = chart.lines.map(({ label }) => label);
  const scale = logarithmic ? ({ type: 'log' } as const) : { zero: false };
  const axis = logarithmic ? { format: '~g', labelOverlap: true } : {};
  const y = (field: string) => ({ field, type: 'quantitative', title: chart.y, scale, axis }) as const;
  const x = {
    field: 'x',
    type: 'quantitative',
    title: AXES[chart.x],
    axis: chart.x === 'seconds' ? {} : { format: '~s' },
  } as const;
  const legend = {
    orient: 'bottom',
    direction: 'vertical',
    columns: 1,
    labelLimit: 0,
    symbolType: 'stroke',
    // Not the faint one of the band.
    symbolOpacity: 1,
    symbolStrokeWidth: 2,
  } as const;
  const named = <Range>(range: readonly Range[]) => ({
    field: 'line',
    type: 'nominal' as const,
    title: null,
    scale: { domain: labels, range: [...range] },
    legend,
  });
  const color = named(labels.map((_, i) => LINE_COLOURS[i % LINE_COLOURS.length]));
  // More groups than colours are told apart by their dashes.
  const dashes = labels.map((_, i) => [...DASHES[Math.floor(i / LINE_COLOURS.length) % DASHES.length]]);
  const strokeDash = labels.length > LINE_COLOURS.length ? { strokeDash: named(dashes) } : {};
  return {
    ...SHARED,
    width: WIDTH,
    height: HEIGHT,
    data: { values },
    layer: [
      { mark: { type: 'area', opacity: 0.2 }, encoding: { x, y: y('least'), y2: { field: 'most' }, color } },
      {
        mark: { type: 'line', strokeWidth: 1.8, point: chart.marked },
        encoding: { x, y: y('mean'), color, ...strokeDash },
      },
    ],
  };
}

/** Grey, the first of the palette, stands for "before" in reports of one run. */
const LINE_COLOURS = COLOURS.slice(1);

/** Meta-loss and evaluation, each against total and sequential inner steps and time; none without points. */
export async function comparisonCharts(comparison: Comparison): Promise<Chart[]> {
  const metric = evaluationMetric(comparison)?.metric;
  const kinds = [
    {
      name: 'Meta-loss',
      y: 'meta-loss (mean per inner step)',
      marked: false,
      lines: comparison.groups.map((group) => ({ label: group.label, points: metaLossBand(group) })),
    },
    {
      name: metric === undefined ? '' : `${metric[0].toUpperCase()}${metric.slice(1)}`,
      y: metric ?? '',
      marked: true,
      lines: comparison.groups.map((group) => ({ label: group.label, points: evaluationBand(group) })),
    },
  ];
  const titles: Record<Axis, string> = {
    innerSteps: 'against inner steps',
    sequentialSteps: 'against inner steps in sequence',
    seconds: 'against time',
  };
  const charts = kinds.flatMap(({ name, y, marked, lines }) =>
    (Object.keys(AXES) as Axis[]).map((x): BandChart => {
      const known = lines.map(({ label, points }) => ({
        label,
        points: points.filter((point) => point[x] !== undefined),
      }));
      return { title: `${name} ${titles[x]}`, x, y, marked, lines: known.filter(({ points }) => points.length > 0) };
    }),
  );
  return Promise.all(
    charts
      .filter(({ lines }) => lines.length > 0)
      .map(async (chart) => ({ title: chart.title, svg: await renderSvg(specOf(chart)) })),
  );
}
