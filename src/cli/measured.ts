/** What commands that measure a problem, without training on it, have in common. */
import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigurationError, UserError, type ConfigObject } from '../contracts';
import {
  initialTheta,
  noticesTo,
  parseOverride,
  prepareRun,
  resolveConfig,
  type Override,
  type PreparedRun,
  type Resolver,
} from '../outer';
import {
  listCheckpoints,
  readCheckpoint,
  readRecordedRun,
  readStart,
  sweepRuns,
  type RecordedRun,
} from '../outer/run-directory';
import { checkSameTheta, compareRuns, seedOf } from '../report';
import { readInput } from './commands/train';
import { dataProgress } from './data-progress';
import { quoted } from './outcome';
import { openContainer, type CommonOptions, type LimitOptions, type Terminal } from './session';

export interface MeasureOptions extends CommonOptions, LimitOptions {
  readonly set?: readonly string[];
  readonly seed?: string;
  readonly engine?: string;
  readonly runs?: readonly string[];
  readonly output?: string;
}

/** A preset or a file with what the command line sets. */
export interface MeasureInput {
  readonly label: string;
  readonly config: ConfigObject;
  readonly overrides: readonly Override[];
  readonly resolver: Resolver;
}

/** @throws ConfigurationError, UnknownNameError, PluginError */
export async function openInput(target: string, options: MeasureOptions): Promise<MeasureInput> {
  const input = readInput(target);
  const plugins = [...new Set([...input.plugins, ...(options.plugin ?? []).map((file) => resolve(file))])];
  const resolver = await openContainer(plugins);
  const overrides: Override[] = (options.set ?? []).map(parseOverride);
  if (options.seed !== undefined) overrides.push(parseOverride(`seed=${options.seed}`));
  if (options.engine !== undefined) overrides.push({ key: 'engine', value: options.engine });
  return { label: input.label, config: input.config, overrides, resolver };
}

/** Builds the problem; loads data. @throws what `resolveConfig` and `prepareRun` throw */
export async function prepareInput(
  input: MeasureInput,
  more: readonly Override[],
  terminal: Terminal,
): Promise<PreparedRun> {
  const config = resolveConfig(input.config, [...input.overrides, ...more], input.resolver);
  if (config.tasks !== undefined) {
    throw new ConfigurationError(
      'tasks',
      'one task, or a problem, to measure on',
      'several',
      'Name one in place of it.',
    );
  }
  return prepareRun(config, input.resolver, { onProgress: dataProgress(terminal.err) });
}

/** Where an engine's notices go. */
export function noticeLines({ quiet, json }: CommonOptions, { err }: Terminal): (text: string) => void {
  if (quiet === true || json === true) return () => undefined;
  return noticesTo([(event) => event.type === 'notice' && err.write(`note: ${event.text}\n`)]);
}

/** A run, and what it is called beside the others. */
export interface LabelledRun {
  readonly label: string;
  readonly run: RecordedRun;
}

/**
 * Runs whose θ are points of the prepared problem; the folder of a sweep stands for its runs.
 * @throws RunDirectoryError, UserError for a run of something else, or one that is named twice
 */
export function readRuns(label: string, prepared: PreparedRun, directories: readonly string[]): LabelledRun[] {
  if (directories.length === 0) return [];
  const folders = directories.flatMap((directory) => sweepRuns(directory) ?? [directory]);
  const seen = new Set<string>();
  const runs = folders.map((folder) => {
    const real = existsSync(folder) ? realpathSync(folder) : folder;
    if (seen.has(real)) throw new UserError(`${folder} is named twice. Leave one of them out.`);
    seen.add(real);
    const run = readRecordedRun(folder);
    checkSameTheta(label, prepared.config as unknown as ConfigObject, run);
    return run;
  });
  return compareRuns(runs).groups.flatMap((group) =>
    (group.runs as readonly RecordedRun[]).map((run) => ({
      label: group.runs.length === 1 ? group.label : `${group.label} seed ${seedOf(run)}`,
      run,
    })),
  );
}

export interface RecordedTheta {
  /** Outer iterations done. */
  readonly iteration: number;
  readonly theta: Float64Array;
}

/**
 * θ of a run as far as it was recorded, in order: each iteration's where metrics.jsonl has it, else those of the
 * checkpoints that are left. θ₀ too, where the configuration starts where the run did.
 */
export function recordedThetas({ config, plan }: PreparedRun, run: RecordedRun): RecordedTheta[] {
  const sameStart = JSON.stringify(config.optimizer) === JSON.stringify(run.config.optimizer);
  const began = (): Float64Array =>
    'warmStart' in run.config ? readStart(run.path) : initialTheta(plan.problem, seedOf(run));
  const start = sameStart ? [{ iteration: 0, theta: began() }] : [];
  const lines = run.history.flatMap(({ iteration, theta }) =>
    theta?.every((value) => value !== null) === true
      ? [{ iteration: iteration + 1, theta: Float64Array.from(theta) }]
      : [],
  );
  if (lines.length > 0) return [...start, ...lines];
  const files = listCheckpoints(run.path).reverse();
  return [
    ...start,
    ...files.map((file) => readCheckpoint(file.path).state).map(({ iteration, theta }) => ({ iteration, theta })),
  ];
}

/** The command line that was given, as a person would type it again. */
export function commandLine(
  name: string,
  target: string,
  flags: Readonly<Record<string, string | readonly string[] | boolean | undefined>>,
): string {
  const words = Object.entries(flags).flatMap(([flag, value]) => {
    if (value === undefined || value === false) return [];
    if (value === true) return [`--${flag}`];
    if (typeof value === 'string') return [`--${flag} ${quoted(value)}`];
    return value.map((one) => `--${flag} ${quoted(one)}`);
  });
  return ['outerloop', name, quoted(target), ...words].join(' ');
}
