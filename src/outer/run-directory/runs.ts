/** Runs on disk, from a resolved configuration: start, resume, judge again. */
import { ConfigurationError, RunDirectoryError, type ConfigObject, type UnrollEngine } from '../../contracts';
import type { EngineLimits } from '../../engines';
import { resolveConfig, type ResolvedConfig } from '../config';
import { createEvaluator } from '../evaluate';
import { dataWatch, noticesTo, type Measurement, type RunListener } from '../events';
import { prepareRun } from '../prepare';
import type { Resolver } from '../resolver';
import type { RunResult } from '../result';
import { executeRun, type CompiledProblem, type RunPlan } from '../run';
import { compileTasks, type CompiledPlan } from '../several-tasks';
import { startingAt } from '../warm-start';
import { chosenTheta, type CheckpointChoice } from './chosen-theta';
import { checkFree, readRunConfig, RunDirectory, type OpenOptions, type RunConfig } from './run-directory';
import { hasTensorboard, tensorboardListener } from './tensorboard';
import { keptStart, startFrom } from './warm-start';

export interface StartOptions {
  readonly config: ResolvedConfig;
  readonly resolver: Resolver;
  /** The run's folder: absent or empty. Absent: nothing is written. */
  readonly out?: string;
  /** Absolute paths of the plugin files that the resolver has; `resume` loads them again. */
  readonly plugins?: readonly string[];
  /** What the engine may take of the machine; no part of the configuration, since the bits do not depend on it. */
  readonly limits?: EngineLimits;
  /** Event files for TensorBoard in the run's folder. */
  readonly tensorboard?: boolean;
  readonly listeners?: readonly RunListener[];
  readonly signal?: AbortSignal;
}

/**
 * A new run. The folder is made once the problem has compiled, so that a mistake leaves nothing behind.
 * @throws RunDirectoryError, ConfigurationError, UnknownNameError, EngineUnavailableError, TraceError before any work
 */
export async function startRun(options: StartOptions): Promise<RunResult> {
  const { config, resolver, out, plugins = [], limits, tensorboard = false, signal } = options;
  const listeners = [...(options.listeners ?? [])];
  if (tensorboard) {
    if (out === undefined) throw new ConfigurationError('out', 'the folder that "tensorboard" writes to', 'nothing');
    listeners.push(tensorboardListener(out));
  }
  if (out !== undefined) checkFree(out);
  const opened = await resolver.openEngine(config.engine, { ...limits, notice: noticesTo(listeners) });
  let directory: RunDirectory | undefined;
  try {
    const prepared = await prepareRun(config, resolver, dataWatch(listeners, signal));
    const recorded = prepared.config as unknown as ConfigObject;
    const start = config.warmStart === undefined ? undefined : startFrom(config.warmStart);
    return await executeRun({
      plan: start === undefined ? prepared.plan : startingAt(prepared.plan, start),
      opened,
      ...(out === undefined
        ? {}
        : {
            store: (compiled: CompiledProblem) =>
              (directory = RunDirectory.create(out, {
                config: recorded,
                opened,
                compiled,
                plan: prepared.plan,
                requestedEngine: config.engine,
                plugins,
                ...(start === undefined ? {} : { start: start.theta }),
              })).begin(),
          }),
      listeners,
      signal,
    });
  } finally {
    directory?.close();
    await opened.engine.dispose();
  }
}

export interface ResumeOptions extends Omit<OpenOptions, 'opened' | 'requestedEngine'> {
  /** With the plugins of `readRunConfig(path).run.plugins` loaded. */
  readonly resolver: Resolver;
  /** Another engine than the run's own; needs `allowDifferentMachine`. */
  readonly engine?: string;
  /** What the engine may take of the machine; may differ from what the run had. */
  readonly limits?: EngineLimits;
  /** Event files for TensorBoard, of the earlier iterations too; a run that has some goes on with them anyway. */
  readonly tensorboard?: boolean;
  readonly listeners?: readonly RunListener[];
  readonly signal?: AbortSignal;
}

/** The configuration of a recorded run, as `resolveConfig` gave it. */
export function recordedConfig(path: string, config: RunConfig, resolver: Resolver): ResolvedConfig {
  if (config.run.library) {
    throw new RunDirectoryError(
      `${path} was made in code, which alone can build its parts: resume it there, with tune({ …, resume: true }).`,
    );
  }
  // Its preset is merged already, and may have changed since.
  const { preset, ...rest } = config;
  const resolved = resolveConfig(rest, [], resolver);
  return typeof preset === 'string' ? { preset, ...resolved } : resolved;
}

/**
 * Goes on where a killed or interrupted run stopped, and ends with the bits it would have ended with.
 * @throws RunDirectoryError, CheckpointError
 */
export async function resumeRun(path: string, options: ResumeOptions): Promise<RunResult> {
  const { resolver, limits, tensorboard = hasTensorboard(path), signal } = options;
  const listeners = [...(options.listeners ?? []), ...(tensorboard ? [tensorboardListener(path)] : [])];
  const recorded = readRunConfig(path);
  const config = recordedConfig(path, recorded, resolver);
  const opened = await resolver.openEngine(options.engine ?? config.engine, {
    ...limits,
    notice: noticesTo(listeners),
  });
  let directory: RunDirectory | undefined;
  try {
    const open = (directory = RunDirectory.open(path, { ...options, opened, requestedEngine: options.engine }));
    const { plan } = await prepareRun(config, resolver, dataWatch(listeners, signal));
    const begun = config.warmStart === undefined ? plan : startingAt(plan, keptStart(path));
    const reason = { ...opened, reason: `the engine of the run (${recorded.run.engineReason})` };
    return await executeRun({
      plan: begun,
      opened: options.engine === undefined ? reason : opened,
      store: () => open.begin(plan),
      listeners,
      signal,
    });
  } finally {
    directory?.close();
    await opened.engine.dispose();
  }
}

export interface EvaluateOptions {
  readonly resolver: Resolver;
  readonly engine?: string;
  readonly limits?: EngineLimits;
  /** Fresh starts instead of the run's own number. */
  readonly particles?: number;
  /** Instead of the run's own: other starts, other batches. */
  readonly seed?: number;
  /** See `chosenTheta`. */
  readonly checkpoint?: CheckpointChoice;
}

/** Judges the θ that the run ends with, or that of a checkpoint, from fresh starts. Writes nothing. */
export async function evaluateRun(path: string, options: EvaluateOptions): Promise<Measurement> {
  const { resolver } = options;
  const config = recordedConfig(path, readRunConfig(path), resolver);
  const chosen = chosenTheta(path, config, options.checkpoint);
  if (chosen === undefined) throw new RunDirectoryError(`${path} has no checkpoint yet, so there is no θ to judge.`);
  const opened = await resolver.openEngine(options.engine ?? config.engine, options.limits);
  try {
    const { tasks: _, ...evaluation } = config.evaluation;
    const { plan } = await prepareRun({ ...config, evaluation }, resolver);
    const { theta } = chosen;
    const { evaluator, dispose } = await evaluatorOf(plan, opened.engine, theta.length, options);
    try {
      if (evaluator !== undefined) return await evaluator.measure(theta);
      throw new RunDirectoryError(`the problem "${plan.problem.name}" of ${path} states no evaluation.`);
    } finally {
      await dispose();
    }
  } finally {
    await opened.engine.dispose();
  }
}

async function evaluatorOf(
  { problem, tasks, estimator, settings }: RunPlan,
  engine: UnrollEngine,
  thetaSize: number,
  options: EvaluateOptions,
): Promise<Pick<CompiledPlan, 'evaluator' | 'dispose'>> {
  const seed = options.seed ?? settings.seed;
  const particles = options.particles ?? settings.evaluation.particles;
  if (tasks !== undefined) {
    return compileTasks({ engine, tasks, estimator, seed: settings.seed, evaluation: { seed, particles } });
  }
  if (problem.evaluation === undefined) return { dispose: () => Promise.resolve() };
  const evaluator = await createEvaluator(engine, problem.evaluation, thetaSize, { seed, particles });
  return { evaluator, dispose: () => evaluator.dispose() };
}
