/** Copies between layouts whose elements lie densely along different axes: done in square blocks. */
import { substituteIndex, variableIndex } from '../nest/builder';
import type { Index, Statement, Target } from '../nest/ir';
import type { Names } from '../nest/names';

interface Loop {
  readonly variable: string;
  readonly extent: number;
}

interface Copy {
  readonly loops: readonly Loop[];
  readonly from: { readonly buffer: string; readonly index: Index };
  readonly to: { readonly buffer: string; readonly index: Index };
}

/** Loops around one load and one store of float32. */
function copyOf(statements: readonly Statement[], loops: readonly Loop[] = []): Copy | undefined {
  const [first, second] = statements;
  if (statements.length === 1 && first.kind === 'loop') {
    const { variable, extent, step, body } = first;
    return typeof extent === 'number' && step === 1 ? copyOf(body, [...loops, { variable, extent }]) : undefined;
  }
  if (statements.length !== 2 || first.kind !== 'let' || second.kind !== 'store') return undefined;
  const { value, name } = first;
  const copies =
    value.kind === 'load' &&
    value.memory === 'f32' &&
    second.memory === 'f32' &&
    second.value.kind === 'read' &&
    second.value.name === name;
  return copies ? { loops, from: value, to: second } : undefined;
}

function factorOf({ terms }: Index, variable: string): number {
  return terms.find((term) => term.variable === variable)?.factor ?? 0;
}

/** What the scalar statements of a map do, by transposed blocks; undefined if they do something else. */
export function transposed(statements: readonly Statement[], { lanes }: Target, names: Names): Statement[] | undefined {
  const copy = copyOf(statements);
  if (copy === undefined) return undefined;
  const { loops, from, to } = copy;
  const along = ({ index }: Copy['from']): Loop | undefined =>
    loops.find(({ variable, extent }) => factorOf(index, variable) === 1 && extent >= lanes);
  const columns = along(from);
  const rows = along(to);
  if (columns === undefined || rows === undefined || columns === rows) return undefined;
  if (factorOf(from.index, rows.variable) === 0 || factorOf(to.index, columns.variable) === 0) return undefined;

  const block = (column: Index, columnCount: number, row: Index, rowCount: number): Statement => {
    const place = (
      { buffer, index }: Copy['from'],
      stride: number,
    ): { buffer: string; index: Index; stride: number } => ({
      buffer,
      index: substituteIndex(substituteIndex(index, columns.variable, column), rows.variable, row),
      stride,
    });
    return {
      kind: 'transpose',
      from: place(from, factorOf(from.index, rows.variable)),
      to: place(to, factorOf(to.index, columns.variable)),
      rows: rowCount,
      columns: columnCount,
    };
  };
  /** A loop over whole blocks, and what is left. */
  const blocks = (extent: number, write: (at: Index, count: number) => Statement[]): Statement[] => {
    const variable = names.fresh('i');
    const whole = extent - (extent % lanes);
    const rest: Index = { offset: whole, terms: [] };
    return [
      { kind: 'loop', variable, extent: whole, step: lanes, body: write(variableIndex(variable), lanes) },
      ...(whole < extent ? write(rest, extent - whole) : []),
    ];
  };
  const body = blocks(columns.extent, (column, columnCount) =>
    blocks(rows.extent, (row, rowCount) => [block(column, columnCount, row, rowCount)]),
  );
  return loops
    .filter((loop) => loop !== columns && loop !== rows)
    .reduceRight<Statement[]>((inner, loop) => [{ kind: 'loop', ...loop, step: 1, body: inner }], body);
}
