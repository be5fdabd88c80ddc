/**
 * A process that holds one engine and one case, so that peak memory is that of both and nothing else, and so that
 * engines can take turns without sharing a heap.
 */
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import type { UnrollProgram } from '../src/contracts';
import { createEngine } from '../src/engines';
import { OVERHEAD_CASES, WINDOW_CASES, type BenchCase } from './cases';
import { timeForms } from './forms';
import { measureOverhead } from './overhead';
import type { Answers, Reply, Request } from './protocol';
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

class Worker {
  private benchCase: BenchCase | undefined;
  private program: UnrollProgram | undefined;
  private windows: Windows | undefined;

  async answer({ name, body }: Request): Promise<Answers[keyof Answers]> {
    switch (name) {
      case 'open':
        return this.open(body.engine, body.case);
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
        return { secondsPerWindow: (seconds * benchCase.window) / steps };
      }
      case 'round': {
        if (this.windows === undefined) throw new Error('round before start');
        const { seconds } = await this.windows.advance(this.opened().benchCase.window);
        return { seconds };
      }
      case 'peak':
        return { bytes: peakBytes() };
      case 'overhead':
        return measureOverhead(OVERHEAD_CASES[body.case], body.engine, body.rounds);
      case 'forms':
        return { timings: await timeForms(body.engine) };
    }
  }

  private async open(name: string, index: number): Promise<Answers['open']> {
    this.benchCase = WINDOW_CASES[index];
    const { engine } = await createEngine(name);
    this.program = await engine.compile(await this.benchCase.problem());
    return { engine: engine.name };
  }

  private opened(): { readonly program: UnrollProgram; readonly benchCase: BenchCase } {
    if (this.program === undefined || this.benchCase === undefined) throw new Error('asked before open');
    return { program: this.program, benchCase: this.benchCase };
  }
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
