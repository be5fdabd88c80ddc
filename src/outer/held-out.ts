/** Tasks that a run is judged on in its course, and never trained on. */
import {
  ConfigurationError,
  type Evaluation,
  type LearnedOptimizer,
  type Task,
  type UnrolledProblem,
  type UnrollEngine,
} from '../contracts';
import { unroll, type Objective } from './combinators/unroll';
import type { ResolvedConfig } from './config';
import { createEvaluator, type Evaluator, type EvaluatorOptions } from './evaluate';
import type { HeldOutMeasurement, Measurement } from './events';
import { metaTestTasks, type NamedTask } from './meta-test-tasks';
import type { Resolver } from './resolver';

/** What is run of a held-out task. */
export type HeldOutProblem = UnrolledProblem & { readonly evaluation: Evaluation };

/** A held-out task with the run's optimizer. */
export interface HeldOutTask {
  readonly name: string;
  readonly evaluation: Evaluation;
}

const KEY = 'evaluation.tasks';

/** @throws ConfigurationError for a name that two of them have */
export function checkHeldOutNames(names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new ConfigurationError(KEY, 'tasks with names of their own', `"${twice}" twice`);
}

/**
 * The held-out tasks of a configuration, none of them built. `panel` leaves out the run's own task, which is judged anyway.
 * @throws ConfigurationError, UnknownNameError
 */
export function heldOutConfigs(config: ResolvedConfig, resolver: Resolver): NamedTask[] {
  const { tasks } = config.evaluation;
  if (tasks === undefined) return [];
  const found = metaTestTasks(tasks, config, resolver, { key: KEY, ownInPanel: false });
  checkHeldOutNames(found.map(({ name }) => name));
  return found;
}

export interface HeldOutParts {
  readonly name: string;
  readonly task: Task;
  readonly optimizer: LearnedOptimizer;
  readonly objective: Objective;
  /** The longest, of a schedule. */
  readonly horizon: number;
  readonly evaluation: { readonly particles?: number };
}

/**
 * The problem of a held-out task. Its evaluation ends as that of any task does, with a number on the whole test split; its
 * step has the loss of the objective, without a clip, so that the meta-loss is measured on the way.
 * @throws ConfigurationError as `unroll` does, and for a task without an end
 */
export function heldOutProblem({ name, objective, ...parts }: HeldOutParts): HeldOutProblem {
  const { clip: _, ...unclipped } = objective;
  const called = `${parts.optimizer.name} on ${name} (${parts.task.name}, held out)`;
  const { evaluation, ...training } = unroll({ ...parts, name: called, objective: unclipped });
  if (evaluation === undefined) {
    throw new ConfigurationError(KEY, 'tasks with a finite horizon', `"${name}", whose is infinite`);
  }
  const { curve: _curve, ...judged } = evaluation;
  return { ...training, evaluation: { ...judged, problem: { ...evaluation.problem, ...training } } };
}

/** The mean loss over all steps and starts: of each stretch of the curve by its length. */
function metaLossOf({ curve: { t, value } }: Measurement): number {
  const sum = value.reduce((total, mean, i) => total + mean * (t[i] - (i === 0 ? 0 : t[i - 1])), 0);
  return sum / t[t.length - 1];
}

/**
 * An evaluator that judges θ on held-out tasks, too, each compiled once; `dispose` of it disposes of those alone.
 * @throws TraceError, ShapeError for a task on which the optimizer has another θ
 */
export async function besideHeldOut(
  own: Evaluator,
  tasks: readonly HeldOutTask[],
  engine: UnrollEngine,
  options: EvaluatorOptions,
): Promise<Evaluator> {
  const evaluators: { readonly name: string; readonly evaluator: Evaluator }[] = [];
  const dispose = async (): Promise<void> => {
    for (const { evaluator } of evaluators) await evaluator.dispose();
  };
  try {
    for (const { name, evaluation } of tasks) {
      const evaluator = await createEvaluator(engine, evaluation, own.program.theta.size, options);
      evaluators.push({ name, evaluator });
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    ...own,
    measure: async (theta, signal) => {
      const measured = await own.measure(theta, signal);
      const heldOut: Record<string, HeldOutMeasurement> = {};
      for (const { name, evaluator } of evaluators) {
        const one = await evaluator.measure(theta, signal);
        heldOut[name] = { ...one, metaLoss: metaLossOf(one) };
      }
      return { ...measured, heldOut };
    },
    dispose,
  };
}
