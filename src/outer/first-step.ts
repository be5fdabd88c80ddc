/** The first inner step of a task, at θ₀: whether there is anything to train, found before the work begins. */
import { NonFiniteTaskError, type UnrollProgram } from '../contracts';
import { evaluationSeed } from './evaluate';

/** Metric of every problem that `unroll` makes: the training loss of a step, before the optimizer has done anything. */
const UNTRAINED = 'batch loss';

/** Fresh starts that a task's initial loss is the mean over, or that all have to fail before the task is refused. */
const STARTS = 16;

interface FirstStepOptions {
  /** How the task is called in errors. */
  readonly called: string;
  readonly program: UnrollProgram;
  /** Unperturbed. */
  readonly theta: Float64Array;
  /** Of the task's population. */
  readonly seed: number;
}

/** One number a start. */
interface Losses {
  readonly before: Float64Array;
  /** What is minimised. */
  readonly after: Float64Array;
}

async function firstLosses({ program, theta, seed }: FirstStepOptions, starts: number): Promise<Losses> {
  const population = await program.createPopulation({ size: starts, seed: evaluationSeed(seed) });
  try {
    const particles = Int32Array.from({ length: starts }, (_, i) => i);
    const selection = { particles, perturbation: { form: 'none', theta } } as const;
    await population.reset({ ...selection, workers: particles, episodes: new Int32Array(starts) });
    const { lossSum, metricSums } = await population.advance({ ...selection, steps: 1 });
    return { before: metricSums[UNTRAINED], after: lossSum };
  } finally {
    await population.dispose();
  }
}

/** `NaN`, `Infinity`, `Infinity or NaN`. */
const kinds = (losses: Float64Array): string => [...new Set(losses)].map(String).sort().join(' or ');

/** @throws NonFiniteTaskError if no start has a finite loss before the step, or none has after it */
function checkLosses({ before, after }: Losses, called: string, hint: string): void {
  const starts = `at all of ${String(before.length)} starts`;
  if (!before.some(Number.isFinite)) {
    throw new NonFiniteTaskError(
      `${called} is ${kinds(before)} at the first inner step, ${starts}. Look at its data and its initialisation${hint}.`,
    );
  }
  if (!after.some(Number.isFinite)) {
    throw new NonFiniteTaskError(
      `${called} is ${kinds(after)} after the first inner step, ${starts}, and was finite before it. ` +
        `Let the optimizer's first update be smaller: a lower learning rate, or another θ₀${hint}.`,
    );
  }
}

/**
 * The mean training loss of untrained parameters, over 16 starts.
 * @throws NonFiniteTaskError as `checkLosses` says
 */
export async function initialLoss(options: FirstStepOptions): Promise<number> {
  const losses = await firstLosses(options, STARTS);
  checkLosses(losses, options.called, ', or leave it out');
  const finite = losses.before.filter(Number.isFinite);
  return finite.reduce((sum, loss) => sum + loss, 0) / finite.length;
}

/**
 * That a task can be trained at all. Costs one step of one particle, and those of more only where that one fails; shares no random
 * number with the run. A problem that is not made of a task and an optimizer is let through: nothing is known of its losses.
 * @param searched whether θ₀ is but one of the θ to be tried, so that only what comes before its first update counts
 * @throws NonFiniteTaskError if no start has a finite loss before the first step, or none has after it
 */
export async function checkFirstStep(options: FirstStepOptions, searched: boolean): Promise<void> {
  if (!options.program.metrics.includes(UNTRAINED)) return;
  const counted = ({ before, after }: Losses): Losses => ({ before, after: searched ? before : after });
  const first = counted(await firstLosses(options, 1));
  if (first.before.every(Number.isFinite) && first.after.every(Number.isFinite)) return;
  checkLosses(counted(await firstLosses(options, STARTS)), options.called, '');
}
