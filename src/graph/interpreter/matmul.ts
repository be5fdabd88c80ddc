import { sizeOf } from '../ir';
import type { Kernel, Site, Value } from './value';

/** Where the numbers of one batch element stand. */
interface Layout {
  readonly m: number;
  readonly n: number;
  readonly depth: number;
  /** Steps of the left operand along its rows and along the summed axis. */
  readonly rowStep: number;
  readonly depthStep: number;
}

/** Σₖ in ascending k from 0, in float64 whatever the storage: unrolling does not change the order of the additions. */
export function matmulKernel(site: Site<'matmul'>): Kernel {
  const [a, b] = site.node.inputs;
  const { transposeA, transposeB } = site.node.attributes;
  const { shape } = site.node.type;
  const batch = sizeOf(shape.slice(0, -2));
  const [m, n] = shape.slice(-2);
  const depth = site.operands[0].shape[shape.length - (transposeA ? 2 : 1)];
  const layout = { m, n, depth, rowStep: transposeA ? 1 : depth, depthStep: transposeA ? m : 1 };
  const out = site.buffer();
  const row = new Float64Array(n);
  return (values) => {
    for (let p = 0; p < batch; p++) {
      if (transposeB) dotProducts(values[a], values[b], out, p, layout);
      else rowSums(values[a], values[b], out, p, layout, row);
    }
  };
}

/** The right operand is stored transposed: each result is a product of contiguous rows, four of them at a time. */
function dotProducts(x: Value, y: Value, out: Value, p: number, { m, n, depth, rowStep, depthStep }: Layout): void {
  for (let i = 0; i < m; i++) {
    const left = p * m * depth + i * rowStep;
    const to = (p * m + i) * n;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const r0 = (p * n + j) * depth;
      const r1 = r0 + depth;
      const r2 = r1 + depth;
      const r3 = r2 + depth;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let k = 0; k < depth; k++) {
        const factor = x[left + k * depthStep];
        s0 += factor * y[r0 + k];
        s1 += factor * y[r1 + k];
        s2 += factor * y[r2 + k];
        s3 += factor * y[r3 + k];
      }
      out[to + j] = s0;
      out[to + j + 1] = s1;
      out[to + j + 2] = s2;
      out[to + j + 3] = s3;
    }
    for (; j < n; j++) {
      const right = (p * n + j) * depth;
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += x[left + k * depthStep] * y[right + k];
      out[to + j] = sum;
    }
  }
}

/** Goes through the right operand row by row, four at a time, with the sums of a result row in `row`. */
function rowSums(
  x: Value,
  y: Value,
  out: Value,
  p: number,
  { m, n, depth, rowStep, depthStep }: Layout,
  row: Float64Array,
): void {
  for (let i = 0; i < m; i++) {
    row.fill(0);
    const left = p * m * depth + i * rowStep;
    let k = 0;
    for (; k + 4 <= depth; k += 4) {
      const f0 = x[left + k * depthStep];
      const f1 = x[left + (k + 1) * depthStep];
      const f2 = x[left + (k + 2) * depthStep];
      const f3 = x[left + (k + 3) * depthStep];
      const r0 = (p * depth + k) * n;
      const r1 = r0 + n;
      const r2 = r1 + n;
      const r3 = r2 + n;
      for (let j = 0; j < n; j++) {
        row[j] = row[j] + f0 * y[r0 + j] + f1 * y[r1 + j] + f2 * y[r2 + j] + f3 * y[r3 + j];
      }
    }
    for (; k < depth; k++) {
      const factor = x[left + k * depthStep];
      const right = (p * depth + k) * n;
      for (let j = 0; j < n; j++) row[j] += factor * y[right + j];
    }
    out.set(row, (p * m + i) * n);
  }
}
