/**
 * A program as several translation units: they are compiled side by side. Kernels hardly call one another, so that any
 * division is as good as another for the code; what counts is that all units take equally long.
 */
import type { KernelTable } from '../nest/dedupe';
import type { Kernel, Statement, Target } from '../nest/ir';
import { renderHead, renderKernels, renderPrototypes } from './c';

/** Characters of kernels that a unit has at least. Starting a compiler and reading the head takes as long as half of them. */
const LEAST_CHARACTERS = 25_000;

/** What takes as long to compile as so many characters of a kernel: the driver, and a call of what is long and inlined. */
const DRIVER_CHARACTERS = 25_000;
const CALL_CHARACTERS = 800;
const LONG_CALLS = /\bol_(?:threefry|normals|exp|expm1|log|log1p|sigmoid|tanh|erf|pow|sin|cos|atan|atan2)1?\(/g;

type Entry = KernelTable['entries'][number];

export interface Units {
  /** Head, prototypes of the other units' kernels, and kernels; the driver follows. */
  readonly main: string;
  /** Whole units. */
  readonly others: readonly string[];
}

/**
 * Divides the kernels among at most `most` units, fewer for small programs.
 * @param least characters of a unit.
 * @throws NestError for what cannot be rendered.
 */
export function renderUnits(
  table: KernelTable,
  target: Target,
  texts: readonly string[],
  most: number,
  least = LEAST_CHARACTERS,
): Units {
  const head = renderHead(target, texts);
  const parts = families(table).map((entries) => {
    const text = renderKernels({ ...table, entries }, target);
    return { entries, text, work: text.length + CALL_CHARACTERS * (text.match(LONG_CALLS)?.length ?? 0) };
  });
  const length = parts.reduce((sum, { text }) => sum + text.length, 0);
  const count = Math.max(1, Math.min(most, Math.floor(length / least)));
  const [main, ...others] = balance(parts, count);
  const elsewhere = others.filter((unit) => unit.length > 0);
  const prototypes = renderPrototypes(elsewhere.flat().flatMap(({ entries }) => entries));
  const textOf = (unit: typeof parts): string => unit.map(({ text }) => text).join('\n');
  return {
    main: [head, prototypes, textOf(main)].join('\n'),
    others: elsewhere.map((unit) => [head, textOf(unit)].join('\n')),
  };
}

/** The longest first, each to the unit that takes least so far; within a unit in their order. */
function balance<T extends { readonly work: number }>(parts: readonly T[], count: number): T[][] {
  const units = Array.from({ length: count }, (_, unit) => ({
    work: unit === 0 ? DRIVER_CHARACTERS : 0,
    parts: new Set<T>(),
  }));
  for (const part of [...parts].sort((a, b) => b.work - a.work)) {
    const unit = units.reduce((least, each) => (each.work < least.work ? each : least));
    unit.parts.add(part);
    unit.work += part.work;
  }
  return units.map((unit) => parts.filter((part) => unit.parts.has(part)));
}

/** Kernels that are connected by calls, which stay in one unit: compilers look into what is called. */
function families(table: KernelTable): Entry[][] {
  const { entries } = table;
  const family = new Map(entries.map((entry) => [entry.name, [entry]]));
  for (const { name, kernel } of entries) {
    for (const callee of calleesOf(kernel.body)) {
      const [from, to] = [family.get(table.nameOf(callee)), family.get(name)];
      if (from === undefined || to === undefined || from === to) continue;
      to.push(...from);
      for (const entry of from) family.set(entry.name, to);
    }
  }
  const order = new Map(entries.map(({ name }, i) => [name, i]));
  const place = ({ name }: Entry): number => order.get(name) ?? 0;
  return [...new Set(family.values())].map((group) => group.sort((a, b) => place(a) - place(b)));
}

function calleesOf(body: readonly Statement[]): Kernel[] {
  return body.flatMap((s) => {
    if (s.kind === 'loop') return calleesOf(s.body);
    if (s.kind === 'if') return calleesOf(s.then);
    return s.kind === 'call' ? [s.kernel] : [];
  });
}
