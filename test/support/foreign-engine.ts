/**
 * The native engine's code as programs of another processor: compiled by a cross compiler, run under an emulator, one
 * process a call. Of populations only what the op suite needs.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  ArrayBundle,
  ParticleSelection,
  Perturbation,
  Population,
  ResetRequest,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { lowerProgram, type LoweringOptions } from '../../src/engines/native/plan';
import type { NativeProgram } from '../../src/engines/native/plan/program';
import type { Target } from '../../src/engines/native/nest/ir';
import { renderProgram } from '../../src/engines/native/render/driver';
import type { Driver } from '../../src/engines/native/render/request';
import { MATH } from '../../src/engines/native/render/math';
import { RANDOM } from '../../src/engines/native/render/random';
import { sizeOf, type ValueType } from '../../src/graph/ir';
import { stateSize, type TracedProblem } from '../../src/graph/program';
import { seedKey } from '../../src/random';

export interface ForeignMachine {
  readonly target: Target;
  readonly compiler: string;
  readonly flags: readonly string[];
  /** What comes before a program to run it. */
  readonly emulator: readonly string[];
  /** Undefined: the cost rule chooses. */
  readonly mode?: LoweringOptions['mode'];
}

/** Whether a program can be started at all. */
export function starts(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0;
}

type Job = 'reset' | 'advance' | 'finish';
const JOBS: readonly Job[] = ['reset', 'advance', 'finish'];

/**
 * Reads numbers, arrays, tables and the population from standard input, runs all jobs of one function as the runtime does
 * (subnormal numbers are zero), and writes population and results.
 */
function mainText({ scratch, record, lanes }: Driver, tables: number, finishes: boolean): string {
  return `
#include <stdio.h>
#include <stdlib.h>
static void take(void *to, size_t bytes) { if (bytes && fread(to, 1, bytes, stdin) != bytes) exit(11); }
static void *array(size_t bytes) {
  void *to = aligned_alloc(64, (bytes + 64) / 64 * 64);
  if (!to) exit(12);
  take(to, bytes);
  return to;
}
static int64_t number(void) { int64_t n; take(&n, 8); return n; }
int main(void) {
  struct ol_request q;
  memset(&q, 0, sizeof q);
  const int64_t job = number();
  q.count = number(), q.size = number(), q.steps = number();
  uint32_t seeds[2];
  seeds[0] = (uint32_t)number(), seeds[1] = (uint32_t)number();
  q.seeds = (int64_t)seeds;
  q.fresh = job == 0, q.form = 2;
  const int64_t columns = q.fresh ? q.count : q.size, thetas = number(), results = number();
  int64_t tables[${tables + 1}];
  q.particles = (int64_t)array((size_t)q.count * 4);
  q.workers = (int64_t)array((size_t)columns * 4);
  q.episodes = (int64_t)array((size_t)columns * 4);
  q.t = (int64_t)array((size_t)columns * 4);
  q.theta = (int64_t)array((size_t)thetas * 8);
  for (int k = 0; k < ${tables}; k++) { const int64_t bytes = number(); tables[k] = (int64_t)array((size_t)bytes); }
  q.tables = (int64_t)tables;
  const size_t bytes = (size_t)((q.size + ${lanes} - 1) / ${lanes} * ${record});
  q.population = (int64_t)array(bytes);
  double *out = calloc((size_t)(results * q.count + 1), 8);
  q.results = (int64_t)out;
  char *memory = aligned_alloc(64, ${Math.max(scratch.init, scratch.step, scratch.finish) + 64});
#if defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24));
#elif defined(__SSE2__)
  __builtin_ia32_ldmxcsr(0x1f80 | 0x8040);
#endif
  for (int64_t i = 0; i < (q.count + ${lanes} - 1) / ${lanes}; i++) {
    int code = job == 0 ? ol_reset(&q, i, 1, memory) : job == 1 ? ol_advance(&q, i, 1, memory) : ${finishes ? 'ol_finish(&q, i, 1, memory)' : '9'};
    if (code) return 13;
  }
  fwrite((void *)q.population, 1, bytes, stdout);
  fwrite(out, 8, (size_t)(results * q.count), stdout);
  return 0;
}
`;
}

export class ForeignEngine implements GraphEngine {
  readonly name = 'native, of another processor';
  readonly capabilities = new Set(['forward'] as const);
  readonly fingerprint = {};
  private readonly folder = mkdtempSync(join(tmpdir(), 'outerloop-foreign-'));
  private count = 0;

  constructor(private readonly machine: ForeignMachine) {}

  compile(): Promise<UnrollProgram> {
    return Promise.reject(new Error('only traced problems'));
  }

  compileTraced(traced: TracedProblem): Promise<UnrollProgram> {
    const { target, compiler, flags, emulator, mode } = this.machine;
    const program = lowerProgram(traced, target, mode === undefined ? {} : { mode });
    const driver = renderProgram(program, [MATH, RANDOM], traced.metrics.length, traced.finishes.length);
    const path = join(this.folder, `p${this.count++}`);
    const main = mainText(driver, program.tables.length, traced.finish !== undefined);
    writeFileSync(`${path}.c`, [...driver.sources, main].join('\n'));
    const options = ['-std=gnu11', '-O2', '-ffp-contract=off', '-fno-math-errno', '-static'];
    const done = spawnSync(compiler, [...options, ...flags, '-o', path, `${path}.c`, '-lm'], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`${compiler}: ${done.stderr.slice(0, 4000)}`);
    return Promise.resolve(new ForeignProgram(traced, program, driver, [...emulator, path]));
  }

  compileDerivative(): Promise<never> {
    return Promise.reject(new Error('not here'));
  }

  dispose(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
    return Promise.resolve();
  }
}

class ForeignProgram implements UnrollProgram {
  readonly engine = 'native, of another processor';
  readonly problem;
  readonly theta;
  readonly stateSize;
  readonly metrics;
  readonly finishes;

  constructor(
    readonly traced: TracedProblem,
    readonly native: NativeProgram,
    readonly driver: Driver,
    readonly command: readonly string[],
  ) {
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.stateSize = stateSize(traced);
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
  }

  createPopulation({ size, seed }: { readonly size: number; readonly seed: number }): Promise<Population> {
    return Promise.resolve(new ForeignPopulation(this, size, seed));
  }

  combine(): Promise<Float64Array> {
    return Promise.reject(new Error('not here'));
  }

  differentiate(): Promise<never> {
    return Promise.reject(new Error('not here'));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }
}

class ForeignPopulation implements Population {
  private memory: Buffer;
  private readonly columns: { readonly workers: Int32Array; readonly episodes: Int32Array; readonly t: Int32Array };

  constructor(
    private readonly program: ForeignProgram,
    readonly size: number,
    private readonly seed: number,
  ) {
    const { lanes, record } = program.driver;
    this.memory = Buffer.alloc(Math.ceil(size / lanes) * record);
    const column = (): Int32Array => new Int32Array(size);
    this.columns = { workers: column(), episodes: column(), t: column() };
  }

  reset({ particles, workers, episodes, perturbation }: ResetRequest): Promise<void> {
    this.call('reset', particles, perturbation, 0, 0, { workers, episodes, t: new Int32Array(particles.length) });
    particles.forEach((p, i) => {
      [this.columns.workers[p], this.columns.episodes[p], this.columns.t[p]] = [workers[i], episodes[i], 0];
    });
    return Promise.resolve();
  }

  advance({ particles, perturbation, steps }: ParticleSelection & { readonly steps: number }): Promise<WindowResult> {
    const { metrics } = this.program;
    const [lossSum, lastLoss, ...sums] = this.call('advance', particles, perturbation, steps, 2 + metrics.length);
    for (const p of particles) this.columns.t[p] += steps;
    const metricSums = Object.fromEntries(metrics.map((name, k) => [name, sums[k]]));
    return Promise.resolve({ lossSum, lastLoss, metricSums });
  }

  finish({ particles, perturbation }: ParticleSelection): Promise<Record<string, Float64Array>> {
    const { finishes } = this.program;
    const columns = this.call('finish', particles, perturbation, 0, finishes.length);
    return Promise.resolve(Object.fromEntries(finishes.map((name, k) => [name, columns[k]])));
  }

  save(): Promise<ArrayBundle> {
    return Promise.resolve(
      Object.fromEntries(
        this.program.traced.state.map(({ path, type }, leaf) => [
          `state.${path}`,
          { shape: [this.size, ...type.shape], data: this.leaf(leaf, type) },
        ]),
      ),
    );
  }

  phases(): Int32Array {
    return this.columns.t.slice();
  }

  copy(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  load(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }

  private leaf(leaf: number, { shape, dtype }: ValueType): Float32Array | Int32Array | Uint8Array {
    const { native, driver } = this.program;
    const elements = sizeOf(shape);
    const length = this.size * elements;
    const out =
      dtype === 'float32'
        ? new Float32Array(length)
        : dtype === 'int32'
          ? new Int32Array(length)
          : new Uint8Array(length);
    for (let p = 0; p < this.size; p++) {
      for (let e = 0; e < elements; e++) {
        let at: number;
        let byte = false;
        if (native.mode === 'particle-major') {
          const { offset, layout } = native.state.leaves[leaf];
          byte = layout.memory === 'u8';
          let [rest, index] = [e, 0];
          for (let axis = shape.length - 1; axis >= 0; axis--) {
            index += (rest % shape[axis]) * layout.strides[axis];
            rest = Math.floor(rest / shape[axis]);
          }
          at = p * driver.record + offset + index * (byte ? 1 : 4);
        } else {
          const { lanes, record } = driver;
          const element = native.state.leaves[leaf].offset + e;
          at = Math.floor(p / lanes) * record + 4 * (element * lanes + (p % lanes));
        }
        const value = byte
          ? this.memory[at]
          : dtype === 'float32'
            ? this.memory.readFloatLE(at)
            : this.memory.readInt32LE(at);
        out[p * elements + e] = value;
      }
    }
    return out;
  }

  private call(
    job: Job,
    particles: Int32Array,
    perturbation: Perturbation,
    steps: number,
    results: number,
    columns = this.columns,
  ): Float64Array[] {
    if (perturbation.form !== 'explicit') throw new Error('only explicit θ');
    const { native, command } = this.program;
    const { thetas } = perturbation;
    const numbers = (...values: number[]): Buffer => bytesOf(BigInt64Array.from(values, BigInt));
    const tables = native.tables.flatMap((table) => {
      const data = table.kind === 'table' ? table.table.values : table.data;
      return [numbers(data.byteLength), bytesOf(data)];
    });
    const input = Buffer.concat([
      numbers(JOBS.indexOf(job), particles.length, this.size, steps, ...seedKey(this.seed), thetas.length, results),
      ...[particles, columns.workers, columns.episodes, columns.t, thetas].map(bytesOf),
      ...tables,
      this.memory,
    ]);
    const done = spawnSync(command[0], command.slice(1), { input, maxBuffer: 1 << 28 });
    if (done.status !== 0)
      throw new Error(`${job}: status ${String(done.status)}, signal ${String(done.signal)}, ${String(done.stderr)}`);
    const { length } = this.memory;
    this.memory = done.stdout.subarray(0, length);
    const out = new Float64Array(Uint8Array.from(done.stdout.subarray(length)).buffer);
    return Array.from({ length: results }, (_, k) => out.slice(k * particles.length, (k + 1) * particles.length));
  }
}

function bytesOf(array: NodeJS.TypedArray): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
