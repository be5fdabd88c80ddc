/** Correctness first, then interleaved rounds, each engine in a process of its own; medians. */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { OVERHEAD_CASES, WINDOW_CASES, type BenchCase } from './cases';
import type { FormTiming } from './forms';
import type { OverheadBreakdown } from './overhead';
import type { Answers, Reply, RequestName, Requests } from './protocol';

/** One line of `--json`. */
export interface WindowTiming {
  readonly case: string;
  readonly engine: string;
  readonly particles: number;
  readonly window: number;
  readonly particleStepsPerSecond: number;
  readonly gflops: number;
  readonly peakBytes: number;
}
export interface OverheadTiming extends OverheadBreakdown {
  readonly case: 'tfjs-overhead';
  readonly problem: string;
  readonly engine: string;
  readonly particles: number;
  readonly window: number;
}
export interface FormsTiming extends FormTiming {
  readonly case: 'tfjs-forms';
  readonly engine: string;
}
export type Timing = WindowTiming | OverheadTiming | FormsTiming;

/** An engine in a process of its own. */
class EngineProcess {
  private readonly child: ChildProcess = fork(join(__dirname, 'worker.ts'), {
    execArgv: ['-r', 'ts-node/register'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // TensorFlow logs its CPU features there.
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
  });

  constructor(readonly engine: string) {}

  ask<K extends RequestName>(name: K, body: Requests[K]): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      const settle = (reply: Reply): void => {
        this.child.off('exit', exited);
        if (reply.ok) resolve(reply.body as Answers[K]);
        else reject(new Error(`${this.engine}, ${name}: ${reply.error}`));
      };
      const exited = (code: number | null, signal: string | null): void => {
        this.child.off('message', settle);
        reject(new Error(`${this.engine}, ${name}: its process ended (${signal ?? `exit code ${code}`})`));
      };
      this.child.once('message', settle);
      this.child.once('exit', exited);
      this.child.send({ name, body });
    });
  }

  close(): void {
    this.child.disconnect();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function inProcess<T>(engine: string, use: (running: EngineProcess) => Promise<T>): Promise<T> {
  const running = new EngineProcess(engine);
  try {
    return await use(running);
  } finally {
    running.close();
  }
}

/** Largest deviation of the losses from the reference's, relative to the size of each. */
function deviation(got: Answers['check'], expected: Answers['check']): number {
  let worst = 0;
  for (const which of ['lossSum', 'lastLoss'] as const) {
    expected[which].forEach((value, i) => {
      worst = Math.max(worst, Math.abs(got[which][i] - value) / Math.abs(value));
    });
  }
  return worst;
}

export interface HarnessOptions {
  readonly engines: readonly string[];
  readonly rounds: number;
  /**
   * Seconds of timed windows after which an engine gets no further round of a case. One whose single window would take
   * twice as long is left out of it, which is logged.
   */
  readonly secondsPerEngine: number;
  readonly log: (line: string) => void;
}

/**
 * Rows of one case, an engine each.
 * @throws Error if an engine's window is not the reference's within the case's tolerance.
 */
export async function timeWindows(index: number, options: HarnessOptions): Promise<WindowTiming[]> {
  const benchCase: BenchCase = WINDOW_CASES[index];
  const { name, particles, window, flopsPerStep, check } = benchCase;
  const { engines, rounds, secondsPerEngine, log } = options;
  log(`${name}, ${particles} particles, W = ${window}`);
  const expected = await inProcess('reference', async (reference) => {
    await reference.ask('open', { engine: 'reference', case: index });
    return reference.ask('check', {});
  });

  const running = engines.map((engine) => new EngineProcess(engine));
  try {
    for (const engine of running) {
      await engine.ask('open', { engine: engine.engine, case: index });
      const found = deviation(await engine.ask('check', {}), expected);
      const what = `${check.steps} steps of ${check.particles} particles differ from float64 by ${found.toExponential(1)}`;
      if (!(found <= check.tolerance)) {
        throw new Error(`${name}, ${engine.engine}: ${what}; at most ${check.tolerance} is right. Nothing was timed.`);
      }
      log(`  ${engine.engine}: ${what}`);
    }
    const timed: EngineProcess[] = [];
    for (const engine of running) {
      const { secondsPerWindow } = await engine.ask('start', {});
      if (secondsPerWindow <= 2 * secondsPerEngine) timed.push(engine);
      else log(`  ${engine.engine}: left out, a window takes about ${Math.round(secondsPerWindow)} s (see --seconds)`);
    }
    const seconds = timed.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, engine] of timed.entries()) {
        const spent = seconds[i].reduce((a, b) => a + b, 0);
        if (round > 0 && spent > secondsPerEngine) continue;
        seconds[i].push((await engine.ask('round', {})).seconds);
      }
    }
    const timings: WindowTiming[] = [];
    for (const [i, engine] of timed.entries()) {
      const { bytes } = await engine.ask('peak', {});
      const particleStepsPerSecond = (particles * window) / median(seconds[i]);
      const gflops = (particleStepsPerSecond * flopsPerStep) / 1e9;
      log(`  ${engine.engine}: median of ${seconds[i].length}`);
      timings.push({
        case: name,
        engine: engine.engine,
        particles,
        window,
        particleStepsPerSecond,
        gflops,
        peakBytes: bytes,
      });
    }
    return timings;
  } finally {
    for (const engine of running) engine.close();
  }
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
