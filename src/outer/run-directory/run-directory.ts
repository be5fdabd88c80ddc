/**
 * The folder of a run: config.json, metrics.jsonl, checkpoints/, summary.json, evaluation.json (or divergence.json), and a lock while a
 * process works in it. At whatever moment the process is killed, `RunDirectory.open` finds a state to go on from.
 */
import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  CheckpointError,
  RunDirectoryError,
  type ConfigObject,
  type ConfigValue,
  type Counted,
  type DivergenceError,
  type ThetaDescription,
  type ThetaLayout,
  type UnrollEngine,
} from '../../contracts';
import type { BestEvaluation } from '../best';
import type { Measurement } from '../events';
import type { LoopState } from '../loop';
import { canonical } from '../prepare';
import type { OpenedEngine } from '../resolver';
import { runSummary, type MetricsLine, type RunResult, type RunSummary } from '../result';
import type { CompiledProblem, RunPlan, RunStore, SavedRun } from '../run';
import type { SigmaProbe } from '../sigma-probe';
import { checkData, dataRecord, type DataRecord } from './data-record';
import { chooseCheckpoint, goBackTo, removeLeftovers, writeBest, writeCheckpoint, writeStart } from './checkpoints';
import { append, reviveNumbers, writeJson, writeWhole, written } from './files';
import { FolderLock, isDeadAside, isLocked, LOCK } from './lock';
import { differences, theseVersions, thisMachine, type Fingerprint, type Machine, type Versions } from './machine';

const CONFIG = 'config.json';
const METRICS = 'metrics.jsonl';
const SUMMARY = 'summary.json';
const EVALUATION = 'evaluation.json';
const DIVERGENCE = 'divergence.json';

/** Where a run runs. */
export interface RunPlace {
  /** As asked for; `engine` is the one that runs. */
  readonly requestedEngine: string;
  readonly engineReason: string;
  readonly versions: Versions;
  readonly machine: Machine;
  /** The engine's own, if it has one. */
  readonly fingerprint?: Fingerprint;
}

/** Where a run ran until it was resumed elsewhere. */
export interface EarlierPlace extends RunPlace {
  readonly engine: string;
  /** Iterations done when the run went on elsewhere. */
  readonly iterations: number;
}

/** What config.json records beside the configuration, under `run`. The configuration's own `engine` is the one that runs. */
export interface RunRecord extends RunPlace {
  /** Name of the problem. */
  readonly problem: string;
  readonly layout: ThetaLayout;
  /** What the estimator's `droppedPairs` count; absent: pairs. */
  readonly counts?: Counted;
  /** What it was trained on; absent if that has no data, and in runs of earlier versions. */
  readonly data?: DataRecord;
  /** Absolute paths of the plugin files. */
  readonly plugins: readonly string[];
  /** True if the things of the run were made in code and not from names: only that code can resume it. */
  readonly library: boolean;
  /** Of a run made in code: `optimizer` has the name and options that make it again. Absent in runs of earlier versions. */
  readonly namedOptimizer?: boolean;
  /** Oldest first; absent where the run never changed its place. */
  readonly earlier?: readonly EarlierPlace[];
}

/** config.json. */
export type RunConfig = ConfigObject & { readonly engine: string; readonly run: RunRecord & ConfigObject };

/** Both judgements in full, for reports. */
export interface RunEvaluations {
  readonly problem: string;
  readonly layout: ThetaLayout;
  readonly before?: Measurement;
  readonly after?: Measurement;
  readonly sigmaProbe?: SigmaProbe;
  readonly initialDescription?: ThetaDescription;
  readonly description?: ThetaDescription;
  readonly wallSeconds: number;
}

/** divergence.json: why the run has no end. */
export interface RunDivergence {
  /** The first outer iteration, from 0, whose numbers were not finite. */
  readonly iteration: number;
  readonly message: string;
}

export interface CreateOptions {
  /** The resolved configuration, or what stands for it when the run is made in code. */
  readonly config: ConfigObject;
  readonly opened: OpenedEngine;
  readonly compiled: CompiledProblem;
  /** Whose data are recorded. */
  readonly plan?: RunPlan;
  readonly requestedEngine: string;
  readonly plugins?: readonly string[];
  readonly library?: boolean;
  readonly namedOptimizer?: boolean;
  /** θ₀, if it is that of a warm start. */
  readonly start?: Float64Array;
}

export interface OpenOptions {
  readonly opened: OpenedEngine;
  /** What `opened` was asked for as; by default its name. */
  readonly requestedEngine?: string;
  /** Resume from this iteration's checkpoint; 0: from the start. By default the newest. */
  readonly checkpoint?: number;
  /** Go on although bits may differ: other versions, CPU features or engine. */
  readonly allowDifferentMachine?: boolean;
  /** What code that resumes a run of its own asks for; refused if the run was of something else. */
  readonly config?: ConfigObject;
}

/** Keys that may change between a checkpoint and the configuration it is resumed under. */
const FREE_KEYS: readonly string[] = ['iterations', 'checkpoint', 'engine', 'run', 'plugins'];

function digestOf(config: ConfigObject): string {
  const bound = Object.fromEntries(Object.entries(config).filter(([key]) => !FREE_KEYS.includes(key)));
  return createHash('sha256').update(canonical(bound)).digest('hex');
}

function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** What writing one of our files leaves aside when the process is killed in the middle. */
const UNFINISHED = /^(config\.json|metrics\.jsonl|summary\.json|evaluation\.json|divergence\.json|report\.html)\.\d+$/;

function isLeftover(name: string): boolean {
  return UNFINISHED.test(name) || isDeadAside(name);
}

/** With the lock held: nobody else is writing. */
function removeOwnLeftovers(path: string): void {
  for (const name of readdirSync(path)) if (isLeftover(name)) rmSync(join(path, name), { force: true });
}

/**
 * That a new run may use the folder: absent or empty, and writable. Nothing is written.
 * @throws RunDirectoryError
 */
export function checkFree(path: string): void {
  const folder = resolve(path);
  if (existsSync(folder)) {
    if (!statSync(folder).isDirectory()) throw new RunDirectoryError(`${path} is a file; a run needs a folder.`);
    const names = readdirSync(folder).filter((name) => (name === LOCK ? isLocked(folder) : !isLeftover(name)));
    if (names.includes(CONFIG)) {
      throw new RunDirectoryError(
        `${path} holds a run already. Go on with it by \`outerloop resume ${path}\`, or choose another folder.`,
      );
    }
    if (names.length > 0) {
      throw new RunDirectoryError(`${path} is not empty (${names.slice(0, 3).join(', ')}). Choose an empty folder.`);
    }
  }
  let existing = folder;
  while (!existsSync(existing)) existing = resolve(existing, '..');
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    if (!statSync(existing).isDirectory()) throw new RunDirectoryError(`${existing} is a file`);
  } catch (error) {
    throw new RunDirectoryError(`${path} is not writable (${existing}: ${reason(error)}). Choose another folder.`, {
      cause: error,
    });
  }
}

/** @throws RunDirectoryError if the folder is missing or holds no run */
export function readRunConfig(path: string): RunConfig {
  let text: string;
  try {
    text = readFileSync(join(path, CONFIG), 'utf8');
  } catch (error) {
    throw new RunDirectoryError(`${path} holds no run: ${CONFIG} cannot be read (${reason(error)}).`, { cause: error });
  }
  let config: Partial<RunConfig>;
  try {
    config = JSON.parse(text) as Partial<RunConfig>;
  } catch (error) {
    throw new RunDirectoryError(`${join(path, CONFIG)} is damaged: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof config.engine !== 'string' || typeof config.run?.versions !== 'object') {
    throw new RunDirectoryError(`${path} holds no run: ${CONFIG} has no engine or no record of its run.`);
  }
  return config as RunConfig;
}

/** The lines of metrics.jsonl; a last line that was cut short is left out. */
export function readMetrics(path: string): MetricsLine[] {
  return metricsText(path).map((line) => JSON.parse(line) as MetricsLine);
}

/** Whole lines of metrics.jsonl up to the first that is none. */
function metricsText(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(join(path, METRICS), 'utf8');
  } catch {
    return [];
  }
  // What follows the last line break was being written.
  const lines = text.split('\n').slice(0, -1);
  const bad = lines.findIndex((line, i) => !isLine(line, i));
  return bad < 0 ? lines : lines.slice(0, bad);
}

function isLine(text: string, iteration: number): boolean {
  try {
    return (JSON.parse(text) as Partial<MetricsLine>).iteration === iteration;
  } catch {
    return false;
  }
}

function readJson(path: string): unknown {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8'), reviveNumbers) as unknown;
  } catch (error) {
    throw new RunDirectoryError(`${path} is damaged: ${(error as Error).message}.`, { cause: error });
  }
}

/** Undefined until the run has finished. */
export function readSummary(path: string): RunSummary | undefined {
  return readJson(join(path, SUMMARY)) as RunSummary | undefined;
}

/** Undefined until the run has finished. */
export function readEvaluations(path: string): RunEvaluations | undefined {
  return readJson(join(path, EVALUATION)) as RunEvaluations | undefined;
}

/** Undefined unless the run ended since its numbers were not finite. */
export function readDivergence(path: string): RunDivergence | undefined {
  return readJson(join(path, DIVERGENCE)) as RunDivergence | undefined;
}

/** A run folder held by this process. */
export class RunDirectory implements RunStore {
  /** Descriptor of metrics.jsonl, from `begin` on. */
  private metrics?: number;

  private constructor(
    readonly path: string,
    private readonly lock: FolderLock,
    private readonly configuration: string,
    private readonly keep: number,
    /** Whole lines of metrics.jsonl of the iterations that `saved` has done. */
    private readonly lines: readonly string[],
    readonly saved?: SavedRun,
    /** The new config.json of a run that goes on elsewhere. */
    private readonly moved?: RunConfig,
  ) {}

  /** A new run; `begin` it. @throws RunDirectoryError */
  static create(path: string, options: CreateOptions): RunDirectory {
    checkFree(path);
    const lock = takeLock(path);
    try {
      removeOwnLeftovers(path);
      const { config, opened, compiled, requestedEngine, plugins = [], library = false, namedOptimizer } = options;
      const data = options.plan === undefined ? undefined : dataRecord(options.plan);
      const run: RunRecord = {
        ...compiled,
        ...(data === undefined ? {} : { data }),
        requestedEngine,
        engineReason: opened.reason,
        plugins,
        library,
        ...(namedOptimizer === undefined ? {} : { namedOptimizer }),
        ...hereWith(opened.engine),
      };
      const recorded = { ...config, engine: opened.engine.name, run };
      writeJson(join(path, CONFIG), recorded);
      if (options.start !== undefined) writeStart(path, options.start);
      return new RunDirectory(resolve(path), lock, digestOf(config), keepOf(config), []);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * An earlier run, at its newest checkpoint or the one asked for. Nothing of it is changed until `begin`.
   * @throws RunDirectoryError, CheckpointError
   */
  static open(path: string, options: OpenOptions): RunDirectory {
    const config = readRunConfig(path);
    if (options.config !== undefined) checkSame(path, config, options.config);
    if (options.allowDifferentMachine !== true) checkMachine(path, config, options.opened.engine);
    const lock = takeLock(path);
    try {
      removeOwnLeftovers(path);
      removeLeftovers(path);
      const configuration = digestOf(config);
      const checkpoint = chooseCheckpoint(path, options.checkpoint);
      if (checkpoint !== undefined && checkpoint.configuration !== configuration) {
        throw new CheckpointError(
          `the checkpoint of iteration ${String(checkpoint.state.iteration)} in ${path} belongs to another configuration: ` +
            `${CONFIG} was changed. Undo the change, or start a new run.`,
        );
      }
      const done = checkpoint?.state.iteration ?? 0;
      const lines = metricsText(path).slice(0, done);
      if (lines.length < done) {
        throw new RunDirectoryError(
          `${join(path, METRICS)} is damaged at line ${String(lines.length + 1)}: the checkpoint needs ${String(done)} lines. ` +
            'Start again with --checkpoint 0.',
        );
      }
      const history = lines.map((line) => JSON.parse(line) as MetricsLine);
      const saved =
        checkpoint === undefined ? undefined : { state: checkpoint.state, before: checkpoint.before, history };
      const moved = movedTo(config, options, done);
      return new RunDirectory(resolve(path), lock, configuration, keepOf(config), lines, saved, moved);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Opens metrics.jsonl, and takes away what comes after the checkpoint, as it will be reached anew: results, newer
   * checkpoints, metrics lines. Records where the run goes on, if that is elsewhere. To be called once everything has compiled,
   * so that a mistake costs nothing.
   * @param plan Of a run that goes on.
   * @throws RunDirectoryError if its data are not those that the run had
   */
  begin(plan?: RunPlan): this {
    if (plan !== undefined) checkData(this.path, readRunConfig(this.path).run.data, plan);
    for (const file of [SUMMARY, EVALUATION, DIVERGENCE]) rmSync(join(this.path, file), { force: true });
    if (this.moved !== undefined) writeJson(join(this.path, CONFIG), this.moved);
    goBackTo(this.path, this.saved?.state.iteration ?? 0, this.keep);
    writeBest(this.path, this.saved?.state.best);
    if (existsSync(join(this.path, METRICS))) {
      writeWhole(join(this.path, METRICS), this.lines.map((line) => `${line}\n`).join(''));
    }
    this.metrics = openSync(join(this.path, METRICS), 'a');
    return this;
  }

  line(line: MetricsLine): void {
    append(join(this.path, METRICS), this.descriptor(), `${JSON.stringify(line)}\n`);
  }

  checkpoint(state: LoopState, before: Measurement | undefined): Promise<string> {
    this.lock.check();
    // Lines first: a checkpoint counts on those of its iterations, also after a power failure.
    written(join(this.path, METRICS), () => fsyncSync(this.descriptor()));
    const { configuration } = this;
    return Promise.resolve(writeCheckpoint(this.path, { state, before, configuration }, this.keep));
  }

  best(best: BestEvaluation): void {
    this.lock.check();
    writeBest(this.path, best);
  }

  finish(result: RunResult): Promise<void> {
    this.lock.check();
    const evaluations: RunEvaluations = {
      problem: result.problem,
      layout: result.layout,
      before: result.before,
      after: result.after,
      sigmaProbe: result.sigmaProbe,
      initialDescription: result.initialDescription,
      description: result.description,
      wallSeconds: result.wallSeconds,
    };
    writeJson(join(this.path, EVALUATION), evaluations);
    writeJson(join(this.path, SUMMARY), runSummary(result));
    return Promise.resolve();
  }

  diverged({ iteration, message }: DivergenceError): void {
    this.lock.check();
    writeJson(join(this.path, DIVERGENCE), { iteration, message } satisfies RunDivergence);
  }

  /** Lets the folder go; no method may be called after it. */
  close(): void {
    if (this.metrics !== undefined) closeSync(this.metrics);
    this.lock.release();
  }

  private descriptor(): number {
    if (this.metrics === undefined) throw new RunDirectoryError(`${this.path} is written to before it has begun.`);
    return this.metrics;
  }
}

/** As mkdir -p; Node's own tries for ever where the system answers ENOENT although the parent exists, as in /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Makes the folder, and takes its lock. @throws RunDirectoryError */
export function takeLock(path: string): FolderLock {
  try {
    makeFolder(resolve(path));
    return FolderLock.take(path);
  } catch (error) {
    if (error instanceof RunDirectoryError) throw error;
    throw new RunDirectoryError(`${path} is not writable (${reason(error)}).`, { cause: error });
  }
}

function keepOf(config: ConfigObject): number {
  const { checkpoint } = config as { readonly checkpoint?: { readonly keep?: unknown } };
  return typeof checkpoint?.keep === 'number' ? checkpoint.keep : 5;
}

/** That code resumes the run that it made: things are compared by name and, if they state them, settings. */
function checkSame(path: string, recorded: RunConfig, asked: ConfigObject): void {
  if (!recorded.run.library) {
    throw new RunDirectoryError(
      `${path} was made from a configuration: go on with it by resume(…), or \`outerloop resume ${path}\`.`,
    );
  }
  const text = (value: ConfigValue | undefined): string => (value === undefined ? 'nothing' : canonical(value));
  const changed = [...new Set([...Object.keys(recorded), ...Object.keys(asked)])]
    .filter((key) => !FREE_KEYS.includes(key) && text(recorded[key]) !== text(asked[key]))
    .map((key) => `${key}: ${text(recorded[key])} → ${text(asked[key])}`);
  if (changed.length > 0) {
    throw new RunDirectoryError(
      `${path} was run with other settings (${changed.join('; ')}). Resume it with its own, or start a new run.`,
    );
  }
}

/** config.json with this process as the run's place and the old one among the earlier; undefined if they are the same. */
function movedTo(config: RunConfig, options: OpenOptions, iterations: number): RunConfig | undefined {
  const { engine: opened, reason: why } = options.opened;
  const { requestedEngine, engineReason, versions, machine, fingerprint } = config.run as RunRecord;
  const was = { versions, machine, ...(fingerprint === undefined ? {} : { fingerprint }) };
  const here = hereWith(opened);
  const sameEngine = opened.name === config.engine;
  const text = (place: typeof here): string => canonical(place as unknown as ConfigObject);
  if (sameEngine && text(here) === text(was)) return undefined;
  const engine = sameEngine
    ? { requestedEngine, engineReason }
    : { requestedEngine: options.requestedEngine ?? opened.name, engineReason: why };
  const before: EarlierPlace = { engine: config.engine, requestedEngine, engineReason, ...was, iterations };
  const { fingerprint: _, ...rest } = config.run as RunRecord;
  const run: RunRecord = { ...rest, ...engine, ...here, earlier: [...(config.run.earlier ?? []), before] };
  return { ...config, engine: opened.name, run } as RunConfig;
}

/** What the bits depend on here. */
function hereWith({ fingerprint }: UnrollEngine): Pick<RunPlace, 'versions' | 'machine' | 'fingerprint'> {
  return { versions: theseVersions(), machine: thisMachine(), ...(fingerprint === undefined ? {} : { fingerprint }) };
}

function checkMachine(path: string, config: RunConfig, engine: UnrollEngine): void {
  const sameEngine = engine.name === config.engine;
  const { versions, machine, fingerprint } = config.run as RunRecord;
  // Another engine's fingerprint says nothing beside its name.
  const changed = sameEngine
    ? differences({ versions, machine, fingerprint }, hereWith(engine))
    : [`engine: ${config.engine} → ${engine.name}`, ...differences({ versions, machine })];
  if (changed.length > 0) {
    throw new RunDirectoryError(
      `${path} was run elsewhere, so that the same bits cannot be promised (${changed.join('; ')}). ` +
        'Resume it there, or go on with --allow-different-machine.',
    );
  }
}
