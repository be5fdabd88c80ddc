import { beforeAfterRows, formatNumber, renderReport, type RunReport } from '../../src/report';

const curve = (values: number[]) => ({ name: 'accuracy', t: values.map((_, i) => i * 10), value: values });

const report: RunReport = {
  title: 'lr <tuned> & "done"',
  engine: 'tfjs:wasm',
  engineReason: 'no compiler',
  seed: 7,
  wallSeconds: 12.5,
  innerSteps: 6400,
  config: { task: { name: 'mlp' }, iterations: 2 },
  metrics: [
    {
      iteration: 0,
      meanLoss: -0.5,
      gradientNorm: 1,
      updateNorm: 0.1,
      innerSteps: 3200,
      droppedPairs: 1,
      wallSeconds: 6,
      theta: [-5, 3],
    },
    {
      iteration: 1,
      meanLoss: null,
      gradientNorm: 0,
      updateNorm: 0,
      innerSteps: 6400,
      droppedPairs: 2,
      wallSeconds: 12,
      theta: [-4, 2],
    },
  ],
  thetaNames: ['learningRate.initial', 'learningRate.decay'],
  before: {
    description: { values: { initial: 0.003 }, curves: { learningRate: { t: [0, 1], value: [0.003, 0.001] } } },
    measurement: {
      metric: 'test accuracy',
      minimise: false,
      mean: 0.5,
      standardError: 0.01,
      n: 5,
      values: [],
      curve: curve([0.1, 0.5]),
    },
  },
  after: {
    description: { values: { initial: 0.03 }, curves: { learningRate: { t: [0, 1], value: [0.03, 0.02] } } },
    measurement: {
      metric: 'test accuracy',
      minimise: false,
      mean: 0.75,
      standardError: 0.01,
      n: 5,
      values: [],
      curve: curve([0.1, 0.75]),
    },
  },
  reproduce: 'outerloop train mnist-lr --seed 7',
};

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
    const after = { ...report.after.measurement!, mean: 0.52 };
    expect(await renderReport({ ...report, after: { ...report.after, measurement: after } })).toContain(
      'no change is shown',
    );
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

test('table before / after', () => {
  expect(beforeAfterRows(report.before, report.after)).toEqual([
    ['initial', '0.003', '0.03'],
    ['test accuracy', '0.5000 ± 0.0100 (n = 5)', '0.7500 ± 0.0100 (n = 5)'],
  ]);
});

test('numbers', () => {
  expect([0, 0.00012345, 12.3456, 1e7, NaN].map(formatNumber)).toEqual(['0', '1.234e-4', '12.35', '1.000e+7', 'NaN']);
});
