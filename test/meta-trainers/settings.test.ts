import type { ConfigObject, GradientEstimator, OuterOptimizer } from '../../src/contracts';
import {
  bptt,
  dodge,
  fullEs,
  gpes,
  gridSearch,
  nres,
  outer,
  pes,
  pesAnalytic,
  randomSearch,
  rtrl,
  tbptt,
  truncatedEs,
  uoro,
} from 'outerloop';

const given = { pairs: 3, sigma: { name: 'exponential', initial: 0.3, factor: 0.5 }, window: 5 } as const;
const common = {
  pairs: 3,
  sigma: { name: 'exponential', initial: 0.3, factor: 0.5, every: 1, warmup: 0 },
  window: 5,
  shaping: 'none',
};
const windows = { ...common, lockstep: false, offsets: 'stratified' };
const gradientWindows = { workers: 1, window: 5, lockstep: false, offsets: 'stratified' };
const learningRate = 0.25;
const byFunction = { learningRate: (i: number) => 1 / (i + 1), clipNorm: 2 };

const rows: readonly (readonly [string, GradientEstimator | OuterOptimizer, ConfigObject])[] = [
  ['full-es', fullEs(given), common],
  ['truncated-es', truncatedEs(given), windows],
  ['pes', pes({ ...given, lockstep: true, clip: 4 }), { ...windows, lockstep: true, clip: 4 }],
  ['gpes', gpes({ ...given, noisePeriod: 10 }), { ...windows, noisePeriod: 10 }],
  ['nres', nres({ ...given, shaping: 'sign', sigma: () => 0.1 }), { ...windows, shaping: 'sign', sigma: 'a function' }],
  [
    'tbptt',
    tbptt({ window: 5, clip: 2 }),
    { workers: 1, clip: 2, window: 5, lockstep: false, offsets: 'stratified', windowLoss: 'mean' },
  ],
  ['bptt', bptt({ workers: 3 }), { workers: 3 }],
  ['rtrl', rtrl({ window: 5 }), { ...gradientWindows, memoryLimit: 1024 }],
  ['uoro', uoro({ window: 5, clip: 2 }), { ...gradientWindows, clip: 2 }],
  ['dodge', dodge({ window: 5, workers: 7 }), { ...gradientWindows, workers: 7 }],
  [
    'pes-analytic',
    pesAnalytic(given),
    { pairs: 3, sigma: common.sigma, window: 5, lockstep: false, offsets: 'stratified' },
  ],
  ['random-search', randomSearch({ radius: [1, 2] }), { radius: [1, 2], batch: 16, starts: 1 }],
  [
    'grid-search',
    gridSearch({ lower: -1, upper: 2, points: 3, batch: 4 }),
    { lower: -1, upper: 2, points: 3, batch: 4, starts: 1 },
  ],
  ['sgd', outer.sgd(byFunction), { learningRate: 'a function', clipNorm: 2 }],
  ['momentum', outer.momentum({ learningRate }), { learningRate, momentum: 0.9, nesterov: false }],
  ['rmsprop', outer.rmsprop({ learningRate }), { learningRate, decay: 0.9, epsilon: 1e-8 }],
  ['adam', outer.adam({ learningRate, beta1: 0.5 }), { learningRate, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 }],
];

test.each(rows)('%s states its options, defaults included, as data that JSON keeps', (_name, made, settings) => {
  expect(made.settings).toStrictEqual(settings);
  expect(JSON.parse(JSON.stringify(made.settings))).toStrictEqual(settings);
});
