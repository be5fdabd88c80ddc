import {
  checkSameTheta,
  formatCoordinate,
  leastPoint,
  renderSurface,
  surfaceJson,
  surfaceNotes,
  surfaceTable,
  type Surface,
} from '../../src/report';

const x = { name: 'rate', values: [-2, -1, 0], natural: Math.exp };
const y = { name: 'momentum <m>', values: [0, 1] };

const surface = (means: readonly number[], more: Partial<Surface> = {}): Surface => ({
  title: 'p',
  x,
  y,
  points: means.map((mean, i) => ({ x: x.values[i % 3], y: y.values[Math.floor(i / 3)], mean, standardError: 0 })),
  start: { x: -1, y: 0.5, mean: 7, standardError: 0.5 },
  paths: [],
  engine: 'reference',
  seed: 0,
  workers: 1,
  steps: 10,
  horizon: 10,
  thetaSize: 2,
  seconds: 1,
  config: { preset: 'p' },
  reproduce: 'outerloop surface p',
  ...more,
});
const LOSSES = [5, NaN, 3, 2, Infinity, 300];
const path = {
  label: 'nres',
  path: 'runs/a',
  points: [
    { iteration: 0, x: -1, y: 0.5 },
    { iteration: 1, x: -1.5, y: 0.7 },
    { iteration: 2, x: -3, y: 0.9 },
  ],
  end: { x: -3, y: 0.9, mean: 4, standardError: 0 },
};

test('the least point leaves out what is not finite', () => {
  expect(leastPoint(surface(LOSSES))).toMatchObject({ x: -2, y: 1, mean: 2 });
  expect(leastPoint(surface(LOSSES.map(() => NaN)))).toBeUndefined();
});

test('coordinates in every unit that they have', () => {
  // e⁻² = 0.13534, −2/ln 10 = −0.86859
  expect(formatCoordinate(x, -2)).toBe('-2, natural 0.1353, log10 -0.8686');
  expect(formatCoordinate(y, 0.5)).toBe('0.5');
  const logit = { name: 'm', values: [-1, 1], natural: (stored: number) => 1 / (1 + Math.exp(-stored)) };
  expect(formatCoordinate(logit, 0)).toBe('0, natural 0.5');
  expect(formatCoordinate({ ...y, natural: (stored: number) => stored }, 0.5)).toBe('0.5');
});

test('the table and what is noted under it', () => {
  const full = surface(LOSSES, { paths: [path], thetaSize: 5, steps: 4 });
  expect(surfaceTable(full)).toEqual([
    ['', 'meta-loss', 'rate', 'momentum <m>'],
    ['least on the grid', '2', '-2, natural 0.1353, log10 -0.8686', '1'],
    ['at θ₀', '7 ± 0.5', '-1, natural 0.3679, log10 -0.4343', '0.5'],
    ['end of nres', '4', '-3, natural 0.04979, log10 -1.303', '0.9'],
  ]);
  expect(surfaceNotes(full).slice(1)).toEqual([
    'An episode has 10 steps: only its beginning is shown.',
    'θ has 5 numbers; the others are those of θ₀, so paths are seen from the side: their ends have a meta-loss of their own.',
    '2 of 6 points, grey, have a loss that is NaN or infinite.',
    'nres: θ lies outside of the grid in 1 of its recorded iterations.',
  ]);
  expect(surfaceNotes(surface([1, 2, 3, 4, 5, 6]))).toHaveLength(1);
});

test('the numbers: rows are those of y', () => {
  expect(surfaceJson(surface(LOSSES))).toMatchObject({
    problem: 'p',
    x: { name: 'rate', stored: [-2, -1, 0], natural: [Math.exp(-2), Math.exp(-1), 1] },
    y: { name: 'momentum <m>', stored: [0, 1] },
    meanLoss: [
      [5, NaN, 3],
      [2, Infinity, 300],
    ],
    least: { x: -2, y: 1, mean: 2 },
  });
});

describe('the page', () => {
  const cells = (html: string, colour: RegExp): number =>
    [...html.matchAll(/<path aria-label="[^"]*" [^>]*fill="([^"]+)"/g)].filter(([, fill]) => colour.test(fill)).length;

  test('a cell a point, grey where there is no loss; the path over it', async () => {
    const html = await renderSurface(surface(LOSSES, { paths: [path] }));
    expect(cells(html, /^#9a9a9a$/)).toBe(2);
    expect(cells(html, /^(rgb|#)/)).toBeGreaterThanOrEqual(6);
    expect(html).toContain('stroke="#0072b2"');
    expect(html).toContain('a square the end of a path');
    // 300 is more than a hundred times the least.
    expect(html).toContain('Losses above 200 have one colour.');
  });

  test('loads nothing from outside, runs no script, escapes what came from the user', async () => {
    const html = await renderSurface(surface(LOSSES, { paths: [{ ...path, label: 'a <b>' }] }));
    const references = [...html.matchAll(/(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)/g)].map((match) => match[1]);
    expect(references.filter((reference) => !reference.startsWith('#') && !reference.startsWith('data:'))).toEqual([]);
    expect(html).not.toMatch(/<script|@import|<link|<iframe|undefined|<b>/);
    expect(html).toContain('momentum &lt;m&gt;');
  });

  test('losses of either sign, and no finite loss at all, are drawn too', async () => {
    expect(await renderSurface(surface([-0.5, -0.2, 0, 1, 2, 3]))).toContain('<svg');
    expect(cells(await renderSurface(surface(LOSSES.map(() => NaN))), /^#9a9a9a$/)).toBe(6);
  });
});

describe('whether a run is of the same θ', () => {
  const config = {
    engine: 'native',
    task: { name: 'mlp', hidden: [32] },
    optimizer: { name: 'sgd', momentum: 0.9, learningRate: { name: 'inverse-time', initial: 'meta.log(0.003)' } },
    objective: { metric: 'loss' },
    horizon: 10,
    estimator: { name: 'nres' },
  };
  const check = (other: object) => () => checkSameTheta('p', config, { path: 'r', config: { ...config, ...other } });

  test('another start, estimator, seed or engine are no matter', () => {
    const learningRate = { ...config.optimizer.learningRate, initial: 'meta.log(0.1)' };
    const free = { estimator: { name: 'pes' }, seed: 5, engine: 'reference' };
    expect(check({ optimizer: { ...config.optimizer, learningRate }, ...free })).not.toThrow();
  });

  test.each<[string, object, string]>([
    ['horizon', { horizon: 20 }, 'horizon: 10 → 20'],
    ['objective', { objective: { metric: 'accuracy' } }, 'objective.metric: loss → accuracy'],
    [
      'a constant of the optimizer',
      { optimizer: { ...config.optimizer, momentum: 0.5 } },
      'optimizer.momentum: 0.9 → 0.5',
    ],
    [
      'what is wrapped, and how',
      { optimizer: { ...config.optimizer, momentum: 'meta.logit(0.9)' } },
      'optimizer.momentum: 0.9 → meta.logit',
    ],
  ])('another %s is', (_name, other, expected) => {
    expect(check(other)).toThrow(`r is a run of something else than p (${expected}). Leave it out, or set the same.`);
    expect(check(other)).toThrow(expect.objectContaining({ exitCode: 2 }) as Error);
  });
});
