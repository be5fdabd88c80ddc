/** Executes the schedule of a reverse window on one group of particles: states and tapes are lists of device arrays. */
import { sizeOf, type Shape } from '../../graph/ir';
import type { ReverseInstruction } from '../shared/reverse-plan';
import type { DataId, Device } from './device';
import type { OutputType } from './plan';
import { RowSums } from './sums';

type Run = (inputs: readonly DataId[]) => readonly DataId[];

/** The graphs of one group, θ given: their other inputs, the caller's, to outputs, the caller's. */
export interface ReverseRuns {
  readonly step: Run;
  readonly record: Run;
  readonly backFrom: Run;
  /** Absent where the share through initState does not count, or is zero. */
  readonly start?: Run;
}

export interface ReverseShape {
  readonly particles: number;
  readonly state: readonly OutputType[];
  /** Indices of the state's float32 leaves. */
  readonly floats: readonly number[];
  /** Leaves of θ. */
  readonly theta: readonly Shape[];
  /** Loss and metrics of a step: how many there are. */
  readonly scalars: number;
  /** Cotangents of the steps' losses, from the window's start on. */
  readonly weights: Float32Array;
}

/** Arrays are the caller's. */
export interface ReverseOutcome {
  /** After the window. */
  readonly state: readonly DataId[];
  /** Loss and metrics of each step. */
  readonly scalars: readonly (readonly DataId[])[];
  /** θ's shares, leaf after leaf. */
  readonly gradient: RowSums;
}

/** The instructions that run a graph. */
export type ReverseRun = Exclude<ReverseInstruction, { readonly op: 'save' | 'load' }>;

/** One window. Arrays are counted by references: every list that is held here has one of its own. */
export class ReverseWindow {
  private readonly slots: (readonly DataId[])[] = [];
  private readonly tapes: (readonly DataId[])[] = [];
  private readonly scalars: (readonly DataId[])[] = [];
  private readonly gradient: RowSums;
  /** State of the first pass; at last that after the window. */
  private own: readonly DataId[];
  /** State of steps that are run again. */
  private second: readonly DataId[] | undefined;
  private cotangent: readonly DataId[];
  private done = false;

  /**
   * @param state before the window, the caller's
   * @param t of every particle now; the array that keys of random draws are made of, taken over
   */
  constructor(
    private readonly device: Device,
    private readonly runs: ReverseRuns,
    private readonly shape: ReverseShape,
    state: readonly DataId[],
    private readonly t: Int32Array,
  ) {
    this.gradient = new RowSums(device, shape.particles, shape.theta);
    this.own = this.held(state);
    this.cotangent = shape.floats.map((leaf) => {
      const size = shape.particles * sizeOf(shape.state[leaf].shape);
      return device.backend.write(new Float32Array(size), [shape.particles, ...shape.state[leaf].shape], 'float32');
    });
  }

  /** @param between called before every run of a graph; what it throws ends the window, which frees all that it holds. */
  async run(
    schedule: readonly ReverseInstruction[],
    between: (instruction: ReverseRun) => Promise<void>,
  ): Promise<ReverseOutcome> {
    const from = this.t.slice();
    try {
      for (const [i, instruction] of schedule.entries()) {
        if (instruction.op !== 'save' && instruction.op !== 'load') {
          await between(instruction);
          for (let p = 0; p < from.length; p++) this.t[p] = from[p] + instruction.t;
        }
        this.execute(instruction, schedule[i + 1]);
      }
      if (this.runs.start !== undefined) this.gradient.add(this.runs.start(this.cotangent));
      this.done = true;
      return { state: this.own, scalars: this.scalars, gradient: this.gradient };
    } finally {
      this.clear();
    }
  }

  private execute(instruction: ReverseInstruction, following: ReverseInstruction | undefined): void {
    switch (instruction.op) {
      case 'save':
        this.release(this.slots[instruction.slot]);
        this.slots[instruction.slot] = this.held(this.working);
        break;
      case 'load':
        this.release(this.second);
        this.second = this.held(this.slots[instruction.slot]);
        break;
      case 'step':
        this.forward(this.runs.step, instruction.counted);
        break;
      case 'record':
        this.release(this.tapes[instruction.tape]);
        this.tapes[instruction.tape] = this.forward(this.runs.record, instruction.counted);
        break;
      case 'back':
        this.back(instruction, following);
    }
  }

  private get working(): readonly DataId[] {
    return this.second ?? this.own;
  }

  /** One step of the working state. What the plan gives behind loss and metrics is the caller's. */
  private forward(run: Run, counted: boolean): readonly DataId[] {
    const outputs = this.withColumn(Int32Array.from(this.t), 'int32', (t) => run([...this.working, t]));
    const leaves = this.shape.state.length;
    const next = outputs.slice(0, leaves);
    this.release(this.working);
    if (this.second === undefined) this.own = next;
    else this.second = next;
    const scalars = outputs.slice(leaves, leaves + this.shape.scalars);
    if (counted) this.scalars.push(scalars);
    else this.release(scalars);
    return outputs.slice(leaves + this.shape.scalars);
  }

  private back(
    { t, state, next, tape }: Extract<ReverseInstruction, { readonly op: 'back' }>,
    following: ReverseInstruction | undefined,
  ): void {
    const weights = new Float32Array(this.t.length).fill(this.shape.weights[t]);
    const after = next === -1 ? this.working : this.slots[next];
    const outputs = this.withColumn(Int32Array.from(this.t), 'int32', (phase) =>
      this.withColumn(weights, 'float32', (weight) =>
        this.runs.backFrom([...this.slots[state], ...after, phase, ...this.tapes[tape], ...this.cotangent, weight]),
      ),
    );
    const floats = this.shape.floats.length;
    this.release(this.cotangent);
    this.cotangent = outputs.slice(0, floats);
    this.gradient.add(outputs.slice(floats));
    // Freed as soon as nothing reads them: the steps before need the room.
    this.empty(this.tapes, tape);
    if (next !== -1) this.empty(this.slots, next);
    if (following?.op !== 'back' || following.next !== state) this.empty(this.slots, state);
  }

  private withColumn(
    numbers: Int32Array | Float32Array,
    dtype: 'int32' | 'float32',
    run: (dataId: DataId) => readonly DataId[],
  ): readonly DataId[] {
    const { backend } = this.device;
    const dataId = backend.write(numbers, [numbers.length], dtype);
    try {
      return run(dataId);
    } finally {
      backend.disposeData(dataId);
    }
  }

  private held(dataIds: readonly DataId[]): readonly DataId[] {
    for (const dataId of dataIds) this.device.backend.incRef(dataId);
    return [...dataIds];
  }

  private release(dataIds: readonly DataId[] = []): void {
    for (const dataId of dataIds) this.device.backend.disposeData(dataId);
  }

  private empty(lists: (readonly DataId[])[], at: number): void {
    this.release(lists[at]);
    lists[at] = [];
  }

  /** Frees all but the outcome of a window that is through. */
  private clear(): void {
    [...this.slots, ...this.tapes].forEach((list) => this.release(list));
    this.release(this.second);
    this.release(this.cotangent);
    if (this.done) return;
    [this.own, ...this.scalars].forEach((list) => this.release(list));
    this.gradient.dispose();
  }
}
