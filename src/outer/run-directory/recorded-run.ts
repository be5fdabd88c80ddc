/** A run as it lies on disk, finished or not, for reports of several runs: read strictly, since nobody watches it go on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, RunDirectoryError } from '../../contracts';
import type { Measurement } from '../events';
import type { MetricsLine } from '../result';
import { listCheckpoints, readCheckpoint } from './checkpoints';
import { readDivergence, readEvaluations, readRunConfig, readSummary, type RunConfig } from './run-directory';

const METRICS = 'metrics.jsonl';

export interface RecordedRun {
  /** As it was given. */
  readonly path: string;
  readonly config: RunConfig;
  /** At least one line, unless it diverged in its first iteration. */
  readonly history: readonly MetricsLine[];
  readonly finished: boolean;
  /** The first outer iteration, from 0, whose numbers were not finite, if the run ended by that. */
  readonly diverged?: number;
  /** Absent when the problem states no evaluation. */
  readonly before?: Measurement;
  /** Absent until the run has finished. */
  readonly after?: Measurement;
}

/**
 * Configuration, metrics and evaluations of a run folder.
 * @throws RunDirectoryError if it holds no run, has not done an iteration, or a file is damaged
 */
export function readRecordedRun(path: string): RecordedRun {
  const config = readRunConfig(path);
  const summary = readSummary(path);
  const divergence = readDivergence(path);
  const history = readHistory(path);
  if (history.length === 0 && divergence === undefined) {
    throw new RunDirectoryError(
      `${path} has not done an iteration yet. Go on with it by \`outerloop resume ${path}\`.`,
    );
  }
  if (summary !== undefined && history.length !== summary.iterations) {
    throw new RunDirectoryError(
      `${join(path, METRICS)} is damaged: it has ${String(history.length)} lines, and the run has done ` +
        `${String(summary.iterations)} iterations. Leave this run out, or do it again.`,
    );
  }
  const { before, after } = readEvaluations(path) ?? { before: beforeOf(path) };
  return {
    path,
    config,
    history,
    finished: summary !== undefined,
    ...(divergence === undefined ? {} : { diverged: divergence.iteration }),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  };
}

function readHistory(path: string): MetricsLine[] {
  const file = join(path, METRICS);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new RunDirectoryError(`${file} cannot be read (${code}). Leave this run out, or do it again.`, {
      cause: error,
    });
  }
  // What follows the last line break was being written when the process ended.
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, i) => parsedLine(file, line, i));
}

function parsedLine(file: string, text: string, index: number): MetricsLine {
  let line: Partial<MetricsLine> | null;
  try {
    line = JSON.parse(text) as Partial<MetricsLine> | null;
  } catch {
    line = null;
  }
  const { iteration, innerSteps, wallSeconds } = line ?? {};
  if (iteration !== index || typeof innerSteps !== 'number' || typeof wallSeconds !== 'number') {
    throw new RunDirectoryError(
      `${file} is damaged at line ${String(index + 1)}: expected the metrics of iteration ${String(index)}, got ` +
        `${text.length > 40 ? `${text.slice(0, 40)}…` : text}. Leave this run out, or do it again.`,
    );
  }
  return line as MetricsLine;
}

/** An unfinished run keeps the judgement of its start in its checkpoints; one that is damaged only lacks it here. */
function beforeOf(path: string): Measurement | undefined {
  for (const file of listCheckpoints(path)) {
    try {
      return readCheckpoint(file.path).before;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  }
  return undefined;
}
