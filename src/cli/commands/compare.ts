import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, extname, resolve } from 'node:path';
import { ConfigurationError, UserError } from '../../contracts';
import { readRecordedRun, sweepRuns, writeWhole } from '../../outer/run-directory';
import { comparisonNotes, compareRuns, renderComparison, summarise, type Comparison } from '../../report';
import { EXIT } from '../exit-codes';
import { shown } from '../outcome';
import { hasColour, type CommonOptions, type Terminal } from '../session';
import { comparisonText } from '../terminal';

export interface CompareOptions extends CommonOptions {
  readonly output?: string;
}

/** Where the page goes. @throws ConfigurationError before anything is read */
export function pagePath(given: string | undefined, otherwise: string): string {
  const output = given ?? otherwise;
  if (extname(output) !== '.html') throw new ConfigurationError('--output', 'the name of an .html file', `"${output}"`);
  const path = resolve(output);
  if (!existsSync(dirname(path))) {
    throw new ConfigurationError('--output', 'a file in a folder that exists', `"${output}"`);
  }
  if (existsSync(path) && !statSync(path).isFile()) {
    throw new ConfigurationError('--output', 'a file', `the folder "${output}"`);
  }
  return path;
}

/** Writes the page, and prints the table and where the page is. */
export async function concludeComparison(
  comparison: Comparison,
  path: string,
  options: CommonOptions,
  { out }: Terminal,
): Promise<void> {
  writeWhole(path, await renderComparison(comparison));
  if (options.json === true) {
    const { title, objective } = comparison;
    const groups = summarise(comparison);
    out.write(`${JSON.stringify({ type: 'comparison', title, objective, groups, report: path })}\n`);
    return;
  }
  if (options.quiet !== true) {
    out.write(`${comparisonText(comparison, { colour: hasColour(out) })}\n`);
    for (const note of comparisonNotes(comparison)) out.write(`${note}\n`);
    out.write('\n');
  }
  out.write(`comparison: ${shown(path)}\n`);
}

/** Several runs in one table and one page. */
export async function compare(
  directories: readonly string[],
  options: CompareOptions,
  terminal: Terminal,
): Promise<number> {
  const path = pagePath(options.output, 'comparison.html');
  // The folder of a sweep stands for its runs.
  const folders = directories.flatMap((directory) => sweepRuns(directory) ?? [directory]);
  const seen = new Map<string, string>();
  for (const directory of folders) {
    const real = existsSync(directory) ? realpathSync(directory) : directory;
    const twin = seen.get(real);
    if (twin !== undefined) throw new UserError(`${twin} and ${directory} are one folder. Leave one of them out.`);
    seen.set(real, directory);
  }
  await concludeComparison(compareRuns(folders.map(readRecordedRun)), path, options, terminal);
  return EXIT.ok;
}
