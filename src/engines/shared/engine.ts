import type { DerivativeProgram, Differentiation, UnrollEngine, UnrollProgram } from '../../contracts';
import type { TracedProblem } from '../../graph/program';

/** An engine that runs graphs: `compile` traces first, `compileTraced` takes what a trace (or a test) has made. */
export interface GraphEngine extends UnrollEngine {
  compileTraced(traced: TracedProblem): Promise<UnrollProgram>;
  /** @param traced for differentiation: with `stopGradient` still in it */
  compileDerivative(traced: TracedProblem, differentiation: Differentiation): Promise<DerivativeProgram>;
}
