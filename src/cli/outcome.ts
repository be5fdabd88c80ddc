/** The end of a run: report.html in its folder, the table and the curves on the terminal. */
import { join, relative } from 'node:path';
import { runSummary, type RunResult } from '../outer';
import { readRunConfig, writeWhole } from '../outer/run-directory';
import { bestLine, curvesPicture, renderReport, sigmaLine, thetaAfter, thetaBefore, type RunReport } from '../report';
import { EXIT } from './exit-codes';
import { hasColour, type CommonOptions, type Terminal } from './session';
import { beforeAfterTable, plotCurves } from './terminal';

const REPORT = 'report.html';
const PICTURE = 'curves.svg';

/** A path as a person would type it from here. */
export function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('..') ? path : near;
}

/** A word of a POSIX shell. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`;
}

interface Written {
  readonly report: string;
  /** Absent if there is no curve to draw. */
  readonly picture?: string;
}

/** Writes report.html and curves.svg into the folder; returns their paths. */
export async function writeReport(directory: string, result: RunResult): Promise<Written> {
  const { run, ...config } = readRunConfig(directory);
  const plugins = run.plugins.map((file) => ` --plugin ${quoted(shown(file))}`).join('');
  const report: RunReport = {
    title: typeof config.preset === 'string' ? config.preset : result.problem,
    result,
    config: config,
    seed: typeof config.seed === 'number' ? config.seed : 0,
    reproduce: `outerloop train ${quoted(shown(join(directory, 'config.json')))}${plugins}`,
  };
  const path = join(directory, REPORT);
  writeWhole(path, await renderReport(report));
  const picture = await curvesPicture(result);
  if (picture === undefined) return { report: path };
  writeWhole(join(directory, PICTURE), picture);
  return { report: path, picture: join(directory, PICTURE) };
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
export function printWritten({ report, picture }: Written, { out }: Terminal): void {
  out.write(`report:  ${shown(report)}\n`);
  if (picture !== undefined) out.write(`picture: ${shown(picture)}\n`);
}
