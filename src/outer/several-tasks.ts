/**
 * Meta-training on several tasks at once: a program and a population for each, since their graphs differ in shape, and one
 * estimate of all of them. The outer loop sees an estimator like any other.
 */
import {
  ConfigurationError,
  type ArrayBundle,
  type ConfigObject,
  type Counted,
  type EngineCapability,
  type Estimate,
  type EstimatorPopulation,
  type Evaluation,
  type GradientEstimator,
  type HorizonSchedule,
  type LearnedOptimizer,
  type Task,
  type UnrolledProblem,
  type UnrollEngine,
  type UnrollProgram,
} from '../contracts';
import { unroll, type Objective } from './combinators/unroll';
import { measureOn, seedOfStream, statistics, type Evaluator } from './evaluate';
import type { Measurement } from './events';
import { initialLoss } from './first-step';
import { sharingDerivatives } from './gradient-samples';
import { initialTheta, norm } from './theta';

/** What a task's losses are divided by: nothing, or the mean training loss of its untrained parameters. */
export const NORMALISERS = ['none', 'initial-loss'] as const;
export type Normaliser = (typeof NORMALISERS)[number];

/** One of several tasks. */
export interface Member {
  readonly name: string;
  /** Positive. */
  readonly weight: number;
  readonly problem: UnrolledProblem;
}

export interface PlannedTasks {
  readonly members: readonly Member[];
  readonly normaliser: Normaliser;
}

export interface TasksOptions {
  readonly members: readonly { readonly name: string; readonly weight: number; readonly task: Task }[];
  /** Absent: `initial-loss` for an objective on the loss, else `none`. */
  readonly normaliser?: Normaliser;
  readonly optimizer: LearnedOptimizer;
  readonly objective: Objective;
  readonly horizon: number | HorizonSchedule;
  readonly evaluation?: { readonly particles?: number };
}

/**
 * Each task with the optimizer, and what stands for all of them where one problem is asked for: the first, under another name.
 * @throws ConfigurationError, as `unroll` does, and for a normaliser that the objective does not go with
 */
export function planTasks(options: TasksOptions): { readonly problem: UnrolledProblem; readonly tasks: PlannedTasks } {
  const { members, optimizer, objective, horizon, evaluation } = options;
  const ofLoss = objective.metric === 'loss';
  const normaliser = options.normaliser ?? (ofLoss ? 'initial-loss' : 'none');
  if (normaliser === 'initial-loss' && !ofLoss) {
    const hint = 'Losses at the start say nothing about it.';
    throw new ConfigurationError('tasks.normaliser', `none for the objective "${objective.metric}"`, normaliser, hint);
  }
  if (members.length === 0) throw new ConfigurationError('tasks', 'one or more tasks', 'none');
  checkNames(members.map(({ name }) => name));
  const planned = members.map(({ name, weight, task }): Member => {
    if (!(weight > 0 && weight < Infinity)) {
      throw new ConfigurationError(`tasks: the weight of "${name}"`, 'a positive number', String(weight));
    }
    const problem = unroll({
      name: `${optimizer.name} on ${name} (${task.name})`,
      ...{ task, optimizer, objective, horizon, evaluation },
    });
    return { name, weight, problem };
  });
  const count = planned.length === 1 ? '1 task' : `${String(planned.length)} tasks`;
  return {
    problem: { ...planned[0].problem, name: `${optimizer.name} on ${count}` },
    tasks: { members: planned, normaliser },
  };
}

/** @throws ConfigurationError for a name that two members have */
export function checkNames(names: readonly string[]): void {
  const twice = names.findIndex((name, i) => names.indexOf(name) < i);
  if (twice < 0) return;
  throw new ConfigurationError(`tasks.members.${String(twice)}.name`, 'a name of its own', `"${names[twice]}"`);
}

/** The seed of a member's population: the first has the run's, so that one task alone is what it is without others. */
export function memberSeed(seed: number, member: number): number {
  return member === 0 ? seed : seedOfStream(seed, 'tasks', member);
}

/** A member whose program is there. */
export interface CompiledMember extends Omit<Member, 'problem'> {
  readonly program: UnrollProgram;
  /** n: what its losses and gradients are divided by. */
  readonly normaliser: number;
}

/** What a run needs of its plan once that has compiled. */
export interface CompiledPlan {
  readonly program: UnrollProgram;
  readonly estimator: GradientEstimator;
  /** Absent where nothing is evaluated. */
  readonly evaluator?: Evaluator;
  /** Worth saying before the run starts. */
  readonly notice?: string;
  dispose(): Promise<void>;
}

class Populations implements EstimatorPopulation {
  constructor(
    readonly program: UnrollProgram,
    readonly each: readonly EstimatorPopulation[],
  ) {}

  async save(): Promise<ArrayBundle> {
    const bundles = await Promise.all(this.each.map((population) => population.save()));
    return Object.fromEntries(
      bundles.flatMap((bundle, i) => Object.entries(bundle).map(([name, array]) => [`${prefix(i)}${name}`, array])),
    );
  }

  async load(bundle: ArrayBundle): Promise<void> {
    for (const [i, population] of this.each.entries()) {
      const own = Object.entries(bundle).filter(([name]) => name.startsWith(prefix(i)));
      await population.load(Object.fromEntries(own.map(([name, array]) => [name.slice(prefix(i).length), array])));
    }
  }

  async dispose(): Promise<void> {
    for (const population of this.each) await population.dispose();
  }
}

const prefix = (member: number): string => `task${String(member)}.`;

/** Diagnostics that count something; of the others the combination has the mean. */
const COUNTS: readonly string[] = ['explodedWorkers', 'clippedWorkers'];

/**
 * Σ w·g/n / Σ w over the members that have a valid pair (or worker) in this iteration, w their weights and n their normalisers; the
 * mean loss likewise. A member without one is left out of the iteration, weight and all; its own loss is NaN then.
 *
 * Members run one after another with populations of their own; `sequentialSteps` is that of one of them, since nothing of a member
 * waits for another. Metrics: `<member>: mean loss`, per inner step and not normalised, and the weighted means of metrics that all
 * members have.
 */
export class SeveralTasks implements GradientEstimator<Populations> {
  readonly name: string;
  readonly needs: readonly EngineCapability[];
  readonly counts?: Counted;
  readonly settings?: ConfigObject;

  constructor(
    private readonly estimator: GradientEstimator,
    private readonly members: readonly CompiledMember[],
  ) {
    this.name = estimator.name;
    this.needs = estimator.needs;
    this.counts = estimator.counts;
    this.settings = estimator.settings;
  }

  async populate(program: UnrollProgram, seed: number): Promise<Populations> {
    const each: EstimatorPopulation[] = [];
    try {
      for (const [i, member] of this.members.entries()) {
        each.push(await this.estimator.populate(member.program, memberSeed(seed, i)));
      }
    } catch (error) {
      for (const population of each) await population.dispose();
      throw error;
    }
    return new Populations(program, each);
  }

  async estimate(
    theta: Float64Array,
    population: Populations,
    iteration: number,
    signal?: AbortSignal,
  ): Promise<Estimate> {
    const estimates: Estimate[] = [];
    for (const one of population.each) estimates.push(await this.estimator.estimate(theta, one, iteration, signal));
    return combineEstimates(this.members, estimates);
  }
}

/** See `SeveralTasks`. Estimates are in the order of the members. */
export function combineEstimates(
  members: readonly Pick<CompiledMember, 'name' | 'weight' | 'normaliser'>[],
  estimates: readonly Estimate[],
): Estimate {
  const valid = members.flatMap(({ weight, normaliser }, i) =>
    estimates[i].validPairs > 0 ? [{ weight, normaliser, estimate: estimates[i] }] : [],
  );
  const total = valid.reduce((sum, { weight }) => sum + weight, 0);
  const parts = valid.map(({ weight, normaliser, estimate }) => ({
    estimate,
    plain: weight / total,
    share: weight / total / normaliser,
  }));
  const gradient = new Float64Array(estimates[0].gradient.length);
  for (const { share, estimate } of parts) {
    for (let k = 0; k < gradient.length; k++) gradient[k] += share * estimate.gradient[k];
  }
  const sum = (of: (estimate: Estimate) => number): number => estimates.reduce((a, estimate) => a + of(estimate), 0);
  const sequential = estimates.flatMap(({ sequentialSteps }) => sequentialSteps ?? []);
  const shared = (of: (estimate: Estimate) => Readonly<Record<string, number>>): string[] =>
    Object.keys(of(estimates[0])).filter((name) => estimates.every((estimate) => name in of(estimate)));
  return {
    gradient,
    meanLoss: parts.length === 0 ? NaN : parts.reduce((a, { share, estimate }) => a + share * estimate.meanLoss, 0),
    innerSteps: sum(({ innerSteps }) => innerSteps),
    ...(sequential.length === 0 ? {} : { sequentialSteps: Math.max(...sequential) }),
    burnInSteps: sum(({ burnInSteps }) => burnInSteps),
    validPairs: sum(({ validPairs }) => validPairs),
    droppedPairs: sum(({ droppedPairs }) => droppedPairs),
    metrics: {
      ...Object.fromEntries(
        shared(({ metrics }) => metrics).map((name) => [
          name,
          parts.reduce((a, { plain, estimate }) => a + plain * estimate.metrics[name], 0),
        ]),
      ),
      ...Object.fromEntries(
        members.map(({ name }, i) => [`${name}: mean loss`, estimates[i].validPairs > 0 ? estimates[i].meanLoss : NaN]),
      ),
    },
    diagnostics: {
      ...Object.fromEntries(
        shared(({ diagnostics }) => diagnostics).map((name) => {
          const all = sum(({ diagnostics }) => diagnostics[name]);
          return [name, COUNTS.includes(name) ? all : all / estimates.length];
        }),
      ),
      ...signalToNoise(gradient, parts),
    },
  };
}

/** ‖ĝ‖/√V, with V = Σ a²·V_member: members are independent, and each says its own ratio. */
function signalToNoise(
  gradient: Float64Array,
  parts: readonly { readonly share: number; readonly estimate: Estimate }[],
): Record<string, number> {
  const variance = parts.reduce((sum, { share, estimate }) => {
    const { signalToNoise: ratio } = estimate.diagnostics as Readonly<Record<string, number | undefined>>;
    return sum + ((share * norm(estimate.gradient)) / (ratio ?? NaN)) ** 2;
  }, 0);
  const ratio = norm(gradient) / Math.sqrt(variance);
  return Number.isFinite(ratio) ? { signalToNoise: ratio } : {};
}

export interface CompileTasksOptions {
  readonly engine: UnrollEngine;
  readonly tasks: PlannedTasks;
  readonly estimator: GradientEstimator;
  /** The run's. */
  readonly seed: number;
  /** Of what is judged, where it is not the run's. */
  readonly evaluation?: { readonly seed?: number; readonly particles?: number };
}

/**
 * Compiles all members and runs one step of each.
 * @throws ConfigurationError for an estimator without gradients, or losses that cannot be a normaliser; NonFiniteTaskError
 */
export async function compileTasks(options: CompileTasksOptions): Promise<CompiledPlan> {
  const { engine, tasks, estimator, seed, evaluation = {} } = options;
  if (estimator.counts === 'candidates') {
    throw new ConfigurationError('estimator', 'an estimator of gradients, for several tasks', `"${estimator.name}"`);
  }
  const opened: { dispose(): Promise<void> }[] = [];
  const dispose = async (): Promise<void> => {
    for (const one of opened.reverse()) await one.dispose();
  };
  try {
    const { seed: judged = seed, particles = tasks.members[0].problem.evaluation?.particles } = evaluation;
    const theta = initialTheta(tasks.members[0].problem, seed);
    const members: CompiledMember[] = [];
    for (const [i, member] of tasks.members.entries()) {
      const compiled = await engine.compile(member.problem);
      const program = sharingDerivatives(compiled);
      opened.push(compiled, program);
      const { name, weight, problem } = member;
      const called = `tasks: the loss of "${name}" (${problem.name})`;
      const loss = await initialLoss({ called, program, theta, seed: memberSeed(seed, i) });
      members.push({ name, weight, program, normaliser: tasks.normaliser === 'none' ? 1 : normaliserOf(name, loss) });
    }
    const [{ program }] = members;
    return {
      program,
      estimator: new SeveralTasks(estimator, members),
      ...evaluatorOf(members, judged, particles),
      ...(tasks.normaliser === 'none' ? {} : { notice: noticeOf(members) }),
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** @throws ConfigurationError for a loss that nothing can be divided by */
function normaliserOf(name: string, loss: number): number {
  const size = Math.abs(loss);
  if (size > 0) return size;
  const hint = 'Set tasks.normaliser to none.';
  throw new ConfigurationError('tasks.normaliser', `an initial loss of "${name}" other than 0`, String(loss), hint);
}

function noticeOf(members: readonly CompiledMember[]): string {
  const losses = members.map(({ name, normaliser }) => `${name} ${String(Number(normaliser.toPrecision(3)))}`);
  return `losses are divided by those of untrained parameters: ${losses.join(', ')}`;
}

/**
 * What is minimised, from fresh starts of every member at an unperturbed θ: the mean over members of mean losses over the horizon,
 * weights and normalisers included. Start i is that of all members together, so that the standard error is over starts.
 */
function evaluatorOf(
  members: readonly CompiledMember[],
  seed: number,
  particles = 1,
): { readonly evaluator?: Evaluator } {
  const [{ program }] = members;
  if (!Number.isFinite(program.problem.horizon)) return {};
  const metric = members.length === 1 ? 'mean loss' : `mean loss of ${String(members.length)} tasks`;
  const evaluationOn = (problem: UnrolledProblem): Evaluation => ({
    ...{ metric, minimise: true, problem, particles, measure: 'mean' },
  });
  const total = members.reduce((sum, { weight }) => sum + weight, 0);
  const shares = members.map(({ weight, normaliser }) => weight / total / normaliser);
  const combined = (all: readonly (readonly number[])[]): number[] =>
    all[0].map((_, i) => all.reduce((sum, values, k) => sum + shares[k] * values[i], 0));
  const measure = async (theta: Float64Array, signal?: AbortSignal): Promise<Measurement> => {
    const each: Measurement[] = [];
    for (const [i, member] of members.entries()) {
      const at = { seed: memberSeed(seed, i) };
      each.push(await measureOn(member.program, evaluationOn(member.program.problem), theta, at, signal));
    }
    const values = combined(each.map((one) => one.values));
    const [{ curve }] = each;
    return {
      ...each[0],
      ...statistics(values),
      values,
      curve: { ...curve, value: combined(each.map((one) => one.curve.value)) },
      members: Object.fromEntries(members.map(({ name }, i) => [name, each[i].mean])),
    };
  };
  return {
    evaluator: { evaluation: evaluationOn(program.problem), program, measure, dispose: () => Promise.resolve() },
  };
}
