/** What programs that differentiate have in common, and those that go forward only, which any engine runs as it stands. */
import {
  CapabilityError,
  ConfigurationError,
  EngineError,
  type DerivativePopulation,
  type DerivativeProgram,
  type DerivativeResult,
  type Differentiation,
  type ParticleSelection,
  type Perturbation,
  type Population,
  type PopulationOptions,
  type ResetRequest,
  type UnrollProgram,
  type WindowResult,
} from '../../contracts';
import { checkDifferentiable, rankOneProblem, tangentProblem } from '../../graph/derive';
import { sumsSize, type TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import type { GraphEngine } from './engine';
import { checkSteps } from './particles';
import { thetaRows } from './perturbation';
import { RunTable } from './runs';

type ForwardMode = Exclude<Differentiation, { readonly mode: 'reverse' }>;

/** `UnrollProgram.differentiate` of an engine that runs graphs. */
export async function differentiateProgram(
  engine: GraphEngine,
  { problem }: Pick<UnrollProgram, 'problem'>,
  differentiation: Differentiation,
): Promise<DerivativeProgram> {
  const capability = differentiation.mode === 'reverse' ? 'reverse' : 'tangent';
  if (!engine.capabilities.has(capability)) {
    throw new CapabilityError(engine.name, capability, 'Choose another engine, or an evolutionary estimator.');
  }
  checkNumbers(differentiation, problem.horizon);
  const traced = traceProblem(problem, { for: 'differentiate' });
  checkDifferentiable(traced);
  return engine.compileDerivative(traced, differentiation);
}

function checkNumbers(differentiation: Differentiation, horizon: number): void {
  const positive = (value: number): boolean => Number.isSafeInteger(value) && value >= 1;
  if (differentiation.mode === 'reverse' && !(positive(differentiation.steps) && differentiation.steps <= horizon)) {
    throw new ConfigurationError(
      'steps of a reverse window',
      `a whole number from 1 to the horizon ${horizon}`,
      String(differentiation.steps),
    );
  }
  if (differentiation.mode === 'tangent' && !positive(differentiation.directions)) {
    throw new ConfigurationError('directions', 'a positive whole number', String(differentiation.directions));
  }
}

/** Tangent and rank-one windows: forward windows of a problem with more state. */
export async function compileForwardDerivative(
  engine: GraphEngine,
  traced: TracedProblem,
  differentiation: ForwardMode,
): Promise<DerivativeProgram> {
  const derived =
    differentiation.mode === 'tangent' ? tangentProblem(traced, differentiation.directions) : rankOneProblem(traced);
  return new ForwardDerivativeProgram(await engine.compileTraced(derived), traced, sumsSize(derived), differentiation);
}

class ForwardDerivativeProgram implements DerivativeProgram {
  readonly engine;
  readonly problem;
  readonly theta;
  readonly metrics;
  readonly finishes;

  constructor(
    private readonly inner: UnrollProgram,
    traced: TracedProblem,
    readonly derivatives: number,
    readonly differentiation: ForwardMode,
  ) {
    this.engine = inner.engine;
    this.problem = inner.problem;
    this.theta = traced.theta;
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
  }

  async createPopulation(options: PopulationOptions): Promise<DerivativePopulation> {
    const population = await this.inner.createPopulation(options);
    const directions = this.differentiation.mode === 'tangent' ? this.differentiation.directions : 0;
    return new ForwardDerivativePopulation(population, this.theta.size, directions, new RunTable(options));
  }

  dispose(): Promise<void> {
    return this.inner.dispose();
  }
}

interface Directed extends ParticleSelection {
  readonly directions?: Float64Array;
}

class ForwardDerivativePopulation implements DerivativePopulation {
  constructor(
    private readonly inner: Population,
    private readonly thetaSize: number,
    /** 0: θ is as it was. */
    private readonly directions: number,
    private readonly runs: RunTable,
  ) {}

  get size(): number {
    return this.inner.size;
  }

  async reset(request: ResetRequest & { readonly directions?: Float64Array }): Promise<void> {
    await this.inner.reset({ ...request, perturbation: this.widened('reset', request) });
  }

  async differentiate(request: Directed & { readonly steps: number }): Promise<DerivativeResult> {
    const { steps } = request;
    checkSteps(steps);
    const result = await this.inner.advance({ ...request, perturbation: this.widened('differentiate', request) });
    if (result.derivatives === undefined) throw new EngineError('differentiate: the engine returned no derivatives.');
    return { ...result, derivatives: result.derivatives.map((sum) => sum / steps) };
  }

  async advance(request: Directed & { readonly steps: number }): Promise<WindowResult> {
    return this.inner.advance({ ...request, perturbation: this.widened('advance', request) });
  }

  async finish(request: ParticleSelection): Promise<Readonly<Record<string, Float64Array>>> {
    const { particles } = request;
    const directions = new Float64Array(particles.length * this.directions * this.thetaSize);
    return this.inner.finish({ ...request, perturbation: this.widened('finish', { ...request, directions }) });
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.inner.copy(from, to);
  }

  phases(): Int32Array {
    return this.inner.phases();
  }

  save(): ReturnType<Population['save']> {
    return this.inner.save();
  }

  load(bundle: Parameters<Population['load']>[0]): Promise<void> {
    return this.inner.load(bundle);
  }

  dispose(): Promise<void> {
    return this.inner.dispose();
  }

  /** θ of each particle with its directions behind it. @throws EngineError if directions are missing or of another length */
  private widened(call: string, { particles, perturbation, directions }: Directed): Perturbation {
    if (this.directions === 0) return perturbation;
    const m = particles.length;
    const width = this.directions * this.thetaSize;
    if (directions?.length !== m * width) {
      throw new EngineError(
        `${call}, directions: expected ${m * width} numbers (particles × directions × θ), got ${directions?.length ?? 'none'}.`,
      );
    }
    const thetas = thetaRows(perturbation, m, this.thetaSize, this.runs.entries(particles));
    const rows = new Float64Array(m * (this.thetaSize + width));
    for (let i = 0; i < m; i++) {
      const at = i * (this.thetaSize + width);
      rows.set(thetas.subarray(i * this.thetaSize, (i + 1) * this.thetaSize), at);
      rows.set(directions.subarray(i * width, (i + 1) * width), at + this.thetaSize);
    }
    return { form: 'explicit', thetas: rows };
  }
}
