/**
 * Updates of the learned architectures in plain float64, from the papers' text: arrays and loops, nothing of
 * learned-optimizers. Constants that a graph holds are float32 (`f`), whatever engine computes.
 */
const f = Math.fround;

/** A tensor, row-major. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}
export interface StepOf {
  readonly params: readonly Numbers[];
  readonly gradients: readonly (readonly number[])[];
  readonly t: number;
  readonly loss: number;
}
/** θ's leaf by path. */
export type ThetaOf = (path: string) => readonly number[];
/** A fresh one for each run: what it remembers is its own. Returns the new parameters. */
export type Oracle = (theta: ThetaOf) => (step: StepOf) => number[][];

type Row = readonly number[];
const TIMES = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5];

const sum = (xs: Row): number => xs.reduce((a, b) => a + b, 0);
const mean = (xs: Row): number => sum(xs) / xs.length;
const meanSquare = (xs: Row): number => mean(xs.map((x) => x * x));
const variance = (xs: Row): number => meanSquare(xs.map((x) => x - mean(xs)));
const zip = (a: Row, b: Row, fn: (a: number, b: number) => number): number[] => a.map((x, i) => fn(x, b[i]));
const clip = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** x·W + b with W [in, out] row-major. */
function affine(x: Row, kernel: Row, bias: Row): number[] {
  return bias.map((b, o) => b + sum(x.map((value, i) => value * kernel[i * bias.length + o])));
}

function network(theta: ThetaOf, x: Row, layers: number): number[] {
  let at = [...x];
  for (let i = 0; i < layers; i++) {
    at = affine(at, theta(`layers.${i}.kernel`), theta(`layers.${i}.bias`));
    if (i + 1 < layers) at = at.map((z) => Math.max(0, z));
  }
  return at;
}

function lstmCell(kernel: Row, bias: Row, x: Row, state: { h: number[]; c: number[] }): { h: number[]; c: number[] } {
  const units = state.h.length;
  const z = affine([...x, ...state.h], kernel, bias);
  const gate = (k: number, u: number): number => z[k * units + u];
  const c = state.c.map((old, u) => sigmoid(gate(2, u) + 1) * old + sigmoid(gate(0, u)) * Math.tanh(gate(1, u)));
  return { c, h: c.map((value, u) => sigmoid(gate(3, u)) * Math.tanh(value)) };
}

const normal = (xs: Row): number[] => xs.map((x) => x / Math.sqrt(meanSquare(xs) + f(1e-5)));
const step = (p: number, [direction, magnitude]: Row, by: number, exponent: number): number =>
  p - direction * f(by) * Math.exp(magnitude * f(exponent));
const average = (d: number, rest = f(1 - d)): ((old: number, x: number) => number) => {
  const decay = f(d);
  return (old, x) => decay * old + rest * x;
};

/** Rows of all parameters from columns of one feature each. */
const rowsOf = (features: readonly Row[], size: number): number[][] =>
  Array.from({ length: size }, (_, i) => features.map((feature) => feature[i]));

/** Metz et al. 2019; Li et al. 2023, §5.2. */
export const perParameterMlpOracle: Oracle = (theta) => {
  const decays = [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];
  const memory = new Map<number, number[][]>();
  return ({ params, gradients, t }) =>
    params.map(({ values }, n) => {
      const g = gradients[n];
      const momenta = (memory.get(n) ?? decays.map(() => g.map(() => 0))).map((m, k) => zip(m, g, average(decays[k])));
      memory.set(n, momenta);
      const own = rowsOf([g, values, ...momenta].map(normal), g.length);
      const time = TIMES.map((scale) => Math.tanh(t / scale - 1));
      return values.map((p, i) => step(p, network(theta, [...own[i], ...time], 3), 0.001, 0.001));
    });
};

/** Numbers of a tensor by their place on one axis set to 0, and how to walk them. */
function along(shape: readonly number[], axis: number): { groupOf: (i: number) => number; extent: number } {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  return { extent: shape[axis], groupOf: (i) => i - (Math.floor(i / inner) % shape[axis]) * inner };
}

/** Each number replaced by its mean along an axis. */
function meansAlong(values: Row, shape: readonly number[], axis: number): number[] {
  const { groupOf, extent } = along(shape, axis);
  const sums = new Map<number, number>();
  values.forEach((x, i) => sums.set(groupOf(i), (sums.get(groupOf(i)) ?? 0) + x));
  return values.map((_, i) => sums.get(groupOf(i))! / extent);
}

/** Metz et al. 2022; statistics of Shazeer, Stern 2018. Row and column statistics are kept spread over the tensor. */
export const adafacMlpOracle: Oracle = (theta) => {
  const decays = [0.9, 0.99, 0.999];
  const learned = (d: number, offset: number): number => f(1 - d) * Math.exp(10 * offset);
  const momentumRests = decays.map((d, k) => learned(d, theta('momentumDecays')[k]));
  const rmsRest = Math.min(1, learned(0.999, theta('rmsDecays')[0]));
  const factorRests = decays.map((d, k) => Math.min(1, learned(d, theta('adafactorDecays')[k])));
  const blend = (old: Row, x: Row, rest: number): number[] => zip(old, x, (a, b) => (1 - rest) * a + rest * b);
  interface Memory {
    m: number[][];
    v: number[];
    r: number[][];
    c: number[][];
  }
  const memory = new Map<number, Memory>();
  return ({ params, gradients, t }) =>
    params.map(({ values, shape }, n) => {
      const g = gradients[n];
      const zeros = (): number[] => g.map(() => 0);
      const old = memory.get(n) ?? { m: decays.map(zeros), v: zeros(), r: decays.map(zeros), c: decays.map(zeros) };
      const m = old.m.map((x, k) => blend(x, g, momentumRests[k]));
      const g2 = g.map((x) => x * x);
      const v = blend(old.v, g2, rmsRest);
      const g2e = g2.map((x) => x + f(1e-30));
      // The largest axis is averaged for r, the second largest for c; the later of equal ones is the larger.
      const order = shape.map((_, i) => i).sort((a, b) => shape[b] - shape[a] || b - a);
      const factored = shape.length >= 2;
      const rowOf = factored ? meansAlong(g2e, shape, order[0]) : g2e;
      const columnOf = factored ? meansAlong(g2e, shape, order[1]) : g2e;
      const r = old.r.map((x, k) => blend(x, rowOf, factorRests[k]));
      const c = old.c.map((x, k) => blend(x, columnOf, factorRests[k]));
      memory.set(n, { m, v, r, c });
      const rsqrt = (x: number): number => 1 / Math.sqrt(x);
      const bounded = (x: number): number => rsqrt(Math.max(x, f(1e-9)));
      const scale = r.map((row, k) => {
        const rowMean = factored ? meansAlong(row, shape, order[1]) : row;
        return row.map((x, i) => bounded(x / (rowMean[i] + f(1e-9))) * bounded(c[k][i]));
      });
      const features: number[][] = [
        [...g],
        [...values],
        ...m,
        v,
        ...m.map((x) => zip(x, v, (a, b) => a * rsqrt(b + f(1e-6)))),
        v.map((x) => rsqrt(x + f(1e-6))),
        ...r.map((row, k) => g.map((x, i) => x * (factored ? scale[k][i] : bounded(row[i] + f(1e-9))))),
        ...r,
        ...c,
        ...r.map((row) => row.map((x) => rsqrt(x + f(1e-8)))),
        ...c.map((col) => col.map((x) => rsqrt(x + f(1e-8)))),
        ...m.map((x, k) => x.map((a, i) => a * (factored ? scale[k][i] : rsqrt(r[k][i] + f(1e-6))))),
      ];
      expect(features).toHaveLength(28);
      const own = rowsOf(features.map(normal), g.length);
      const time = TIMES.map((tau) => Math.tanh(t / tau - 1));
      return values.map((p, i) => step(p, network(theta, [...own[i], ...time], 3), 0.001, 0.001));
    });
};

/** Andrychowicz et al. 2016, §2.1 and appendix A. */
export const lstmCoordinatewiseOracle: Oracle = (theta) => {
  const p = 10;
  const memory = new Map<string, { h: number[]; c: number[] }[]>();
  const fresh = (): { h: number[]; c: number[] } => ({ h: Array<number>(20).fill(0), c: Array<number>(20).fill(0) });
  return ({ params, gradients }) =>
    params.map(({ values }, n) =>
      values.map((value, i) => {
        const g = gradients[n][i];
        const before = memory.get(`${n},${i}`) ?? [fresh(), fresh()];
        let x = Math.abs(g) >= Math.exp(-p) ? [Math.log(Math.abs(g)) / p, Math.sign(g)] : [-1, f(Math.exp(p)) * g];
        const after = before.map((state, layer) => {
          const next = lstmCell(theta(`cells.${layer}.kernel`), theta(`cells.${layer}.bias`), x, state);
          x = next.h;
          return next;
        });
        memory.set(`${n},${i}`, after);
        return value + f(0.1) * affine(x, theta('output.kernel'), theta('output.bias'))[0];
      }),
    );
};

const logSize = (x: number): number => clip(Math.log(Math.abs(x) + f(1e-8)), -5, 5);

/** In the form of learned_optimization's NNAdam. */
export const nnAdamOracle: Oracle = (theta) => {
  interface Memory {
    controls: number[];
    m: number[];
    v: number[];
    lstm: { h: number[]; c: number[] };
  }
  const memory = new Map<number, Memory>();
  const bounds = [
    [f(0.1 * Math.log(1e-8)), f(0.1 * Math.log(1e3))],
    [-1, 0],
    [-1, 0],
    [f(0.1 * Math.log(1e-11)), f(0.1 * Math.log(1e4))],
  ];
  const bounded = (controls: Row): number[] => controls.map((x, i) => clip(x, bounds[i][0], bounds[i][1]));
  return ({ params, gradients }) =>
    params.map(({ values, shape }, n) => {
      const g = gradients[n].map((x) => clip(x, -1000, 1000));
      const old = memory.get(n) ?? {
        controls: [...theta('controls')],
        m: g.map(() => 0),
        v: g.map(() => 0),
        lstm: { h: [...theta('start.hidden')], c: [...theta('start.cell')] },
      };
      const [rate, rest1, rest2, epsilon] = bounded(old.controls).map((x) => Math.exp(10 * x));
      const m = zip(old.m, g, (a, b) => (1 - rest1) * a + rest1 * b);
      const v = zip(old.v, g, (a, b) => (1 - rest2) * a + rest2 * b * b);
      const half = (x: number): number => 0.5 * logSize(x);
      const seen = [m, v, values, g].flatMap((xs) => [half(mean(xs)), Math.sign(mean(xs)), half(variance(xs))]);
      const lstm = lstmCell(
        theta('lstm.kernel'),
        theta('lstm.bias'),
        [
          ...seen,
          half(mean(g.map(Math.abs))),
          shape.length === 0 ? 1 : -1,
          shape.length === 1 ? 1 : -1,
          ...old.controls.map((x) => f(0.2) * clip(x, -5, 5)),
        ],
        old.lstm,
      );
      const delta = affine(lstm.h, theta('output.kernel'), theta('output.bias'));
      memory.set(n, { m, v, lstm, controls: bounded(zip(old.controls, delta, (x, d) => x + f(0.01) * d)) });
      return values.map((p, i) => p - ((rate * (1 + epsilon)) / (epsilon + Math.sqrt(v[i] + f(1e-10)))) * m[i]);
    });
};

/** Metz et al. 2020, in the form of learned_optimization's RNNMLPLOpt. */
export const rnnMlpOracle: Oracle = (theta) => {
  const decays = [0.5, 0.9, 0.99, 0.999, 0.9999];
  interface Memory {
    m: number[][];
    v: number[][];
    lstm: { h: number[]; c: number[] };
    network: number[];
  }
  let memory: Memory[] | undefined;
  let all = [...theta('start.all')];
  let bound = f(1 - 0.99);
  let lossMean = 0;
  let lossVariance = 0;
  return ({ params, gradients, t, loss }) => {
    const n = t + 1;
    lossMean = average(0.9)(lossMean, loss);
    lossVariance = average(0.9)(lossVariance, (lossMean - loss) ** 2);
    const correction = 1 - f(0.9) ** n + f(1e-8);
    const lossFeature = (x: number): number =>
      clip((x - lossMean / correction) / Math.sqrt(lossVariance / correction + f(1e-8)), -5, 5);

    const most = (bound / (1 - f(0.99) ** n)) * 10;
    const gs = gradients.map((g) => g.map((x) => clip(x, -most, most)));
    bound = average(0.99)(bound, Math.sqrt(mean(gs.map(meanSquare)) + f(1e-8)));
    const before =
      memory ??
      gs.map((g) => ({
        m: decays.map(() => g.map(() => 0)),
        v: decays.map(() => g.map(() => 0)),
        lstm: { h: [...theta('start.hidden')], c: [...theta('start.cell')] },
        network: [...theta('start.network')],
      }));

    const now = params.map(({ values, shape }, i) => {
      const m = before[i].m.map((x, k) => zip(x, gs[i], average(decays[k])));
      const v = before[i].v.map((x, k) =>
        zip(
          x,
          gs[i].map((g) => g * g),
          average(decays[k]),
        ),
      );
      const length = (xs: Row): number => Math.sqrt(Math.max(sum(xs.map((x) => x * x)), f(1e-30)));
      const moments = [m.flat(), v.flat(), values].flatMap((xs) => [
        logSize(mean(xs)),
        Math.sign(mean(xs)),
        logSize(variance(xs)),
      ]);
      const extents = [...shape, 1, 1, 1, 1].slice(0, 4).map((extent) => f(Math.log(extent) - 1));
      const seen = [
        ...moments,
        logSize(length(values)),
        logSize(length(gs[i])),
        shape.length === 0 ? 1 : -1,
        ...extents,
        lossFeature(loss),
        lossFeature(0),
      ];
      expect(seen).toHaveLength(18);
      const lstm = lstmCell(
        theta('lstm.kernel'),
        theta('lstm.bias'),
        [...seen, ...all, ...before[i].network],
        before[i].lstm,
      );
      const root = v.map((x) => x.map((y) => 1 / Math.sqrt(y + f(1e-6))));
      const features = [
        gs[i],
        values,
        values.map((x) => Math.log(Math.abs(x) + f(1e-8))),
        ...m,
        ...v,
        ...m.map((x, k) => zip(x, root[k], (a, b) => a * b)),
        ...root,
      ];
      const own = rowsOf(features.map(normal), values.length);
      const same = [
        ...TIMES.map((tau) => Math.sin(t / f(tau * Math.PI))),
        f(Math.log(params.length) - 1),
        Math.log(length(values) + f(1e-8)),
        f(Math.log(values.length)),
        ...affine(lstm.h, theta('down.kernel'), theta('down.bias')),
      ];
      const outs = own.map((row) => network(theta, [...row, ...same], 3));
      const next = values.map((p, j) => step(p, outs[j], 0.001, 0.001));
      const handedUp = Array.from({ length: 16 }, (_, k) => mean(outs.map((out) => out[2 + k])));
      return { next, memory: { m, v, lstm, network: handedUp } };
    });
    memory = now.map((one) => one.memory);
    const ups = memory.map(({ lstm }) => affine(lstm.h, theta('up.kernel'), theta('up.bias')));
    all = all.map((_, k) => mean(ups.map((up) => up[k])));
    return now.map(({ next }) => next);
  };
};

/** Heavy-ball momentum; μ = 0 is SGD. */
export const sgdOracle =
  (momentum: boolean): Oracle =>
  (theta) => {
    const rate = Math.exp(theta('learningRate')[0]);
    const mu = momentum ? sigmoid(theta('momentum')[0]) : 0;
    const memory = new Map<number, number[]>();
    return ({ params, gradients }) =>
      params.map(({ values }, n) => {
        const v = zip(memory.get(n) ?? values.map(() => 0), gradients[n], (a, g) => mu * a + g);
        memory.set(n, v);
        return zip(values, v, (p, x) => p - rate * x);
      });
  };

/** Kingma, Ba 2015, Alg. 1. */
export const adamOracle: Oracle = (theta) => {
  const [rate, epsilon] = ['learningRate', 'epsilon'].map((path) => Math.exp(theta(path)[0]));
  const [b1, b2] = ['beta1', 'beta2'].map((path) => sigmoid(theta(path)[0]));
  const memory = new Map<number, [number[], number[]]>();
  return ({ params, gradients, t }) =>
    params.map(({ values }, n) => {
      const g = gradients[n];
      const [m0, v0] = memory.get(n) ?? [values.map(() => 0), values.map(() => 0)];
      const m = zip(m0, g, (a, x) => b1 * a + (1 - b1) * x);
      const v = zip(v0, g, (a, x) => b2 * a + (1 - b2) * x * x);
      memory.set(n, [m, v]);
      return values.map((p, i) => {
        const [mHat, vHat] = [m[i] / (1 - b1 ** (t + 1)), v[i] / (1 - b2 ** (t + 1))];
        return p - (rate * mHat) / (Math.sqrt(vHat) + epsilon);
      });
    });
};
