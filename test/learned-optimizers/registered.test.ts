/** Optimizers by name: every registered one is made from a configuration, with any of its numbers learned or scheduled. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { createContainer } from '../../src/container';
import type { ConfigObject, ConfigValue } from '../../src/contracts';
import { prepareRun, resolveConfig } from '../../src/outer';
import { fillDefaults } from '../../src/outer/config-check';
import { EagerRandom, seedKey } from '../../src/random';
import { initialTheta, runProblem } from '../support/run-problem';

const container = createContainer();
const names = container.names('optimizer');

/** Defaults of an optimizer's options, of those that have one. */
const defaultsOf = (name: string): ConfigObject => fillDefaults(container.registration('optimizer', name).options, {});

async function problemOf(optimizer: ConfigValue) {
  const config = {
    task: { name: 'quadratic', size: 3 },
    optimizer,
    objective: { metric: 'loss' },
    horizon: 10,
    estimator: { name: 'nres', pairs: 1, sigma: 0.01, window: 10 },
    outerOptimizer: { name: 'sgd', learningRate: 0.1 },
    iterations: 1,
  };
  return (await prepareRun(resolveConfig(config, [], container), container)).plan.problem;
}

beforeAll(() => tf.setBackend('cpu'));

const HAND_DESIGNED = [
  'adabelief',
  'adafactor',
  'adagrad',
  'adam',
  'adamw',
  'lamb',
  'lars',
  'lion',
  'momentum',
  'nadamw',
  'nesterov',
  'radam',
  'rmsprop',
  'sgd',
  'yogi',
];

test('the hand-designed ones have their names', () => {
  expect(names).toEqual(expect.arrayContaining(HAND_DESIGNED));
});

/** First columns of the table rows of a page: `name`, and what it says of options. */
const documented = new Map(
  readFileSync(join(__dirname, '../../docs/optimizers.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 6)
    .map(([, name, , , options]) => [name.replaceAll('`', ''), options]),
);

test('docs/optimizers.md has those around optimizers too', () => {
  for (const name of ['clip-gradients', 'weight-decay', 'graft', 'accumulate-gradients']) {
    expect([name, names.includes(name), documented.has(name)]).toEqual([name, true, true]);
  }
});

describe.each(HAND_DESIGNED)('%s', (name) => {
  test('has its defaults in docs/optimizers.md', () => {
    const stated = [...documented.get(name)!.matchAll(/`(\w+)` ([\w.-]+)/g)].map(([, key, value]) => [key, value]);
    const expected = Object.entries(defaultsOf(name)).map(([key, value]) => [key, value]);
    const number = (value: unknown): unknown => (value === 'false' ? false : Number(value));
    expect(stated.map(([key, value]) => [key, number(value)])).toEqual(expected);
  });

  test('is described, and runs with its defaults', async () => {
    expect(container.registration('optimizer', name).description).not.toBe('');
    const { losses } = runProblem(await problemOf(name), { steps: 10 });
    expect(losses[9]).toBeLessThan(losses[0]);
  });

  test('learns or schedules each of its numbers', async () => {
    const numbers = Object.entries(defaultsOf(name)).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number',
    );
    expect(numbers.length).toBeGreaterThan(0);
    const learned = await problemOf({
      name,
      ...Object.fromEntries(numbers.map(([key, value]) => [key, `meta.linear(${String(value)})`])),
    });
    expect(initialTheta(learned).flat()).toEqual(
      numbers.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => Math.fround(value)),
    );
    const plain = runProblem(await problemOf(name), { steps: 10 }).losses;
    const scheduled = await problemOf({
      name,
      ...Object.fromEntries(numbers.map(([key, value]) => [key, { name: 'constant', value }])),
    });
    runProblem(scheduled, { steps: 10 }).losses.forEach((loss, t) => expect(loss).toBeCloseTo(plain[t], 9));
    runProblem(learned, { steps: 10 }).losses.forEach((loss, t) => expect(loss).toBeCloseTo(plain[t], 9));
  });

  test('refuses a learning rate below zero and an option that it does not have, by key', async () => {
    await expect(problemOf({ name, learningRate: -1 })).rejects.toThrow(
      'optimizer.learningRate: expected a finite number at least 0, got -1',
    );
    await expect(problemOf({ name, learningRat: 1 })).rejects.toThrow('learningRat');
  });
});

describe('optimizers around optimizers', () => {
  const adam = { name: 'adam', learningRate: 'meta.log(0.1)' };
  const nested = {
    name: 'clip-gradients',
    maxNorm: 'meta.log(3)',
    maxValue: { name: 'constant', value: 2 },
    optimizer: {
      name: 'accumulate-gradients',
      batches: 2,
      optimizer: {
        name: 'graft',
        direction: { name: 'weight-decay', weightDecay: 'meta.linear(0.01)', optimizer: adam },
        magnitude: 'momentum',
      },
    },
  };

  test('nest in a configuration as they do in code', async () => {
    const problem = await problemOf(nested);
    const theta = problem.initTheta(new EagerRandom(seedKey(0)));
    const { values } = problem.describeTheta!(theta);
    const expected = {
      maxNorm: 3,
      'optimizer.optimizer.direction.optimizer.learningRate': 0.1,
      'optimizer.optimizer.direction.weightDecay': 0.01,
    };
    expect(Object.keys(values).sort()).toEqual(Object.keys(expected).sort());
    for (const [path, value] of Object.entries(expected)) expect(values[path]).toBeCloseTo(value, 5);
    expect(problem.name).toContain('clip-gradients(accumulate-gradients(graft(weight-decay(adam), sgd)))');
    const { losses } = runProblem(problem, { steps: 10 });
    expect(losses[9]).toBeLessThan(losses[0]);
  });

  test.each([
    [{ name: 'clip-gradients', maxNorm: 1 }, 'optimizer.optimizer: expected an optimizer: its name, or {name, …}'],
    [
      { name: 'clip-gradients', optimizer: adam },
      'expected one or more of maxNorm, maxTensorNorm and maxValue, got none',
    ],
    [
      { name: 'clip-gradients', maxNorm: 0, optimizer: adam },
      'optimizer.maxNorm: expected a finite number above 0, got 0',
    ],
    [{ name: 'graft', direction: 'adam' }, 'optimizer.magnitude'],
    [{ name: 'graft', direction: 'adma', magnitude: 'sgd' }, 'unknown optimizer "adma", needed by optimizer "graft"'],
    [
      { name: 'weight-decay', optimizer: { ...adam, learningRate: -1 } },
      'optimizer.optimizer.learningRate: expected a finite number at least 0, got -1',
    ],
    [
      { name: 'accumulate-gradients', batches: 0, optimizer: adam },
      'optimizer.batches: expected a positive integer, got 0',
    ],
  ] as const)('%j is refused by key', async (optimizer, message) => {
    await expect(problemOf(optimizer)).rejects.toThrow(message);
  });
});
