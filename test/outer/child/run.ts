/**
 * A process that runs or resumes a run folder and can be told to kill itself at its n-th call into the file system that
 * changes something: `node run.js '{"dir": …, "overrides": […], "killAt": 12}'`. Prints the number of such calls.
 */
import fs from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { createContainer } from '../../../src/container';
import { parseOverride, resolveConfig } from '../../../src/outer';
import { resumeRun, startRun } from '../../../src/outer/run-directory';

interface Order {
  readonly dir: string;
  readonly resume?: boolean;
  readonly preset: string;
  readonly overrides: readonly string[];
  /** Dies in front of this call, counted from 0; absent: never. */
  readonly killAt?: number;
}

const CHANGES = ['writeSync', 'writeFileSync', 'renameSync', 'fsyncSync', 'linkSync', 'rmSync', 'mkdirSync'] as const;

// Or it greets on standard error.
tf.enableProdMode();

const order = JSON.parse(process.argv[2]) as Order;
let calls = 0;
for (const name of CHANGES) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]): unknown => {
      if (calls++ === order.killAt) process.kill(process.pid, 'SIGKILL');
      return original(...args);
    },
  });
}

async function main(): Promise<void> {
  const resolver = createContainer();
  if (order.resume === true) {
    await resumeRun(order.dir, { resolver });
  } else {
    const config = resolveConfig({ preset: order.preset }, order.overrides.map(parseOverride), resolver);
    await startRun({ config, resolver, out: order.dir });
  }
  process.stdout.write(String(calls));
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
