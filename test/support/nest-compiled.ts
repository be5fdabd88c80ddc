/** Runs loop nests as rendered C, with memory beside every buffer that must not be touched. */
import { tableOf } from '../../src/engines/native/nest/dedupe';
import type { Kernel, Target } from '../../src/engines/native/nest/ir';
import { verifyKernel } from '../../src/engines/native/nest/verify';
import { floatLiteral, renderHead, renderKernels } from '../../src/engines/native/render/c';
import { MATH } from '../../src/engines/native/render/math';
import { RANDOM } from '../../src/engines/native/render/random';
import { runC, type CPrograms, type CTarget } from './c-program';

export interface NestCase {
  readonly kernel: Kernel;
  readonly buffers: readonly (Float32Array | Int32Array | Uint8Array)[];
  readonly scalars?: readonly number[];
}

/** How a run goes: with `flush`, subnormal numbers count as zero (on x86). */
export interface CompiledRun {
  readonly flush?: boolean;
}

/** Cases compiled into one program, to be run with any contents. */
export class CompiledNests {
  private readonly program: string;

  constructor(
    programs: CPrograms,
    target: Pick<CTarget, 'flags' | 'lanes'>,
    private readonly cases: readonly NestCase[],
    objectOnly = false,
  ) {
    this.program = programs.compile(sourceOf(cases, targetOf(target.lanes)), target, objectOnly);
  }

  /**
   * The buffers of every case as the kernel leaves them. Every case runs twice: its buffers end where a page does that may
   * not be touched, then they begin where one ends. The results must be the same.
   * @throws Error if a kernel touches what lies beside its buffers, naming the case.
   */
  run({ flush = false }: CompiledRun = {}): readonly (readonly (Float32Array | Int32Array | Uint8Array)[])[] {
    const input = Buffer.concat(this.cases.flatMap(({ buffers }) => buffers.map(bytesOf)));
    const [ends, begins] = [1, 0].map((atEnd) => runC(this.program, [atEnd, flush ? 1 : 0], input));
    if (!ends.equals(begins)) throw new Error('results depend on where the buffers lie');
    let at = 0;
    return this.cases.map(({ buffers }) =>
      buffers.map((buffer) => {
        // A copy, so that it is aligned.
        const bytes = Uint8Array.from(ends.subarray(at, at + buffer.byteLength));
        at += buffer.byteLength;
        if (buffer instanceof Float32Array) return new Float32Array(bytes.buffer);
        return buffer instanceof Int32Array ? new Int32Array(bytes.buffer) : bytes;
      }),
    );
  }
}

export function targetOf(lanes: Target['lanes']): Target {
  return { lanes, registers: lanes === 16 ? 32 : 16 };
}

function bytesOf(buffer: NodeJS.TypedArray): Buffer {
  return Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function sourceOf(cases: readonly NestCase[], target: Target): string {
  for (const { kernel } of cases) verifyKernel(kernel, target);
  const table = tableOf(cases.map(({ kernel }) => kernel));
  const calls = cases.map(({ kernel, buffers, scalars = [] }, i) => {
    const places = buffers.map((buffer, b) => `  void *b${b} = take(${b}, ${buffer.byteLength});`);
    const checks = buffers.map((_, b) => `  give(${i}, ${b});`);
    const values = kernel.scalars.map(({ type }, s) =>
      type === 'f32' ? floatLiteral(scalars[s]) : type === 'u32' ? `${scalars[s] >>> 0}u` : `(int32_t)${scalars[s]}LL`,
    );
    const args = [...buffers.map((_, b) => `b${b}`), ...values].join(', ');
    const body = [...places, '  if (flush) set_flush();', `  ${table.nameOf(kernel)}(${args});`, ...checks].join('\n');
    return `static void case_${i}(int flush) {\n${body}\n}`;
  });
  return [
    '#define _GNU_SOURCE',
    renderHead(target, [MATH, RANDOM]),
    renderKernels(table, target),
    HARNESS,
    ...calls,
    'int main(int count, char **args) {',
    '  if (count != 3) return 9;',
    "  at_end = args[1][0] == '1';",
    "  int flush = args[2][0] == '1';",
    ...cases.map((_, i) => `  case_${i}(flush);`),
    '  return 0;',
    '}',
  ].join('\n');
}

/** Buffers between two pages that may not be touched; the rest of their own pages holds a pattern. */
const HARNESS = String.raw`
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static int at_end;
static struct { unsigned char *pages, *data; size_t length, bytes; } regions[16];
static void set_flush(void) {
#if defined(__SSE2__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}
static void *take(int slot, size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (bytes + page - 1) / page * page;
  unsigned char *all = mmap(0, length + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) || mprotect(all + page + length, page, PROT_NONE)) exit(10);
  unsigned char *data = all + page + (at_end ? length - bytes : 0);
  memset(all + page, 0xa5, length);
  if (fread(data, 1, bytes, stdin) != bytes) exit(11);
  regions[slot].pages = all + page;
  regions[slot].data = data;
  regions[slot].length = length;
  regions[slot].bytes = bytes;
  return data;
}
static void give(int number, int slot) {
  unsigned char *data = regions[slot].data;
  for (size_t i = 0; i < regions[slot].length; i++) {
    unsigned char *p = regions[slot].pages + i;
    if ((p < data || p >= data + regions[slot].bytes) && *p != 0xa5) {
      fprintf(stderr, "case %d writes beside buffer %d\n", number, slot);
      exit(12);
    }
  }
  fwrite(data, 1, regions[slot].bytes, stdout);
}
`;
