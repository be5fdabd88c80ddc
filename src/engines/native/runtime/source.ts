/**
 * C text of the runtime library: threads that take jobs, their memory, and copies between records and plain arrays. It is
 * compiled once a machine, for the plainest processor of its kind, so that it can look before code that needs more is
 * called. Errors are return codes; nothing here ends the process. It keeps no global state: two JavaScript threads of one
 * process have a pool each.
 */

/** Return codes of every function that returns an int. Jobs may return these, too. */
export const CODES = { ok: 0, cancelled: 1, memory: 2, threads: 3, processor: 4 } as const;

/** Bytes of `struct ol_task`, all of whose fields are 8 bytes. */
export const TASK_FIELDS = [
  /** Address of `int job(void *context, int64_t first, int64_t count, void *scratch)`: jobs first … first + count − 1. */
  'job',
  /** Address handed to every job. */
  'context',
  'jobs',
  /** Bytes of memory that a thread has for itself; aligned to 64, not cleared. */
  'scratch',
  /** At most so many threads. */
  'threads',
  /** 1: subnormal numbers count as zero for as long as the jobs run. */
  'flush',
  /** Address of an int32 that is not zero once no job is to begin; or 0. */
  'cancel',
  /** 1: the calling thread takes jobs, too. */
  'join',
  /** Written: how long the threads were at it, all together, in ns. */
  'busy',
] as const;

/** Processor features that a program may need, by the macro that the compiler sets for each. */
const FEATURES = [
  ['__SSE3__', 'sse3'],
  ['__SSSE3__', 'ssse3'],
  ['__SSE4_1__', 'sse4.1'],
  ['__SSE4_2__', 'sse4.2'],
  ['__POPCNT__', 'popcnt'],
  ['__AVX__', 'avx'],
  ['__AVX2__', 'avx2'],
  ['__FMA__', 'fma'],
  ['__BMI__', 'bmi'],
  ['__BMI2__', 'bmi2'],
  ['__AVX512F__', 'avx512f'],
  ['__AVX512VL__', 'avx512vl'],
  ['__AVX512BW__', 'avx512bw'],
  ['__AVX512DQ__', 'avx512dq'],
  ['__AVX512CD__', 'avx512cd'],
  ['__AVX512IFMA__', 'avx512ifma'],
  ['__AVX512VBMI__', 'avx512vbmi'],
  ['__AVX512VBMI2__', 'avx512vbmi2'],
  ['__AVX512VNNI__', 'avx512vnni'],
  ['__AVX512BITALG__', 'avx512bitalg'],
  ['__AVX512VPOPCNTDQ__', 'avx512vpopcntdq'],
  ['__GFNI__', 'gfni'],
  ['__VPCLMULQDQ__', 'vpclmulqdq'],
] as const;

/**
 * C text for every program: `ol_needs`, data rather than code, has one bit for each processor feature that the program was
 * compiled for. The runtime compares it with the processor before anything of the program runs.
 */
export const NEEDS_SOURCE = [
  'const unsigned long long ol_needs = 0',
  ...FEATURES.flatMap(([macro], bit) => [`#ifdef ${macro}`, `| 1ull << ${bit}`, '#endif']),
  ';',
  '',
].join('\n');

const SUPPORTED = FEATURES.map(
  ([, name], bit) => `  if ((needs >> ${bit} & 1) && !__builtin_cpu_supports("${name}")) return OL_PROCESSOR;`,
).join('\n');

export const RUNTIME_SOURCE = `#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OL_OK = ${CODES.ok}, OL_CANCELLED = ${CODES.cancelled}, OL_MEMORY = ${CODES.memory}, OL_THREADS = ${CODES.threads}, OL_PROCESSOR = ${CODES.processor} };

typedef int (*ol_job)(void *context, int64_t first, int64_t count, void *scratch);

struct ol_task {
${TASK_FIELDS.map((name) => `  int64_t ${name};`).join('\n')}
};

int ol_supports(const unsigned long long *program) {
  unsigned long long needs = *program;
#if defined(__x86_64__)
  __builtin_cpu_init();
${SUPPORTED}
#else
  (void)needs;
#endif
  return OL_OK;
}

/* Memory. Zero at first; huge pages where the system gives them. */

#define OL_HUGE ((size_t)2 << 20)

void *ol_map(int64_t bytes) {
  size_t size = (size_t)bytes;
  int huge = size >= OL_HUGE;
  size_t whole = huge ? size + OL_HUGE : size;
  char *start = mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return 0;
  if (!huge) return start;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *used = (char *)(((uintptr_t)start + OL_HUGE - 1) / OL_HUGE * OL_HUGE);
  size_t kept = (size + page - 1) / page * page;
  if (used > start) munmap(start, (size_t)(used - start));
  char *end = start + (whole + page - 1) / page * page;
  if (end > used + kept) munmap(used + kept, (size_t)(end - used - kept));
#ifdef MADV_HUGEPAGE
  madvise(used, kept, MADV_HUGEPAGE);
#endif
  return used;
}

void ol_unmap(void *memory, int64_t bytes) {
  if (memory) munmap(memory, (size_t)bytes);
}

/* Modes of float arithmetic. */

#if defined(__x86_64__)
static uint64_t ol_mode(void) { return __builtin_ia32_stmxcsr(); }
static void ol_set_mode(uint64_t mode) { __builtin_ia32_ldmxcsr((unsigned)mode); }
/* All exceptions masked, to nearest; flush to zero, denormals are zero. */
static uint64_t ol_fast_mode(void) { return 0x1f80 | 0x8000 | 0x0040; }
static void ol_pause(void) { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
static uint64_t ol_mode(void) { uint64_t mode; __asm__ volatile("mrs %0, fpcr" : "=r"(mode)); return mode; }
static void ol_set_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
static uint64_t ol_fast_mode(void) { return (uint64_t)1 << 24; }
static void ol_pause(void) { __asm__ volatile("yield"); }
#else
static uint64_t ol_mode(void) { return 0; }
static void ol_set_mode(uint64_t mode) { (void)mode; }
static uint64_t ol_fast_mode(void) { return 0; }
static void ol_pause(void) {}
#endif

/* The mode of the calling thread, for tests, without the flags of what has happened. */
int64_t ol_float_mode(void) {
#if defined(__x86_64__)
  return (int64_t)(ol_mode() & ~(uint64_t)0x3f);
#else
  return (int64_t)ol_mode();
#endif
}

/* Threads. */

#define OL_OPEN ((uint64_t)1 << 31)
#define OL_INSIDE (OL_OPEN - 1)
/* Stack of a worker. */
#define OL_STACK ((size_t)16 << 20)

struct ol_pool;
struct ol_thread {
  struct ol_pool *pool;
  int slot;
  pthread_t id;
  char *arena;
  size_t arena_bytes;
  _Atomic int asleep;
  pthread_cond_t wake;
  /* Jobs of this slot's share that nobody has taken: from \`next\` to below \`end\`. On a cache line of its own. */
  char pad0[64];
  _Atomic int64_t next;
  int64_t end;
  char pad1[64];
};

struct ol_pool {
  /* The generation of the task in its upper half; below, whether it may still be entered, and how many workers are in. */
  _Atomic uint64_t gate;
  char pad0[56];
  _Atomic int64_t remaining, busy;
  _Atomic int code;
  /* Slots that the task is for: from \`first\` to below \`last\`. */
  _Atomic int first, last;
  _Atomic int waiting;
  _Atomic int quit;
  struct ol_task *task;
  int64_t spin;
  /* Workers are slots 1 … workers; slot 0 is whoever calls. */
  int workers;
  pthread_mutex_t turn, lock;
  pthread_cond_t done;
  struct ol_thread *slots;
};

static int64_t ol_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void ol_tell(struct ol_pool *pool) {
  if (!atomic_load(&pool->waiting)) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->done);
  pthread_mutex_unlock(&pool->lock);
}

/* Takes jobs of a share until there are none left. How many it took. */
static int64_t ol_take(struct ol_pool *pool, struct ol_thread *thread, struct ol_thread *share, int64_t parts) {
  const struct ol_task *task = pool->task;
  ol_job run = (ol_job)(uintptr_t)task->job;
  const volatile int32_t *cancel = (const volatile int32_t *)(uintptr_t)task->cancel;
  int64_t taken = 0, index = atomic_load(&share->next);
  while (index < share->end) {
    /* Several at once while there are many: small jobs would wait for one another at the counters. */
    int64_t some = (share->end - index) / parts;
    if (some < 1) some = 1;
    if (!atomic_compare_exchange_weak(&share->next, &index, index + some)) continue;
    taken += some;
    if (atomic_load(&pool->code) == OL_OK) {
      int code = cancel && *cancel ? OL_CANCELLED : run((void *)(uintptr_t)task->context, index, some, thread->arena);
      int none = OL_OK;
      if (code != OL_OK) atomic_compare_exchange_strong(&pool->code, &none, code);
    }
    index = atomic_load(&share->next);
  }
  return taken;
}

/*
 * Every slot has a share of the jobs, the same one for every task of as many jobs and threads, so that records stay in its
 * cache from window to window. Who is through with its own helps the others.
 */
static void ol_work(struct ol_pool *pool, struct ol_thread *thread) {
  const struct ol_task *task = pool->task;
  int64_t start = ol_now();
  uint64_t mode = ol_mode();
  if (task->flush) ol_set_mode(ol_fast_mode());
  int first = !task->join, threads = (int)task->threads;
  int64_t taken = ol_take(pool, thread, thread, 8);
  for (int other = 1; other < threads; other++)
    taken += ol_take(pool, thread, &pool->slots[first + (thread->slot - first + other) % threads], 2 * threads);
  if (task->flush) ol_set_mode(mode);
  if (taken) {
    atomic_fetch_add(&pool->busy, ol_now() - start);
    if (atomic_fetch_sub(&pool->remaining, taken) == taken) ol_tell(pool);
  }
}

static int ol_meant(struct ol_pool *pool, struct ol_thread *self) {
  return self->slot >= atomic_load(&pool->first) && self->slot < atomic_load(&pool->last);
}

/*
 * Waits for a task after generation \`seen\`. False: the pool is closing. Who had no part in the last one does not spin:
 * where the caller takes jobs, there would be more threads awake than processors.
 */
static int ol_await(struct ol_pool *pool, struct ol_thread *self, uint32_t seen, int64_t spin) {
  int64_t until = 0;
  for (unsigned turn = 0; spin; turn++) {
    uint64_t gate = atomic_load(&pool->gate);
    if (atomic_load(&pool->quit)) return 0;
    if ((uint32_t)(gate >> 32) != seen && (gate & OL_OPEN)) return 1;
    ol_pause();
    if (turn % 32 == 0) {
      int64_t now = ol_now();
      if (!until) until = now + spin;
      if (now > until) break;
    }
  }
  pthread_mutex_lock(&pool->lock);
  atomic_store(&self->asleep, 1);
  for (;;) {
    uint64_t gate = atomic_load(&pool->gate);
    int open = (uint32_t)(gate >> 32) != seen && (gate & OL_OPEN) && ol_meant(pool, self);
    if (open || atomic_load(&pool->quit)) break;
    pthread_cond_wait(&self->wake, &pool->lock);
  }
  atomic_store(&self->asleep, 0);
  pthread_mutex_unlock(&pool->lock);
  return !atomic_load(&pool->quit);
}

static void *ol_worker(void *argument) {
  struct ol_thread *self = argument;
  struct ol_pool *pool = self->pool;
  uint32_t seen = 0;
  int part = 1;
  while (ol_await(pool, self, seen, part ? pool->spin : 0)) {
    uint64_t gate = atomic_load(&pool->gate);
    int inside = 0;
    while (gate & OL_OPEN) {
      if (atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1)) {
        inside = 1;
        break;
      }
    }
    seen = (uint32_t)(gate >> 32);
    if (!inside) continue;
    /* The task stays as it is while a worker is inside. */
    const struct ol_task *task = pool->task;
    part = self->slot < task->threads + !task->join;
    if (part && self->arena_bytes >= (size_t)task->scratch) ol_work(pool, self);
    if (((atomic_fetch_sub(&pool->gate, 1) - 1) & (OL_INSIDE | OL_OPEN)) == 0) ol_tell(pool);
  }
  return 0;
}

static void ol_wake(struct ol_pool *pool) {
  int last = atomic_load(&pool->last), locked = 0;
  for (int slot = 1; slot < last; slot++) {
    if (!atomic_load(&pool->slots[slot].asleep)) continue;
    if (!locked) pthread_mutex_lock(&pool->lock);
    locked = 1;
    pthread_cond_signal(&pool->slots[slot].wake);
  }
  if (locked) pthread_mutex_unlock(&pool->lock);
}

/* Waits until \`remaining\` is 0, or (\`closed\`) until no worker is inside. */
static void ol_wait(struct ol_pool *pool, int closed, int64_t spin) {
  int64_t until = 0;
#define OL_READY (closed ? (atomic_load(&pool->gate) & OL_INSIDE) == 0 : atomic_load(&pool->remaining) == 0)
  for (unsigned turn = 0; spin; turn++) {
    if (OL_READY) return;
    ol_pause();
    if (turn % 32 == 0) {
      int64_t now = ol_now();
      if (!until) until = now + spin;
      if (now > until) break;
    }
  }
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->waiting, 1);
  while (!OL_READY) pthread_cond_wait(&pool->done, &pool->lock);
  atomic_store(&pool->waiting, 0);
  pthread_mutex_unlock(&pool->lock);
#undef OL_READY
}

static int ol_reserve(struct ol_thread *thread, size_t bytes) {
  if (thread->arena_bytes >= bytes) return 1;
  ol_unmap(thread->arena, (int64_t)thread->arena_bytes);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  bytes = (bytes + page - 1) / page * page;
  thread->arena = ol_map((int64_t)bytes);
  thread->arena_bytes = thread->arena ? bytes : 0;
  return thread->arena != 0;
}

/* Runs all jobs of a task, in no particular order, and returns OL_OK or the first code that is not. */
int ol_run(struct ol_pool *pool, struct ol_task *task) {
  pthread_mutex_lock(&pool->turn);
  int join = task->join || pool->workers == 0;
  int64_t threads = task->threads;
  if (threads > pool->workers + join) threads = pool->workers + join;
  if (threads > task->jobs) threads = task->jobs;
  int ready = 0;
  task->join = join;
  task->threads = threads;
  for (int slot = !join; slot < threads + !join; slot++) ready += ol_reserve(&pool->slots[slot], (size_t)task->scratch);
  int code = OL_OK;
  if (task->jobs > 0) {
    if (ready == 0 || (join && pool->slots[0].arena_bytes < (size_t)task->scratch)) code = OL_MEMORY;
    else {
      pool->task = task;
      for (int64_t share = 0; share < threads; share++) {
        struct ol_thread *slot = &pool->slots[share + !join];
        slot->end = (share + 1) * task->jobs / threads;
        atomic_store(&slot->next, share * task->jobs / threads);
      }
      atomic_store(&pool->remaining, task->jobs);
      atomic_store(&pool->code, OL_OK);
      atomic_store(&pool->busy, 0);
      if (join && threads == 1) {
        ol_work(pool, &pool->slots[0]);
      } else {
        atomic_store(&pool->first, !join);
        atomic_store(&pool->last, (int)threads + !join);
        uint64_t generation = (atomic_load(&pool->gate) >> 32) + 1;
        atomic_store(&pool->gate, (generation << 32) | OL_OPEN);
        ol_wake(pool);
        if (join) ol_work(pool, &pool->slots[0]);
        ol_wait(pool, 0, join ? pool->spin : 0);
        atomic_fetch_and(&pool->gate, ~OL_OPEN);
        ol_wait(pool, 1, pool->spin);
      }
      code = atomic_load(&pool->code);
    }
  }
  task->busy = task->jobs > 0 ? atomic_load(&pool->busy) : 0;
  pthread_mutex_unlock(&pool->turn);
  return code;
}

void ol_close(struct ol_pool *pool) {
  pthread_mutex_lock(&pool->turn);
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->quit, 1);
  for (int slot = 1; slot <= pool->workers; slot++) pthread_cond_signal(&pool->slots[slot].wake);
  pthread_mutex_unlock(&pool->lock);
  for (int slot = 1; slot <= pool->workers; slot++) pthread_join(pool->slots[slot].id, 0);
  for (int slot = 0; slot <= pool->workers; slot++) ol_unmap(pool->slots[slot].arena, (int64_t)pool->slots[slot].arena_bytes);
  pthread_mutex_unlock(&pool->turn);
  free(pool->slots);
  free(pool);
}

/* A pool of \`threads\` workers. Null if there is not even memory for it; fewer workers if the system gives no more. */
struct ol_pool *ol_open(int threads) {
  struct ol_pool *pool = calloc(1, sizeof *pool);
  struct ol_thread *slots = calloc((size_t)threads + 1, sizeof *slots);
  if (!pool || !slots) {
    free(pool);
    free(slots);
    return 0;
  }
  pool->slots = slots;
  pthread_mutex_init(&pool->turn, 0);
  pthread_mutex_init(&pool->lock, 0);
  pthread_cond_init(&pool->done, 0);
  /* Where threads outnumber processors, one that spins keeps another from working. */
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) processors = CPU_COUNT(&allowed);
#endif
  pool->spin = threads <= processors ? 100000 : 0;
  for (int slot = 0; slot <= threads; slot++) {
    slots[slot].pool = pool;
    slots[slot].slot = slot;
    pthread_cond_init(&slots[slot].wake, 0);
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, OL_STACK);
  while (pool->workers < threads) {
    if (pthread_create(&slots[pool->workers + 1].id, &attributes, ol_worker, &slots[pool->workers + 1])) break;
    pool->workers++;
  }
  pthread_attr_destroy(&attributes);
  return pool;
}

int ol_workers(struct ol_pool *pool) { return pool->workers; }

/* Returns when no task runs. */
void ol_drain(struct ol_pool *pool) {
  pthread_mutex_lock(&pool->turn);
  pthread_mutex_unlock(&pool->turn);
}

/* Records. Particle p lies in block p/lanes of \`block\` bytes at offset + p%lanes·lane bytes + Σ index·stride bytes. */

#define OL_RANK 8
struct ol_leaf {
  int64_t memory, block, lanes, lane, offset;
  /* 0: 4 bytes both; 1: 1 byte both; 2: int32 in the record, a byte in the array. */
  int64_t kind;
  int64_t rank, shape[OL_RANK], stride[OL_RANK];
  /* [particles, …shape] in row-major order. */
  int64_t array, particles, elements;
  /* 1: array → records. */
  int64_t write;
};

static int ol_leaf_job(void *context, int64_t first, int64_t count, void *scratch) {
  (void)scratch;
  const struct ol_leaf *leaf = context;
  int64_t width = leaf->kind == 0 ? 4 : 1;
  for (int64_t p = first; p < first + count; p++) {
    char *record = (char *)(uintptr_t)leaf->memory + p / leaf->lanes * leaf->block + leaf->offset + p % leaf->lanes * leaf->lane;
    char *element = (char *)(uintptr_t)leaf->array + p * leaf->elements * width;
    int64_t index[OL_RANK] = {0}, at = 0;
    for (int64_t e = 0; e < leaf->elements; e++, element += width) {
      char *place = record + at;
      if (leaf->kind == 2) {
        int32_t value;
        if (leaf->write) {
          value = *(unsigned char *)element != 0;
          memcpy(place, &value, 4);
        } else {
          memcpy(&value, place, 4);
          *(unsigned char *)element = value != 0;
        }
      } else if (leaf->kind == 1) {
        if (leaf->write) *place = *element;
        else *element = *place;
      } else {
        if (leaf->write) memcpy(place, element, 4);
        else memcpy(element, place, 4);
      }
      for (int64_t axis = leaf->rank - 1; axis >= 0; axis--) {
        at += leaf->stride[axis];
        if (++index[axis] < leaf->shape[axis]) break;
        at -= leaf->shape[axis] * leaf->stride[axis];
        index[axis] = 0;
      }
    }
  }
  return OL_OK;
}

int ol_leaf_copy(struct ol_pool *pool, struct ol_leaf *leaf, int64_t threads) {
  struct ol_task task = {0};
  task.job = (int64_t)(uintptr_t)ol_leaf_job;
  task.context = (int64_t)(uintptr_t)leaf;
  task.jobs = leaf->particles;
  task.threads = threads;
  return ol_run(pool, &task);
}

struct ol_copy {
  int64_t memory, block, lanes, from, to, count;
};

static void ol_copy_one(const struct ol_copy *copy, int64_t index) {
  int64_t from = ((const int32_t *)(uintptr_t)copy->from)[index], to = ((const int32_t *)(uintptr_t)copy->to)[index];
  char *memory = (char *)(uintptr_t)copy->memory;
  if (copy->lanes == 1) {
    memcpy(memory + to * copy->block, memory + from * copy->block, (size_t)copy->block);
    return;
  }
  const char *source = memory + from / copy->lanes * copy->block + from % copy->lanes * 4;
  char *target = memory + to / copy->lanes * copy->block + to % copy->lanes * 4;
  for (int64_t at = 0; at < copy->block; at += copy->lanes * 4) memcpy(target + at, source + at, 4);
}

static int ol_copy_job(void *context, int64_t first, int64_t count, void *scratch) {
  (void)scratch;
  for (int64_t index = first; index < first + count; index++) ol_copy_one(context, index);
  return OL_OK;
}

/* Whole particles to others, none of which is read. */
int ol_particle_copy(struct ol_pool *pool, struct ol_copy *copy, int64_t threads) {
  struct ol_task task = {0};
  task.job = (int64_t)(uintptr_t)ol_copy_job;
  task.context = (int64_t)(uintptr_t)copy;
  task.jobs = copy->count;
  task.threads = threads;
  return ol_run(pool, &task);
}
`;
