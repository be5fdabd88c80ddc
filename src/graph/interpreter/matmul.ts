import { sizeOf } from '../ir';
import type { Kernel, Site } from './value';

/** Σₖ in ascending k from 0, in float64 whatever the storage. */
export function matmulKernel(site: Site<'matmul'>): Kernel {
  const [a, b] = site.node.inputs;
  const { transposeA, transposeB } = site.node.attributes;
  const { shape } = site.node.type;
  const batch = sizeOf(shape.slice(0, -2));
  const [m, n] = shape.slice(-2);
  const depth = site.operands[0].shape[shape.length - (transposeA ? 2 : 1)];
  const [rowStep, depthStep] = transposeA ? [1, m] : [depth, 1];
  const out = site.buffer();
  if (transposeB) {
    return (values) => {
      const x = values[a];
      const y = values[b];
      for (let p = 0; p < batch; p++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            const left = p * m * depth + i * rowStep;
            const right = (p * n + j) * depth;
            for (let k = 0; k < depth; k++) sum += x[left + k * depthStep] * y[right + k];
            out[(p * m + i) * n + j] = sum;
          }
        }
      }
    };
  }
  // Row by row of the right operand, which lies contiguous; the sums of a row are kept in float64.
  const row = new Float64Array(n);
  return (values) => {
    const x = values[a];
    const y = values[b];
    for (let p = 0; p < batch; p++) {
      for (let i = 0; i < m; i++) {
        row.fill(0);
        for (let k = 0; k < depth; k++) {
          const factor = x[p * m * depth + i * rowStep + k * depthStep];
          const right = (p * depth + k) * n;
          for (let j = 0; j < n; j++) row[j] += factor * y[right + j];
        }
        out.set(row, (p * m + i) * n);
      }
    }
  };
}
