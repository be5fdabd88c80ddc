/**
 * Native windows against the float64 reference.
 *
 * Each step starts from the state that the engine itself reached, so that errors do not add up, chaos and all. How far
 * float32 may be off is found from the arithmetic of that very step: the interpreter evaluates it once more with every
 * value rounded to float32. Compiled code rounds the same values, in other orders of summation and with functions that are
 * good to 2 units in the last place instead of ½ (docs/native-math.md): at most four times as far off, and some roundings
 * where the interpreter's happen to be none. Norms are over all particles and elements of a leaf, so that no single lucky
 * rounding decides.
 */
import type { NativeEngine } from '../../src/engines/native/engine';
import type { LoweringOptions } from '../../src/engines/native/plan';
import type { ThetaLayout, UnrolledProblem } from '../../src/contracts';
import { compileInterpreter, stepContext, type Value } from '../../src/graph/interpreter';
import type { Graph } from '../../src/graph/ir';
import { traceProblem } from '../../src/graph/trace';
import { spreadThetas } from './registered-problems';

const SEED = 31;
/** Times the interpreter's own error in float32, plus so many roundings of the value's size. */
const FACTOR = 4;
const ROUNDINGS = 8;
/** Normals that code draws are off by 5e-7 at most, and by a third of that in the mean (docs/native-math.md). */
const NORMAL = 5e-7;

interface Step {
  readonly outputs: readonly Value[];
}

function thetaValues({ leaves }: ThetaLayout, thetas: Float64Array): Float64Array[] {
  // float32 is what θ is computed in.
  return leaves.map(({ offset, size }) => thetas.slice(offset, offset + size).map(Math.fround));
}

/** One function of a problem in both precisions. */
function evaluators(graph: Graph) {
  return (['float64', 'float32'] as const).map((floats) => compileInterpreter(graph, { floats }));
}

const norm = (values: Iterable<number>): number => {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
};

/** What is wrong with the values of all particles for one output; undefined if nothing is. */
function wrong(name: string, got: number[], exact: number[], single: number[], more = 0): string | undefined {
  const away = norm(got.map((x, i) => x - exact[i]));
  const rounded = norm(single.map((x, i) => x - exact[i]));
  const size = norm(exact);
  const bound = FACTOR * rounded + (ROUNDINGS * 2 ** -24 + more) * size;
  return away <= bound ? undefined : `${name}: off by ${away}, of ${size}; the interpreter in float32: ${rounded}`;
}

/**
 * Steps of a problem on the engine, each held against the reference from the state that the engine had reached.
 * @returns what is wrong, a sentence each; none if all is well.
 */
export async function stepsAgainstReference(
  engine: NativeEngine,
  problem: UnrolledProblem,
  particles: number,
  steps: number,
  options: LoweringOptions = {},
): Promise<string[]> {
  const traced = traceProblem(problem);
  const program = await engine.compileTraced(traced, options);
  const thetas = spreadThetas(traced, particles, 0.02);
  const size = traced.theta.size;
  const each = Array.from({ length: particles }, (_, p) =>
    thetaValues(traced.theta, thetas.subarray(p * size, (p + 1) * size)),
  );
  const all = Int32Array.from({ length: particles }, (_, i) => i);
  const [workers, episodes] = [all.map((i) => i >> 1), all.map((i) => 3 * i)];
  const perturbation = { form: 'explicit', thetas } as const;
  const population = await program.createPopulation({ size: particles, seed: SEED });
  const faults: string[] = [];

  const stateOf = async (): Promise<Value[][]> => {
    const bundle = await population.save();
    return Array.from(all, (p) =>
      traced.state.map(({ path, type }) => {
        const { data } = bundle[`state.${path}`];
        const width = data.length / particles;
        const row = data.slice(p * width, (p + 1) * width);
        return type.dtype === 'float32' ? Float64Array.from(row) : (row as Value);
      }),
    );
  };
  /** Outputs by particle, of both precisions. */
  const evaluate = (of: ReturnType<typeof evaluators>, states: Value[][] | undefined, t: number): Step[][] =>
    of.map((interpreter) =>
      Array.from(all, (p) => {
        const inputs = states === undefined ? each[p] : [...each[p], ...states[p], Int32Array.of(t)];
        // Outputs belong to the interpreter until it runs again.
        const outputs = interpreter.run(inputs, stepContext(SEED, workers[p], episodes[p], t));
        return { outputs: outputs.map((value) => value.slice()) };
      }),
    );
  const compare = (
    name: string,
    [exact, single]: Step[][],
    output: number,
    got: (p: number) => ArrayLike<number>,
    more = 0,
  ): void => {
    const flat = (rows: Step[]): number[] => rows.flatMap(({ outputs }) => Array.from(outputs[output]));
    const fault = wrong(
      name,
      Array.from(all).flatMap((p) => Array.from(got(p))),
      flat(exact),
      flat(single),
      more,
    );
    if (fault !== undefined) faults.push(fault);
  };
  const compareStates = (states: Value[][], by: Step[][], when: string, more = 0): void =>
    traced.state.forEach(({ path }, leaf) => compare(`${path} ${when}`, by, leaf, (p) => states[p][leaf], more));

  await population.reset({ particles: all, workers, episodes, perturbation });
  let states = await stateOf();
  compareStates(states, evaluate(evaluators(traced.init), undefined, 0), 'at first', NORMAL);
  const step = evaluators(traced.step);
  for (let t = 0; t < steps; t++) {
    const result = await population.advance({ particles: all, perturbation, steps: 1 });
    const expected = evaluate(step, states, t);
    states = await stateOf();
    compareStates(states, expected, `after step ${t}`);
    const numbers = [result.lastLoss, ...traced.metrics.map((name) => result.metricSums[name])];
    numbers.forEach((column, i) =>
      compare(i === 0 ? `loss ${t}` : `${traced.metrics[i - 1]} ${t}`, expected, traced.state.length + i, (p) => [
        column[p],
      ]),
    );
  }
  if (traced.finish !== undefined) {
    const ends = await population.finish({ particles: all, perturbation });
    const expected = evaluate(evaluators(traced.finish), states, steps);
    traced.finishes.forEach((name, i) => compare(`finish ${name}`, expected, i, (p) => [ends[name][p]]));
  }
  await program.dispose();
  return faults;
}
