/**
 * Hand-written windows in C, from a folder of one's own: OUTERLOOP_REFERENCE_C or --reference-c. They print a line of
 * what they reached, which is read here; each run checks itself against a double-precision loop first. They need
 * AVX-512.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchCase } from '../cases';
import type { Candidate, Readiness } from './candidate';
import { C_COMPILER, output, privateFolder } from './native-tools';

type Program = NonNullable<BenchCase['reference']>['program'];

const FLAGS = ['-O3', '-march=native', '-ffast-math'];
const LIBRARIES = ['-lpthread', '-lm'];
/** Rounds that the programs time themselves take the median of; those of the last two are built in. */
const REPEATS: Readonly<Record<Program, readonly string[]>> = { mnist: ['2', '1'], lopt: ['2', '5'], lor: [], inf: [] };

/** The binaries of a folder, built on demand. */
export class ReferenceC {
  private readonly built = new Map<Program, Promise<string>>();
  private readonly out = privateFolder();

  constructor(private readonly folder: string) {}

  /** @throws Error if the compiler refuses: most often for want of AVX-512 */
  binary(program: Program): Promise<string> {
    const known = this.built.get(program) ?? this.build(program);
    this.built.set(program, known);
    return known;
  }

  private async build(program: Program): Promise<string> {
    if (!existsSync(this.folder)) throw new Error(`there is no folder ${this.folder}`);
    const source = await this.source(program);
    const binary = join(this.out, program);
    const threads = program === 'inf' ? ['-DNT=2'] : [];
    try {
      await output(C_COMPILER, [...FLAGS, ...threads, source, '-o', binary, ...LIBRARIES]);
    } catch (error) {
      if (!(await hasAvx512())) throw new Error('it needs AVX-512, which this machine lacks', { cause: error });
      throw error;
    }
    return binary;
  }

  private async source(program: Program): Promise<string> {
    if (program === 'lor' || program === 'inf') return join(this.folder, `${program}.c`);
    const generate = async (script: string, args: readonly string[], to: string): Promise<string> => {
      const file = join(this.out, to);
      await writeFile(file, await output('python3', ['-B', join(this.folder, script), ...args], this.out));
      return file;
    };
    const mnist = await generate('gen_mnist2.py', ['u8'], 'mnist.c');
    // Takes its header from the other's.
    return program === 'mnist' ? mnist : generate('gen_lopt2.py', [], 'lopt.c');
  }
}

async function hasAvx512(): Promise<boolean> {
  try {
    return (await readFile('/proc/cpuinfo', 'utf8')).includes('avx512f');
  } catch {
    return false;
  }
}

export class ReferenceCandidate implements Candidate {
  readonly name = 'reference C';
  private bytes: number | undefined;
  private binary = '';

  constructor(
    private readonly builder: ReferenceC,
    private readonly benchCase: BenchCase,
  ) {}

  async check(): Promise<string> {
    const { program } = this.required();
    this.binary = await this.builder.binary(program);
    const said = await output(this.binary, [...this.required().arguments, ...REPEATS[program]]);
    if (program === 'inf') return said.split(';')[0];
    const found = /max rel err ([-+.e\d]+)/.exec(said);
    if (found === null || !(Number(found[1]) < 1e-4)) throw new Error(`its own check failed: ${said.slice(0, 200)}`);
    return `differs from its double-precision loop by ${found[1]}`;
  }

  async start(): Promise<Readiness> {
    return { seconds: await this.round() };
  }

  async round(): Promise<number> {
    const { particles, window, windows } = this.benchCase;
    const { program } = this.required();
    const said = await output(this.binary, [...this.required().arguments, ...REPEATS[program]]);
    const rate = /(\d+) particle-steps\/s/.exec(said);
    if (rate === null) throw new Error(`no rate in: ${said.slice(0, 200)}`);
    const memory = /rss (\d+) MB/.exec(said);
    if (memory !== null) this.bytes = Number(memory[1]) * 2 ** 20;
    return (particles * window * windows) / Number(rate[1]);
  }

  peak(): Promise<number | undefined> {
    return Promise.resolve(this.bytes);
  }

  close(): void {
    // Nothing runs between rounds.
  }

  private required(): NonNullable<BenchCase['reference']> {
    const { reference } = this.benchCase;
    if (reference === undefined) throw new Error(`case ${this.benchCase.name} has no hand-written C`);
    return reference;
  }
}
