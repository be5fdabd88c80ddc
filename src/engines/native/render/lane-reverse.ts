/**
 * The job of a reverse window in lanes: a block of particles goes through a schedule (engines/shared/reverse-plan.ts) forward
 * and back. A state slot is what the way back is given, [θ, state, cotangent of the loss] × lanes.
 */
import { STREAMS } from '../../../random';
import type { Kernel } from '../nest/ir';
import type { LaneMajorProgram } from '../plan/program';
import { aligned, REVERSE_OPERATIONS, type NameOf } from './request';

interface Rendering {
  readonly nameOf: NameOf;
  /** Numbers that are summed over the steps: loss, metrics. */
  readonly sums: number;
  readonly guard: boolean;
}

export function laneReverseJob(
  program: LaneMajorProgram,
  back: LaneMajorProgram,
  { nameOf, sums, guard }: Rendering,
): { readonly text: string; readonly bytes: number; readonly slot: number } {
  const lanes = program.vectors * program.target.lanes;
  const { thetaSize } = program;
  const { elements } = program.state;
  const slot = aligned(4 * back.thetaSize * lanes);
  let bytes = 0;
  const take = (length: number): number => {
    const at = bytes;
    bytes += aligned(length);
    return at;
  };
  const places = {
    theta: take(4 * thetaSize * lanes),
    block: take(4 * elements * lanes),
    second: take(4 * elements * lanes),
    lambda: take(4 * elements * lanes),
    result: take(4 * Math.max(sums + 1, thetaSize + 2) * lanes),
    begin: take(4 * lanes),
    t: take(4 * lanes),
    keys: take(8 * program.streams.length * lanes),
    backKeys: take(8 * back.streams.length * lanes),
    sums: take(8 * sums * lanes),
    last: take(4 * lanes),
    gradient: take(8 * thetaSize * lanes),
  };
  const at = (name: keyof typeof places, type: string): string =>
    `  ${type} *const ${name} = (${type} *)(memory + ${places[name]});`;
  const fillKeys = (streams: LaneMajorProgram['streams'], keys: string): string =>
    streams.map((stream, s) => `  ol_lane_keys(q, e, ${STREAMS[stream]}u, ${keys} + ${2 * s * lanes});\n`).join('');
  const first = program.tables.length - back.tables.length;
  const call = (kernel: Kernel, theta: string, state: string, keys: string, from: number, count: number): string => {
    const tables = Array.from({ length: count }, (_, n) => `OL_AT(void, tables[${from + n}])`);
    const buffers = [theta, state, state, 'result', 't', keys, ...tables].map((x) => `(void *)${x}`);
    return `${nameOf(kernel)}(${[...buffers, '1'].join(', ')});`;
  };
  const code = (...names: (typeof REVERSE_OPERATIONS)[number][]): string =>
    names.map((name) => `case ${REVERSE_OPERATIONS.indexOf(name)}:`).join(' ');

  const text = `
static int ol_reverse_with(const struct ol_request *q, int64_t job, char *memory, const int64_t *tables) {
${[at('theta', 'float'), at('block', 'char'), at('second', 'char'), at('lambda', 'char'), at('result', 'float')].join('\n')}
${[at('begin', 'int32_t'), at('t', 'int32_t'), at('keys', 'int32_t'), at('backKeys', 'int32_t')].join('\n')}
${[at('sums', 'double'), at('last', 'float'), at('gradient', 'double')].join('\n')}
  char *const slots = memory + ${bytes};
  (void)tables, (void)keys, (void)backKeys;
  const struct ol_entries e = ol_entries(q, job);
  ol_theta_lanes(q, job * OL_BLOCK, 1, theta);
  char *const own = e.direct ? e.direct : block;
  if (!e.direct) ol_take(q, e, (uint32_t *)own);
  if (q->backup) {
    memcpy(OL_AT(char, q->backup) + job * OL_RECORD, own, ${4 * elements * lanes});
    OL_AT(uint8_t, q->begun)[job] = 1;
  }
  ol_phases(q, e, begin);
${fillKeys(program.streams, 'keys')}${fillKeys(back.streams, 'backKeys')}  memset(lambda, 0, ${4 * elements * lanes});
  memset(sums, 0, ${8 * sums * lanes});
  memset(gradient, 0, ${8 * thetaSize * lanes});
  char *working = own;
  for (int64_t n = 0; n < q->instructions; n++) {
    if (n > 0 && (n & 63) == 0 && ol_stopped(q)) return OL_CANCELLED;
    const int32_t *const instruction = OL_AT(const int32_t, q->schedule) + 5 * n;
    char *const given = slots + (int64_t)instruction[2] * ${slot};
    for (int64_t l = 0; l < OL_BLOCK; l++) t[l] = begin[l] + instruction[1];
    switch (instruction[0]) {
      ${code('save')}
        memcpy(given, theta, ${4 * thetaSize * lanes});
        memcpy(given + ${4 * thetaSize * lanes}, working, ${4 * elements * lanes});
        break;
      ${code('load')}
        working = second;
        memcpy(second, given + ${4 * thetaSize * lanes}, ${4 * elements * lanes});
        break;
      ${code('step', 'record')}
        ${call(program.step, 'theta', 'working', 'keys', 0, first)}
        break;
      ${code('countedStep', 'countedRecord')}
        ${call(program.step, 'theta', 'working', 'keys', 0, first)}
        for (int64_t k = 0; k < ${sums * lanes}; k++) sums[k] += result[k];
        memcpy(last, result + ${sums * lanes}, ${4 * lanes});
        break;
      default: {
        const float weight = (float)(instruction[1] == q->steps - 1 ? q->lastWeight : q->weight);
        float *const loss = (float *)given + ${(thetaSize + elements) * lanes};
        for (int64_t l = 0; l < OL_BLOCK; l++) loss[l] = weight;
        ${call(back.step, 'given', 'lambda', 'backKeys', first, back.tables.length)}
        for (int64_t k = 0; k < ${thetaSize * lanes}; k++) gradient[k] += result[${lanes} + k];
      }
    }
  }
  double *const out = OL_AT(double, q->results) + e.first;
  for (int64_t l = 0; l < e.count; l++) {
    out[l] = sums[l];
    out[q->count + l] = last[l];
    for (int64_t k = 1; k < ${sums}; k++) out[(k + 1) * q->count + l] = sums[k * OL_BLOCK + l];
    for (int64_t k = 0; k < ${thetaSize}; k++) out[(${sums + 1} + k) * q->count + l] = gradient[k * OL_BLOCK + l];
  }
  if (!e.direct) ol_put(q, e, (const uint32_t *)own);
  return 0;
}
int ol_reverse(void *context, int64_t first, int64_t count, void *memory) {
  const struct ol_request *q = context;
  for (int64_t job = first; job < first + count; job++) {
    if (job > first && ol_stopped(q)) return OL_CANCELLED;
${
  guard
    ? `    (void)memory;
    char *const mine = ol_guard_new(${bytes} + q->states * ${slot});
    int64_t tables[OL_TABLES + 1];
    ol_guard_tables(q, tables);
    const int code = ol_reverse_with(q, job, mine, tables);
    ol_guard_release(tables);
    free(mine);`
    : `    const int code = ol_reverse_with(q, job, memory, OL_AT(const int64_t, q->tables));`
}
    if (code != 0) return code;
  }
  return 0;
}
`;
  return { text, bytes, slot };
}
