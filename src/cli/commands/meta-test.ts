import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { CancelledError, ConfigurationError, type ConfigValue } from '../../contracts';
import { metaTestRun, readRunConfig, writeWhole, type MetaTestReport } from '../../outer/run-directory';
import {
  metaTestNotes,
  metaTestPicture,
  metaTestStepSizes,
  metaTestTable,
  renderMetaTest,
  trialLines,
  trialsCsv,
} from '../../report';
import { dataProgress } from '../data-progress';
import { EXIT } from '../exit-codes';
import { commandLine, noticeLines } from '../measured';
import { checkpointOption, integerOption } from '../options';
import { shown } from '../outcome';
import { recordedPlugins } from '../recorded-plugins';
import {
  engineLimits,
  hasColour,
  interruptible,
  openContainer,
  type CommonOptions,
  type LimitOptions,
  type Terminal,
} from '../session';
import { stepProgress, type StepProgress } from '../step-progress';
import { tableText } from '../terminal';
import { pagePath } from './compare';
import { readYaml } from './train';

export interface MetaTestOptions extends CommonOptions, LimitOptions {
  readonly tasks: string;
  readonly baselines?: string;
  readonly rates?: string;
  readonly tuningSeeds?: string;
  readonly seeds?: string;
  readonly stepSizes?: boolean;
  readonly seed?: string;
  readonly checkpoint?: string;
  readonly engine?: string;
  readonly output?: string;
}

/** Ends the name of the table of step sizes, which lies beside the page. */
const STEP_SIZES = '.step-sizes.csv';

/** Names, or the list of a file. @throws ConfigurationError */
function tasksOf(text: string): string | readonly ConfigValue[] {
  if (!/\.(ya?ml|json)$/i.test(text)) return text;
  if (!existsSync(text)) throw new ConfigurationError('--tasks', 'names of tasks, or a file with a list', `"${text}"`);
  const value = readYaml(text);
  if (Array.isArray(value)) return value as readonly ConfigValue[];
  throw new ConfigurationError(text, 'a list of names and of {name, task?, data?, horizon?}', 'something else');
}

/** The optimizer of a run against tuned ones, on tasks that it may never have seen. */
export async function metaTest(directory: string, options: MetaTestOptions, terminal: Terminal): Promise<number> {
  const output = pagePath(options.output, 'meta-test.html');
  const tasks = tasksOf(options.tasks);
  const rates = integerOption('--rates', options.rates, 2);
  const tuningSeeds = integerOption('--tuning-seeds', options.tuningSeeds, 1);
  const seeds = integerOption('--seeds', options.seeds, 1);
  const seed = integerOption('--seed', options.seed, 0);
  const checkpoint = checkpointOption(options.checkpoint);
  const limits = engineLimits(options);
  const resolver = await openContainer(recordedPlugins(readRunConfig(directory).run.plugins, options.plugin));
  const quiet = options.quiet === true || options.json === true;
  let bar: StepProgress | undefined;
  try {
    const report = await interruptible(
      terminal,
      (signal) =>
        metaTestRun(directory, {
          resolver,
          tasks,
          ...(options.baselines === undefined ? {} : { baselines: options.baselines }),
          rates,
          tuningSeeds,
          seeds,
          ...(options.stepSizes === undefined ? {} : { stepSizes: options.stepSizes }),
          seed,
          checkpoint,
          engine: options.engine,
          limits,
          watch: { onProgress: dataProgress(terminal.err), signal },
          notice: noticeLines(options, terminal),
          signal,
          onProgress: ({ task, optimizer, steps, planned }) => {
            if (quiet) return;
            if (optimizer === '') {
              bar?.stop();
              terminal.err.write(`task ${task}\n`);
              bar = stepProgress(terminal.err, planned, 'inner steps');
            } else bar?.update(Math.min(steps, planned), optimizer);
          },
        }).finally(() => bar?.stop()),
      'interrupted: nothing is written',
    );
    const { tasks: names, baselines, engine, plugin } = options;
    const numbers = { rates: options.rates, 'tuning-seeds': options.tuningSeeds, seeds: options.seeds };
    const flags = {
      tasks: names,
      baselines,
      ...numbers,
      'step-sizes': options.stepSizes,
      seed: options.seed,
      engine,
      plugin,
    };
    await conclude(report, output, commandLine('evaluate', directory, flags), options, terminal);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CancelledError) return EXIT.interrupted;
    throw error;
  }
}

/** Writes the page, its curves as a picture, and the trainings, and prints a table a task. */
async function conclude(
  report: MetaTestReport,
  output: string,
  reproduce: string,
  options: CommonOptions,
  { out }: Terminal,
): Promise<void> {
  const beside = (ending: string): string => output.slice(0, -extname(output).length) + ending;
  const csv = beside('.csv');
  const svg = await metaTestPicture(report);
  const steps = metaTestStepSizes(report);
  writeWhole(csv, trialsCsv(report));
  if (steps !== undefined) writeWhole(beside(STEP_SIZES), steps);
  if (svg !== undefined) writeWhole(beside('.svg'), svg);
  writeWhole(output, await renderMetaTest(report, reproduce));
  if (options.json === true) {
    for (const line of trialLines(report)) out.write(`${JSON.stringify(line)}\n`);
    return;
  }
  if (options.quiet !== true) {
    for (const tested of report.tasks) {
      out.write(`\n${tested.task}: ${report.seeds} trainings of ${tested.horizon} steps\n`);
      out.write(`${tableText(metaTestTable(tested), { colour: hasColour(out) })}\n`);
      for (const note of metaTestNotes(tested, report)) out.write(`${note}\n`);
    }
    out.write('\n');
  }
  out.write(`meta-test: ${shown(output)}\ntrainings: ${shown(csv)}\n`);
  if (steps !== undefined) out.write(`steps:     ${shown(beside(STEP_SIZES))}\n`);
  if (svg !== undefined) out.write(`picture:   ${shown(beside('.svg'))}\n`);
}
