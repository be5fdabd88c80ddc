import { readRunResult } from '../../outer/run-directory';
import { EXIT } from '../exit-codes';
import { printWritten, writeReport } from '../outcome';
import type { CommonOptions, Terminal } from '../session';

/** Writes report.html and curves.svg from a run's files; of an unfinished run, what there is. */
export async function report(directory: string, options: CommonOptions, terminal: Terminal): Promise<number> {
  const written = await writeReport(directory, readRunResult(directory));
  if (options.json === true) terminal.out.write(`${JSON.stringify(written)}\n`);
  else printWritten(written, terminal);
  return EXIT.ok;
}
