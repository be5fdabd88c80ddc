/**
 * A process that holds one engine and one case, so that peak memory is that of both and nothing else, and so that
 * engines can take turns without sharing a heap.
 */
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import type { UnrollEngine, UnrollProgram } from '../src/contracts';
import { createEngine } from '../src/engines';
import { OVERHEAD_CASES, WINDOW_CASES, type BenchCase } from './cases';
import { GRADIENT_CASES } from './cases/gradient';
import { OUTER_CASES } from './cases/outer';
import { loadKept } from './compiled';
import { CurveRounds } from './curves';
import { expectedFitLosses, FitRounds } from './fit';
import { timeForms } from './forms';
import { GradientWindows } from './gradient-windows';
import { OuterRounds } from './outer';
import { measureOverhead } from './overhead';
import type { Answers, EngineRequest, Reply, Request } from './protocol';
import { Windows } from './windows';

/**
 * Most bytes that this process has had in memory. `resourceUsage().maxRSS` counts the parent's memory at the fork, the
 * kernel's own high-water mark of this address space does not.
 */
function peakBytes(): number {
  if (process.platform === 'linux') {
    const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (line !== null) return Number(line[1]) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}

async function openEngine({ engine, threads }: EngineRequest): Promise<UnrollEngine> {
  return (await createEngine(engine, undefined, threads === undefined ? {} : { threads })).engine;
}

class Worker {
  private benchCase: BenchCase | undefined;
  private program: UnrollProgram | undefined;
  private windows: Windows | undefined;
  private outer: OuterRounds | undefined;
  private gradient: GradientWindows | undefined;
  private curves: CurveRounds | undefined;
  private fit: FitRounds | undefined;

  async answer({ name, body }: Request): Promise<Answers[keyof Answers]> {
    switch (name) {
      case 'open':
        return this.open(body, body.case);
      case 'check': {
        const { check } = this.opened().benchCase;
        const windows = await Windows.start(this.opened().program, this.opened().benchCase, check.particles);
        const { result } = await windows.advance(check.steps);
        return { lossSum: [...result.lossSum], lastLoss: [...result.lastLoss] };
      }
      case 'start': {
        const { program, benchCase } = this.opened();
        this.windows = await Windows.start(program, benchCase, benchCase.particles);
        // Plans, packed weights and compiled code of the host's loops; then the estimate.
        const steps = Math.min(benchCase.window, 2);
        await this.windows.advance(steps);
        const { seconds } = await this.windows.advance(steps);
        await warmUp(this.windows, benchCase);
        return { seconds: (seconds * benchCase.window * benchCase.windows) / steps };
      }
      case 'round': {
        const { benchCase } = this.opened();
        const { seconds } = await started(this.windows).advance(benchCase.window, benchCase.windows);
        return { seconds };
      }
      case 'peak':
        return { bytes: peakBytes() };
      case 'openOuter':
        this.outer = await OuterRounds.start(OUTER_CASES[body.case], await openEngine(body));
        return { engine: body.engine };
      case 'roundOuter':
        return started(this.outer).round();
      case 'openGradient':
        this.gradient = await GradientWindows.open(body, GRADIENT_CASES[body.case]);
        return this.gradient.memory();
      case 'checkGradient':
        return started(this.gradient).check();
      case 'startGradient':
        return { seconds: await started(this.gradient).estimate() };
      case 'roundGradient':
        return { seconds: await started(this.gradient).round() };
      case 'openCurve':
        this.curves = await CurveRounds.start(await openEngine(body), body.points);
        return { engine: body.engine };
      case 'roundCurve':
        return { secondsPerStep: await started(this.curves).round(body.point) };
      case 'load':
        return { seconds: await loadKept() };
      case 'overhead':
        return measureOverhead(OVERHEAD_CASES[body.case], body.engine, body.rounds);
      case 'forms':
        return { timings: await timeForms(body.engine) };
      case 'expectFit':
        return { losses: await expectedFitLosses(body.case) };
      case 'openFit':
        this.fit = await FitRounds.start(body.engine, body.case);
        return { check: this.fit.check(body.losses) };
      case 'roundFit':
        return started(this.fit).round();
    }
  }

  private async open(request: EngineRequest, index: number): Promise<Answers['open']> {
    this.benchCase = WINDOW_CASES[index];
    const problem = await this.benchCase.problem();
    const engine = await openEngine(request);
    const start = performance.now();
    this.program = await engine.compile(problem);
    return { engine: engine.name, compileSeconds: (performance.now() - start) / 1000 };
  }

  private opened(): { readonly program: UnrollProgram; readonly benchCase: BenchCase } {
    return { program: started(this.program), benchCase: started(this.benchCase) };
  }
}

/** Seconds that rounds of tiny windows run before the first that counts: JavaScript between them is compiled late. */
const WARM_UP = 1.5;

async function warmUp(windows: Windows, { window, windows: count }: BenchCase): Promise<void> {
  if (count === 1) return;
  for (let spent = 0; spent < WARM_UP;) spent += (await windows.advance(window, count)).seconds;
}

function started<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('asked before it was opened');
  return value;
}

// Without checks for NaN and the advertisement for tfjs-node.
tf.enableProdMode();
const worker = new Worker();
process.on('message', (request: Request) => {
  const send = (reply: Reply): void => {
    process.send?.(reply);
  };
  worker.answer(request).then(
    (body) => send({ ok: true, body }),
    (error: unknown) => send({ ok: false, error: error instanceof Error ? error.message : String(error) }),
  );
});
