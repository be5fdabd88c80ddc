import type { Tensor } from '@tensorflow/tfjs';
import type { data } from '@tensorflow/tfjs';

/** Which part of a data set: `train` for inner training, `validation` for meta-objectives, `test` for reports only. */
export type Split = 'train' | 'validation' | 'test';
export const SPLITS: readonly Split[] = ['train', 'validation', 'test'];

/**
 * A resident table of rows, gathered by row index and shared by all particles. Numbers stay in the table's own type;
 * a decoded value is `raw·scale + offset` in float32, computed after the gather.
 */
export interface DataTable {
  /** Unique within a process; engines keep one copy on their device for each name. */
  readonly name: string;
  /** Row-major, `rows × product(rowShape)` numbers. */
  readonly values: Uint8Array | Int32Array | Float32Array;
  readonly dtype: 'uint8' | 'int32' | 'float32';
  readonly rows: number;
  /** Shape of one row; [] for one number a row. */
  readonly rowShape: readonly number[];
}

/** A column of a data set: a table and how its raw numbers are decoded. */
export interface DataColumn {
  readonly table: DataTable;
  /** Absent: the raw numbers are used as they are (an integer table stays int32). */
  readonly decode?: { readonly scale: number; readonly offset: number };
}

/** Inputs and targets of one split. */
export interface DataSplit {
  readonly rows: number;
  readonly xs: DataColumn;
  readonly ys: DataColumn;
}

/** A minibatch: `xs` [batch, …], `ys` [batch, …] (class labels are int32 [batch]). */
export interface Batch {
  readonly xs: Tensor;
  readonly ys: Tensor;
}

/** A loaded data set. Loading is asynchronous and done once, before any problem is built. */
export interface Dataset {
  readonly name: string;
  /** Shape of one decoded input, e.g. [784]. */
  readonly inputShape: readonly number[];
  /** Number of classes of `ys`, if they are class labels. */
  readonly classes?: number;
  readonly splits: Readonly<Record<Split, DataSplit>>;
  /** The public face: one element an example, `{xs, ys}`, in the order of the files. */
  examples(split: Split): data.Dataset<{ xs: Tensor; ys: Tensor }>;
}
