/** The driver of lane-major programs: a job is one block of particles, in the lanes of a few vectors. */
import { STREAMS } from '../../../random';
import type { Kernel } from '../nest/ir';
import type { LaneMajorProgram } from '../plan/program';
import { guardHead } from './guard';
import { laneReverseJob } from './lane-reverse';
import { aligned, COMMON, eachEntry, indent, type Driver, type NameOf } from './request';

export function laneMajor(
  program: LaneMajorProgram,
  kernels: string,
  nameOf: NameOf,
  sums: number,
  finishes: number,
  guard: boolean,
): Driver {
  const lanes = program.vectors * program.target.lanes;
  const record = aligned(4 * program.state.elements * lanes);
  const group = groupOf(program, lanes);
  const jobs: [string, Kernel | undefined, number][] = [
    ['ol_reset', program.init, 0],
    ['ol_advance', program.step, 2 + sums],
    ['ol_finish', program.finish, finishes],
  ];
  const texts = jobs.map(([name, kernel, results]) =>
    kernel === undefined ? { text: '', bytes: 0 } : laneJob(program, name, kernel, results, nameOf, guard, group),
  );
  const [init, step, finish] = texts.map(({ bytes }) => bytes);
  const backward =
    program.back === undefined ? undefined : laneReverseJob(program, program.back, { nameOf, sums: 1 + sums, guard });
  return {
    sources: [
      [
        ...[kernels, COMMON, guard ? guardHead(program) : '', laneCommon(program, lanes, record, group)],
        ...texts.map(({ text }) => text),
        backward?.text ?? '',
      ].join('\n'),
    ],
    scratch: { init, step, finish },
    ...(backward === undefined ? {} : { reverse: { bytes: backward.bytes, slot: backward.slot, tape: 0 } }),
    record,
    lanes,
  };
}

/** Vectors whose noise is drawn together, and numbers of θ that are kept for that at most. */
const TOGETHER = { vectors: 8, numbers: 2048 };

/** Blocks whose θ is made together: drawing keeps several vectors in flight, and shares noise within antithetic pairs. */
function groupOf({ target, thetaSize }: LaneMajorProgram, lanes: number): number {
  const fit = Math.floor(TOGETHER.numbers / Math.max(1, thetaSize * lanes));
  return Math.max(1, Math.min(fit, Math.ceil((TOGETHER.vectors * target.lanes) / lanes)));
}

function laneCommon(program: LaneMajorProgram, lanes: number, record: number, group: number): string {
  const { elements } = program.state;
  return `
enum { OL_BLOCK = ${lanes}, OL_ELEMENTS = ${elements}, OL_RECORD = ${record}, OL_THETA = ${program.thetaSize}, OL_GROUP = ${group} };

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
  int64_t differ = 0;
  for (int64_t l = 1; l < e.count; l++) differ |= particles[e.first + l] ^ (base + l);
  if (differ) return e;
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

/*
 * θ under Gaussian noise of the lanes of \`some\` blocks, [block × θ × lanes]. Where neighbours share their noise throughout,
 * as antithetic pairs do, it is drawn once for both.
 */
static void ol_theta_gaussian(const struct ol_request *q, int64_t first, int64_t some, float *out) {
  enum { MOST = OL_GROUP * OL_BLOCK + OL_LANES };
  uint32_t words[2 * MOST], keys[2][MOST];
  double scale[MOST];
  int64_t row[MOST];
  const int64_t lanes = some * OL_BLOCK, padded = (lanes + 2 * OL_LANES - 1) / (2 * OL_LANES) * (2 * OL_LANES);
  const int64_t known = q->count - first < lanes ? q->count - first : lanes;
  memcpy(words, OL_AT(const uint32_t, q->keys) + 2 * first, 8 * (size_t)known);
  for (int64_t l = 0; l < known; l++) {
    const int64_t run = ol_run(q, first + l);
    scale[l] = (double)OL_AT(const int8_t, q->signs)[first + l] * OL_AT(const double, q->sigmas)[run];
    row[l] = run * OL_THETA;
  }
  /* Unused lanes repeat the last particle. */
  for (int64_t l = known; l < padded; l++) {
    words[2 * l] = words[2 * known - 2], words[2 * l + 1] = words[2 * known - 1];
    scale[l] = scale[known - 1], row[l] = row[known - 1];
  }
  uint32_t differ = 0;
  for (int64_t l = 0; l < padded; l += 2)
    differ |= (words[2 * l] ^ words[2 * l + 2]) | (words[2 * l + 1] ^ words[2 * l + 3]);
  const int64_t step = differ ? 1 : 2, count = padded / step;
  for (int64_t d = 0; d < count; d++) keys[0][d] = words[2 * d * step], keys[1][d] = words[2 * d * step + 1];
  for (int64_t j = 0; j < OL_THETA; j += 2) {
    float noise[2][MOST];
    for (int64_t d = 0; d < count; d += OL_LANES) {
      olu k0, k1, w0, w1;
      olv x, y;
      memcpy(&k0, keys[0] + d, sizeof k0);
      memcpy(&k1, keys[1] + d, sizeof k1);
      ol_threefry(k0, k1, ol_splat_u((uint32_t)(j / 2)), ol_splat_u(0), &w0, &w1);
      ol_normals(w0, w1, &x, &y);
      if (step == 2) {
        ol_interleave(x, x, noise[0] + 2 * d);
        if (j + 1 < OL_THETA) ol_interleave(y, y, noise[1] + 2 * d);
      } else {
        memcpy(noise[0] + d, &x, sizeof x);
        if (j + 1 < OL_THETA) memcpy(noise[1] + d, &y, sizeof y);
      }
    }
    for (int64_t n = 0; n < 2 && j + n < OL_THETA; n++) {
      const double *const theta = OL_AT(const double, q->theta) + j + n;
      ol_wide base = theta[0] - (ol_wide){0};
      for (int64_t block = 0; block < some; block++) {
        float *to = out + (block * OL_THETA + j + n) * OL_BLOCK;
        for (int64_t l = 0; l < OL_BLOCK; l += OL_LANES / 2) {
          const int64_t from = block * OL_BLOCK + l;
          for (int64_t w = 0; q->runs && w < OL_LANES / 2; w++) base[w] = theta[row[from + w]];
          const ol_wide sum = base + *(const ol_memwide *)(scale + from) * ol_widened(noise[n] + from);
          *(ol_memhalf *)(to + l) = __builtin_convertvector(sum, ol_half);
        }
      }
    }
  }
}

/* θ of the lanes of \`some\` blocks from entry \`first\` on, [block × θ × lanes]. */
static void ol_theta_lanes(const struct ol_request *q, int64_t first, int64_t some, float *out) {
  const double *theta = OL_AT(const double, q->theta);
  if (q->form == 1) {
    ol_theta_gaussian(q, first, some, out);
    return;
  }
  for (int64_t block = 0; block < some; block++, out += OL_THETA * OL_BLOCK) {
    for (int64_t l = 0; q->form == 2 && l < OL_BLOCK; l++) {
      const int64_t entry = first + block * OL_BLOCK + l;
      const double *from = theta + (entry < q->count ? entry : q->count - 1) * OL_THETA;
      for (int64_t j = 0; j < OL_THETA; j++) out[j * OL_BLOCK + l] = (float)from[j];
    }
    for (int64_t l = 0; q->form == 0 && l < OL_BLOCK; l++) {
      const int64_t entry = first + block * OL_BLOCK + l;
      const double *from = theta + ol_run(q, entry < q->count ? entry : q->count - 1) * OL_THETA;
      for (int64_t j = 0; j < OL_THETA; j++) out[j * OL_BLOCK + l] = (float)from[j];
    }
  }
}
static void ol_phases(const struct ol_request *q, struct ol_entries e, int32_t *out) {
  const int32_t *t = OL_AT(const int32_t, q->t), *particles = OL_AT(const int32_t, q->particles);
  if (e.direct && e.count == OL_BLOCK) {
    memcpy(out, t + (q->fresh ? e.first : particles[e.first]), OL_BLOCK * sizeof *t);
    return;
  }
  for (int64_t l = 0; l < OL_BLOCK; l++) {
    const int64_t entry = ol_entry(e, l);
    out[l] = t[q->fresh ? entry : particles[entry]];
  }
}
/* episodeKey of one stream for all lanes, [2 × lanes]. */
static void __attribute__((unused)) ol_lane_keys(const struct ol_request *q, struct ol_entries e, uint32_t stream, int32_t *out) {
  uint32_t base[2];
  memcpy(base, OL_AT(const uint32_t, q->seeds), sizeof base);
  ol_fold(base, stream);
  const olu word = ol_splat_u(0x9e3779b9u);
  for (int64_t first = 0; first < OL_BLOCK; first += OL_LANES) {
    olu worker, episode, k0 = ol_splat_u(base[0]), k1 = ol_splat_u(base[1]), a, b;
    for (int l = 0; l < OL_LANES; l++) {
      const int64_t entry = ol_entry(e, first + l);
      const int64_t at = q->fresh ? entry : OL_AT(const int32_t, q->particles)[entry];
      worker[l] = (uint32_t)OL_AT(const int32_t, q->workers)[at];
      episode[l] = (uint32_t)OL_AT(const int32_t, q->episodes)[at];
      if (!q->runs) continue;
      memcpy(base, OL_AT(const uint32_t, q->seeds) + 2 * ol_run(q, entry), sizeof base);
      ol_fold(base, stream);
      k0[l] = base[0], k1[l] = base[1];
    }
    ol_threefry(k0, k1, worker, word, &a, &b);
    ol_threefry(a, b, episode, word, &k0, &k1);
    memcpy(out + first, &k0, sizeof k0);
    memcpy(out + OL_BLOCK + first, &k1, sizeof k1);
  }
}
static int ol_restore_one(const struct ol_request *q, int64_t job, void *scratch) {
  (void)scratch;
  if (!OL_AT(const uint8_t, q->begun)[job]) return 0;
  const struct ol_entries e = ol_entries(q, job);
  const char *backup = OL_AT(const char, q->backup) + job * OL_RECORD;
  if (e.direct) memcpy(e.direct, backup, OL_RECORD);
  else ol_put(q, e, (const uint32_t *)backup);
  return 0;
}
${eachEntry('ol_restore', false)}`;
}

function laneJob(
  program: LaneMajorProgram,
  name: string,
  kernel: Kernel,
  results: number,
  nameOf: NameOf,
  guard: boolean,
  group: number,
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
  const numbers = program.thetaSize * lanes;
  if (guard) take('theta', 'float', numbers);
  else bytes += aligned(4 * numbers * group);
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
  const own = program.tables.slice(0, program.tables.length - (program.back?.tables.length ?? 0));
  const tables = own.map((_, n) => `OL_AT(void, tables[${n}])`);
  const call = (scalars: readonly string[]): string =>
    `${nameOf(kernel)}(${['theta', 'state', 'state', 'result', 't', 'keys', ...tables].map((x) => `(void *)${x}`).join(', ')}` +
    `${scalars.map((x) => `, ${x}`).join('')});`;

  const text = `
static int ${name}_one(const struct ol_request *q, int64_t job, ${guard ? 'const float *given' : 'float *theta'}, void *memory) {
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
  }${guard ? `  memcpy(theta, given, ${4 * numbers});\n` : ''}  ol_phases(q, e, t);
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
int ${name}(void *context, int64_t first, int64_t count, void *memory) {
  const struct ol_request *q = context;
  ${guard ? `float together[${numbers * group}];` : 'float *const together = memory;'}
  for (int64_t job = first, some; job < first + count; job += some) {
    some = first + count - job < OL_GROUP ? first + count - job : OL_GROUP;
    ol_theta_lanes(q, job * OL_BLOCK, some, together);
    for (int64_t k = 0; k < some; k++) {
      if (job + k > first && ol_stopped(q)) return OL_CANCELLED;
      const int code = ${name}_one(q, job + k, together + k * ${numbers}, memory);
      if (code != 0) return code;
    }
  }
  return 0;
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
