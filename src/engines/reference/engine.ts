/**
 * The engine that defines what a window is: the float64 interpreter, one particle after another. Nothing is rounded to
 * float32, θ included, so that every other engine is measured against it.
 */
import {
  EngineError,
  type ArrayBundle,
  type DerivativePopulation,
  type DerivativeProgram,
  type DerivativeResult,
  type Differentiation,
  type EngineCapability,
  type ParticleSelection,
  type Population,
  type PopulationOptions,
  type ResetRequest,
  type ReverseMemory,
  type UnrolledProblem,
  type UnrollProgram,
  type WindowResult,
} from '../../contracts';
import { reverseProblem } from '../../graph/derive';
import { compileInterpreter, stepContext, type CompiledInterpreter } from '../../graph/interpreter';
import { sizeOf } from '../../graph/ir';
import { stateSize, sumsSize, type TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import { checkSignal } from '../shared/cancel';
import { compileForwardDerivative, differentiateProgram } from '../shared/derivative';
import type { GraphEngine } from '../shared/engine';
import { bundleArray, checkCopy, checkReverseSteps, checkSteps, ParticleTable } from '../shared/particles';
import { combineNoise, thetaRows } from '../shared/perturbation';
import { RunTable } from '../shared/runs';
import { Breather, Sequence } from '../shared/scheduling';

type Leaf = Float64Array | Float32Array | Int32Array | Uint8Array;

/** Any machine, no dependencies, float64; meant for tests and small problems. */
export class ReferenceEngine implements GraphEngine {
  readonly name = 'reference';
  readonly capabilities: ReadonlySet<EngineCapability> = new Set(['forward', 'reverse', 'tangent']);
  readonly sharesPopulations = true;

  async compile(problem: UnrolledProblem): Promise<UnrollProgram> {
    return this.compileTraced(traceProblem(problem));
  }

  compileTraced(traced: TracedProblem): Promise<UnrollProgram> {
    return Promise.resolve(new ReferenceProgram(this, traced));
  }

  compileDerivative(traced: TracedProblem, differentiation: Differentiation): Promise<DerivativeProgram> {
    return differentiation.mode === 'reverse'
      ? Promise.resolve(new ReferenceReverseProgram(this.name, traced, differentiation))
      : compileForwardDerivative(this, traced, differentiation);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

type Reverse = Extract<Differentiation, { readonly mode: 'reverse' }>;

interface Interpreters {
  readonly init: CompiledInterpreter;
  readonly step: CompiledInterpreter;
  readonly finish?: CompiledInterpreter;
  /** Of reverse windows: see `ReverseProblem`. */
  readonly back?: CompiledInterpreter;
  readonly start?: CompiledInterpreter;
}

function interpretersOf({ init, step, finish }: TracedProblem): Interpreters {
  return {
    init: compileInterpreter(init),
    step: compileInterpreter(step),
    ...(finish === undefined ? {} : { finish: compileInterpreter(finish) }),
  };
}

class ReferenceProgram implements UnrollProgram {
  readonly engine;
  readonly problem;
  readonly theta;
  readonly stateSize;
  readonly metrics;
  readonly finishes;
  private readonly interpreters: Interpreters;

  constructor(
    private readonly owner: ReferenceEngine,
    private readonly traced: TracedProblem,
  ) {
    this.engine = owner.name;
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.stateSize = stateSize(traced);
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
    this.interpreters = interpretersOf(traced);
  }

  createPopulation(options: PopulationOptions): Promise<Population> {
    return Promise.resolve().then(() => new ReferencePopulation(this.traced, this.interpreters, options));
  }

  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array> {
    return Promise.resolve().then(() => combineNoise(keys, weights, this.theta.size));
  }

  differentiate(differentiation: Differentiation): Promise<DerivativeProgram> {
    return differentiateProgram(this.owner, this, differentiation);
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

/** Keeps the states of all steps, and runs each step's derivative with the step in it. */
class ReferenceReverseProgram implements DerivativeProgram {
  readonly problem;
  readonly theta;
  readonly metrics;
  readonly finishes;
  readonly derivatives;
  readonly reverse: ReverseMemory;
  private readonly interpreters: Interpreters;

  constructor(
    readonly engine: string,
    private readonly traced: TracedProblem,
    readonly differentiation: Reverse,
  ) {
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
    this.derivatives = traced.theta.size;
    const { back, start } = reverseProblem(traced);
    this.interpreters = {
      ...interpretersOf(traced),
      back: compileInterpreter(back),
      ...(start === undefined ? {} : { start: compileInterpreter(start) }),
    };
    const stateBytes = traced.state.reduce((sum, { type }) => sum + 8 * sizeOf(type.shape), 0);
    this.reverse = { keeps: 'states', bytes: differentiation.steps * stateBytes, atOnce: 1 };
  }

  createPopulation(options: PopulationOptions): Promise<DerivativePopulation> {
    return Promise.resolve().then(
      () => new ReferencePopulation(this.traced, this.interpreters, options, this.differentiation),
    );
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

class ReferencePopulation implements DerivativePopulation {
  readonly size: number;
  private readonly table: ParticleTable;
  private readonly runs: RunTable;
  private readonly states: Leaf[][];
  private readonly sequence = new Sequence();
  private readonly breather = new Breather();

  constructor(
    private readonly traced: TracedProblem,
    private readonly interpreters: Interpreters,
    options: PopulationOptions,
    private readonly reverse?: Reverse,
  ) {
    this.size = options.size;
    this.table = new ParticleTable(this.size);
    this.runs = new RunTable(options);
    this.states = Array.from({ length: this.size }, () => []);
  }

  reset(request: ResetRequest): Promise<void> {
    return this.sequence.run(async () => {
      const { particles, workers, episodes } = request;
      this.table.check('reset', particles, false);
      const thetas = this.thetas(request);
      const fresh: Leaf[][] = [];
      for (let i = 0; i < particles.length; i++) {
        checkSignal(request.signal, 'reset', `after ${i} of ${particles.length} particles`);
        const context = stepContext(this.runs.seedOf(particles[i]), workers[i], episodes[i], 0);
        fresh.push(this.interpreters.init.run(thetas[i], context));
        await this.breather.breathe();
      }
      fresh.forEach((state, i) => {
        this.states[particles[i]] = state;
        this.table.start(particles[i], workers[i], episodes[i]);
      });
    });
  }

  advance(request: ParticleSelection & { readonly steps: number }): Promise<WindowResult> {
    return this.sequence.run(() => this.window('advance', request));
  }

  differentiate(request: ParticleSelection & { readonly steps: number }): Promise<DerivativeResult> {
    return this.sequence.run(async () => {
      const { steps, particles } = request;
      const { reverse } = this;
      if (reverse === undefined) throw new EngineError('differentiate: this program has no reverse windows.');
      checkReverseSteps(reverse, steps, this.table.t, particles);
      const size = this.traced.theta.size;
      const derivatives = new Float64Array(particles.length * size);
      const result = await this.window('differentiate', request, async (i, states, theta) => {
        derivatives.set(await this.goBack(reverse, particles[i], states, theta), i * size);
      });
      return { ...result, derivatives };
    });
  }

  /** @param after is told the states before each step of the particle of entry i, before any particle is changed */
  private async window(
    call: string,
    request: ParticleSelection & { readonly steps: number },
    after?: (i: number, states: readonly Leaf[][], theta: Leaf[]) => Promise<void>,
  ): Promise<WindowResult> {
    const { particles, steps } = request;
    this.table.check(call, particles, true);
    checkSteps(steps);
    const m = particles.length;
    const thetas = this.thetas(request);
    const leaves = this.traced.state.length;
    const { metrics } = this.traced;
    const lossSum = new Float64Array(m);
    const lastLoss = new Float64Array(m);
    const metricSums = Object.fromEntries(metrics.map((name) => [name, new Float64Array(m)]));
    const width = sumsSize(this.traced);
    const sums = new Float64Array(m * width);
    const ends: Leaf[][] = [];
    for (let i = 0; i < m; i++) {
      let state = this.states[particles[i]];
      const states: Leaf[][] = [];
      for (let step = 0; step < steps; step++) {
        checkSignal(request.signal, call, `after ${step} of ${steps} inner steps of particle ${particles[i]}`);
        if (after !== undefined) states.push(state);
        const outputs = this.runStep(this.interpreters.step, particles[i], step, state, thetas[i]);
        state = outputs.slice(0, leaves);
        lastLoss[i] = outputs[leaves][0];
        lossSum[i] += lastLoss[i];
        metrics.forEach((name, k) => (metricSums[name][i] += outputs[leaves + 1 + k][0]));
        let at = i * width;
        for (const sum of outputs.slice(leaves + 1 + metrics.length)) for (const value of sum) sums[at++] += value;
        await this.breather.breathe();
      }
      await after?.(i, states, thetas[i]);
      ends.push(state);
    }
    ends.forEach((state, i) => {
      this.states[particles[i]] = state;
      this.table.t[particles[i]] += steps;
    });
    return { lossSum, lastLoss, metricSums, ...(width === 0 ? {} : { derivatives: sums }) };
  }

  /** Gradient by θ of the loss of a window whose steps began with these states. */
  private async goBack(
    { windowLoss, start }: Reverse,
    particle: number,
    states: readonly Leaf[][],
    theta: Leaf[],
  ): Promise<Float64Array> {
    const floats = this.traced.state.filter(({ type }) => type.dtype === 'float32');
    let cotangents: Leaf[] = floats.map(({ type }) => new Float64Array(sizeOf(type.shape)));
    const gradient = new Float64Array(this.traced.theta.size);
    const collect = (shares: readonly Leaf[]): void => {
      this.traced.theta.leaves.forEach(({ offset }, k) => {
        shares[k].forEach((value, j) => (gradient[offset + j] += value));
      });
    };
    for (let step = states.length - 1; step >= 0; step--) {
      const weight = windowLoss === 'mean' ? 1 / states.length : step === states.length - 1 ? 1 : 0;
      const more = [...cotangents, Float64Array.of(weight)];
      const outputs = this.runStep(this.interpreters.back!, particle, step, states[step], theta, more);
      cotangents = outputs.slice(0, floats.length);
      collect(outputs.slice(floats.length));
      await this.breather.breathe();
    }
    const { start: fromStart } = this.interpreters;
    if (start === true && fromStart !== undefined) {
      const { workers, episodes } = this.table;
      const context = stepContext(this.runs.seedOf(particle), workers[particle], episodes[particle], 0);
      collect(fromStart.run([...theta, ...cotangents], context));
    }
    return gradient;
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.sequence.run(() => {
      checkCopy(this.table, from, to);
      this.runs.checkCopy(from, to);
      from.forEach((source, i) => {
        this.states[to[i]] = this.states[source];
        this.table.copy(source, to[i]);
      });
      return Promise.resolve();
    });
  }

  finish(request: ParticleSelection): Promise<Readonly<Record<string, Float64Array>>> {
    return this.sequence.run(async () => {
      const { particles } = request;
      const { finish } = this.interpreters;
      const results = Object.fromEntries(
        this.traced.finishes.map((name) => [name, new Float64Array(particles.length)]),
      );
      if (finish === undefined) return results;
      this.table.check('finish', particles, true);
      const thetas = this.thetas(request);
      for (let i = 0; i < particles.length; i++) {
        checkSignal(request.signal, 'finish', `after ${i} of ${particles.length} particles`);
        const outputs = this.runStep(finish, particles[i], 0, this.states[particles[i]], thetas[i]);
        this.traced.finishes.forEach((name, k) => (results[name][i] = outputs[k][0]));
        await this.breather.breathe();
      }
      return results;
    });
  }

  phases(): Int32Array {
    return this.table.t.slice();
  }

  save(): Promise<ArrayBundle> {
    return this.sequence.run(() => {
      const bundle = this.table.save();
      this.traced.state.forEach(({ path, type }, leaf) => {
        const size = sizeOf(type.shape);
        const length = this.size * size;
        const data =
          type.dtype === 'float32'
            ? new Float64Array(length)
            : type.dtype === 'int32'
              ? new Int32Array(length)
              : new Uint8Array(length);
        this.states.forEach((state, i) => {
          if (this.table.started[i] !== 0) data.set(state[leaf], i * size);
        });
        bundle[`state.${path}`] = { shape: [this.size, ...type.shape], data };
      });
      return Promise.resolve(bundle);
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    return this.sequence.run(() => {
      const arrays = this.traced.state.map(({ path, type }) => {
        const { data } = bundleArray(bundle, `state.${path}`, [this.size, ...type.shape]);
        if (data instanceof Uint32Array) throw new EngineError(`load: "state.${path}" cannot be uint32.`);
        return { data, size: sizeOf(type.shape) };
      });
      this.table.load(bundle);
      for (let i = 0; i < this.size; i++) {
        this.states[i] = arrays.map(({ data, size }) => data.slice(i * size, (i + 1) * size));
      }
      return Promise.resolve();
    });
  }

  dispose(): Promise<void> {
    return this.sequence.run(() => {
      this.states.length = 0;
      return Promise.resolve();
    });
  }

  /** θ of each particle of a request, split into leaves. */
  private thetas({ particles, perturbation }: ParticleSelection): Float64Array[][] {
    const { size, leaves } = this.traced.theta;
    const rows = thetaRows(perturbation, particles.length, size, this.runs.entries(particles));
    return Array.from(particles, (_, i) =>
      leaves.map(({ offset, size: length }) => rows.subarray(i * size + offset, i * size + offset + length)),
    );
  }

  /** `ahead`: inner steps since the table's own t. */
  private runStep(
    interpreter: CompiledInterpreter,
    particle: number,
    ahead: number,
    state: Leaf[],
    theta: Leaf[],
    more: readonly Leaf[] = [],
  ): Leaf[] {
    const { workers, episodes } = this.table;
    const t = this.table.t[particle] + ahead;
    const context = stepContext(this.runs.seedOf(particle), workers[particle], episodes[particle], t);
    return interpreter.run([...theta, ...state, Int32Array.of(t), ...more], context);
  }
}
