/** Small C programs for tests of C text: compiled by the machine's compiler, fed by bytes, read as bytes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface CTarget {
  readonly name: string;
  readonly lanes: 16 | 8 | 4;
  readonly flags: readonly string[];
  /** The compiler accepts the flags. */
  readonly compiles: boolean;
  /** Programs compiled so run on this machine. */
  readonly runs: boolean;
}

const COMMON = ['-std=gnu11', '-O2', '-ffp-contract=off', '-Wall', '-Wextra', '-Werror'];
const CANDIDATES = [
  {
    name: 'AVX-512',
    lanes: 16,
    flags: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma'],
    needs: ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'fma'],
  },
  { name: 'AVX2', lanes: 8, flags: ['-mavx2', '-mfma'], needs: ['avx2', 'fma'] },
  { name: 'no flags', lanes: 4, flags: [], needs: [] },
] as const;

/** Compiles into a folder of its own, until `dispose`. */
export class CPrograms {
  private readonly folder = mkdtempSync(join(tmpdir(), 'outerloop-c-'));
  private count = 0;
  /** The compiler with its arguments; undefined where there is none. */
  private readonly compiler = this.find();
  /** One for each instruction set, the richest first. Without a compiler none compiles. */
  readonly targets: readonly CTarget[] = CANDIDATES.map(({ needs, ...target }) => ({
    ...target,
    ...this.probe(target.flags, needs),
  }));

  /**
   * @returns the path of the program.
   * @throws Error with the compiler's words if it does not compile without a warning.
   */
  compile(source: string, target: Pick<CTarget, 'flags' | 'lanes'>, objectOnly = false): string {
    const name = join(this.folder, `p${this.count++}`);
    writeFileSync(`${name}.c`, `#define OL_LANES ${target.lanes}\n${source}`);
    const done = this.run([...COMMON, ...target.flags, `${name}.c`, '-o', name, objectOnly ? '-c' : '-lm']);
    if (done.status !== 0) throw new Error(`${target.flags.join(' ')}: ${String(done.stderr).slice(0, 4000)}`);
    return name;
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private run(args: readonly string[]) {
    if (this.compiler === undefined) throw new Error('there is no C compiler');
    return spawnSync(this.compiler[0], [...this.compiler.slice(1), ...args]);
  }

  private find(): string[] | undefined {
    const given = (process.env.CC ?? '').split(/\s+/).filter((word) => word !== '');
    const names = given.length > 0 ? [given] : [['cc'], ['gcc'], ['clang']];
    return names.find((name) => spawnSync(name[0], [...name.slice(1), '--version']).status === 0);
  }

  private probe(flags: readonly string[], needs: readonly string[]): { compiles: boolean; runs: boolean } {
    if (this.compiler === undefined) return { compiles: false, runs: false };
    const supported = needs.map((need) => `__builtin_cpu_supports("${need}")`).join(' && ') || '1';
    try {
      const program = this.compile(`int main(void) { return ${supported} ? 0 : 1; }`, { flags, lanes: 4 });
      return { compiles: true, runs: spawnSync(program).status === 0 };
    } catch {
      return { compiles: false, runs: false };
    }
  }
}

/**
 * Feeds `input` to the program's standard input.
 * @returns what it writes to standard output.
 * @throws Error if it does not end with 0.
 */
export function runC(program: string, args: readonly (string | number)[], input: NodeJS.TypedArray): Buffer {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength);
  const done = spawnSync(program, args.map(String), { input: bytes, maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: status ${done.status}, ${String(done.stderr)}`);
  return done.stdout;
}

/** The bytes as float32, copied to where they are aligned. */
export function floatsOf(bytes: Buffer): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

/** The distances of float32 numbers at float64 numbers, 2⁻¹⁴⁹ below 2⁻¹²⁶. */
export function spacings(values: Float64Array): Float64Array {
  const byExponent = Float64Array.from({ length: 2048 }, (_, e) => 2 ** (Math.max(e - 1023, -126) - 23));
  const words = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = byExponent[(words[2 * i + 1] >>> 20) & 2047];
  return out;
}
