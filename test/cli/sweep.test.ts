/** `outerloop sweep` and `outerloop compare`: what they print, write and survive. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { here } from '../support/command-line';
import { CompiledSources, finished, temporaryFolder } from '../outer/compiled';

jest.setTimeout(120_000);

const CLI = join('src', 'cli', 'main.js');
let sources: CompiledSources;
let folder: string;

beforeAll(() => {
  sources = new CompiledSources();
  folder = temporaryFolder();
});
afterAll(() => {
  sources.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const at = (...path: string[]): string => join(folder, ...path);

const lineCount = (path: string): number =>
  existsSync(join(folder, path)) ? readFileSync(join(folder, path), 'utf8').split('\n').length - 1 : 0;
const withoutTime = (path: string): unknown[] =>
  readFileSync(join(folder, path), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => ({ ...(JSON.parse(line) as object), wallSeconds: 0 }));

test('a sweep that is killed goes on where it was cut, leaves alone what is done, and compares its runs', async () => {
  const iterations = 60;
  writeFileSync(
    join(folder, 'killed.yaml'),
    `presets: [quadratic]
estimators: [nres, pes]
seeds: 2
set: {engine: reference, iterations: ${String(iterations)}, pairs: 4, checkpoint.seconds: 0.001}
`,
  );
  const cut = 'quadratic--nres--seed=1';
  const child = sources.start(CLI, ['sweep', 'killed.yaml', '--separate'], { cwd: folder });
  const timer = setInterval(() => {
    if (lineCount(join('runs', 'killed', cut, 'metrics.jsonl')) >= 5) child.kill('SIGKILL');
  }, 5);
  expect((await finished(child)).signal).toBe('SIGKILL');
  clearInterval(timer);
  expect(lineCount(join('runs', 'killed', cut, 'metrics.jsonl'))).toBeLessThan(iterations);
  const first = join(folder, 'runs', 'killed', 'quadratic--nres--seed=0', 'summary.json');
  const done = readFileSync(first, 'utf8');

  const dry = await here('sweep', at('killed.yaml'), '--dry-run', '--output', at('runs', 'killed'));
  expect(dry.stdout).toMatch(/nres--seed=0 +done\n.*nres--seed=1 +to go on with\n.*pes--seed=0 +to run\n.*to run\n/);
  expect(dry.stdout).toContain(`4 runs in ${at('runs', 'killed')}, 3 of them to run`);
  expect(existsSync(join(folder, 'runs', 'killed', 'quadratic--pes--seed=0'))).toBe(false);

  const again = await here('sweep', at('killed.yaml'), '--output', at('runs', 'killed'));
  expect(again.stderr).toContain(
    '[1/4] quadratic--nres--seed=0: done already\n[2/4] quadratic--nres--seed=1: going on',
  );
  expect(again.stderr).toContain(
    '[3/4] quadratic--pes--seed=0\n[4/4] quadratic--pes--seed=1\nthese 2 runs share a population',
  );
  expect(again.code).toBe(0);
  // Seconds are in it: it was not run again.
  expect(readFileSync(first, 'utf8')).toBe(done);
  expect(again.stdout).toMatch(/│ nres │ 0, 1 .*\n.*\n│ pes +│ 0, 1 /);
  // 60 iterations of 2·4·10 inner steps, 10 of them in sequence.
  expect(again.stdout).toMatch(/│ +4,800 │ +600 │/);
  expect(again.stdout).toContain(`comparison: ${at('runs', 'killed', 'comparison.html')}\n`);
  expect(readFileSync(join(folder, 'runs', 'killed', 'comparison.html'), 'utf8')).toContain('<svg');

  const sets = ['pairs=4', `iterations=${String(iterations)}`].flatMap((set) => ['--set', set]);
  const one = ['train', 'quadratic', '--engine', 'reference', ...sets, '--seed', '1', '--quiet', '--output', at('one')];
  expect((await here(...one)).code).toBe(0);
  expect(withoutTime(join('runs', 'killed', cut, 'metrics.jsonl'))).toEqual(withoutTime(join('one', 'metrics.jsonl')));

  // The sweep's folder stands for its runs; the page goes where it is told to.
  const compared = await here('compare', at('runs', 'killed'), '--output', at('page.html'), '--json');
  expect(compared).toMatchObject({ code: 0, stderr: '' });
  const { groups } = JSON.parse(compared.stdout) as { groups: { label: string; innerSteps: number }[] };
  expect(groups.map(({ label, innerSteps }) => [label, innerSteps])).toEqual([
    ['nres', 4800],
    ['pes', 4800],
  ]);
  expect(existsSync(join(folder, 'page.html'))).toBe(true);
  const twice = await here('compare', at('one'), at('runs', 'killed', cut));
  expect(twice).toMatchObject({ code: 2, stdout: '' });
  expect(twice.stderr).toMatch(/^error: \S+one and \S+ are one run \(nres, seed 1\), which would count twice\..*\n$/);
});

test('a run that fails is told, the others run, and the failures stand at the end', async () => {
  // FullES needs an end of the horizon, which nobody knows before the problem has compiled.
  writeFileSync(
    join(folder, 'fails.yaml'),
    `presets: [influence-balancing, quadratic]
estimators: [full-es, nres]
set: {engine: reference, iterations: 2, pairs: 2}
mayDiverge: [{estimator: full-es}]
`,
  );
  const { code, stdout, stderr } = await here('sweep', at('fails.yaml'), '--output', at('fails'));
  expect(code).toBe(1);
  const message = 'horizon: expected a number of steps for full-es, got Infinity.';
  expect(stderr).toContain(`failed: ${message}`);
  expect(stderr).toMatch(/1 of 4 runs failed:\n {2}influence-balancing--full-es--seed=0: horizon: expected .*\n$/);
  expect(readdirSync(join(folder, 'fails')).sort()).toEqual([
    'comparison-influence-balancing.html',
    'comparison-quadratic.html',
    'influence-balancing--nres--seed=0',
    'quadratic--full-es--seed=0',
    'quadratic--nres--seed=0',
    'sweep.json',
  ]);
  // Runs of two objectives are two comparisons, and no one.
  expect(stdout.match(/^comparison: /gm)).toHaveLength(2);
  const names = ['influence-balancing--nres--seed=0', 'quadratic--nres--seed=0'].map((name) => at('fails', name));
  const compared = await here('compare', ...names, '--output', at('both.html'));
  expect(compared).toMatchObject({ code: 2, stdout: '' });
  expect(compared.stderr).toContain('(horizon: infinite → 100; problem.name: influence-balancing → quadratic)');
  expect(existsSync(at('both.html'))).toBe(false);
});

test('a run that may diverge is a result in the table; one that may not, and every other failure, fails the sweep', async () => {
  // A first step of 1e200 times a finite gradient: θ is finite, its square is not, so that iteration 1 has no loss.
  const diverging = `presets: [quadratic]
estimators: [nres, pes]
settings: {outerOptimizer.learningRate: [0.01, 1.0e+200]}
set: {engine: reference, iterations: 20, pairs: 2, outerOptimizer: sgd}
`;
  const allowed = 'mayDiverge: [{settings: {outerOptimizer.learningRate: 1.0e+200}}]\n';
  writeFileSync(at('diverges.yaml'), diverging + allowed);
  const sweep = ['sweep', at('diverges.yaml'), '--output', at('diverges')];
  const first = await here(...sweep);
  expect(first.stderr).toMatch(/\ndiverged at iteration 1, which the sweep says it may: no valid pair in 10 outer/);
  expect(first.stderr).not.toContain('failed');
  expect(first.code).toBe(0);
  const row = (name: string): RegExp =>
    new RegExp(`│ ${name} outer learningRate=1e\\+200 +│ 0 \\(diverged at iteration 1\\) │`);
  for (const name of ['nres', 'pes']) expect(first.stdout).toMatch(row(name));
  expect(first.stdout).toMatch(/│ pes outer learningRate=0.01 +│ 0 +│/);

  // It is over: no second try.
  const again = await here(...sweep);
  expect(again.code).toBe(0);
  expect(again.stderr.match(/: diverged already\n/g)).toHaveLength(2);
  expect(again.stdout).toMatch(row('nres'));

  // PES's may not now: it is tried again from its last checkpoint, and fails.
  writeFileSync(at('diverges.yaml'), `${diverging}mayDiverge: [{estimator: nres}]\n`);
  expect((await here(...sweep, '--dry-run')).stdout).toMatch(
    /nres\S+1e\+200\S+ +diverged\n(.*\n)*.*pes\S+1e\+200\S+ +diverged, to go on with\n/,
  );
  const failing = await here(...sweep);
  expect(failing.code).toBe(1);
  expect(failing.stderr).toMatch(
    /1 of 4 runs failed:\n {2}quadratic--pes\S+: no valid pair in 11 outer iterations in a row/,
  );
  expect(failing.stdout).toMatch(row('pes'));
});

test.each([
  ['workers', 'tbptt', ['window=10']],
  ['candidates', 'random-search', ['iterations=30', 'estimator.radius=1e200', 'estimator.batch=1']],
])(
  'what is dropped are %s where an estimator has no pairs: on the way, in messages, in the report',
  async (noun, name, own) => {
    // As above: no finite loss from the second iteration on; of random candidates, none but the start, which is the first.
    const sets = [`estimator=${name}`, 'outerOptimizer=sgd', 'outerOptimizer.learningRate=1e200', ...own];
    const train = ['train', 'quadratic', '--engine', 'reference', ...sets.flatMap((set) => ['--set', set])];
    const { code, stderr } = await here(...train, '--output', at(name));
    expect(stderr).toMatch(new RegExp(`meta-loss .* \\| dropped ${noun} \\d+\n`));
    const told = {
      workers: /^error: no valid worker in 10 outer iterations in a row: .* 1 workers dropped in the last/m,
      candidates: /^note: 9\d % of the candidates of 20 iterations were left out: .* A smaller box/m,
    };
    expect(stderr).toMatch(told[noun as keyof typeof told]);
    expect(stderr).not.toContain('pair');
    expect(code).toBe(noun === 'workers' ? 1 : 0);
    expect((await here('report', at(name))).code).toBe(0);
    expect(readFileSync(at(name, 'report.html'), 'utf8')).toMatch(new RegExp(`<td>dropped ${noun}</td><td>\\d+</td>`));
  },
);

test.each([
  ['together', [], [0, 1, 2]],
  ['one after another', ['--separate'], [0]],
])('Ctrl-C ends a sweep of runs %s after a checkpoint and says how to go on', async (_, separate, seeds) => {
  writeFileSync(
    join(folder, 'stopped.yaml'),
    'presets: [quadratic]\nseeds: 3\nset: {engine: reference, iterations: 2000, pairs: 8}\n',
  );
  const name = `stopped${seeds.length}`;
  const limits = ['--memory', '1GiB', '--threads', '1', ...separate];
  const child = sources.start(CLI, ['sweep', 'stopped.yaml', ...limits, '--output', name], { cwd: folder });
  let interrupted = false;
  child.stderr?.on('data', (chunk: Buffer) => {
    if (interrupted || !/\d+\/2000/.test(chunk.toString())) return;
    interrupted = true;
    child.kill('SIGINT');
  });
  const stopped = await finished(child);
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain(`go on with: outerloop sweep stopped.yaml ${limits.join(' ')} --output ${name}\n`);
  expect(readdirSync(join(folder, name)).sort()).toEqual([
    ...seeds.map((seed) => `quadratic--nres--seed=${seed}`),
    'sweep.json',
  ]);
});

test.each<[string, () => string[], string]>([
  ['no run', () => ['compare', folder], 'holds no run: config.json cannot be read (ENOENT).'],
  [
    'no page',
    () => ['compare', 'x', '--output', 'x.pdf'],
    '--output: expected the name of an .html file, got "x.pdf".',
  ],
  ['nowhere', () => ['compare', 'x', '--output', 'no/x.html'], '--output: expected a file in a folder that exists'],
  ['nothing', () => ['compare'], "missing required argument 'dirs'"],
  ['no sweep', () => ['sweep', at('none.yaml')], 'none.yaml: expected a configuration file, got ENOENT.'],
  ['one folder twice', () => ['compare', folder, `${folder}/.`], 'are one folder. Leave one of them out.'],
])('%s: one line, exit 2', async (_name, args, message) => {
  const { code, stdout, stderr } = await here(...args());
  expect(stderr).toContain(message);
  expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ code: 2, stdout: '', lines: 1 });
});
