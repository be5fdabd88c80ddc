/**
 * C text around the kernels of a program: `ol_reset`, `ol_advance` and `ol_finish` are jobs of the runtime's threads, one
 * particle (or one block of lanes) of a request each. What a particle computes depends on nothing but itself, so that its
 * bits are the same in any company and on any number of threads.
 */
import { STREAMS } from '../../../random';
import { tableOf } from '../nest/dedupe';
import type { Kernel } from '../nest/ir';
import type {
  KernelCall,
  LaneMajorProgram,
  NativeProgram,
  ParticleMajorProgram,
  Place,
  PlannedFunction,
} from '../plan/program';
import { Keys } from './draw-keys';
import { guardedCall, guardedJob, guardHead } from './guard';
import { profileText } from './profile';
import { renderUnits } from './units';

/** Bytes that whatever a thread has for itself is aligned to. */
const ALIGNMENT = 64;
export const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/**
 * Fields of `struct ol_request`, 8 bytes each: addresses and int64, `sigma` a double. Arrays hold an entry for each of
 * the `count` particles of the request, unless they are a population's columns.
 */
export const REQUEST_FIELDS = [
  /** int32: index into the population. */
  'particles',
  /** int32: keys of the draws, and the inner step within the episode. By entry if `fresh`, else by particle. */
  'workers',
  'episodes',
  't',
  'fresh',
  /** 0 none, 1 gaussian, 2 explicit. */
  'form',
  /** double [θ], or [count × θ] if explicit. */
  'theta',
  /** uint32 [count × 2]. */
  'keys',
  /** int8. */
  'signs',
  'sigma',
  /** Words of the run's seed. */
  'seed0',
  'seed1',
  'count',
  /** Particles of the population. */
  'size',
  'steps',
  'population',
  /** Records before the call, [jobs × record]; or 0. */
  'backup',
  /** uint8 [jobs]: 1 once the backup is there. */
  'begun',
  /** Written, double [results × count]: step: loss sum, last loss, metric sums; finish: its outputs. */
  'results',
  /** Addresses of the tables. */
  'tables',
  /** An int32 that is not zero once the call is to stop. */
  'cancel',
] as const;
export type RequestField = (typeof REQUEST_FIELDS)[number];

/** Fields of `struct ol_combination`: Σᵢ weights[i]·noise(keysᵢ) in ranges of θ, one a job. */
export const COMBINATION_FIELDS = ['keys', 'weights', 'count', 'size', 'range', 'out'] as const;

/** How a kernel is called in C. */
type NameOf = (kernel: Kernel) => string;

/** What the runtime has to give every thread. */
export interface Driver {
  /** Translation units of one library; the first has the driver. */
  readonly sources: readonly string[];
  /** Bytes of memory of its own that a thread needs, by function. */
  readonly scratch: { readonly init: number; readonly step: number; readonly finish: number };
  /** Bytes of a record: of a particle, or of a block of `lanes` particles. */
  readonly record: number;
  /** Particles of a record. */
  readonly lanes: number;
}

export interface RenderOptions {
  /**
   * Counts the time of every kernel of the step and prints the shares when the process ends. Particle-major only: lane-major
   * programs are one kernel.
   */
  readonly profile?: boolean;
  /** For AddressSanitizer (guard.ts). */
  readonly guard?: boolean;
  /** Translation units at most; 1 unless given. Bits do not depend on it. */
  readonly units?: number;
}

const COMMON = `
struct ol_request {
${REQUEST_FIELDS.map((name) => `  ${name === 'sigma' ? 'double' : 'int64_t'} ${name};`).join('\n')}
};
#define OL_AT(type, address) ((type *)(uintptr_t)(address))
enum { OL_CANCELLED = 1 };

static int ol_stopped(const struct ol_request *q) {
  return q->cancel != 0 && __atomic_load_n(OL_AT(int32_t, q->cancel), __ATOMIC_RELAXED) != 0;
}

/* θ of entry i, rounded to float32. */
static void ol_theta(const struct ol_request *q, int64_t i, int64_t size, float *out) {
  const double *theta = OL_AT(const double, q->theta) + (q->form == 2 ? i * size : 0);
  if (q->form == 1) {
    const uint32_t *key = OL_AT(const uint32_t, q->keys) + 2 * i;
    ol_perturb(out, theta, (double)OL_AT(const int8_t, q->signs)[i] * q->sigma, key, size);
  } else {
    for (int64_t j = 0; j < size; j++) out[j] = (float)theta[j];
  }
}

/* Σ weight·noise over the keys, in their order, for one range of θ. */
struct ol_combination {
${COMBINATION_FIELDS.map((name) => `  int64_t ${name};`).join('\n')}
};
int ol_combine(void *context, int64_t job, void *scratch) {
  (void)scratch;
  const struct ol_combination *c = context;
  int64_t begin = job * c->range, end = begin + c->range;
  if (end > c->size) end = c->size;
  double *out = OL_AT(double, c->out);
  for (int64_t i = 0; i < c->count; i++) {
    const double weight = OL_AT(const double, c->weights)[i];
    float noise[OL_NOISE];
    for (int64_t j = begin, some; j < end; j += some) {
      some = ol_some_normals(OL_AT(const uint32_t, c->keys) + 2 * i, j, end, noise);
      for (int64_t l = 0; l < some; l++) out[j + l] += weight * (double)noise[l];
    }
  }
  return 0;
}
`;

/**
 * The whole C text of a program.
 * @param texts what kernels and driver call: mathematics, Threefry and normals, `ol_perturb`, `ol_accumulate`.
 * @param metrics number of the step's metrics.
 * @param finishes number of the outputs of `finish`.
 */
export function renderProgram(
  program: NativeProgram,
  texts: readonly string[],
  metrics: number,
  finishes: number,
  { profile = false, guard = false, units = 1 }: RenderOptions = {},
): Driver {
  const table = tableOf(kernelsOf(program));
  const nameOf: NameOf = (kernel) => table.nameOf(kernel);
  const { main, others } = renderUnits(table, program.target, texts, units);
  const driver =
    program.mode === 'particle-major'
      ? particleMajor(program, main, nameOf, metrics, finishes, { profile, guard })
      : laneMajor(program, main, nameOf, metrics, finishes, guard);
  return { ...driver, sources: [...driver.sources, ...others] };
}

function kernelsOf(program: NativeProgram): Kernel[] {
  const functions = [program.init, program.step, ...(program.finish === undefined ? [] : [program.finish])];
  return functions.flatMap((part) =>
    'body' in part ? [part] : [...part.prologue, ...part.calls].map(({ kernel }) => kernel),
  );
}

/** Places of a thread's arenas within its memory. */
interface Arenas {
  readonly theta: number;
  readonly window: number;
  readonly scratch: number;
  readonly result: number;
  readonly t: number;
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
    bytes,
  };
}

function particleMajor(
  program: ParticleMajorProgram,
  kernels: string,
  nameOf: NameOf,
  metrics: number,
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
  const [advance, advanceBytes] = text('ol_advance', step, 1 + metrics);
  const [end, endBytes] = finish === undefined ? ['', 0] : text('ol_finish', finish, finishes);
  const restore = `
/* Takes back what a job has begun. */
int ol_restore(void *context, int64_t i, void *scratch) {
  (void)scratch;
  const struct ol_request *q = context;
  if (!OL_AT(const uint8_t, q->begun)[i]) return 0;
  char *state = OL_AT(char, q->population) + (int64_t)OL_AT(const int32_t, q->particles)[i] * ${state.bytes};
  memcpy(state, OL_AT(const char, q->backup) + i * ${state.bytes}, ${state.bytes});
  return 0;
}
`;
  return {
    sources: [
      [
        ...[kernels, COMMON, profile ? profileText(step) : '', guard ? guardHead(program) : ''],
        ...[reset, advance, end, restore],
      ].join('\n'),
    ],
    scratch: { init: resetBytes, step: advanceBytes, finish: endBytes },
    record: state.bytes,
    lanes: 1,
  };
}

function placeText(place: Place): string {
  return place.arena === 'table'
    ? `OL_AT(void, tables[${place.table}] + ${place.offset})`
    : `(void *)(${place.arena} + ${place.offset})`;
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
  const body = [...keys.perStep, ...calls];
  const record = guard ? '' : `char *const state = OL_AT(char, q->population) + particle * ${bytes};`;
  return `
${guard ? `static int ${name}_inner(void *context, int64_t i, char *memory, char *const state)` : `int ${name}(void *context, int64_t i, void *memory)`} {
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
  ${record}
  (void)window, (void)scratch, (void)result, (void)tables, (void)worker, (void)episode, (void)state;
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
    ? `  double sums[${results}] = {0};
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
${guard ? guardedJob(name, bytes, arenas.bytes) : ''}`;
}

function indent(lines: readonly string[], spaces: number): string {
  return lines.map((line) => ' '.repeat(spaces) + line).join('\n');
}

function laneMajor(
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
