import { availableParallelism } from 'node:os';
import { ConfigurationError } from '../../contracts';

const MOST = 1024;

/**
 * Threads that windows run on: the option, OUTERLOOP_THREADS, or as many as the process may use at once.
 * @throws ConfigurationError if OUTERLOOP_THREADS is no whole number from 1 to 1024.
 */
export function threadsOf(options: { readonly threads?: number }, environment: NodeJS.ProcessEnv): number {
  if (options.threads !== undefined) return Math.min(options.threads, MOST);
  const given = environment.OUTERLOOP_THREADS ?? '';
  if (given === '') return availableParallelism();
  const count = Number(given);
  if (!Number.isInteger(count) || count < 1 || count > MOST) {
    throw new ConfigurationError('OUTERLOOP_THREADS', `a whole number from 1 to ${MOST}`, given);
  }
  return count;
}
