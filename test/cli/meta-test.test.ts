/** `outerloop evaluate DIR --tasks`: what it prints and writes, and what it refuses before any work. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { here } from '../support/command-line';
import { temporaryFolder } from '../outer/compiled';

jest.setTimeout(120_000);

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...path: string[]): string => join(folder, ...path);

const CONFIG = `
task: {name: mlp, hidden: [5], batchSize: 8}
data: {name: mnist, size: 4}
optimizer: {name: sgd, learningRate: meta.log(0.1)}
objective: {metric: loss, split: validation}
horizon: 6
estimator: {name: nres, pairs: 1, sigma: 0.1, window: 3}
iterations: 1
evaluation: {particles: 1}
engine: tfjs:cpu
`;
const evaluate = (...more: string[]) => here('evaluate', at('run'), '--output', at('page.html'), ...more);
const FEW = ['--rates', '2', '--tuning-seeds', '1', '--seeds', '2'];

beforeAll(async () => {
  writeFileSync(at('run.yaml'), CONFIG);
  expect(await here('train', at('run.yaml'), '--quiet', '--output', at('run'))).toMatchObject({ code: 0, stderr: '' });
  const problem = ['train', 'quadratic', '--engine', 'reference', '--set', 'iterations=1', '--quiet'];
  expect(await here(...problem, '--output', at('problem'))).toMatchObject({ code: 0 });
});

test('relatives of the task, tuned base lines, a page and a table of all trainings', async () => {
  const { code, stdout, stderr } = await evaluate('--tasks', 'own, wider', '--baselines', 'adam,momentum', ...FEW);
  expect({ code, stderr }).toEqual({ code: 0, stderr: 'task own\ntask wider\n' });
  expect(stdout).toContain('own: 2 trainings of 6 steps');
  expect(stdout).toMatch(/steps to the end of adam/);
  expect(stdout).toMatch(/The mean loss of sgd is /);
  const [head, ...lines] = readFileSync(at('page.csv'), 'utf8').trimEnd().split('\r\n');
  expect(head).toBe('task,optimizer,learningRate,seed,meanLoss,finalLoss,accuracy');
  expect(lines.map((line) => line.split(',').slice(0, 2).join(' '))).toEqual(
    ['own', 'wider'].flatMap((task) =>
      ['sgd', 'adam', 'momentum'].flatMap((name) => [`${task} ${name}`, `${task} ${name}`]),
    ),
  );
  const page = readFileSync(at('page.html'), 'utf8');
  expect(page).toMatch(/<h1>Meta-test of sgd<\/h1>[\s\S]*<svg[\s\S]*Tuning of the others/);
  expect(readFileSync(at('page.svg'), 'utf8')).toMatch(/^<svg[\s\S]*Training on own[\s\S]*Training on wider/);
  // What is drawn, and what was changed for it.
  expect(page).toContain(
    JSON.stringify({ hidden: [20] })
      .slice(1, -1)
      .replace(/"/g, '&quot;'),
  );
});

test('--step-sizes draws how far steps go: those of SGD by the learning rate of the table, in every tensor', async () => {
  const options = ['--tasks', 'own', '--baselines', 'sgd', '--step-sizes', ...FEW];
  const { code, stdout } = await evaluate(...options);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^steps: .*page\.step-sizes\.csv$/m);
  const rowsOf = (file: string): string[][] =>
    readFileSync(at(file), 'utf8')
      .trimEnd()
      .split('\r\n')
      .map((line) => line.split(','));
  const tuned = rowsOf('page.csv').find(([, name]) => name === 'sgd')!;
  const [head, ...rows] = rowsOf('page.step-sizes.csv');
  expect(head).toEqual(['task', 'optimizer', 'tensor', 't', 'stepSize', 'low', 'high']);
  const own = rows.filter(([, name]) => name === 'sgd');
  expect([...new Set(own.map(([, , tensor]) => tensor))]).toEqual(['0.bias', '0.kernel', '1.bias', '1.kernel']);
  expect([rows.length, own.length]).toEqual([2 * 4 * 6, 4 * 6]);
  // float32 adds steps to numbers that are a thousand times as large.
  for (const row of own) for (const size of row.slice(4)) expect(Number(size) / Number(tuned[2])).toBeCloseTo(1, 2);
  const page = readFileSync(at('page.html'), 'utf8');
  expect(page).toMatch(/Effective step size: sgd \(of the run\)<[\s\S]*Effective step size: sgd at /);
  expect(page).toContain('--step-sizes');
  expect(await here('evaluate', at('run'), '--step-sizes')).toMatchObject({ code: 2 });
});

test('--json prints a line a training; the tasks may come from a file, and a base line may have the name of the own one', async () => {
  writeFileSync(at('tasks.yaml'), '- {name: tiny, task: {hidden: []}, horizon: 4}\n');
  const options = ['--tasks', at('tasks.yaml'), '--baselines', 'sgd', '--json', ...FEW];
  const { code, stdout, stderr } = await evaluate(...options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  const trials = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  expect(trials.map(({ optimizer, seed }) => [optimizer, seed])).toEqual([
    ['sgd (of the run)', 0],
    ['sgd (of the run)', 1],
    ['sgd', 0],
    ['sgd', 1],
  ]);
  for (const trial of trials) {
    expect(Object.keys(trial)).toEqual('task optimizer learningRate seed meanLoss finalLoss accuracy'.split(' '));
    expect(trial.task).toBe('tiny');
    // Ten classes, hardly trained.
    expect(trial.meanLoss).toBeGreaterThan(0.5);
    expect(trial.accuracy).toBeGreaterThan(0.02);
    expect(trial.accuracy).toBeLessThan(1);
  }
  expect(trials[0].learningRate).toBeNull();
  expect(trials[2].learningRate).toBeGreaterThan(0);
});

describe('mistakes are one line, before any work', () => {
  test.each<[string, string[], string]>([
    ['an unknown task', ['--tasks', 'widr'], 'unknown task to be tested on "widr". Did you mean "wider"?'],
    ['an unknown base line', ['--tasks', 'own', '--baselines', 'adm'], 'unknown optimizer "adm". Did you mean "adam"?'],
    [
      'a preset of a whole problem',
      ['--tasks', 'lorenz'],
      '--tasks: expected presets that train a task by an optimizer, got "lorenz".',
    ],
    ['a file that is not there', ['--tasks', 'no.yaml'], '--tasks: expected names of tasks, or a file with a list'],
    ['one rate', ['--tasks', 'own', '--rates', '1'], '--rates: expected an integer of at least 2, got "1".'],
    ['no seed', ['--tasks', 'own', '--seeds', '0'], '--seeds: expected an integer of at least 1, got "0".'],
    ['both forms', ['--tasks', 'own', '--particles', '3'], '--particles: expected nothing beside --tasks, got "3".'],
    ['the other form', ['--tuning-seeds', '3'], '--tasks: expected the tasks that '],
    ['no page', ['--tasks', 'own', '--output', at('page')], '--output: expected the name of an .html file'],
    ['an unknown checkpoint', ['--tasks', 'own', '--checkpoint', '7'], `${at('run')} has no checkpoint of iteration 7`],
  ])('%s', async (_, flags, message) => {
    const fresh = at('fresh.html');
    const result = await here(
      'evaluate',
      at('run'),
      ...(flags.includes('--output') ? [] : ['--output', fresh]),
      ...flags,
    );
    expect(result.stderr).toMatch(/^error: [^\n]*\n$/);
    expect(result.stderr).toContain(message);
    expect(result.code).toBe(2);
    expect(existsSync(fresh)).toBe(false);
  });

  test('a run of a problem, whose θ is no optimizer', async () => {
    const { code, stderr } = await here('evaluate', at('problem'), '--tasks', 'own', '--output', at('fresh.html'));
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr:
        'error: --tasks: expected a run that trains a task by an optimizer, got one of the problem "quadratic". ' +
        'Its θ is no optimizer that another task could be trained with.\n',
    });
  });

  test('a file with an empty list, a key too many, something else', async () => {
    const file = at('bad.yaml');
    const messages: string[] = [];
    for (const text of ['[]', '- {name: a, horizn: 3}', 'tasks: 3', '- {name: a, task: {hiddn: [3]}}']) {
      writeFileSync(file, text);
      const { code, stderr } = await evaluate('--tasks', file);
      expect(code).toBe(2);
      messages.push(stderr);
    }
    expect(messages[0]).toContain('--tasks: expected a list of at least one task, got an empty one.');
    expect(messages[1]).toContain('unknown key "tasks.0.horizn". Did you mean "tasks.0.horizon"?');
    expect(messages[2]).toContain(
      'expected a list of names and of {name, task?, data?, horizon?}, got something else.',
    );
    expect(messages[3]).toContain('task.hiddn');
  });
});
