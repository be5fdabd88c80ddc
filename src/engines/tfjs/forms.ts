/**
 * How a product of matrices is asked of each backend: measured with `npm run bench -- tfjs-forms`, which prints this
 * table anew. GFLOPS of 100×784 · 784×100 for each of 16 particles, one core:
 *
 * | form | cpu | wasm |
 * |---|---|---|
 * | one batched kernel call, no flags | 0.9 | 1.9 |
 * | one batched kernel call, a flag | 0.9 | 1.9 |
 * | a plain 2-D product a particle (views), operands transposed first | – | 16–23 |
 */
import type { Device } from './device';

export interface ProductForms {
  /**
   * From how many flops (2mkn) of one particle's product a loop of plain 2-D products over views pays: below, the
   * overhead of a call (about 10 µs) is more than what XNNPACK gains over the batched loop. Infinity: never.
   */
  readonly viewsFromFlops: number;
  /** A batched operand times a shared one, rows of all particles taken together: one 2-D product. */
  readonly collapseRows: boolean;
}

const FORMS: Readonly<Record<string, ProductForms>> = {
  wasm: { viewsFromFlops: 20_000, collapseRows: true },
};
const DEFAULT: ProductForms = { viewsFromFlops: Infinity, collapseRows: true };

export function productForms(device: Device): ProductForms {
  return (FORMS as Partial<typeof FORMS>)[device.backendName] ?? DEFAULT;
}
