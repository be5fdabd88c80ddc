/**
 * What a reverse window keeps, decided by memory before the window starts, and the schedule that follows from it. The window
 * is cut into stretches; the state before each is kept from the first pass, and everything within one stretch at a time.
 * One stretch is `everything`, stretches of one step are `states`, and what lies between `checkpoints` (Griewank & Walther
 * 2008, "Evaluating Derivatives", ch. 12, with one level).
 */
import { ConfigurationError, type ReverseMemory } from '../../contracts';
import { bytesText } from './bytes';

/** Of what runs as one: a particle, or as many as share a vector. */
export interface ReverseDemand {
  /** Steps of the longest window, at least 1. */
  readonly steps: number;
  /** Bytes of one kept state. */
  readonly stateBytes: number;
  /** Bytes of what one recorded step leaves for its derivative. */
  readonly residualBytes: number;
  /** Bytes of the second working state, which steps that are run again need. Default: `stateBytes`. */
  readonly againBytes?: number;
  /** Bytes that it needs whatever is kept. Default 0. */
  readonly workingBytes?: number;
  /** Bytes that it may take in all. */
  readonly limit: number;
}

export interface ReversePlan {
  readonly keeps: ReverseMemory['keeps'];
  /** Steps of the longest window that fits. */
  readonly steps: number;
  /** Steps of the longest stretch. */
  readonly stretch: number;
  /** State slots. */
  readonly states: number;
  /** Tape slots, of one step's residuals each. */
  readonly tapes: number;
  /** Whether a second working state is needed. */
  readonly again: boolean;
  /** All bytes, of the longest window. */
  readonly bytes: number;
}

/** A plan by its two numbers, for windows of up to `steps` in stretches of up to `stretch` steps. */
function cut(demand: Omit<ReverseDemand, 'limit'>, keeps: ReversePlan['keeps'], stretch: number): ReversePlan {
  const { steps, stateBytes, residualBytes, againBytes = stateBytes, workingBytes = 0 } = demand;
  const stretches = Math.ceil(steps / stretch);
  // The state before a stretch is that before its first step too.
  const states = stretches + stretch - 1;
  const again = stretches > 1;
  const bytes = workingBytes + states * stateBytes + stretch * residualBytes + (again ? againBytes : 0);
  return { keeps, steps, stretch, states, tapes: stretch, again, bytes };
}

/**
 * Everything if it fits; else all states if these fit; else as few bytes as checkpoints can do with.
 * @throws ConfigurationError of `memory` if nothing fits
 */
export function planReverse(demand: ReverseDemand): ReversePlan {
  const { steps, limit } = demand;
  let least = cut(demand, 'everything', steps);
  if (least.bytes <= limit) return least;
  const states = cut(demand, 'states', 1);
  if (states.bytes <= limit) return states;
  if (states.bytes < least.bytes) least = states;
  // A stretch of half the window or more would be shortened at no cost until two of them just make up the window.
  for (let stretch = 2; stretch <= Math.ceil(steps / 2); stretch++) {
    const plan = cut(demand, 'checkpoints', stretch);
    if (plan.bytes < least.bytes) least = plan;
  }
  if (least.bytes <= limit) return least;
  throw refusal(demand, least);
}

function refusal(demand: ReverseDemand, { states, tapes, again, bytes }: ReversePlan): ConfigurationError {
  const { steps, stateBytes, residualBytes, againBytes = stateBytes, workingBytes = 0, limit } = demand;
  const parts = [
    ...(workingBytes > 0 ? [`${bytesText(workingBytes)} to work in`] : []),
    `${states} × ${bytesText(stateBytes)} of states`,
    ...(again && againBytes > 0 ? [`${bytesText(againBytes)} to run steps again`] : []),
    `${tapes} × ${bytesText(residualBytes)} of what steps leave for their derivative`,
  ];
  return new ConfigurationError(
    'memory',
    `at least ${bytesText(bytes)} for a reverse window of ${steps} steps that keeps as little as it can (${parts.join(' + ')})`,
    bytesText(limit),
    'Allow more (--memory, memoryBytes), or take a shorter window.',
  );
}

/**
 * One instruction of a reverse window. There are state slots and tape slots; the first pass works on the particle's own
 * state, which ends as that after the window; the first `load` turns to a second working state for good.
 * `t` counts from the window's start. s_t is the state before step t.
 */
export type ReverseInstruction =
  /** Copies the working state into a state slot. */
  | { readonly op: 'save'; readonly slot: number }
  /** Copies a state slot into the second working state, on which all that follows runs. */
  | { readonly op: 'load'; readonly slot: number }
  /** Runs `step` on the working state. `counted`: of the first pass, whose losses and metrics add up. */
  | { readonly op: 'step'; readonly t: number; readonly counted: boolean }
  /** `step` that leaves residuals in a tape slot: `record`. */
  | { readonly op: 'record'; readonly t: number; readonly tape: number; readonly counted: boolean }
  /** `backFrom`: s_t in state slot `state`; s_{t+1} in state slot `next`, or −1: it is the working state. */
  | {
      readonly op: 'back';
      readonly t: number;
      readonly state: number;
      readonly next: number;
      readonly tape: number;
    };

/**
 * The instructions of a window of `steps` ≤ `plan.steps`. Every step is run once, counted, and its derivative once, from the
 * last to the first; all steps but those of the last stretch are run twice.
 */
export function reverseSchedule(plan: Pick<ReversePlan, 'stretch'>, steps: number): readonly ReverseInstruction[] {
  const stretch = Math.min(plan.stretch, steps);
  const stretches = Math.ceil(steps / stretch);
  // The last one is whole: it is the one that is not run again.
  const first = (c: number): number => Math.max(0, steps - (stretches - c) * stretch);
  const end = (c: number): number => first(c + 1);
  // Slot c is for the state before stretch c; what lies behind, for the states within one.
  const slot = (c: number, t: number): number => (t === first(c) ? c : stretches - 1 + t - first(c));

  const instructions: ReverseInstruction[] = [];
  for (let c = 0; c < stretches - 1; c++) {
    instructions.push({ op: 'save', slot: c });
    for (let t = first(c); t < end(c); t++) instructions.push({ op: 'step', t, counted: true });
  }
  for (let c = stretches - 1; c >= 0; c--) {
    const counted = c === stretches - 1;
    if (!counted) instructions.push({ op: 'load', slot: c });
    for (let t = first(c); t < end(c); t++) {
      if (counted || t > first(c)) instructions.push({ op: 'save', slot: slot(c, t) });
      instructions.push({ op: 'record', t, tape: t - first(c), counted });
    }
    for (let t = end(c) - 1; t >= first(c); t--) {
      const next = t + 1 === end(c) ? -1 : slot(c, t + 1);
      instructions.push({ op: 'back', t, state: slot(c, t), next, tape: t - first(c) });
    }
  }
  return instructions;
}
