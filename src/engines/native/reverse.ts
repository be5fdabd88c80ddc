/** Reverse windows: what they keep, and the program that runs them. */
import type {
  DerivativePopulation,
  DerivativeProgram,
  Differentiation,
  PopulationOptions,
  ReverseMemory,
} from '../../contracts';
import { planReverse, reverseSchedule, type ReversePlan } from '../shared/reverse-plan';
import { machineBytes } from './memory';
import type { Limits, NativeUnrollProgram } from './program';
import { REVERSE_OPERATIONS, type Driver } from './render/request';

export type Reverse = Extract<Differentiation, { readonly mode: 'reverse' }>;

/** How the windows of a program go back. */
export interface NativeReverse {
  readonly differentiation: Reverse;
  readonly plan: ReversePlan;
  /** Bytes of a thread's memory. */
  readonly bytes: number;
  /** Particles that all threads have in hand. */
  readonly atOnce: number;
}

/**
 * Half of the memory is for the threads' reverse windows, the other half for the particles; fewer threads go back where
 * even the least that a window can keep does not fit for all of them.
 * @throws ConfigurationError if one thread's does not fit into all of the memory
 */
export function planNativeReverse(
  differentiation: Reverse,
  { reverse, lanes }: Driver,
  threads: number,
  { memoryBytes = machineBytes() }: Limits,
): NativeReverse {
  const { bytes: workingBytes, slot: stateBytes, tape: residualBytes } = reverse!;
  const { steps } = differentiation;
  // The second working state is part of what a thread works in.
  const demand = { steps, stateBytes, residualBytes, againBytes: 0, workingBytes };
  for (let used = threads; ; used--) {
    try {
      const plan = planReverse({ ...demand, limit: used === 0 ? memoryBytes : memoryBytes / 2 / used });
      return { differentiation, plan, bytes: plan.bytes, atOnce: lanes * Math.max(1, used) };
    } catch (error) {
      if (used === 0) throw error;
    }
  }
}

/** int32 [instructions × 5], as `ol_reverse` reads it. */
export function scheduleWords(plan: ReversePlan, steps: number): Int32Array {
  const operation = (name: (typeof REVERSE_OPERATIONS)[number]): number => REVERSE_OPERATIONS.indexOf(name);
  return Int32Array.from(
    reverseSchedule(plan, steps).flatMap((instruction) => {
      switch (instruction.op) {
        case 'save':
        case 'load':
          return [operation(instruction.op), 0, instruction.slot, 0, 0];
        case 'step':
          return [operation(instruction.counted ? 'countedStep' : 'step'), instruction.t, 0, 0, 0];
        case 'record':
          return [operation(instruction.counted ? 'countedRecord' : 'record'), instruction.t, instruction.tape, 0, 0];
        case 'back':
          return [operation('back'), instruction.t, instruction.state, instruction.next, instruction.tape];
      }
    }),
  );
}

export class NativeReverseProgram implements DerivativeProgram {
  readonly engine;
  readonly problem;
  readonly theta;
  readonly metrics;
  readonly finishes;
  readonly derivatives;
  readonly differentiation: Reverse;
  readonly reverse: ReverseMemory;

  constructor(
    private readonly program: NativeUnrollProgram,
    { differentiation, plan, atOnce }: NativeReverse,
  ) {
    this.engine = program.engine;
    this.problem = program.problem;
    this.theta = program.theta;
    this.metrics = program.metrics;
    this.finishes = program.finishes;
    this.derivatives = program.theta.size;
    this.differentiation = differentiation;
    this.reverse = { keeps: plan.keeps, bytes: Math.ceil(plan.bytes / program.driver.lanes), atOnce };
  }

  createPopulation(options: PopulationOptions): Promise<DerivativePopulation> {
    return this.program.createPopulation(options);
  }

  dispose(): Promise<void> {
    return this.program.dispose();
  }
}
