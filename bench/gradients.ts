/** The gradient cases: windows that give derivatives, beside the same windows forward, and JAX's of the same scan. */
import { cpus } from 'node:os';
import { GRADIENT_CASES } from './cases/gradient';
import type { Candidate } from './candidates/candidate';
import { expectedGradients, GradientCandidate } from './candidates/gradient-process';
import { JaxCandidate } from './candidates/jax';
import { interleave, present, type HarnessOptions } from './harness';
import type { GradientKind } from './protocol';
import { FORWARD, median, RECOMPUTING, ratiosTo, TANGENT, type GradientTiming, type LeftOut } from './timings';

/** Kinds of windows that are timed on the native engine, by name of the candidate. */
const NATIVE: readonly (readonly [string, GradientKind])[] = [
  ['native', 'reverse'],
  [RECOMPUTING, 'recomputing'],
  [FORWARD, 'forward'],
  [TANGENT, 'tangent'],
];

/**
 * Rows of one gradient case, a candidate each.
 * @throws Error if a loss or a gradient is not float64's within the case's tolerance: nothing is timed then.
 */
export async function timeGradients(index: number, options: HarnessOptions): Promise<(GradientTiming | LeftOut)[]> {
  const { name, variant, particles, window, jax } = GRADIENT_CASES[index];
  const { engines, peers, log } = options;
  log(`${name}, ${variant}, ${particles} particles, W = ${window}`);
  const expected = await expectedGradients(index);
  const ours = engines.flatMap((engine) => {
    const kinds = engine === 'native' ? NATIVE : ([[engine, 'reverse']] as const);
    return kinds.map(([candidate, kind]) => new GradientCandidate(candidate, engine, kind, index, expected));
  });
  const checkpointed = { ...jax, options: { ...jax.options, checkpointed: true } };
  const theirs = peers.jax ? [new JaxCandidate('jax', jax), new JaxCandidate('jax, checkpointed', checkpointed)] : [];
  const all: Candidate[] = [...ours, ...theirs];
  const checks = new Map<Candidate, string>();
  try {
    for (const candidate of all) {
      try {
        checks.set(candidate, await candidate.check());
      } catch (error) {
        throw new Error(`${name}, ${candidate.name}: ${(error as Error).message}. Nothing was timed.`, {
          cause: error,
        });
      }
      log(`  ${candidate.name}: ${checks.get(candidate) ?? ''}`);
    }
    const { candidates, seconds, leftOut } = await interleave(all, options, cpus().length);
    const rows = { case: name, variant, particles, window };
    const out: (GradientTiming | LeftOut)[] = leftOut.map((left) => ({ ...rows, ...left }));
    const names = candidates.map((candidate) => candidate.name);
    for (const [i, candidate] of candidates.entries()) {
      const peakBytes = await candidate.peak();
      const { reverse, grownBytes } = candidate instanceof GradientCandidate ? candidate : {};
      out.push({
        ...rows,
        candidate: candidate.name,
        secondsPerWindow: median(present(seconds[i])),
        fasterThan: ratiosTo(i, names, seconds),
        ...(reverse === undefined ? {} : { reverse }),
        ...(grownBytes === undefined ? {} : { grownBytes }),
        ...(peakBytes === undefined ? {} : { peakBytes }),
        rounds: seconds[i],
        check: checks.get(candidate) ?? '',
      });
    }
    return out;
  } finally {
    for (const candidate of all) candidate.close();
  }
}
