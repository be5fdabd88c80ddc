/**
 * What a population takes, planned before it is taken. Records of all particles are resident if they and what one thread
 * needs fit; else they lie in a file, and calls go through them chunk by chunk (chunks.ts).
 */
import { freemem } from 'node:os';
import { EngineError } from '../../contracts';
import { bytesText } from '../shared/bytes';
import type { Driver } from './render/request';

/** Records that are read and written as one have about so many bytes, where one record has fewer. */
const PAGE_BYTES = 256 << 10;

/**
 * A chunk has no more than what makes its fixed cost vanish: what is left of the memory serves as the system's cache of the
 * file. Jobs by the thread are so many at least that threads seldom wait for the last one; the particles are so few that
 * what JavaScript does for them takes a moment.
 */
const MOST = { bytes: 256 << 20, jobsPerThread: 16, particles: 1 << 16 };

interface Demand {
  /** Particles. */
  readonly size: number;
  readonly driver: Pick<Driver, 'scratch' | 'record' | 'lanes'>;
  readonly threads: number;
  readonly memoryBytes?: number;
  readonly notice?: (text: string) => void;
}

/** How records that do not fit are gone through. */
export interface ChunkPlan {
  /** Of the population. */
  readonly records: number;
  /** Records of a page; the last one of the population may have fewer. */
  readonly pageRecords: number;
  /** Pages of a chunk. */
  readonly pages: number;
  /** Chunks that are in memory at a time. */
  readonly buffers: 1 | 2;
  readonly chunks: number;
  /** Bytes of memory that it was planned for. */
  readonly memoryBytes: number;
}

export interface MemoryPlan {
  readonly threads: number;
  /** Absent: all records are resident. */
  readonly chunks?: ChunkPlan;
}

/** Bytes that this process may still take. */
export function machineBytes(): number {
  // Of the container if there is one; Node 20.13 and newer know.
  const { availableMemory } = process as { readonly availableMemory?: () => number };
  return availableMemory === undefined ? freemem() : availableMemory.call(process);
}

/**
 * Threads that a population of this size can run on, and whether it runs in chunks.
 * @throws EngineError if not even one record and what one thread needs fit.
 */
export function planMemory(demand: Demand): MemoryPlan {
  const { size, driver, threads, memoryBytes, notice } = demand;
  const limit = memoryBytes ?? machineBytes();
  const scratch = Math.max(driver.scratch.init, driver.scratch.step, driver.scratch.finish);
  const { record } = driver;
  const records = Math.ceil(size / driver.lanes);
  const plan = residentPlan() ?? chunkPlan();
  if (plan.threads < threads) {
    notice?.(
      `Windows run on ${plan.threads} of ${threads} threads, each of which needs ${bytesText(scratch)} of memory.`,
    );
  }
  return plan;

  function residentPlan(): MemoryPlan | undefined {
    const fit = Math.floor((limit - records * record) / Math.max(1, scratch));
    return fit < 1 ? undefined : { threads: Math.min(fit, threads) };
  }

  function chunkPlan(): MemoryPlan {
    // Each thread has a record in both buffers, or there are fewer threads.
    const used = Math.min(threads, Math.max(1, Math.floor(limit / (scratch + 2 * record))));
    const room = Math.floor((limit - used * scratch) / record);
    if (room < 1 || records === 1) throw refusal(demand, scratch, limit);
    const buffers = room === 1 ? 1 : 2;
    const most = Math.min(
      Math.max(Math.ceil(MOST.bytes / record), MOST.jobsPerThread * used),
      Math.max(1, Math.floor(MOST.particles / driver.lanes)),
    );
    const fit = Math.min(Math.floor(room / buffers), most);
    const each = fit - (fit % used);
    const mostPages = Math.ceil(each / Math.ceil(PAGE_BYTES / record));
    const pageRecords = Math.floor(each / mostPages);
    const allPages = Math.ceil(records / pageRecords);
    // Chunks of one length, and of as many particles for each thread.
    const even = Math.ceil(allPages / Math.ceil(allPages / mostPages));
    const pages = Math.min(mostPages, Math.ceil(even / used) * used);
    const chunks = Math.ceil(allPages / pages);
    return { threads: used, chunks: { records, pageRecords, pages, buffers, chunks, memoryBytes: limit } };
  }
}

function refusal({ size, driver, memoryBytes }: Demand, scratch: number, limit: number): EngineError {
  const { record, lanes } = driver;
  const what = lanes === 1 ? 'the state of one' : `the states of ${lanes}, which run as one,`;
  return new EngineError(
    `a population of ${size} particles does not fit into memory, not even in chunks: ${what} and the working memory of a ` +
      `thread need ${bytesText(record + scratch)} (${bytesText(record)} and ${bytesText(scratch)}); ` +
      (memoryBytes === undefined
        ? `this machine has ${bytesText(limit)} left. Make the problem smaller, or use a machine with more memory.`
        : `it may take ${bytesText(limit)}. Allow more (--memory, memoryBytes).`),
  );
}
