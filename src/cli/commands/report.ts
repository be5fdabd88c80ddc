import { readRunResult } from '../../outer/run-directory';
import { EXIT } from '../exit-codes';
import { shown, writeReport } from '../outcome';
import type { CommonOptions, Terminal } from '../session';

/** Writes report.html from a run's files; of an unfinished run, what there is. */
export async function report(directory: string, options: CommonOptions, terminal: Terminal): Promise<number> {
  const path = await writeReport(directory, readRunResult(directory));
  terminal.out.write(options.json === true ? `${JSON.stringify({ report: path })}\n` : `report: ${shown(path)}\n`);
  return EXIT.ok;
}
