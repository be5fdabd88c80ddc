/** Effective step sizes over a training: a line a tensor. */
import type { RunResult } from '../outer/result';
import type { StepSizes, TensorStepSizes } from '../outer/step-sizes';
import { COLOURS, DECADES, HEIGHT, renderSvg, SHARED, WIDTH, type Chart } from './charts';
import { csv } from './csv';

/** What the pictures show, for those who read them. */
export const STEP_SIZES_NOTE =
  'How far a step moves each tensor as a multiple of its gradient: the root mean square of what is added to its elements over ' +
  'that of the gradient that the optimizer is given, over the steps of a point. Of SGD it is the learning rate. Geometric mean over ' +
  'fresh starts, with a band of one standard error.';

/** A training, or several of one kind. */
export interface StepSizeCourse {
  /** What tells it from the others, a field each. */
  readonly labels: readonly string[];
  readonly sizes: StepSizes;
}

/** Those of a run, before and after, as far as they were measured. */
export function runStepSizes({ before, after }: Pick<RunResult, 'before' | 'after'>): StepSizeCourse[] {
  return Object.entries({ before, after }).flatMap(([when, measurement]) =>
    measurement?.stepSizes === undefined ? [] : [{ labels: [when], sizes: measurement.stepSizes }],
  );
}

const bandOf = ({ mean, factor }: TensorStepSizes, point: number): { low: number; high: number } => ({
  low: mean[point] / factor[point],
  high: mean[point] * factor[point],
});

/** `…,tensor,t,stepSize,low,high`, a line a point; `heads` are names for the courses' labels. */
export function stepSizesCsv(heads: readonly string[], courses: readonly StepSizeCourse[]): string {
  const rows = courses.flatMap(({ labels, sizes: { t, tensors } }) =>
    tensors.flatMap((tensor) =>
      t.map((step, point) => {
        const { low, high } = bandOf(tensor, point);
        return [...labels, tensor.name, step, tensor.mean[point], low, high];
      }),
    ),
  );
  return csv([[...heads, 'tensor', 't', 'stepSize', 'low', 'high'], ...rows]);
}

/** The first has colours to itself, the second comes where these are used up. */
const DASHES: readonly (readonly number[])[] = [
  [1, 0],
  [6, 3],
  [2, 2],
  [8, 2, 2, 2],
];
/** More tensors than these cannot be told apart; the table has all. */
const MOST = COLOURS.length * DASHES.length;

/** Largest and smallest of what is drawn. */
function domainOf(courses: readonly StepSizeCourse[]): [number, number] | undefined {
  const values = courses
    .flatMap(({ sizes }) => sizes.tensors.slice(0, MOST).flatMap(({ mean }) => mean))
    .filter((value) => Number.isFinite(value) && value > 0);
  if (values.length === 0) return undefined;
  const most = values.reduce((a, b) => Math.max(a, b));
  const least = values.reduce((a, b) => Math.min(a, b));
  // Of a constant learning rate all are one number.
  return [Math.max(least, most * 10 ** -DECADES) / 1.5, most * 1.5];
}

/** A picture a course, all with one axis; none of courses without a single finite number. */
export async function stepSizeCharts(courses: readonly StepSizeCourse[]): Promise<Chart[]> {
  const domain = domainOf(courses);
  if (domain === undefined) return [];
  return Promise.all(
    courses.map(async ({ labels, sizes: { t, tensors } }) => {
      const drawn = tensors.slice(0, MOST);
      const names = drawn.map(({ name }) => name);
      const values = drawn.flatMap((tensor) =>
        t.flatMap((step, point) =>
          Number.isFinite(tensor.mean[point])
            ? [{ t: step, tensor: tensor.name, mean: tensor.mean[point], ...bandOf(tensor, point) }]
            : [],
        ),
      );
      const x = { field: 't', type: 'quantitative', title: 'inner step' } as const;
      const y = (field: string) =>
        ({
          field,
          type: 'quantitative',
          title: 'effective step size',
          scale: { type: 'log', domain, nice: false },
          axis: { format: '~g', labelOverlap: true },
        }) as const;
      const shared = { field: 'tensor', type: 'nominal', title: null } as const;
      const legend = { orient: 'top', columns: 3, labelLimit: 0, symbolType: 'stroke', symbolOpacity: 1 } as const;
      const color = {
        ...shared,
        scale: { domain: names, range: names.map((_, i) => COLOURS[i % COLOURS.length]) },
        legend,
      };
      const strokeDash = {
        ...shared,
        scale: { domain: names, range: names.map((_, i) => [...DASHES[Math.floor(i / COLOURS.length)]]) },
        legend,
      };
      const spec = {
        ...SHARED,
        width: WIDTH,
        height: HEIGHT,
        data: { values },
        layer: [
          {
            mark: { type: 'area', opacity: 0.2, clip: true },
            encoding: { x, y: y('low'), y2: { field: 'high' }, color },
          },
          { mark: { type: 'line', strokeWidth: 1.5, clip: true }, encoding: { x, y: y('mean'), color, strokeDash } },
        ],
      };
      const more = tensors.length > MOST ? `, the first ${MOST} of ${tensors.length} tensors` : '';
      return {
        title: `Effective step size: ${labels.join(', ')}${more}`,
        // The parts are built apart, where their literal types are lost.
        svg: await renderSvg(spec as unknown as Parameters<typeof renderSvg>[0]),
      };
    }),
  );
}
