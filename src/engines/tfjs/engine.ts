import {
  CapabilityError,
  type DerivativeProgram,
  type Differentiation,
  type EngineCapability,
  type UnrolledProblem,
  type UnrollProgram,
} from '../../contracts';
import type { TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import type { GraphEngine } from '../shared/engine';
import { openDevice, type Device } from './device';
import { TfjsProgram } from './program';

/** Runs windows on one TensorFlow.js backend, batched over particles. */
export class TfjsEngine implements GraphEngine {
  readonly capabilities: ReadonlySet<EngineCapability> = new Set(['forward']);

  private constructor(
    readonly name: string,
    readonly device: Device,
  ) {}

  /**
   * @param name as recorded in config.json, e.g. `tfjs:wasm`.
   * @param backendName as TensorFlow.js registers it, e.g. `wasm`.
   * @throws EngineError if the backend does not start.
   */
  static async open(
    name: string,
    backendName: string,
    options: { readonly memory?: 'opaque' } = {},
  ): Promise<TfjsEngine> {
    return new TfjsEngine(name, await openDevice(backendName, options));
  }

  async compile(problem: UnrolledProblem): Promise<UnrollProgram> {
    return this.compileTraced(traceProblem(problem));
  }

  compileTraced(traced: TracedProblem, options: { readonly workingSetBytes?: number } = {}): Promise<TfjsProgram> {
    return Promise.resolve(new TfjsProgram(this, this.device, traced, options.workingSetBytes));
  }

  compileDerivative(_traced: TracedProblem, { mode }: Differentiation): Promise<DerivativeProgram> {
    return Promise.reject(new CapabilityError(this.name, mode, 'Choose another engine.'));
  }

  /** The backend is TensorFlow.js' own and the user's too: it stays. */
  dispose(): Promise<void> {
    return Promise.resolve();
  }
}
