/** Engines by name; `auto` and `tfjs` take the first of the table that runs here. */
import { EngineUnavailableError, UnknownNameError } from '../../contracts';
import type { GraphEngine } from '../shared/engine';
import { checkLimits, type EngineOptions } from '../shared/options';
import { ENGINE_TABLE, type EngineRow, type LoadPackage } from './table';

export type { LoadPackage } from './table';

export interface EngineChoice {
  readonly engine: GraphEngine;
  /** Why this one, for config.json. */
  readonly reason: string;
}

export interface EngineProbe {
  readonly name: string;
  readonly description: string;
  readonly available: boolean;
  /** Why not, and what to do about it; empty if available. */
  readonly reason: string;
  /** What the engine found on this machine, label and text, whether it is available or not. */
  readonly details?: Readonly<Record<string, string>>;
}

const CHOOSERS = ['auto', 'tfjs'] as const;
type Chooser = (typeof CHOOSERS)[number];

/** All names that `createEngine` takes. */
export const ENGINE_NAMES: readonly string[] = [...CHOOSERS, ...ENGINE_TABLE.map(({ name }) => name)];

/** Resolved next to this file; the command line hands in one that looks next to the user's project too. */
const loadHere: LoadPackage = (name) => import(name);

/**
 * The engine of a name. `auto` and `tfjs` pick the first of the table that runs here; a name is that engine or an error.
 * @throws UnknownNameError for a name that there is not.
 * @throws EngineUnavailableError if the engine cannot run here; never answered by another one.
 * @throws ConfigurationError for a bound that is no positive whole number.
 */
export async function createEngine(
  name: string,
  load: LoadPackage = loadHere,
  options: EngineOptions = {},
): Promise<EngineChoice> {
  checkLimits(options);
  if (isChooser(name)) return choose(name, load, options);
  const row = ENGINE_TABLE.find((candidate) => candidate.name === name);
  if (row === undefined) {
    const near = ENGINE_NAMES.filter((known) => known.includes(name) || name.includes(known));
    throw new UnknownNameError('engine', name, near, ENGINE_NAMES);
  }
  return { engine: await row.open(load, options), reason: 'requested' };
}

/** Tries every engine: what runs here, and what is missing for the others. */
export async function probeEngines(load: LoadPackage = loadHere): Promise<EngineProbe[]> {
  const probes: EngineProbe[] = [];
  for (const row of ENGINE_TABLE) probes.push(await probe(row, load));
  return probes;
}

async function probe(row: EngineRow, load: LoadPackage): Promise<EngineProbe> {
  const { name, description } = row;
  const details = await row.details?.();
  const probed = { name, description, ...(details === undefined ? {} : { details }) };
  try {
    const engine = await row.open(load, {});
    await engine.dispose();
    return { ...probed, available: true, reason: '' };
  } catch (error) {
    if (!(error instanceof EngineUnavailableError)) throw error;
    return { ...probed, available: false, reason: error.message };
  }
}

function isChooser(name: string): name is Chooser {
  return (CHOOSERS as readonly string[]).includes(name);
}

async function choose(chooser: Chooser, load: LoadPackage, options: EngineOptions): Promise<EngineChoice> {
  const missing: string[] = [];
  for (const row of ENGINE_TABLE.filter(({ chosenBy }) => chosenBy.includes(chooser))) {
    try {
      const engine = await row.open(load, options);
      const others = missing.length > 0 ? ` (not available: ${missing.join(', ')})` : '';
      return { engine, reason: `${chooser}: the fastest engine that runs here${others}` };
    } catch (error) {
      if (!(error instanceof EngineUnavailableError)) throw error;
      missing.push(row.name);
    }
  }
  throw new EngineUnavailableError(chooser, `none of ${missing.join(', ')} runs`, 'See "outerloop doctor".');
}
