/**
 * A population on a TensorFlow.js backend. Its particles lie in groups, small enough for their working set to fit into
 * memory; a group's state is one array a leaf, [particles, …], and stays on the device. A call that names all particles
 * of a group runs on the arrays as they are; one that names some gathers them first and merges them after.
 */
import {
  type ArrayBundle,
  type ParticleSelection,
  type Population,
  type ResetRequest,
  type WindowResult,
} from '../../contracts';
import { sumsSize } from '../../graph/program';
import { checkSignal } from '../shared/cancel';
import { Drawer } from '../shared/draws';
import { bundleArray, checkCopy, checkSteps, ParticleTable } from '../shared/particles';
import { thetaRows } from '../shared/perturbation';
import { Breather } from '../shared/scheduling';
import { deviceType, hostArray, type DataId } from './device';
import type { OutputType, Plan } from './plan';
import type { TfjsProgram } from './program';
import { mergeRows, takeRows, zeroRows } from './rows';
import { RowSums } from './sums';

export interface Group {
  /** First particle. */
  readonly first: number;
  readonly size: number;
  /** One array a leaf of the state; undefined until a particle of the group is reset. */
  state: DataId[] | undefined;
}

/** The particles of a request that lie in one group. */
export interface Members {
  readonly group: Group;
  /** Positions in the request, in the order of the particles. */
  readonly positions: Int32Array;
  /** Rows within the group, ascending. */
  readonly rows: Int32Array;
}

/** What a call has computed for the particles of one group; it counts once the whole call is through. */
interface Change {
  readonly members: Members;
  readonly state: DataId[];
}

export type WindowRequest = ParticleSelection & { readonly steps: number };

/** What a window has computed for the particles of one group. */
export interface Ran {
  /** The members' state after it. */
  readonly state: DataId[];
  /** Loss and metrics of every step: [steps][1 + metrics][members]. */
  readonly scalars: readonly Float64Array[][];
  /** A row of derivatives each, where the window gives them. */
  readonly derivatives?: Float64Array;
}

type Run = (members: Members, request: WindowRequest, thetas: Float64Array) => Promise<Ran>;

export class TfjsPopulation implements Population {
  protected readonly table: ParticleTable;
  protected readonly breather = new Breather();
  private readonly groups: Group[];
  protected readonly leaves: readonly OutputType[];

  /** @param atOnce particles that a group has at most, beside what the program says */
  constructor(
    protected readonly program: TfjsProgram,
    readonly size: number,
    private readonly seed: number,
    atOnce = Infinity,
  ) {
    this.table = new ParticleTable(size);
    const groupSize = Math.min(program.groupSize('step'), program.groupSize('init'), atOnce);
    const count = Math.ceil(size / groupSize);
    // Groups of nearly equal size, so that few plans serve them all, each from an even particle on: pairs stay together.
    const start = (i: number): number => (i === count ? size : 2 * Math.floor((i * size) / count / 2));
    this.groups = Array.from({ length: count }, (_, i) => {
      return { first: start(i), size: start(i + 1) - start(i), state: undefined };
    }).filter((group) => group.size > 0);
    this.leaves = program.traced.state.map(({ type }) => ({ shape: type.shape, dtype: deviceType(type.dtype) }));
  }

  reset(request: ResetRequest): Promise<void> {
    return this.program.sequence.run(async () => {
      const { particles, workers, episodes } = request;
      this.table.check('reset', particles, false);
      const thetas = thetaRows(request.perturbation, particles.length, this.program.theta.size);
      const changes: Change[] = [];
      let started = 0;
      await this.orDiscard(changes, async () => {
        for (const members of this.members(particles)) {
          checkSignal(request.signal, 'reset', `after ${started} of ${particles.length} particles`);
          const { positions } = members;
          const drawer = new Drawer({
            seed: this.seed,
            workers: positions.map((position) => workers[position]),
            episodes: positions.map((position) => episodes[position]),
            t: new Int32Array(positions.length),
          });
          const plan = this.program.plan('init', positions.length);
          const state = this.withTheta(plan, thetas, positions, drawer, () => plan.step([]));
          changes.push({ members, state });
          started += positions.length;
          await this.breather.breathe();
        }
      });
      for (const { members, state } of changes) this.replace(members, state);
      particles.forEach((particle, i) => this.table.start(particle, workers[i], episodes[i]));
    });
  }

  advance(request: WindowRequest): Promise<WindowResult> {
    const width = sumsSize(this.program.traced);
    return this.program.sequence.run(() =>
      this.window('advance', request, width, (...given) => this.runForward(...given)),
    );
  }

  /** @param width of a row of derivatives, 0 for none */
  protected async window(call: string, request: WindowRequest, width: number, run: Run): Promise<WindowResult> {
    const { particles, steps } = request;
    this.table.check(call, particles, true);
    checkSteps(steps);
    const { metrics } = this.program;
    const thetas = thetaRows(request.perturbation, particles.length, this.program.theta.size);
    const lastLoss = new Float64Array(particles.length);
    const sums = ['', ...metrics].map(() => new Float64Array(particles.length));
    const derivatives = new Float64Array(particles.length * width);
    const changes: Change[] = [];
    await this.orDiscard(changes, async () => {
      for (const members of this.members(particles)) {
        const { state, scalars, derivatives: rows } = await run(members, request, thetas);
        changes.push({ members, state });
        const { positions } = members;
        for (const step of scalars) {
          for (const [k, values] of step.entries()) {
            const sum = sums[k];
            for (let i = 0; i < positions.length; i++) sum[positions[i]] += values[i];
          }
        }
        scalars.at(-1)?.[0].forEach((loss, i) => (lastLoss[positions[i]] = loss));
        if (rows === undefined) continue;
        positions.forEach((position, i) => {
          derivatives.set(rows.subarray(i * width, (i + 1) * width), position * width);
        });
      }
    });
    // Every group is through: from here on nothing can fail or be cancelled.
    for (const { members, state } of changes) this.replace(members, state);
    for (const particle of particles) this.table.t[particle] += steps;
    return {
      lossSum: sums[0],
      lastLoss,
      metricSums: Object.fromEntries(metrics.map((name, k) => [name, sums[k + 1]])),
      ...(width === 0 ? {} : { derivatives }),
    };
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.program.sequence.run(() => {
      checkCopy(this.table, from, to);
      for (const targets of this.members(to)) {
        const sources = targets.positions.map((position) => from[position]);
        for (const { group, positions } of this.members(sources)) {
          // In the order of the targets, whose rows ascend.
          const inside = positions.sort();
          const fresh = this.take(
            group,
            inside.map((i) => sources[i] - group.first),
          );
          this.replace({ ...targets, rows: inside.map((i) => targets.rows[i]) }, fresh);
        }
      }
      from.forEach((source, i) => this.table.copy(source, to[i]));
      return Promise.resolve();
    });
  }

  finish(request: ParticleSelection): Promise<Readonly<Record<string, Float64Array>>> {
    return this.program.sequence.run(async () => {
      const { particles } = request;
      const { finishes } = this.program;
      const results = finishes.map(() => new Float64Array(particles.length));
      if (finishes.length > 0) {
        this.table.check('finish', particles, true);
        const thetas = thetaRows(request.perturbation, particles.length, this.program.theta.size);
        for (const members of this.members(particles, this.program.groupSize('finish'))) {
          checkSignal(request.signal, 'finish', 'between groups of particles');
          const { positions } = members;
          const { drawer, t } = this.drawer(particles, positions);
          const plan = this.program.plan('finish', positions.length);
          const state = this.take(members.group, members.rows);
          const outputs = this.withTheta(plan, thetas, positions, drawer, () => this.stepWith(plan, state, t));
          this.release(state);
          const values = await this.read(outputs);
          values.forEach((column, k) => positions.forEach((position, i) => (results[k][position] = column[i])));
          await this.breather.breathe();
        }
      }
      return Object.fromEntries(finishes.map((name, k) => [name, results[k]]));
    });
  }

  phases(): Int32Array {
    return this.table.t.slice();
  }

  save(): Promise<ArrayBundle> {
    return this.program.sequence.run(async () => {
      const bundle = this.table.save();
      const { traced, device } = this.program;
      for (const [leaf, { path }] of traced.state.entries()) {
        const { shape, dtype } = this.leaves[leaf];
        const whole = hostArray(dtype, this.size * shape.reduce((a, b) => a * b, 1));
        const width = whole.length / this.size;
        for (const { first, state } of this.groups) {
          if (state !== undefined) whole.set((await device.backend.read(state[leaf])) as Float32Array, first * width);
        }
        bundle[`state.${path}`] = { shape: [this.size, ...shape], data: whole };
      }
      return bundle;
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    return this.program.sequence.run(() => {
      const arrays = this.program.traced.state.map(({ path }, leaf) => {
        const { shape, dtype } = this.leaves[leaf];
        const { data } = bundleArray(bundle, `state.${path}`, [this.size, ...shape]);
        const converted = hostArray(dtype, data.length);
        converted.set(data);
        return { data: converted, width: data.length / this.size };
      });
      this.table.load(bundle);
      const { backend } = this.program.device;
      for (const group of this.groups) {
        this.release(group.state ?? []);
        group.state = arrays.map(({ data, width }, leaf) => {
          const rows = data.slice(group.first * width, (group.first + group.size) * width);
          const { shape, dtype } = this.leaves[leaf];
          return backend.write(rows, [group.size, ...shape], dtype);
        });
      }
      return Promise.resolve();
    });
  }

  dispose(): Promise<void> {
    return this.program.sequence.run(() => {
      for (const group of this.groups) {
        this.release(group.state ?? []);
        group.state = undefined;
      }
      this.table.started.fill(0);
      return Promise.resolve();
    });
  }

  private async runForward(
    members: Members,
    { particles, steps, signal }: WindowRequest,
    thetas: Float64Array,
  ): Promise<Ran> {
    const { group, positions } = members;
    const { device, metrics, traced } = this.program;
    const { drawer, t } = this.drawer(particles, positions);
    const plan = this.program.plan('step', positions.length);
    const scalarsEnd = this.leaves.length + 1 + metrics.length;
    let state = this.isWhole(members) ? group.state! : this.take(group, members.rows);
    const scalars: DataId[][] = [];
    const sums = new RowSums(
      device,
      positions.length,
      (traced.sums ?? []).map(({ shape }) => shape),
    );
    const given = this.writeTheta(thetas, positions);
    try {
      plan.begin(given, drawer);
      for (let step = 0; step < steps; step++) {
        checkSignal(signal, 'advance', `after ${step} of ${steps} inner steps`);
        const outputs = this.stepWith(plan, state, t);
        // The group's own arrays stay until the window is through.
        if (state !== group.state) this.release(state);
        state = outputs.slice(0, this.leaves.length);
        scalars.push(outputs.slice(this.leaves.length, scalarsEnd));
        sums.add(outputs.slice(scalarsEnd));
        for (let i = 0; i < t.length; i++) t[i] += 1;
        await this.breather.breathe();
      }
    } catch (error) {
      if (state !== group.state) this.release(state);
      scalars.forEach((outputs) => this.release(outputs));
      sums.dispose();
      throw error;
    } finally {
      plan.end();
      this.release(given);
    }
    return { state, scalars: await this.readAll(scalars), derivatives: await sums.take() };
  }

  /** Runs `work`, which collects changes; frees them all if it fails. */
  private async orDiscard(changes: readonly Change[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      for (const { state } of changes) this.release(state);
      throw error;
    }
  }

  protected isWhole({ group, rows }: Members): boolean {
    return rows.length === group.size;
  }

  protected stepWith(plan: Plan, state: readonly DataId[], t: Int32Array): DataId[] {
    const { backend } = this.program.device;
    const phase = backend.write(t.slice(), [t.length], 'int32');
    try {
      return plan.step([...state, phase]);
    } finally {
      backend.disposeData(phase);
    }
  }

  private withTheta(
    plan: Plan,
    thetas: Float64Array,
    positions: Int32Array,
    drawer: Drawer,
    run: () => DataId[],
  ): DataId[] {
    const given = this.writeTheta(thetas, positions);
    try {
      plan.begin(given, drawer);
      return run();
    } finally {
      plan.end();
      this.release(given);
    }
  }

  /** θ's leaves of the given rows, [positions, …] each, rounded to float32. */
  protected writeTheta(thetas: Float64Array, positions: Int32Array): DataId[] {
    const { size: dim, leaves } = this.program.theta;
    return leaves.map(({ offset, size, shape }) => {
      const data = new Float32Array(positions.length * size);
      positions.forEach((position, i) => {
        data.set(thetas.subarray(position * dim + offset, position * dim + offset + size), i * size);
      });
      return this.program.device.backend.write(data, [positions.length, ...shape], 'float32');
    });
  }

  protected drawer(particles: Int32Array, positions: Int32Array): { readonly drawer: Drawer; readonly t: Int32Array } {
    const column = (of: Int32Array): Int32Array => positions.map((position) => of[particles[position]]);
    const t = column(this.table.t);
    const context = { seed: this.seed, workers: column(this.table.workers), episodes: column(this.table.episodes), t };
    return { drawer: new Drawer(context), t };
  }

  /** Reads and frees, run by run. */
  protected async readAll(runs: readonly (readonly DataId[])[]): Promise<Float64Array[][]> {
    const values: Float64Array[][] = [];
    for (const outputs of runs) values.push(await this.read(outputs));
    return values;
  }

  /** Reads and frees. */
  private async read(outputs: readonly DataId[]): Promise<Float64Array[]> {
    const { backend } = this.program.device;
    const values: Float64Array[] = [];
    for (const dataId of outputs) values.push(new Float64Array((await backend.read(dataId)) as Float32Array));
    this.release(outputs);
    return values;
  }

  protected take(group: Group, rows: Int32Array): DataId[] {
    const { device } = this.program;
    return this.leaves.map((type, leaf) => takeRows(device, group.state![leaf], group.size, type, rows));
  }

  /** Puts fresh states (which the call takes over) in the places of the members. */
  private replace(members: Members, fresh: DataId[]): void {
    const { device } = this.program;
    const { group, rows } = members;
    const old = group.state;
    if (this.isWhole(members)) {
      group.state = fresh;
    } else {
      const base = old ?? this.leaves.map((type) => zeroRows(device, group.size, type));
      group.state = this.leaves.map((type, leaf) => mergeRows(device, base[leaf], group.size, type, fresh[leaf], rows));
      this.release(fresh);
      if (old === undefined) this.release(base);
    }
    this.release(old ?? []);
  }

  protected release(dataIds: readonly DataId[]): void {
    for (const dataId of dataIds) this.program.device.backend.disposeData(dataId);
  }

  /** The request's particles by group, at most `limit` at a time. */
  private *members(particles: Int32Array, limit = Infinity): Generator<Members> {
    const order = Int32Array.from(particles.keys()).sort((a, b) => particles[a] - particles[b]);
    let next = 0;
    for (const group of this.groups) {
      const start = next;
      while (next < order.length && particles[order[next]] < group.first + group.size) next += 1;
      for (let at = start; at < next; at += limit) {
        const positions = order.slice(at, Math.min(next, at + limit));
        yield { group, positions, rows: positions.map((position) => particles[position] - group.first) };
      }
    }
  }
}
