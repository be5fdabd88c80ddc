/** Instruction sets: what the compiler is asked for, and what code may count on. */
import { ConfigurationError } from '../../../contracts';
import type { Target } from '../nest/ir';

/** `native` is all that this machine has; the others are for tests and comparisons. */
export type Isa = 'native' | 'avx512' | 'avx2' | 'generic';
const ISAS: readonly Isa[] = ['native', 'avx512', 'avx2', 'generic'];

/** @throws ConfigurationError if OUTERLOOP_NATIVE_ISA is none of the known names. */
export function isaOf(environment: NodeJS.ProcessEnv): Isa {
  const name = environment.OUTERLOOP_NATIVE_ISA ?? '';
  if (name === '') return 'native';
  const isa = ISAS.find((known) => known === name);
  if (isa === undefined) throw new ConfigurationError('OUTERLOOP_NATIVE_ISA', ISAS.join(', '), name);
  return isa;
}

/** Flags for an instruction set. On aarch64 every machine has NEON, and nothing beyond it is used. */
export function isaFlags(isa: Isa, architecture: string): string[] {
  if (architecture !== 'x64') return [];
  switch (isa) {
    case 'native':
      return ['-march=native'];
    case 'avx512':
      return ['-march=skylake-avx512'];
    case 'avx2':
      return ['-march=haswell'];
    case 'generic':
      return [];
  }
}

/** What code may count on, by the macros that the compiler predefines. */
export function targetOf(macros: ReadonlyMap<string, string>): Target {
  const all = (...names: string[]): boolean => names.every((name) => macros.has(name));
  if (all('__AVX512F__', '__AVX512VL__', '__AVX512DQ__', '__AVX512BW__')) return { lanes: 16, registers: 32 };
  if (all('__AVX2__', '__FMA__')) return { lanes: 8, registers: 16 };
  return { lanes: 4, registers: all('__aarch64__') ? 32 : 16 };
}
