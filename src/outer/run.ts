/** A whole run: compile, judge θ₀, loop, judge θ. Files are the business of a `RunStore`. */
import {
  CapabilityError,
  ConfigurationError,
  DivergenceError,
  type Counted,
  type GradientEstimator,
  type OuterOptimizer,
  type ThetaDescription,
  type ThetaLayout,
  type UnrolledProblem,
  type UnrollEngine,
  type UnrollProgram,
} from '../contracts';
import { createAdvisor } from './advice';
import { isPatienceOver, stoppedNote, withEvaluation, type BestEvaluation, type Selection } from './best';
import { unlessCancelled } from './cancel';
import { createEvaluator, type Evaluator } from './evaluate';
import type { Measurement, RunEvent, RunListener } from './events';
import { checkFirstStep } from './first-step';
import { sharingDerivatives } from './gradient-samples';
import { besideHeldOut, type HeldOutTask } from './held-out';
import { averagedTheta, initialState, runOuterLoop, type CheckpointSink, type LoopState } from './loop';
import type { OpenedEngine } from './resolver';
import { metricsLine, type MetricsLine, type RunResult } from './result';
import { compileTasks, type CompiledPlan, type PlannedTasks } from './several-tasks';
import { probeSigma, sigmaAdvice, type SigmaProbe } from './sigma-probe';
import { describeTheta, initialTheta } from './theta';

/** The parts of a configuration that are numbers; every other part is an object by now. */
export interface RunSettings {
  readonly seed: number;
  readonly iterations: number;
  readonly thetaAverage?: number;
  readonly evaluation: {
    readonly particles?: number;
    readonly every?: number;
    /** Whether the meta-loss at θ ± σ is measured at the end; by default it is, for estimators that have a σ. */
    readonly probe?: boolean;
    /** The run ends after so many evaluations in a row without a better one. */
    readonly patience?: number;
    /** Which θ the run ends with; absent: `last`. */
    readonly select?: Selection;
  };
  readonly checkpoint: { readonly seconds: number; readonly keep: number };
}

/** Everything that is needed to run. */
export interface RunPlan {
  readonly problem: UnrolledProblem;
  /** What is trained on in place of the problem, which then has the θ and the horizon of all of them. */
  readonly tasks?: PlannedTasks;
  /** Judged beside the problem, never trained on. */
  readonly heldOut?: readonly HeldOutTask[];
  readonly estimator: GradientEstimator;
  readonly outerOptimizer: OuterOptimizer;
  readonly settings: RunSettings;
}

/** What an earlier process left of the run. */
export interface SavedRun {
  readonly state: LoopState;
  readonly before?: Measurement;
  /** The lines of the iterations that `state` has done. */
  readonly history: readonly MetricsLine[];
}

/** Where a run is kept: a run directory on disk, or nothing. */
export interface RunStore {
  readonly path: string;
  /** Set on a resumed run. */
  readonly saved?: SavedRun;
  line(line: MetricsLine): void;
  /** Whole or not at all; returns the file. */
  checkpoint(state: LoopState, before: Measurement | undefined): Promise<string>;
  /** Keeps the best evaluated θ beside the checkpoints, in place of the one before. */
  best(best: BestEvaluation): void;
  /** The run ended since its numbers were not finite. */
  diverged(error: DivergenceError): void;
  /** Summary and evaluations. */
  finish(result: RunResult): Promise<void>;
}

/** What is known of a problem once it has compiled. */
export interface CompiledProblem {
  readonly problem: string;
  readonly layout: ThetaLayout;
  /** What the estimator's `droppedPairs` count; absent: pairs. */
  readonly counts?: Counted;
}

export interface RunOptions {
  readonly plan: RunPlan;
  readonly opened: OpenedEngine;
  /** Called once everything has compiled, so that a mistake leaves nothing on disk. */
  readonly store?: (compiled: CompiledProblem) => RunStore;
  readonly listeners?: readonly RunListener[];
  readonly signal?: AbortSignal;
}

/** @throws CapabilityError, TraceError, ShapeError, NonFiniteTaskError before training begins; DivergenceError, EngineError later */
export async function executeRun(options: RunOptions): Promise<RunResult> {
  const { plan, opened, signal, listeners = [] } = options;
  const { problem, settings } = plan;
  const emit = (event: RunEvent): void => {
    for (const listener of listeners) listener(event);
  };
  const missing = plan.estimator.needs.find((capability) => !opened.engine.capabilities.has(capability));
  if (missing !== undefined) {
    const advice = `The estimator "${plan.estimator.name}" needs them: choose another engine, or an evolutionary estimator such as nres.`;
    throw new CapabilityError(opened.engine.name, missing, advice);
  }
  checkJudged(plan);
  emit({ type: 'phase', phase: 'compile' });
  const compiled = await compilePlan(plan, opened.engine);
  const { program, estimator, evaluator, notice } = compiled;
  let store: RunStore | undefined;
  try {
    if (notice !== undefined) emit({ type: 'notice', text: notice });
    // Where window, noise period and horizon do not fit together, the estimator says so: before anything is run or written.
    await (await estimator.populate(program, settings.seed)).dispose();
    const { counts } = estimator;
    const counted = counts === undefined ? {} : { counts };
    store = options.store?.({ problem: problem.name, layout: program.theta, ...counted });
    return await runCompiled({ plan: { ...plan, estimator }, opened, store, signal, program, evaluator, emit });
  } catch (error) {
    if (error instanceof DivergenceError) store?.diverged(error);
    throw error;
  } finally {
    await compiled.dispose();
  }
}

async function compilePlan(plan: RunPlan, engine: UnrollEngine): Promise<CompiledPlan> {
  const { heldOut = [], settings } = plan;
  const compiled = await compileTrained(plan, engine);
  if (compiled.evaluator === undefined || heldOut.length === 0) return compiled;
  const { seed, evaluation } = settings;
  try {
    const options = { seed, particles: evaluation.particles };
    const evaluator = await besideHeldOut(compiled.evaluator, heldOut, engine, options);
    const dispose = async (): Promise<void> => {
      await evaluator.dispose();
      await compiled.dispose();
    };
    return { ...compiled, evaluator, dispose };
  } catch (error) {
    await compiled.dispose();
    throw error;
  }
}

/** What is trained on, and its own evaluation. */
async function compileTrained(
  { problem, tasks, estimator, settings }: RunPlan,
  engine: UnrollEngine,
): Promise<CompiledPlan> {
  const { seed, evaluation } = settings;
  if (tasks !== undefined) return compileTasks({ engine, tasks, estimator, seed, evaluation });
  const compiled = await engine.compile(problem);
  // Workers are made twice in a run; what they differentiate by is compiled once.
  const program = sharingDerivatives(compiled);
  const dispose = async (evaluator?: Evaluator): Promise<void> => {
    await evaluator?.dispose();
    await program.dispose();
    await compiled.dispose();
  };
  try {
    const called = `task: the loss of "${problem.name}"`;
    const theta = initialTheta(problem, seed);
    await checkFirstStep({ called, program, theta, seed }, estimator.counts === 'candidates');
    const evaluator =
      problem.evaluation === undefined
        ? undefined
        : await createEvaluator(engine, problem.evaluation, program.theta.size, {
            seed,
            particles: evaluation.particles,
          });
    return {
      ...{ program, estimator, dispose: () => dispose(evaluator) },
      ...(evaluator === undefined ? {} : { evaluator }),
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** @throws ConfigurationError for settings that need evaluations of a problem that has none */
function checkJudged({ problem, heldOut = [], settings: { evaluation } }: RunPlan): void {
  if (problem.evaluation !== undefined) return;
  const { patience, select } = evaluation;
  const asked = {
    patience,
    select: select === 'best' ? select : undefined,
    tasks: heldOut.length === 0 ? undefined : heldOut.map(({ name }) => name).join(),
  };
  for (const [key, value] of Object.entries(asked)) {
    if (value === undefined) continue;
    const hint = `"${problem.name}" states no evaluation.`;
    throw new ConfigurationError(`evaluation.${key}`, 'nothing', String(value), hint);
  }
}

/** Inner steps of the run that the probe of σ may take once more. */
const PROBED_SHARE = 0.05;

interface CompiledRun {
  readonly plan: RunPlan;
  readonly opened: OpenedEngine;
  readonly store?: RunStore;
  readonly signal?: AbortSignal;
  readonly program: UnrollProgram;
  readonly evaluator?: Evaluator;
  readonly emit: RunListener;
}

async function runCompiled(run: CompiledRun): Promise<RunResult> {
  const { plan, opened, store, signal, program, evaluator, emit } = run;
  const { problem, settings, outerOptimizer } = plan;
  const theta0 = initialTheta(problem, settings.seed);
  const describe = (theta: Float64Array): ThetaDescription | undefined => describeTheta(problem, theta);
  const initialDescription = describe(theta0);
  const saved = store?.saved?.state ?? initialState(theta0, outerOptimizer, settings.thetaAverage !== undefined);
  emit({
    type: 'start',
    problem: problem.name,
    engine: opened.engine.name,
    engineReason: opened.reason,
    counts: plan.estimator.counts ?? 'pairs',
    iterations: settings.iterations,
    firstIteration: saved.iteration,
    layout: program.theta,
    theta: saved.theta,
    ...(initialDescription === undefined ? {} : { description: describe(saved.theta) }),
  });

  let before = store?.saved?.before;
  if (before === undefined && evaluator !== undefined && signal?.aborted !== true) {
    emit({ type: 'phase', phase: 'evaluate-before' });
    before = await unlessCancelled(evaluator.measure(theta0, signal));
  }
  if (before !== undefined) emit({ type: 'evaluation', when: 'before', measurement: before });

  const { every, patience, select = 'last' } = settings.evaluation;
  const onBest = (best: BestEvaluation): void => store?.best(best);
  let start = saved;
  if (every !== undefined && before !== undefined && saved.best === undefined) {
    const best = withEvaluation(undefined, { iteration: 0, innerSteps: 0, theta: theta0, measurement: before });
    onBest(best);
    start = { ...saved, best };
  }

  emit({ type: 'phase', phase: 'train' });
  const history: MetricsLine[] = [...(store?.saved?.history ?? [])];
  const advise = createAdvisor({
    counts: plan.estimator.counts ?? 'pairs',
    lockstepEpisodes: plan.estimator.settings?.lockstep === true && Number.isFinite(problem.horizon),
  });
  const listener: RunListener = (event) => {
    if (event.type === 'iteration') {
      const line = metricsLine(event.record);
      history.push(line);
      // On disk before anyone hears of it, and before a checkpoint can count on it.
      store?.line(line);
    }
    emit(event);
    if (event.type === 'iteration') for (const text of advise(event.record)) emit({ type: 'notice', text });
  };
  const state = await runOuterLoop({
    program,
    estimator: plan.estimator,
    outerOptimizer,
    seed: settings.seed,
    iterations: settings.iterations,
    start,
    thetaAverage: settings.thetaAverage,
    ...(evaluator === undefined || every === undefined
      ? {}
      : {
          evaluate: {
            every,
            ...(patience === undefined ? {} : { patience }),
            onBest,
            measure: (theta: Float64Array, cancel: AbortSignal) => evaluator.measure(theta, cancel),
          },
        }),
    describe,
    listener,
    ...(store === undefined ? {} : { checkpoints: timedCheckpoints(store, settings.checkpoint.seconds, before) }),
    signal,
  });

  const stopped = state.iteration < settings.iterations && isPatienceOver(state.best, patience);
  let interrupted = state.iteration < settings.iterations && !stopped;
  const last = averagedTheta(state, settings.thetaAverage);
  let { best } = state;
  if (stopped && best !== undefined) {
    emit({ type: 'notice', text: stoppedNote(best, state.iteration, settings.iterations, state === start) });
  }
  let after: Measurement | undefined;
  if (!interrupted && evaluator !== undefined) {
    emit({ type: 'phase', phase: 'evaluate-after' });
    after = await unlessCancelled(evaluator.measure(last, signal));
    if (after === undefined) interrupted = true;
    else if (best !== undefined) {
      const { iteration, innerSteps } = state;
      best = withEvaluation(best, { iteration, innerSteps, theta: last, measurement: after });
      if (best.since === 0) onBest(best);
      if (select === 'best') after = best.measurement;
    }
    if (after !== undefined) emit({ type: 'evaluation', when: 'after', measurement: after });
  }
  const chosen = select === 'best' ? best : undefined;
  const judged = chosen?.theta ?? last;
  const sigma = history.at(-1)?.diagnostics?.sigma;
  let sigmaProbe: SigmaProbe | undefined;
  const probed = plan.tasks === undefined && settings.evaluation.probe !== false;
  if (!interrupted && evaluator !== undefined && typeof sigma === 'number' && probed) {
    const { evaluation } = evaluator;
    // The training problem has the meta-loss; where that never ends, its evaluation does.
    const endless = !Number.isFinite(problem.horizon);
    const probe = probeSigma({
      program: endless ? evaluator.program : program,
      theta: judged,
      initialTheta: theta0,
      sigma,
      seed: settings.seed,
      episodes: settings.evaluation.particles ?? evaluation.particles,
      budget: PROBED_SHARE * (state.innerSteps + state.burnInSteps),
      measure: endless && evaluation.measure === 'last' ? 'last' : 'mean',
      signal,
    });
    sigmaProbe = await unlessCancelled(probe);
    if (sigmaProbe === undefined) interrupted = true;
    const advice = sigmaProbe === undefined ? undefined : sigmaAdvice(sigmaProbe);
    if (advice !== undefined) emit({ type: 'notice', text: advice });
  }
  const description = describe(judged);
  const result: RunResult = {
    problem: problem.name,
    engine: opened.engine.name,
    engineReason: opened.reason,
    layout: program.theta,
    ...(plan.estimator.counts === undefined ? {} : { counts: plan.estimator.counts }),
    initialTheta: theta0,
    theta: chosen?.theta ?? state.theta,
    ...(state.average === undefined || chosen !== undefined ? {} : { thetaAverage: judged }),
    ...(initialDescription === undefined ? {} : { initialDescription }),
    ...(description === undefined ? {} : { description }),
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
    ...(sigmaProbe === undefined ? {} : { sigmaProbe }),
    history,
    iterations: state.iteration,
    innerSteps: state.innerSteps,
    wallSeconds: state.wallSeconds,
    interrupted,
    select,
    ...(best === undefined ? {} : { best }),
    stopped,
    ...(store === undefined ? {} : { directory: store.path }),
  };
  if (!interrupted) await store?.finish(result);
  const reason = interrupted ? 'interrupted' : stopped ? 'stopped' : 'finished';
  emit({ type: 'end', reason, iterations: state.iteration });
  return result;
}

/** A checkpoint every so many seconds of wall time; when it is written never changes what is computed. */
function timedCheckpoints(store: RunStore, seconds: number, before: Measurement | undefined): CheckpointSink {
  let last = performance.now();
  return {
    due: () => performance.now() - last >= seconds * 1000,
    write: async (state) => {
      const path = await store.checkpoint(state, before);
      last = performance.now();
      return path;
    },
  };
}
