/** Exported C, compiled as its header says and driven by a small program over given gradients. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CFiles } from '../../src/deploy/c-source';
import { floatsOf, runC } from './c-program';

/** What a user's compiler is strict about. */
const STRICT = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-pedantic'];

/** Reads parameters, then loss and gradients of each step; writes the parameters after each. Memory ends where tensors do. */
function driver(prefix: string, sizes: readonly number[]): string {
  return `#include "${prefix}.h"
#include <stdio.h>
#include <stdlib.h>

static const size_t sizes[] = {${sizes.join(', ')}};
enum { TENSORS = sizeof sizes / sizeof *sizes };

static void get(float *p, size_t n) {
  if (fread(p, sizeof *p, n, stdin) != n) exit(2);
}

int main(int argc, char **argv) {
  float *params[TENSORS], *gradients[TENSORS];
  ${prefix}_state *state = malloc(sizeof *state);
  const int32_t steps = argc > 1 ? atoi(argv[1]) : 0;
  if (!state) return 3;
  for (int i = 0; i < TENSORS; i++) {
    params[i] = malloc(sizes[i] * sizeof(float));
    gradients[i] = malloc(sizes[i] * sizeof(float));
    if (!params[i] || !gradients[i]) return 3;
    get(params[i], sizes[i]);
  }
  ${prefix}_init(state, params);
  for (int32_t t = 0; t < steps; t++) {
    float loss;
    get(&loss, 1);
    for (int i = 0; i < TENSORS; i++) get(gradients[i], sizes[i]);
    ${prefix}_update(params, gradients, state, t, loss);
    for (int i = 0; i < TENSORS; i++) fwrite(params[i], sizeof(float), sizes[i], stdout);
  }
  for (int i = 0; i < TENSORS; i++) free(params[i]), free(gradients[i]);
  free(state);
  return 0;
}
`;
}

/** Where the files lie, once they are written. */
export function writeC(folder: string, prefix: string, { header, source }: CFiles): void {
  writeFileSync(join(folder, `${prefix}.h`), header);
  writeFileSync(join(folder, `${prefix}.c`), source);
}

/**
 * @param flags after those that every compilation has
 * @returns the path of a program around `<prefix>.c` in the folder
 * @throws Error with the compiler's words
 */
export function compileC(folder: string, prefix: string, sizes: readonly number[], flags: readonly string[]): string {
  const main = join(folder, `${prefix}-main.c`);
  const program = join(folder, `${prefix}-${flags.join('').replace(/[^A-Za-z0-9]/g, '')}`);
  writeFileSync(main, driver(prefix, sizes));
  const compiler = process.env.CC ?? 'cc';
  const done = spawnSync(compiler, [...STRICT, ...flags, join(folder, `${prefix}.c`), main, '-lm', '-o', program]);
  if (done.status !== 0) throw new Error(`${flags.join(' ')}: ${String(done.stderr).slice(0, 4000)}`);
  return program;
}

/** One step's loss and gradients, tensor by tensor. */
export interface GivenStep {
  readonly loss: number;
  readonly gradients: readonly (readonly number[])[];
}

/** Parameters after every step. */
export function trajectory(
  program: string,
  start: readonly (readonly number[])[],
  steps: readonly GivenStep[],
): number[][][] {
  const input = Float32Array.from([
    ...start.flat(),
    ...steps.flatMap(({ loss, gradients }) => [loss, ...gradients.flat()]),
  ]);
  const values = floatsOf(runC(program, [steps.length], input));
  let at = 0;
  return steps.map(() => start.map(({ length }) => [...values.subarray(at, (at += length))]));
}
