import { EngineError } from '../../../contracts';

/** The compiler refused or broke on generated code: a defect of a pass or of the compiler, not of the user's problem. */
export class NativeCompileError extends EngineError {
  constructor(
    message: string,
    /** The compiler's first error, or its last words. */
    readonly diagnostic: string,
    /** Pass and ops that emitted the line, where the line is known. */
    readonly origin?: string,
  ) {
    super(message);
  }
}
