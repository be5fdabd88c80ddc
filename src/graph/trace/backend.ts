/**
 * A tfjs backend that computes nothing: every kernel is a rule that appends graph ops (design.md §4.1). A tensor made
 * while it is active stands for a value of the graph under construction, or for a constant. Tensors that the user made
 * outside are read where they are and never moved, so that they stay on their own backend.
 */
import * as tf from '@tensorflow/tfjs';
import { OuterloopError } from '../../contracts';
import type { ValueId } from '../ir';
import { KernelCall, type KernelRule } from './kernel';
import { traceError } from './lines';
import { KERNEL_RULES } from './rules';
import { constantDType, type HostValues, type TraceSession } from './session';

type Entry =
  | { readonly kind: 'value'; readonly session: TraceSession; readonly id: ValueId; references: number }
  | { readonly kind: 'constant'; readonly values: HostValues; references: number };

/** tfjs names the scope of an op `<op>__op`. */
const RANDOM_OP = /^(rand|truncatedNormal|multinomial|statelessRand).*__op$/;
const DROPOUT_OP = 'dropout__op';

/** Ops of tfjs that compute a maximum only to subtract it again: no derivative needs to go through it. */
const SHIFTING_OPS = ['logSumExp__op', 'logSoftmax__op'];

/** Ops of tfjs that use `customGrad` with the derivative that their forward computation has anyway. */
const CONSISTENT_OPS = [
  'logSoftmax__op',
  'logSigmoid__op',
  'softmaxCrossEntropy__op',
  'fusedMatMul__op',
  'fusedConv2d__op',
  'fusedDepthwiseConv2d__op',
];

export class TraceBackend extends tf.KernelBackend {
  /** The trace in progress. */
  session: TraceSession | undefined;

  private readonly entries = new WeakMap<object, Entry>();
  private live = 0;

  /** A tensor that stands for a value of the trace in progress, tracked by the active scope. */
  tensor(id: ValueId): tf.Tensor {
    const { dataId, shape, dtype } = this.info(id);
    return tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype }, this);
  }

  /** The value that a tensor stands for; a constant if the tensor was made outside. */
  idOf(tensor: tf.TensorInfo): ValueId {
    const session = this.active();
    const { dataId, shape, dtype } = tensor;
    const entry = this.entries.get(dataId);
    if (entry === undefined) {
      return session.constant(dataId, () => tf.engine().readSync(dataId), shape, dtype);
    }
    if (entry.kind === 'constant') return session.constant(dataId, () => entry.values, shape, dtype);
    if (entry.session !== session) {
      throw traceError(
        'a tensor of an earlier trace is used: everything that lasts from step to step must be in the state.',
      );
    }
    return entry.id;
  }

  run(name: string, rule: KernelRule, inputs: tf.NamedTensorInfoMap, attributes: unknown): tf.TensorInfo[] {
    const session = this.active();
    this.checkTape(name);
    const operands = new Map<string, ValueId>();
    for (const [key, tensor] of Object.entries(inputs as Record<string, tf.TensorInfo | undefined>)) {
      if (tensor !== undefined) operands.set(key, this.idOf(tensor));
    }
    const call = new KernelCall(name, session.builder, operands, this.insideShift());
    try {
      const result = rule(call, attributes as never);
      return (Array.isArray(result) ? result : [result]).map((id) => this.info(id));
    } catch (error) {
      if (error instanceof OuterloopError && 'line' in error) throw error;
      if (error instanceof Error) throw traceError(`kernel ${name}: ${error.message}`);
      throw error;
    }
  }

  override write(values: HostValues, shape: number[], dtype: tf.DataType): tf.DataId {
    constantDType(dtype);
    this.checkTape('constant');
    const dataId = {};
    const random = scopeNames().find((scope) => RANDOM_OP.test(scope));
    if (random !== undefined) {
      if (!scopeNames().includes(DROPOUT_OP)) {
        throw traceError(
          `tf.${random.replace('__op', '')} would freeze its numbers for the whole run, seeded or not: draw from ` +
            'inner.random in step, or from the `random` argument in initState and loss.',
        );
      }
      const session = this.active();
      this.put(dataId, { kind: 'value', session, id: session.dropoutUniform(shape), references: 1 });
    } else {
      this.put(dataId, { kind: 'constant', values, references: 1 });
    }
    return dataId;
  }

  override readSync(dataId: object): HostValues {
    const entry = this.entries.get(dataId);
    if (entry?.kind === 'constant') return entry.values;
    throw this.readError();
  }

  override read(dataId: object): Promise<HostValues> {
    const entry = this.entries.get(dataId);
    if (entry?.kind === 'constant') return Promise.resolve(entry.values);
    const error = this.readError();
    if (this.session === undefined) return Promise.reject(error);
    // tfjs calls this from an async function, so that throwing here would only make a rejection that nobody may look
    // at. The trace throws at its end instead, and the promise stays pending.
    this.session.failure ??= error;
    return new Promise<HostValues>(() => undefined);
  }

  override disposeData(dataId: object, force = false): boolean {
    const entry = this.entries.get(dataId);
    if (entry === undefined) return true;
    entry.references--;
    if (!force && entry.references > 0) return false;
    this.entries.delete(dataId);
    this.live--;
    return true;
  }

  override refCount(dataId: object): number {
    return this.entries.get(dataId)?.references ?? 0;
  }

  override incRef(dataId: object): void {
    const entry = this.entries.get(dataId);
    if (entry !== undefined) entry.references++;
    else tf.engine().state.tensorInfo.get(dataId)?.backend.incRef(dataId);
  }

  override numDataIds(): number {
    return this.live;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: false };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  /** @throws TraceError for a customGrad, whose own gradient `inner.grad` would pass over. */
  private checkCustomGradient(): void {
    const { kernelDepth } = tf.engine().state;
    const consistent = scopeNames().filter((scope) => CONSISTENT_OPS.includes(scope)).length;
    // A kernel runs at depth 1, and each customGrad around it adds one.
    if (kernelDepth - 1 > consistent) {
      throw traceError(
        'inner.grad differentiates the graph and would pass over the gradient given to tf.customGrad: write the ' +
          'function with inner.stopGradient instead.',
      );
    }
  }

  private checkTape(name: string): void {
    const { gradientDepth } = tf.engine().state;
    if (gradientDepth > 1) {
      throw traceError(
        'nested tf.grad (also tf.grads, tf.valueAndGrad, tf.variableGrads) gives wrong derivatives in TensorFlow.js: ' +
          'use inner.grad, which may be nested.',
      );
    }
    // The tape saves operands by cloning them inside the kernel that uses them.
    const saving = gradientDepth > 0 && name === 'Identity';
    if (name !== 'constant' && !saving && this.active().gradients > 0) this.checkCustomGradient();
  }

  private insideShift(): boolean {
    return scopeNames().some((scope) => SHIFTING_OPS.includes(scope));
  }

  private active(): TraceSession {
    if (this.session === undefined) {
      throw traceError(
        'a traced tensor is used after its trace ended: step, initState and finish must not store tensors.',
      );
    }
    return this.session;
  }

  private readError(): Error {
    return traceError(
      'the value of a traced tensor is read (dataSync, data, array, print …), but it is not known before the run: ' +
        'compute with tensors (tf.where instead of if), and report numbers through `metrics`.',
    );
  }

  private info(id: ValueId): tf.TensorInfo {
    const session = this.active();
    const { shape, dtype } = session.builder.type(id);
    const dataId = {};
    this.put(dataId, { kind: 'value', session, id, references: 1 });
    return { dataId, shape: [...shape], dtype: constantDType(dtype) };
  }

  private put(dataId: object, entry: Entry): void {
    this.entries.set(dataId, entry);
    this.live++;
  }
}

function scopeNames(): string[] {
  return tf.engine().state.scopeStack.map((scope) => scope.name);
}

/** The tracing backend of this copy of Outerloop, registered on first use: tfjs's registry is global by nature. */
export function traceBackend(): { readonly name: string; readonly backend: TraceBackend } {
  const engine = tf.engine();
  for (let copy = 1; ; copy++) {
    const name = copy === 1 ? 'outerloop-trace' : `outerloop-trace-${copy}`;
    if (!engine.backendNames().includes(name)) register(name);
    const backend = engine.findBackend(name);
    // Another copy of Outerloop in the process has its own backend under the first name.
    if (backend instanceof TraceBackend) return { name, backend };
  }
}

function register(backendName: string): void {
  // Priority 0 is below every real backend, so that tfjs never chooses it by itself.
  tf.registerBackend(backendName, () => new TraceBackend(), 0);
  for (const [kernelName, rule] of Object.entries(KERNEL_RULES)) {
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const results = (backend as TraceBackend).run(kernelName, rule, inputs, attrs ?? {});
        return MULTIPLE_RESULTS.includes(kernelName) ? results : results[0];
      },
    });
  }
}

/** Kernels whose result is a list, even of one. */
const MULTIPLE_RESULTS = ['Unpack', 'SplitV', 'TopK'];
