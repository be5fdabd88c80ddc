import { OuterloopError } from '../../../contracts';

/** A loop nest that breaks the rules of ir.ts or asks for what no renderer can give: a defect in lowering. */
export class NestError extends OuterloopError {
  constructor(
    readonly kernel: string,
    /** The statement, as print.ts shows it; empty for the kernel's head. */
    readonly statement: string,
    problem: string,
  ) {
    super(`kernel "${kernel}"${statement === '' ? '' : ` at \`${statement}\``}: ${problem}`);
  }
}
