/** Windows of a gradient case on one of our engines, in a process of its own. */
import type { ReverseMemory } from '../../src/contracts';
import { GRADIENT_CASES } from '../cases/gradient';
import { directionOf } from '../gradient-windows';
import type { Answers, GradientKind } from '../protocol';
import type { Candidate, Readiness } from './candidate';
import { EngineProcess, inProcess, worseOf } from './engine-process';

/** Losses and gradients of the check's window by the float64 reference engine. */
export function expectedGradients(index: number): Promise<Answers['checkGradient']> {
  return inProcess('reference', async (reference) => {
    const { particles } = GRADIENT_CASES[index].check;
    await reference.ask('openGradient', {
      ...{ engine: 'reference', kind: 'reverse', particles, grown: false, case: index },
    });
    return reference.ask('checkGradient', {});
  });
}

/** Largest deviation of a loss, relative to its size, and of a particle's derivatives, relative to its gradient's norm. */
export function gradientDeviation(
  got: Answers['checkGradient'],
  expected: Answers['checkGradient'],
  kind: GradientKind,
): { readonly loss: number; readonly gradient: number } {
  const particles = expected.lossSum.length;
  const size = expected.derivatives.length / particles;
  const direction = directionOf(size);
  const worst = { loss: 0, gradient: 0 };
  const note = (what: keyof typeof worst, found: number): void => {
    worst[what] = worseOf(worst[what], found);
  };
  for (let p = 0; p < particles; p++) {
    for (const which of ['lossSum', 'lastLoss'] as const) {
      note('loss', Math.abs(got[which][p] - expected[which][p]) / Math.abs(expected[which][p]));
    }
    if (kind === 'forward') continue;
    const gradient = expected.derivatives.slice(p * size, (p + 1) * size);
    const norm = Math.hypot(...gradient);
    if (kind === 'tangent') {
      const along = gradient.reduce((sum, value, i) => sum + value * direction[i], 0);
      note('gradient', Math.abs(got.derivatives[p] - along) / norm);
    } else {
      note('gradient', Math.hypot(...gradient.map((value, i) => got.derivatives[p * size + i] - value)) / norm);
    }
  }
  return worst;
}

export class GradientCandidate implements Candidate {
  private readonly process: EngineProcess;
  /** What its windows keep, as stated, and what they took, as measured; absent where it is not said. */
  reverse: ReverseMemory | undefined;
  grownBytes: number | undefined;

  constructor(
    readonly name: string,
    private readonly engine: string,
    private readonly kind: GradientKind,
    private readonly index: number,
    private readonly expected: Answers['checkGradient'],
  ) {
    this.process = new EngineProcess(engine);
  }

  async check(): Promise<string> {
    const { particles, check } = GRADIENT_CASES[this.index];
    const { engine, kind } = this;
    const grown = engine === 'native';
    const opened = await this.process.ask('openGradient', { engine, kind, particles, grown, case: this.index });
    this.reverse = opened.reverse;
    this.grownBytes = opened.grownBytes;
    const { loss, gradient } = gradientDeviation(await this.process.ask('checkGradient', {}), this.expected, kind);
    const what =
      `${check.steps} steps of ${check.particles} particles differ from float64 by ${loss.toExponential(1)}` +
      (kind === 'forward' ? '' : `, their derivatives by ${gradient.toExponential(1)} of the gradient's norm`);
    if (!(loss <= check.tolerance && gradient <= check.tolerance)) {
      throw new Error(`${what}; at most ${check.tolerance} is right`);
    }
    return what;
  }

  start(): Promise<Readiness> {
    return this.process.ask('startGradient', {});
  }

  async round(): Promise<number> {
    return (await this.process.ask('roundGradient', {})).seconds;
  }

  async peak(): Promise<number> {
    return (await this.process.ask('peak', {})).bytes;
  }

  close(): void {
    this.process.close();
  }
}
