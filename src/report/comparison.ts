/** Several runs beside one another: which of them may be compared, which are one, and what a table of them says. */
import { UserError, type ConfigObject, type ConfigValue } from '../contracts';
import type { Measurement } from '../outer/events';
import { canonical } from '../outer/prepare';
import type { MetricsLine } from '../outer/result';
import { formatNumber } from './page';

/** What a comparison needs of a run; `RecordedRun` of the run directory is one. */
export interface ComparedRun {
  readonly path: string;
  /** config.json: the configuration, the engine that ran, and `run`. */
  readonly config: ConfigObject & { readonly engine: string };
  readonly history: readonly MetricsLine[];
  readonly finished: boolean;
  /** The first iteration, from 0, whose numbers were not finite, of a run that ended by that. */
  readonly diverged?: number;
  readonly before?: Measurement;
  readonly after?: Measurement;
}

/** Runs that differ by their seed alone. */
export interface RunGroup {
  /** What sets it apart from the other groups: `nres window=20`. */
  readonly label: string;
  /** In the order of their seeds. */
  readonly runs: readonly ComparedRun[];
}

export interface Comparison {
  /** Name of the problem, or of the task. */
  readonly title: string;
  /** What all runs minimise: settings by dotted key. */
  readonly objective: Readonly<Record<string, string>>;
  /** In the order in which they were first given. */
  readonly groups: readonly RunGroup[];
}

/** What θ is judged by: runs that differ in one of these minimise different things. */
const OBJECTIVE_KEYS: readonly string[] = ['problem', 'task', 'data', 'objective', 'horizon'];
/** What tells two runs of one setting apart, or is no setting of the training. */
const FREE_KEYS: readonly string[] = ['seed', 'run', 'checkpoint', 'plugins', 'preset', 'evaluation'];

const isObject = (value: ConfigValue | undefined): value is ConfigObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (value: ConfigValue | undefined): string =>
  value === undefined ? 'nothing' : typeof value === 'string' ? value : canonical(value);

/** Leaves by dotted key; lists are leaves. */
function flatten(config: ConfigObject, prefix = ''): Map<string, ConfigValue> {
  const leaves = new Map<string, ConfigValue>();
  for (const [key, value] of Object.entries(config)) {
    if (isObject(value)) for (const [name, leaf] of flatten(value, `${prefix}${key}.`)) leaves.set(name, leaf);
    else leaves.set(`${prefix}${key}`, value);
  }
  return leaves;
}

const picked = (config: ConfigObject, keep: (key: string) => boolean): ConfigObject =>
  Object.fromEntries(Object.entries(config).filter(([key]) => keep(key)));

const objectiveOf = (config: ConfigObject): ConfigObject => picked(config, (key) => OBJECTIVE_KEYS.includes(key));

/** Equal for runs that minimise the same. */
export function objectiveKey(run: ComparedRun): string {
  return canonical(objectiveOf(run.config));
}

/** Equal for runs that differ by their seed alone. */
const settingsKey = (run: ComparedRun): string => canonical(picked(run.config, (key) => !FREE_KEYS.includes(key)));

export function seedOf(run: ComparedRun): number {
  return typeof run.config.seed === 'number' ? run.config.seed : 0;
}

/** What differs between two configurations, `horizon: 100 → 200; …`; empty if nothing does. */
export function settingDifferences(expected: ConfigObject, got: ConfigObject): string {
  const [a, b] = [flatten(expected), flatten(got)];
  const differing = [...new Set([...a.keys(), ...b.keys()])]
    .map((key) => [key, textOf(a.get(key)), textOf(b.get(key))])
    .filter(([, one, other]) => one !== other);
  // Another problem has other options.
  const renamed = differing.filter(([key]) => key.endsWith('.name')).map(([key]) => key.split('.')[0]);
  const telling = differing.filter(([key]) => key.endsWith('.name') || !renamed.includes(key.split('.')[0]));
  return telling.map(([key, one, other]) => `${key}: ${one} → ${other}`).join('; ');
}

/** @throws UserError naming what differs */
function checkObjectives(runs: readonly ComparedRun[]): void {
  const [first, ...others] = runs;
  for (const other of others) {
    const list = settingDifferences(objectiveOf(first.config), objectiveOf(other.config));
    if (list === '') continue;
    throw new UserError(
      `${first.path} and ${other.path} have different objectives, which have no common scale (${list}). ` +
        'Compare them apart.',
    );
  }
}

/** A wrapped hyperparameter says where θ starts; which θ it is, its kind says. */
const withoutStart = (value: ConfigValue): ConfigValue => {
  if (typeof value === 'string') return value.replace(/^\s*(meta\.\w+)\(.*\)\s*$/, '$1');
  if (Array.isArray(value)) return value.map(withoutStart);
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([key, child]) => [key, withoutStart(child)]))
    : value;
};

/**
 * Whether a point θ of the run means the same under the configuration: one objective, and one optimizer up to where its
 * wrapped hyperparameters start.
 * @throws UserError naming what differs
 */
export function checkSameTheta(title: string, config: ConfigObject, run: Pick<ComparedRun, 'path' | 'config'>): void {
  const told = (one: ConfigObject): ConfigObject =>
    picked(one, (key) => OBJECTIVE_KEYS.includes(key) || key === 'optimizer');
  const own = told(config);
  const list = settingDifferences(withoutStart(own) as ConfigObject, withoutStart(told(run.config)) as ConfigObject);
  if (list === '') return;
  throw new UserError(`${run.path} is a run of something else than ${title} (${list}). Leave it out, or set the same.`);
}

/** @throws UserError naming two runs that are one */
function checkDistinct(label: string, runs: readonly ComparedRun[]): void {
  runs.forEach((run, i) => {
    const twin = runs.slice(0, i).find((other) => seedOf(other) === seedOf(run));
    if (twin === undefined) return;
    throw new UserError(
      `${twin.path} and ${run.path} are one run (${label}, seed ${String(seedOf(run))}), which would count twice. ` +
        'Leave one of them out.',
    );
  });
}

/** Short forms of keys in labels. */
const shortKey = (key: string): string => key.replace(/^estimator\./, '').replace(/^outerOptimizer\./, 'outer ');

/** Whether the setting is there in another form: a number where others have a schedule with options, or the other way round. */
const elsewhere = (leaves: ReadonlyMap<string, ConfigValue>, key: string): boolean =>
  !leaves.has(key) && [...leaves.keys()].some((own) => own.startsWith(`${key}.`) || key.startsWith(`${own}.`));

/**
 * One label a configuration: the estimator's name, then each setting that is not the same for all. Options of named things
 * count where the name is the same: that another estimator has other options goes without saying.
 */
function labelsOf(configs: readonly ConfigObject[]): string[] {
  const flat = configs.map((config) => flatten(picked(config, (key) => !FREE_KEYS.includes(key))));
  const nameAt = (i: number, key: string): string => {
    const owner = key.split('.')[0];
    return key === `${owner}.name` ? '' : textOf(flat[i].get(`${owner}.name`));
  };
  const keys = [...new Set(flat.flatMap((leaves) => [...leaves.keys()]))];
  return flat.map((leaves, i) => {
    const own = keys
      .filter((key) => key !== 'estimator.name' && !elsewhere(leaves, key))
      .filter((key) =>
        flat.some(
          (other, j) => nameAt(i, key) === nameAt(j, key) && textOf(other.get(key)) !== textOf(leaves.get(key)),
        ),
      )
      .map((key) => (key.endsWith('.name') ? textOf(leaves.get(key)) : `${shortKey(key)}=${textOf(leaves.get(key))}`));
    return [textOf(leaves.get('estimator.name')), ...own].join(' ');
  });
}

/**
 * Puts runs that differ by their seed alone together.
 * @throws UserError if the objectives differ, or a run is named twice
 */
export function compareRuns(runs: readonly ComparedRun[]): Comparison {
  if (runs.length === 0) throw new UserError('nothing to compare: name the folders of runs.');
  checkObjectives(runs);
  const byKey = new Map<string, ComparedRun[]>();
  for (const run of runs) byKey.set(settingsKey(run), [...(byKey.get(settingsKey(run)) ?? []), run]);
  const groups = [...byKey.values()];
  const labels = labelsOf(groups.map(([run]) => run.config));
  groups.forEach((group, i) => checkDistinct(labels[i], group));
  const objective = flatten(objectiveOf(runs[0].config));
  return {
    title: textOf(objective.get('problem.name') ?? objective.get('task.name')),
    objective: Object.fromEntries([...objective].map(([key, value]) => [key, textOf(value)])),
    groups: groups.map((group, i) => ({
      label: labels[i],
      runs: group.sort((a, b) => seedOf(a) - seedOf(b)),
    })),
  };
}

/** Mean over seeds; `standardError` is the sample deviation / √n, 0 for one seed. */
export interface SeedMean {
  readonly mean: number;
  readonly standardError: number;
  /** Seeds that have the number. */
  readonly n: number;
}

/** Undefined if no seed has a finite number. */
export function seedMean(values: readonly (number | null | undefined)[]): SeedMean | undefined {
  const known = values.filter((value): value is number => typeof value === 'number' && Number.isFinite(value));
  const n = known.length;
  if (n === 0) return undefined;
  const mean = known.reduce((sum, value) => sum + value, 0) / n;
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, standardError: n < 2 ? 0 : Math.sqrt(squares / (n - 1) / n), n };
}

/** Inner steps that one worker has run after another, up to each line; undefined where a line does not say. */
export function sequentialSteps(history: readonly MetricsLine[]): (number | undefined)[] {
  let sum: number | undefined = 0;
  return history.map((line) => {
    sum = sum === undefined || line.sequentialSteps === undefined ? undefined : sum + line.sequentialSteps;
    return sum;
  });
}

/** One recorded evaluation of a run. */
export interface EvaluationPoint {
  /** Iterations done. */
  readonly iteration: number;
  readonly mean: number;
}

/** Every finite evaluation of a run in order: its start, those along the way, its end. */
export function evaluationsOf({ before, history, after }: ComparedRun): EvaluationPoint[] {
  const points = [
    { iteration: 0, mean: before?.mean },
    ...history.map((line) => ({ iteration: line.iteration + 1, mean: line.evaluation?.mean })),
    { iteration: history.length, mean: after?.mean },
  ];
  return points.filter((point): point is EvaluationPoint => Number.isFinite(point.mean ?? NaN));
}

/** Name and direction of the evaluation, if any run has one. */
export function evaluationMetric(comparison: Comparison): { metric: string; minimise: boolean } | undefined {
  const all = comparison.groups.flatMap(({ runs }) => runs.flatMap((run) => [run.before, run.after]));
  return all.find((measurement) => measurement !== undefined);
}

/** One line of the table. */
export interface GroupSummary {
  readonly label: string;
  readonly seeds: readonly number[];
  /** Cut, and not diverged. */
  readonly unfinished: number;
  /** Runs that ended by numbers that are not finite, in the order of their seeds. */
  readonly diverged: readonly { readonly seed: number; readonly iteration: number }[];
  /** The evaluation, over seeds. */
  readonly before?: SeedMean;
  readonly after?: SeedMean;
  /** The best evaluation after the start, of all seeds. */
  readonly best?: EvaluationPoint & { readonly seed: number };
  /** Mean meta-loss of the last tenth of the iterations, over seeds. */
  readonly metaLoss?: SeedMean;
  /** Means over seeds, at the end. */
  readonly innerSteps: number;
  readonly sequentialSteps?: number;
  readonly seconds: number;
  readonly directories: readonly string[];
}

const LAST_PART = 10;

function lastMetaLoss(history: readonly MetricsLine[]): number | undefined {
  const last = history.slice(-Math.ceil(history.length / LAST_PART));
  return seedMean(last.map((line) => line.meanLoss))?.mean;
}

export function summarise(comparison: Comparison): GroupSummary[] {
  const minimise = evaluationMetric(comparison)?.minimise ?? true;
  return comparison.groups.map(({ label, runs }) => {
    const points = runs.flatMap((run) =>
      evaluationsOf(run)
        .filter(({ iteration }) => iteration > 0)
        .map((point) => ({ ...point, seed: seedOf(run) })),
    );
    const best = points.reduce<(typeof points)[number] | undefined>(
      (a, b) => (a === undefined || (minimise ? b.mean < a.mean : b.mean > a.mean) ? b : a),
      undefined,
    );
    const sequential = seedMean(runs.map((run) => sequentialSteps(run.history).at(-1)));
    const known = {
      before: seedMean(runs.map((run) => run.before?.mean)),
      after: seedMean(runs.map((run) => run.after?.mean)),
      best,
      metaLoss: seedMean(runs.map((run) => lastMetaLoss(run.history))),
      sequentialSteps: sequential?.mean,
    };
    const last = runs.flatMap((run) => run.history.slice(-1));
    return {
      label,
      seeds: runs.map(seedOf),
      unfinished: runs.filter((run) => !run.finished && run.diverged === undefined).length,
      diverged: runs.flatMap((run) =>
        run.diverged === undefined ? [] : [{ seed: seedOf(run), iteration: run.diverged }],
      ),
      ...(Object.fromEntries(
        Object.entries(known).filter(([, value]) => value !== undefined),
      ) as Partial<GroupSummary>),
      innerSteps: seedMean(last.map((line) => line.innerSteps))?.mean ?? 0,
      seconds: seedMean(last.map((line) => line.wallSeconds))?.mean ?? 0,
      directories: runs.map((run) => run.path),
    };
  });
}

const dash = '–';
const whole = (value: number | undefined): string =>
  value === undefined ? dash : Math.round(value).toLocaleString('en');

/** `8 ± 0.12`, the error over seeds; the number alone of one seed, or of seeds that agree. */
function formatSeedMean(value: SeedMean | undefined): string {
  if (value === undefined) return dash;
  return value.standardError === 0
    ? formatNumber(value.mean)
    : `${formatNumber(value.mean)} ± ${formatNumber(value.standardError)}`;
}

/** `0, 1, 2`, or `0–9` of ten in a row, and which of them have no end. */
function formatSeeds({ seeds, unfinished, diverged }: GroupSummary): string {
  const inRow = seeds.length > 2 && seeds.every((seed, i) => seed === seeds[0] + i);
  const list = inRow ? `${seeds[0]}–${seeds[seeds.length - 1]}` : seeds.join(', ');
  const ends = [
    ...diverged.map(({ seed, iteration }) => {
      const text = `diverged at iteration ${whole(iteration)}`;
      return seeds.length === 1 ? text : `${seed} ${text}`;
    }),
    ...(unfinished === 0 ? [] : [`${unfinished} unfinished`]),
  ];
  return ends.length === 0 ? list : `${list} (${ends.join(', ')})`;
}

/** The table of a comparison: the first row is its head. */
export function comparisonTable(comparison: Comparison): string[][] {
  const metric = evaluationMetric(comparison)?.metric;
  const named = (word: string): string => (metric === undefined ? word : `${metric} ${word}`);
  const head = ['', 'seeds', named('before'), 'after', 'best (seed, iteration)', 'meta-loss, last tenth'];
  const rows = summarise(comparison).map((group) => [
    group.label,
    formatSeeds(group),
    formatSeedMean(group.before),
    formatSeedMean(group.after),
    group.best === undefined
      ? dash
      : `${formatNumber(group.best.mean)} (${group.best.seed}, ${whole(group.best.iteration)})`,
    formatSeedMean(group.metaLoss),
    whole(group.innerSteps),
    whole(group.sequentialSteps),
    formatNumber(group.seconds),
  ]);
  return [[...head, 'inner steps', 'in sequence', 'seconds'], ...rows];
}

/** What a reader of the numbers has to know. */
export function comparisonNotes(comparison: Comparison): string[] {
  const runs = comparison.groups.flatMap((group) => group.runs);
  const machine = (run: ComparedRun): string => {
    const record = isObject(run.config.run) ? run.config.run : {};
    return canonical([run.config.engine, record.machine ?? null]);
  };
  const searches = runs.some((run) => run.history.some((line) => line.diagnostics?.candidates !== undefined));
  return [
    'Means are over seeds, ± is their standard error.',
    'Inner steps count both partners of every pair and no burn-in; in sequence: those that one worker runs after another.',
    ...(new Set(runs.map(machine)).size > 1
      ? ['The runs had different engines or machines: seconds do not compare.']
      : []),
    ...(searches ? ['The meta-loss of a search is that of its best candidate so far, chosen for being low.'] : []),
  ];
}
