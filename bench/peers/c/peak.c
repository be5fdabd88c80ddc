/*
 * The most floating-point operations a second that this machine does: fused multiply-adds on registers alone, in as many
 * independent chains as cover their latency. Vectors of the widest kind that -march=native has.
 *   cc -O2 -march=native peak.c -o peak -lpthread && ./peak [threads] [milliseconds]
 * Prints one line: GFLOPS, and the lanes of a vector.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
/* Latency 4, two a cycle: at least 8 chains; 12 leave room in 16 registers for both factors. */
enum { CHAINS = 12, STEPS = 20000 };
/* Named one by one: an array would be kept in memory. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
/* Holds a chain in its register: without it the compiler may reorder or drop the work. */
#if defined(__x86_64__)
#define HOLD(v) __asm__ volatile("" : "+x"(v))
#elif defined(__aarch64__)
#define HOLD(v) __asm__ volatile("" : "+w"(v))
#else
#define HOLD(v) (void)0
#endif

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

struct worker {
  pthread_t thread;
  double seconds, flops;
  float sink;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double limit = 0.2;

static void *work(void *argument) {
  struct worker *worker = argument;
  vector factor, offset;
  for (int i = 0; i < LANES; i++) factor[i] = 0.999f, offset[i] = 0.001f;
#define START(c) vector chain##c = offset * (float)c;
  EACH(START)
  double start = now(), flops = 0;
  do {
    for (int step = 0; step < STEPS; step++) {
#define ADVANCE(c) chain##c = chain##c * factor + offset; HOLD(chain##c);
      EACH(ADVANCE)
    }
    flops += 2.0 * LANES * CHAINS * STEPS;
  } while (now() - start < limit);
  worker->seconds = now() - start;
  worker->flops = flops;
  vector sum = offset;
#define ADD(c) sum += chain##c;
  EACH(ADD)
  worker->sink = sum[0];
  return NULL;
}

int main(int argc, char **argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1;
  if (argc > 2) limit = atof(argv[2]) / 1000;
  if (threads < 1 || threads > 256) return 2;
  struct worker *workers = calloc((size_t)threads, sizeof *workers);
  if (workers == NULL) return 1;
  for (int i = 1; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return 1;
  work(&workers[0]);
  double rate = workers[0].flops / workers[0].seconds;
  for (int i = 1; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    rate += workers[i].flops / workers[i].seconds;
  }
  printf("%.2f GFLOPS %d lanes\n", rate / 1e9, LANES);
  free(workers);
  return 0;
}
