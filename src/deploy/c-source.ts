/**
 * A learned optimizer as C: its update on tensors of given shapes, made by the native engine's planner and renderer, its
 * weights written into the text. Nothing but C11's mathematical library is needed.
 */
import { ConfigurationError, type LearnedOptimizer } from '../contracts';
import { planUpdate } from '../engines/native/plan/update';
import { PORTABLE_TARGET } from '../engines/native/render/portable';
import { renderUpdate } from '../engines/native/render/update';
import { traceUpdate } from '../graph/trace';
import { isConfigObject } from '../outer/config-merge';
import { version } from '../outer/version';
import { thetaChecksum, type OptimizerWeights } from './weights-file';

export interface CFiles {
  readonly header: string;
  readonly source: string;
}

const MOST_ELEMENTS = 2 ** 31 - 1;

/**
 * Shapes of a model's tensors from a line such as `784x128,128,128x10,10`; `scalar` is a tensor of no axes.
 * @throws ConfigurationError
 */
export function parseShapes(text: string): readonly (readonly number[])[] {
  return text.split(',').map((part) => {
    const word = part.trim();
    if (word === 'scalar') return [];
    const shape = word.split('x').map(Number);
    const size = shape.reduce((a, b) => a * b, 1);
    if (/^[0-9]+(x[0-9]+)*$/.test(word) && size > 0 && size <= MOST_ELEMENTS) return shape;
    throw new ConfigurationError(
      '--shapes',
      'the shapes of the tensors to be trained, such as 784x128,128,128x10,10 (`scalar` for a single number)',
      `"${part}"`,
    );
  });
}

/** What the record says of how θ came about; names of files on the machine that trained it are left out. */
function recordText({ record }: OptimizerWeights): string {
  const { data, ...rest } = record;
  const known = 'data' in record ? { ...rest, data: isConfigObject(data) ? data.name : data } : rest;
  return JSON.stringify(known, null, 1);
}

/** Lines of a comment of C. */
function comment(lines: readonly string[]): string {
  const body = lines.flatMap((line) => line.split('\n')).map((line) => ` * ${line}`.trimEnd());
  return ['/*', ...body.map((line) => line.replaceAll('*/', '* /')), ' */', ''].join('\n');
}

/** @throws ConfigurationError unless C can name things so */
function checkPrefix(prefix: string): void {
  if (/^[A-Za-z][A-Za-z0-9_]*$/.test(prefix) && !/^(ol|k)_|^OL_/.test(prefix)) return;
  throw new ConfigurationError(
    '--output',
    'a file whose name C can name functions by (letters, digits and _; not from ol_ or k_ on)',
    `"${prefix}.c"`,
  );
}

/**
 * One pair of files: equal weights, shapes and prefix give equal text.
 * @param shapes of the tensors to be trained, in the order in which they are given to the functions
 * @param prefix of everything that the header declares, and the files' name
 * @throws ConfigurationError for a name that is none in C, UserError for an optimizer that draws random numbers
 */
export function cFiles(
  weights: OptimizerWeights,
  optimizer: LearnedOptimizer,
  shapes: readonly (readonly number[])[],
  prefix: string,
): CFiles {
  checkPrefix(prefix);
  const program = planUpdate(traceUpdate(optimizer, shapes), PORTABLE_TARGET);
  const { source, numbers, stack } = renderUpdate(program, prefix, weights.theta);
  const guard = `${prefix.toUpperCase()}_H`;
  const what = `The optimizer ${weights.optimizer.name} as C11, by Outerloop ${version}: outerloop export --to c`;
  const usage = [
    what,
    'SPDX-License-Identifier: Apache-2.0',
    '',
    `float *params[] = {…}, *gradients[] = {…};  // ${shapes.length} of each, see below`,
    `${prefix}_state *state = malloc(sizeof *state);`,
    `${prefix}_init(state, params);`,
    'for (int32_t t = 0; t < steps; t++) {',
    '  float loss = …;  // of the batch that gave the gradients',
    `  ${prefix}_update(params, gradients, state, t, loss);`,
    '}',
    '',
    'Tensors are float32, row-major, in this order; params are written, gradients only read, and no two overlap:',
    ...shapes.map((shape, i) => `  ${i}: [${shape.join(', ')}]`),
    '',
    'One state belongs to one set of params; functions keep nothing elsewhere, so threads may train several. To go on',
    'later, save `state` with the params and t, call init, then put `state` back.',
    `An update takes ${Math.ceil(stack / 1024)} KiB of the stack at most. Compile with optimisation, link with -lm:`,
    `  cc -std=c11 -O3 -march=native -c ${prefix}.c`,
  ];
  const header = `${comment(usage)}#ifndef ${guard}
#define ${guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ${prefix}_state {
  float state[${numbers.state}];
  float constants[${numbers.constants}]; /* made of the weights by ${prefix}_init */
  float scratch[${numbers.scratch}]; /* of one update */
} ${prefix}_state;

/* The state before the first step. */
void ${prefix}_init(${prefix}_state *state, float *const params[]);

/* The step t, from 0: new params in place of the old ones. */
void ${prefix}_update(float *const params[], float *const gradients[], ${prefix}_state *state, int32_t t, float loss);

#ifdef __cplusplus
}
#endif

#endif
`;
  const facts = [
    what,
    'SPDX-License-Identifier: Apache-2.0',
    `How to use it is in ${prefix}.h.`,
    '',
    `optimizer: ${JSON.stringify(weights.optimizer)}`,
    `feature version: ${weights.featureVersion}`,
    `weights: ${weights.theta.length} numbers, SHA-256 of their float32 bytes ${thetaChecksum(weights.theta)}`,
    `training: ${recordText(weights)}`,
  ];
  return { header, source: `${comment(facts)}#include "${prefix}.h"\n\n${source}` };
}
