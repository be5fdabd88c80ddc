/** Many hyperparameters (Vicol et al. 2021, §5.3) against a plain loop: forward, backward, momentum, masks, in float64. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { createContainer } from '../../src/container';
import { ConfigurationError, treeFlatten, type Dataset } from '../../src/contracts';
import { prepareRun, resolveConfig } from '../../src/outer';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { manyHyperparameters } from '../../tasks';
import { runProblem } from '../support/run-problem';
import { meanTest, normalQuantile } from '../support/statistics';

beforeAll(() => tf.setBackend('cpu'));

const INPUTS = 3;
const CLASSES = 3;
const UNITS = 4;
const LAYERS = 2;
const STEPS = 6;

interface Row {
  readonly x: readonly number[];
  readonly label: number;
}
/** Numbers that float32 holds exactly, as the tables do. */
const TRAIN: Row = { x: [0.5, -1.25, 2], label: 2 };
const HELD: Row = { x: [-0.75, 1, 0.375], label: 0 };

/** Rows of a split are all the same, so that any minibatch of them has the loss and the gradient of one row. */
function identicalRows(): Dataset {
  const split = ({ x, label }: Row) => ({ xs: [...x, ...x, ...x], ys: [label, label, label] });
  return arrayDataset({
    splits: { train: split(TRAIN), validation: split(HELD), test: split(HELD) },
    inputShape: [INPUTS],
    classes: CLASSES,
  });
}

interface Layer {
  /** [in][out] */
  kernel: number[][];
  bias: number[];
}

/** Hidden activations after ReLU and mask, the input first, and softmax. */
function forward(layers: readonly Layer[], kept: readonly number[], x: readonly number[]) {
  const activations = [[...x]];
  let z: number[] = [];
  layers.forEach(({ kernel, bias }, l) => {
    z = bias.map((b, j) => activations[l].reduce((sum, a, i) => sum + a * kernel[i][j], b));
    if (l + 1 < layers.length) activations.push(z.map((value, j) => (j < kept[l] ? Math.max(value, 0) : 0)));
  });
  const total = z.reduce((sum, value) => sum + Math.exp(value), 0);
  return { activations, softmax: z.map((value) => Math.exp(value) / total) };
}

/** Gradient of −ln softmax_label by every kernel and bias. */
function backward(layers: readonly Layer[], kept: readonly number[], { x, label }: Row): Layer[] {
  const { activations, softmax } = forward(layers, kept, x);
  let error = softmax.map((p, j) => p - Number(j === label));
  const gradient: Layer[] = [];
  for (let l = layers.length - 1; l >= 0; l--) {
    const above = error;
    gradient[l] = { kernel: activations[l].map((a) => above.map((e) => a * e)), bias: [...above] };
    error = activations[l].map((a, i) =>
      // A masked unit's activation is 0, as one's is that ReLU cuts off.
      a > 0 ? above.reduce((sum, e, j) => sum + e * layers[l].kernel[i][j], 0) : 0,
    );
  }
  return gradient;
}

interface Hyper {
  /** Kernel and bias of the first layer, of the second … */
  readonly rates: readonly number[];
  readonly momenta: readonly number[];
  readonly kept: readonly number[];
}

/** SGD with heavy-ball momentum: parameters, velocities and validation losses after each step. */
function train(start: readonly Layer[], { rates, momenta, kept }: Hyper, steps: number) {
  const zero = ({ kernel, bias }: Layer): Layer => ({
    kernel: kernel.map((row) => row.map(() => 0)),
    bias: bias.map(() => 0),
  });
  let [params, velocity] = [structuredClone(start) as Layer[], start.map(zero)];
  const losses: number[] = [];
  for (let t = 0; t < steps; t++) {
    const gradient = backward(params, kept, TRAIN);
    velocity = velocity.map(({ kernel, bias }, l) => ({
      kernel: kernel.map((row, i) => row.map((v, j) => momenta[2 * l] * v + gradient[l].kernel[i][j])),
      bias: bias.map((v, j) => momenta[2 * l + 1] * v + gradient[l].bias[j]),
    }));
    params = params.map(({ kernel, bias }, l) => ({
      kernel: kernel.map((row, i) => row.map((p, j) => p - rates[2 * l] * velocity[l].kernel[i][j])),
      bias: bias.map((p, j) => p - rates[2 * l + 1] * velocity[l].bias[j]),
    }));
    losses.push(-Math.log(forward(params, kept, HELD.x).softmax[HELD.label]));
  }
  return { params, velocity, losses };
}

type Leaves = Readonly<Record<string, Float64Array>>;

function layersOf(leaves: Leaves, branch: string): Layer[] {
  const widths = [INPUTS, UNITS, UNITS, CLASSES];
  return widths.slice(1).map((out, l) => {
    const kernel = leaves[`${branch}.${l}.kernel`];
    return {
      kernel: Array.from({ length: widths[l] }, (_, i) => Array.from(kernel.subarray(i * out, (i + 1) * out))),
      bias: Array.from(leaves[`${branch}.${l}.bias`]),
    };
  });
}

const small = () => manyHyperparameters({ data: identicalRows(), layers: LAYERS, units: UNITS, batchSize: 2 });

/** All different, and large enough for six steps to move every weight. */
const RATES = [0.3, 0.11, 0.05, 0.4, 0.2, 0.07];
const MOMENTA = [0.9, 0.3, 0.62, 0.05, 0.81, 0.45];
const logit = (x: number): number => Math.log(x / (1 - x));

function compare(width: readonly number[], kept: readonly number[], worker: number) {
  const theta = [RATES.map(Math.log), MOMENTA.map(logit), width];
  const { states, losses, metrics } = runProblem(small(), { steps: STEPS, theta, worker });
  const start = layersOf(states[0], 'params');
  const expected = train(start, { rates: RATES, momenta: MOMENTA, kept }, STEPS);
  const flat = (layers: readonly Layer[]): number[] =>
    layers.flatMap(({ kernel, bias }) => [...kernel.flat(), ...bias]);
  const close = (got: readonly number[], wanted: readonly number[]): void => {
    expect(got.length).toBe(wanted.length);
    // Both compute in float64; six steps multiply rounding by far less than a thousand.
    got.forEach((value, i) => expect(Math.abs(value - wanted[i])).toBeLessThan(1e-12));
  };
  close(losses, expected.losses);
  close(flat(layersOf(states[STEPS], 'params')), flat(expected.params));
  close(flat(layersOf(states[STEPS], 'velocity')), flat(expected.velocity));
  return { start, end: layersOf(states[STEPS], 'params'), losses, metrics };
}

describe('a step', () => {
  // sigmoid(0) is a half to the last bit; sigmoid(1.2) is 0.77 of four units: three.
  test.each([0, 1, 2, 3])('losses, parameters and velocities are those of a plain loop (start %d)', (worker) => {
    const { start, end } = compare([0, 1.2], [2, 3], worker);
    // It is no comparison of what stands still.
    end.forEach(({ kernel, bias }, l) => {
      expect(kernel).not.toEqual(start[l].kernel);
      expect(bias).not.toEqual(start[l].bias);
    });
  });

  test('units that are cut off are not trained, nor what reads them', () => {
    const { start, end } = compare([0, 1.2], [2, 3], 1);
    const column = (layer: Layer, j: number): number[] => layer.kernel.map((row) => row[j]);
    for (const unit of [2, 3]) {
      expect(column(end[0], unit)).toEqual(column(start[0], unit));
      expect(end[0].bias[unit]).toBe(0);
      expect(end[1].kernel[unit]).toEqual(start[1].kernel[unit]);
    }
    expect(column(end[1], 3)).toEqual(column(start[1], 3));
    expect(end[2].kernel[3]).toEqual(start[2].kernel[3]);
  });

  test('no unit kept in a layer: what is left is the last bias', () => {
    const { start, end, losses } = compare([0, -40], [2, 0], 0);
    end.forEach(({ kernel, bias }, l) => {
      expect(kernel).toEqual(start[l].kernel);
      if (l < LAYERS) expect(bias).toEqual(start[l].bias);
    });
    // Softmax of the bias alone, whatever the input: the training label's logit has grown, the held one's has not.
    expect(losses[STEPS - 1]).toBeGreaterThan(Math.log(CLASSES));
  });

  test('all units kept', () => {
    compare([40, 40], [UNITS, UNITS], 1);
  });

  test('a share just below a whole unit keeps one less', () => {
    compare([logit(0.5) - 1e-9, logit(0.75) + 1e-9], [1, 3], 2);
  });

  test('metrics: loss of the training batch before the update, share of validation rows that are right', () => {
    const { start, metrics, losses } = compare([0, 1.2], [2, 3], 0);
    const { softmax } = forward(start, [2, 3], TRAIN.x);
    expect(metrics['batch loss'][0]).toBeCloseTo(-Math.log(softmax[TRAIN.label]), 12);
    metrics['validation accuracy'].forEach((share, t) => {
      expect([0, 1]).toContain(share);
      // A right row has more than a third of the softmax, a wrong one less than half.
      if (share === 1) expect(losses[t]).toBeLessThan(Math.log(3));
      else expect(losses[t]).toBeGreaterThan(Math.log(2));
    });
  });
});

describe('starts', () => {
  const theta = (seed: number) => {
    const tree = manyHyperparameters({ data: identicalRows() }).initTheta(new EagerRandom(seedKey(seed)));
    const leaves = treeFlatten<tf.Tensor>(tree).map((leaf) => Array.from(leaf.dataSync()));
    return leaves;
  };

  test('θ₀ has 12 + 12 + 5 numbers, within the ranges of the published starts', () => {
    for (let seed = 0; seed < 50; seed++) {
      const [rates, momenta, shares] = theta(seed);
      expect([rates.length, momenta.length, shares.length]).toEqual([12, 12, 5]);
      const within = (values: readonly number[], low: number, high: number): void => {
        // float32 rounds the bounds, too.
        for (const value of values) {
          expect(value).toBeGreaterThanOrEqual(low - 1e-6);
          expect(value).toBeLessThanOrEqual(high + 1e-6);
        }
      };
      within(rates, Math.log(1e-4), Math.log(1e-2));
      within(momenta, logit(0.01), logit(0.9));
      within(shares, logit(0.2), logit(0.8));
    }
  });

  test('uniform in what is stored', () => {
    const seeds = Array.from({ length: 100 }, (_, seed) => theta(seed));
    const bounds = [
      [Math.log(1e-4), Math.log(1e-2)],
      [logit(0.01), logit(0.9)],
      [logit(0.2), logit(0.8)],
    ];
    // Mean and variance of U(0, 1) over 500 numbers or more; six tests at 1e-4 each.
    const z = normalQuantile(1e-4);
    bounds.forEach(([low, high], leaf) => {
      const unit = seeds.flatMap((leaves) => leaves[leaf].map((value) => (value - low) / (high - low)));
      expect(Math.abs(meanTest(unit, 1 / 2).z)).toBeLessThan(z);
      const squares = unit.map((u) => (u - 1 / 2) ** 2);
      expect(Math.abs(meanTest(squares, 1 / 12).z)).toBeLessThan(z);
    });
  });

  test('a seed decides θ₀, and every number of it is its own', () => {
    expect(theta(3)).toEqual(theta(3));
    expect(theta(3)).not.toEqual(theta(4));
    for (const leaf of theta(3)) expect(new Set(leaf).size).toBe(leaf.length);
  });

  test('kernels are normal with variance 1/in; biases and velocities are zero; each layer has its own numbers', () => {
    const problem = manyHyperparameters({ data: identicalRows(), layers: 2, units: 60 });
    const [state] = runProblem(problem, { steps: 0 }).states;
    const z = normalQuantile(1e-4);
    for (const [layer, width, size] of [
      [0, INPUTS, INPUTS * 60],
      [1, 60, 3600],
      [2, 60, 60 * CLASSES],
    ]) {
      const kernel = state[`params.${layer}.kernel`];
      expect(kernel.length).toBe(size);
      const unit = Array.from(kernel, (value) => value * Math.sqrt(width));
      expect(Math.abs(meanTest(unit, 0).z)).toBeLessThan(z);
      const squares = unit.map((value) => value * value);
      expect(Math.abs(meanTest(squares, 1).z)).toBeLessThan(z);
    }
    const drawn = Object.entries(state).filter(([, leaf]) => leaf.some((value) => value !== 0));
    expect(drawn.map(([name]) => name).sort()).toEqual(['params.0.kernel', 'params.1.kernel', 'params.2.kernel']);
    expect(state['params.0.kernel'][0] * Math.sqrt(INPUTS)).not.toBe(state['params.1.kernel'][0] * Math.sqrt(60));
  });
});

test('θ in words: rates, momenta, and units kept', () => {
  const problem = small();
  const values = tf.tidy(() => {
    const leaf = (numbers: readonly number[]) => tf.tensor1d([...numbers]);
    return problem.describeTheta!({
      learningRate: leaf(RATES.map(Math.log)),
      momentum: leaf(MOMENTA.map(logit)),
      width: leaf([0, 1.2]),
    }).values;
  });
  const names = ['kernel1', 'bias1', 'kernel2', 'bias2', 'kernel3', 'bias3'];
  expect(Object.keys(values)).toEqual([
    ...names.map((name) => `learningRate.${name}`),
    ...names.map((name) => `momentum.${name}`),
    'units1',
    'units2',
  ]);
  names.forEach((name, i) => {
    expect(values[`learningRate.${name}`] / RATES[i]).toBeCloseTo(1, 6);
    expect(values[`momentum.${name}`]).toBeCloseTo(MOMENTA[i], 6);
  });
  expect([values.units1, values.units2]).toEqual([2, 3]);
});

test('describing θ leaves no tensors behind', () => {
  const theta = small().initTheta(new EagerRandom(seedKey(0)));
  const before = tf.memory().numTensors;
  small().describeTheta!(theta);
  expect(tf.memory().numTensors).toBe(before);
});

test('is judged by the mean validation loss of ten fresh starts; without an end there is no such mean', () => {
  const { evaluation } = manyHyperparameters({ data: identicalRows(), horizon: 7 });
  expect(evaluation).toMatchObject({ particles: 10, measure: 'mean', minimise: true, curve: 'validation accuracy' });
  expect(evaluation!.problem.horizon).toBe(7);
  expect(manyHyperparameters({ data: identicalRows(), horizon: Infinity }).evaluation).toBeUndefined();
});

describe('bad input', () => {
  const regression = arrayDataset({ xs: normals([1, 2], 40), ys: normals([1, 3], 10), inputShape: [4] });
  test.each([
    [{ layers: 0 }, 'problem.layers'],
    [{ units: 2.5 }, 'problem.units'],
    [{ batchSize: -1 }, 'problem.batchSize'],
    [{ horizon: 0 }, 'horizon'],
  ])('%j: the number that is wrong', (wrong, key) => {
    expect(() => manyHyperparameters({ data: identicalRows(), ...wrong })).toThrow(
      new ConfigurationError(key, 'a positive integer', String(Object.values(wrong)[0])),
    );
  });

  test('a data set without class labels', () => {
    expect(() => manyHyperparameters({ data: regression })).toThrow(/class labels for the task "many-hyperparameters"/);
  });

  test('an option that it does not have, a wrong one, or no data set, in a configuration', async () => {
    const container = createContainer();
    const bad = (key: string, value: number | string) => () =>
      resolveConfig({ preset: 'many-hyperparameters' }, [{ key, value }], container);
    expect(bad('problem.width', 3)).toThrow(/unknown key .*"problem\.width".*problem\.units/);
    expect(bad('problem.units', 0)).toThrow(/^problem\.units: expected/);
    const { data: _, ...rest } = container.preset('many-hyperparameters').config;
    const without = resolveConfig(rest, [], container);
    await expect(prepareRun(without, container)).rejects.toThrow(ConfigurationError);
  });
});
