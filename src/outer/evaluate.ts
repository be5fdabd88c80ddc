/** How θ is judged: fresh starts of the problem's evaluation, unperturbed, on the engine of the run. */
import { EngineError, ShapeError, type Evaluation, type UnrollEngine, type UnrollProgram } from '../contracts';
import { foldIn, seedKey, STREAMS, type Stream } from '../random';
import type { Measurement } from './events';
import { StepSizeRecorder } from './step-sizes';

/** Points of a learning curve at most. */
const CURVE_POINTS = 200;

/**
 * Seed of the fresh starts: no number of it is shared with training, and it is the same for every evaluation of a run,
 * so that before and after are paired.
 */
export function evaluationSeed(seed: number): number {
  return seedOfStream(seed, 'evaluation');
}

/** A seed of 53 bits that shares no number with another use of `seed`: of the stream, or of one number of it. */
export function seedOfStream(seed: number, stream: Stream, index?: number): number {
  const key = foldIn(seedKey(seed), STREAMS[stream]);
  const [low, high] = index === undefined ? key : foldIn(key, index);
  return (high & 0x1fffff) * 0x100000000 + low;
}

/** A problem's evaluation, compiled once and run as often as wanted. */
export interface Evaluator {
  readonly evaluation: Evaluation;
  readonly program: UnrollProgram;
  /** `theta` of the training problem's size. @throws CancelledError once the signal is aborted */
  measure(theta: Float64Array, signal?: AbortSignal): Promise<Measurement>;
  dispose(): Promise<void>;
}

export interface EvaluatorOptions {
  /** The run's seed. */
  readonly seed: number;
  /** Fresh starts instead of the evaluation's own number. */
  readonly particles?: number;
}

/** Compiles an evaluation. @throws TraceError, ShapeError if its θ is not the size of `thetaSize` */
export async function createEvaluator(
  engine: UnrollEngine,
  evaluation: Evaluation,
  thetaSize: number,
  options: EvaluatorOptions,
): Promise<Evaluator> {
  const { problem } = evaluation;
  if (!Number.isFinite(problem.horizon)) {
    throw new ShapeError(`the evaluation "${problem.name}" has horizon ${String(problem.horizon)}; it must be finite.`);
  }
  const program = await engine.compile(problem);
  if (program.theta.size !== thetaSize) {
    await program.dispose();
    throw new ShapeError(
      `the evaluation "${problem.name}" has a θ of ${String(program.theta.size)} numbers; the problem has ${String(thetaSize)}.`,
    );
  }
  return {
    evaluation,
    program,
    measure: (theta, signal) => measureOn(program, evaluation, theta, options, signal),
    dispose: () => program.dispose(),
  };
}

/** `Evaluator.measure`, of a program of the evaluation's problem. */
export async function measureOn(
  program: UnrollProgram,
  evaluation: Evaluation,
  theta: Float64Array,
  options: EvaluatorOptions,
  signal: AbortSignal | undefined,
): Promise<Measurement> {
  const { problem, metric, minimise, measure: kind, curve } = evaluation;
  const n = options.particles ?? evaluation.particles;
  if (curve !== undefined && !program.metrics.includes(curve)) {
    throw new ShapeError(`the evaluation "${problem.name}" draws the curve of "${curve}", which no step reports.`);
  }
  const population = await program.createPopulation({ size: n, seed: evaluationSeed(options.seed) });
  try {
    const workers = Int32Array.from({ length: n }, (_, i) => i);
    const selection = { particles: workers, perturbation: { form: 'none', theta }, signal } as const;
    await population.reset({ ...selection, workers, episodes: new Int32Array(n) });
    const window = Math.ceil(problem.horizon / CURVE_POINTS);
    const total = new Float64Array(n);
    let last: Float64Array = new Float64Array(n);
    const stepSizes = new StepSizeRecorder(program.metrics, n, problem.horizon);
    const t: number[] = [];
    const value: number[] = [];
    for (let done = 0; done < problem.horizon;) {
      const steps = Math.min(window, problem.horizon - done);
      const result = await population.advance({ ...selection, steps });
      last = result.lastLoss;
      const sums = curve === undefined ? result.lossSum : result.metricSums[curve];
      for (let i = 0; i < n; i++) total[i] += result.lossSum[i];
      done += steps;
      stepSizes.add(result.metricSums, done);
      t.push(done);
      value.push(meanOf(sums) / steps);
    }
    const values = await particleValues();
    const recorded = stepSizes.result();
    return {
      ...{ metric, minimise, ...statistics(values), values },
      curve: { name: curve ?? 'loss', t, value },
      ...(recorded === undefined ? {} : { stepSizes: recorded }),
    };

    async function particleValues(): Promise<number[]> {
      if (kind === 'mean') return Array.from(total, (sum) => sum / problem.horizon);
      if (kind === 'last') return Array.from(last);
      const outputs = (await population.finish(selection)) as Readonly<Record<string, Float64Array | undefined>>;
      const output = outputs[kind.finish];
      if (output === undefined) {
        throw new EngineError(
          `"${problem.name}" has no output "${kind.finish}"; finish gives ${Object.keys(outputs).join(', ')}.`,
        );
      }
      return Array.from(output);
    }
  } finally {
    await population.dispose();
  }
}

function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Mean and standard error: sample standard deviation / √n, 0 for one value. */
export function statistics(values: readonly number[]): { mean: number; standardError: number; n: number } {
  const n = values.length;
  const mean = meanOf(values);
  if (n < 2) return { mean, standardError: 0, n };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, standardError: Math.sqrt(squares / (n - 1) / n), n };
}
