import * as tf from '@tensorflow/tfjs';
import type { DataColumn, Dataset, DataSplit, Split } from '../src/contracts';

/**
 * One decoded row as a tensor: `raw·scale + offset`, each operation rounded to float32; without `decode`, an integer
 * table gives int32.
 */
function rowTensor({ table, decode }: DataColumn, row: number): tf.Tensor {
  const size = table.rowShape.reduce((a, b) => a * b, 1);
  const raw = table.values.subarray(row * size, (row + 1) * size);
  if (decode === undefined) {
    const values = table.dtype === 'float32' ? Float32Array.from(raw) : Int32Array.from(raw);
    return tf.tensor(values, [...table.rowShape], table.dtype === 'float32' ? 'float32' : 'int32');
  }
  const scale = Math.fround(decode.scale);
  const offset = Math.fround(decode.offset);
  return tf.tensor(
    Float32Array.from(raw, (value) => Math.fround(value * scale) + offset),
    [...table.rowShape],
    'float32',
  );
}

/** A data set of resident tables; `examples` makes its tensors one at a time, as they are asked for. */
export function tableDataset(parts: {
  readonly name: string;
  readonly inputShape: readonly number[];
  readonly classes?: number;
  readonly classNames?: readonly string[];
  readonly splits: Readonly<Record<Split, DataSplit>>;
}): Dataset {
  return {
    ...parts,
    examples: (split) => {
      const { rows, xs, ys } = parts.splits[split];
      return tf.data.generator<{ xs: tf.Tensor; ys: tf.Tensor }>(function* () {
        for (let row = 0; row < rows; row++) yield { xs: rowTensor(xs, row), ys: rowTensor(ys, row) };
      });
    },
  };
}
