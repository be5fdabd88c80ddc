import type { RunResult } from '../../src/outer/result';
import {
  beforeAfterRows,
  change,
  formatMeasurement,
  formatNumber,
  renderReport,
  thetaAfter,
  thetaBefore,
  type RunReport,
} from '../../src/report';

const curve = (values: number[]) => ({ name: 'accuracy', t: values.map((_, i) => i * 10), value: values });

const measured = (mean: number, values: number[]) => ({
  metric: 'test accuracy',
  minimise: false,
  mean,
  standardError: 0.01,
  n: 5,
  values: [],
  curve: curve(values),
});
const line = { updateNorm: 0.1, burnInSteps: 0 };

const result: RunResult = {
  problem: 'mnist-lr',
  engine: 'tfjs:wasm',
  engineReason: 'no compiler',
  layout: {
    size: 2,
    leaves: [
      { path: 'learningRate.decay', shape: [], offset: 0, size: 1 },
      { path: 'learningRate.initial', shape: [], offset: 1, size: 1 },
    ],
  },
  initialTheta: Float64Array.of(3, -5),
  theta: Float64Array.of(2, -4),
  iterations: 2,
  wallSeconds: 12.5,
  innerSteps: 6400,
  interrupted: false,
  select: 'last',
  stopped: false,
  history: [
    {
      ...line,
      iteration: 0,
      meanLoss: -0.5,
      gradientNorm: 1,
      innerSteps: 3200,
      droppedPairs: 1,
      wallSeconds: 6,
      theta: [3, -5],
    },
    {
      ...line,
      iteration: 1,
      meanLoss: null,
      gradientNorm: null,
      innerSteps: 6400,
      droppedPairs: 2,
      wallSeconds: 12,
      theta: [2, -4],
    },
  ],
  initialDescription: { values: { initial: 0.003 }, curves: { learningRate: { t: [0, 1], value: [0.003, 0.001] } } },
  before: measured(0.5, [0.1, 0.5]),
  description: { values: { initial: 0.03 }, curves: { learningRate: { t: [0, 1], value: [0.03, 0.02] } } },
  after: measured(0.75, [0.1, 0.75]),
};

const report: RunReport = {
  title: 'lr <tuned> & "done"',
  seed: 7,
  config: { task: { name: 'mlp' }, iterations: 2 },
  reproduce: 'outerloop train mnist-lr --seed 7',
  result,
};

test.each(['workers', 'candidates'] as const)('dropped %s are called what they are', async (counts) => {
  const text = await renderReport({ ...report, result: { ...result, counts } });
  expect(text).toContain(`<td>dropped ${counts}</td><td>3</td>`);
});

describe('report.html', () => {
  let page: string;
  beforeAll(async () => {
    page = await renderReport(report);
  });

  test('loads nothing from outside and runs no script', () => {
    const references = [...page.matchAll(/(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)/g)].map((match) => match[1]);
    expect(references.filter((reference) => !reference.startsWith('#') && !reference.startsWith('data:'))).toEqual([]);
    expect(page).not.toMatch(/<script|@import|<link|<iframe/);
  });

  test('escapes what came from the user', () => {
    expect(page).toContain('<h1>lr &lt;tuned&gt; &amp; &quot;done&quot;</h1>');
  });

  test('says what came of it with the difference and its error', () => {
    // √(0.01² + 0.01²) = 0.01414
    expect(page).toContain('test accuracy is better by 0.25 ± 0.01414');
  });

  test('a difference within two standard errors is not sold as a gain', async () => {
    const page = await renderReport({ ...report, result: { ...result, after: measured(0.52, [0.1, 0.52]) } });
    expect(page).toContain('no change is shown');
  });

  test('draws schedule, learning curve, meta-loss, gradient and θ, each as a picture with lines', () => {
    const figures = page.match(/<figure>.*?<\/figure>/gs) ?? [];
    expect(figures.map((figure) => /<figcaption>(.*?)<\/figcaption>/.exec(figure)?.[1])).toEqual([
      'Schedule: learningRate',
      'Inner training',
      'Meta-loss (mean per inner step)',
      'Gradient norm',
      'Path of θ (as stored)',
    ]);
    for (const figure of figures) expect(figure).toMatch(/<svg[^>]*>[\s\S]*<path[\s\S]*<\/svg>/);
  });

  test('counts dropped pairs and survives an iteration without a meta-loss', () => {
    expect(page).toContain('<td>dropped pairs</td><td>3</td>');
    expect(page).not.toContain('NaN');
  });
});

test('the error of a change is that of the differences start by start', () => {
  const at = (values: number[]) => ({ ...measured(values.reduce((a, b) => a + b) / values.length, [0, 1]), values });
  // Differences 0.2, 0.4, 0.3: mean 0.3, sample deviation 0.1, standard error 0.1/√3.
  const { mean, standardError } = change(at([0.1, 0.5, 0.3]), at([0.3, 0.9, 0.6]));
  expect(mean).toBeCloseTo(0.3, 12);
  expect(standardError).toBeCloseTo(0.1 / Math.sqrt(3), 12);
});

test('table before / after', () => {
  expect(beforeAfterRows(thetaBefore(result), thetaAfter(result))).toEqual([
    ['initial', '0.003', '0.03'],
    ['test accuracy', '0.5000 ± 0.0100 (n = 5)', '0.7500 ± 0.0100 (n = 5)'],
  ]);
});

test('a small measurement keeps its digits', () => {
  expect(formatMeasurement({ ...measured(3.2e-9, [0]), standardError: 0 })).toBe('3.200e-9 ± 0 (n = 5)');
  expect(formatMeasurement(measured(0.5, [0]))).toBe('0.5000 ± 0.0100 (n = 5)');
});

test('numbers', () => {
  expect([0, 0.00012345, 12.3456, 1e7, NaN].map(formatNumber)).toEqual(['0', '1.234e-4', '12.35', '1.000e+7', 'NaN']);
});
