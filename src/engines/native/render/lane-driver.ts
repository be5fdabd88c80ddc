/** The driver of lane-major programs: a job is one block of particles, in the lanes of a few vectors. */
import { STREAMS } from '../../../random';
import type { Kernel } from '../nest/ir';
import type { LaneMajorProgram } from '../plan/program';
import { guardHead } from './guard';
import { aligned, COMMON, indent, type Driver, type NameOf } from './request';

export function laneMajor(
  program: LaneMajorProgram,
  kernels: string,
  nameOf: NameOf,
  metrics: number,
  finishes: number,
  guard: boolean,
): Driver {
  const lanes = program.vectors * program.target.lanes;
  const record = aligned(4 * program.state.elements * lanes);
  const jobs: [string, Kernel | undefined, number][] = [
    ['ol_reset', program.init, 0],
    ['ol_advance', program.step, 2 + metrics],
    ['ol_finish', program.finish, finishes],
  ];
  const texts = jobs.map(([name, kernel, results]) =>
    kernel === undefined ? { text: '', bytes: 0 } : laneJob(program, name, kernel, results, nameOf, guard),
  );
  const [init, step, finish] = texts.map(({ bytes }) => bytes);
  return {
    sources: [
      [
        ...[kernels, COMMON, guard ? guardHead(program) : '', laneCommon(program, lanes, record)],
        ...texts.map(({ text }) => text),
      ].join('\n'),
    ],
    scratch: { init, step, finish },
    record,
    lanes,
  };
}

function laneCommon(program: LaneMajorProgram, lanes: number, record: number): string {
  const { elements } = program.state;
  return `
enum { OL_BLOCK = ${lanes}, OL_ELEMENTS = ${elements}, OL_RECORD = ${record} };

/* Entries of a job, and whether they are one block of the population, in order. */
struct ol_entries {
  int64_t first, count;
  char *direct;
};
static struct ol_entries ol_entries(const struct ol_request *q, int64_t job) {
  const int32_t *particles = OL_AT(const int32_t, q->particles);
  struct ol_entries e = {job * OL_BLOCK, OL_BLOCK, 0};
  if (e.first + e.count > q->count) e.count = q->count - e.first;
  const int64_t base = particles[e.first];
  if (base % OL_BLOCK != 0 || (e.count < OL_BLOCK && base + e.count != q->size)) return e;
  for (int64_t l = 1; l < e.count; l++)
    if (particles[e.first + l] != base + l) return e;
  e.direct = OL_AT(char, q->population) + base / OL_BLOCK * OL_RECORD;
  return e;
}
static uint32_t *ol_lane(const struct ol_request *q, int64_t entry) {
  const int64_t particle = OL_AT(const int32_t, q->particles)[entry];
  return OL_AT(uint32_t, q->population) + particle / OL_BLOCK * (OL_RECORD / 4) + particle % OL_BLOCK;
}
/* Unused lanes repeat the last particle. */
static void ol_take(const struct ol_request *q, struct ol_entries e, uint32_t *block) {
  for (int64_t l = 0; l < OL_BLOCK; l++) {
    const uint32_t *lane = ol_lane(q, e.first + (l < e.count ? l : e.count - 1));
    for (int64_t k = 0; k < OL_ELEMENTS; k++) block[k * OL_BLOCK + l] = lane[k * OL_BLOCK];
  }
}
static void ol_put(const struct ol_request *q, struct ol_entries e, const uint32_t *block) {
  for (int64_t l = 0; l < e.count; l++) {
    uint32_t *lane = ol_lane(q, e.first + l);
    for (int64_t k = 0; k < OL_ELEMENTS; k++) lane[k * OL_BLOCK] = block[k * OL_BLOCK + l];
  }
}
/* Index of the entry that a lane stands for. */
static int64_t ol_entry(struct ol_entries e, int64_t lane) { return e.first + (lane < e.count ? lane : e.count - 1); }

/* θ of all lanes, [θ × lanes]; noise is drawn for a vector of lanes at a time. */
static void ol_theta_lanes(const struct ol_request *q, struct ol_entries e, float *out) {
  enum { SIZE = ${program.thetaSize} };
  const double *theta = OL_AT(const double, q->theta);
  if (q->form == 0) {
    for (int64_t j = 0; j < SIZE; j++)
      for (int64_t l = 0; l < OL_BLOCK; l++) out[j * OL_BLOCK + l] = (float)theta[j];
    return;
  }
  if (q->form == 2) {
    for (int64_t l = 0; l < OL_BLOCK; l++)
      for (int64_t j = 0; j < SIZE; j++) out[j * OL_BLOCK + l] = (float)theta[ol_entry(e, l) * SIZE + j];
    return;
  }
  for (int64_t first = 0; first < OL_BLOCK; first += OL_LANES) {
    /* Entries of the lanes lie side by side, but for lanes that repeat the last one. */
    uint32_t keys[2][OL_LANES];
    double scale[OL_LANES];
    const int64_t entry = e.first + first;
    if (first + OL_LANES <= e.count) {
      const uint32_t *words = OL_AT(const uint32_t, q->keys) + 2 * entry;
      const int8_t *signs = OL_AT(const int8_t, q->signs) + entry;
      for (int l = 0; l < OL_LANES; l++) keys[0][l] = words[2 * l], keys[1][l] = words[2 * l + 1];
      for (int l = 0; l < OL_LANES; l++) scale[l] = (double)signs[l] * q->sigma;
    } else {
      for (int l = 0; l < OL_LANES; l++) {
        const int64_t each = ol_entry(e, first + l);
        keys[0][l] = OL_AT(const uint32_t, q->keys)[2 * each];
        keys[1][l] = OL_AT(const uint32_t, q->keys)[2 * each + 1];
        scale[l] = (double)OL_AT(const int8_t, q->signs)[each] * q->sigma;
      }
    }
    olu k[2];
    memcpy(k, keys, sizeof keys);
    for (int64_t j = 0; j < SIZE; j += 2) {
      olu w0, w1;
      olv pair[2];
      float noise[2][OL_LANES], sum[OL_LANES];
      ol_threefry(k[0], k[1], ol_splat_u((uint32_t)(j / 2)), ol_splat_u(0), &w0, &w1);
      ol_normals(w0, w1, &pair[0], &pair[1]);
      memcpy(noise, pair, sizeof pair);
      for (int n = 0; n < 2 && j + n < SIZE; n++) {
        const double base = theta[j + n];
        for (int l = 0; l < OL_LANES; l++) sum[l] = (float)(base + scale[l] * (double)noise[n][l]);
        memcpy(out + (j + n) * OL_BLOCK + first, sum, sizeof sum);
      }
    }
  }
}
/* episodeKey of one stream for all lanes, [2 × lanes]. */
static void __attribute__((unused)) ol_lane_keys(const struct ol_request *q, struct ol_entries e, uint32_t stream, int32_t *out) {
  uint32_t base[2] = {(uint32_t)q->seed0, (uint32_t)q->seed1};
  ol_fold(base, stream);
  const olu word = ol_splat_u(0x9e3779b9u);
  for (int64_t first = 0; first < OL_BLOCK; first += OL_LANES) {
    olu worker, episode, k0 = ol_splat_u(base[0]), k1 = ol_splat_u(base[1]), a, b;
    for (int l = 0; l < OL_LANES; l++) {
      const int64_t entry = ol_entry(e, first + l);
      const int64_t at = q->fresh ? entry : OL_AT(const int32_t, q->particles)[entry];
      worker[l] = (uint32_t)OL_AT(const int32_t, q->workers)[at];
      episode[l] = (uint32_t)OL_AT(const int32_t, q->episodes)[at];
    }
    ol_threefry(k0, k1, worker, word, &a, &b);
    ol_threefry(a, b, episode, word, &k0, &k1);
    memcpy(out + first, &k0, sizeof k0);
    memcpy(out + OL_BLOCK + first, &k1, sizeof k1);
  }
}
int ol_restore(void *context, int64_t job, void *scratch) {
  (void)scratch;
  const struct ol_request *q = context;
  if (!OL_AT(const uint8_t, q->begun)[job]) return 0;
  const struct ol_entries e = ol_entries(q, job);
  const char *backup = OL_AT(const char, q->backup) + job * OL_RECORD;
  if (e.direct) memcpy(e.direct, backup, OL_RECORD);
  else ol_put(q, e, (const uint32_t *)backup);
  return 0;
}
`;
}

function laneJob(
  program: LaneMajorProgram,
  name: string,
  kernel: Kernel,
  results: number,
  nameOf: NameOf,
  guard: boolean,
): { readonly text: string; readonly bytes: number } {
  const lanes = program.vectors * program.target.lanes;
  const stepping = name === 'ol_advance';
  const writes = name !== 'ol_finish';
  const reads = name !== 'ol_reset';
  let bytes = 0;
  const arrays: string[] = [];
  const take = (name: string, type: string, numbers: number): void => {
    const at = guard ? `ol_guard_new(${4 * numbers})` : `(void *)((char *)memory + ${bytes})`;
    arrays.push(`  ${type} *const ${name} = ${at};`);
    bytes += aligned(4 * numbers);
  };
  take('theta', 'float', program.thetaSize * lanes);
  take('result', 'float', Math.max(1, results) * lanes);
  take('t', 'int32_t', lanes);
  take('keys', 'int32_t', 2 * program.streams.length * lanes);
  // A whole record: it is copied to the backup as one.
  take('block', 'char', aligned(4 * program.state.elements * lanes) / 4);
  if (stepping) take('sums', 'double', 2 * Math.max(1, results) * lanes);
  const release = guard
    ? `  ol_guard_release(tables);
${['theta', 'result', 't', 'keys', 'block', ...(stepping ? ['sums'] : [])].map((name) => `  free(${name});`).join('\n')}
`
    : '';

  const keyed = program.streams.length > 0 && touches(kernel, kernel.buffers[5]?.name ?? '');
  const streams = keyed
    ? program.streams
        .map((stream, s) => `  ol_lane_keys(q, e, ${STREAMS[stream]}u, keys + ${2 * s * lanes});\n`)
        .join('')
    : '';
  const tables = program.tables.map((_, n) => `OL_AT(void, tables[${n}])`);
  const call = (scalars: readonly string[]): string =>
    `${nameOf(kernel)}(${['theta', 'state', 'state', 'result', 't', 'keys', ...tables].map((x) => `(void *)${x}`).join(', ')}` +
    `${scalars.map((x) => `, ${x}`).join('')});`;

  const text = `
int ${name}(void *context, int64_t job, void *memory) {
  const struct ol_request *q = context;
${arrays.join('\n')}
${
  guard
    ? `  int64_t tables[OL_TABLES + 1];
  ol_guard_tables(q, tables);
  struct ol_entries e = ol_entries(q, job);
  e.direct = 0;`
    : `  const int64_t *const tables = OL_AT(const int64_t, q->tables);
  const struct ol_entries e = ol_entries(q, job);`
}
  (void)memory, (void)tables, (void)keys;
  char *const state = e.direct ? e.direct : block;
${
  reads || writes
    ? `  if (!e.direct${reads ? '' : ' && q->backup'}) ol_take(q, e, (uint32_t *)state);
`
    : ''
}${
    writes
      ? `  if (q->backup) {
    memcpy(OL_AT(char, q->backup) + job * OL_RECORD, state, OL_RECORD);
    OL_AT(uint8_t, q->begun)[job] = 1;
  }
`
      : ''
  }  ol_theta_lanes(q, e, theta);
  for (int64_t l = 0; l < OL_BLOCK; l++) {
    const int64_t entry = ol_entry(e, l);
    t[l] = OL_AT(const int32_t, q->t)[q->fresh ? entry : OL_AT(const int32_t, q->particles)[entry]];
  }
${streams}${
    stepping
      ? `  memset(sums, 0, ${8 * (results - 1) * lanes});
  for (int64_t done = 0; done < q->steps;) {
    if (done > 0 && ol_stopped(q)) {
${indent(release.split('\n'), 4)}
      return OL_CANCELLED;
    }
    const int64_t left = q->steps - done;
    const int32_t steps = (int32_t)(left < ${program.maxSteps} ? left : ${program.maxSteps});
    ${call(['steps'])}
    for (int64_t k = 0; k < ${(results - 1) * lanes}; k++) sums[k] += result[k];
    for (int64_t l = 0; l < OL_BLOCK; l++) t[l] += steps;
    done += steps;
  }
  double *const out = OL_AT(double, q->results) + e.first;
  for (int64_t l = 0; l < e.count; l++) {
    out[l] = sums[l];
    out[q->count + l] = result[${(results - 1) * lanes} + l];
    for (int64_t k = 1; k < ${results - 1}; k++) out[(k + 1) * q->count + l] = sums[k * OL_BLOCK + l];
  }
`
      : `  ${call([])}
  for (int64_t k = 0; k < ${results}; k++)
    for (int64_t l = 0; l < e.count; l++)
      OL_AT(double, q->results)[k * q->count + e.first + l] = result[k * OL_BLOCK + l];
`
  }${writes ? '  if (!e.direct) ol_put(q, e, (const uint32_t *)state);\n' : ''}${release}  return 0;
}
`;
  return { text, bytes };
}

/** Whether a kernel, or one that it calls, touches a buffer of that name. */
function touches(kernel: Kernel, buffer: string): boolean {
  const visit = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    if (Array.isArray(value)) return value.some(visit);
    return 'buffer' in value && value.buffer === buffer ? true : Object.values(value).some(visit);
  };
  return visit(kernel.body);
}
