/** Pictures of a run: vega-lite specifications rendered to self-contained SVG, without a display. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Measurement } from '../outer/events';
import type { HeldOutLine, RunResult } from '../outer/result';
import { thetaNames } from './run-report';

/** One point of a chart with several lines. */
interface Point {
  readonly x: number;
  readonly y: number;
  readonly line: string;
}

interface LineChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly points: readonly Point[];
  readonly logarithmic?: boolean;
  /** Place of the first line's colour, where lines are to look as they do in another chart; 0 by default. */
  readonly firstColour?: number;
}

export interface Chart {
  readonly title: string;
  /** A complete `<svg>` element. */
  readonly svg: string;
}

export const WIDTH = 420;
export const HEIGHT = 240;
/** Okabe and Ito's palette tells its colours apart in all common forms of colour blindness. */
export const COLOURS = ['#7a7a7a', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];

/** A logarithmic axis ends this many decades below the largest value: a schedule may fall to where nothing happens. */
export const DECADES = 6;

function logScale(points: readonly Point[]): { type: 'log'; domainMin?: number } {
  const values = points.map((point) => point.y);
  const most = values.reduce((a, b) => Math.max(a, b));
  const least = values.reduce((a, b) => Math.min(a, b));
  return { type: 'log', ...(least < most * 10 ** -DECADES ? { domainMin: most * 10 ** -DECADES } : {}) };
}

/** From this ratio of the largest to the smallest value on, meta-losses have a logarithmic axis. */
const LOG_RATIO = 20;

function spansDecades(points: readonly Point[]): boolean {
  const values = points.map((point) => point.y);
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && values.some((value) => value > LOG_RATIO * least);
}

export const SHARED = {
  $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
  background: '#ffffff',
  padding: 8,
  config: { view: { stroke: null }, font: 'system-ui, sans-serif' },
} as const;

function lineUnit(chart: LineChart) {
  const lines = [...new Set(chart.points.map((point) => point.line))];
  const { firstColour = 0 } = chart;
  return {
    width: WIDTH,
    height: HEIGHT,
    data: { values: chart.points.map((point) => ({ ...point })) },
    mark: { type: 'line', strokeWidth: 2, clip: true },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: chart.x },
      y: {
        field: 'y',
        type: 'quantitative',
        title: chart.y,
        scale: chart.logarithmic === true ? logScale(chart.points) : { zero: false },
        axis: chart.logarithmic === true ? { format: '~g' } : {},
      },
      color: {
        field: 'line',
        type: 'nominal',
        title: null,
        scale: { domain: lines, range: lines.map((_, i) => COLOURS[(firstColour + i) % COLOURS.length]) },
        legend: lines.length > 1 ? { orient: 'top', labelLimit: 0 } : null,
      },
    },
  } as const;
}

export async function renderSvg(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

async function render(chart: LineChart): Promise<Chart> {
  return { title: chart.title, svg: await renderSvg({ ...SHARED, ...lineUnit(chart) }) };
}

function finite(points: readonly Point[]): Point[] {
  return points.filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
}

interface Curve {
  readonly t: readonly number[];
  readonly value: readonly number[];
}

function curvePoints(line: string, curve: Curve | undefined): Point[] {
  return curve === undefined ? [] : curve.t.map((t, i) => ({ x: t, y: curve.value[i], line }));
}

function scheduleCharts(result: RunResult): LineChart[] {
  const before = new Map(Object.entries(result.initialDescription?.curves ?? {}));
  const after = new Map(Object.entries(result.description?.curves ?? {}));
  return [...new Set([...before.keys(), ...after.keys()])].map((name) => {
    const points = [
      { line: 'before', curve: before.get(name) },
      { line: 'after', curve: after.get(name) },
    ].flatMap(({ line, curve }) => curvePoints(line, curve));
    return {
      title: `Schedule: ${name}`,
      x: 'inner step',
      y: name,
      points,
      logarithmic: points.every((point) => point.y > 0),
    };
  });
}

function learningCurves(result: RunResult): LineChart[] {
  const curves = [
    { line: 'before', curve: result.before?.curve },
    { line: 'after', curve: result.after?.curve },
  ];
  const points = curves.flatMap(({ line, curve }) => curvePoints(line, curve));
  const name = curves.find(({ curve }) => curve !== undefined)?.curve?.name ?? '';
  return [{ title: 'Inner training', x: 'inner step', y: name, points }];
}

/** Means of consecutive groups, so that a picture has at most `limit` points a line. */
function thinned(points: readonly Point[], limit: number): Point[] {
  const group = Math.ceil(points.length / limit);
  if (group <= 1) return [...points];
  const out: Point[] = [];
  for (let i = 0; i < points.length; i += group) {
    const part = points.slice(i, i + group);
    const mean = (value: (point: Point) => number): number =>
      part.reduce((sum, point) => sum + value(point), 0) / part.length;
    out.push({ x: mean((p) => p.x), y: mean((p) => p.y), line: part[0].line });
  }
  return out;
}

const MOST_POINTS = 400;

function trainingCharts(result: RunResult): LineChart[] {
  const loss = result.history.flatMap((line) =>
    line.meanLoss === null ? [] : [{ x: line.innerSteps, y: line.meanLoss, line: 'meta-loss' }],
  );
  const gradient = result.history.map((line) => ({
    x: line.iteration,
    y: line.gradientNorm ?? NaN,
    line: 'gradient norm',
  }));
  const theta = thetaNames(result.layout).flatMap((name, i) =>
    thinned(
      finite(result.history.map((line) => ({ x: line.iteration, y: line.theta?.[i] ?? NaN, line: name }))),
      MOST_POINTS,
    ),
  );
  return [
    {
      title: 'Meta-loss (mean per inner step)',
      x: 'inner steps, both partners',
      y: 'meta-loss',
      points: thinned(loss, MOST_POINTS),
    },
    {
      title: 'Gradient norm',
      x: 'outer iteration',
      y: 'norm',
      points: thinned(finite(gradient), MOST_POINTS),
      logarithmic: finite(gradient).every((point) => point.y > 0),
    },
    { title: 'Path of θ (as stored)', x: 'outer iteration', y: 'θ', points: theta },
  ];
}

/** Line of the tasks that the run trains on, where there are others beside them. */
const TRAINED = 'trained on';

/** One evaluation of a run: its own, and those on held-out tasks. */
interface Evaluated {
  /** Iterations done. */
  readonly x: number;
  readonly own: number | null;
  readonly heldOut: Readonly<Record<string, HeldOutLine>>;
}

/** Evaluations in the course of the run, the first and the last included; none if there are no others. */
function courseOf({ before, after, select, best, history, iterations }: RunResult): Evaluated[] {
  const within = history.flatMap(({ iteration, evaluation, heldOut = {} }): Evaluated[] =>
    evaluation === undefined ? [] : [{ x: iteration + 1, own: evaluation.mean, heldOut }],
  );
  if (within.length === 0) return [];
  // Of a run that ends with the best, what is judged at the end was measured before.
  const last = select === 'best' && best?.iteration !== iterations ? undefined : after;
  const point = (x: number, measured: Measurement | undefined): Evaluated[] =>
    measured === undefined || within.at(-1)?.x === x
      ? []
      : [{ x, own: measured.mean, heldOut: measured.heldOut ?? {} }];
  return [...point(0, before), ...within, ...point(iterations, last)];
}

/** The run's own metric with the held-out tasks that have the same; a chart for each other metric; their meta-losses. */
function evaluationCharts(result: RunResult): LineChart[] {
  const metric = (result.before ?? result.after)?.metric;
  const course = courseOf(result);
  if (metric === undefined || course.length === 0) return [];
  const heldOut = course.flatMap(({ x, heldOut: lines }) =>
    Object.entries(lines).map(([line, { metric: of, mean, metaLoss }]) => ({ x, line, of, mean, metaLoss })),
  );
  const own = course.map(({ x, own: mean }) => ({
    x,
    line: heldOut.length === 0 ? metric : TRAINED,
    of: metric,
    mean,
  }));
  const all = [...own, ...heldOut];
  const charts = [...new Set(all.map(({ of }) => of))].map((name): LineChart => {
    const points = all.filter(({ of }) => of === name).map(({ x, line, mean }) => ({ x, y: mean ?? NaN, line }));
    const title = name === metric ? 'Evaluations' : 'Evaluations on held-out tasks';
    return { title, x: 'outer iteration', y: name, points, firstColour: name === metric ? 0 : 1 };
  });
  const metaLosses = heldOut.map(({ x, line, metaLoss }) => ({ x, y: metaLoss ?? NaN, line }));
  const title = 'Meta-loss on held-out tasks (mean per inner step)';
  // An optimizer that is still bad may diverge on a task that it is not trained on.
  const logarithmic = spansDecades(finite(metaLosses));
  return [...charts, { title, x: 'outer iteration', y: 'meta-loss', points: metaLosses, logarithmic, firstColour: 1 }];
}

/** All pictures that the report's numbers allow; those without points are left out. */
export async function reportCharts(result: RunResult): Promise<Chart[]> {
  const charts = [
    ...scheduleCharts(result),
    ...learningCurves(result),
    ...evaluationCharts(result),
    ...trainingCharts(result),
  ];
  return Promise.all(
    charts
      .map((chart) => ({ ...chart, points: finite(chart.points) }))
      .filter((chart) => chart.points.length > 0)
      .map(render),
  );
}

/** Schedules and learning curves, before and after, side by side in one SVG; undefined if there are none. */
export async function curvesPicture(result: RunResult): Promise<string | undefined> {
  const charts = [...scheduleCharts(result), ...learningCurves(result)]
    .map((chart) => ({ ...chart, points: finite(chart.points) }))
    .filter((chart) => chart.points.length > 0);
  if (charts.length === 0) return undefined;
  const units = charts.map((chart) => ({ ...lineUnit(chart), title: chart.title }));
  return renderSvg({ ...SHARED, hconcat: units, resolve: { scale: { color: 'independent' } } });
}
