/** Runs code with the tracing backend active, and leaves tfjs as it was, also after an error. */
import * as tf from '@tensorflow/tfjs';
import { traceBackend, type TraceBackend } from './backend';
import { traceError, withDeepStacks } from './lines';
import type { TraceSession } from './session';

/** Makes `name` the active backend. tfjs's promise only reports a failure to initialise, which ours cannot have. */
function activate(name: string): void {
  void tf.engine().setBackend(name);
}

/** Runs `fn` on another backend of tfjs and disposes every tensor that it made. */
export function onBackend<R>(name: string, fn: () => R): R {
  const engine = tf.engine();
  const { backend } = engine;
  const previous =
    Object.entries(engine.registry).find(([, instance]) => instance === backend)?.[0] ?? engine.backendName;
  activate(name);
  try {
    let result: { readonly value: R } | undefined;
    tf.tidy(() => {
      result = { value: fn() };
    });
    return result!.value;
  } finally {
    activate(previous);
  }
}

/** Runs `fn` as part of a trace. */
export function onTraceBackend<R>(session: TraceSession, fn: (backend: TraceBackend) => R): R {
  const { name, backend } = traceBackend();
  const { state } = tf.engine();
  const outer = backend.session;
  const tape = state.activeTape;
  const environment = tf.env();
  const flags = { ...environment.features };
  const variables = holdVariables();
  backend.session = session;
  // Debug mode reads every kernel's result.
  environment.setFlags({ ...flags, DEBUG: false });
  let succeeded = false;
  try {
    const result = withDeepStacks(() => onBackend(name, () => fn(backend)));
    succeeded = true;
    return result;
  } finally {
    backend.session = outer;
    environment.setFlags(flags);
    releaseTape(tape);
    const offence = variables.restore();
    if (succeeded && offence !== undefined) reject(offence);
  }
}

function reject(offence: string): never {
  throw traceError(offence);
}

type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];

/** Disposes what an unfinished tf.grad saved for its backward pass. */
function releaseTape(before: Tape): void {
  const { state } = tf.engine();
  if (state.gradientDepth > 0 || state.activeTape === before) return;
  for (const { saved = [] } of (state.activeTape as Tape | null) ?? []) for (const tensor of saved) tensor.dispose();
  state.activeTape = before;
}

/**
 * Holds the data of every tf.Variable, so that an `assign` within a trace can be undone: it would hand the variable a
 * value that exists in the graph only.
 */
function holdVariables(): { restore(): string | undefined } {
  const engine = tf.engine();
  const held = Object.values(engine.registeredVariables).map((variable) => {
    const { dataId } = variable;
    const owner = engine.state.tensorInfo.get(dataId)?.backend;
    owner?.incRef(dataId);
    return { variable, dataId, owner };
  });
  return {
    restore: () => {
      let offence: string | undefined;
      const known = new Set(held.map(({ variable }) => variable));
      for (const variable of Object.values(engine.registeredVariables)) {
        if (known.has(variable)) continue;
        offence = `tf.variable "${variable.name}" is made in a traced function: make it outside, or return a tensor in the state.`;
        variable.dispose();
      }
      for (const { variable, dataId, owner } of held) {
        if (variable.dataId !== dataId && !variable.isDisposed) {
          offence = `tf.Variable "${variable.name}" is assigned in a traced function, where no value is kept: return it in the state.`;
          engine.disposeTensor(variable);
          variable.dataId = dataId;
          engine.trackTensor(variable, owner!);
          owner?.incRef(dataId);
        }
        if (owner?.disposeData(dataId) === true) engine.removeDataId(dataId, owner);
      }
      return offence;
    },
  };
}
