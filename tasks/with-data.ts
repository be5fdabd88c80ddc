import { ConfigurationError, type Dataset, type Task } from '../src/contracts';

/** A data set, or one that is still being loaded: `data: mnist()`. */
export type MaybeLoading = Dataset | Promise<Dataset>;
/** A task at once if its data set is there, else a promise of it. */
export type TaskOn<D extends MaybeLoading> = D extends Promise<Dataset> ? Promise<Task> : Task;

export function withData<D extends MaybeLoading>(data: D, make: (data: Dataset) => Task): TaskOn<D> {
  return (data instanceof Promise ? data.then(make) : make(data)) as TaskOn<D>;
}

/** @throws ConfigurationError if the data set has no class labels, one a row. */
export function classesOf(task: string, data: Dataset): number {
  if (data.classes === undefined || data.splits.train.ys.table.rowShape.length > 0) {
    throw new ConfigurationError('data', `a data set with class labels for the task "${task}"`, `"${data.name}"`);
  }
  return data.classes;
}

/** @throws ConfigurationError if it is no positive integer. */
export function checkPositiveInteger(key: string, value: number): void {
  if (!(Number.isInteger(value) && value > 0)) throw new ConfigurationError(key, 'a positive integer', String(value));
}

/** @throws ConfigurationError if it is no positive finite number. */
export function checkPositiveNumber(key: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0)) throw new ConfigurationError(key, 'a positive number', String(value));
}
