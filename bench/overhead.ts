/**
 * Where the time of a tfjs window goes: inside the backend's kernels, inside the engine's own loops that stand in for a
 * kernel, inside the draws, and the rest, which is overhead: scheduling, allocation, views, θ's noise, reading losses.
 */
import * as tf from '@tensorflow/tfjs';
import { createEngine } from '../src/engines';
import { Lowering } from '../src/engines/tfjs/lowering';
import type { BenchCase } from './cases';
import { Windows } from './windows';

export interface OverheadBreakdown {
  /** Shares of a window's time; they sum to 1. */
  readonly kernels: number;
  readonly hostLoops: number;
  readonly draws: number;
  readonly overhead: number;
  /** Median seconds of a window. */
  readonly seconds: number;
}

/** Time by kind; of nested calls only the outermost counts. */
class Clock {
  readonly seconds = { kernels: 0, hostLoops: 0, draws: 0 };
  private inside = false;

  timed<A extends unknown[], R>(kind: keyof Clock['seconds'], f: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      if (this.inside) return f(...args);
      this.inside = true;
      const start = performance.now();
      try {
        return f(...args);
      } finally {
        this.seconds[kind] += (performance.now() - start) / 1000;
        this.inside = false;
      }
    };
  }
}

/** What of the wasm backend is replaced to time the products over views, which call the kernel's C function directly. */
interface WasmBackend {
  readonly wasm?: { cwrap: (...parameters: unknown[]) => (...parameters: unknown[]) => unknown };
}

/** Times every kernel of the backend from now on; the process does nothing else afterwards. */
function instrumentKernels(clock: Clock, backendName: string): void {
  for (const config of tf.getKernelsForBackend(backendName)) {
    config.kernelFunc = clock.timed('kernels', config.kernelFunc);
  }
  const { wasm } = tf.findBackend(backendName) as unknown as WasmBackend;
  if (wasm === undefined) return;
  const cwrap = wasm.cwrap.bind(wasm);
  wasm.cwrap = (...parameters) => clock.timed('kernels', cwrap(...parameters));
}

function instrumentLowering(clock: Clock): void {
  const host = Reflect.get(Lowering.prototype, 'host');
  Lowering.prototype.host = function (this: Lowering, label, inputs, result, loop) {
    return host.call(this, label, inputs, result, clock.timed('hostLoops', loop));
  };
  const feed = Reflect.get(Lowering.prototype, 'feed');
  Lowering.prototype.feed = function (this: Lowering, label, stage, result, fill) {
    return feed.call(this, label, stage, result, clock.timed('draws', fill));
  };
}

/** Runs in a process of its own: it instruments TensorFlow.js and the engine. The engine is opened anew, instrumented. */
export async function measureOverhead(
  benchCase: BenchCase,
  engineName: string,
  rounds: number,
): Promise<OverheadBreakdown> {
  const clock = new Clock();
  // Opening loads the backend; what it compiled is thrown away.
  const { engine: first } = await createEngine(engineName);
  const { device } = first as unknown as { readonly device: { readonly backendName: string } };
  instrumentKernels(clock, device.backendName);
  instrumentLowering(clock);
  const { engine } = await createEngine(engineName);
  const program = await engine.compile(await benchCase.problem());
  const windows = await Windows.start(program, benchCase, benchCase.particles);
  await windows.advance(benchCase.window);
  for (const kind of ['kernels', 'hostLoops', 'draws'] as const) clock.seconds[kind] = 0;
  const seconds: number[] = [];
  for (let round = 0; round < rounds; round++) seconds.push((await windows.advance(benchCase.window)).seconds);
  const total = seconds.reduce((a, b) => a + b, 0);
  const kernels = clock.seconds.kernels / total;
  const hostLoops = clock.seconds.hostLoops / total;
  const draws = clock.seconds.draws / total;
  seconds.sort((a, b) => a - b);
  return { kernels, hostLoops, draws, overhead: 1 - kernels - hostLoops - draws, seconds: seconds[rounds >> 1] };
}
