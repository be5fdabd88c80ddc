import type { DataTable } from '../../../contracts';
import type { ConstantData } from '../../../graph/ir';
import type { ProgramTable } from './program';

/** The resident arrays of a program, each once. */
export class Tables {
  readonly list: ProgramTable[] = [];
  private readonly numbers = new Map<DataTable | ConstantData, number>();

  table(table: DataTable): number {
    return this.number(table, { kind: 'table', table });
  }

  constant(data: ConstantData): number {
    return this.number(data, { kind: 'constant', data });
  }

  private number(key: DataTable | ConstantData, entry: ProgramTable): number {
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.list.length;
      this.list.push(entry);
      this.numbers.set(key, number);
    }
    return number;
  }
}
