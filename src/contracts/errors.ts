/**
 * Typed errors. Every message says what was expected, what was got and what to do next.
 * `exitCode` is what the command line returns: 2 for the user's mistake, 1 for a failure of the run or the machine, 130 for
 * what was cancelled.
 */

/** Base of every error that Outerloop throws on purpose. */
export class OuterloopError extends Error {
  /** What a shell sees: 2 is the user's mistake, 130 a call that was cancelled, 1 any other failure. */
  readonly exitCode: 1 | 2 | 130 = 1;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A mistake in what the user wrote: a configuration, a plugin, a problem. Nothing has been run or written. */
export class UserError extends OuterloopError {
  override readonly exitCode = 2;
}

/** A configuration key with a value of the wrong type or out of range. */
export class ConfigurationError extends UserError {
  constructor(
    /** Dotted path of the key, e.g. `estimator.window`. */
    readonly key: string,
    readonly expected: string,
    readonly got: string,
    readonly hint?: string,
  ) {
    super(`${key}: expected ${expected}, got ${got}.${hint === undefined ? '' : ` ${hint}`}`);
  }
}

/** A name that the container does not know; `near` lists the registered names closest to it. */
export class UnknownNameError extends UserError {
  constructor(
    /** What was looked for: `task`, `estimator`, `preset` … */
    readonly kind: string,
    readonly unknown: string,
    readonly near: readonly string[],
    readonly known: readonly string[],
    /** What needed the name, outermost first: `problem "mnist-lr"`, `task "mlp"`. */
    readonly path: readonly string[] = [],
  ) {
    const advice =
      near.length > 0
        ? `Did you mean ${near.map((n) => `"${n}"`).join(' or ')}?`
        : `Known: ${known.length > 0 ? known.join(', ') : 'none'}.`;
    const neededBy = path.length > 0 ? `, needed by ${path.join(' → ')}` : '';
    super(`unknown ${kind} "${unknown}"${neededBy}. ${advice}`);
  }
}

/** A plugin that is missing, does not compile, exports no plugin, or registers a name that is taken. */
export class PluginError extends UserError {}

/**
 * A function given to Outerloop (`step`, `initState`, a loss …) that cannot be traced. `line` is the user's own
 * source line (`file:line:column`) where it could be found.
 */
export class TraceError extends UserError {
  constructor(
    message: string,
    readonly line?: string,
    options?: ErrorOptions,
  ) {
    super(line === undefined ? message : `${message} (at ${line})`, options);
  }
}

/** Shapes, dtypes or tree structures that do not fit together. */
export class ShapeError extends UserError {}

/** A graph that breaks the written specification (docs/graph.md): a defect in a pass, not in user code. */
export class GraphError extends OuterloopError {
  constructor(
    /** The pass on whose entry or exit the graph was verified. */
    readonly pass: string,
    message: string,
  ) {
    super(`graph is invalid at ${pass}: ${message}`);
  }
}

/** A requested engine that is not registered for this machine or cannot run on it. Never answered by another engine. */
export class EngineUnavailableError extends UserError {
  constructor(
    readonly engine: string,
    reason: string,
    advice: string,
  ) {
    super(`engine "${engine}" cannot run here: ${reason}. ${advice}`);
  }
}

/** An engine that lacks a capability which an estimator asked for. */
export class CapabilityError extends UserError {
  constructor(
    readonly engine: string,
    readonly capability: string,
    advice: string,
  ) {
    super(`engine "${engine}" has no ${capability} windows. ${advice}`);
  }
}

/** Derivatives were asked of an objective that has none by any path from θ. */
export class DifferentiationError extends UserError {}

/** A task whose losses are NaN or infinite before anything has been learned on it. */
export class NonFiniteTaskError extends UserError {}

/** An engine that failed while running: a kernel threw, the device ran out of memory. */
export class EngineError extends OuterloopError {}

/**
 * A call whose `signal` was aborted before it was through. No failure: what was called is as it was before the call, or
 * says what is left of it.
 */
export class CancelledError extends OuterloopError {
  override readonly exitCode = 130;
}

/** A data set whose files are missing, damaged or of another size than they should be. */
export class DatasetError extends OuterloopError {}

/** A data file of the user's own that cannot be used as it is: cut short, of another shape, with numbers out of range. */
export class DataFileError extends UserError {
  constructor(
    readonly file: string,
    /** Where in the file, if it is known: the line from 1, the column's name or number, the byte from 0. */
    readonly at: { readonly line?: number; readonly column?: string; readonly offset?: number },
    readonly expected: string,
    readonly got: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    const { line, column, offset } = at;
    const place = [
      file,
      ...(line === undefined ? [] : [`line ${line}`]),
      ...(column === undefined ? [] : [`column ${column}`]),
      ...(offset === undefined ? [] : [`byte ${offset}`]),
    ];
    const advice = hint === undefined ? '' : ` ${hint}`;
    super(`${place.join(', ')}: expected ${expected}, got ${got}.${advice}`, options);
  }
}

/** A data set that is not on this machine and cannot be fetched: says what to put where. */
export class DatasetUnavailableError extends UserError {}

/** A run folder that cannot be used: not empty, not writable, locked, not a run. */
export class RunDirectoryError extends UserError {}

/** A file that could not be written, on a disk that is full or failed. What had been written before is whole. */
export class StorageError extends OuterloopError {}

/** A checkpoint that is damaged or belongs to another configuration, engine or machine. */
export class CheckpointError extends UserError {}

/** A file of optimizer weights that is damaged, or of another architecture or version than what reads it. */
export class WeightsError extends UserError {}

/** The outer loop cannot go on: no valid pair for several iterations, or θ is not finite. */
export class DivergenceError extends OuterloopError {
  constructor(
    message: string,
    /** The first outer iteration, from 0, whose numbers were not finite. */
    readonly iteration: number,
  ) {
    super(message);
  }
}
