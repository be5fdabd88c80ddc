/** What a run compiles: each program once, and nothing is left of it. */
import type { DerivativeProgram, UnrolledProblem, UnrollProgram } from '../../src/contracts';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import { executeRun, prepareRun, resolveConfig } from '../../src/outer';
import { testContainer } from './support';

test.each(['tbptt', 'dodge', 'pes-analytic'])(
  '%s: one derivative program a run, disposed of at its end',
  async (name) => {
    const made: DerivativeProgram[] = [];
    const disposed: DerivativeProgram[] = [];
    class Counting extends ReferenceEngine {
      override async compile(problem: UnrolledProblem): Promise<UnrollProgram> {
        const program = await super.compile(problem);
        const differentiate = program.differentiate.bind(program);
        program.differentiate = async (differentiation) => {
          const derivative = await differentiate(differentiation);
          made.push(derivative);
          const dispose = derivative.dispose.bind(derivative);
          derivative.dispose = () => {
            disposed.push(derivative);
            return dispose();
          };
          return derivative;
        };
        return program;
      }
    }
    const resolver = testContainer();
    const estimator = { name, window: 10, ...(name === 'pes-analytic' ? { pairs: 2, sigma: 0.1 } : {}) };
    const config = resolveConfig({ preset: 'quadratic', engine: 'reference', iterations: 2, estimator }, [], resolver);
    const { plan } = await prepareRun(config, resolver);
    const { history } = await executeRun({ plan, opened: { engine: new Counting(), reason: 'a test' } });
    expect(history).toHaveLength(2);
    expect(made).toHaveLength(1);
    expect(disposed).toEqual(made);
  },
);
