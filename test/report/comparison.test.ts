import type { ConfigObject } from '../../src/contracts';
import type { Measurement, MetricsLine } from '../../src/outer';
import {
  comparisonNotes,
  comparisonTable,
  compareRuns,
  renderComparison,
  summarise,
  type ComparedRun,
} from '../../src/report';
import { comparisonText } from '../../src/cli/terminal';
import { evaluationBand, metaLossBand } from '../../src/report/comparison-charts';
import { seedMean } from '../../src/report/comparison';

const measured = (mean: number, minimise = true): Measurement => ({
  metric: 'test loss',
  minimise,
  mean,
  standardError: 0,
  n: 1,
  values: [mean],
  curve: { name: 'loss', t: [1], value: [mean] },
});

const line = (iteration: number, meanLoss: number | null, more: Partial<MetricsLine> = {}): MetricsLine => ({
  iteration,
  meanLoss,
  gradientNorm: 1,
  updateNorm: 1,
  innerSteps: 100 * (iteration + 1),
  sequentialSteps: 10,
  burnInSteps: 0,
  droppedPairs: 0,
  wallSeconds: 0.5 * (iteration + 1),
  ...more,
});

interface Given {
  readonly seed?: number;
  readonly config?: ConfigObject;
  readonly losses?: readonly (number | null)[];
  readonly finished?: boolean;
  readonly evaluations?: Readonly<Record<number, number>>;
  readonly after?: number;
  readonly minimise?: boolean;
  readonly scale?: number;
}
function runOf(path: string, given: Given = {}): ComparedRun {
  const { seed = 0, config = {}, losses = [4, 2, 1], finished = true, evaluations = {}, scale = 1 } = given;
  return {
    path,
    config: {
      engine: 'reference',
      preset: 'p',
      problem: { name: 'lorenz', evaluationStarts: 5 },
      horizon: 100,
      iterations: 3,
      estimator: { name: 'nres', pairs: 5, window: 10 },
      outerOptimizer: { name: 'sgd', learningRate: 0.1 },
      ...config,
      seed,
    },
    history: losses.map((loss, i) =>
      line(i, loss, {
        wallSeconds: scale * (i + 1),
        ...(i + 1 in evaluations ? { evaluation: { mean: evaluations[i + 1], standardError: 0, n: 1 } } : {}),
      }),
    ),
    finished,
    before: measured(9, given.minimise),
    ...(given.after === undefined ? {} : { after: measured(given.after, given.minimise) }),
  };
}

const nres = (options: ConfigObject = {}): ConfigObject => ({
  estimator: { name: 'nres', pairs: 5, window: 10, ...options },
});
const labels = (...configs: ConfigObject[]): string[] =>
  compareRuns(configs.map((config, i) => runOf(`r${String(i)}`, { config }))).groups.map(({ label }) => label);

describe('groups', () => {
  test('runs that differ by their seed, checkpoints or evaluations alone are one, in the order of seeds', () => {
    const { groups, title } = compareRuns([
      runOf('a', { seed: 2 }),
      runOf('b', { seed: 0, config: { checkpoint: { seconds: 1 }, evaluation: { every: 5 }, preset: 'q' } }),
      runOf('c', { config: { estimator: { name: 'pes', pairs: 5, window: 10 } } }),
    ]);
    expect(title).toBe('lorenz');
    expect(groups.map(({ label, runs }) => [label, runs.map(({ path }) => path)])).toEqual([
      ['nres', ['b', 'a']],
      ['pes', ['c']],
    ]);
  });

  test.each<[string, ConfigObject[], string[]]>([
    ['one setting', [nres(), nres({ window: 20 })], ['nres window=10', 'nres window=20']],
    [
      'options of another estimator go without saying',
      [nres(), { estimator: { name: 'full-es', pairs: 50 } }],
      ['nres', 'full-es'],
    ],
    [
      'where only one estimator comes in two settings',
      [nres(), nres({ sigma: 1 }), { estimator: { name: 'pes', pairs: 7, window: 10 } }],
      ['nres sigma=nothing', 'nres sigma=1', 'pes'],
    ],
    [
      'another optimizer, with another rate each',
      [{}, { outerOptimizer: { name: 'adam', learningRate: 0.01 } }],
      ['nres sgd', 'nres adam'],
    ],
    [
      'a rate',
      [{}, { outerOptimizer: { name: 'sgd', learningRate: 0.2 } }],
      ['nres outer learningRate=0.1', 'nres outer learningRate=0.2'],
    ],
    [
      'a rate, and a schedule of it',
      [{}, { outerOptimizer: { name: 'sgd', learningRate: { name: 'cosine', initial: 0.2 } } }],
      ['nres outer learningRate=0.1', 'nres cosine outer learningRate.initial=0.2'],
    ],
    ['another engine', [{}, { engine: 'native' }], ['nres engine=reference', 'nres engine=native']],
  ])('labels: %s', (_name, configs, expected) => {
    expect(labels(...configs)).toEqual(expected);
  });

  test.each<[string, ConfigObject, string]>([
    ['horizon', { horizon: 200 }, '(horizon: 100 → 200)'],
    [
      'an option of the problem',
      { problem: { name: 'lorenz', evaluationStarts: 6 } },
      '(problem.evaluationStarts: 5 → 6)',
    ],
    ['the problem', { problem: { name: 'quadratic' } }, '(problem.name: lorenz → quadratic)'],
    ['data', { data: { name: 'mnist' } }, '(data.name: nothing → mnist)'],
    [
      'the objective',
      { objective: { metric: 'accuracy', split: 'train' } },
      '(objective.metric: nothing → accuracy; objective.split: nothing → train)',
    ],
  ])('another objective is refused in a line that names what differs: %s', (_name, config, expected) => {
    const run = (): unknown => compareRuns([runOf('first'), runOf('second', { config })]);
    expect(run).toThrow(`first and second have different objectives, which have no common scale ${expected}.`);
    expect(run).toThrow(expect.objectContaining({ exitCode: 2 }) as Error);
  });

  test('one run under two names would count twice', () => {
    expect(() => compareRuns([runOf('a'), runOf('b', { seed: 1 }), runOf('c')])).toThrow(
      'a and c are one run (nres, seed 0), which would count twice.',
    );
    expect(() => compareRuns([])).toThrow('nothing to compare');
  });
});

describe('numbers', () => {
  test('mean and standard error over seeds', () => {
    // 1, 2, 4, 5: mean 3, squares 4 + 1 + 1 + 4 = 10, deviation √(10/3), over √4.
    expect(seedMean([1, 2, null, 4, 5, undefined, NaN])).toEqual({
      mean: 3,
      standardError: Math.sqrt(10 / 3 / 4),
      n: 4,
    });
    expect(seedMean([7])).toEqual({ mean: 7, standardError: 0, n: 1 });
    expect(seedMean([null])).toBeUndefined();
  });

  test('the band of the meta-loss: seeds meet at equal iterations', () => {
    const { groups } = compareRuns([
      runOf('a', { losses: [4, null, 1] }),
      runOf('b', { seed: 1, losses: [8, 2], finished: false, scale: 3 }),
    ]);
    expect(metaLossBand(groups[0])).toEqual([
      { innerSteps: 100, sequentialSteps: 10, seconds: 2, mean: 6, least: 4, most: 8, n: 2 },
      { innerSteps: 200, sequentialSteps: 20, seconds: 6, mean: 2, least: 2, most: 2, n: 1 },
      { innerSteps: 300, sequentialSteps: 30, seconds: 3, mean: 1, least: 1, most: 1, n: 1 },
    ]);
  });

  test('long runs are averaged over equally many iterations, so that 400 points remain', () => {
    const losses = Array.from({ length: 1000 }, (_, i) => i);
    const points = metaLossBand(compareRuns([runOf('a', { losses })]).groups[0]);
    // Groups of three: 0, 1, 2 have mean 1 and lie at (100 + 200 + 300)/3 inner steps.
    expect(points).toHaveLength(334);
    expect(points[0]).toMatchObject({ mean: 1, innerSteps: 200, sequentialSteps: 20 });
    expect(points[333]).toMatchObject({ mean: 999, innerSteps: 100_000 });
  });

  test('a run that does not say how many steps are in sequence is left out of that axis', () => {
    const old = runOf('a');
    const lines = old.history.map(({ sequentialSteps: _, ...rest }) => rest);
    const { groups } = compareRuns([{ ...old, history: lines }]);
    expect(metaLossBand(groups[0]).every(({ sequentialSteps }) => sequentialSteps === undefined)).toBe(true);
    expect(summarise(compareRuns([{ ...old, history: lines }]))[0].sequentialSteps).toBeUndefined();
  });

  test('the band of the evaluation: start, along the way, end', () => {
    const { groups } = compareRuns([
      runOf('a', { evaluations: { 2: 5 }, after: 3 }),
      runOf('b', { seed: 1, evaluations: { 2: 7 }, after: 2 }),
    ]);
    expect(evaluationBand(groups[0])).toEqual([
      { innerSteps: 0, sequentialSteps: 0, seconds: 0, mean: 9, least: 9, most: 9, n: 2 },
      { innerSteps: 200, sequentialSteps: 20, seconds: 2, mean: 6, least: 5, most: 7, n: 2 },
      { innerSteps: 300, sequentialSteps: 30, seconds: 3, mean: 2.5, least: 2, most: 3, n: 2 },
    ]);
  });

  test.each([
    [true, { mean: 2, iteration: 2, seed: 1 }],
    [false, { mean: 8, iteration: 3, seed: 0 }],
  ])('before, after and the best after the start, minimised: %s', (minimise, best) => {
    const comparison = compareRuns([
      runOf('a', { minimise, evaluations: { 1: 4 }, after: 8 }),
      runOf('b', { seed: 1, minimise, evaluations: { 2: 2 }, after: 6, scale: 3 }),
    ]);
    expect(summarise(comparison)).toEqual([
      {
        label: 'nres',
        seeds: [0, 1],
        unfinished: 0,
        diverged: [],
        before: { mean: 9, standardError: 0, n: 2 },
        after: { mean: 7, standardError: 1, n: 2 },
        best,
        metaLoss: { mean: 1, standardError: 0, n: 2 },
        innerSteps: 300,
        sequentialSteps: 30,
        seconds: 6,
        directories: ['a', 'b'],
      },
    ]);
  });

  test('the table', () => {
    const comparison = compareRuns([
      runOf('a', { after: 8 }),
      runOf('b', { seed: 1, after: 6 }),
      runOf('c', { config: nres({ window: 20 }), finished: false, losses: [3] }),
    ]);
    expect(comparisonTable(comparison)).toEqual([
      [
        ...['', 'seeds', 'test loss before', 'after', 'best (seed, iteration)', 'meta-loss, last tenth'],
        ...['inner steps', 'in sequence', 'seconds'],
      ],
      ['nres window=10', '0, 1', '9', '7 ± 1', '6 (1, 3)', '1', '300', '30', '3'],
      ['nres window=20', '0 (1 unfinished)', '9', '–', '–', '3', '100', '10', '1'],
    ]);
    const diverged = compareRuns([
      { ...runOf('a', { finished: false, losses: [] }), diverged: 0 },
      { ...runOf('b', { seed: 1, finished: false, losses: [3, null] }), diverged: 1 },
      runOf('c', { seed: 2, finished: false }),
    ]);
    expect(comparisonTable(diverged)[1][1]).toBe(
      '0–2 (0 diverged at iteration 0, 1 diverged at iteration 1, 1 unfinished)',
    );
    const [first] = comparisonTable(
      compareRuns([{ ...runOf('a', { finished: false, losses: [] }), diverged: 0 }]),
    ).slice(1);
    expect(first).toEqual(['nres', '0 (diverged at iteration 0)', '9', '–', '–', '–', '0', '–', '0']);
    expect(comparisonText(comparison, { colour: false })).toMatch(/│ +seconds │\n(│.*\n)*├/);
  });

  test('notes tell of what does not compare', () => {
    const search = runOf('b', { config: { estimator: { name: 'random-search' } } });
    const found = search.history.map((entry) => ({ ...entry, diagnostics: { candidates: 1 } }));
    expect(comparisonNotes(compareRuns([runOf('a')]))).toHaveLength(2);
    expect(comparisonNotes(compareRuns([runOf('a'), { ...search, history: found }])).join()).toContain(
      'best candidate',
    );
    const elsewhere = runOf('b', { config: { run: { machine: { cpu: 'other' } }, horizon: 100 }, seed: 1 });
    expect(comparisonNotes(compareRuns([runOf('a'), elsewhere])).join()).toContain('seconds do not compare');
  });
});

describe('the page', () => {
  let text: string;
  beforeAll(async () => {
    const second = { seed: 1, losses: [6, 0, 3e-3] };
    text = await renderComparison(
      compareRuns([
        runOf('a <b>', { after: 8 }),
        runOf('b', { ...second, after: 6 }),
        runOf('c', { config: nres({ window: 20 }), losses: [3, 4e-5, 2] }),
      ]),
    );
  });

  test('loads nothing from outside, runs no script, escapes what came from the user', () => {
    const references = [...text.matchAll(/(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)/g)].map((match) => match[1]);
    expect(references.filter((reference) => !reference.startsWith('#') && !reference.startsWith('data:'))).toEqual([]);
    expect(text).not.toMatch(/<script|@import|<link|<iframe|NaN|undefined/);
    expect(text).toContain('<td>a &lt;b&gt;</td>');
  });

  test('draws meta-loss and evaluation over total steps, steps in sequence and time, with bands', () => {
    const figures = text.match(/<figure>.*?<\/figure>/gs) ?? [];
    expect(figures.map((figure) => /<figcaption>(.*?)<\/figcaption>/.exec(figure)?.[1])).toEqual([
      'Meta-loss against inner steps',
      'Meta-loss against inner steps in sequence',
      'Meta-loss against time',
      'Test loss against inner steps',
      'Test loss against inner steps in sequence',
      'Test loss against time',
    ]);
    for (const figure of figures) {
      expect(figure).toMatch(/mark-area[\s\S]*mark-line/);
      expect(figure).toContain('nres window=20');
    }
  });
});
