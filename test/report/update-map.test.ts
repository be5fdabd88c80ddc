/** Pictures of updates: Adam's and momentum's in closed form. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adam, cosine, perParameterMlp, sgd } from '../../learned-optimizers';
import { meta, type LearnedOptimizer } from '../../src/contracts';
import { initialTheta, layoutOfOptimizer, type RunResult } from '../../src/outer';
import { isLearned, updateMap, updateMapCsv, type UpdateMap } from '../../src/report';
import { updateMapChart } from '../../src/report/update-map';
import { here } from '../support/command-line';
import { temporaryFolder } from '../support/native';

const f = Math.fround;
const HORIZON = 101;

/** [t, gradient, past gradient, update] of every pair. */
function rowsOf(map: UpdateMap): number[][] {
  return updateMapCsv([map])
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(',').slice(1).map(Number));
}

function expectUpdates(map: UpdateMap, of: (t: number, g: number, past: number) => number): void {
  const rows = rowsOf(map);
  expect(rows).toHaveLength(3 * 17 * 17);
  expect([...new Set(rows.map(([t]) => t))]).toEqual([0, 10, 100]);
  expect([Math.min(...rows.map(([, g]) => g)), Math.max(...rows.map(([, , m]) => m))]).toEqual([-0.02, 0.02]);
  for (const [t, g, past, update] of rows) {
    const expected = of(t, g, past);
    expect(Math.abs(update - expected)).toBeLessThan(1e-9 + 1e-6 * Math.abs(expected));
  }
}

test('momentum, which sums m^k·g', () => {
  const map = updateMap(sgd({ learningRate: 0.1, momentum: 0.9 }), [], HORIZON);
  // v before step t of a constant gradient: p·(1 − m^t)/(1 − m).
  expectUpdates(map, (t, g, past) => {
    const m = f(0.9);
    return -f(0.1) * (g + (m * past * (1 - m ** t)) / (1 - m));
  });
});

test('Adam (Kingma, Ba 2015, Alg. 1), and a schedule that knows the horizon', () => {
  const [b1, b2, epsilon] = [f(0.9), f(0.999), f(1e-8)];
  const map = updateMap(adam({ learningRate: cosine({ initial: 0.01 }) }), [], HORIZON);
  expectUpdates(map, (t, g, past) => {
    const m = (b1 * (1 - b1 ** t) * past + (1 - b1) * g) / (1 - b1 ** (t + 1));
    const v = (b2 * (1 - b2 ** t) * past ** 2 + (1 - b2) * g ** 2) / (1 - b2 ** (t + 1));
    const rate = f(0.01) * 0.5 * (1 + Math.cos((Math.PI * t) / HORIZON));
    return (-rate * m) / (Math.sqrt(v) + epsilon);
  });
});

const result = (optimizer: LearnedOptimizer, values?: Readonly<Record<string, number>>): RunResult =>
  ({ layout: layoutOfOptimizer(optimizer), ...(values === undefined ? {} : { description: { values } }) }) as RunResult;

test('a network is learned, hyperparameters are not', () => {
  expect(isLearned(perParameterMlp(), result(perParameterMlp()))).toBe(true);
  const tuned = adam({ learningRate: meta.log(0.01) });
  expect(isLearned(tuned, result(tuned, { learningRate: 0.01 }))).toBe(false);
  expect(isLearned(adam({ learningRate: 0.01 }), result(adam({ learningRate: 0.01 })))).toBe(false);
});

test('a network, in a moment; the picture has a part for each time', async () => {
  const optimizer = perParameterMlp();
  const theta = initialTheta({ initTheta: (random) => optimizer.initTheta(random) }, 3);
  const map = updateMap(optimizer, theta, 1000);
  expect(map.times.map(({ t }) => t)).toEqual([0, 100, 999]);
  for (const { updates } of map.times) expect(updates.every((x) => Number.isFinite(x) && x !== 0)).toBe(true);
  // What was before changes nothing at t = 0.
  const [first] = map.times;
  expect([...first.updates.slice(0, 17)]).toEqual([...first.updates.slice(-17)]);
  const { svg, title } = await updateMapChart(map);
  expect(title).toContain('per-parameter-mlp');
  for (const t of [0, 100, 999]) expect(svg).toContain(`t = ${t}`);
});

test("a run's report has it if its optimizer is learned", async () => {
  const folder = temporaryFolder();
  const config = 'task: quadratic\nhorizon: 11\nestimator: {name: nres, pairs: 2, sigma: 0.1, window: 1}\n';
  const trained = async (name: string, optimizer: string): Promise<string> => {
    writeFileSync(join(folder, `${name}.yaml`), `${config}optimizer: ${optimizer}\niterations: 1\nengine: reference\n`);
    const output = join(folder, name);
    const run = await here('train', join(folder, `${name}.yaml`), '--quiet', '--output', output);
    expect([run.code, run.stderr]).toEqual([0, '']);
    return output;
  };
  const learned = await trained('learned', '{name: per-parameter-mlp, hidden: [2]}');
  const page = readFileSync(join(learned, 'report.html'), 'utf8');
  expect(page).toContain('What the optimizer does');
  expect(page).toContain('Update by Adam at 0.001');
  const lines = readFileSync(join(learned, 'updates.csv'), 'utf8').trim().split('\n');
  expect(lines).toHaveLength(1 + 2 * 3 * 17 * 17);
  expect(lines[1]).toMatch(/^per-parameter-mlp,0,-0\.02,-0\.02,/);
  const tuned = await trained('tuned', '{name: adam, learningRate: meta.log(0.01)}');
  const tunedPage = readFileSync(join(tuned, 'report.html'), 'utf8');
  expect(tunedPage).not.toContain('What the optimizer does');
  // How far steps go is in both.
  for (const html of [page, tunedPage]) {
    expect(html).toMatch(/Effective step size: before<[\s\S]*Effective step size: after</);
  }
  const [head, first, ...rest] = readFileSync(join(tuned, 'step-sizes.csv'), 'utf8').trimEnd().split('\r\n');
  expect(head).toBe('theta,tensor,t,stepSize,low,high');
  expect(first).toMatch(/^before,[^,]+,1,\d/);
  expect(rest.at(-1)).toMatch(/^after,[^,]+,11,\d/);
  expect(existsSync(join(tuned, 'updates.csv'))).toBe(false);
  // An optimizer that is not there any more costs the picture, not the report.
  const path = join(learned, 'config.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace('"per-parameter-mlp"', '"forgotten"'));
  const again = await here('report', learned);
  expect(again.code).toBe(0);
  expect(again.stderr).toMatch(/^The report lacks the optimizer's update: .*forgotten/);
  expect(readFileSync(join(learned, 'report.html'), 'utf8')).not.toContain('What the optimizer does');
  rmSync(folder, { recursive: true });
}, 60_000);
