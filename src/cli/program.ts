/** Commands, flags and help; what a mistake prints and which code it exits with. */
import { Command, CommanderError, Option } from 'commander';
import { ConfigurationError, OuterloopError } from '../contracts';
import { DEFAULT_BASE_LINES, RELATIVE_TASKS } from '../outer';
import { version } from '../outer/version';
import { check, type CheckCommandOptions } from './commands/check';
import { compare, type CompareOptions } from './commands/compare';
import { dataClear, dataFetch, dataList, dataVerify, type ClearOptions } from './commands/data';
import { demo, type DemoOptions } from './commands/demo';
import { doctor } from './commands/doctor';
import { evaluate, type EvaluateOptions } from './commands/evaluate';
import { exportOptimizer, type ExportOptions } from './commands/export';
import { init, INIT_KINDS, type InitOptions } from './commands/init';
import { list } from './commands/list';
import { metaTest, type MetaTestOptions } from './commands/meta-test';
import { report } from './commands/report';
import { resume, type ResumeOptions } from './commands/resume';
import { surface, type SurfaceOptions } from './commands/surface';
import { sweep, type SweepOptions } from './commands/sweep';
import { train, type FormOptions, type TrainOptions } from './commands/train';
import { variance, type VarianceOptions } from './commands/variance';
import { EXIT } from './exit-codes';
import type { CommonOptions, Terminal } from './session';

const collect = (value: string, earlier: readonly string[] | undefined): string[] => [...(earlier ?? []), value];

const AFTER_HELP = `
Examples:
  outerloop demo                                             tune a learning-rate schedule on MNIST
  outerloop train lorenz --seed 1 --set pairs=50 --output runs/lorenz-1
  outerloop init task sine                                   a starting file for a task of your own, and its test
  outerloop check sine.ts                                    what all tasks must hold to, for yours
  outerloop train my.yaml --plugin ./my-task.ts --set task=sine
  outerloop resume runs/lorenz-1
  outerloop sweep my-sweep.yaml --dry-run
  outerloop compare runs/lorenz-1 runs/lorenz-2
  outerloop surface lorenz --grid 40x40 --runs runs/lorenz-1
  outerloop data fetch cifar-10

Exit codes: 0 done, 1 failure, 2 a mistake in the command or the configuration, 130 interrupted.`;

/** `--out` is what `--output` was called before the other commands had it. */
interface Alias {
  readonly out?: string;
}
const withOutput = ({ out, ...options }: TrainOptions & FormOptions & Alias): TrainOptions & FormOptions => ({
  ...(out === undefined ? {} : { output: out }),
  ...options,
});

const RELATIVES = Object.keys(RELATIVE_TASKS).join(', ');
/** Flags of `evaluate` that mean something with `--tasks` only, and those that do not mean anything with it. */
const WITH_TASKS = ['baselines', 'rates', 'tuningSeeds', 'seeds', 'stepSizes', 'output'] as const;

/** @throws ConfigurationError for flags that do not go together */
function judge(
  directory: string,
  options: EvaluateOptions & Partial<MetaTestOptions>,
  terminal: Terminal,
): Promise<number> {
  const { tasks } = options;
  if (tasks !== undefined) {
    if (options.particles === undefined) return metaTest(directory, { ...options, tasks }, terminal);
    throw new ConfigurationError('--particles', 'nothing beside --tasks', `"${options.particles}"`, 'Use --seeds.');
  }
  const alone = WITH_TASKS.find((flag) => options[flag] !== undefined);
  if (alone === undefined) return evaluate(directory, options, terminal);
  const flag = `--${alone.replace('S', '-s')}`;
  throw new ConfigurationError('--tasks', `the tasks that ${flag} is for, such as own`, 'nothing');
}

type Action = () => Promise<number>;

/** The command tree; the chosen action is handed to `run` instead of being awaited by commander. */
function build(terminal: Terminal, run: (action: Action) => void): Command {
  const program = new Command('outerloop')
    .description('Meta-learning through unrolled computation graphs, on TensorFlow.js.')
    .version(version)
    .option('--verbose', 'print the stack of an error')
    .addHelpText('after', AFTER_HELP)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
    });

  /** A subcommand with the flags that all of them take. */
  const command = (name: string, description: string, parent = program): Command =>
    parent
      .command(name)
      .description(description)
      .option('--plugin <file>', 'load a plugin (.ts or .js); repeatable', collect)
      .option('--verbose', 'print the stack of an error')
      .option('--json', 'print JSON, one object a line');

  /** One that runs on an engine, within what that may take of the machine. */
  const running = (name: string, description: string): Command =>
    command(name, description)
      .option(
        '--memory <bytes>',
        'memory that particles should stay within, e.g. 2GiB; native runs them in chunks then, and reverse windows keep less',
      )
      .option('--threads <n>', 'threads of engine native (default: OUTERLOOP_THREADS, else the cores)');

  /** One that starts a run. */
  const starting = (name: string, description: string): Command =>
    running(name, description)
      .option('--set <key=value>', 'override a key, e.g. pairs=8 or task.hidden=[32,32]; repeatable', collect)
      .option('--seed <n>', 'seed of everything that is random')
      .option('--output <dir>', 'folder of the run, absent or empty (default: a new one in runs/)')
      .addOption(new Option('--out <dir>').conflicts('output').hideHelp())
      .option('--tensorboard', "write the run's metrics for TensorBoard too, to tensorboard/ in its folder")
      .option('--quiet', 'print nothing but where the results are');

  starting('demo', 'train mnist-lr on engine native, or mnist-lr-small where that does not run').action(
    (options: DemoOptions & Alias) => run(() => demo(withOutput(options), terminal)),
  );

  starting('train <preset|file.yaml>', 'run a preset or a configuration file')
    .option('--engine <name>', 'auto, native, reference, tfjs, tfjs:wasm … (see doctor)')
    .addOption(
      new Option('--quick', 'the short form of a preset that has one, e.g. lopt-fashion8: minutes').conflicts('demo'),
    )
    .option('--demo', 'its shortest form: a few minutes, to see it work')
    .option('--warm-start <dir>', 'begin at the θ of another run of the same optimizer')
    .action((target: string, options: TrainOptions & FormOptions & Alias) =>
      run(() => train(target, withOutput(options), terminal)),
    );

  running('resume <dir>', 'go on with a run that was killed or interrupted')
    .option('--checkpoint <iteration>', 'go on from this checkpoint (0: from the start) instead of the newest')
    .option('--allow-different-machine', 'go on although versions, CPU or engine differ, so that bits may')
    .option('--engine <name>', 'another engine; needs --allow-different-machine')
    .option('--tensorboard', 'write event files for TensorBoard, if the run has not done so from its start')
    .option('--quiet', 'print nothing but where the results are')
    .action((directory: string, options: ResumeOptions) => run(() => resume(directory, options, terminal)));

  running('evaluate <dir>', 'judge the θ of a run from fresh starts; with --tasks, its optimizer against tuned ones')
    .option('--particles <n>', 'how many fresh starts (not with --tasks)')
    .option('--seed <n>', 'other starts and batches than those of the run')
    .option('--checkpoint <iteration|best>', 'the θ of this checkpoint, or best (default: evaluation.select)')
    .option('--engine <name>', 'another engine than that of the run')
    .option('--tasks <names|file.yaml>', `tasks to train by it and by others: panel, presets, a file, or ${RELATIVES}`)
    .option('--baselines <names>', `with --tasks: who it is held against (default: ${DEFAULT_BASE_LINES})`)
    .option('--rates <n>', 'with --tasks: learning rates that each of them is tuned over (default: 15)')
    .option('--tuning-seeds <n>', 'with --tasks: trainings of each rate (default: 3)')
    .option('--seeds <n>', 'with --tasks: fresh starts that all are judged on (default: 10)')
    .option('--step-sizes', 'with --tasks: draw how far the steps of each of them go, per tensor')
    .option('--output <file>', 'with --tasks: the page; a .csv file lies beside it (default: meta-test.html)')
    .option('--quiet', 'print nothing but the result')
    .action((directory: string, options: EvaluateOptions & Partial<MetaTestOptions>) =>
      run(() => judge(directory, options, terminal)),
    );

  command('export <dir>', 'write the optimizer of a run to one file, for loadOptimizer in Node and in pages, or as C')
    .option('--to <form>', 'safetensors, or c: the update rule as one C file and its header (default: safetensors)')
    .option('--shapes <shapes>', 'with --to c: shapes of the tensors to be trained, such as 784x128,128,128x10,10')
    .option('--output <file>', 'the file (default: optimizer.safetensors, or optimizer.c)')
    .option('--checkpoint <iteration|best>', 'the θ of this checkpoint, or best (default: evaluation.select)')
    .action((directory: string, options: ExportOptions) => run(() => exportOptimizer(directory, options, terminal)));
  command('report <dir>', 'write report.html again from the files of a run').action(
    (directory: string, options: CommonOptions) => run(() => report(directory, options, terminal)),
  );
  running(
    'sweep <experiment|file.yaml>',
    'every combination of presets, estimators, settings and seeds; goes on where it was cut',
  )
    .option('--quick', 'the short form of an experiment, minutes instead of hours, with the same order of methods')
    .option('--set <key=value>', 'override a key of every run; repeatable', collect)
    .option('--engine <name>', 'auto, native, reference, tfjs, tfjs:wasm … (see doctor)')
    .option('--output <dir>', "folder of the sweep (default: runs/ and the file's name)")
    .option('--dry-run', 'check all runs and list them; run and write nothing')
    .option('--allow-different-machine', 'go on with cut runs although versions, CPU or engine differ')
    .option('--separate', 'each run in a population of its own, one after another; times are those of each then')
    .option('--quiet', 'print nothing but where the results are')
    .action((file: string, options: SweepOptions) => run(() => sweep(file, options, terminal)));

  command('compare <dirs...>', 'several runs in one table and one page; those that differ by their seed alone are one')
    .option('--output <file>', 'the page (default: comparison.html)')
    .action((directories: string[], options: CompareOptions) => run(() => compare(directories, options, terminal)));

  /** One that measures a problem and writes a page. */
  const measuring = (name: string, description: string): Command =>
    running(name, description)
      .option('--set <key=value>', 'override a key of the configuration; repeatable', collect)
      .option('--seed <n>', 'seed of everything that is random')
      .option('--engine <name>', 'auto, native, reference, tfjs, tfjs:wasm … (see doctor)')
      .option('--quiet', 'print nothing but where the results are');

  measuring('surface <preset|file.yaml>', 'the meta-loss on a grid over two coordinates of θ, with paths of runs')
    .option('--grid <columns x rows>', 'points of the grid (default: 20x20)')
    .option('--axes <x,y>', 'names of two coordinates of θ (default: the first two)')
    .option('--range <range,range>', 'low:high of both axes as stored, e.g. natural logarithms of what meta.log wraps')
    .option('--steps <n>', 'inner steps of an episode (default: the horizon)')
    .option('--seeds <n>', 'episodes whose losses are averaged at every point (default: 1)')
    .option('--runs <dirs...>', 'runs whose θ are drawn over it')
    .option('--output <file>', 'the page; a .json file with the numbers lies beside it (default: surface.html)')
    .action((target: string, options: SurfaceOptions) => run(() => surface(target, options, terminal)));

  measuring('variance <preset|file.yaml>', 'variance, bias² and error of gradient estimators at equal inner steps')
    .option('--estimators <names>', 'such as nres,pes,gpes:noisePeriod=100 (default: that of the preset, and full-es)')
    .option('--windows <steps>', 'windows of those that have one, such as 1,10,100 (default: that of the preset)')
    .option('--pairs <n>', 'the budget: each estimate has the inner steps of so many pairs of full-es (default: 1)')
    .option('--repeats <n>', 'independent estimates, or episodes, of each (default: 100)')
    .option(
      '--sample <what>',
      'estimates, or episodes: all windows of episodes in lockstep, the same variance of windows without burn-in (default: estimates)',
    )
    .option('--reference <name>', 'full-es (the smoothed gradient) or bptt (the exact one) (default: full-es)')
    .option(
      '--predict <when>',
      'beside measured variances those of the formulas for linear losses: auto (where they take no more work than the measurement), always, never (default: auto)',
    )
    .option('--theta <numbers>', 'θ as stored, e.g. 3.1,3.7 (default: where the preset starts)')
    .option('--runs <dirs...>', 'at θ that runs went through')
    .option('--points <n>', 'so many of them a run, evenly spaced (default: 4)')
    .option('--output <file>', 'the page; a .json file with the numbers lies beside it (default: variance.html)')
    .action((target: string, options: VarianceOptions) => run(() => variance(target, options, terminal)));

  program
    .command(`init <${INIT_KINDS.join('|')}> <name>`)
    .description('write a commented starting file of your own, and its test; overwrites nothing')
    .option('--output <dir>', 'folder of the files (default: this one)')
    .option('--verbose', 'print the stack of an error')
    .option('--json', 'print JSON, one object a line')
    .action((kind: string, name: string, options: InitOptions) =>
      run(() => Promise.resolve(init(kind, name, options, terminal))),
    );

  command('check <file>', 'hold everything that a plugin file registers against the properties of its kind')
    .option('--set <name.key=value>', 'an option of one of them, e.g. sine.hidden=4; repeatable', collect)
    .action((file: string, options: CheckCommandOptions) => run(() => check(file, options, terminal)));

  command('list', 'list presets, tasks, optimizers, estimators, data sets and engines').action(
    (options: CommonOptions) => run(() => list(options, terminal)),
  );
  const data = program
    .command('data')
    .description('data sets: which there are, bring them here, check them, remove them');
  command('list', 'list data sets, where they come from, and whether they are on this machine', data).action(
    (options: CommonOptions) => run(() => dataList(options, terminal)),
  );
  command('fetch <name...>', 'fetch data sets to this machine; damaged ones are replaced', data)
    .option('--quiet', 'print no progress')
    .action((names: string[], options: CommonOptions) => run(() => dataFetch(names, options, terminal)));
  command(
    'verify [name...]',
    'check every byte and every row of data sets (by default of all that are here)',
    data,
  ).action((names: string[], options: CommonOptions) => run(() => dataVerify(names, options, terminal)));
  command(
    'clear [name...]',
    'remove what was fetched of data sets, and what broken-off fetches left; asks nothing',
    data,
  )
    .option('--all', 'of all of them')
    .action((names: string[], options: ClearOptions) => run(() => dataClear(names, options, terminal)));
  command('doctor', 'say which engines run here, and what the others lack').action((options: CommonOptions) =>
    run(() => doctor(options, terminal)),
  );
  return program;
}

/** Runs one command line (without `node` and the script). Never throws; returns the exit code. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  let chosen: Action | undefined;
  const program = build(terminal, (action) => {
    chosen = action;
  });
  try {
    program.parse(args, { from: 'user' });
    return chosen === undefined ? EXIT.ok : await chosen();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed its line; asking for help or the version is no mistake.
      return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    }
    return complain(error, args.includes('--verbose'), terminal);
  }
}

/** One line; the stack only with --verbose. */
function complain(error: unknown, verbose: boolean, { err }: Terminal): number {
  const known = error instanceof OuterloopError;
  const message = error instanceof Error ? error.message : String(error);
  const advice = known || verbose ? '' : ' (unexpected; run it again with --verbose for the stack)';
  err.write(`error: ${known ? '' : 'internal: '}${message}${advice}\n`);
  if (verbose && error instanceof Error) {
    err.write(`${error.stack ?? ''}\n`);
    if (error.cause instanceof Error) err.write(`caused by ${error.cause.stack ?? error.cause.message}\n`);
  }
  return known ? error.exitCode : EXIT.failure;
}
