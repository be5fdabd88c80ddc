import { CancelledError } from '../../contracts';

/**
 * @param call `advance`, `reset` …
 * @param done how far it has come, e.g. `after 3 of 50 inner steps`
 * @throws CancelledError if the signal is aborted
 */
export function checkSignal(signal: AbortSignal | undefined, call: string, done: string): void {
  if (signal?.aborted === true) {
    throw new CancelledError(`${call} was cancelled ${done}; the population is as it was before the call.`);
  }
}
