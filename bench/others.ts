/** The cases that are no plain windows: outer iterations, compile times, curves, updates, and the inside of the tfjs engine. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAIN_CASE, OVERHEAD_CASES, WINDOW_CASES } from './cases';
import { OUTER_CASES } from './cases/outer';
import { EngineProcess, inProcess } from './candidates/engine-process';
import { JaxCandidate, programMissing } from './candidates/jax';
import { CURVES } from './curves';
import { FIT_CASES, type FitRound } from './fit';
import type { HarnessOptions } from './harness';
import {
  median,
  ratiosTo,
  type CompileTiming,
  type CurveTiming,
  type FitTiming,
  type FormsTiming,
  type OuterTiming,
  type OverheadTiming,
} from './timings';

/**
 * Whole outer iterations, a problem at a time, the engine and JAX taking turns. Native where it runs: the burn-in alone
 * takes the slower engines minutes.
 */
export async function* timeOuter(options: HarnessOptions): AsyncGenerator<OuterTiming[]> {
  const { peers, rounds, log } = options;
  const engines = options.engines.includes('native') ? ['native'] : options.engines.slice(0, 1);
  for (const [index, { name, jax }] of OUTER_CASES.entries()) {
    log(`outer iterations of ${name}`);
    const timings: OuterTiming[] = [];
    const ours = engines.map((engine) => new EngineProcess(engine));
    const theirs: JaxCandidate[] = [];
    for (const [peer, work] of peers.jax ? Object.entries(jax) : []) {
      const missing = programMissing(work);
      if (missing === undefined) theirs.push(new JaxCandidate(peer, work));
      else log(`  ${peer}: left out, ${missing}`);
    }
    try {
      for (const engine of ours) await engine.ask('openOuter', { engine: engine.engine, case: index });
      for (const peer of theirs) {
        log(`  ${peer.name}: ${await peer.check()}`);
        await peer.start();
      }
      const names = [...ours.map(({ engine }) => engine), ...theirs.map((peer) => peer.name)];
      const seconds = names.map((): number[] => []);
      const shares = ours.map((): number[] => []);
      // The first round is not counted: it is where code is compiled late.
      for (let round = -1; round < rounds; round++) {
        for (const [i, engine] of ours.entries()) {
          const { secondsPerIteration, inWindows } = await engine.ask('roundOuter', {});
          if (round < 0) continue;
          seconds[i].push(secondsPerIteration);
          shares[i].push(inWindows);
        }
        for (const [i, peer] of theirs.entries()) {
          const secondsPerIteration = await peer.round();
          if (round >= 0) seconds[ours.length + i].push(secondsPerIteration);
        }
      }
      names.forEach((candidate, i) => {
        timings.push({
          case: 'outer',
          problem: name,
          candidate,
          iterationsPerSecond: 1 / median(seconds[i]),
          fasterThan: ratiosTo(i, names, seconds),
          ...(i < ours.length && { inWindows: median(shares[i]) }),
          rounds: seconds[i],
        });
      });
    } finally {
      for (const one of [...ours, ...theirs]) one.close();
    }
    yield timings;
  }
}

/** Compiling the main case: with nothing kept, with what another process has kept, and loading alone; JAX's beside it. */
export async function timeCompile({ engines, peers, rounds, log }: HarnessOptions): Promise<CompileTiming[]> {
  const timings: CompileTiming[] = [];
  const first: number[] = [];
  const again: number[] = [];
  const load: number[] = [];
  const jax: number[] = [];
  log('compile times of mnist-window');
  for (let round = 0; round < Math.min(rounds, 5); round++) {
    if (engines.includes('native')) {
      const cache = mkdtempSync(join(tmpdir(), 'outerloop-bench-cache-'));
      try {
        const open = async (running: EngineProcess): Promise<number> =>
          (await running.ask('open', { engine: 'native', case: MAIN_CASE })).compileSeconds;
        first.push(await inProcess('native', open, { OUTERLOOP_CACHE: cache }));
        again.push(await inProcess('native', open, { OUTERLOOP_CACHE: cache }));
        const loaded = await inProcess('native', (running) => running.ask('load', {}), { OUTERLOOP_CACHE: cache });
        load.push(loaded.seconds);
      } finally {
        rmSync(cache, { recursive: true, force: true });
      }
    }
    if (peers.jax) {
      const peer = new JaxCandidate('jax', WINDOW_CASES[MAIN_CASE].jax);
      try {
        await peer.check();
        jax.push((await peer.start()).compileSeconds ?? NaN);
      } finally {
        peer.close();
      }
    }
  }
  if (first.length > 0) {
    timings.push({
      case: 'compile',
      candidate: 'native',
      first: median(first),
      again: median(again),
      load: median(load),
    });
  }
  if (jax.length > 0) timings.push({ case: 'compile', candidate: 'jax', first: median(jax) });
  return timings;
}

/** Curves of the native engine, or of the first of those that were asked for; the points take turns. */
export async function timeCurves({ engines, rounds, log }: HarnessOptions): Promise<CurveTiming[]> {
  const engine = engines.find((one) => one === 'native') ?? engines.at(0);
  if (engine === undefined) return [];
  const timings: CurveTiming[] = [];
  for (const { against, points } of CURVES) {
    log(`curves, cost of an inner step against ${against} on ${engine}`);
    await inProcess(engine, async (running) => {
      await running.ask('openCurve', { engine, points });
      const seconds = points.map((): number[] => []);
      for (let round = 0; round < rounds; round++) {
        for (const i of points.keys()) {
          seconds[i].push((await running.ask('roundCurve', { point: i })).secondsPerStep);
        }
      }
      points.forEach((point, i) => {
        timings.push({
          case: 'curves',
          candidate: engine,
          against,
          point,
          microsecondsPerStep: 1e6 * median(seconds[i]),
        });
      });
    });
  }
  return timings;
}

/** Rows of all overhead cases for the TensorFlow.js engines. */
export async function timeOverhead({ engines, rounds, log }: HarnessOptions): Promise<OverheadTiming[]> {
  const timings: OverheadTiming[] = [];
  for (const [index, { name, particles, window }] of OVERHEAD_CASES.entries()) {
    for (const engine of engines.filter((one) => one.startsWith('tfjs'))) {
      log(`tfjs-overhead, ${name} on ${engine}`);
      const shares = await inProcess(engine, (running) => running.ask('overhead', { engine, case: index, rounds }));
      timings.push({ case: 'tfjs-overhead', problem: name, engine, particles, window, ...shares });
    }
  }
  return timings;
}

export async function timeProductForms({ engines, log }: HarnessOptions): Promise<FormsTiming[]> {
  const timings: FormsTiming[] = [];
  for (const engine of engines.filter((one) => one.startsWith('tfjs'))) {
    log(`tfjs-forms on ${engine}`);
    const { timings: forms } = await inProcess(engine, (running) => running.ask('forms', { engine }));
    timings.push(...forms.map((form) => ({ case: 'tfjs-forms' as const, engine, ...form })));
  }
  return timings;
}

/** Updates of learned optimizers on the tfjs engines' backends, each in a process of its own; the processes take turns. */
export async function timeFit({ engines, rounds, log }: HarnessOptions): Promise<FitTiming[]> {
  const timings: FitTiming[] = [];
  for (const [index, { name: optimizer }] of FIT_CASES.entries()) {
    log(`an update by ${optimizer} within model.fit`);
    const { losses } = await inProcess('reference', (running) => running.ask('expectFit', { case: index }));
    const running = engines.filter((one) => one.startsWith('tfjs')).map((engine) => new EngineProcess(engine));
    try {
      const checks: string[] = [];
      for (const one of running) {
        checks.push((await one.ask('openFit', { engine: one.engine, case: index, losses })).check);
        log(`  ${one.engine}: ${checks[checks.length - 1]}`);
      }
      const results = running.map((): FitRound[] => []);
      // The first round is not counted: it is where code is compiled late.
      for (let round = -1; round < rounds; round++) {
        for (const [i, one] of running.entries()) {
          const result = await one.ask('roundFit', {});
          if (round >= 0) results[i].push(result);
        }
      }
      running.forEach(({ engine }, i) => {
        timings.push({
          case: 'fit',
          optimizer,
          engine,
          gradientSeconds: median(results[i].map(({ gradients }) => gradients)),
          updateSeconds: median(results[i].map(({ update }) => update)),
          ratio: median(results[i].map(({ gradients, update }) => update / gradients)),
          rounds: results[i],
          check: checks[i],
        });
      });
    } finally {
      for (const one of running) one.close();
    }
  }
  return timings;
}
