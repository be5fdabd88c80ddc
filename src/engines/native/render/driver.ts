/**
 * C text around the kernels of a program: `ol_reset`, `ol_advance` and `ol_finish` are jobs of the runtime's threads, one
 * particle (or one block of lanes) of a request each. What a particle computes depends on nothing but itself, so that its
 * bits are the same in any company and on any number of threads.
 */
import { tableOf } from '../nest/dedupe';
import type { Kernel } from '../nest/ir';
import type { KernelCall, NativeProgram, ParticleMajorProgram, Place, PlannedFunction } from '../plan/program';
import { Keys } from './draw-keys';
import { guardedCall, guardedJob, guardHead } from './guard';
import { laneMajor } from './lane-driver';
import { profileText } from './profile';
import { reverseJob } from './reverse-driver';
import {
  aligned,
  ALIGNMENT,
  COMMON,
  eachEntry,
  indent,
  offsetText,
  type Driver,
  type NameOf,
  type RenderOptions,
} from './request';
import { renderUnits } from './units';

/**
 * The whole C text of a program.
 * @param texts what kernels and driver call: mathematics, Threefry and normals, `ol_perturb`, `ol_accumulate`.
 * @param sums numbers of the step's results that windows sum beside the loss: metrics, then sums.
 * @param finishes number of the outputs of `finish`.
 */
export function renderProgram(
  program: NativeProgram,
  texts: readonly string[],
  sums: number,
  finishes: number,
  { profile = false, guard = false, units = 1 }: RenderOptions = {},
): Driver {
  const table = tableOf(kernelsOf(program));
  const nameOf: NameOf = (kernel) => table.nameOf(kernel);
  const { main, others } = renderUnits(table, program.target, texts, units);
  const driver =
    program.mode === 'particle-major'
      ? particleMajor(program, main, nameOf, sums, finishes, { profile, guard })
      : laneMajor(program, main, nameOf, sums, finishes, guard);
  return { ...driver, sources: [...driver.sources, ...others] };
}

function kernelsOf(program: NativeProgram): Kernel[] {
  const more =
    program.mode === 'lane-major'
      ? [program.back?.step]
      : [program.reverse?.record, program.reverse?.back, program.reverse?.start];
  const functions = [program.init, program.step, program.finish, ...more].filter((part) => part !== undefined);
  return functions.flatMap((part) =>
    'body' in part
      ? [part]
      : [...part.prologue, ...(part.tiles ?? []).flatMap(({ calls }) => calls), ...part.calls].map(
          ({ kernel }) => kernel,
        ),
  );
}

/** Places of a thread's arenas within its memory. */
interface Arenas {
  readonly theta: number;
  readonly window: number;
  readonly scratch: number;
  readonly result: number;
  readonly t: number;
  readonly sums: number;
  readonly bytes: number;
}

function arenasOf(thetaSize: number, { windowBytes, scratchBytes, results }: PlannedFunction): Arenas {
  let bytes = 0;
  const take = (length: number): number => {
    const at = bytes;
    // Vectors at the end of an arena may be loaded whole where only their first lanes count.
    bytes += aligned(length) + ALIGNMENT;
    return at;
  };
  return {
    theta: take(4 * thetaSize),
    window: take(windowBytes),
    scratch: take(scratchBytes),
    result: take(4 * Math.max(1, results)),
    t: take(4),
    sums: take(8 * Math.max(1, results)),
    bytes,
  };
}

function particleMajor(
  program: ParticleMajorProgram,
  kernels: string,
  nameOf: NameOf,
  sums: number,
  finishes: number,
  { profile, guard }: Required<Omit<RenderOptions, 'units'>>,
): Driver {
  const { thetaSize, state, init, step, finish } = program;
  const text = (name: string, planned: PlannedFunction, results: number): [string, number] => {
    const arenas = arenasOf(thetaSize, planned);
    const timed = profile && name === 'ol_advance';
    return [particleJob(program, name, planned, results, arenas, nameOf, timed, guard), arenas.bytes];
  };
  const [reset, resetBytes] = text('ol_reset', init, 0);
  const [advance, advanceBytes] = text('ol_advance', step, 1 + sums);
  const [end, endBytes] = finish === undefined ? ['', 0] : text('ol_finish', finish, finishes);
  const backward =
    program.reverse === undefined
      ? undefined
      : reverseJob(program, program.reverse, { nameOf, sums: 1 + sums, guard, callText });
  const restore = `
/* Takes back what a job has begun. */
static int ol_restore_one(void *context, int64_t i, void *scratch) {
  (void)scratch;
  const struct ol_request *q = context;
  if (!OL_AT(const uint8_t, q->begun)[i]) return 0;
  char *state = OL_AT(char, q->population) + (int64_t)OL_AT(const int32_t, q->particles)[i] * ${state.bytes};
  memcpy(state, OL_AT(const char, q->backup) + i * ${state.bytes}, ${state.bytes});
  return 0;
}
${eachEntry('ol_restore', false)}`;
  return {
    sources: [
      [
        ...[kernels, COMMON, profile ? profileText(step) : '', guard ? guardHead(program) : ''],
        ...[reset, advance, end, restore, backward?.text ?? ''],
      ].join('\n'),
    ],
    scratch: { init: resetBytes, step: advanceBytes, finish: endBytes },
    ...(backward === undefined
      ? {}
      : { reverse: { bytes: backward.bytes, slot: state.bytes, tape: program.reverse!.tapeBytes } }),
    record: state.bytes,
    lanes: 1,
  };
}

function placeText(place: Place): string {
  return place.arena === 'table'
    ? `OL_AT(void, tables[${place.table}] + ${offsetText(place)})`
    : `(void *)(${place.arena} + ${offsetText(place)})`;
}

function callText(call: KernelCall, keys: Keys, nameOf: NameOf): string {
  const scalars = call.key === undefined ? [] : [0, 1].map((word) => `${keys.name(call.key!)}[${word}]`);
  const comment = call.origin.replaceAll('*/', '* /').replaceAll('\n', ' ');
  return `/* ${comment} */ ${nameOf(call.kernel)}(${[...call.places.map(placeText), ...scalars].join(', ')});`;
}

function particleJob(
  program: ParticleMajorProgram,
  name: string,
  planned: PlannedFunction,
  results: number,
  arenas: Arenas,
  nameOf: NameOf,
  timed: boolean,
  guard: boolean,
): string {
  const { bytes } = program.state;
  const keys = new Keys();
  const called = (call: KernelCall): string => {
    const text = callText(call, keys, nameOf);
    return guard ? guardedCall(text, call, bytes, arenas.bytes) : text;
  };
  const prologue = planned.prologue.map(called);
  const calls = planned.calls.map((call, n) => {
    const text = called(call);
    return timed ? `{ const double since = ol_now(); ${text} ol_spent[${n}] += ol_now() - since; }` : text;
  });
  const stepping = name === 'ol_advance';
  const writes = name !== 'ol_finish';
  const tiles = (planned.tiles ?? []).flatMap((tiled) => [
    `for (int64_t tile = 0; tile < ${tiled.count}; tile++) {`,
    indent(tiled.calls.map(called), 2),
    '}',
  ]);
  const body = [...keys.perStep, ...tiles, ...calls];
  const record = guard ? '' : `char *const state = OL_AT(char, q->population) + particle * ${bytes};`;
  return `
${guard ? `static int ${name}_inner(void *context, int64_t i, char *memory, char *const state)` : `static int ${name}_one(void *context, int64_t i, void *memory)`} {
  const struct ol_request *q = context;
  char *const theta = (char *)memory + ${arenas.theta};
  char *const window = (char *)memory + ${arenas.window};
  char *const scratch = (char *)memory + ${arenas.scratch};
  char *const result = (char *)memory + ${arenas.result};
  int32_t *const t = (int32_t *)((char *)memory + ${arenas.t});
  const int64_t *const tables = OL_AT(const int64_t, q->tables);
  const int64_t particle = OL_AT(const int32_t, q->particles)[i];
  const int64_t at = q->fresh ? i : particle;
  const int32_t worker = OL_AT(const int32_t, q->workers)[at], episode = OL_AT(const int32_t, q->episodes)[at];
  const uint32_t *const seed = OL_AT(const uint32_t, q->seeds) + 2 * ol_run(q, i);
  ${record}
  (void)window, (void)scratch, (void)result, (void)tables, (void)worker, (void)episode, (void)seed, (void)state;
  *t = OL_AT(const int32_t, q->t)[at];
${
  writes
    ? `  if (q->backup) {
    memcpy(OL_AT(char, q->backup) + i * ${bytes}, state, ${bytes});
    OL_AT(uint8_t, q->begun)[i] = 1;
  }
`
    : ''
}  ol_theta(q, i, ${program.thetaSize}, (float *)theta);
${indent([...keys.once, ...prologue], 2)}
${
  stepping
    ? `  double *const sums = (double *)((char *)memory + ${arenas.sums});
  memset(sums, 0, ${8 * results});
  for (int64_t step = 0; step < q->steps; step++) {
    if (step > 0 && ol_stopped(q)) return OL_CANCELLED;
${indent(body, 4)}
    for (int k = 0; k < ${results}; k++) sums[k] += ((const float *)result)[k];
    ++*t;
  }
  double *out = OL_AT(double, q->results) + i;
  out[0] = sums[0];
  out[q->count] = ((const float *)result)[0];
  for (int k = 1; k < ${results}; k++) out[(k + 1) * q->count] = sums[k];
`
    : `${indent(body, 2)}
  for (int k = 0; k < ${results}; k++) OL_AT(double, q->results)[k * q->count + i] = ((const float *)result)[k];
`
}  return 0;
}
${guard ? guardedJob(name, bytes, arenas.bytes) : ''}${eachEntry(name)}`;
}
