/** What a file of weights says beside them, and of which optimizers there can be one. */
import { WeightsError, type ConfigObject } from '../contracts';
import type { RunSummary } from './result';
import { version } from './version';

/** What a run's configuration says of how θ came about. */
const RECORDED = [
  'preset',
  'seed',
  'task',
  'tasks',
  'data',
  'horizon',
  'objective',
  'estimator',
  'outerOptimizer',
] as const;

/** How far θ was trained, and what it was worth; in keys that are absent or undefined, nothing is known. */
export interface TrainingCourse extends Partial<Pick<RunSummary, 'before' | 'after'>> {
  readonly iterations: number;
  readonly innerSteps: number;
}

/** The training record of θ, as plain data. */
export function trainingRecord(
  config: Readonly<Partial<Record<(typeof RECORDED)[number], unknown>>>,
  { iterations, innerSteps, before, after }: TrainingCourse,
): ConfigObject {
  const known = Object.fromEntries(RECORDED.map((key) => [key, config[key]]));
  // Through JSON, which leaves out what is not known.
  return JSON.parse(
    JSON.stringify({ outerloop: version, iterations, innerSteps, ...known, before, after }),
  ) as ConfigObject;
}

/** Of an optimizer that was made in code and has no `config`. */
export function notNamed(name: string): WeightsError {
  return new WeightsError(
    `the optimizer "${name}" cannot be built again from a file: expected its config, {name, …options}, got none; it, or a ` +
      'schedule or an optimizer that it is made of, is registered under no name. Register it in a plugin, give it ' +
      '`config: { name: … }` with that name, tune it again, and load it with { container: use(plugin) }.',
  );
}
