/** Pictures and page of a meta-test. */
import type { TopLevelSpec } from 'vega-lite';
import type { MetaTestResult } from '../outer/meta-test';
import type { MetaTestReport, TestedTask } from '../outer/run-directory';
import { COLOURS, HEIGHT, renderSvg, SHARED, WIDTH, type Chart } from './charts';
import { metaTestNotes, metaTestTable } from './meta-test';
import { escapeHtml, figures, formatNumber, page, table } from './page';
import { STEP_SIZES_NOTE, stepSizeCharts, stepSizesCsv, type StepSizeCourse } from './step-sizes';

/** From this ratio of the largest to the smallest value on, an axis is logarithmic. */
const LOG_RATIO = 4;
/** Below, ticks of steps are written out. */
const THOUSANDS = 10_000;
/** What is worse than so many times the best end of a course lies above the picture. */
const CUT = 12;

interface BandPoint {
  readonly x: number;
  readonly mean: number;
  readonly standardError: number;
  readonly line: string;
}

interface BandChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logarithmicX: boolean;
  readonly points: readonly BandPoint[];
  readonly marked: boolean;
  /** All optimizers of the page, so that each has one colour in all pictures. */
  readonly names: readonly string[];
}

const isFinitePoint = ({ mean, x }: BandPoint): boolean => Number.isFinite(mean) && Number.isFinite(x);

function unitOf(chart: BandChart) {
  const lines = [...new Set(chart.points.map(({ line }) => line))];
  const points = chart.points.filter(isFinitePoint);
  const means = points.map(({ mean }) => mean);
  const least = means.reduce((a, b) => Math.min(a, b), Infinity);
  const most = Math.min(
    means.reduce((a, b) => Math.max(a, b), -Infinity),
    least > 0 ? CUT * least : Infinity,
  );
  const logarithmic = least > 0 && most > LOG_RATIO * least;
  const values = points.map(({ x, mean, standardError, line }) => {
    const error = Number.isFinite(standardError) ? standardError : 0;
    return { x, line, mean, low: logarithmic ? Math.max(mean - error, least / 2) : mean - error, high: mean + error };
  });
  const limits = { domainMax: most, nice: false };
  const scale = logarithmic
    ? ({ type: 'log', ...limits } as const)
    : ({ type: 'linear', zero: false, ...limits } as const);
  const y = (field: string) =>
    ({ field, type: 'quantitative', title: chart.y, scale, axis: logarithmic ? { format: '~g' } : {} }) as const;
  const x = {
    field: 'x',
    type: 'quantitative',
    title: chart.x,
    scale: { type: chart.logarithmicX ? 'log' : 'linear' },
    axis: chart.logarithmicX
      ? { format: '~g', labelOverlap: true }
      : { format: points.some((point) => point.x > THOUSANDS) ? '~s' : 'd' },
  } as const;
  const color = {
    field: 'line',
    type: 'nominal',
    title: null,
    scale: { domain: [...chart.names], range: chart.names.map((_, i) => COLOURS[(i + 1) % COLOURS.length]) },
    legend: {
      values: lines,
      orient: 'top',
      columns: 4,
      labelLimit: 0,
      symbolType: 'stroke',
      symbolOpacity: 1,
      symbolStrokeWidth: 2,
    },
  } as const;
  return {
    width: WIDTH,
    height: HEIGHT,
    data: { values },
    layer: [
      { mark: { type: 'area', opacity: 0.2, clip: true }, encoding: { x, y: y('low'), y2: { field: 'high' }, color } },
      {
        mark: { type: 'line', strokeWidth: 1.8, clip: true, point: chart.marked },
        encoding: { x, y: y('mean'), color },
      },
    ],
  } satisfies Partial<TopLevelSpec>;
}

function coursesOf({ task, test }: TestedTask): BandChart {
  return {
    title: `Training on ${task}`,
    x: 'inner step',
    y: 'loss after the step',
    logarithmicX: false,
    marked: false,
    names: test.results.map(({ name }) => name),
    points: test.results.flatMap(({ name, course }) =>
      course.map(({ t, mean, standardError }) => ({ x: t, mean, standardError, line: name })),
    ),
  };
}

/** Courses of all optimizers on every task, as one SVG; undefined if there is none to draw. */
export async function metaTestPicture({ tasks }: MetaTestReport): Promise<string | undefined> {
  const drawn = tasks.map(coursesOf).filter(({ points }) => points.some(isFinitePoint));
  if (drawn.length === 0) return undefined;
  const vconcat = drawn.map((chart) => ({ title: chart.title, ...unitOf(chart) }));
  return renderSvg({ ...SHARED, vconcat, resolve: { scale: { color: 'independent' } } });
}

/** Courses of all optimizers, and what each learning rate gave. */
export async function metaTestCharts(tested: TestedTask): Promise<Chart[]> {
  const { test } = tested;
  const courses = coursesOf(tested);
  const tuning: BandChart = {
    title: 'Tuning of the others',
    x: 'learning rate',
    y: 'mean loss',
    logarithmicX: true,
    marked: true,
    names: courses.names,
    points: test.results.flatMap(({ name, tuning: tuned }) =>
      (tuned ?? []).map(({ learningRate, mean, standardError }) => ({
        x: learningRate,
        mean,
        standardError,
        line: name,
      })),
    ),
  };
  return Promise.all(
    [courses, tuning]
      .filter(({ points }) => points.some(isFinitePoint))
      .map(async (chart) => ({ title: chart.title, svg: await renderSvg({ ...SHARED, ...unitOf(chart) }) })),
  );
}

/** Effective step sizes of all optimizers on a task, if they were measured. */
const stepSizesOf = ({ test }: TestedTask, labels: (result: MetaTestResult) => readonly string[]): StepSizeCourse[] =>
  test.results.flatMap((result) =>
    result.stepSizes === undefined ? [] : [{ labels: labels(result), sizes: result.stepSizes }],
  );

async function stepSection(tested: TestedTask): Promise<string> {
  const courses = stepSizesOf(tested, ({ name, learningRate }) => [
    learningRate === undefined ? name : `${name} at ${formatNumber(learningRate)}`,
  ]);
  const charts = await stepSizeCharts(courses);
  if (charts.length === 0) return '';
  return `<p>${escapeHtml(STEP_SIZES_NOTE)} The seconds above include measuring it.</p>
${figures(charts)}`;
}

/** `stepSizesCsv` of all tasks; undefined if none was measured. */
export function metaTestStepSizes({ tasks }: Pick<MetaTestReport, 'tasks'>): string | undefined {
  const courses = tasks.flatMap((tested) => stepSizesOf(tested, ({ name }) => [tested.task, name]));
  return courses.length === 0 ? undefined : stepSizesCsv(['task', 'optimizer'], courses);
}

/** One file, nothing loaded from outside, readable without scripts. */
export async function renderMetaTest(report: MetaTestReport, reproduce: string): Promise<string> {
  const parts = await Promise.all(
    report.tasks.map(async (tested) => {
      const [head, ...rows] = metaTestTable(tested);
      const notes = metaTestNotes(tested, report);
      const { task, data, horizon } = tested.config;
      return `<h2>${escapeHtml(tested.task)}</h2>
<p>${escapeHtml(JSON.stringify({ task, data, horizon }))}</p>
${table(rows, head)}
<ul>${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>
${figures(await metaTestCharts(tested))}
${await stepSection(tested)}`;
    }),
  );
  const facts: [string, string][] = [
    ['run', report.path],
    ['optimizer', `${report.optimizer}, after ${report.iterations.toLocaleString('en')} outer iterations`],
    ['engine', `${report.engine} (${report.engineReason})`],
    ['fresh starts that are judged', String(report.seeds)],
    [
      'learning rates of the others',
      `${report.rates} or more on a logarithmic grid, ${report.tuningSeeds} trainings each on starts of their own`,
    ],
    ['seed', String(report.seed)],
    ['seconds', formatNumber(report.seconds)],
  ];
  return page(
    `Meta-test of ${report.optimizer}`,
    'The optimizer of a run against tuned ones, all from the same fresh starts with the same minibatches.',
    `${parts.join('\n')}
<h2>What the columns mean</h2>
<ul>
<li>Mean loss: over all steps of a training, after each, on a fresh minibatch of the split of the run's objective. Mean ± standard error over fresh starts.</li>
<li>Final loss and accuracy: after the last step, on the whole test split.</li>
<li>Steps to the end of another: until the loss, averaged over a twentieth of the training, is where that of the other ends; and the seconds that these take.</li>
<li>Seconds a training: a training's share of the time of all of them, which share the machine.</li>
</ul>
<h2>How it was measured</h2>
${table(facts)}
<h2>Again</h2>
<pre>${escapeHtml(reproduce)}</pre>`,
  );
}
