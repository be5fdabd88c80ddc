/**
 * Guarded programs, for AddressSanitizer: every job gets memory of its own from malloc, full of NaN, and during a call of a
 * kernel nothing may be touched but the buffers that it was given. Within the arenas of an ordinary program the sanitizer
 * would see no difference between one buffer and the next.
 */
import type { KernelCall, NativeProgram } from '../plan/program';
import { offsetText } from './request';

/** Tables longer than this are not copied for every job. */
const COPIED = 1 << 16;

/** What guarded jobs call. */
export function guardHead({ tables }: NativeProgram): string {
  const bytes = tables.map((table) => (table.kind === 'table' ? table.table.values : table.data).byteLength);
  return `
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
enum { OL_TABLES = ${tables.length}, OL_COPIED = ${COPIED} };
static const int64_t ol_table_bytes[] = {${[...bytes, 0].join(', ')}};

/* As long as asked for, to the byte; whoever reads what nobody wrote gets NaN. */
static void *ol_guard_new(int64_t bytes) {
  void *memory = 0;
  if (posix_memalign(&memory, 64, (size_t)bytes)) abort();
  memset(memory, 0xff, (size_t)bytes);
  return memory;
}
static void ol_guard_tables(const struct ol_request *q, int64_t *tables) {
  for (int k = 0; k < OL_TABLES; k++) {
    tables[k] = OL_AT(const int64_t, q->tables)[k];
    if (ol_table_bytes[k] > OL_COPIED) continue;
    void *copy = ol_guard_new(ol_table_bytes[k]);
    /* An empty table has no address. */
    if (ol_table_bytes[k] > 0) memcpy(copy, OL_AT(void, tables[k]), (size_t)ol_table_bytes[k]);
    tables[k] = (int64_t)(uintptr_t)copy;
  }
}
static void ol_guard_release(const int64_t *tables) {
  for (int k = 0; k < OL_TABLES; k++)
    if (ol_table_bytes[k] <= OL_COPIED) free(OL_AT(void, tables[k]));
}
`;
}

/** A particle-major job around `${name}_inner`, on copies of record and tables and on memory of its own. */
export function guardedJob(name: string, record: number, memory: number): string {
  return `
static int ${name}_one(void *context, int64_t i, void *shared) {
  (void)shared;
  struct ol_request q = *(const struct ol_request *)context;
  char *const place = OL_AT(char, q.population) + (int64_t)OL_AT(const int32_t, q.particles)[i] * ${record};
  char *const state = ol_guard_new(${record}), *const memory = ol_guard_new(${memory});
  int64_t tables[OL_TABLES + 1];
  ol_guard_tables(&q, tables);
  q.tables = (int64_t)(uintptr_t)tables;
  memcpy(state, place, ${record});
  const int code = ${name}_inner(&q, i, memory, state);
  memcpy(place, state, ${record});
  ol_guard_release(tables);
  free(state);
  free(memory);
  return code;
}
`;
}

/** A call during which only its buffers may be touched. */
export function guardedCall(text: string, { places, spans = [] }: KernelCall, record: number, memory: number): string {
  const opened = places.flatMap((place, n) => {
    const span = spans.at(n);
    if (place.arena === 'table' || span === undefined || span.from === span.to) return [];
    const start = `${place.arena === 't' ? '(char *)t' : place.arena} + ${offsetText(place, span.from)}`;
    return [`__asan_unpoison_memory_region(${start}, ${span.to - span.from});`];
  });
  const both = (verb: string): string =>
    `__asan_${verb}_memory_region(state, ${record}); __asan_${verb}_memory_region(memory, ${memory});`;
  return [both('poison'), ...opened, text, both('unpoison')].join('\n');
}
