/** Meta-testing the θ of a recorded run: its optimizer against tuned ones, on several tasks, with one engine. */
import {
  CheckpointError,
  ConfigurationError,
  RunDirectoryError,
  type ConfigValue,
  type DataWatch,
} from '../../contracts';
import type { EngineLimits } from '../../engines';
import { metaTestProblem } from '../combinators/unroll';
import type { ResolvedConfig } from '../config';
import { metaTest, plannedSteps, type Contestant, type MetaTest } from '../meta-test';
import {
  baseLines,
  DEFAULT_BASE_LINES,
  metaTestTasks,
  rateRange,
  withBaseLine,
  type BaseLine,
  type NamedTask,
} from '../meta-test-tasks';
import { prepareParts } from '../prepare';
import type { Resolver } from '../resolver';
import { layoutOfOptimizer } from '../theta';
import { chosenTheta, type CheckpointChoice } from './chosen-theta';
import { readRunConfig } from './run-directory';
import { recordedConfig } from './runs';

export interface MetaTestRunOptions {
  readonly resolver: Resolver;
  /** Names with commas between (see `metaTestTasks`), or the list of a file. */
  readonly tasks: string | readonly ConfigValue[];
  /** Names of optimizers with commas between; by default `DEFAULT_BASE_LINES`. */
  readonly baselines?: string;
  /** Learning rates of the first grid; 15 by default. */
  readonly rates?: number;
  /** Trainings of each rate; 3 by default. */
  readonly tuningSeeds?: number;
  /** Trainings that are judged; 10 by default. */
  readonly seeds?: number;
  /** Whether effective step sizes are measured in them; seconds then include what that takes. */
  readonly stepSizes?: boolean;
  /** Of all fresh starts; 0 by default. No number is shared with the training of any run. */
  readonly seed?: number;
  /** See `chosenTheta`. */
  readonly checkpoint?: CheckpointChoice;
  readonly engine?: string;
  readonly limits?: EngineLimits;
  readonly watch?: DataWatch;
  readonly notice?: (text: string) => void;
  readonly signal?: AbortSignal;
  /** Called once before each task, and as its trainings go on. */
  readonly onProgress?: (progress: MetaTestProgress) => void;
}

export interface MetaTestProgress {
  readonly task: string;
  /** Of the optimizer that is being trained with; empty before the first. */
  readonly optimizer: string;
  /** Inner steps done and planned, of all trainings of the task. */
  readonly steps: number;
  readonly planned: number;
}

/** What was found on one task. */
export interface TestedTask {
  readonly task: string;
  readonly horizon: number;
  readonly config: ResolvedConfig;
  readonly test: MetaTest;
}

export interface MetaTestReport {
  readonly path: string;
  /** How the run's optimizer is called in the results. */
  readonly optimizer: string;
  /** Outer iterations that its θ has been through. */
  readonly iterations: number;
  readonly engine: string;
  readonly engineReason: string;
  readonly seed: number;
  readonly rates: number;
  readonly tuningSeeds: number;
  readonly seeds: number;
  readonly tasks: readonly TestedTask[];
  readonly seconds: number;
}

interface Prepared extends NamedTask {
  readonly horizon: number;
  readonly contestants: readonly Contestant[];
}

/** Builds all contestants of a task. @throws ConfigurationError for a base line that has no learning rate, or more of θ */
async function prepared(
  { name, config }: NamedTask,
  learned: string,
  theta: Float64Array,
  lines: readonly BaseLine[],
  { resolver, watch, stepSizes }: MetaTestRunOptions,
): Promise<Prepared> {
  const own = await prepareParts(config, resolver, watch);
  const { horizon } = own;
  const { size: expected } = layoutOfOptimizer(own.optimizer);
  if (expected !== theta.length) {
    throw new CheckpointError(
      `the θ of the run has ${String(theta.length)} numbers, and its optimizer "${own.optimizer.name}" has ${String(expected)} ` +
        'in this version. Test it with the version that it was trained with.',
    );
  }
  if (!Number.isFinite(horizon)) {
    throw new ConfigurationError('horizon', `a finite number of inner steps of the task "${name}"`, 'an infinite one');
  }
  const split = own.objective.split;
  const measured = { task: own.task, horizon, split, stepSizes };
  const contestants: Contestant[] = [
    { name: learned, test: metaTestProblem({ ...measured, optimizer: own.optimizer }), theta },
  ];
  for (const line of lines) {
    const { optimizer } = await prepareParts(withBaseLine(config, line, resolver), resolver, watch);
    const { size } = layoutOfOptimizer(optimizer);
    if (size !== 1) {
      const expected = 'optimizers of which the learning rate is a number to be tuned';
      throw new ConfigurationError('--baselines', expected, `"${line.name}", whose θ has ${String(size)} numbers`);
    }
    contestants.push({
      name: line.name,
      test: metaTestProblem({ ...measured, optimizer }),
      range: rateRange(line),
    });
  }
  return { name, config, horizon, contestants };
}

/**
 * Holds the optimizer of a run against tuned ones. Everything is built before the first step. Writes nothing.
 * @throws RunDirectoryError, ConfigurationError, UnknownNameError, UserError, CancelledError
 */
export async function metaTestRun(path: string, options: MetaTestRunOptions): Promise<MetaTestReport> {
  const { resolver, rates = 15, tuningSeeds = 3, seeds = 10, seed = 0, signal, onProgress } = options;
  const run = recordedConfig(path, readRunConfig(path), resolver);
  const tasks = metaTestTasks(options.tasks, run, resolver);
  const lines = baseLines(options.baselines ?? DEFAULT_BASE_LINES, resolver);
  const chosen = chosenTheta(path, run, options.checkpoint);
  if (chosen === undefined) {
    throw new RunDirectoryError(`${path} has no checkpoint yet, so there is no θ to test.`);
  }
  const { theta } = chosen;
  const name = run.optimizer?.name ?? '';
  // A base line of the same name is another contestant.
  const learned = lines.some((line) => line.name === name) ? `${name} (of the run)` : name;
  const all: Prepared[] = [];
  for (const task of tasks) all.push(await prepared(task, learned, theta, lines, options));

  const begun = performance.now();
  const { notice } = options;
  const opened = await resolver.openEngine(options.engine ?? run.engine, {
    ...options.limits,
    ...(notice === undefined ? {} : { notice }),
  });
  try {
    const tested: TestedTask[] = [];
    for (const { name: task, config, horizon, contestants } of all) {
      const test = { engine: opened.engine, contestants, horizon, rates, tuningSeeds, seeds, seed, signal };
      const planned = contestants.reduce((sum, contestant) => sum + plannedSteps(test, contestant), 0);
      onProgress?.({ task, optimizer: '', steps: 0, planned });
      const found = await metaTest({
        ...test,
        reference: 'adam',
        onSteps: (steps, optimizer) => onProgress?.({ task, optimizer, steps, planned }),
      });
      tested.push({ task, horizon, config, test: found });
    }
    return {
      path,
      optimizer: learned,
      iterations: chosen.iteration,
      engine: opened.engine.name,
      engineReason: opened.reason,
      seed,
      rates,
      tuningSeeds,
      seeds,
      tasks: tested,
      seconds: (performance.now() - begun) / 1000,
    };
  } finally {
    await opened.engine.dispose();
  }
}
