/** What a run's own numbers say about its settings, in words. */
import type { Counted } from '../contracts';
import type { IterationRecord } from './events';

export interface AdviceOptions {
  /**
   * Whether all workers are at the same inner step of a finite episode: the loss then follows the episode's own course, and
   * its rise says nothing.
   */
  readonly lockstepEpisodes: boolean;
  /** What is left out where losses are not finite. */
  readonly counts: Counted;
}

/** Iterations that progress and noise are judged over, at the run's start and now. */
const SPAN = 50;
/** ‖ĝ‖²/V is 1 + ‖g‖²/V on average, and of noise alone its mean over 50 independent estimates is 1 ± √(2/50) at most. */
const NOISE = 1.5;
/** In units of the noise's own length: states were made with θs that lie as far off as half of what is tried out. */
const STALE = 0.5;
/** A share of lost workers that is no accident any more, over 20 iterations. */
const LOST = 0.1;
const LOST_SPAN = 20;
/** Means of 25 iterations that rise eight times in a row do so by chance once in 8! = 40,320 times. */
const BLOCK = 25;
const BLOCKS = 8;
/** And by half of what they were. */
const RISE = 0.5;

/** What makes fewer losses infinite. */
const LESS: Readonly<Record<Counted, string>> = {
  pairs: 'A lower outer learning rate, a smaller sigma or clip.',
  workers: 'A lower outer learning rate, or clip.',
  candidates: 'A smaller box: radius, or lower and upper.',
};

type Watch = (records: readonly IterationRecord[]) => string | undefined;

/**
 * Watches iteration records, in order, and returns what is new to say: each rule speaks once. Noise and staleness are no
 * faults of a run that gets better, and are named only where the loss is not below what it was at the run's start.
 */
export function createAdvisor(options: AdviceOptions): (record: IterationRecord) => string[] {
  const { counts } = options;
  const recent: IterationRecord[] = [];
  const first: number[] = [];
  const blocks: number[] = [];
  let count = 0;

  const stuck = (records: readonly IterationRecord[]): boolean =>
    count >= 2 * SPAN && mean(losses(records.slice(-SPAN))) >= mean(first);

  const rules: Watch[] = [
    (records) => {
      const ratios = diagnostic(records.slice(-SPAN), 'signalToNoise').map((x) => x * x);
      if (ratios.length < SPAN || !(mean(ratios) < NOISE) || !stuck(records)) return undefined;
      return (
        `the gradient was mostly noise for ${String(SPAN)} iterations (signal-to-noise ${number(Math.sqrt(mean(ratios)))}; 1 is ` +
        'noise alone), and the loss is not below that of the start: more pairs or workers, a larger sigma or a longer window.'
      );
    },
    (records) => {
      const staleness = diagnostic(records.slice(-LOST_SPAN), 'staleness');
      if (staleness.length < LOST_SPAN || !(mean(staleness) > STALE) || !stuck(records)) return undefined;
      return (
        `θ moves by ${number(mean(staleness))} times the length of the noise while workers keep theirs, and the loss is not below ` +
        'that of the start: a lower outer learning rate, or gpes with a smaller noisePeriod.'
      );
    },
    (records) => {
      if (records.length < LOST_SPAN) return undefined;
      const estimates = records.slice(-LOST_SPAN).map(({ estimate }) => estimate);
      const sum = (of: (estimate: (typeof estimates)[number]) => number): number =>
        estimates.reduce((a, e) => a + of(e), 0);
      const lost = sum(({ droppedPairs }) => droppedPairs);
      const share = lost / (lost + sum(({ validPairs }) => validPairs));
      if (!(share > LOST)) return undefined;
      const exploded = diagnostic(records.slice(-LOST_SPAN), 'explodedWorkers').reduce((a, n) => a + n, 0);
      const percent = `${String(Math.round(100 * share))} % of the ${counts} of ${String(LOST_SPAN)} iterations were left out: `;
      return exploded > lost / 2
        ? percent +
            'their losses are finite, their gradients are not. A shorter window, or an evolutionary estimator such as nres, whose ' +
            'gradient does not go through the steps.'
        : `${percent}their losses were NaN or infinite. ${LESS[counts]}`;
    },
    () => {
      if (options.lockstepEpisodes || blocks.length < BLOCKS) return undefined;
      const last = blocks.slice(-BLOCKS);
      const rising = last.every((value, i) => i === 0 || value > last[i - 1]);
      if (!rising || !(last[BLOCKS - 1] - last[0] > RISE * Math.abs(last[0]))) return undefined;
      return (
        `the loss has risen for ${String(BLOCK * BLOCKS)} iterations, from ${number(last[0])} to ${number(last[BLOCKS - 1])}: a lower ` +
        'outer learning rate; and where that only slows it down, the gradient is biased (tbptt, truncated-es): a longer window, ' +
        'or pes or nres.'
      );
    },
  ];
  const told = new Set<Watch>();

  return (record) => {
    count++;
    recent.push(record);
    if (recent.length > SPAN) recent.shift();
    if (count <= SPAN) first.push(...losses([record]));
    if (count % BLOCK === 0) blocks.push(mean(losses(recent.slice(-BLOCK))));
    if (blocks.length > BLOCKS) blocks.shift();
    return rules.flatMap((rule) => {
      const text = told.has(rule) ? undefined : rule(recent);
      if (text === undefined) return [];
      told.add(rule);
      return [text];
    });
  };
}

function losses(records: readonly IterationRecord[]): number[] {
  return records.map(({ estimate }) => estimate.meanLoss).filter(Number.isFinite);
}

function diagnostic(records: readonly IterationRecord[], name: string): number[] {
  return records.map(({ estimate }) => estimate.diagnostics[name]).filter(Number.isFinite);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function number(value: number): string {
  return String(Number(value.toPrecision(2)));
}
