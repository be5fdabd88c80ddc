/** Commands without a process of their own: starting one costs a second, and dozens of them minutes on a busy machine. */
import { PassThrough } from 'node:stream';
import { runCommandLine } from '../../src/cli/program';
import type { Terminal } from '../../src/cli/session';

/** What a command ended with and printed. Paths are absolute, or relative to where the tests run. */
export async function here(
  ...args: string[]
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await runCommandLine(args, { out, err } as unknown as Terminal);
  const text = (stream: PassThrough): string => (stream.read() as Buffer | null)?.toString() ?? '';
  return { code, stdout: text(out), stderr: text(err) };
}
