/** Windows compiled to machine code: the traced step becomes C, the machine's compiler makes a library of it. */
import { availableParallelism } from 'node:os';
import {
  ConfigurationError,
  EngineUnavailableError,
  type DerivativeProgram,
  type Differentiation,
  type EngineCapability,
  type UnrolledProblem,
} from '../../contracts';
import { LEAST_TIME, reverseProblem } from '../../graph/derive';
import { sumsSize, type TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import { compileForwardDerivative } from '../shared/derivative';
import type { GraphEngine } from '../shared/engine';
import type { EngineOptions } from '../shared/options';
import { cacheFolder, findCompiler, LibraryCache, type Compiler } from './compile';
import { lowerProgram, lowerReverse, type LoweringOptions } from './plan';
import type { NativeProgram } from './plan/program';
import { NativeUnrollProgram } from './program';
import { NativeReverseProgram, planNativeReverse, type NativeReverse, type Reverse } from './reverse';
import { originOfLine } from './render/c';
import { renderProgram } from './render/driver';
import { MATH } from './render/math';
import { RANDOM } from './render/random';
import type { Driver } from './render/request';
import { loadKoffi, loadLibrary, NEEDS_SOURCE, Runtime, type Koffi } from './runtime';
import { threadsOf } from './threads';

/** Each takes half a second to read what all of them begin with, on a core of its own. */
const MOST_UNITS = 4;

export interface NativeOptions extends EngineOptions {
  readonly environment?: NodeJS.ProcessEnv;
  /** Loads koffi. */
  readonly load?: (name: string) => Promise<unknown>;
}

/** Compiled code on all cores. */
export class NativeEngine implements GraphEngine {
  readonly name = 'native';
  readonly capabilities: ReadonlySet<EngineCapability> = new Set(['forward', 'reverse', 'tangent']);
  readonly sharesPopulations = true;
  readonly fingerprint: Readonly<Record<string, string>>;

  private constructor(
    private readonly koffi: Koffi,
    private readonly compiler: Compiler,
    private readonly cache: LibraryCache,
    readonly runtime: Runtime,
    private readonly options: NativeOptions,
  ) {
    this.fingerprint = {
      compiler: compiler.version,
      isa: compiler.isaFlags.join(' '),
      lanes: String(compiler.target.lanes),
      mode: modeOf(options).mode ?? 'by cost',
    };
  }

  /**
   * Finds the compiler and starts the threads.
   * @throws EngineUnavailableError without a compiler, without koffi, or on Windows.
   * @throws ConfigurationError for a variable of the environment with a value that it cannot have.
   */
  static async open(options: NativeOptions = {}): Promise<NativeEngine> {
    const { environment = process.env } = options;
    if (process.platform === 'win32') {
      throw new EngineUnavailableError('native', 'it does not run on Windows', 'Use WSL, or choose another engine.');
    }
    const threads = threadsOf(options, environment);
    modeOf(options);
    const koffi = await loadKoffi(options.load);
    const compiler = await findCompiler(environment);
    const cache = await LibraryCache.open(cacheFolder(environment), options);
    try {
      const runtime = await Runtime.open(koffi, compiler, cache, threads);
      return new NativeEngine(koffi, compiler, cache, runtime, options);
    } catch (error) {
      await cache.close();
      throw error;
    }
  }

  async compile(problem: UnrolledProblem): Promise<NativeUnrollProgram> {
    return this.compileTraced(traceProblem(problem));
  }

  async compileTraced(traced: TracedProblem, options: LoweringOptions = {}): Promise<NativeUnrollProgram> {
    return this.compileNative(
      traced,
      lowerProgram(traced, this.compiler.target, { ...modeOf(this.options), ...options }),
    );
  }

  compileDerivative(traced: TracedProblem, differentiation: Differentiation): Promise<DerivativeProgram> {
    if (differentiation.mode !== 'reverse') return compileForwardDerivative(this, traced, differentiation);
    return this.compileReverse(traced, differentiation);
  }

  private async compileReverse(traced: TracedProblem, differentiation: Reverse): Promise<DerivativeProgram> {
    const plan = lowerReverse(reverseProblem(traced, LEAST_TIME), this.compiler.target, modeOf(this.options));
    const program = await this.compileNative(traced, plan, (driver) =>
      planNativeReverse(differentiation, driver, this.runtime.threads, this.options),
    );
    return new NativeReverseProgram(program, program.reverse!);
  }

  /** What a plan computes is what `traced` says; of `traced` only names and types are used. */
  async compileNative(
    traced: TracedProblem,
    program: NativeProgram,
    reverse?: (driver: Driver) => NativeReverse,
  ): Promise<NativeUnrollProgram> {
    const { koffi, compiler, cache, runtime } = this;
    const { name } = traced.problem;
    const sums = traced.metrics.length + sumsSize(traced);
    const driver = renderProgram(program, [MATH, RANDOM], sums, traced.finishes.length, {
      profile: this.profile(),
      guard: this.guard(),
      units: Math.min(MOST_UNITS, availableParallelism()),
    });
    // Memory is planned before a compiler is kept busy.
    const planned = reverse?.(driver);
    const [main, ...others] = driver.sources;
    const sources = [[main, NEEDS_SOURCE].join('\n'), ...others];
    const origin = { name, originOfLine: (line: number, unit: number) => originText(sources[unit], line) };
    const library = await loadLibrary(koffi, compiler, cache, sources, origin);
    runtime.checkProcessor(library);
    return new NativeUnrollProgram(this, traced, program, driver, runtime, library, this.options, planned);
  }

  async dispose(): Promise<void> {
    await this.runtime.close();
    await this.cache.close();
  }

  /** Under AddressSanitizer, kernels are held to their buffers. */
  private guard(): boolean {
    const { args, moreFlags } = this.compiler;
    return [...args, ...moreFlags].some((flag) => /^-fsanitize=.*\baddress\b/.test(flag));
  }

  private profile(): boolean {
    return (this.options.environment ?? process.env).OUTERLOOP_NATIVE_PROFILE === '1';
  }
}

/** @throws ConfigurationError if OUTERLOOP_NATIVE_MODE is neither of the modes. */
function modeOf({ environment = process.env }: NativeOptions): LoweringOptions {
  const mode = environment.OUTERLOOP_NATIVE_MODE ?? '';
  if (mode === '') return {};
  if (mode === 'particle-major' || mode === 'lane-major') return { mode };
  throw new ConfigurationError('OUTERLOOP_NATIVE_MODE', 'particle-major or lane-major', mode);
}

function originText(source: string, line: number): string | undefined {
  const origin = originOfLine(source, line);
  if (origin === undefined) return undefined;
  return origin.note === undefined ? `kernel ${origin.kernel}` : `kernel ${origin.kernel}, ${origin.note}`;
}
