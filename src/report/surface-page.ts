/** The picture and the page of a surface. */
import type { TopLevelSpec } from 'vega-lite';
import { COLOURS, renderSvg, SHARED, type Chart } from './charts';
import { escapeHtml, figures, formatNumber, page, table } from './page';
import {
  isFinitePoint,
  leastPoint,
  storesLogarithm,
  surfaceNotes,
  surfaceTable,
  type Surface,
  type SurfaceAxis,
} from './surface';

const WIDTH = 520;
const HEIGHT = 420;
/** From this ratio of the largest to the smallest loss on, colours follow its logarithm. */
const LOG_RATIO = 20;
/** Colours end so many decades above the least: what is worse than that looks alike. */
const DECADES = 2;
const TICKS = 6;
const GREY = '#9a9a9a';

interface Ticks {
  readonly values: readonly number[];
  readonly labelExpr: string;
}

/** Round numbers, about six of them, within the axis. */
function roundTicks(low: number, high: number): number[] {
  const raw = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * 0.999) ?? raw;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Ticks at round stored numbers, with what they mean under them. */
function ticksOf(axis: SurfaceAxis): Ticks {
  const values = roundTicks(axis.values[0], axis.values[axis.values.length - 1]);
  const short = (value: number): string => String(Number(value.toPrecision(3)));
  const labels = values.map((value) => {
    const natural = axis.natural?.(value);
    if (natural === undefined || Math.abs(natural - value) <= 1e-6 * Math.abs(value)) return [short(value)];
    return [short(value), short(natural), ...(storesLogarithm(axis) ? [short(value / Math.LN10)] : [])];
  });
  // Ticks are found by their order, not by a float that has been through a scale.
  const lookup = values.map((value, i) => `abs(datum.value-(${value}))<1e-9?${JSON.stringify(labels[i])}:`).join('');
  return { values, labelExpr: `${lookup}''` };
}

/** `learningRate.initial: ln, natural units, log10`, which are the lines of its labels. */
function axisTitle(axis: SurfaceAxis): string {
  if (axis.natural === undefined) return axis.name;
  return storesLogarithm(axis)
    ? `${axis.name} (stored: ln; natural; log10)`
    : `${axis.name} (stored; natural units if they differ)`;
}

/** Seams between cells would show the page: each reaches a little under the next one. */
const OVERLAP = 0.0015;

/** Lower and upper edge of each cell, which meet halfway between grid points, and the edges of the whole. */
function edges(values: readonly number[]): { cells: (readonly [number, number])[]; domain: [number, number] } {
  const half = (values[1] - values[0]) / 2;
  const over = OVERLAP * 2 * half * values.length;
  return {
    cells: values.map((value) => [value - half, value + half + over]),
    domain: [values[0] - half, values[values.length - 1] + half],
  };
}

interface Colours {
  readonly logarithmic: boolean;
  readonly domain: readonly [number, number];
  /** Whether there are losses above the domain. */
  readonly cut: boolean;
}

function coloursOf(losses: readonly number[]): Colours {
  const least = losses.reduce((a, b) => Math.min(a, b), Infinity);
  const most = losses.reduce((a, b) => Math.max(a, b), -Infinity);
  const logarithmic = least > 0 && most > LOG_RATIO * least;
  const end = logarithmic ? Math.min(most, least * 10 ** DECADES) : most;
  return { logarithmic, domain: [least, end], cut: end < most };
}

function specOf(surface: Surface): TopLevelSpec {
  const { x, y, points, paths, start } = surface;
  const [columns, rows] = [edges(x.values), edges(y.values)];
  const cells = points.map((point, i) => {
    const [x0, x1] = columns.cells[i % columns.cells.length];
    const [y0, y1] = rows.cells[Math.floor(i / columns.cells.length)];
    return { x0, x1, y0, y1, loss: isFinitePoint(point) ? point.mean : null };
  });
  const { logarithmic, domain } = coloursOf(points.filter(isFinitePoint).map(({ mean }) => mean));
  const scaleX = { domain: columns.domain, nice: false, zero: false };
  const scaleY = { domain: rows.domain, nice: false, zero: false };
  const axisX = { ...ticksOf(x), grid: false, labelOverlap: true };
  const axisY = { ...ticksOf(y), grid: false, labelBaseline: 'middle' };
  const atX = (field: string) => ({ field, type: 'quantitative', title: axisTitle(x), scale: scaleX, axis: axisX });
  const atY = (field: string) => ({ field, type: 'quantitative', title: axisTitle(y), scale: scaleY, axis: axisY });
  const box = { x: atX('x0'), x2: { field: 'x1' }, y: atY('y0'), y2: { field: 'y1' } };
  const least = leastPoint(surface);
  const marks = [
    { x: start.x, y: start.y, mark: 'θ₀', shape: 'circle' },
    ...(least === undefined ? [] : [{ x: least.x, y: least.y, mark: 'least on the grid', shape: 'cross' }]),
  ];
  const lines = paths.flatMap(({ label, points: own }) => own.map((at, order) => ({ x: at.x, y: at.y, order, label })));
  const labels = paths.map(({ label }) => label);
  const legend = { orient: 'bottom', direction: 'vertical', columns: 1, labelLimit: 0, title: null } as const;
  const colour = {
    field: 'label',
    type: 'nominal',
    scale: { domain: labels, range: labels.map((_, i) => PATH_COLOURS[i % PATH_COLOURS.length]) },
    legend: { ...legend, symbolType: 'stroke', symbolStrokeWidth: 3 },
  };
  const along = { x: atX('x'), y: atY('y'), order: { field: 'order' }, detail: { field: 'label' } };
  const drawn = [
    // A white line below each path sets it off from any colour of the map.
    {
      data: { values: lines },
      mark: { type: 'line', clip: true, strokeWidth: 4.5, color: '#ffffff' },
      encoding: along,
    },
    {
      data: { values: lines },
      mark: { type: 'line', clip: true, strokeWidth: 2.2 },
      encoding: { ...along, stroke: colour },
    },
    {
      data: { values: paths.map(({ label, points: own }) => ({ label, ...own[own.length - 1] })) },
      mark: { type: 'point', clip: true, shape: 'square', size: 70, filled: true, opacity: 1, color: '#ffffff' },
      encoding: { x: atX('x'), y: atY('y'), stroke: { ...colour, legend: null } },
    },
  ];
  const heat = {
    field: 'loss',
    type: 'quantitative',
    title: ['meta-loss', '(mean per step)'],
    scale: { type: logarithmic ? 'log' : 'linear', domain, clamp: true, scheme: 'viridis', reverse: true },
    legend: { gradientLength: HEIGHT * 0.7, format: '~g' },
  };
  const spec = {
    ...SHARED,
    width: WIDTH,
    height: HEIGHT,
    layer: [
      {
        data: { values: cells.filter(({ loss }) => loss === null) },
        mark: { type: 'rect', color: GREY, clip: true },
        encoding: box,
      },
      {
        data: { values: cells.filter(({ loss }) => loss !== null) },
        mark: { type: 'rect', clip: true },
        encoding: {
          ...box,
          color: heat,
        },
      },
      ...(paths.length > 0 ? drawn : []),
      {
        data: { values: marks },
        mark: { type: 'point', clip: true, size: 110, filled: true, opacity: 1, fill: '#ffffff', stroke: '#000000' },
        encoding: {
          x: atX('x'),
          y: atY('y'),
          shape: {
            field: 'mark',
            type: 'nominal',
            scale: { domain: marks.map(({ mark }) => mark), range: marks.map(({ shape }) => shape) },
            legend: null,
          },
        },
      },
    ],
    resolve: { scale: { color: 'independent', stroke: 'independent', shape: 'independent' } },
  };
  // The parts are built apart, where their literal types are lost.
  return spec as unknown as TopLevelSpec;
}

/** Grey stands for points without a loss, light blue is near the map's own colours. */
const PATH_COLOURS = COLOURS.slice(1).filter((colour) => colour !== '#56b4e9');

export async function surfaceChart(surface: Surface): Promise<Chart> {
  return { title: `Meta-loss over ${surface.x.name} and ${surface.y.name}`, svg: await renderSvg(specOf(surface)) };
}

/** One file, nothing loaded from outside, readable without scripts. */
export async function renderSurface(surface: Surface): Promise<string> {
  const [head, ...rows] = surfaceTable(surface);
  const { cut, domain } = coloursOf(surface.points.filter(isFinitePoint).map(({ mean }) => mean));
  const notes = [
    ...surfaceNotes(surface),
    ...(cut ? [`Losses above ${formatNumber(domain[1])} have one colour.`] : []),
    `The circle is θ₀, the cross the least on the grid${surface.paths.length > 0 ? ', a square the end of a path' : ''}.`,
  ];
  const facts: [string, string][] = [
    ['engine', surface.engine],
    ['grid', `${surface.x.values.length} × ${surface.y.values.length}`],
    ['inner steps', `${surface.steps} of ${surface.horizon}`],
    ['episodes a point', String(surface.workers)],
    ['seed', String(surface.seed)],
    ['seconds', formatNumber(surface.seconds)],
  ];
  return page(
    `Surface: ${surface.title}`,
    `The meta-loss over two coordinates of θ.`,
    `${figures([await surfaceChart(surface)])}
<ul>${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>
<h2>In numbers</h2>
${table(rows, head)}
<h2>How it was measured</h2>
${table(facts)}
${
  surface.paths.length === 0
    ? ''
    : `<h2>The runs</h2>\n${table(
        surface.paths.map(({ label, path, points }) => [label, path, String(points.length)]),
        ['', 'folder', 'recorded θ'],
      )}`
}
<h2>Again</h2>
<pre>${escapeHtml(surface.reproduce)}</pre>
<h2>Settings</h2>
<pre>${escapeHtml(JSON.stringify(surface.config, null, 2))}</pre>`,
  );
}
