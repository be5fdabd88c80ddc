import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { adam, inverseTime, sgd } from '../../learned-optimizers';
import { ConfigurationError, meta, type Split, type Task } from '../../src/contracts';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import { unroll, type Objective } from '../../src/outer/combinators/unroll';
import { normals } from '../../src/random';
import { mlp, quadraticCurvatures, quadraticTask } from '../../tasks';
import { runnerOf, runProblem } from '../support/run-problem';

const f = Math.fround;
const STEPS = 12;
const LEARNING_RATE = 0.3;

const ROWS = 120;
const data = arrayDataset({
  xs: normals([1, 2], ROWS * 3),
  ys: Array.from({ length: ROWS }, (_, i) => i % 3),
  inputShape: [3],
  classes: 3,
});
const network = mlp({ data, hidden: [4], batchSize: 5 });

const objective = (changes: Partial<Objective> = {}): Objective => ({
  metric: 'loss',
  split: 'validation',
  over: 'mean',
  ...changes,
});
const build = (task: Task, changes: Partial<Objective> = {}, learningRate = LEARNING_RATE) =>
  unroll({ task, optimizer: sgd({ learningRate }), objective: objective(changes), horizon: STEPS });

/** Output of the network on decoded rows, from leaves of the state. */
function logits(state: Readonly<Record<string, Float64Array>>, x: ArrayLike<number>): number[] {
  const layer = (index: number, input: ArrayLike<number>, outputs: number): number[] =>
    Array.from({ length: outputs }, (_, j) => {
      let sum = state[`params.${index}.bias`][j];
      for (let i = 0; i < input.length; i++) sum += input[i] * state[`params.${index}.kernel`][i * outputs + j];
      return sum;
    });
  return layer(
    1,
    layer(0, x, 4).map((z) => Math.max(z, 0)),
    3,
  );
}

function rowsOf(split: Split): { x: Float32Array; y: number }[] {
  const { xs, ys, rows } = data.splits[split];
  return Array.from({ length: rows }, (_, i) => ({
    x: xs.table.values.slice(3 * i, 3 * i + 3) as Float32Array,
    y: ys.table.values[i],
  }));
}

beforeAll(() => tf.setBackend('cpu'));

describe('objectives', () => {
  /** ½ Σ hᵢ(1 − αhᵢ)^{2t}: the task's loss after t steps of gradient descent, in closed form. */
  const h = quadraticCurvatures().map(f);
  const lossAfter = (t: number): number =>
    h.reduce((sum, curvature) => sum + 0.5 * curvature * (1 - f(LEARNING_RATE) * curvature) ** (2 * t), 0);

  test.each(['sum', 'mean'] as const)('%s: the loss of each step is that of the updated parameters', (over) => {
    const { losses, metrics } = runProblem(build(quadraticTask(), { over }), { steps: STEPS });
    losses.forEach((loss, t) => {
      expect(loss).toBeCloseTo(lossAfter(t + 1), 12);
      expect(metrics['batch loss'][t]).toBeCloseTo(lossAfter(t), 12);
      expect(metrics.loss[t]).toBe(loss);
    });
  });

  test('final: the losses telescope to the last loss', () => {
    const { losses, metrics } = runProblem(build(quadraticTask(), { over: 'final' }), { steps: STEPS });
    expect(losses[0]).toBeCloseTo(lossAfter(1), 12);
    expect(losses[4]).toBeCloseTo(lossAfter(5) - lossAfter(4), 12);
    expect(losses.reduce((a, b) => a + b, 0)).toBeCloseTo(lossAfter(STEPS), 12);
    expect(metrics.loss[STEPS - 1]).toBeCloseTo(lossAfter(STEPS), 12);
  });

  test('final: the rows stay the same within an episode and change with the episode and the worker', () => {
    // At learning rate 0 the parameters stay, so that only the rows can change the loss.
    const run = runnerOf(build(network, { over: 'final' }, 0));
    const { losses, metrics } = run({ steps: STEPS });
    expect(losses.slice(1)).toEqual(Array.from({ length: STEPS - 1 }, () => 0));
    expect(new Set(metrics['validation loss']).size).toBe(1);
    const { 'params.0.kernel': kernel } = run({ steps: 0 }).states[0];
    expect(run({ steps: 0, episode: 1 }).states[0]['params.0.kernel']).not.toEqual(kernel);
    expect(run({ steps: 1, episode: 1 }).losses[0]).not.toBe(losses[0]);
    expect(run({ steps: 1, worker: 1 }).losses[0]).not.toBe(losses[0]);
  });

  test('mean: every step draws fresh rows, others than those it trained on', () => {
    const { metrics } = runProblem(build(network, { split: 'train' }, 0), { steps: STEPS });
    expect(new Set(metrics['train loss']).size).toBe(STEPS);
    metrics['train loss'].forEach((loss, t) => expect(loss).not.toBe(metrics['batch loss'][t]));
  });

  describe('clip', () => {
    const CLIP = lossAfter(4);
    const clipped = (changes: Partial<Objective> = {}) => build(quadraticTask(), { clip: CLIP, ...changes });

    test('what is minimised is the lesser of the loss and the bound; metrics are the loss, and how often it was above', () => {
      const { losses, metrics } = runProblem(clipped(), { steps: STEPS });
      losses.forEach((loss, t) => {
        expect(loss).toBeCloseTo(Math.min(lossAfter(t + 1), CLIP), 6);
        expect(metrics.loss[t]).toBeCloseTo(lossAfter(t + 1), 12);
      });
      // The fourth step has the bound itself, which float32 holds to one part in 10⁷.
      expect(metrics['clipped steps'].filter((_, t) => t !== 3)).toEqual([1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
      expect(runProblem(build(quadraticTask()), { steps: 1 }).metrics).not.toHaveProperty('clipped steps');
    });

    test('final: the sum is the bounded last loss, at every horizon', () => {
      const { losses } = runProblem(clipped({ over: 'final' }), { steps: STEPS });
      for (const t of [1, 2, 8, STEPS]) {
        const sum = losses.slice(0, t).reduce((a, b) => a + b, 0);
        expect(sum).toBeCloseTo(Math.min(lossAfter(t), CLIP), 6);
      }
    });

    test('a maximised metric is bounded with its sign', () => {
      const task: Task = { ...quadraticTask(), metrics: () => ({ accuracy: tf.scalar(0.5) }) };
      const run = runProblem(build(task, { metric: 'accuracy', clip: -0.75 }), { steps: 1 });
      expect([run.losses[0], run.metrics.accuracy[0]]).toEqual([-0.75, 0.5]);
    });

    test('an infinite loss is bounded, NaN is none', () => {
      const of = (value: number): number[] => {
        const task: Task = { ...quadraticTask(), metrics: () => ({ size: tf.scalar(value) }) };
        return [...runProblem(build(task, { metric: 'size', clip: 2 }), { steps: 1 }).losses];
      };
      expect([of(Infinity), of(NaN)]).toEqual([[2], [NaN]]);
    });

    test('above the bound the derivative is 0', async () => {
      const rate = 0.3;
      const problem = unroll({
        task: quadraticTask(),
        optimizer: sgd({ learningRate: meta.linear(rate) }),
        objective: objective({ clip: lossAfter(3.5) }),
        horizon: STEPS,
      });
      const engine = new ReferenceEngine();
      const program = await engine.compile(problem);
      const reverse = await program.differentiate({ mode: 'reverse', steps: STEPS, windowLoss: 'mean', start: true });
      const population = await reverse.createPopulation({ size: 1, seed: 0 });
      const one = Int32Array.of(0);
      const selection = {
        particles: one,
        perturbation: { form: 'none', theta: Float64Array.of(f(rate)) },
      } as const;
      await population.reset({ ...selection, workers: one, episodes: one });
      const { derivatives } = await population.differentiate({ ...selection, steps: STEPS });
      // d/dα ½ Σ h(1 − αh)^{2t}, for those t whose loss is below.
      const slope = (t: number): number =>
        h.reduce((sum, curvature) => sum - t * curvature ** 2 * (1 - f(rate) * curvature) ** (2 * t - 1), 0);
      const expected = Array.from({ length: STEPS }, (_, i) => i + 1).filter((t) => t >= 4);
      expect(derivatives[0]).toBeCloseTo(expected.reduce((sum, t) => sum + slope(t), 0) / STEPS, 10);
      await engine.dispose();
    });

    test('the evaluation is not clipped', () => {
      const { problem } = clipped({ clip: 1e-9 }).evaluation!;
      const { losses, finish } = runProblem(problem, { steps: STEPS });
      expect(losses[0]).toBeCloseTo(lossAfter(1), 12);
      expect(finish['final loss']).toBeCloseTo(lossAfter(STEPS), 12);
    });
  });

  test('accuracy is maximised, and reported in its natural sign', () => {
    const { losses, metrics } = runProblem(build(network, { metric: 'accuracy' }), { steps: STEPS });
    expect(losses).toEqual(metrics['validation accuracy'].map((accuracy) => -accuracy));
    for (const accuracy of metrics['validation accuracy']) {
      // Five rows of three classes.
      expect(Math.abs(accuracy * 5 - Math.round(accuracy * 5))).toBeLessThan(1e-12);
    }
    expect(Math.max(...metrics['validation accuracy'])).toBeGreaterThan(0);
  });

  test.each([
    ['accuracy', -1],
    ['top5Accuracy', -1],
    ['balanced_accuracy', -1],
    ['inaccuracy', 1],
    ['error', 1],
  ])('%s enters with sign %d', (metric, sign) => {
    const task: Task = { ...quadraticTask(), metrics: () => ({ [metric]: tf.scalar(0.5) }) };
    expect(runProblem(build(task, { metric }), { steps: 1 }).losses).toEqual([sign * 0.5]);
  });

  test('the direction of another metric can be stated', () => {
    const task: Task = {
      ...quadraticTask(),
      metrics: (params) => ({ size: tf.sum((params as { x: tf.Tensor }).x) }),
    };
    const [least, most] = [undefined, true].map(
      (maximise) => runProblem(build(task, { metric: 'size', maximise }), { steps: 3 }).losses,
    );
    expect(most).toEqual(least.map((loss) => -loss));
    expect(least[0]).toBeGreaterThan(0);
  });

  test('a metric `loss` of the task stands for its loss in the objective, not in training', () => {
    const plain = quadraticTask();
    const task: Task = { ...plain, metrics: () => ({ loss: tf.scalar(7) }) };
    const { losses, metrics } = runProblem(build(task), { steps: 2 });
    expect(losses).toEqual([7, 7]);
    expect(metrics['batch loss'][1]).toBeCloseTo(lossAfter(1), 12);
  });

  test('a metric that the task lacks is refused, with those that it has', () => {
    const make = (): unknown => build(network, { metric: 'acuracy' });
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(
      'objective.metric: expected a metric of the task "mlp", got "acuracy". It has: loss, accuracy.',
    );
    expect(() => build(quadraticTask(), { metric: 'accuracy' })).toThrow('It has: loss.');
  });
});

describe('the evaluation', () => {
  test('counts the accuracy on the whole test split after the horizon', () => {
    const problem = build(network);
    const { metric, minimise, measure, particles, curve, problem: evaluated } = problem.evaluation!;
    expect({ metric, minimise, measure, particles, curve }).toEqual({
      metric: 'test accuracy',
      minimise: false,
      measure: { finish: 'test accuracy' },
      particles: 5,
      curve: 'validation accuracy',
    });
    expect(evaluated.horizon).toBe(STEPS);
    const { finish, states, metrics } = runProblem(evaluated, { steps: STEPS });
    const test = rowsOf('test');
    const hits = test.filter(({ x, y }) => {
      const z = logits(states[STEPS], x);
      return z.indexOf(Math.max(...z)) === y;
    });
    expect(test).toHaveLength(12);
    expect(finish['test accuracy']).toBeCloseTo(hits.length / test.length, 12);
    expect(metrics[curve!]).toHaveLength(STEPS);
  });

  test('without accuracy it is the objective on the test split', () => {
    const task: Task = { ...network, metrics: undefined };
    const { metric, minimise, problem: evaluated } = build(task, { over: 'final' }).evaluation!;
    expect([metric, minimise]).toEqual(['test loss', true]);
    const { finish, states } = runProblem(evaluated, { steps: STEPS });
    const test = rowsOf('test');
    const loss = test.reduce((sum, { x, y }) => {
      const z = logits(states[STEPS], x);
      return sum + Math.log(z.reduce((total, value) => total + Math.exp(value), 0)) - z[y];
    }, 0);
    expect(finish['test loss']).toBeCloseTo(loss / test.length, 12);
  });

  test('without a data set it is the final loss', () => {
    const { metric, problem } = build(quadraticTask(), { over: 'final' }).evaluation!;
    const { finish, metrics } = runProblem(problem, { steps: STEPS });
    expect(metric).toBe('final loss');
    expect(finish[metric]).toBe(metrics.loss[STEPS - 1]);
  });

  test('an endless problem has none', () => {
    const endless = unroll({ task: quadraticTask(), optimizer: sgd(), objective: objective(), horizon: Infinity });
    expect(endless.evaluation).toBeUndefined();
  });
});

test('schedules take their timescale from the horizon, in the evaluation too', () => {
  const optimizer = sgd({ learningRate: inverseTime({ initial: 0.5, decay: 2 }) });
  const problem = unroll({ task: quadraticTask({ size: 1 }), optimizer, objective: objective(), horizon: STEPS });
  for (const each of [problem, problem.evaluation!.problem]) {
    const { states } = runProblem(each, { steps: STEPS });
    let x = 1;
    for (let t = 0; t < STEPS; t++) x -= (0.5 / (1 + t / STEPS) ** 2) * x;
    expect(states[STEPS]['params.x'][0]).toBeCloseTo(x, 12);
  }
  expect(problem.describeTheta!({}).curves!.learningRate.value[STEPS - 1]).toBeCloseTo(0.5 / (2 - 1 / STEPS) ** 2, 6);
});

test('any optimizer is combined with any task; the name says which', () => {
  const problem = unroll({
    task: network,
    optimizer: adam({ learningRate: meta.log(0.1) }),
    objective: objective(),
    horizon: 40,
  });
  expect(problem.name).toBe('adam on mlp');
  const { losses } = runProblem(problem, { steps: 40 });
  expect(losses.every(Number.isFinite)).toBe(true);
});

test.each([0, -1, 2.5, NaN])('a horizon of %d is refused', (horizon) => {
  expect(() => unroll({ task: quadraticTask(), optimizer: sgd(), objective: objective(), horizon })).toThrow(
    'horizon: expected a positive integer',
  );
});

test('a task with data needs a batch size', () => {
  expect(() => build({ ...network, batchSize: undefined })).toThrow('task.batchSize: expected a positive integer');
});
