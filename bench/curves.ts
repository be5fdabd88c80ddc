/** Cost of an inner step against W, T, the number of windows done, and N. */
import type { UnrollEngine, UnrollProgram } from '../src/contracts';
import { curveProblem, MAIN_CASE, WINDOW_CASES } from './cases';
import type { CurvePoint } from './protocol';
import { Windows } from './windows';

export interface Curve {
  /** What changes along it. */
  readonly against: 'window' | 'horizon' | 'before' | 'particles';
  readonly points: readonly CurvePoint[];
}

const BASE: CurvePoint = { particles: 8, window: 10, horizon: 5000, before: 0, windows: 1 };

/** Steps of all points together are few enough for a minute at a thousand particle-steps a second. */
export const CURVES: readonly Curve[] = [
  {
    against: 'window',
    points: [1, 2, 5, 10, 20, 50, 100].map((window) => ({ ...BASE, window, windows: Math.max(1, 20 / window) })),
  },
  { against: 'horizon', points: [100, 1000, 10000, 100000].map((horizon) => ({ ...BASE, horizon, windows: 2 })) },
  { against: 'before', points: [0, 10, 30, 100].map((before) => ({ ...BASE, before, windows: 2 })) },
  { against: 'particles', points: [1, 2, 4, 8, 16, 32, 64].map((particles) => ({ ...BASE, particles })) },
];

/** A population a point, each at work. */
export class CurveRounds {
  private constructor(private readonly running: readonly { readonly point: CurvePoint; readonly windows: Windows }[]) {}

  static async start(engine: UnrollEngine, points: readonly CurvePoint[]): Promise<CurveRounds> {
    const programs = new Map<number, UnrollProgram>();
    const running = [];
    for (const point of points) {
      const program = programs.get(point.horizon) ?? (await engine.compile(await curveProblem(point.horizon)));
      programs.set(point.horizon, program);
      const windows = await Windows.start(program, WINDOW_CASES[MAIN_CASE], point.particles);
      await windows.advance(point.window);
      for (let done = 0; done < point.before; done++) await windows.advance(point.window);
      running.push({ point, windows });
    }
    return new CurveRounds(running);
  }

  /** Seconds of an inner step of one particle. */
  async round(index: number): Promise<number> {
    const { point, windows } = this.running[index];
    let seconds = 0;
    for (let i = 0; i < point.windows; i++) seconds += (await windows.advance(point.window)).seconds;
    return seconds / (point.windows * point.window * point.particles);
  }
}
