/** What a run was trained on, so that it does not go on with other data unnoticed. */
import { createHash } from 'node:crypto';
import { RunDirectoryError, SPLITS, type Dataset } from '../../contracts';
import type { RunPlan } from '../run';

/** SHA-256 of the tables of each data set, under its name (and a number, if it occurs twice). */
export type DataRecord = Readonly<Record<string, string>>;

function contentOf({ splits }: Dataset): string {
  const hash = createHash('sha256');
  for (const split of SPLITS) {
    for (const { table, decode } of [splits[split].xs, splits[split].ys]) {
      const { dtype, rows, rowShape, values } = table;
      hash.update(JSON.stringify([split, dtype, rows, rowShape, decode?.scale, decode?.offset]));
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  }
  return hash.digest('hex');
}

/** The data sets that a run trains on; undefined if it has none. */
export function dataRecord({ problem, tasks }: RunPlan): DataRecord | undefined {
  const problems = tasks === undefined ? [problem] : tasks.members.map((member) => member.problem);
  const sets = [...new Set(problems.flatMap(({ dataset }) => (dataset === undefined ? [] : [dataset])))];
  if (sets.length === 0) return undefined;
  const record: Record<string, string> = {};
  for (const set of sets) {
    let name = set.name;
    for (let i = 2; name in record; i++) name = `${set.name} (${i})`;
    record[name] = contentOf(set);
  }
  return record;
}

/** Runs of earlier versions have no record, and go on. @throws RunDirectoryError if the data have changed */
export function checkData(path: string, recorded: DataRecord | undefined, plan: RunPlan): void {
  if (recorded === undefined) return;
  const now = dataRecord(plan) ?? {};
  for (const [name, content] of Object.entries(recorded)) {
    if (now[name] === content) continue;
    const short = (text: string | undefined): string =>
      text === undefined ? 'no such data set' : `${text.slice(0, 12)}…`;
    throw new RunDirectoryError(
      `${path} was trained on other data: expected "${name}" of SHA-256 ${short(content)}, got ${short(now[name])}. ` +
        'Put the data back as they were, or start a new run.',
    );
  }
}
