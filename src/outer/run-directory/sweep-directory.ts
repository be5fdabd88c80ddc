/** The folder of a sweep: sweep.json with its product, one run folder for each member, and a lock while it goes on. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RunDirectoryError, type ConfigObject, type ConfigValue } from '../../contracts';
import type { ResolvedConfig } from '../config';
import { canonical } from '../prepare';
import type { SweepMember } from '../sweep';
import { writeJson } from './files';
import { isDeadAside, type FolderLock, LOCK } from './lock';
import { checkFree, readDivergence, readRunConfig, readSummary, takeLock } from './run-directory';

const SWEEP = 'sweep.json';

/** Letters that stay of a value in a folder's name. */
const MOST_LETTERS = 24;
/** Most file systems take 255 bytes. */
const LONGEST_NAME = 180;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 6);

/** A word for a file's name; of what cannot stand there in full, a digest tells it apart. */
function word(value: ConfigValue): string {
  const text = typeof value === 'string' ? value : canonical(value);
  const plain = text.replace(/[^\w.+-]+/g, '-').slice(0, MOST_LETTERS);
  return plain === text ? text : `${plain.replace(/^-+|-+$/g, '')}~${digest(text)}`;
}

/**
 * `lorenz--nres--sigma=0.1--seed=0`: preset, estimator, what the sweep sets for it in the order of the alphabet, seed. A
 * function of the member alone, so that a sweep that grows finds its runs again.
 */
export function memberFolder({ preset, estimator, settings, seed, config }: SweepMember): string {
  const { name: _, ...options } = estimator ?? { name: '' };
  const prefixed = Object.entries(options).map(([key, value]): [string, ConfigValue] => [`estimator.${key}`, value]);
  const own = [...prefixed, ...Object.entries(settings)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${word(value)}`);
  const name = [preset, config.estimator.name, ...own, `seed=${String(seed)}`].join('--');
  return name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME)}~${digest(name)}`;
}

/** `diverged`: it ended since its numbers were not finite, which is an end only where the sweep says that it may. */
export type MemberState = 'new' | 'unfinished' | 'diverged' | 'done';

/** A member and where it lies. */
export interface PlacedMember {
  readonly member: SweepMember;
  /** Below the sweep's. */
  readonly folder: string;
  readonly path: string;
  readonly state: MemberState;
}

/** Keys of a recorded run that may differ from those of the member. */
const FREE_KEYS: readonly string[] = ['checkpoint', 'plugins', 'run', 'engine'];

/** What the recorded run and the member do not share; what only the finished configuration has does not count. */
function differences(recorded: ConfigObject, config: ResolvedConfig, engine: string): string[] {
  const { particles } = config.evaluation;
  const asked = config as unknown as ConfigObject;
  const text = (value: ConfigValue | undefined): string => (value === undefined ? 'nothing' : canonical(value));
  const comparable = (of: ConfigObject, key: string): ConfigValue | undefined => {
    if (key !== 'evaluation' || particles !== undefined) return of[key];
    const { particles: _, ...rest } = of.evaluation as ConfigObject;
    return rest;
  };
  const keys = [...new Set([...Object.keys(recorded), ...Object.keys(asked)])]
    .filter((key) => !FREE_KEYS.includes(key))
    .filter((key) => key !== 'horizon' || config.horizon !== undefined);
  const changed = keys
    .map((key) => [key, text(comparable(recorded, key)), text(comparable(asked, key))])
    .filter(([, a, b]) => a !== b);
  return [...changed, ...(engine === config.engine ? [] : [['engine', engine, config.engine]])].map(
    ([key, a, b]) => `${key}: ${a} → ${b}`,
  );
}

/** @throws RunDirectoryError if the folder holds something else than the member's run */
function stateOf(path: string, config: ResolvedConfig): MemberState {
  if (!existsSync(join(path, 'config.json'))) {
    checkFree(path);
    return 'new';
  }
  const recorded = readRunConfig(path);
  const changed = differences(recorded, config, recorded.run.requestedEngine);
  if (changed.length > 0) {
    throw new RunDirectoryError(
      `${path} holds a run with other settings than the sweep has now (${changed.join('; ')}). ` +
        'Undo the change, choose another --output, or move that folder away.',
    );
  }
  if (readSummary(path) !== undefined) return 'done';
  return readDivergence(path) === undefined ? 'unfinished' : 'diverged';
}

/**
 * Where each member lies in the sweep's folder, and how far it is. Nothing is written.
 * @throws RunDirectoryError if the folder holds something else, or a run of other settings
 */
export function placeMembers(path: string, members: readonly SweepMember[]): PlacedMember[] {
  checkSweepFolder(path);
  const taken = new Set<string>();
  return members.map((member) => {
    const folder = memberFolder(member);
    if (taken.has(folder)) throw new RunDirectoryError(`two runs of the sweep would lie in ${join(path, folder)}.`);
    taken.add(folder);
    const place = join(path, folder);
    return { member, folder, path: place, state: stateOf(place, member.config) };
  });
}

/** Absent, empty, or a sweep's. @throws RunDirectoryError */
function checkSweepFolder(path: string): void {
  if (!existsSync(path) || existsSync(join(path, SWEEP))) return;
  if (!statSync(path).isDirectory()) throw new RunDirectoryError(`${path} is a file; a sweep needs a folder.`);
  const isOurs = (name: string): boolean => name === LOCK || isDeadAside(name) || /^sweep\.json\.\d+$/.test(name);
  const names = readdirSync(path).filter((name) => !isOurs(name));
  if (names.length === 0) return;
  throw new RunDirectoryError(
    `${path} is not empty and holds no sweep (${names.slice(0, 3).join(', ')}). Choose another folder by --output.`,
  );
}

/** Holds the folder of a sweep for this process; writes sweep.json. Release the lock that it returns. */
export function openSweep(path: string, placed: readonly PlacedMember[]): FolderLock {
  const lock = takeLock(path);
  try {
    const runs = placed.map(({ folder, member: { config: _, ...choice } }) => ({ folder, ...choice }));
    writeJson(join(path, SWEEP), { runs });
    return lock;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The run folders of a sweep's folder; undefined if it is none. @throws RunDirectoryError if sweep.json is damaged */
export function sweepRuns(path: string): string[] | undefined {
  const file = join(path, SWEEP);
  if (!existsSync(file)) return undefined;
  try {
    const { runs } = JSON.parse(readFileSync(file, 'utf8')) as {
      readonly runs: readonly { readonly folder: string }[];
    };
    return runs.map(({ folder }) => join(path, folder));
  } catch (error) {
    throw new RunDirectoryError(`${file} is damaged: ${(error as Error).message}.`, { cause: error });
  }
}
