/** What a population takes, before it is taken. */
import { freemem } from 'node:os';
import { EngineError } from '../../contracts';
import type { Driver } from './render/request';

interface Demand {
  readonly size: number;
  /** Of all records. */
  readonly bytes: number;
  readonly driver: Driver;
  readonly threads: number;
  readonly memoryBytes?: number;
  readonly notice?: (text: string) => void;
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Bytes that this process may still take. */
function machineBytes(): number {
  // Of the container if there is one; Node 20.13 and newer know.
  const { availableMemory } = process as { readonly availableMemory?: () => number };
  return availableMemory === undefined ? freemem() : availableMemory.call(process);
}

/**
 * Threads that a population of this size can run on. Records of all particles are resident; what each thread needs besides
 * comes on top.
 * @throws EngineError if not even one thread fits.
 */
export function plannedThreads({ size, bytes, driver, threads, memoryBytes, notice }: Demand): number {
  const limit = memoryBytes ?? machineBytes();
  const scratch = Math.max(driver.scratch.init, driver.scratch.step, driver.scratch.finish);
  const fit = Math.floor((limit - bytes) / Math.max(1, scratch));
  if (fit < 1) {
    const each = bytes / size;
    const most = Math.floor((limit - scratch) / each);
    throw new EngineError(
      `a population of ${size} particles needs ${mebibytes(bytes + scratch)}: ${mebibytes(bytes)} for their states ` +
        `(${mebibytes(each)} each) and ${mebibytes(scratch)} for a thread; there are ${mebibytes(limit)}. ` +
        (most >= 1 ? `Use at most ${most} particles, or allow more memory.` : 'Allow more memory.'),
    );
  }
  if (fit < threads) {
    notice?.(`Windows run on ${fit} of ${threads} threads, each of which needs ${mebibytes(scratch)} of memory.`);
  }
  return Math.min(fit, threads);
}
