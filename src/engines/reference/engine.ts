/**
 * The engine that defines what a window is: the float64 interpreter, one particle after another. Nothing is rounded to
 * float32, θ included, so that every other engine is measured against it.
 */
import {
  EngineError,
  type ArrayBundle,
  type EngineCapability,
  type ParticleSelection,
  type Population,
  type ResetRequest,
  type UnrolledProblem,
  type UnrollProgram,
  type WindowResult,
} from '../../contracts';
import { compileInterpreter, stepContext, type CompiledInterpreter } from '../../graph/interpreter';
import { sizeOf } from '../../graph/ir';
import type { TracedProblem } from '../../graph/program';
import { traceProblem } from '../../graph/trace';
import { checkSignal } from '../shared/cancel';
import type { GraphEngine } from '../shared/engine';
import { bundleArray, checkCopy, checkSteps, ParticleTable } from '../shared/particles';
import { combineNoise, thetaRows } from '../shared/perturbation';
import { Breather, Sequence } from '../shared/scheduling';

type Leaf = Float64Array | Float32Array | Int32Array | Uint8Array;

/** Any machine, no dependencies, float64; meant for tests and small problems. */
export class ReferenceEngine implements GraphEngine {
  readonly name = 'reference';
  readonly capabilities: ReadonlySet<EngineCapability> = new Set(['forward']);

  async compile(problem: UnrolledProblem): Promise<UnrollProgram> {
    return this.compileTraced(traceProblem(problem));
  }

  compileTraced(traced: TracedProblem): Promise<UnrollProgram> {
    return Promise.resolve(new ReferenceProgram(this.name, traced));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

interface Interpreters {
  readonly init: CompiledInterpreter;
  readonly step: CompiledInterpreter;
  readonly finish?: CompiledInterpreter;
}

class ReferenceProgram implements UnrollProgram {
  readonly problem;
  readonly theta;
  readonly metrics;
  readonly finishes;
  private readonly interpreters: Interpreters;

  constructor(
    readonly engine: string,
    private readonly traced: TracedProblem,
  ) {
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
    this.interpreters = {
      init: compileInterpreter(traced.init),
      step: compileInterpreter(traced.step),
      ...(traced.finish === undefined ? {} : { finish: compileInterpreter(traced.finish) }),
    };
  }

  createPopulation({ size, seed }: { readonly size: number; readonly seed: number }): Promise<Population> {
    return Promise.resolve(new ReferencePopulation(this.traced, this.interpreters, size, seed));
  }

  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array> {
    return Promise.resolve().then(() => combineNoise(keys, weights, this.theta.size));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

class ReferencePopulation implements Population {
  private readonly table: ParticleTable;
  private readonly states: Leaf[][];
  private readonly sequence = new Sequence();
  private readonly breather = new Breather();

  constructor(
    private readonly traced: TracedProblem,
    private readonly interpreters: Interpreters,
    readonly size: number,
    private readonly seed: number,
  ) {
    this.table = new ParticleTable(size);
    this.states = Array.from({ length: size }, () => []);
  }

  reset(request: ResetRequest): Promise<void> {
    return this.sequence.run(async () => {
      const { particles, workers, episodes } = request;
      this.table.check('reset', particles, false);
      const thetas = this.thetas(request);
      const fresh: Leaf[][] = [];
      for (let i = 0; i < particles.length; i++) {
        checkSignal(request.signal, 'reset', `after ${i} of ${particles.length} particles`);
        const context = stepContext(this.seed, workers[i], episodes[i], 0);
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
    return this.sequence.run(async () => {
      const { particles, steps } = request;
      this.table.check('advance', particles, true);
      checkSteps(steps);
      const m = particles.length;
      const thetas = this.thetas(request);
      const leaves = this.traced.state.length;
      const lossSum = new Float64Array(m);
      const lastLoss = new Float64Array(m);
      const metricSums = Object.fromEntries(this.traced.metrics.map((name) => [name, new Float64Array(m)]));
      const ends: Leaf[][] = [];
      for (let i = 0; i < m; i++) {
        let state = this.states[particles[i]];
        for (let step = 0; step < steps; step++) {
          checkSignal(request.signal, 'advance', `after ${step} of ${steps} inner steps of particle ${particles[i]}`);
          const outputs = this.runStep(this.interpreters.step, particles[i], step, state, thetas[i]);
          state = outputs.slice(0, leaves);
          lastLoss[i] = outputs[leaves][0];
          lossSum[i] += lastLoss[i];
          this.traced.metrics.forEach((name, k) => (metricSums[name][i] += outputs[leaves + 1 + k][0]));
          await this.breather.breathe();
        }
        ends.push(state);
      }
      ends.forEach((state, i) => {
        this.states[particles[i]] = state;
        this.table.t[particles[i]] += steps;
      });
      return { lossSum, lastLoss, metricSums };
    });
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.sequence.run(() => {
      checkCopy(this.table, from, to);
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
    const rows = thetaRows(perturbation, particles.length, size);
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
  ): Leaf[] {
    const { workers, episodes } = this.table;
    const t = this.table.t[particle] + ahead;
    const context = stepContext(this.seed, workers[particle], episodes[particle], t);
    return interpreter.run([...theta, ...state, Int32Array.of(t)], context);
  }
}
