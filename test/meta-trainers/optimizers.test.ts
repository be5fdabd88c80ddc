/**
 * Outer optimizers over 100 steps against float64 recurrences written here from the papers, on gradients with scales
 * from 1e-6 to 1e3. Tolerance: 100 steps of a few float64 operations each, 1e-12 relative.
 */
import type { OuterOptimizer, ArrayBundle } from '../../src/contracts';
import { ConfigurationError } from '../../src/contracts/errors';
import { adam, momentum, rmsprop, sgd } from '../../meta-trainers';
import { normals } from '../../src/random/draws';

const STEPS = 100;
const SIZE = 4;
const scales = [1e-6, 1e-2, 1, 1e3];
const gradients = Array.from({ length: STEPS }, (_, i) =>
  Float64Array.from(normals([7, i], SIZE), (z, k) => scales[k] * (z + 0.3)),
);
const theta0 = Float64Array.of(1, -2, 0.5, 30);

interface Run {
  readonly thetas: Float64Array[];
  readonly state: ArrayBundle;
}

function run(optimizer: OuterOptimizer, gs: readonly Float64Array[] = gradients): Run {
  let theta: Float64Array = theta0;
  let state = optimizer.init(SIZE);
  const thetas: Float64Array[] = [];
  gs.forEach((gradient, i) => {
    ({ theta, state } = optimizer.update(theta, gradient, state, i));
    thetas.push(theta);
  });
  return { thetas, state };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  for (let k = 0; k < expected.length; k++) {
    expect(Math.abs(actual[k] - expected[k])).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(expected[k])));
  }
}

/** One number's recurrence: gradient and 1-based step in, decrement over α out. */
type Recurrence = () => (g: number, n: number) => number;

const rows: readonly [string, (learningRate: number) => OuterOptimizer, Recurrence][] = [
  ['sgd', (learningRate) => sgd({ learningRate }), () => (g) => g],
  [
    'momentum',
    (learningRate) => momentum({ learningRate, momentum: 0.8 }),
    () => {
      let v = 0;
      return (g) => (v = 0.8 * v + g);
    },
  ],
  [
    // Sutskever et al. 2013, eqs. 3 and 4, followed at the look-ahead point φ = θ + μv: φ' − φ = μ²v − (1+μ)αg.
    'momentum, nesterov',
    (learningRate) => momentum({ learningRate, momentum: 0.8, nesterov: true }),
    () => {
      let v = 0;
      return (g) => {
        const old = v;
        v = 0.8 * v - g;
        return -(v + 0.8 * v - 0.8 * old);
      };
    },
  ],
  [
    'adam',
    (learningRate) => adam({ learningRate }),
    () => {
      let m = 0;
      let v = 0;
      return (g, n) => {
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        return m / (1 - 0.9 ** n) / (Math.sqrt(v / (1 - 0.999 ** n)) + 1e-8);
      };
    },
  ],
  [
    'adam with its own constants',
    (learningRate) => adam({ learningRate, beta1: 0.5, beta2: 0.9, epsilon: 1e-3 }),
    () => {
      let m = 0;
      let v = 0;
      return (g, n) => {
        m = 0.5 * m + 0.5 * g;
        v = 0.9 * v + 0.1 * g * g;
        return m / (1 - 0.5 ** n) / (Math.sqrt(v / (1 - 0.9 ** n)) + 1e-3);
      };
    },
  ],
  [
    'rmsprop',
    (learningRate) => rmsprop({ learningRate, decay: 0.95 }),
    () => {
      let r = 0;
      return (g) => {
        r = 0.95 * r + 0.05 * g * g;
        return g / (Math.sqrt(r) + 1e-8);
      };
    },
  ],
];

describe.each(rows)('%s', (label, make, recurrence) => {
  const reference = (rate: (i: number) => number, gs = gradients): Float64Array[] => {
    const columns = scales.map((_, k) => {
      const step = recurrence();
      let x = theta0[k];
      return gs.map((g, i) => (x -= rate(i) * step(g[k], i + 1)));
    });
    return gs.map((_, i) => Float64Array.from(columns, (column) => column[i]));
  };

  it('follows its recurrence for 100 steps', () => {
    const { thetas } = run(make(0.01));
    reference(() => 0.01).forEach((expected, i) => expectClose(thetas[i], expected));
  });

  it('is pure: inputs keep their bits, and the same inputs give the same outputs', () => {
    const optimizer = make(0.01);
    const { state } = run(optimizer, gradients.slice(0, 5));
    const before = JSON.stringify([theta0, gradients[5], state].map((x) => structuredClone(x)));
    const first = optimizer.update(theta0, gradients[5], state, 5);
    expect(JSON.stringify([theta0, gradients[5], state])).toBe(before);
    expect(optimizer.update(theta0, gradients[5], state, 5)).toEqual(first);
  });

  it('goes on from a saved state with the same bits', () => {
    const optimizer = make(0.01);
    const whole = run(optimizer);
    const half = run(optimizer, gradients.slice(0, 40));
    let state = structuredClone(half.state);
    let theta = half.thetas[39];
    for (let i = 40; i < STEPS; i++) ({ theta, state } = make(0.01).update(theta, gradients[i], state, i));
    expect(theta).toEqual(whole.thetas[STEPS - 1]);
  });

  it('names itself', () => expect(make(1).name).toBe(label.split(/[ ,]/)[0]));
});

describe('learning-rate schedules', () => {
  const rates = (learningRate: Parameters<typeof sgd>[0]['learningRate'], at: readonly number[]): number[] => {
    const optimizer = sgd({ learningRate });
    return at.map((i) => -optimizer.update(Float64Array.of(0), Float64Array.of(1), optimizer.init(1), i).theta[0]);
  };
  const cases: [string, Parameters<typeof sgd>[0]['learningRate'], [number, number][]][] = [
    [
      'a number',
      0.1,
      [
        [0, 0.1],
        [99, 0.1],
      ],
    ],
    [
      'constant',
      { name: 'constant', value: 0.1 },
      [
        [0, 0.1],
        [99, 0.1],
      ],
    ],
    [
      'exponential',
      { name: 'exponential', initial: 0.1, factor: 0.5, every: 10 },
      [
        [0, 0.1],
        [5, 0.1 * Math.SQRT1_2],
        [20, 0.025],
      ],
    ],
    [
      'cosine',
      { name: 'cosine', initial: 0.3, final: 0.1, start: 100, iterations: 60 },
      [
        [0, 0.3],
        [100, 0.3],
        [120, 0.25],
        [130, 0.2],
        [160, 0.1],
        [999, 0.1],
      ],
    ],
    [
      'piecewise, ×0.1 from 1000',
      {
        name: 'piecewise',
        initial: 1e-5,
        steps: [
          { at: 1000, factor: 0.1 },
          { at: 2000, factor: 0.5 },
        ],
      },
      [
        [0, 1e-5],
        [999, 1e-5],
        [1000, 1e-6],
        [2000, 5e-7],
      ],
    ],
    [
      'warm-up',
      { name: 'constant', value: 0.1, warmup: 4 },
      [
        [0, 0.025],
        [1, 0.05],
        [3, 0.1],
        [4, 0.1],
      ],
    ],
    [
      'a function',
      (i: number) => 1 / (1 + i),
      [
        [0, 1],
        [3, 0.25],
      ],
    ],
  ];
  it.each(cases)('%s', (_label, schedule, points) => {
    const actual = rates(
      schedule,
      points.map(([i]) => i),
    );
    points.forEach(([, expected], i) => expect(Math.abs(actual[i] / expected - 1)).toBeLessThan(1e-14));
  });
});

describe('clipping', () => {
  const stepOf = (options: Omit<Parameters<typeof sgd>[0], 'learningRate'>, gradient: number[]): number[] => {
    const optimizer = sgd({ learningRate: 1, ...options });
    const zero = new Float64Array(gradient.length);
    return Array.from(
      optimizer.update(zero, Float64Array.from(gradient), optimizer.init(zero.length), 0).theta,
      (x) => -x,
    );
  };
  it('by value bounds each number', () => expect(stepOf({ clipValue: 2 }, [3, -5, 1])).toEqual([2, -2, 1]));
  it('by norm scales the whole', () => {
    expectClose(stepOf({ clipNorm: 1 }, [3, -4]), [0.6, -0.8]);
    expect(stepOf({ clipNorm: 6 }, [3, -4])).toEqual([3, -4]);
  });
  it('by value first, then by norm', () =>
    expectClose(stepOf({ clipValue: 3, clipNorm: 1 }, [3, -40]), [Math.SQRT1_2, -Math.SQRT1_2]));
});

describe('bad options', () => {
  const cases: [string, () => unknown, string][] = [
    ['no rate', () => sgd({} as never), 'outerOptimizer.learningRate'],
    ['a rate of 0', () => sgd({ learningRate: 0 }), 'outerOptimizer.learningRate'],
    ['a rate that is no number', () => sgd({ learningRate: 'fast' as never }), 'outerOptimizer.learningRate'],
    ['an unknown schedule', () => sgd({ learningRate: { name: 'step' } as never }), 'outerOptimizer.learningRate.name'],
    [
      'a schedule without its numbers',
      () => sgd({ learningRate: { name: 'cosine', initial: 1, final: 0 } as never }),
      'outerOptimizer.learningRate.iterations',
    ],
    [
      'a schedule with an unknown key',
      () => sgd({ learningRate: { name: 'constant', value: 1, warmUp: 3 } as never }),
      'outerOptimizer.learningRate.warmUp',
    ],
    ['an unknown key', () => sgd({ learningRate: 1, momentum: 0.9 } as never), 'outerOptimizer.momentum'],
    ['momentum of 1', () => momentum({ learningRate: 1, momentum: 1 }), 'outerOptimizer.momentum'],
    ['beta2 over 1', () => adam({ learningRate: 1, beta2: 1.5 }), 'outerOptimizer.beta2'],
    ['a negative epsilon', () => adam({ learningRate: 1, epsilon: -1 }), 'outerOptimizer.epsilon'],
    ['a decay of 1', () => rmsprop({ learningRate: 1, decay: 1 }), 'outerOptimizer.decay'],
    ['a negative clip', () => rmsprop({ learningRate: 1, clipNorm: -1 }), 'outerOptimizer.clipNorm'],
  ];
  it.each(cases)('%s: names the key', (_label, make, key) => {
    expect.assertions(2);
    try {
      make();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigurationError);
      expect((error as ConfigurationError).key).toBe(key);
    }
  });
});
