/** The end of a run: report.html in its folder, the table and the curves on the terminal. */
import { join, relative } from 'node:path';
import { prepareOptimizer, recordedSteps, runSummary, type RunResult } from '../outer';
import { optimizerOfRun, readRunConfig, writeWhole } from '../outer/run-directory';
import {
  bestLine,
  curvesPicture,
  isLearned,
  renderReport,
  runStepSizes,
  sigmaLine,
  stepSizesCsv,
  thetaAfter,
  thetaBefore,
  updateMap,
  updateMapCsv,
  type RunReport,
  type UpdateMap,
} from '../report';
import { EXIT } from './exit-codes';
import { recordedPlugins } from './recorded-plugins';
import { hasColour, openContainer, type CommonOptions, type Terminal } from './session';
import { beforeAfterTable, plotCurves } from './terminal';

const REPORT = 'report.html';
const PICTURE = 'curves.svg';
const UPDATES = 'updates.csv';
const STEP_SIZES = 'step-sizes.csv';

/** What a learned optimizer is drawn beside: Adam as its authors left it. */
const BESIDE = { name: 'adam', learningRate: 0.001 };

/** A path as a person would type it from here. */
export function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('..') ? path : near;
}

/** A word of a POSIX shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`;
}

interface Updates {
  readonly maps?: readonly UpdateMap[];
  /** Why there are none, where there should be. */
  readonly undrawn?: string;
}

/**
 * The updates of a run's optimizer and of Adam, if it is a learned one. A run is not to end with an error for the sake of a
 * picture, whatever an optimizer of a plugin does.
 */
async function updatesOf(directory: string, result: RunResult): Promise<Updates> {
  const { run, ...config } = readRunConfig(directory);
  if (!('optimizer' in config)) return {};
  try {
    const resolver = await openContainer(recordedPlugins(run.plugins));
    const { optimizer, theta, record } = await optimizerOfRun(directory, resolver);
    const learned = await prepareOptimizer(optimizer, resolver);
    if (!isLearned(learned, result) || !theta.every(Number.isFinite)) return {};
    const horizon = recordedSteps(record) ?? Infinity;
    const adam = await prepareOptimizer(BESIDE, resolver);
    const maps = [
      updateMap(learned, theta, horizon),
      { ...updateMap(adam, [], horizon), optimizer: `Adam at ${BESIDE.learningRate}` },
    ];
    return { maps };
  } catch (error) {
    return { undrawn: error instanceof Error ? error.message : String(error) };
  }
}

interface Written {
  readonly report: string;
  /** Absent if there is no curve to draw. */
  readonly picture?: string;
  /** Why the optimizer's update is not in the report, where it should be. */
  readonly undrawn?: string;
}

/**
 * Writes report.html and curves.svg into the folder, updates.csv of a learned optimizer, and step-sizes.csv where they were
 * measured; returns the paths of the first two.
 */
export async function writeReport(directory: string, result: RunResult): Promise<Written> {
  const { run, ...config } = readRunConfig(directory);
  const plugins = run.plugins.map((file) => ` --plugin ${quoted(shown(file))}`).join('');
  const { maps: updates, undrawn } = await updatesOf(directory, result);
  const report: RunReport = {
    title: typeof config.preset === 'string' ? config.preset : result.problem,
    result,
    config: config,
    seed: typeof config.seed === 'number' ? config.seed : 0,
    reproduce: `outerloop train ${quoted(shown(join(directory, 'config.json')))}${plugins}`,
    ...(updates === undefined ? {} : { updates }),
  };
  const path = join(directory, REPORT);
  writeWhole(path, await renderReport(report));
  if (updates !== undefined) writeWhole(join(directory, UPDATES), updateMapCsv(updates));
  const steps = runStepSizes(result);
  if (steps.length > 0) writeWhole(join(directory, STEP_SIZES), stepSizesCsv(['theta'], steps));
  const picture = await curvesPicture(result);
  const written = { report: path, ...(undrawn === undefined ? {} : { undrawn }) };
  if (picture === undefined) return written;
  writeWhole(join(directory, PICTURE), picture);
  return { ...written, picture: join(directory, PICTURE) };
}

/** Prints what came of a run, and gives the exit code. */
export async function concludeRun(result: RunResult, options: CommonOptions, terminal: Terminal): Promise<number> {
  const { out, err } = terminal;
  const { directory } = result;
  if (result.interrupted) {
    if (options.json === true) out.write(`${JSON.stringify({ type: 'interrupted', directory })}\n`);
    if (directory !== undefined) err.write(`resume with: outerloop resume ${quoted(shown(directory))}\n`);
    return EXIT.interrupted;
  }
  const written = directory === undefined ? undefined : await writeReport(directory, result);
  if (options.json === true) {
    out.write(`${JSON.stringify({ type: 'summary', ...runSummary(result), directory })}\n`);
    return EXIT.ok;
  }
  const style = { colour: hasColour(out) };
  const before = thetaBefore(result);
  const after = thetaAfter(result);
  if (options.quiet !== true) {
    out.write(`\n${beforeAfterTable(before, after, style)}\n`);
    if (result.best !== undefined) out.write(`best ${result.best.measurement.metric}: ${bestLine(result)}\n`);
    if (result.sigmaProbe !== undefined) out.write(`${sigmaLine(result.sigmaProbe)}\n`);
    const names = new Set(Object.keys({ ...before.description?.curves, ...after.description?.curves }));
    const pictures = [...names].map((name) =>
      plotCurves(name, before.description?.curves?.[name], after.description?.curves?.[name], style),
    );
    const { name } = (result.after ?? result.before)?.curve ?? { name: '' };
    pictures.push(plotCurves(name, result.before?.curve, result.after?.curve, style));
    for (const picture of pictures) if (picture !== undefined) out.write(`\n${picture}\n`);
    out.write('\n');
  }
  if (directory !== undefined) out.write(`run:     ${shown(directory)}\n`);
  if (written !== undefined) printWritten(written, terminal);
  return EXIT.ok;
}

/** Where the page and the picture are. */
export function printWritten({ report, picture, undrawn }: Written, { out, err }: Terminal): void {
  out.write(`report:  ${shown(report)}\n`);
  if (picture !== undefined) out.write(`picture: ${shown(picture)}\n`);
  if (undrawn !== undefined) err.write(`The report lacks the optimizer's update: ${undrawn}\n`);
}
