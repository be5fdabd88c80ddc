import type {
  DerivativeProgram,
  Differentiation,
  EngineCapability,
  UnrolledProblem,
  UnrollProgram,
} from '../../contracts';
import { reverseProblem } from '../../graph/derive';
import { optimise } from '../../graph/passes';
import type { TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import { compileForwardDerivative } from '../shared/derivative';
import type { GraphEngine } from '../shared/engine';
import { openDevice, type Device } from './device';
import { REVERSE_BYTES } from './forms';
import { TfjsProgram } from './program';
import { TfjsReverseProgram } from './reverse';

/** Runs windows on one TensorFlow.js backend, batched over particles. */
export class TfjsEngine implements GraphEngine {
  readonly capabilities: ReadonlySet<EngineCapability> = new Set(['forward', 'reverse', 'tangent']);

  private constructor(
    readonly name: string,
    readonly device: Device,
    private readonly memoryBytes: number | undefined,
  ) {}

  /**
   * @param name as recorded in config.json, e.g. `tfjs:wasm`.
   * @param backendName as TensorFlow.js registers it, e.g. `wasm`.
   * @param options `memoryBytes`: what reverse windows may hold at once beside the states of their population.
   * @throws EngineError if the backend does not start.
   */
  static async open(
    name: string,
    backendName: string,
    options: { readonly memory?: 'opaque'; readonly memoryBytes?: number } = {},
  ): Promise<TfjsEngine> {
    return new TfjsEngine(name, await openDevice(backendName, options), options.memoryBytes);
  }

  async compile(problem: UnrolledProblem): Promise<UnrollProgram> {
    return this.compileTraced(traceProblem(problem));
  }

  compileTraced(traced: TracedProblem, options: { readonly workingSetBytes?: number } = {}): Promise<TfjsProgram> {
    return Promise.resolve(new TfjsProgram(this, this.device, traced, options));
  }

  compileDerivative(
    traced: TracedProblem,
    differentiation: Differentiation,
    options: { readonly workingSetBytes?: number; readonly memoryBytes?: number } = {},
  ): Promise<DerivativeProgram> {
    if (differentiation.mode !== 'reverse') return compileForwardDerivative(this, traced, differentiation);
    return Promise.resolve().then(() => {
      const reverse = reverseProblem(traced);
      // Marks of differentiation are in the way of nothing but simplification.
      const plain = {
        ...traced,
        init: optimise(traced.init),
        step: optimise(traced.step),
        ...(traced.finish === undefined ? {} : { finish: optimise(traced.finish) }),
      };
      const inner = new TfjsProgram(this, this.device, plain, { ...options, reverse });
      const limit = options.memoryBytes ?? this.memoryBytes ?? REVERSE_BYTES;
      return new TfjsReverseProgram(inner, reverse.floats, differentiation, limit);
    });
  }

  /** The backend is TensorFlow.js' own and the user's too: it stays. */
  dispose(): Promise<void> {
    return Promise.resolve();
  }
}
