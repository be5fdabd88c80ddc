/** What the process of one engine does for a gradient case: windows of one kind, all particles at one θ. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  treeFlatten,
  type DerivativePopulation,
  type DerivativeProgram,
  type Differentiation,
  type Population,
  type ReverseMemory,
  type UnrolledProblem,
  type UnrollProgram,
  type WindowResult,
} from '../src/contracts';
import { createEngine } from '../src/engines';
import { EagerRandom, seedKey } from '../src/random';
import type { GradientCase } from './cases/gradient';
import type { Answers, GradientKind, GradientRequest } from './protocol';

const SEED = 1;

/** Milliseconds after a garbage collection until freed pages are the system's again. */
const SETTLING = 500;

/** Fixed numbers of about one size, and of length one in all. */
export function directionOf(size: number): Float64Array {
  const numbers = Float64Array.from({ length: size }, (_, i) => Math.cos(1 + i * i));
  const length = Math.hypot(...numbers);
  return numbers.map((value) => value / length);
}

/** The kernel's count of this process's bytes in memory; undefined where it has none. */
function statusBytes(field: 'VmRSS' | 'VmHWM'): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return line === null ? undefined : Number(line[1]) * 1024;
}

/** By how much this process grows at most while something runs; undefined where the system does not say. */
async function growth(run: () => Promise<unknown>): Promise<number | undefined> {
  // What compiling has left would otherwise be given back while the window runs.
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  await setTimeout(SETTLING);
  try {
    // Resets the high-water mark to what is in memory now.
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    return undefined;
  }
  const before = statusBytes('VmRSS');
  await run();
  const after = statusBytes('VmHWM');
  return before === undefined || after === undefined ? undefined : after - before;
}

function differentiationOf(kind: Exclude<GradientKind, 'forward'>, steps: number): Differentiation {
  if (kind === 'tangent') return { mode: 'tangent', directions: 1 };
  return { mode: 'reverse', steps, windowLoss: 'mean' };
}

interface Opened {
  readonly forward: UnrollProgram;
  /** Absent where windows are only run forward. */
  readonly derivative?: DerivativeProgram;
}

async function compile(
  { engine, kind }: GradientRequest,
  { window }: GradientCase,
  problem: UnrolledProblem,
  memoryBytes?: number,
): Promise<Opened> {
  const limits = memoryBytes === undefined ? {} : { memoryBytes };
  const forward = await (await createEngine(engine, undefined, limits)).engine.compile(problem);
  if (kind === 'forward') return { forward };
  return { forward, derivative: await forward.differentiate(differentiationOf(kind, window)) };
}

/** Bytes in which a window just cannot keep everything; native engines have half of theirs for reverse windows. */
const tooFew = ({ bytes, atOnce }: ReverseMemory): number => 2 * atOnce * (bytes - 1);

/** A population at θ that is advanced window by window, reset (untimed) where its episode ends. */
class Particles {
  private episode = 0;

  private constructor(
    private readonly population: Population,
    /** The same, of programs that give derivatives. */
    private readonly derivatives: DerivativePopulation | undefined,
    private readonly kind: GradientKind,
    private readonly theta: Float64Array,
    private readonly horizon: number,
  ) {}

  static async start({ forward, derivative }: Opened, kind: GradientKind, size: number): Promise<Particles> {
    const derivatives = await derivative?.createPopulation({ size, seed: SEED });
    const population = derivatives ?? (await forward.createPopulation({ size, seed: SEED }));
    const theta = new Float64Array(forward.theta.size);
    const leaves = treeFlatten(forward.problem.initTheta(new EagerRandom(seedKey(SEED))));
    for (const [i, leaf] of leaves.entries()) {
      theta.set(await leaf.data(), forward.theta.leaves[i].offset);
      leaf.dispose();
    }
    const particles = new Particles(population, derivatives, kind, theta, forward.problem.horizon);
    await particles.reset();
    return particles;
  }

  async advance(steps: number): Promise<{ readonly seconds: number; readonly result: WindowResult }> {
    if (this.population.phases()[0] + steps > this.horizon) await this.reset();
    const request = { ...this.request(), steps };
    const start = performance.now();
    const result: WindowResult = await (this.derivatives?.differentiate(request) ?? this.population.advance(request));
    const seconds = (performance.now() - start) / 1000;
    const { lossSum, derivatives = [] } = result;
    if (![...lossSum, ...derivatives].every(Number.isFinite)) throw new Error('a loss or a derivative is no number');
    return { seconds, result };
  }

  dispose(): Promise<void> {
    return this.population.dispose();
  }

  private reset(): Promise<void> {
    const { size } = this.population;
    const episodes = new Int32Array(size).fill(this.episode++);
    const request = this.request();
    return this.population.reset({ ...request, workers: request.particles, episodes });
  }

  private request() {
    const { size } = this.population;
    const particles = Int32Array.from({ length: size }, (_, i) => i);
    const perturbation = { form: 'none', theta: this.theta } as const;
    if (this.kind !== 'tangent') return { particles, perturbation };
    const direction = directionOf(this.theta.length);
    const directions = Float64Array.from(
      { length: size * direction.length },
      (_, i) => direction[i % direction.length],
    );
    return { particles, perturbation, directions };
  }
}

export class GradientWindows {
  private constructor(
    private readonly gradientCase: GradientCase,
    private readonly kind: GradientKind,
    private readonly opened: Opened,
    private readonly particles: Particles,
    private readonly grownBytes: number | undefined,
  ) {}

  static async open(request: GradientRequest, gradientCase: GradientCase): Promise<GradientWindows> {
    const problem = await gradientCase.problem();
    const { kind } = request;
    let opened = await compile(request, gradientCase, problem);
    if (kind === 'recomputing') {
      const memory = opened.derivative?.reverse;
      if (memory?.keeps !== 'everything') throw new Error(`nothing to recompute: it keeps ${String(memory?.keeps)}`);
      opened = await compile(request, gradientCase, problem, tooFew(memory));
    }
    const particles = await Particles.start(opened, kind, request.particles);
    // Before any other window: engines keep the memory that one has needed.
    const { reverse } = opened.derivative ?? {};
    const first = (): Promise<unknown> => particles.advance(gradientCase.window);
    const grown = request.grown && reverse !== undefined ? await growth(first) : undefined;
    return new GradientWindows(gradientCase, kind, opened, particles, grown);
  }

  memory(): Answers['openGradient'] {
    const { reverse } = this.opened.derivative ?? {};
    return {
      ...(reverse === undefined ? {} : { reverse }),
      ...(this.grownBytes === undefined ? {} : { grownBytes: this.grownBytes }),
    };
  }

  async check(): Promise<Answers['checkGradient']> {
    const { check } = this.gradientCase;
    const particles = await Particles.start(this.opened, this.kind, check.particles);
    const { result } = await particles.advance(check.steps);
    await particles.dispose();
    return {
      lossSum: [...result.lossSum],
      lastLoss: [...result.lastLoss],
      derivatives: [...(result.derivatives ?? [])],
    };
  }

  /** Seconds that a round will take, from two steps. */
  async estimate(): Promise<number> {
    const { window } = this.gradientCase;
    await this.particles.advance(2);
    return ((await this.particles.advance(2)).seconds * window) / 2;
  }

  async round(): Promise<number> {
    return (await this.particles.advance(this.gradientCase.window)).seconds;
  }
}
