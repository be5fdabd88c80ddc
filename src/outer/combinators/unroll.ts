/**
 * Task + optimizer → unrolled problem: meta-train an optimizer on a task, or tune the wrapped hyperparameters of a
 * hand-designed one. One combinator for both, since both optimizers are `LearnedOptimizer`s.
 */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  ConfigurationError,
  longestHorizon,
  SPLITS,
  type Batch,
  type Evaluation,
  type HorizonSchedule,
  type Inner,
  type KeyedRandom,
  type LearnedOptimizer,
  type Split,
  type StepResult,
  type Task,
  type TensorTree,
  type UnrolledProblem,
} from '../../contracts';
import { traceProblem } from '../../graph/trace';
import { checkSchedule } from '../horizon';
import { stepSizeMetrics } from '../step-sizes';

/** What the outer loop minimises. */
export interface Objective {
  /** `loss`, or a metric of the task; a metric of which more is better enters with a minus sign. */
  readonly metric: string;
  /** Rows it is measured on. Without meaning for a task that has no data set. */
  readonly split: Split;
  /**
   * `sum` and `mean`: at every step, on a fresh minibatch, after the update. Estimators always take the mean per inner
   * step; which of both it is decides only what is reported. `final`: at the last step only, as a telescoping sum.
   */
  readonly over: 'sum' | 'mean' | 'final';
  /** Whether more is better; by default for accuracies, precision, recall, f1, auc, return and reward. */
  readonly maximise?: boolean;
  /**
   * c: what is minimised at a step is min(L, c), L the loss (or metric, with its sign) of that step, so that one particle
   * that diverges does not rule; where L > c the derivative is 0. With `over: 'final'` it bounds the last loss. Metrics
   * and evaluations are not clipped; the metric `clipped steps` has the share of steps with L > c. NaN stays NaN.
   */
  readonly clip?: number;
}

/** Of the configuration's `objective`. */
export const objectiveSchema = z.strictObject({
  metric: z.string().min(1).default('loss'),
  split: z.enum(SPLITS).default('train'),
  over: z.enum(['sum', 'mean', 'final']).default('sum'),
  maximise: z.boolean().optional(),
  clip: z.number().optional(),
});

export interface UnrollOptions {
  /** By default `<optimizer> on <task>`. */
  readonly name?: string;
  readonly task: Task;
  readonly optimizer: LearnedOptimizer;
  readonly objective: Objective;
  /** Inner steps of an episode: a positive integer, or Infinity; or how those of training episodes differ. */
  readonly horizon: number | HorizonSchedule;
  readonly evaluation?: {
    /** Fresh starts over which θ is judged; 5 by default. */
    readonly particles?: number;
  };
}

interface UnrollState extends Record<string, TensorTree> {
  params: TensorTree;
  optimizer: TensorTree;
  // And `task` if the task has a state of its own, `previous` for the final loss.
}

/** What a step draws on; folded into `inner.random`, so that none shares numbers with another. */
const RANDOM = { loss: 0, optimizer: 1, objective: 2, gradients: 3 } as const;
const INIT = { params: 0, task: 1 } as const;

const MAXIMISED = /(?<!in)accuracy$|^(precision|recall|f1|auc|return|reward)$/i;

function isMaximised(objective: Pick<Objective, 'metric' | 'maximise'>): boolean {
  return objective.maximise ?? (objective.metric !== 'loss' && MAXIMISED.test(objective.metric));
}

function noData(): Batch {
  return { xs: tf.tensor([], [0], 'float32'), ys: tf.tensor([], [0], 'float32') };
}

/** Fresh parameters, and what the task carries beside them; both partners of a pair get the same. */
function freshTask(task: Task, random: KeyedRandom): { readonly params: TensorTree; readonly task?: TensorTree } {
  const asInit = (): KeyedRandom => random.foldIn(INIT.params);
  const params = task.init(asInit());
  if (task.initState === undefined) return { params };
  return { params, task: task.initState(params, random.foldIn(INIT.task), asInit()) };
}

/** Training loss, and the task's state after the step if it has one. */
function trainingLoss(
  task: Task,
  params: TensorTree,
  batch: Batch,
  random: KeyedRandom,
  state?: TensorTree,
): { readonly value: tf.Tensor; readonly aux: { readonly task?: TensorTree } } {
  if (state === undefined || task.lossWithState === undefined) {
    return { value: task.loss(params, batch, random), aux: {} };
  }
  const after = task.lossWithState(params, batch, random, state);
  return { value: after.loss, aux: { task: after.state } };
}

/** Names of the task's metrics, found by tracing them; nothing is computed. @throws TraceError */
function metricNames(task: Task): readonly string[] {
  if (task.metrics === undefined) return [];
  const { dataset } = task;
  const { metrics } = traceProblem({
    name: `metrics of task "${task.name}"`,
    horizon: 1,
    ...(dataset !== undefined && { dataset, batchSize: task.batchSize }),
    initTheta: () => ({}),
    initState: (_, random): Record<string, TensorTree> => ({ ...freshTask(task, random) }),
    step: (_, state: Record<string, TensorTree>, inner) => ({
      state,
      loss: tf.scalar(0),
      metrics: task.metrics?.(state.params, dataset === undefined ? noData() : inner.batch('validation'), state.task),
    }),
  });
  return metrics;
}

function checkMetric(task: Task, metric: string, names: readonly string[]): void {
  if (metric === 'loss' || names.includes(metric)) return;
  const known = ['loss', ...names.filter((name) => name !== 'loss')];
  throw new ConfigurationError(
    'objective.metric',
    `a metric of the task "${task.name}"`,
    `"${metric}"`,
    `It has: ${known.join(', ')}.`,
  );
}

/**
 * The loss and metrics of a batch, in their natural sign. A task may report a metric `loss`: its loss as an evaluation
 * sees it (without dropout, without regularisation); it then stands for the loss in objectives.
 */
function measure(
  task: Task,
  metric: string,
  { params, task: state }: Readonly<Record<string, TensorTree>>,
  batch: Batch,
  random: KeyedRandom,
) {
  const metrics = task.metrics?.(params, batch, state) ?? {};
  checkMetric(task, metric, Object.keys(metrics));
  const value = metric === 'loss' && !('loss' in metrics) ? task.loss(params, batch, random, state) : metrics[metric];
  return { value, all: { ...metrics, [metric]: value } };
}

/** How a metric of a split is called in reports: `validation accuracy`; without a data set there are no splits. */
function label(task: Task, split: Split, metric: string): string {
  return task.dataset === undefined ? metric : `${split} ${metric}`;
}

function labelled(task: Task, split: Split, values: Readonly<Record<string, tf.Tensor>>): Record<string, tf.Tensor> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [label(task, split, name), value]));
}

type Build = Pick<UnrollOptions, 'task' | 'optimizer' | 'objective'> & {
  readonly name: string;
  readonly horizon: number;
  /** Whether steps report what `StepSizeRecorder` listens to. */
  readonly stepSizes?: boolean;
};

function build({
  name,
  task,
  optimizer,
  objective,
  horizon,
  stepSizes,
}: Build): UnrolledProblem<TensorTree, UnrollState> {
  const final = objective.over === 'final';
  const sign = isMaximised(objective) ? -1 : 1;
  const { clip } = objective;

  const step = (theta: TensorTree, state: UnrollState, inner: Inner): StepResult<UnrollState> => {
    const hasData = task.dataset !== undefined;
    const batch = hasData ? inner.batch('train') : noData();
    const lossRandom = inner.random.foldIn(RANDOM.loss);
    const carried = state.task as TensorTree | undefined;
    const {
      value: loss,
      gradient: gradients,
      aux,
    } = inner.valueAndGrad((params) => trainingLoss(task, params, batch, lossRandom, carried))(state.params);
    const given = task.gradients?.(gradients, inner.random.foldIn(RANDOM.gradients)) ?? gradients;
    const updated = optimizer.optimizer(theta).update({
      params: state.params,
      gradients: given,
      state: state.optimizer,
      t: inner.t,
      loss,
      random: inner.random.foldIn(RANDOM.optimizer),
    });
    const rows = !hasData ? noData() : final ? inner.episodeBatch(objective.split) : inner.batch(objective.split);
    const after = { params: updated.params, ...aux };
    const { value, all } = measure(task, objective.metric, after, rows, inner.random.foldIn(RANDOM.objective));
    const signed = tf.mul(value, sign);
    const minimised = clip === undefined ? signed : tf.minimum(signed, clip);
    return {
      state: {
        ...after,
        optimizer: updated.state,
        ...(final && { previous: minimised }),
      },
      // p₀ = L₀, p_t = L_t − L_{t−1}: the sum over the episode is the last L (a telescoping sum, Vicol et al. 2021).
      loss: final ? tf.sub(minimised, state.previous as tf.Tensor) : minimised,
      metrics: {
        'batch loss': loss,
        ...labelled(task, objective.split, all),
        ...(clip !== undefined && { 'clipped steps': tf.cast(tf.greater(signed, clip), 'float32') }),
        ...(stepSizes === true && stepSizeMetrics(state.params, given, updated.params)),
      },
    };
  };

  return {
    name,
    horizon,
    ...(task.dataset !== undefined && { dataset: task.dataset, batchSize: task.batchSize }),
    initTheta: (random) => optimizer.initTheta(random),
    initState: (theta, random) => {
      const fresh = freshTask(task, random);
      const state = { ...fresh, optimizer: optimizer.optimizer(theta).init(fresh.params) };
      return final ? { ...state, previous: tf.scalar(0) } : state;
    },
    step,
    describeTheta: (theta) => optimizer.describeTheta?.(theta, horizon) ?? { values: {} },
  };
}

/**
 * How θ is judged: after `horizon` steps from fresh starts, by the task's accuracy if it has one, else by what the
 * objective measures; on the whole test split if the task has a data set.
 */
function evaluationOf(options: Build, names: readonly string[], particles: number): Evaluation {
  const { task, objective } = options;
  const metric = names.includes('accuracy') ? 'accuracy' : objective.metric;
  const judged: Objective = {
    metric,
    split: 'validation',
    over: 'mean',
    ...(metric === objective.metric && { maximise: objective.maximise }),
  };
  const problem = build({ ...options, name: `${options.name} (evaluation)`, objective: judged, stepSizes: true });
  const finish = task.dataset === undefined ? `final ${metric}` : `test ${metric}`;
  const evaluated: UnrolledProblem<TensorTree, UnrollState> = {
    ...problem,
    finish: (_, state, inner) => {
      const rows = task.dataset === undefined ? noData() : inner.wholeSplit('test');
      return { [finish]: measure(task, metric, state, rows, inner.random.foldIn(RANDOM.objective)).value };
    },
  };
  return {
    metric: finish,
    minimise: !isMaximised(judged),
    problem: evaluated,
    particles,
    measure: { finish },
    curve: label(task, 'validation', metric),
  };
}

interface Checked {
  readonly parts: Build;
  /** Of the task's metrics. */
  readonly names: readonly string[];
}

/** @throws ConfigurationError as `unroll` does */
function checked(options: UnrollOptions): Checked {
  const { task, objective } = options;
  if (typeof options.horizon === 'object') checkSchedule(options.horizon);
  const horizon = longestHorizon(options.horizon);
  if (horizon !== Infinity && !(Number.isInteger(horizon) && horizon > 0)) {
    throw new ConfigurationError('horizon', 'a positive integer', String(horizon));
  }
  if (task.dataset !== undefined && !(Number.isInteger(task.batchSize) && Number(task.batchSize) > 0)) {
    throw new ConfigurationError('task.batchSize', 'a positive integer', String(task.batchSize));
  }
  if ((task.initState === undefined) !== (task.lossWithState === undefined)) {
    const [given, missing] =
      task.initState === undefined ? ['lossWithState', 'initState'] : ['initState', 'lossWithState'];
    throw new ConfigurationError('task', `${given} and ${missing}, both or neither`, `${given} alone`);
  }
  const names = metricNames(task);
  checkMetric(task, objective.metric, names);
  const parts: Build = {
    name: options.name ?? `${options.optimizer.name} on ${task.name}`,
    task,
    // Schedules take their timescales from this horizon, the longest of a schedule's, in the evaluation too.
    optimizer: options.optimizer.forHorizon?.(horizon) ?? options.optimizer,
    objective,
    horizon,
  };
  return { parts, names };
}

/**
 * The problem of tuning `optimizer`'s θ on `task`. One inner step: a train batch, the task's loss and its gradient, the
 * optimizer's update, then the objective after the update.
 * @throws ConfigurationError for a metric that the task lacks, a horizon that is no positive integer (or Infinity), or a
 * data set without a batch size.
 */
export function unroll(options: UnrollOptions): UnrolledProblem {
  const { parts, names } = checked(options);
  const problem: UnrolledProblem = {
    ...(build(parts) as unknown as UnrolledProblem),
    ...(typeof options.horizon === 'object' && { horizonSchedule: options.horizon }),
  };
  if (parts.horizon === Infinity) return problem;
  return { ...problem, evaluation: evaluationOf(parts, names, options.evaluation?.particles ?? 5) };
}

export interface MetaTestOptions {
  readonly task: Task;
  readonly optimizer: LearnedOptimizer;
  /** Inner steps of a training: a positive integer. */
  readonly horizon: number;
  /** Rows that the loss of every step is measured on. */
  readonly split: Split;
  /** Whether effective step sizes are measured too, which takes a little of every step's time. */
  readonly stepSizes?: boolean;
}

/** A training whose course is measured, and what its numbers are called. */
export interface MetaTestProblem {
  /** The loss of a step is the task's on `split`, after the update. */
  readonly problem: UnrolledProblem;
  /** Outputs of `finish`: on the whole test split, or of the task itself if it has no data set. */
  readonly finalLoss: string;
  readonly accuracy?: string;
}

/**
 * Training `task` by `optimizer`, as optimizers are compared with one another: whatever they were meta-trained for, it is the
 * task's loss that counts.
 * @throws ConfigurationError as `unroll` does
 */
export function metaTestProblem(options: MetaTestOptions): MetaTestProblem {
  const { task, optimizer, split, stepSizes } = options;
  const objective: Objective = { metric: 'loss', split, over: 'mean' };
  const name = `${optimizer.name} on ${task.name} (meta-test)`;
  const { parts, names } = checked({ ...options, name, objective });
  const own = build({ ...parts, stepSizes }) as unknown as UnrolledProblem;
  const rows: Split = 'test';
  const accuracy = names.includes('accuracy') ? label(task, rows, 'accuracy') : undefined;
  return {
    problem: {
      ...own,
      finish: (_theta, state, inner) => {
        const batch = task.dataset === undefined ? noData() : inner.wholeSplit(rows);
        const random = inner.random.foldIn(RANDOM.objective);
        return labelled(task, rows, measure(task, 'loss', state as UnrollState, batch, random).all);
      },
    },
    finalLoss: label(task, rows, 'loss'),
    ...(accuracy === undefined ? {} : { accuracy }),
  };
}
