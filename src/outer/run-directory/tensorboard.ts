/** `tensorboard/` of a run's folder: what metrics.jsonl has, as an event file of TensorBoard. */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { RunEvent, RunListener } from '../events';
import { metricsLine, type MetricsLine } from '../result';
import { coordinateNames } from '../theta';
import { firstEvents, scalarEvent } from './event-file';
import { append, written } from './files';
import { readMetrics } from './run-directory';

const FOLDER = 'tensorboard';
const NAME = /^events\.out\.tfevents\.(\d+)\./;

/** Whether a run has been writing event files. */
export const hasTensorboard = (run: string): boolean => existsSync(join(run, FOLDER));

type Numbers = Readonly<Record<string, number | null>>;

function group(name: string, numbers: Numbers | undefined): [string, number][] {
  // What is not finite is null in metrics.jsonl; TensorBoard shows NaN.
  return Object.entries(numbers ?? {}).map(([key, value]) => [`${name}/${key}`, value ?? NaN]);
}

/** The scalars of a line, by tag. @param names of θ's numbers, in order */
export function scalarsOf(line: MetricsLine, names: readonly string[]): Readonly<Record<string, number>> {
  const { theta, metrics, diagnostics, evaluation, heldOut = {} } = line;
  const training: Numbers = {
    'meta-loss': line.meanLoss,
    'gradient norm': line.gradientNorm,
    'update norm': line.updateNorm,
    'inner steps': line.innerSteps,
    'burn-in steps': line.burnInSteps,
    ...(line.sequentialSteps === undefined ? {} : { 'sequential steps': line.sequentialSteps }),
    'dropped pairs': line.droppedPairs,
  };
  const judged = ({ mean, standardError }: NonNullable<typeof evaluation>): Numbers => ({
    mean,
    'standard error': standardError,
  });
  return Object.fromEntries([
    ...group('training', training),
    ...group('theta', Object.fromEntries((theta ?? []).map((value, i) => [names[i], value]))),
    ...group('metrics', metrics),
    ...group('diagnostics', diagnostics),
    ...group('evaluation', evaluation === undefined ? undefined : judged(evaluation)),
    ...Object.entries(heldOut).flatMap(([name, one]) =>
      group(`held-out/${name}`, { ...judged(one), 'meta-loss': one.metaLoss }),
    ),
  ]);
}

/**
 * Writes the event file of a run, an event an outer iteration. A run that goes on writes a new file from the lines of metrics.jsonl
 * that it has kept, and removes the earlier: nothing of iterations that were given up stays, nor a record that was cut short.
 * Wall time is that of this process, minus what the run had run before it: between two events lies what the run took.
 * @param run its folder, begun by the time of the run's `start`
 */
export function tensorboardListener(run: string): RunListener {
  let file: EventFile | undefined;
  return (event: RunEvent) => {
    if (event.type === 'start') {
      const lines = readMetrics(run);
      file = new EventFile(join(run, FOLDER), coordinateNames(event.layout), lines);
    } else if (event.type === 'iteration') file?.add(metricsLine(event.record));
  };
}

class EventFile {
  private readonly path: string;
  /** Seconds since 1970. */
  private readonly began: number;

  constructor(
    folder: string,
    private readonly names: readonly string[],
    lines: readonly MetricsLine[],
  ) {
    const now = Date.now() / 1000;
    this.began = now - (lines.at(-1)?.wallSeconds ?? 0);
    written(folder, () => mkdirSync(folder, { recursive: true }));
    const earlier = readdirSync(folder).filter((name) => NAME.test(name));
    // Viewers read the files of a folder in the order of their names, and go on to later ones only.
    const stamps = earlier.map((name) => Number(NAME.exec(name)?.[1]) + 1);
    const stamp = String(Math.max(Math.floor(now), ...stamps)).padStart(10, '0');
    this.path = join(folder, `events.out.tfevents.${stamp}.${hostname()}.${String(process.pid)}`);
    this.append(Buffer.concat([firstEvents(this.began), ...lines.map((line) => this.event(line))]));
    for (const name of earlier) rmSync(join(folder, name), { force: true });
  }

  add(line: MetricsLine): void {
    this.append(this.event(line));
  }

  private event(line: MetricsLine): Buffer {
    return scalarEvent(this.began + line.wallSeconds, line.iteration, scalarsOf(line, this.names));
  }

  /** Opened each time: a run that ends by an error tells its listeners nothing. */
  private append(bytes: Uint8Array): void {
    const descriptor = written(this.path, () => openSync(this.path, 'a'));
    try {
      append(this.path, descriptor, bytes);
    } finally {
      closeSync(descriptor);
    }
  }
}
