/** Small C programs of the bench: compiled once into a private folder, run, read line by line. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const C_COMPILER = process.env.CC ?? 'cc';

/** Standard output of a command. @throws Error with the first lines of what it said */
export function output(command: string, args: readonly string[], cwd?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd, maxBuffer: 64 * 2 ** 20 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new Error(`${command} ${args.join(' ')}: ${(stderr || error.message).split('\n').slice(0, 3).join(' ')}`),
        );
    });
  });
}

/** A folder for binaries that goes with the process. */
export function privateFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'outerloop-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
