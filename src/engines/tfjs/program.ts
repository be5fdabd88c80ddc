import {
  EngineError,
  type DerivativeProgram,
  type Differentiation,
  type Population,
  type PopulationOptions,
  type UnrolledProblem,
  type UnrollProgram,
  type ThetaLayout,
} from '../../contracts';
import type { Graph } from '../../graph/ir';
import type { ReverseProblem } from '../../graph/derive';
import { stateSize, type TracedProblem } from '../../graph/program';
import { differentiateProgram } from '../shared/derivative';
import type { GraphEngine } from '../shared/engine';
import { combineNoise } from '../shared/perturbation';
import { refuseRuns } from '../shared/runs';
import { Sequence } from '../shared/scheduling';
import type { Device } from './device';
import { backendForms } from './forms';
import { GraphAnalysis, Plan, SharedValues } from './plan';
import { TfjsPopulation } from './population';

const GRAPH_NAMES = ['init', 'step', 'finish', 'record', 'backFrom', 'start'] as const;
/** Those of a traced problem, and those of its reverse windows (`ReverseProblem`). All take the leaves of θ first. */
export type GraphName = (typeof GRAPH_NAMES)[number];

/** Plans of a graph that are kept, least recently used first out: a plan is made in milliseconds. */
const KEPT_PLANS = 4;

export interface ProgramOptions {
  /** Bytes that one call may hold at once beside the states. Default: what suits the backend. */
  readonly workingSetBytes?: number;
  /** Graphs of reverse windows. */
  readonly reverse?: ReverseGraphs;
}

export type ReverseGraphs = Pick<ReverseProblem, 'record' | 'backFrom' | 'start'>;

/** The graphs of one problem, lowered when they are needed for as many particles as are needed. */
export class TfjsProgram implements UnrollProgram {
  readonly engine: string;
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  readonly stateSize: number;
  readonly metrics: readonly string[];
  readonly finishes: readonly string[];
  /** Calls of all populations, one after another: they run on the same plans, which hold a window's data. */
  readonly sequence = new Sequence();
  private readonly shared = new Map<GraphName, SharedValues>();
  private readonly plans = new Map<string, Plan>();
  private readonly groupSizes = new Map<GraphName, number>();
  private readonly graphs: Readonly<Partial<Record<GraphName, Graph>>>;
  private readonly workingSetBytes: number;

  constructor(
    private readonly owner: GraphEngine,
    readonly device: Device,
    readonly traced: TracedProblem,
    { workingSetBytes = backendForms(device).workingSetBytes, reverse }: ProgramOptions = {},
  ) {
    this.engine = owner.name;
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.stateSize = stateSize(traced);
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
    this.workingSetBytes = workingSetBytes;
    const { init, step, finish } = traced;
    this.graphs = { init, step, ...(finish === undefined ? {} : { finish }), ...reverse };
    // Lowers every graph once, so that an op that the backend lacks is known before anything runs.
    for (const name of GRAPH_NAMES) {
      if (this.has(name)) this.groupSizes.set(name, this.measureGroup(name));
    }
  }

  has(name: GraphName): boolean {
    return this.graphs[name] !== undefined;
  }

  /** How many particles run together in one call of a graph. */
  groupSize(name: GraphName): number {
    return this.groupSizes.get(name) ?? 1;
  }

  plan(name: GraphName, particles: number): Plan {
    const key = `${name} ${particles}`;
    const known = this.plans.get(key);
    const plan = known ?? this.makePlan(name, particles);
    this.plans.delete(key);
    this.plans.set(key, plan);
    for (const [oldest, old] of this.plans) {
      if (this.plans.size <= KEPT_PLANS * this.groupSizes.size) break;
      old.dispose();
      this.plans.delete(oldest);
    }
    return plan;
  }

  createPopulation(options: PopulationOptions): Promise<Population> {
    return Promise.resolve().then(() => {
      refuseRuns(this.engine, options);
      return new TfjsPopulation(this, options.size, options.seed);
    });
  }

  combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array> {
    return Promise.resolve().then(() => combineNoise(keys, weights, this.theta.size));
  }

  differentiate(differentiation: Differentiation): Promise<DerivativeProgram> {
    return differentiateProgram(this.owner, this, differentiation);
  }

  dispose(): Promise<void> {
    return this.sequence.run(() => {
      for (const plan of this.plans.values()) plan.dispose();
      this.plans.clear();
      for (const shared of this.shared.values()) shared.dispose();
      this.shared.clear();
      return Promise.resolve();
    });
  }

  /** A plan of its own, not kept: to be measured. */
  makePlan(name: GraphName, particles: number): Plan {
    const graph = this.graphs[name];
    if (graph === undefined) throw new EngineError(`problem "${this.problem.name}" has no ${name}.`);
    let shared = this.shared.get(name);
    if (shared === undefined) {
      shared = new SharedValues(new GraphAnalysis(this.device, graph));
      this.shared.set(name, shared);
    }
    return new Plan(shared, particles, this.theta.leaves.length);
  }

  private measureGroup(name: GraphName): number {
    const [one, two] = [1, 2].map((particles) => this.makePlan(name, particles).peakBytes);
    return Math.max(1, Math.floor((this.workingSetBytes - one) / Math.max(1, two - one)));
  }
}
