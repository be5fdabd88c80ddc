import * as tf from '@tensorflow/tfjs';
import type { DataSplit, Dataset, Inner, KeyedRandom } from '../../src/contracts';
import { compileInterpreter, interpret, stepContext, type Value } from '../../src/graph/interpreter';
import type { Graph, ValueType } from '../../src/graph/ir';
import { traceFunction, traceInnerFunction, type TraceFunctionOptions } from '../../src/graph/trace';
import { EagerRandom, episodeKey, foldIn } from '../../src/random';

const [SEED, WORKER, EPISODE] = [11, 3, 5];
const float = (...shape: number[]): ValueType => ({ shape, dtype: 'float32' });

function run(graph: Graph, feeds: Value[] = [], t = 0): number[][] {
  return interpret(graph, feeds, stepContext(SEED, WORKER, EPISODE, t)).map((value) => [...value]);
}

type InnerFn = (inner: Inner, ...tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
const trace = (fn: InnerFn, types: ValueType[] = [], options?: TraceFunctionOptions): Graph =>
  traceInnerFunction('f', fn, types, options);

beforeAll(() => tf.setBackend('cpu'));

describe('inner.grad', () => {
  test('of a tree, with value and aux', () => {
    const graph = trace(
      (inner, a, b) => {
        const f = inner.valueAndGrad((p: { a: tf.Tensor; list: readonly tf.Tensor[] }) => {
          const product = p.a.mul(p.list[0]);
          return { value: product.sum<tf.Tensor>(), aux: product };
        });
        const { value, gradient, aux } = f({ a, list: [b] });
        return [value, gradient.a, gradient.list[0], aux];
      },
      [float(2), float(2)],
    );
    expect(run(graph, [Float64Array.of(2, 3), Float64Array.of(5, 7)])).toEqual([[31], [5, 7], [2, 3], [10, 21]]);
  });

  test('does not see what the function takes from outside', () => {
    // d/dp of p·q is q, although q is the same tensor as p outside.
    const graph = trace((inner, q) => inner.grad((p: tf.Tensor) => p.mul(q))(q), [float()]);
    expect(run(graph, [Float64Array.of(3)])).toEqual([[3]]);
  });

  test('is zero where the function does not depend on a parameter', () => {
    const graph = trace(
      (inner, x) => {
        const gradient = inner.grad((p: readonly tf.Tensor[]) => p[0].square())([x, x]);
        return [...gradient];
      },
      [float()],
    );
    expect(run(graph, [Float64Array.of(3)])).toEqual([[6], [0]]);
  });

  test('nested: the second derivative of x·sigmoid(x)', () => {
    const graph = trace(
      (inner, x) => {
        const f = (y: tf.Tensor): tf.Tensor => y.mul(tf.sigmoid(y));
        return inner.grad((y: tf.Tensor) => inner.grad(f)(y))(x);
      },
      [float()],
    );
    for (const x of [-3, -0.7, 0, 0.5, 1, 4]) {
      const s = 1 / (1 + Math.exp(-x));
      const expected = s * (1 - s) * (2 + x * (1 - 2 * s));
      expect(Math.abs(run(graph, [Float64Array.of(x)])[0][0] - expected)).toBeLessThan(1e-15);
    }
  });

  test('nested in a product with the outer variable: d/dx of x·f′(x), f = x³', () => {
    const graph = trace(
      (inner, x) => inner.grad((y: tf.Tensor) => y.mul(inner.grad((z: tf.Tensor) => z.mul(z).mul(z))(y)))(x),
      [float()],
    );
    expect(run(graph, [Float64Array.of(2)])).toEqual([[36]]);
  });

  test('of a function that uses tf.grad: d/dx of (d/dx x³)², with the graph’s derivative of the tape’s', () => {
    const graph = trace(
      (inner, x) =>
        inner.grad((y: tf.Tensor) =>
          tf
            .grad((z) => z.mul(z).mul(z))(y)
            .square(),
        )(x),
      [float()],
    );
    // (3x²)² = 9x⁴
    expect(run(graph, [Float64Array.of(2)])).toEqual([[288]]);
  });

  test('stopGradient', () => {
    const graph = trace((inner, x) => inner.grad((y: tf.Tensor) => y.mul(inner.stopGradient({ y }).y))(x), [float()]);
    expect(run(graph, [Float64Array.of(3)])).toEqual([[3]]);
  });

  test('of losses with a gradient of their own in tfjs', () => {
    const graph = trace(
      (inner, x) => inner.grad((y: tf.Tensor) => tf.losses.softmaxCrossEntropy(tf.tensor2d([[0, 1, 0]]), y))(x),
      [float(1, 3)],
    );
    const logits = [40, -2, 1];
    const sum = logits.reduce((total, l) => total + Math.exp(l - 40), 0);
    const [gradient] = run(graph, [Float64Array.from(logits)]);
    logits.forEach((l, i) => {
      expect(Math.abs(gradient[i] - (Math.exp(l - 40) / sum - (i === 1 ? 1 : 0)))).toBeLessThan(1e-15);
    });
  });
});

describe('derivatives of composite rules, at kinks and far out', () => {
  const e = Math.exp;
  const sigmoid = (x: number): number => 1 / (1 + e(-x));
  const rows: readonly {
    name: string;
    fn: (x: tf.Tensor) => tf.Tensor;
    first: (x: number) => number;
    second?: (x: number) => number;
    at: number[];
  }[] = [
    { name: 'relu', fn: tf.relu, first: (x) => (x > 0 ? 1 : 0), second: () => 0, at: [-2, 0, 3] },
    { name: 'relu6', fn: tf.relu6, first: (x) => (x > 0 && x <= 6 ? 1 : 0), at: [-2, 0, 3, 6, 7] },
    { name: 'leakyRelu', fn: (x) => tf.leakyRelu(x, 0.25), first: (x) => (x > 0 ? 1 : 0.25), at: [-2, 0, 3] },
    {
      name: 'elu',
      fn: tf.elu,
      first: (x) => (x >= 0 ? 1 : e(x)),
      second: (x) => (x >= 0 ? 0 : e(x)),
      at: [-40, -1, 0, 1, 1000],
    },
    {
      name: 'softplus',
      fn: tf.softplus,
      first: sigmoid,
      second: (x) => sigmoid(x) * sigmoid(-x),
      at: [-1000, -30, -1, 0, 1, 30, 1000],
    },
    {
      name: 'asinh',
      fn: tf.asinh,
      first: (x) => 1 / Math.sqrt(1 + x * x),
      second: (x) => -x / (1 + x * x) ** 1.5,
      at: [-50, -1, 0, 1, 50],
    },
    { name: 'sinh', fn: tf.sinh, first: Math.cosh, second: Math.sinh, at: [-2, 0, 3] },
    { name: 'asin', fn: tf.asin, first: (x) => 1 / Math.sqrt(1 - x * x), at: [-0.9, 0, 0.9] },
    { name: 'acos', fn: tf.acos, first: (x) => -1 / Math.sqrt(1 - x * x), at: [-0.9, 0, 0.9] },
    {
      name: 'atanh',
      fn: tf.atanh,
      first: (x) => 1 / (1 - x * x),
      second: (x) => (2 * x) / (1 - x * x) ** 2,
      at: [-0.9, 0, 0.9],
    },
    { name: 'acosh', fn: tf.acosh, first: (x) => 1 / Math.sqrt(x * x - 1), at: [1.5, 3] },
    {
      name: 'clipByValue',
      fn: (x) => tf.clipByValue(x, -1, 1),
      first: (x) => (Math.abs(x) <= 1 ? 1 : 0),
      at: [-2, -1, 0, 1, 2],
    },
    {
      name: 'logSumExp with 0',
      fn: (x) => tf.logSumExp(tf.stack([x, tf.scalar(0)])),
      first: sigmoid,
      second: (x) => sigmoid(x) * sigmoid(-x),
      at: [-1000, -1, 0, 1, 1000],
    },
  ];
  test.each(rows)('$name', ({ fn, first, second, at }) => {
    const graph = trace(
      (inner, x) => {
        const gradient = inner.grad((y: tf.Tensor) => fn(y));
        return [gradient(x), inner.grad((y: tf.Tensor) => gradient(y))(x)];
      },
      [float()],
    );
    for (const x of at) {
      const [[d1], [d2]] = run(graph, [Float64Array.of(x)]);
      // A few float64 roundings; second derivatives lose a little more by cancellation.
      expect(Math.abs(d1 - first(x)) / Math.max(1, Math.abs(first(x)))).toBeLessThan(1e-14);
      if (second !== undefined) expect(Math.abs(d2 - second(x)) / Math.max(1, Math.abs(second(x)))).toBeLessThan(1e-13);
    }
  });
});

describe('inner.random', () => {
  const userKey = (t: number) => foldIn(episodeKey(SEED, 'user', WORKER, EPISODE), t);

  function draws(random: KeyedRandom): tf.Tensor[] {
    const [left, right] = random.split(2);
    return [
      random.normal([3]),
      random.normal([3], { mean: 2, std: 0.5 }),
      random.uniform([2, 2]),
      random.foldIn(7).uniform([3], { low: -1, high: 3 }),
      left.integer([4], -3, 9),
      right.integer([4], -3, 9),
      right.foldIn(2).normal([]),
      random.normal([3]),
    ];
  }

  test('draws the numbers that EagerRandom draws from the same key', () => {
    const graph = trace(({ random }) => draws(random));
    for (const t of [0, 4]) {
      const expected = tf.tidy(() => draws(new EagerRandom(userKey(t))).map((tensor) => [...tensor.dataSync()]));
      run(graph, [], t).forEach((values, i) => {
        values.forEach((value, j) => {
          // EagerRandom rounds to float32: 2⁻²⁴ relative, once for the draw and once for scale and offset.
          expect(Math.abs(value - expected[i][j])).toBeLessThanOrEqual(2 ** -23 * Math.max(1, Math.abs(value)));
        });
      });
    }
    expect(run(graph, [], 0)).not.toEqual(run(graph, [], 4));
  });

  test('a uniform draw stays below its upper end when float32 rounds it up', () => {
    // Next to 2²⁴ float32 has only even numbers: half of the sums would be rounded to the end, which is excluded.
    const graph = trace(({ random }) => [random.uniform([64], { low: 2 ** 24, high: 2 ** 24 + 2 })]);
    const [values] = compileInterpreter(graph, { floats: 'float32' }).run([], stepContext(SEED, WORKER, EPISODE, 0));
    expect(new Set(values)).toEqual(new Set([2 ** 24]));
  });

  test('without t in initState', () => {
    const graph = trace(({ random }) => random.integer([8], 0, 1000), [], {
      draws: { stream: 'init', perStep: false },
    });
    const expected = new EagerRandom(episodeKey(SEED, 'init', WORKER, EPISODE)).integer([8], 0, 1000);
    expect(run(graph, [], 3)).toEqual([[...expected.dataSync()]]);
    expected.dispose();
  });

  test('dropout is keyed by step, and each use has a mask of its own', () => {
    const graph = trace((_, x) => [tf.dropout(x, 0.25), tf.dropout(x, 0.25)], [float(4000)]);
    const ones = new Float64Array(4000).fill(1);
    const [first, second] = run(graph, [ones], 0);
    expect(run(graph, [ones], 0)).toEqual([first, second]);
    expect(run(graph, [ones], 1)[0]).not.toEqual(first);
    expect(second).not.toEqual(first);
    expect(new Set(first)).toEqual(new Set([0, 1 / 0.75]));
    // 4000 draws of probability 3/4: standard deviation 27; five of them.
    expect(Math.abs(first.filter((value) => value > 0).length - 3000)).toBeLessThan(137);
  });

  test('dropout and the function’s own draws share no numbers', () => {
    const graph = trace(({ random }, x) => [tf.dropout(x, 0.5), random.uniform([64])], [float(64)]);
    const [mask, uniforms] = run(graph, [new Float64Array(64).fill(1)]);
    expect(mask.map((value) => value > 0)).not.toEqual(uniforms.map((u) => u >= 0.5));
  });
});

describe('inner.batch', () => {
  const rows = 50;
  const column = (name: string, offset: number): DataSplit => ({
    rows,
    xs: {
      table: {
        name: `${name}-x`,
        dtype: 'uint8',
        rows,
        rowShape: [2],
        values: Uint8Array.from({ length: 2 * rows }, (_, i) => i),
      },
      decode: { scale: 0.5, offset: -1 },
    },
    ys: {
      table: {
        name: `${name}-y`,
        dtype: 'int32',
        rows,
        rowShape: [],
        values: Int32Array.from({ length: rows }, (_, i) => offset + i),
      },
    },
  });
  const dataset: Dataset = {
    name: 'rows',
    inputShape: [2],
    splits: { train: column('train', 0), validation: column('validation', 1000), test: column('test', 2000) },
    examples: () => {
      throw new Error('unused');
    },
  };
  const data = { dataset, batchSize: 16 };

  test('gathers one row of xs and ys alike, decoded', () => {
    const [xs, ys] = run(
      trace(
        (inner) => {
          const b = inner.batch('train');
          return [b.xs, b.ys];
        },
        [],
        data,
      ),
    );
    expect(xs).toEqual(ys.flatMap((row) => [0.5 * (2 * row) - 1, 0.5 * (2 * row + 1) - 1]));
    expect(new Set(ys).size).toBeGreaterThan(8);
  });

  test('draws its own rows each time, at each step, from each split; the rows of an episode batch stay', () => {
    const graph = trace(
      (inner) => [
        inner.batch('train').ys,
        inner.batch('train').ys,
        inner.batch('validation').ys,
        inner.episodeBatch('train').ys,
        inner.episodeBatch('train').ys,
      ],
      [],
      data,
    );
    const at0 = run(graph, [], 0);
    const at1 = run(graph, [], 1);
    const index = (values: number[]): string => values.map((value) => value % 1000).join();
    const drawn = [...at0, ...at1.slice(0, 3)].map(index);
    expect(new Set(drawn).size).toBe(8);
    expect(at1.slice(3)).toEqual(at0.slice(3));
  });

  test('a batch of another split leaves the training rows as they were', () => {
    const alone = trace((inner) => inner.batch('train').ys, [], data);
    const beside = trace(
      (inner) => {
        inner.batch('validation');
        return inner.batch('train').ys;
      },
      [],
      data,
    );
    expect(run(beside)).toEqual(run(alone));
  });

  test('wholeSplit has all rows in order', () => {
    const [xs, ys] = run(
      trace(
        (inner) => {
          const b = inner.wholeSplit('test');
          return [b.xs, b.ys];
        },
        [],
        data,
      ),
    );
    expect(ys).toEqual(Array.from({ length: rows }, (_, i) => 2000 + i));
    expect(xs).toEqual(Array.from({ length: 2 * rows }, (_, i) => 0.5 * i - 1));
  });

  test('bytes without a decoding are int32', () => {
    const {
      xs: { table },
    } = dataset.splits.train;
    const raw = { ...dataset, splits: { ...dataset.splits, train: { rows, xs: { table }, ys: { table } } } };
    const graph = trace((inner) => inner.batch('train').xs, [], { dataset: raw, batchSize: 1 });
    expect(graph.nodes[graph.outputs[0]].type).toEqual({ dtype: 'int32', shape: [1, 2] });
  });

  test('is refused without a data set, a batch size or the split', () => {
    expect(() => trace((inner) => inner.batch('train').xs)).toThrow(/no data set/);
    expect(() => trace((inner) => inner.batch('train').xs, [], { dataset })).toThrow(
      /positive integer as the problem's batchSize/,
    );
    expect(() => trace((inner) => inner.batch('training' as 'train').xs, [], data)).toThrow(
      /expected one of train, validation, test, got "training"/,
    );
  });
});

describe('tfjs gradients of first order are traced', () => {
  type Fn = (...x: tf.Tensor[]) => tf.Tensor;
  const irregular = (n: number, phase: number): number[] =>
    Array.from({ length: n }, (_, i) => Math.fround(1.5 * Math.sin(5.1 * i + phase)));
  const rows: readonly { name: string; fn: Fn; shapes: number[][] }[] = [
    { name: 'a dense layer', fn: (x, w, b) => tf.relu(x.matMul(w).add(b)).sum(), shapes: [[3, 4], [4, 5], [5]] },
    {
      name: 'fused matMul',
      fn: (a, b, bias) => tf.fused.matMul({ a, b, bias, activation: 'sigmoid' }).square().sum(),
      shapes: [[3, 4], [4, 5], [5]],
    },
    {
      name: 'softmaxCrossEntropy',
      fn: (x) => tf.losses.softmaxCrossEntropy(tf.oneHot([1, 0, 2], 4), x),
      shapes: [[3, 4]],
    },
    {
      name: 'elu, selu, softplus, leakyRelu, relu6',
      fn: (x) => tf.addN([tf.elu(x), tf.selu(x), tf.softplus(x), tf.leakyRelu(x), tf.relu6(x)]).sum(),
      shapes: [[6]],
    },
    { name: 'prelu', fn: (x, a) => tf.prelu(x, a).sum(), shapes: [[2, 3], [3]] },
    {
      name: 'softmax and log',
      fn: (x) =>
        tf
          .log(tf.softmax(x))
          .mul([[1, 2, 3]])
          .sum(),
      shapes: [[2, 3]],
    },
    {
      name: 'mean, max, min, prod',
      fn: (x) => x.mean(0).add(x.max(0)).add(x.min(0)).add(x.prod(0)).sum(),
      shapes: [[3, 2]],
    },
    {
      name: 'cumsum, tile, pad, slice',
      fn: (x) =>
        x
          .cumsum(1)
          .tile([2, 1])
          .pad([
            [1, 0],
            [0, 1],
          ])
          .slice([1, 1], [3, 2])
          .square()
          .sum(),
      shapes: [[2, 3]],
    },
    {
      name: 'gather, concat, stack, reverse',
      fn: (x) =>
        tf
          .stack([tf.concat([tf.gather(x, [2, 0, 2]), x.reverse()]), tf.concat([x, x])])
          .square()
          .sum(),
      shapes: [[3, 2]],
    },
    {
      name: 'where, maximum, clip, abs',
      fn: (x, y) =>
        tf
          .where(tf.tensor1d([true, false, true, false, true], 'bool'), x.mul(y), tf.maximum(x, y))
          .add(x.clipByValue(-1, 1))
          .add(y.abs())
          .sum(),
      shapes: [[5], [5]],
    },
    {
      name: 'pow, div, sqrt, rsqrt',
      fn: (x, y) =>
        x
          .square()
          .add(1)
          .pow(y)
          .div(y.square().add(2).sqrt())
          .mul(tf.rsqrt(x.square().add(1)))
          .sum(),
      shapes: [[4], [4]],
    },
    {
      name: 'unstack and split',
      fn: (x) =>
        tf
          .unstack(x, 1)[1]
          .mul(tf.split(x, 3, 1)[2].flatten())
          .sum(),
      shapes: [[2, 3]],
    },
    {
      name: 'batchNorm',
      fn: (x, m, s, o, g) =>
        tf
          .batchNorm(
            x as tf.Tensor2D,
            m as tf.Tensor1D,
            s.square().add<tf.Tensor1D>(1),
            o as tf.Tensor1D,
            g as tf.Tensor1D,
          )
          .square()
          .sum(),
      shapes: [[3, 2], [2], [2], [2], [2]],
    },
  ];
  test.each(rows)('$name', ({ fn, shapes }) => {
    const values = shapes.map((shape, i) =>
      irregular(
        shape.reduce((a, b) => a * b, 1),
        i + 0.2,
      ),
    );
    const gradient = (...x: tf.Tensor[]): tf.Tensor[] => tf.grads(fn)(x);
    const graph = traceFunction(
      'g',
      gradient,
      shapes.map((shape) => float(...shape)),
    );
    const traced = run(
      graph,
      values.map((list) => Float64Array.from(list)),
    );
    const eager = tf.tidy(() =>
      gradient(...values.map((list, i) => tf.tensor(list, shapes[i]))).map((g) => [...g.dataSync()]),
    );
    traced.forEach((list, i) => {
      // tfjs rounds each kernel's result to float32; some tens of them lie on the way, with factors up to about 10.
      list.forEach((value, j) =>
        expect(Math.abs(value - eager[i][j])).toBeLessThan(1e-5 * Math.max(1, Math.abs(value))),
      );
    });
  });

  test('tf.variableGrads and tf.valueAndGrads', () => {
    const w = tf.variable(tf.tensor1d([1, -2]), true);
    const graph = trace(
      (_, x) => {
        const { value, grads } = tf.variableGrads(() => w.mul(x).square().sum<tf.Scalar>(), [w]);
        const {
          value: same,
          grads: [dx],
        } = tf.valueAndGrads((y: tf.Tensor) => w.mul(y).square().sum())([x]);
        return [value, grads[w.name], same, dx];
      },
      [float(2)],
    );
    expect(run(graph, [Float64Array.of(3, 5)])).toEqual([[109], [18, -100], [109], [6, 40]]);
    w.dispose();
  });
});
