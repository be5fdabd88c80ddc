import type { PlannedFunction } from '../plan/program';

/** Time by kernel, summed over threads without care for a lost update. */
export function profileText({ calls }: PlannedFunction): string {
  const names = calls.map(({ origin }) => `  ${JSON.stringify(origin.slice(0, 110))},`);
  return `
#include <stdio.h>
#include <time.h>
static double ol_spent[${Math.max(1, calls.length)}];
static const char *const ol_names[] = {
${names.join('\n')}
  ""};
static double ol_now(void) {
  struct timespec s;
  clock_gettime(CLOCK_MONOTONIC, &s);
  return (double)s.tv_sec + 1e-9 * (double)s.tv_nsec;
}
__attribute__((destructor)) static void ol_print_profile(void) {
  double all = 0;
  for (int k = 0; k < ${calls.length}; k++) all += ol_spent[k];
  for (int k = 0; all > 0 && k < ${calls.length}; k++) fprintf(stderr, "%5.1f %%  %s\\n", 100 * ol_spent[k] / all, ol_names[k]);
}
`;
}
