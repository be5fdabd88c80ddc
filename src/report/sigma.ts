/** The meta-loss at θ ± σ, as a line and as a table. */
import { median, type ProbedNumber, type SigmaProbe } from '../outer/sigma-probe';
import { formatNumber } from './page';

/** `at θ ± σ (σ = 0.1, 5 episodes) the meta-loss 2.31 differs by ∓0.04 and bends by 0.002; medians of 2 directions`. */
export function sigmaLine({ sigma, episodes, loss, directions, skipped }: SigmaProbe): string {
  const at = `σ = ${formatNumber(sigma)}`;
  if (loss === undefined) return `The meta-loss at θ ± σ (${at}) was not measured: ${skipped ?? 'left out'}.`;
  const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
  const size = (of: 'slope' | 'bend'): string => formatNumber(median(directions.map((one) => one[of].mean)));
  return (
    `Meta-loss ${formatNumber(loss.mean)}; at θ ± σ (${at}) it differs by ${size('slope')} and bends by ${size('bend')} ` +
    `(${directions.length === 1 ? '' : 'medians of '}${plural(directions.length, 'direction')}, ${plural(episodes, 'episode')}).`
  );
}

const spread = ({ mean, standardError }: ProbedNumber): string =>
  `${formatNumber(mean)} ± ${formatNumber(standardError)}`;

/** One row a direction; the first row is the head. Empty where nothing was measured. */
export function sigmaTable({ directions }: SigmaProbe): string[][] {
  if (directions.length === 0) return [];
  return [
    ['along', 'difference (L(θ+σ) − L(θ−σ))/2', 'bend (L(θ+σ) + L(θ−σ))/2 − L(θ)'],
    ...directions.map(({ name, slope, bend }) => [name, spread(slope), spread(bend)]),
  ];
}
