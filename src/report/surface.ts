/** The meta-loss over two coordinates of θ: what a surface says in numbers. Its picture is in surface-page.ts. */
import { formatNumber } from './page';

/** One axis. All numbers are stored coordinates, as σ acts on them. */
export interface SurfaceAxis {
  readonly name: string;
  /** Ascending, evenly spaced. */
  readonly values: readonly number[];
  /** What a stored number means to a person; absent where the problem does not say. */
  readonly natural?: (stored: number) => number;
}

export interface SurfacePoint {
  readonly x: number;
  readonly y: number;
  /** Mean loss per inner step; NaN or infinite where an episode was. */
  readonly mean: number;
  readonly standardError: number;
}

/** A run's θ over its iterations, as far as it is recorded. */
export interface SurfacePath {
  readonly label: string;
  readonly path: string;
  readonly points: readonly { readonly iteration: number; readonly x: number; readonly y: number }[];
  /** At its last θ, all coordinates of it. */
  readonly end: SurfacePoint;
}

export interface Surface {
  readonly title: string;
  readonly x: SurfaceAxis;
  readonly y: SurfaceAxis;
  /** One a grid point, x moving fastest. */
  readonly points: readonly SurfacePoint[];
  /** θ₀ of the configuration. */
  readonly start: SurfacePoint;
  readonly paths: readonly SurfacePath[];
  readonly engine: string;
  readonly seed: number;
  /** Episodes for each point. */
  readonly workers: number;
  readonly steps: number;
  readonly horizon: number;
  /** Numbers of θ; those that are no axis stay at θ₀. */
  readonly thetaSize: number;
  readonly seconds: number;
  /** Resolved configuration. */
  readonly config: object;
  readonly reproduce: string;
}

export const isFinitePoint = (point: SurfacePoint): boolean => Number.isFinite(point.mean);

/** The grid point with the least meta-loss; undefined if none is finite. */
export function leastPoint(surface: Surface): SurfacePoint | undefined {
  return surface.points
    .filter(isFinitePoint)
    .reduce<SurfacePoint | undefined>((a, b) => (a === undefined || b.mean < a.mean ? b : a), undefined);
}

/** Whether an axis stores natural logarithms, which people read as powers of ten. */
export function storesLogarithm({ natural, values }: SurfaceAxis): boolean {
  if (natural === undefined) return false;
  // The problem computes natural units in float32.
  return [values[0], values[values.length - 1]].every(
    (value) => Math.abs(Math.log(natural(value)) - value) < 1e-5 * Math.max(1, Math.abs(value)),
  );
}

/** A coordinate in words, in every unit that there is: `-5.809, natural 0.003, log10 -2.523`. */
export function formatCoordinate(axis: SurfaceAxis, stored: number): string {
  const natural = axis.natural?.(stored);
  if (natural === undefined || Math.abs(natural - stored) <= 1e-6 * Math.abs(stored)) return formatNumber(stored);
  const power = storesLogarithm(axis) ? `, log10 ${formatNumber(stored / Math.LN10)}` : '';
  return `${formatNumber(stored)}, natural ${formatNumber(natural)}${power}`;
}

const formatLoss = ({ mean, standardError }: SurfacePoint): string =>
  standardError > 0 ? `${formatNumber(mean)} ± ${formatNumber(standardError)}` : formatNumber(mean);

/** The table of a surface: the first row is its head. */
export function surfaceTable(surface: Surface): string[][] {
  const { x, y } = surface;
  const row = (what: string, point: SurfacePoint): string[] => [
    what,
    formatLoss(point),
    formatCoordinate(x, point.x),
    formatCoordinate(y, point.y),
  ];
  const least = leastPoint(surface);
  return [
    ['', 'meta-loss', x.name, y.name],
    ...(least === undefined ? [] : [row('least on the grid', least)]),
    row('at θ₀', surface.start),
    ...surface.paths.map(({ label, end }) => row(`end of ${label}`, end)),
  ];
}

/** What a reader of the numbers has to know. */
export function surfaceNotes(surface: Surface): string[] {
  const { x, y, points, paths, steps, horizon, workers, thetaSize } = surface;
  const broken = points.filter((point) => !isFinitePoint(point)).length;
  const inside = (value: number, { values }: SurfaceAxis): boolean =>
    value >= values[0] && value <= values[values.length - 1];
  const outside = paths
    .map(({ label, points: own }) => ({ label, n: own.filter((at) => !(inside(at.x, x) && inside(at.y, y))).length }))
    .filter(({ n }) => n > 0);
  const episodes = workers === 1 ? 'one episode' : `${workers} episodes`;
  return [
    `The meta-loss is the mean per inner step of what is minimised, over ${episodes} of ${steps} steps, the same for all points; ` +
      'θ is not perturbed.',
    ...(steps < horizon ? [`An episode has ${horizon} steps: only its beginning is shown.`] : []),
    ...(thetaSize > 2
      ? [
          `θ has ${thetaSize} numbers; the others are those of θ₀${paths.length > 0 ? ', so paths are seen from the side: their ends have a meta-loss of their own' : ''}.`,
        ]
      : []),
    ...(broken > 0 ? [`${broken} of ${points.length} points, grey, have a loss that is NaN or infinite.`] : []),
    ...outside.map(({ label, n }) => `${label}: θ lies outside of the grid in ${n} of its recorded iterations.`),
  ];
}

const axisJson = (axis: SurfaceAxis): object => ({
  name: axis.name,
  stored: axis.values,
  ...(axis.natural === undefined ? {} : { natural: axis.values.map(axis.natural) }),
});

/** All numbers, for the file beside the page: `meanLoss[j][i]` is at `y.stored[j]`, `x.stored[i]`. */
export function surfaceJson(surface: Surface): object {
  const { x, y, points, paths, title, config, ...rest } = surface;
  const width = x.values.length;
  const rows = (of: (point: SurfacePoint) => number): number[][] =>
    y.values.map((_, j) => points.slice(j * width, (j + 1) * width).map(of));
  return {
    problem: title,
    ...rest,
    x: axisJson(x),
    y: axisJson(y),
    meanLoss: rows(({ mean }) => mean),
    standardError: rows(({ standardError }) => standardError),
    least: leastPoint(surface) ?? null,
    paths,
    config,
  };
}
