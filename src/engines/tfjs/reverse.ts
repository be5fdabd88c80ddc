/** Programs whose windows go back: memory planned when they are compiled, particles in groups that fit into it. */
import {
  EngineError,
  type DerivativePopulation,
  type DerivativeProgram,
  type DerivativeResult,
  type Differentiation,
  type PopulationOptions,
  type ReverseMemory,
  type ThetaLayout,
  type UnrolledProblem,
} from '../../contracts';
import type { ReverseProblem } from '../../graph/derive';
import { sizeOf } from '../../graph/ir';
import { checkSignal } from '../shared/cancel';
import { checkReverseSteps } from '../shared/particles';
import type { Drawer } from '../shared/draws';
import { refuseRuns } from '../shared/runs';
import { planReverse, reverseSchedule, type ReverseDemand, type ReversePlan } from '../shared/reverse-plan';
import type { DataId } from './device';
import { TfjsPopulation, type Members, type Ran, type WindowRequest } from './population';
import type { GraphName, TfjsProgram } from './program';
import { ReverseWindow, type ReverseRun, type ReverseRuns } from './reverse-window';

export type Reverse = Extract<Differentiation, { readonly mode: 'reverse' }>;

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** What a window of `particles` particles takes, beside what the population and the program hold anyway. */
function demandOf(program: TfjsProgram, floats: readonly number[], steps: number, particles: number): Demand {
  const { traced, theta, device, metrics } = program;
  const measured = (name: GraphName) => {
    const plan = program.makePlan(name, particles);
    return { plan, stepBytes: plan.peakBytes - plan.standingBytes, standingBytes: plan.standingBytes };
  };
  const [step, record, backFrom] = [measured('step'), measured('record'), measured('backFrom')];
  const made = record.plan.outputBytes();
  const leaves = traced.state.length;
  const stateBytes = sum(made.slice(0, leaves));
  const residualBytes = sum(made.slice(leaves + 1 + metrics.length));
  const cotangentBytes = 4 * particles * sum(floats.map((leaf) => sizeOf(traced.state[leaf].type.shape)));
  const thetaBytes = 4 * particles * theta.size;
  const start = program.has('start') ? measured('start').plan.peakBytes + cotangentBytes : 0;
  const atWork = Math.max(
    // What a recorded step leaves is counted with states and tapes.
    record.stepBytes - stateBytes - residualBytes,
    // With t and the loss's cotangent.
    backFrom.stepBytes + cotangentBytes + 8 * particles,
    // Through initState all tapes and all states but one are gone.
    start - residualBytes,
  );
  const sums = device.memory === undefined ? thetaBytes : 0;
  const scalars = 4 * particles * steps * (1 + metrics.length);
  const standing = step.standingBytes + record.standingBytes + backFrom.standingBytes;
  return { stateBytes, residualBytes, workingBytes: standing + thetaBytes + sums + scalars + atWork };
}

type Demand = Required<Pick<ReverseDemand, 'stateBytes' | 'residualBytes' | 'workingBytes'>>;

function bytesOf({ states, tapes }: ReversePlan, { stateBytes, residualBytes, workingBytes }: Demand): number {
  return states * stateBytes + tapes * residualBytes + workingBytes;
}

/**
 * What one particle's window keeps, and how many particles run at a time.
 * @throws ConfigurationError if not even one fits
 */
function planMemory(
  program: TfjsProgram,
  floats: readonly number[],
  steps: number,
  limit: number,
): { readonly plan: ReversePlan; readonly memory: ReverseMemory } {
  const [one, two] = [1, 2].map((particles) => demandOf(program, floats, steps, particles));
  // A state that is kept is a reference more, and so is the second working state: the step after it makes the array.
  const plan = planReverse({ ...one, steps, againBytes: 0, limit });
  const first = bytesOf(plan, one);
  const more = bytesOf(plan, two) - first;
  const fit = 1 + Math.floor((limit - first) / Math.max(1, more));
  const names = ['init', 'step', 'record', 'backFrom', 'start'] as const;
  const atOnce = Math.min(fit, ...names.filter((name) => program.has(name)).map((name) => program.groupSize(name)));
  const bytes = Math.ceil((first + (atOnce - 1) * more) / atOnce);
  return { plan, memory: { keeps: plan.keeps, bytes, atOnce } };
}

export class TfjsReverseProgram implements DerivativeProgram {
  readonly engine: string;
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  readonly metrics: readonly string[];
  readonly finishes: readonly string[];
  readonly derivatives: number;
  readonly reverse: ReverseMemory;
  private readonly plan: ReversePlan;

  /**
   * @param inner the problem with its reverse graphs, taken over
   * @param limit bytes that a window may hold beside the states of the population
   * @throws ConfigurationError if the window of one particle needs more
   */
  constructor(
    private readonly inner: TfjsProgram,
    private readonly floats: ReverseProblem['floats'],
    readonly differentiation: Reverse,
    limit: number,
  ) {
    this.engine = inner.engine;
    this.problem = inner.problem;
    this.theta = inner.theta;
    this.metrics = inner.metrics;
    this.finishes = inner.finishes;
    this.derivatives = inner.theta.size;
    ({ plan: this.plan, memory: this.reverse } = planMemory(inner, floats, differentiation.steps, limit));
  }

  createPopulation(options: PopulationOptions): Promise<DerivativePopulation> {
    const { inner, floats, differentiation, plan } = this;
    const { size, seed } = options;
    const window = { floats, differentiation, plan };
    return Promise.resolve().then(() => {
      refuseRuns(this.engine, options);
      return new TfjsReversePopulation(inner, { size, seed, atOnce: this.reverse.atOnce }, window);
    });
  }

  dispose(): Promise<void> {
    return this.inner.dispose();
  }
}

interface WindowPlan {
  readonly floats: readonly number[];
  readonly differentiation: Reverse;
  readonly plan: ReversePlan;
}

class TfjsReversePopulation extends TfjsPopulation implements DerivativePopulation {
  constructor(
    program: TfjsProgram,
    { size, seed, atOnce }: { readonly size: number; readonly seed: number; readonly atOnce: number },
    private readonly reverse: WindowPlan,
  ) {
    super(program, size, seed, atOnce);
  }

  differentiate(request: WindowRequest): Promise<DerivativeResult> {
    return this.program.sequence.run(async () => {
      const { differentiation } = this.reverse;
      checkReverseSteps(differentiation, request.steps, this.table.t, request.particles);
      const width = this.program.theta.size;
      const result = await this.window('differentiate', request, width, (...given) => this.runReverse(...given));
      if (result.derivatives === undefined) throw new EngineError('differentiate: θ has no numbers.');
      return { ...result, derivatives: result.derivatives };
    });
  }

  private async runReverse(
    members: Members,
    { particles, steps, signal }: WindowRequest,
    thetas: Float64Array,
  ): Promise<Ran> {
    const { positions } = members;
    const { program } = this;
    const { drawer, t } = this.drawer(particles, positions);
    const [step, record, backFrom] = (['step', 'record', 'backFrom'] as const).map((name) =>
      program.plan(name, positions.length),
    );
    const given = this.writeTheta(thetas, positions);
    try {
      for (const plan of [step, record, backFrom]) plan.begin(given, drawer);
      const runs = {
        step: (inputs: readonly DataId[]) => step.step(inputs),
        record: (inputs: readonly DataId[]) => record.step(inputs),
        backFrom: (inputs: readonly DataId[]) => backFrom.step(inputs),
        ...(this.reverse.differentiation.start === true && program.has('start')
          ? { start: (cotangent: readonly DataId[]) => this.runStart(given, positions.length, drawer, cotangent) }
          : {}),
      };
      const window = this.open(members, t, steps, runs);
      const { state, scalars, gradient } = await window.run(
        reverseSchedule(this.reverse.plan, steps),
        async (instruction) => {
          checkSignal(signal, 'differentiate', progress(instruction, steps));
          await this.breather.breathe();
        },
      );
      return { state: [...state], scalars: await this.readAll(scalars), derivatives: await gradient.take() };
    } finally {
      for (const plan of [step, record, backFrom]) plan.end();
      this.release(given);
    }
  }

  private open(members: Members, t: Int32Array, steps: number, runs: ReverseRuns): ReverseWindow {
    const { program, leaves } = this;
    const { floats, differentiation } = this.reverse;
    const { group, positions, rows } = members;
    const mean = differentiation.windowLoss === 'mean';
    const state = this.isWhole(members) ? group.state! : this.take(group, rows);
    const window = new ReverseWindow(
      program.device,
      runs,
      {
        particles: positions.length,
        state: leaves,
        floats,
        theta: program.theta.leaves.map(({ shape }) => shape),
        scalars: 1 + program.metrics.length,
        weights: Float32Array.from({ length: steps }, (_, at) => (mean ? 1 / steps : at === steps - 1 ? 1 : 0)),
      },
      state,
      t,
    );
    if (state !== group.state) this.release(state);
    return window;
  }

  /** θ's shares through initState. */
  private runStart(
    given: readonly DataId[],
    particles: number,
    drawer: Drawer,
    cotangent: readonly DataId[],
  ): DataId[] {
    const plan = this.program.plan('start', particles);
    try {
      plan.begin(given, drawer);
      return plan.step(cotangent);
    } finally {
      plan.end();
    }
  }
}

function progress(instruction: ReverseRun, steps: number): string {
  return instruction.op !== 'back' && instruction.counted
    ? `after ${instruction.t} of ${steps} inner steps`
    : `after ${steps} of ${steps} inner steps, on the way back`;
}
