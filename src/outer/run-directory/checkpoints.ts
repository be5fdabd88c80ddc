/** Loop states as safetensors files: `checkpoints/iteration-00000120.safetensors` holds the state after 120 iterations. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointError, type ArrayBundle, type NamedArray } from '../../contracts';
import type { BestEvaluation } from '../best';
import type { Measurement } from '../events';
import type { LoopState } from '../loop';
import { nonFinite, reviveNumbers, writeWhole, written } from './files';
import { decodeSafetensors, encodeSafetensors } from './safetensors';

const FORMAT = 'outerloop-checkpoint-1';
const BEST_FORMAT = 'outerloop-best-1';
/** The best evaluated θ. Not one of those that `checkpoint.keep` counts. */
const BEST = 'best.safetensors';
const START_FORMAT = 'outerloop-start-1';
/** θ₀ of a run that began at a θ of another run, which may be gone by the time this one is resumed. */
const START = 'start.safetensors';
const NAME = /^iteration-(\d{8,})\.safetensors$/;
/** A checkpoint larger than this leaves room for few. */
const LARGE_BYTES = 200e6;
const LARGE_KEEP = 2;

/** What a checkpoint holds. */
export interface Checkpoint {
  readonly state: LoopState;
  readonly before?: Measurement;
  /** Digest of the configuration that it belongs to. */
  readonly configuration: string;
}

export interface CheckpointFile {
  readonly path: string;
  readonly iteration: number;
}

const folderOf = (run: string): string => join(run, 'checkpoints');

/** The checkpoints of a run, newest first. */
export function listCheckpoints(run: string): CheckpointFile[] {
  let names: string[];
  try {
    names = readdirSync(folderOf(run));
  } catch {
    return [];
  }
  return names
    .flatMap((name) => {
      const iteration = NAME.exec(name)?.[1];
      return iteration === undefined ? [] : [{ path: join(folderOf(run), name), iteration: Number(iteration) }];
    })
    .sort((a, b) => b.iteration - a.iteration);
}

/** Removes what a killed process left half written. */
export function removeLeftovers(run: string): void {
  let names: string[];
  try {
    names = readdirSync(folderOf(run));
  } catch {
    return;
  }
  for (const name of names)
    if (!NAME.test(name) && name !== BEST && name !== START) rmSync(join(folderOf(run), name), { force: true });
}

/**
 * Removes the checkpoints of a course of the run that is given up for an earlier one, and the old ones that a process
 * left which was killed between writing a checkpoint and dropping the oldest.
 */
export function goBackTo(run: string, iteration: number, keep: number): void {
  for (const file of listCheckpoints(run)) if (file.iteration > iteration) rmSync(file.path, { force: true });
  retain(run, keep);
}

const prefixed = (prefix: string, bundle: ArrayBundle | undefined): ArrayBundle =>
  Object.fromEntries(Object.entries(bundle ?? {}).map(([name, array]) => [`${prefix}/${name}`, array]));

function unprefixed(prefix: string, bundle: ArrayBundle): ArrayBundle {
  const own = Object.entries(bundle).filter(([name]) => name.startsWith(`${prefix}/`));
  return Object.fromEntries(own.map(([name, array]) => [name.slice(prefix.length + 1), array]));
}

const vector = (data: Float64Array): NamedArray => ({ shape: [data.length], data });

/** Writes a checkpoint and drops the oldest. Returns its path. */
export function writeCheckpoint(run: string, checkpoint: Checkpoint, keep: number): string {
  const { state, before, configuration } = checkpoint;
  const { theta, average, optimizer, population, best, ...counters } = state;
  const bytes = encodeSafetensors({
    tensors: {
      theta: vector(theta),
      ...(average === undefined ? {} : { average: vector(average) }),
      ...(best === undefined ? {} : { best: vector(best.theta) }),
      ...prefixed('optimizer', optimizer),
      ...prefixed('population', population),
    },
    metadata: {
      format: FORMAT,
      configuration,
      counters: JSON.stringify(counters),
      hasPopulation: String(population !== undefined),
      ...(before === undefined ? {} : { before: JSON.stringify(before, nonFinite) }),
      ...(best === undefined ? {} : { best: bestText(best) }),
    },
  });
  written(run, () => mkdirSync(folderOf(run), { recursive: true }));
  const path = join(folderOf(run), `iteration-${String(state.iteration).padStart(8, '0')}.safetensors`);
  writeWhole(path, bytes);
  retain(run, keep, path);
  return path;
}

/** All but θ. */
function bestText({ theta: _, ...numbers }: BestEvaluation): string {
  return JSON.stringify(numbers, nonFinite);
}

/** What `bestText` and θ were of; undefined where one of them is absent. */
function bestOf(theta: NamedArray | undefined, text: string | undefined): BestEvaluation | undefined {
  if (text === undefined || !(theta?.data instanceof Float64Array)) return undefined;
  return { ...(JSON.parse(text, reviveNumbers) as Omit<BestEvaluation, 'theta'>), theta: theta.data };
}

/** Keeps the best evaluated θ in place of the one before, or, of `undefined`, none. */
export function writeBest(run: string, best: BestEvaluation | undefined): void {
  const path = join(folderOf(run), BEST);
  if (best === undefined) {
    rmSync(path, { force: true });
    return;
  }
  written(run, () => mkdirSync(folderOf(run), { recursive: true }));
  writeWhole(
    path,
    encodeSafetensors({
      tensors: { theta: vector(best.theta) },
      metadata: { format: BEST_FORMAT, best: bestText(best) },
    }),
  );
}

/** The best evaluated θ of a run; undefined if none was kept. @throws CheckpointError if the file is damaged */
export function readBest(run: string): BestEvaluation | undefined {
  const path = join(folderOf(run), BEST);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CheckpointError(`${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path);
  const fields = metadata as Readonly<Record<string, string | undefined>>;
  const best = bestOf(tensors.theta, fields.best);
  if (fields.format !== BEST_FORMAT || best === undefined) {
    const got = fields.format ?? 'none';
    throw new CheckpointError(`${path} holds no θ of this version: expected ${BEST_FORMAT}, got ${got}.`);
  }
  return best;
}

/** Keeps θ₀ of a warm start. */
export function writeStart(run: string, theta: Float64Array): void {
  written(run, () => mkdirSync(folderOf(run), { recursive: true }));
  const bytes = encodeSafetensors({ tensors: { theta: vector(theta) }, metadata: { format: START_FORMAT } });
  writeWhole(join(folderOf(run), START), bytes);
}

/** @throws CheckpointError if the file is missing or damaged */
export function readStart(run: string): Float64Array {
  const path = join(folderOf(run), START);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const reason = (error as Error).message;
    throw new CheckpointError(`${path}, where the run began, cannot be read: ${reason}. Start a new run.`, {
      cause: error,
    });
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path);
  const { theta } = tensors as Readonly<Record<string, NamedArray | undefined>>;
  if (metadata.format !== START_FORMAT || !(theta?.data instanceof Float64Array)) {
    throw new CheckpointError(`${path} holds no θ of this version: expected ${START_FORMAT}.`);
  }
  return theta.data;
}

/** The newest `keep` stay, or two once one of them is large; the one just written always does. */
function retain(run: string, keep: number, written?: string): void {
  const files = listCheckpoints(run);
  const large = files.some(({ path }) => statSync(path).size > LARGE_BYTES);
  const newest = files.slice(0, large ? Math.min(keep, LARGE_KEEP) : keep);
  for (const file of files) {
    if (!newest.includes(file) && file.path !== written) rmSync(file.path, { force: true });
  }
}

/** @throws CheckpointError naming the file if it is damaged, or no checkpoint */
export function readCheckpoint(path: string): Checkpoint {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new CheckpointError(`${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path);
  const { theta, average } = tensors as Readonly<Record<string, NamedArray | undefined>>;
  const fields = metadata as Readonly<Record<string, string | undefined>>;
  if (fields.format !== FORMAT || fields.counters === undefined || !(theta?.data instanceof Float64Array)) {
    throw new CheckpointError(
      `${path} is no checkpoint of this version: expected ${FORMAT}, got ${fields.format ?? 'none'}.`,
    );
  }
  const counters = JSON.parse(fields.counters) as Omit<
    LoopState,
    'theta' | 'average' | 'optimizer' | 'population' | 'best'
  >;
  const best = bestOf(tensors.best, fields.best);
  const state: LoopState = {
    ...counters,
    theta: theta.data,
    ...(average?.data instanceof Float64Array ? { average: average.data } : {}),
    optimizer: unprefixed('optimizer', tensors),
    ...(best === undefined ? {} : { best }),
    ...(fields.hasPopulation === 'true' ? { population: unprefixed('population', tensors) } : {}),
  };
  return {
    state,
    configuration: fields.configuration ?? '',
    ...(fields.before === undefined ? {} : { before: JSON.parse(fields.before, reviveNumbers) as Measurement }),
  };
}

/**
 * The checkpoint to go on from: the newest, or the one of `iteration` (0: none, from the start).
 * @throws CheckpointError if it is damaged, naming it and the newest one that is whole
 */
export function chooseCheckpoint(run: string, iteration?: number): Checkpoint | undefined {
  if (iteration === 0) return undefined;
  const files = listCheckpoints(run);
  const at = iteration === undefined ? 0 : files.findIndex((file) => file.iteration === iteration);
  if (at < 0) {
    const known = files.map((file) => String(file.iteration)).join(', ');
    throw new CheckpointError(
      `${run} has no checkpoint of iteration ${String(iteration)}. It has: ${known === '' ? 'none' : known}.`,
    );
  }
  if (files.length === 0) return undefined;
  try {
    return readCheckpoint(files[at].path);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    const whole = files.slice(at + 1).find((file) => isWhole(file.path));
    const advice =
      whole === undefined
        ? 'None before it is whole: start again with --checkpoint 0.'
        : `The newest before it that is whole is ${basename(whole.path)}: resume from it with --checkpoint ${String(whole.iteration)}.`;
    throw new CheckpointError(`${error.message} ${advice}`, { cause: error });
  }
}

function isWhole(path: string): boolean {
  try {
    readCheckpoint(path);
    return true;
  } catch {
    return false;
  }
}
