/**
 * What is fastest on each backend, from measurements that `npm run bench -- tfjs-forms` repeats. GFLOPS of the products
 * m×k · k×n of 16 particles on one core (docs/performance.md):
 *
 * | backend, form | 100×784×100 | 784×100×100 | 100×100×10 | 32×64×32 | 16×32×16 | 8×16×4 |
 * |---|---|---|---|---|---|---|
 * | cpu, one batched call, with flags or without | 0.6 | 0.5 | 0.6 | 0.6 | 0.6 | 0.5 |
 * | wasm, one batched call, with flags or without | 1.8 | 1.7 | 1.2 | 1.2 | 1.1 | 0.6 |
 * | wasm, a plain product a particle (views) | 9 | 12 | 3 | 3 | 2.4 | 0.2 |
 */
import type { Device } from './device';

export interface BackendForms {
  /**
   * From how many flops (2mkn) of one particle's product a loop of plain 2-D products over views pays: below, the
   * overhead of a call (about 10 µs, packing included) is more than what XNNPACK gains over the batched loop. Infinity:
   * never.
   */
  readonly viewsFromFlops: number;
  /** A batched operand times a shared one, rows of all particles taken together: one 2-D product. */
  readonly collapseRows: boolean;
  /**
   * Bytes that one call may hold at once beside the states; more particles than fit run one group after another. One
   * core works best within its cache (the 784-100-100-10 network on wasm: 139 particle-steps/s in one group of 16, 174
   * in groups of 4); a device with many wants large calls.
   */
  readonly workingSetBytes: number;
}

/**
 * Bytes that reverse windows may hold at once where no bound is given. One number for all machines, so that the same run
 * forms the same groups everywhere; a heap of WebAssembly can be four times as large.
 */
export const REVERSE_BYTES = 2 ** 30;

const FORMS: Readonly<Record<string, BackendForms>> = {
  cpu: { viewsFromFlops: Infinity, collapseRows: true, workingSetBytes: 8 * 2 ** 20 },
  wasm: { viewsFromFlops: 12_000, collapseRows: true, workingSetBytes: 8 * 2 ** 20 },
};
const DEFAULT: BackendForms = { viewsFromFlops: Infinity, collapseRows: true, workingSetBytes: 192 * 2 ** 20 };

export function backendForms(device: Device): BackendForms {
  return (FORMS as Partial<typeof FORMS>)[device.backendName] ?? DEFAULT;
}
