/** What compiled code is asked by: the structures of a call in C, and what the runtime has to know of a program. */
import type { Kernel } from '../nest/ir';
import type { Place } from '../plan/program';

/** Bytes that whatever a thread has for itself is aligned to. */
export const ALIGNMENT = 64;
export const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/**
 * Fields of `struct ol_request`, 8 bytes each: addresses and int64, some of them doubles. Arrays hold an entry for each of
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
  /** double [runs × θ], or [count × θ] if explicit. */
  'theta',
  /** uint32 [count × 2]. */
  'keys',
  /** int8. */
  'signs',
  /** double [runs]. */
  'sigmas',
  /** int32: the run of each entry; 0 if there is one run only. */
  'runs',
  /** uint32 [runs × 2]. */
  'seeds',
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
  /** Of reverse windows. int32 [instructions × 5]: operation (`REVERSE_OPERATIONS`), t from the window's start, three slots. */
  'schedule',
  'instructions',
  /** State slots and tape slots of the schedule. */
  'states',
  'tapes',
  /** double: cotangents of the last step's loss and of every other one. */
  'lastWeight',
  'weight',
  /** Not 0: the gradient goes on through `init`. */
  'start',
] as const;
const DOUBLES: readonly string[] = ['lastWeight', 'weight'];
export type RequestField = (typeof REQUEST_FIELDS)[number];

/** How a schedule names the operations of `ReverseInstruction`; `counted` adds losses up. */
export const REVERSE_OPERATIONS = ['save', 'load', 'step', 'record', 'back', 'countedStep', 'countedRecord'] as const;

/** Fields of `struct ol_combination`: Σᵢ weights[i]·noise(keysᵢ) in ranges of θ, one a job. */
export const COMBINATION_FIELDS = ['keys', 'weights', 'count', 'size', 'range', 'out'] as const;

/** How a kernel is called in C. */
export type NameOf = (kernel: Kernel) => string;

/** What the runtime has to give every thread. */
export interface Driver {
  /** Translation units of one library; the first has the driver. */
  readonly sources: readonly string[];
  /** Bytes of memory of its own that a thread needs, by function. */
  readonly scratch: { readonly init: number; readonly step: number; readonly finish: number };
  /** Of reverse windows: bytes that a thread needs beside slots, of a state slot and of a tape slot. */
  readonly reverse?: { readonly bytes: number; readonly slot: number; readonly tape: number };
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

/** C text: the structures above, θ of an entry, and sums of noise. */
export const COMMON = `
struct ol_request {
${REQUEST_FIELDS.map((name) => `  ${DOUBLES.includes(name) ? 'double' : 'int64_t'} ${name};`).join('\n')}
};
#define OL_AT(type, address) ((type *)(uintptr_t)(address))
enum { OL_CANCELLED = 1 };

static int ol_stopped(const struct ol_request *q) {
  return q->cancel != 0 && __atomic_load_n(OL_AT(int32_t, q->cancel), __ATOMIC_RELAXED) != 0;
}

/* Run of entry i. */
static int64_t ol_run(const struct ol_request *q, int64_t i) {
  return q->runs ? OL_AT(const int32_t, q->runs)[i] : 0;
}

/* θ of entry i, rounded to float32. */
static void ol_theta(const struct ol_request *q, int64_t i, int64_t size, float *out) {
  const double *theta = OL_AT(const double, q->theta) + (q->form == 2 ? i : ol_run(q, i)) * size;
  if (q->form == 1) {
    const uint32_t *key = OL_AT(const uint32_t, q->keys) + 2 * i;
    const double sigma = OL_AT(const double, q->sigmas)[ol_run(q, i)];
    ol_perturb(out, theta, (double)OL_AT(const int8_t, q->signs)[i] * sigma, key, size);
  } else {
    for (int64_t j = 0; j < size; j++) out[j] = (float)theta[j];
  }
}

/* Σ weight·noise over the keys, in their order, for one range of θ. */
struct ol_combination {
${COMBINATION_FIELDS.map((name) => `  int64_t ${name};`).join('\n')}
};
int ol_combine(void *context, int64_t first, int64_t count, void *scratch) {
  (void)scratch;
  const struct ol_combination *c = context;
  int64_t begin = first * c->range, end = (first + count) * c->range;
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

/** C text of a job of the runtime: entries one by one, by `${name}_one`. A call that is to stop stops between them. */
export function eachEntry(name: string, stops = true): string {
  return `
int ${name}(void *context, int64_t first, int64_t count, void *memory) {
  for (int64_t i = first; i < first + count; i++) {
${stops ? '    if (i > first && ol_stopped(context)) return OL_CANCELLED;\n' : ''}    const int code = ${name}_one(context, i, memory);
    if (code != 0) return code;
  }
  return 0;
}
`;
}

/** Bytes from the start of a place's arena; `tile` is the number of the tile. */
export function offsetText({ offset, perTile = 0 }: Place, more = 0): string {
  return `${offset + more}${perTile === 0 ? '' : ` + tile * ${perTile}`}`;
}

export function indent(lines: readonly string[], spaces: number): string {
  return lines.map((line) => ' '.repeat(spaces) + line).join('\n');
}
