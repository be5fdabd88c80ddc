/** A meta-test in words and numbers: tables, lines for other programs, what there is to say about it. */
import type { MetaTestReport, TestedTask } from '../outer/run-directory';
import type { MetaTestResult, Statistics } from '../outer/meta-test';
import { csv } from './csv';
import { formatNumber } from './page';

/** `0.6012 ± 0.0012`. */
function plusMinus({ mean, standardError }: Statistics): string {
  if (!Number.isFinite(mean)) return 'diverged';
  return `${mean.toFixed(4)} ± ${Number.isFinite(standardError) ? standardError.toFixed(4) : '?'}`;
}

/** Seconds as a person reads them. */
const seconds = (value: number): string => `${formatNumber(Number(value.toPrecision(3)))} s`;

/** Of one task: the head, then a row an optimizer. */
export function metaTestTable({ test }: TestedTask): string[][] {
  const { reference, results } = test;
  const hasAccuracy = results.some(({ accuracy }) => accuracy !== undefined);
  const head = [
    'optimizer',
    'learning rate',
    'mean loss',
    'final loss',
    ...(hasAccuracy ? ['final accuracy'] : []),
    'seconds a training',
    ...(reference === undefined ? [] : [`steps to the end of ${reference}`, `mean loss − ${reference} (lower on)`]),
  ];
  return [head, ...results.map((result) => rowOf(result, hasAccuracy, reference))];
}

function rowOf(result: MetaTestResult, hasAccuracy: boolean, reference: string | undefined): string[] {
  const { name, learningRate, meanLoss, finalLoss, accuracy, stepsToReference, difference, course } = result;
  const share = (stepsToReference ?? NaN) / course[course.length - 1].t;
  const toReference =
    stepsToReference === undefined
      ? 'not reached'
      : `${stepsToReference} (${seconds(result.secondsPerTraining * share)})`;
  const against = difference === undefined ? '' : `${plusMinus(difference)} (${difference.wins} of ${difference.n})`;
  return [
    name,
    learningRate === undefined ? '–' : formatNumber(learningRate),
    plusMinus(meanLoss),
    plusMinus(finalLoss),
    ...(hasAccuracy ? [accuracy === undefined ? '–' : plusMinus(accuracy)] : []),
    seconds(result.secondsPerTraining),
    ...(reference === undefined ? [] : [toReference, against]),
  ];
}

/** Beyond so many standard errors a difference is called one. */
const CLEAR = 2;

/** What the numbers of a task say, a sentence each. */
export function metaTestNotes({ test }: TestedTask, report: MetaTestReport): string[] {
  const { reference, results } = test;
  const notes: string[] = [];
  const learned = results.find(({ name }) => name === report.optimizer);
  const difference = learned?.difference;
  if (reference !== undefined && difference !== undefined) {
    const { mean, standardError, wins, n } = difference;
    const size = `${Math.abs(mean).toPrecision(3)} ± ${standardError.toPrecision(2)}`;
    if (!Number.isFinite(mean)) notes.push(`${report.optimizer} diverged on this task.`);
    else {
      const place =
        Math.abs(mean) <= CLEAR * standardError
          ? `level with that of tuned ${reference} (${mean.toPrecision(2)} ± ${standardError.toPrecision(2)})`
          : `${size} ${mean < 0 ? 'below' : 'above'} that of tuned ${reference}`;
      notes.push(`The mean loss of ${report.optimizer} is ${place}; it is lower on ${wins} of ${n} fresh starts.`);
    }
  }
  for (const { name, trials } of results) {
    const lost = trials.filter(({ meanLoss }) => !Number.isFinite(meanLoss)).length;
    if (lost > 0 && lost < trials.length) notes.push(`${name} diverged on ${lost} of ${trials.length} fresh starts.`);
  }
  for (const { name, tuning, learningRate } of results) {
    const last = tuning?.[tuning.length - 1].learningRate;
    if (tuning !== undefined && (learningRate === tuning[0].learningRate || learningRate === last)) {
      notes.push(`The best rate of ${name} is at an end of its grid: a better one may lie beyond.`);
    }
  }
  return notes;
}

/** One training, as `--json` and the CSV file have it. Numbers that are not finite are null. */
export interface TrialLine {
  readonly task: string;
  readonly optimizer: string;
  /** Null for the optimizer of the run. */
  readonly learningRate: number | null;
  readonly seed: number;
  readonly meanLoss: number | null;
  readonly finalLoss: number | null;
  readonly accuracy: number | null;
}

const finite = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** All trainings that were judged. */
export function trialLines({ tasks }: Pick<MetaTestReport, 'tasks'>): TrialLine[] {
  return tasks.flatMap(({ task, test }) =>
    test.results.flatMap(({ name, learningRate, trials }) =>
      trials.map((trial) => ({
        task,
        optimizer: name,
        learningRate: finite(learningRate),
        seed: trial.seed,
        meanLoss: finite(trial.meanLoss),
        finalLoss: finite(trial.finalLoss),
        accuracy: finite(trial.accuracy),
      })),
    ),
  );
}

const FIELDS = ['task', 'optimizer', 'learningRate', 'seed', 'meanLoss', 'finalLoss', 'accuracy'] as const;

/** `trialLines` as CSV. */
export function trialsCsv(report: Pick<MetaTestReport, 'tasks'>): string {
  return csv([FIELDS, ...trialLines(report).map((line) => FIELDS.map((name) => line[name]))]);
}
