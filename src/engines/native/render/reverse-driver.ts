/**
 * The job of a reverse window: one particle goes through a schedule (engines/shared/reverse-plan.ts) forward and back, in one
 * call. State slots and tape slots lie behind the thread's arenas, as many as the request says.
 */
import type { KernelCall, ParticleMajorProgram, PlannedFunction, ReverseFunctions } from '../plan/program';
import { Keys } from './draw-keys';
import { guardedCall } from './guard';
import { aligned, ALIGNMENT, eachEntry, indent, REVERSE_OPERATIONS, type NameOf } from './request';

interface Rendering {
  readonly nameOf: NameOf;
  /** Numbers that are summed over the steps: loss, metrics. */
  readonly sums: number;
  readonly guard: boolean;
  readonly callText: (call: KernelCall, keys: Keys, nameOf: NameOf) => string;
}

const OPERATION = Object.fromEntries(REVERSE_OPERATIONS.map((name, i) => [name, i])) as Record<
  (typeof REVERSE_OPERATIONS)[number],
  number
>;

export function reverseJob(
  program: ParticleMajorProgram,
  { record, back, start, tapeBytes, cotangentBytes, lossOffset }: ReverseFunctions,
  rendering: Rendering,
): { readonly text: string; readonly bytes: number } {
  const { step, thetaSize } = program;
  const recordBytes = program.state.bytes;
  const functions = { step, record, back, ...(start === undefined ? {} : { start }) };
  let bytes = 0;
  const take = (length: number): number => {
    const at = bytes;
    // Vectors at the end of an arena may be loaded whole where only their first lanes count.
    bytes += aligned(length) + ALIGNMENT;
    return at;
  };
  const most = (of: (planned: PlannedFunction) => number): number => Math.max(...Object.values(functions).map(of));
  const arenas = {
    theta: take(4 * thetaSize),
    scratch: take(most(({ scratchBytes }) => scratchBytes)),
    result: take(
      4 *
        Math.max(
          1,
          most(({ results }) => results),
        ),
    ),
    t: take(4),
    cotangent: take(cotangentBytes),
    sums: take(8 * rendering.sums),
    gradient: take(8 * thetaSize),
  };
  const windows = Object.fromEntries(
    Object.entries(functions).map(([name, { windowBytes }]) => [name, take(windowBytes)]),
  );
  // The second working state, then the slots.
  const second = take(recordBytes);
  const slots = bytes;
  const texts = Object.entries(functions).map(([name, planned]) =>
    functionText(name, planned, windows[name], { ...rendering, recordBytes, memoryBytes: slots }),
  );
  const { sums, guard } = rendering;

  const text = `
struct ol_frame {
  const struct ol_request *q;
  const int64_t *tables;
  char *memory, *theta, *state, *next, *tape, *cotangent, *scratch, *result;
  int32_t *t;
  int32_t worker, episode;
  const uint32_t *seed;
};
${texts.join('\n')}
static int ol_reverse_with(const struct ol_request *q, int64_t i, char *memory, const int64_t *tables) {
  const int64_t particle = OL_AT(const int32_t, q->particles)[i];
  const int64_t at = q->fresh ? i : particle;
  char *const own = OL_AT(char, q->population) + particle * ${recordBytes};
  char *const second = memory + ${second}, *const slots = memory + ${slots};
  char *const tapes = slots + q->states * ${recordBytes};
  double *const sums = (double *)(memory + ${arenas.sums}), *const gradient = (double *)(memory + ${arenas.gradient});
  struct ol_frame f = {
    .q = q, .tables = tables, .memory = memory, .theta = memory + ${arenas.theta}, .state = own,
    .cotangent = memory + ${arenas.cotangent}, .scratch = memory + ${arenas.scratch}, .result = memory + ${arenas.result},
    .t = (int32_t *)(memory + ${arenas.t}), .worker = OL_AT(const int32_t, q->workers)[at],
    .episode = OL_AT(const int32_t, q->episodes)[at], .seed = OL_AT(const uint32_t, q->seeds) + 2 * ol_run(q, i),
  };
  const int32_t begin = OL_AT(const int32_t, q->t)[at];
  if (q->backup) {
    memcpy(OL_AT(char, q->backup) + i * ${recordBytes}, own, ${recordBytes});
    OL_AT(uint8_t, q->begun)[i] = 1;
  }
  ol_theta(q, i, ${thetaSize}, (float *)f.theta);
  memset(f.cotangent, 0, ${cotangentBytes});
  memset(sums, 0, ${8 * sums});
  memset(gradient, 0, ${8 * thetaSize});
  *f.t = begin;
  ol_reverse_step_once(&f), ol_reverse_record_once(&f), ol_reverse_back_once(&f);
  char *working = own;
  double last = 0;
  for (int64_t n = 0; n < q->instructions; n++) {
    if (n > 0 && ol_stopped(q)) return OL_CANCELLED;
    const int32_t *const instruction = OL_AT(const int32_t, q->schedule) + 5 * n;
    const int32_t operation = instruction[0], a = instruction[2], b = instruction[3], c = instruction[4];
    *f.t = begin + instruction[1];
    f.state = working;
    switch (operation) {
      case ${OPERATION.save}: memcpy(slots + (int64_t)a * ${recordBytes}, working, ${recordBytes}); break;
      case ${OPERATION.load}: working = second; memcpy(second, slots + (int64_t)a * ${recordBytes}, ${recordBytes}); break;
      case ${OPERATION.step}: case ${OPERATION.countedStep}: ol_reverse_step(&f); break;
      case ${OPERATION.record}: case ${OPERATION.countedRecord}:
        f.tape = tapes + (int64_t)a * ${tapeBytes};
        ol_reverse_record(&f);
        break;
      default:
        f.state = slots + (int64_t)a * ${recordBytes};
        f.next = b < 0 ? working : slots + (int64_t)b * ${recordBytes};
        f.tape = tapes + (int64_t)c * ${tapeBytes};
        *(float *)(f.cotangent + ${lossOffset}) = (float)(instruction[1] == q->steps - 1 ? q->lastWeight : q->weight);
        ol_reverse_back(&f);
        for (int k = 0; k < ${thetaSize}; k++) gradient[k] += ((const float *)f.result)[k];
    }
    if (operation >= ${OPERATION.countedStep}) {
      for (int k = 0; k < ${sums}; k++) sums[k] += ((const float *)f.result)[k];
      last = ((const float *)f.result)[0];
    }
  }
${
  start === undefined
    ? ''
    : `  if (q->start) {
    *f.t = 0;
    ol_reverse_start_once(&f);
    ol_reverse_start(&f);
    for (int k = 0; k < ${thetaSize}; k++) gradient[k] += ((const float *)f.result)[k];
  }
`
}  double *out = OL_AT(double, q->results) + i;
  out[0] = sums[0];
  out[q->count] = last;
  for (int k = 1; k < ${sums}; k++) out[(k + 1) * q->count] = sums[k];
  for (int k = 0; k < ${thetaSize}; k++) out[(${sums + 1} + k) * q->count] = gradient[k];
  return 0;
}
${
  guard
    ? `static int ol_reverse_one(void *context, int64_t i, void *shared) {
  (void)shared;
  const struct ol_request *q = context;
  char *const memory = ol_guard_new(${slots} + q->states * ${recordBytes} + q->tapes * ${tapeBytes});
  int64_t tables[OL_TABLES + 1];
  ol_guard_tables(q, tables);
  const int code = ol_reverse_with(q, i, memory, tables);
  ol_guard_release(tables);
  free(memory);
  return code;
}`
    : `static int ol_reverse_one(void *context, int64_t i, void *memory) {
  const struct ol_request *q = context;
  return ol_reverse_with(q, i, memory, OL_AT(const int64_t, q->tables));
}`
}
${eachEntry('ol_reverse')}`;
  return { text, bytes: slots };
}

/** `ol_reverse_<name>_once`, what does not change within the window, and `ol_reverse_<name>`. */
function functionText(
  name: string,
  planned: PlannedFunction,
  window: number,
  { nameOf, guard, callText, recordBytes, memoryBytes }: Rendering & { recordBytes: number; memoryBytes: number },
): string {
  const text = (suffix: string, calls: readonly KernelCall[]): string => {
    const keys = new Keys();
    const lines = calls.map((call) => {
      const called = callText(call, keys, nameOf);
      return guard ? guardedCall(called, call, recordBytes, memoryBytes) : called;
    });
    return `
static void ol_reverse_${name}${suffix}(const struct ol_frame *f) {
  const struct ol_request *const q = f->q;
  const int64_t *const tables = f->tables;
  char *const memory = f->memory, *const window = f->memory + ${window};
  char *const theta = f->theta, *const state = f->state, *const next = f->next, *const tape = f->tape;
  char *const cotangent = f->cotangent, *const scratch = f->scratch, *const result = f->result;
  int32_t *const t = f->t;
  const int32_t worker = f->worker, episode = f->episode;
  const uint32_t *const seed = f->seed;
  (void)q, (void)tables, (void)memory, (void)window, (void)theta, (void)state, (void)next, (void)tape, (void)cotangent;
  (void)scratch, (void)result, (void)t, (void)worker, (void)episode, (void)seed;
${indent([...keys.once, ...keys.perStep, ...lines], 2)}
}`;
  };
  return [text('_once', planned.prologue), text('', planned.calls)].join('\n');
}
