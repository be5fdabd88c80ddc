/** Correctness first, then interleaved rounds, each candidate in a process of its own; medians of per-round ratios. */
import { cpus } from 'node:os';
import { THREAD_CASES, WINDOW_CASES, type BenchCase } from './cases';
import type { Candidate } from './candidates/candidate';
import { EngineCandidate, expectedLosses } from './candidates/engine-process';
import { JaxCandidate } from './candidates/jax';
import type { Peak } from './candidates/peak';
import { ReferenceCandidate, type ReferenceC } from './candidates/reference-c';
import { JAX_GPU, median, medianRatio, ratiosTo, type LeftOut, type ThreadTiming, type WindowTiming } from './timings';

export interface HarnessOptions {
  readonly engines: readonly string[];
  /** Of windows and outer iterations. */
  readonly peers: {
    readonly jax: boolean;
    /** Windows only. */
    readonly jaxGpu: boolean;
    readonly reference?: ReferenceC;
    readonly peak?: Peak;
  };
  readonly rounds: number;
  /**
   * Seconds of timed windows after which a candidate gets no further round of a case. One whose single round would take
   * twice as long is left out of it, which is logged.
   */
  readonly secondsPerCandidate: number;
  readonly log: (line: string) => void;
}

interface Rounds {
  readonly candidates: readonly Candidate[];
  /** By candidate, then by round. */
  readonly seconds: readonly (readonly (number | null)[])[];
  readonly compileSeconds: readonly (number | undefined)[];
  /** GFLOPS of all threads and of one, by round. */
  readonly peak: readonly number[];
  readonly peakOfOne: readonly number[];
  readonly leftOut: readonly { readonly candidate: string; readonly reason: string }[];
}

/**
 * All candidates take turns, a round each. Whoever is too slow is left out, never waited for.
 * @throws Error if one of them fails once it has started
 */
export async function interleave(
  candidates: readonly Candidate[],
  options: HarnessOptions,
  threads: number,
): Promise<Rounds> {
  const { rounds, secondsPerCandidate, log, peers } = options;
  const timed: Candidate[] = [];
  const compileSeconds: (number | undefined)[] = [];
  const leftOut: { candidate: string; reason: string }[] = [];
  for (const candidate of candidates) {
    const ready = await candidate.start();
    if (ready.seconds <= 2 * secondsPerCandidate) {
      timed.push(candidate);
      compileSeconds.push(ready.compileSeconds);
      continue;
    }
    const reason = `a round takes about ${Math.round(ready.seconds)} s (see --seconds)`;
    log(`  ${candidate.name}: left out, ${reason}`);
    leftOut.push({ candidate: candidate.name, reason });
    candidate.close();
  }
  const seconds = timed.map((): (number | null)[] => []);
  const peak: number[] = [];
  const peakOfOne: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (peers.peak !== undefined) {
      peak.push(await peers.peak.measure(threads));
      peakOfOne.push(await peers.peak.measure(1));
    }
    for (const [i, candidate] of timed.entries()) {
      const spent = seconds[i].reduce((sum: number, value) => sum + (value ?? 0), 0);
      seconds[i].push(round > 0 && spent > secondsPerCandidate ? null : await candidate.round());
    }
  }
  return { candidates: timed, seconds, compileSeconds, peak, peakOfOne, leftOut };
}

export const present = (values: readonly (number | null)[]): number[] => values.filter((value) => value !== null);

/**
 * Rows of one case, a candidate each.
 * @throws Error if a window is not float64's within the case's tolerance: nothing is timed then.
 */
export async function timeWindows(index: number, options: HarnessOptions): Promise<(WindowTiming | LeftOut)[]> {
  const benchCase: BenchCase = WINDOW_CASES[index];
  const { name, variant, particles, window, windows, flopsPerStep } = benchCase;
  const { engines, peers, log } = options;
  log([name, variant, `${particles} particles, W = ${window}`].filter((part) => part !== '').join(', '));
  const expected = await expectedLosses(index);
  const all: Candidate[] = engines.map((engine) => new EngineCandidate(engine, { engine }, index, expected));
  if (peers.jax) all.push(new JaxCandidate('jax', benchCase.jax));
  if (peers.jaxGpu) all.push(new JaxCandidate(JAX_GPU, benchCase.jax, 'cuda'));
  const rows = { case: name, variant, particles, window };
  const out: (WindowTiming | LeftOut)[] = [];
  const checked: Candidate[] = [];
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
      checked.push(candidate);
    }
    if (peers.reference !== undefined && benchCase.reference !== undefined) {
      const candidate = new ReferenceCandidate(peers.reference, benchCase);
      try {
        checks.set(candidate, await candidate.check());
        checked.push(candidate);
      } catch (error) {
        // Not ours: it may not fit this machine.
        const reason = (error as Error).message;
        log(`  ${candidate.name}: left out, ${reason}`);
        out.push({ ...rows, candidate: candidate.name, reason });
      }
    }
    for (const candidate of checked) log(`  ${candidate.name}: ${checks.get(candidate) ?? ''}`);
    const { candidates, seconds, compileSeconds, peak, leftOut } = await interleave(checked, options, cpus().length);
    out.push(...leftOut.map((left) => ({ ...rows, ...left })));
    const names = candidates.map((candidate) => candidate.name);
    const steps = particles * window * windows;
    for (const [i, candidate] of candidates.entries()) {
      const particleStepsPerSecond = steps / median(present(seconds[i]));
      // In seconds that the machine would need at its peak, so that ratios are within a round here too.
      const atPeak = peak.map((gflops) => (steps * flopsPerStep) / (gflops * 1e9));
      const shareOfPeak = medianRatio(atPeak, seconds[i]);
      const peakBytes = await candidate.peak();
      out.push({
        ...rows,
        candidate: candidate.name,
        particleStepsPerSecond,
        gflops: (particleStepsPerSecond * flopsPerStep) / 1e9,
        ...(shareOfPeak === undefined ? {} : { shareOfPeak }),
        fasterThan: ratiosTo(i, names, seconds),
        ...(peakBytes === undefined ? {} : { peakBytes }),
        ...(compileSeconds[i] === undefined ? {} : { compileSeconds: compileSeconds[i] }),
        rounds: seconds[i],
        check: checks.get(candidate) ?? '',
      });
    }
    return out;
  } finally {
    for (const candidate of all) candidate.close();
  }
}

/** One thread against two, of the engines that know threads; JAX's are its own. */
export async function timeThreads(options: HarnessOptions): Promise<ThreadTiming[]> {
  const timings: ThreadTiming[] = [];
  for (const index of THREAD_CASES) {
    const { name, variant, particles, window } = WINDOW_CASES[index];
    const problem = [name, variant, `${particles} × ${window}`].filter((part) => part !== '').join(' ');
    for (const engine of options.engines.filter((one) => one === 'native')) {
      options.log(`threads, ${problem} on ${engine}`);
      const expected = await expectedLosses(index);
      const pair = [1, 2].map(
        (threads) => new EngineCandidate(`${engine}, ${threads}`, { engine, threads }, index, expected),
      );
      try {
        for (const candidate of pair) await candidate.check();
        const { seconds, peak, peakOfOne } = await interleave(pair, options, 2);
        const speedup = medianRatio(seconds[0], seconds[1]);
        if (speedup === undefined) continue;
        timings.push({
          case: 'threads',
          problem,
          candidate: engine,
          speedup,
          ...(peak.length > 0 && { peakSpeedup: median(peak.map((gflops, round) => gflops / peakOfOne[round])) }),
        });
      } finally {
        for (const candidate of pair) candidate.close();
      }
    }
  }
  return timings;
}
