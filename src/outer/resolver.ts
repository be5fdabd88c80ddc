/** What the outer loop needs from the container. `src/container.ts` implements it; nothing below knows inversify. */
import { distance } from 'fastest-levenshtein';
import type {
  Dataset,
  Preset,
  Registered,
  RegisteredKind,
  Registration,
  UnrolledProblem,
  UnrollEngine,
} from '../contracts';
import type { EngineOptions } from '../engines';

/** An engine ready to compile, and why it was chosen. */
export interface OpenedEngine {
  readonly engine: UnrollEngine;
  /** One sentence for config.json: what was asked for, what was found. */
  readonly reason: string;
}

/** The engines of a machine. */
export interface EngineProvider {
  /** `auto` and every engine's name, whether it can run here or not. */
  names(): readonly string[];
  /** @throws EngineUnavailableError */
  open(name: string, options?: EngineOptions): Promise<OpenedEngine>;
}

export type ResolvedKind = RegisteredKind | 'preset' | 'engine';

export interface Resolver {
  /** Registered names of a kind, sorted. */
  names(kind: ResolvedKind): readonly string[];
  /**
   * @param path what led here, outermost first, e.g. `['problem "mnist-lr"', 'task "mlp"']`; printed in errors.
   * @throws UnknownNameError with near names.
   */
  registration<K extends RegisteredKind>(kind: K, name: string, path?: readonly string[]): Registration<Registered[K]>;
  /** @throws UnknownNameError */
  preset(name: string): Preset;
  /** Loads once for each key (name and options); a failed load is not kept. */
  cachedDataset(key: string, load: () => Promise<Dataset>): Promise<Dataset>;
  /** Where runs share their problems: builds once for each key (`problemKey`). */
  cachedProblem?(key: string, build: () => Promise<UnrolledProblem>): Promise<UnrolledProblem>;
  /** `auto` or an engine's name. @throws UnknownNameError, EngineUnavailableError */
  openEngine(name: string, options?: EngineOptions): Promise<OpenedEngine>;
}

const letters = (word: string): string => Array.from(word).sort().join('');

/** The known names closest to a word that is not among them, nearest first: typing errors, parts, wrong cases. */
export function nearNames(unknown: string, known: readonly string[], limit = 3): string[] {
  const word = unknown.toLowerCase();
  const scored = known
    .map((name) => ({ name, edits: distance(word, name.toLowerCase()) }))
    .filter(({ name, edits }) => {
      const other = name.toLowerCase();
      const part = word.length >= 3 && (other.includes(word) || word.includes(other));
      // Swapped letters, the commonest slip in a short name, are two edits.
      const swapped = word.length === other.length && letters(word) === letters(other);
      return part || swapped || edits <= Math.max(1, Math.floor(Math.max(word.length, other.length) / 3));
    })
    .sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1));
  return scored.slice(0, limit).map(({ name }) => name);
}
