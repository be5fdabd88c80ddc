/** Optimizers of ours in TensorFlow.js' own training, against recurrences in float64 and against the engine. */
import * as tf from '@tensorflow/tfjs';
import {
  ShapeError,
  treeFlatten,
  type LearnedOptimizer,
  type TensorTree,
  type UnrolledProblem,
} from '../../src/contracts';
import { meta } from '../../src/contracts';
import { TrainableOptimizer, type OptimizerWeights } from '../../src/deploy';
import { createEngine } from '../../src/engines';
import { initialTheta, layoutOfOptimizer } from '../../src/outer';
import {
  adafacMlp,
  adaBelief,
  adam,
  clipGradients,
  graft,
  lstmCoordinatewise,
  perParameterMlp,
  sgd,
} from '../../learned-optimizers';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const f = Math.fround;

/** Weights as a file would hold them; the name is not looked up here. */
function weightsOf(optimizer: LearnedOptimizer, theta: readonly number[]): OptimizerWeights {
  return {
    optimizer: { name: optimizer.name },
    featureVersion: 1,
    layout: layoutOfOptimizer(optimizer),
    theta: Float32Array.from(theta),
    record: {},
  };
}
const learnedAdam = adam({ learningRate: meta.log(0.5) });
const rate = 0.05;
const trainable = (): TrainableOptimizer =>
  new TrainableOptimizer(weightsOf(learnedAdam, [Math.log(rate)]), learnedAdam);

/** Adam (Kingma, Ba 2015, Alg. 1) on ½h(x − c)² in float64, with β of float32 as constants are. */
function adamPath(x0: number, h: number, c: number, steps: number): number[] {
  const [b1, b2, alpha] = [f(0.9), f(0.999), Math.exp(f(Math.log(rate)))];
  let [x, m, v] = [x0, 0, 0];
  return Array.from({ length: steps }, (_, t) => {
    const g = h * (x - c);
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    x -= (alpha * (m / (1 - b1 ** (t + 1)))) / (Math.sqrt(v / (1 - b2 ** (t + 1))) + f(1e-8));
    return x;
  });
}

interface Bowl {
  readonly scalar: tf.Variable;
  readonly matrix: tf.Variable;
  readonly loss: () => tf.Scalar;
}

/** ½·3(s − 1)² + ½·Σ(m + 2)², of a scalar and a matrix. */
function bowl(): Bowl {
  const scalar = tf.variable(tf.scalar(2));
  const matrix = tf.variable(tf.tensor2d([0, 1, -4, 0.5, 3, -2.5], [2, 3]));
  return {
    scalar,
    matrix,
    loss: () =>
      tf.tidy(() => {
        const a = tf.mul(tf.square(tf.sub(scalar, 1)), 1.5);
        return tf.add(a, tf.mul(tf.sum(tf.square(tf.add(matrix, 2))), 0.5));
      }),
  };
}
const STEPS = 30;
const expectClose = (got: ArrayLike<number>, expected: readonly number[]): void => {
  expect(got).toHaveLength(expected.length);
  expected.forEach((value, i) => expect(Math.abs(got[i] - value)).toBeLessThan(2e-6 * (1 + Math.abs(value))));
};

test('minimize follows the recurrence; no tensor is left behind, within tidy and without', () => {
  const { scalar, matrix, loss } = bowl();
  const start = matrix.dataSync();
  const before = tf.memory().numTensors;
  const optimizer = trainable();
  const step = (): void => void optimizer.minimize(loss, false, [scalar, matrix]);
  step();
  const during = tf.memory().numTensors;
  for (let t = 1; t < STEPS; t++)
    if (t % 2 === 0) step();
    else tf.tidy(step);
  expect(tf.memory().numTensors).toBe(during);
  expectClose(scalar.dataSync(), [adamPath(2, 3, 1, STEPS)[STEPS - 1]]);
  expectClose(
    matrix.dataSync(),
    Array.from(start, (x) => adamPath(x, 1, -2, STEPS)[STEPS - 1]),
  );
  const cost = optimizer.minimize(loss, true, [scalar, matrix])!;
  expect(cost.dataSync()[0]).toBeGreaterThan(0);
  cost.dispose();
  optimizer.dispose();
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose([scalar, matrix]);
});

test('applyGradients takes a map or a list; a missing gradient leaves its variable alone', () => {
  const { scalar, matrix, loss } = bowl();
  const kept = Array.from(matrix.dataSync());
  const optimizer = trainable();
  for (let t = 0; t < 3; t++) {
    const { grads } = optimizer.computeGradients(loss, [scalar, matrix]);
    if (t === 1) optimizer.applyGradients(grads);
    else {
      const given = [scalar, matrix].map(({ name }) => ({ name, tensor: grads[name] }));
      if (t === 0) given[1] = { name: matrix.name, tensor: null as unknown as tf.Tensor };
      optimizer.applyGradients(given);
    }
    if (t === 0) expect(Array.from(matrix.dataSync())).toEqual(kept);
  }
  expectClose(scalar.dataSync(), [adamPath(2, 3, 1, 3)[2]]);
  expect(Array.from(matrix.dataSync())).not.toEqual(kept);
  optimizer.dispose();
});

test('state that is saved and restored goes on with the same bits, in a fresh optimizer too', async () => {
  const { scalar, matrix, loss } = bowl();
  const variables = [scalar, matrix];
  const optimizer = trainable();
  const run = (by: TrainableOptimizer, steps: number): void => {
    for (let t = 0; t < steps; t++) by.minimize(loss, false, variables);
  };
  run(optimizer, 5);
  const saved = (await optimizer.getWeights()).map(({ name, tensor }) => ({ name, tensor: tensor.clone() }));
  const middle = variables.map((variable) => variable.clone());
  run(optimizer, 5);
  const end = variables.map((variable) => Array.from(variable.dataSync()));
  const restore = async (by: TrainableOptimizer): Promise<void> => {
    variables.forEach((variable, i) => variable.assign(middle[i]));
    await by.setWeights(saved);
    expect(await by.getWeights()).toHaveLength(saved.length);
    run(by, 5);
    expect(variables.map((variable) => Array.from(variable.dataSync()))).toEqual(end);
  };
  await restore(optimizer);
  const config = optimizer.getConfig();
  // What is saved with a model is JSON.
  expect(JSON.parse(JSON.stringify(config))).toEqual(config);
  await restore(trainable());
  // Without its state it would be somewhere else.
  variables.forEach((variable, i) => variable.assign(middle[i]));
  run(trainable(), 5);
  expect(variables.map((variable) => Array.from(variable.dataSync()))).not.toEqual(end);
});

/** θ₀ of seed 0, and the numbers that are learned in hand-designed ones as they were wrapped. */
function initialWeights(optimizer: LearnedOptimizer): OptimizerWeights {
  const theta = initialTheta({ initTheta: (random) => optimizer.initTheta(random) }, 0);
  return { ...weightsOf(optimizer, []), theta: Float32Array.from(theta) };
}

test.each<[LearnedOptimizer, number]>([
  // Updates that magnify no rounding, then those that divide by what is nearly zero at first. The last number: how far losses may be apart.
  [sgd({ learningRate: meta.log(0.2), momentum: meta.logit(0.8) }), 1e-6],
  [perParameterMlp({ stepMultiplier: 0.05 }), 1e-5],
  [adafacMlp({ stepMultiplier: 0.05 }), 1e-5],
  [lstmCoordinatewise(), 1e-5],
])('a model trained by %j has the losses of the same optimizer inside the engine', async (optimizer, tolerance) => {
  const steps = 12;
  const inputs = Array.from({ length: 5 * 3 }, (_, i) => f(Math.sin(1 + 2.3 * i)));
  const targets = Array.from({ length: 5 * 2 }, (_, i) => f(Math.cos(0.7 * i)));
  const model = tf.sequential({
    layers: [
      tf.layers.dense({
        units: 4,
        activation: 'tanh',
        inputShape: [3],
        kernelInitializer: tf.initializers.glorotNormal({ seed: 3 }),
      }),
      tf.layers.dense({ units: 2, kernelInitializer: tf.initializers.glorotNormal({ seed: 4 }) }),
    ],
  });
  const start = model.getWeights().map((tensor) => ({ shape: tensor.shape, values: Array.from(tensor.dataSync()) }));
  const weights = initialWeights(optimizer);

  type Params = readonly [tf.Tensor2D, tf.Tensor1D, tf.Tensor2D, tf.Tensor1D];
  const lossOf = ([k1, b1, k2, b2]: Params): tf.Tensor => {
    const hidden = tf.tanh(tf.add(tf.matMul(tf.tensor2d(inputs, [5, 3]), k1), b1));
    const out = tf.add(tf.matMul(hidden as tf.Tensor2D, k2), b2);
    return tf.mean(tf.square(tf.sub(out, tf.tensor2d(targets, [5, 2]))));
  };
  const problem: UnrolledProblem = {
    name: 'the same in the engine',
    horizon: steps,
    initTheta: (random) => optimizer.initTheta(random),
    initState: (meaning) => {
      const params = start.map(({ shape, values }) => tf.tensor(values, shape));
      return { params, state: optimizer.optimizer(meaning).init(params) };
    },
    step: (meaning, before, inner) => {
      const { params, state } = before as { params: TensorTree; state: TensorTree };
      const { value, gradient } = inner.valueAndGrad((tree: TensorTree) => lossOf(tree as unknown as Params))(params);
      const rules = optimizer.optimizer(meaning);
      const updated = rules.update({
        params,
        gradients: gradient,
        state,
        t: inner.t,
        loss: value,
        random: inner.random,
      });
      return { state: updated, loss: value };
    },
  };
  const { engine } = await createEngine('reference');
  const program = await engine.compile(problem);
  const population = await program.createPopulation({ size: 1, seed: 0 });
  const one = {
    particles: Int32Array.of(0),
    perturbation: { form: 'none', theta: Float64Array.from(weights.theta) },
  } as const;
  await population.reset({ ...one, workers: Int32Array.of(0), episodes: Int32Array.of(0) });
  const expected: number[] = [];
  for (let t = 0; t < steps; t++) expected.push((await population.advance({ ...one, steps: 1 })).lossSum[0]);
  await engine.dispose();

  const used = new TrainableOptimizer(weights, optimizer);
  model.compile({ optimizer: used, loss: 'meanSquaredError' });
  const { history } = await model.fit(tf.tensor2d(inputs, [5, 3]), tf.tensor2d(targets, [5, 2]), {
    epochs: steps,
    batchSize: 5,
    shuffle: false,
    yieldEvery: 'never',
  });
  const got = history.loss as number[];
  expect(got).toHaveLength(steps);
  expected.forEach((loss, t) => expect(Math.abs(got[t] / loss - 1)).toBeLessThan(tolerance));
  // It moves by a hundred times what is let pass: these are no losses of a model that stands still.
  expect(Math.abs(expected[steps - 1] / expected[0] - 1)).toBeGreaterThan(100 * tolerance);
  const state = tf.memory().numTensors;
  used.dispose();
  expect(tf.memory().numTensors).toBeLessThan(state);
});

describe('what it refuses', () => {
  test('other variables than those that its state is for, by their shapes', () => {
    const { scalar, matrix, loss } = bowl();
    const optimizer = trainable();
    optimizer.minimize(loss, false, [scalar, matrix]);
    expect(() => optimizer.minimize(loss, false, [matrix])).toThrow(ShapeError);
    expect(() => optimizer.minimize(loss, false, [matrix])).toThrow(
      'the state of this optimizer is for variables of the shapes [] [2, 3], got [2, 3].',
    );
    // Nothing of it is lost by that.
    optimizer.minimize(loss, false, [scalar, matrix]);
    expect(optimizer.iterations).toBe(2);
  });

  test('a restored state of other variables', async () => {
    const { scalar, matrix, loss } = bowl();
    const optimizer = trainable();
    optimizer.minimize(loss, false, [scalar, matrix]);
    const other = trainable();
    await other.setWeights(await optimizer.getWeights());
    expect(() => other.minimize(loss, false, [matrix])).toThrow(
      /^the restored state has 4 tensors of other shapes than the 2/,
    );
  });

  test('a restored state of another optimizer, and of another version of its own', async () => {
    const { scalar, matrix, loss } = bowl();
    const optimizer = trainable();
    optimizer.minimize(loss, false, [scalar, matrix]);
    const saved = await optimizer.getWeights();
    // As many tensors of the same shapes: nothing but their names tells them apart.
    const another = adaBelief({ learningRate: 0.1 });
    const newer = { ...weightsOf(learnedAdam, [0]), featureVersion: 2 };
    for (const [other, own] of [
      [new TrainableOptimizer(weightsOf(another, []), another), 'adabelief@1/…'],
      [new TrainableOptimizer(newer, learnedAdam), 'adam@2/…'],
    ] as const) {
      await other.setWeights(saved);
      expect(() => other.minimize(loss, false, [scalar, matrix])).toThrow(
        new RegExp(`^the restored state has a tensor "adam@1/.*", expected names such as "${own}"`),
      );
    }
  });

  test('variables that are no float32', () => {
    const whole = tf.variable(tf.tensor1d([1, 2], 'int32'));
    expect(() => trainable().applyGradients([{ name: whole.name, tensor: tf.zeros([2]) }])).toThrow(
      /^variable ".*": expected float32, got int32/,
    );
  });

  test.each<[LearnedOptimizer, number]>([
    // Clipped to 1, at a rate of a tenth; then the direction of the gradient, and the length of another rate's step.
    [clipGradients({ optimizer: sgd({ learningRate: 0.1 }), maxNorm: 1 }), 2 - 0.1],
    [graft({ direction: sgd({ learningRate: 0.1 }), magnitude: sgd({ learningRate: 0.05 }) }), 2 - 0.2],
  ])('%j, which does not look at the loss, needs none', (optimizer, after) => {
    const trained = new TrainableOptimizer(weightsOf(optimizer, []), optimizer);
    const { scalar } = bowl();
    trained.applyGradients([{ name: scalar.name, tensor: tf.scalar(4) }]);
    expectClose(scalar.dataSync(), [after]);
  });

  test('an optimizer that looks at the loss, where there is none', () => {
    const looking: LearnedOptimizer = {
      name: 'looking',
      initTheta: () => ({}),
      optimizer: () => ({
        init: () => ({}),
        update: ({ params, state, loss }) => ({
          params: treeFlatten(params).map((p) => tf.sub(p, loss)),
          state,
        }),
      }),
    };
    const optimizer = new TrainableOptimizer(weightsOf(looking, []), looking);
    const { scalar, loss } = bowl();
    const cost = loss().dataSync()[0];
    optimizer.minimize(loss, false, [scalar]);
    expectClose(scalar.dataSync(), [2 - cost]);
    expect(() => optimizer.applyGradients([{ name: scalar.name, tensor: tf.scalar(0) }])).toThrow(
      'this optimizer looks at the loss: train by minimize or model.fit, not by applyGradients.',
    );
  });
});
