/** Runs a program without a shell. */
import { spawn } from 'node:child_process';

export interface Finished {
  /** Exit code; null if a signal ended it or it never started. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  /** Why it did not start. */
  readonly failure?: NodeJS.ErrnoException;
}

export interface RunOptions {
  readonly milliseconds: number;
  readonly cwd?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Output beyond this is dropped: a compiler that complains without end must not fill the memory. */
const KEPT_CHARACTERS = 1 << 22;

/** Never rejects; a program that runs too long is killed together with what it has started. */
export function runProgram(program: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  return new Promise((resolve) => {
    const output = { stdout: '', stderr: '' };
    let timedOut = false;
    const child = spawn(program, args, {
      cwd: options.cwd,
      // Messages are read: they must come in English.
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: a compiler is several processes, and all of them end at the timeout.
      detached: true,
    });
    const timer = setTimeout(() => {
      timedOut = true;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    }, options.milliseconds);
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < KEPT_CHARACTERS) output[name] += text;
      });
    }
    const done = (code: number | null, signal: string | null, failure?: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      resolve({ code, signal, ...output, timedOut, ...(failure === undefined ? {} : { failure }) });
    };
    child.on('error', (error: NodeJS.ErrnoException) => done(null, null, error));
    child.on('close', (code, signal) => done(code, signal));
  });
}
