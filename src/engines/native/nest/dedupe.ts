/**
 * Kernels that are equal up to the names of what they declare are emitted once: a deep network has many layers of one
 * shape, and compiling is what a program's start is spent on.
 */
import type { Kernel, Statement } from './ir';

/** The kernels of one program, callees before their callers, under names that are unique and C-safe. */
export interface KernelTable {
  readonly entries: readonly { readonly name: string; readonly kernel: Kernel }[];
  /** The name under which a kernel (or one equal to it) is emitted. @throws Error for a kernel that was not given. */
  nameOf(kernel: Kernel): string;
}

/** Collects the kernels and all that they call. The first of equal ones gives the name. */
export function tableOf(kernels: Iterable<Kernel>): KernelTable {
  const entries: { name: string; kernel: Kernel }[] = [];
  const byKey = new Map<string, string>();
  const byKernel = new Map<Kernel, string>();
  const taken = new Set<string>();

  const add = (kernel: Kernel): string => {
    const known = byKernel.get(kernel);
    if (known !== undefined) return known;
    const key = structuralKey(kernel, add);
    let name = byKey.get(key);
    if (name === undefined) {
      name = freshName(kernel.name, taken);
      entries.push({ name, kernel });
      byKey.set(key, name);
    }
    byKernel.set(kernel, name);
    return name;
  };
  for (const kernel of kernels) add(kernel);

  return {
    entries,
    nameOf(kernel) {
      const name = byKernel.get(kernel);
      if (name === undefined) throw new Error(`kernel "${kernel.name}" is not in the table`);
      return name;
    },
  };
}

function freshName(wanted: string, taken: Set<string>): string {
  const base = `k_${wanted.replace(/[^A-Za-z0-9]+/g, '_')}`;
  let name = base;
  for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
  taken.add(name);
  return name;
}

/**
 * Equal for kernels that do the same. Names become numbers in the order of their first appearance, notes are left out,
 * callees are named by `nameOf`.
 */
function structuralKey(kernel: Kernel, nameOf: (callee: Kernel) => string): string {
  const numbers = new Map<string, number>();
  const numberOf = (name: string): number => {
    let number = numbers.get(name);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(name, number);
    }
    return number;
  };
  const parts: string[] = [kernel.inline === true ? 'inline' : ''];
  const text = (value: unknown, member: string): void => {
    if (typeof value === 'string') parts.push(NAMING.has(member) ? `#${numberOf(value)}` : value);
    // −0 and NaN are numbers of their own.
    else if (typeof value === 'number') parts.push(Object.is(value, -0) ? '-0' : String(value));
    else if (typeof value === 'boolean') parts.push(String(value));
    else if (Array.isArray(value)) {
      parts.push('[');
      for (const each of value) text(each, member);
      parts.push(']');
    } else if (typeof value === 'object' && value !== null) {
      if (isStatement(value, 'note')) return;
      parts.push('{');
      for (const [key, each] of Object.entries(value).sort(byFirst)) {
        if (each === undefined) continue;
        parts.push(key);
        if (key === 'kernel') parts.push(nameOf(each as Kernel));
        else text(each, key);
      }
      parts.push('}');
    }
  };
  for (const { name, memory, written } of kernel.buffers) text({ name, memory, written }, '');
  for (const { name, type } of kernel.scalars) text({ name, type }, '');
  text(kernel.body, '');
  return parts.join(' ');
}

/** Members of the IR that hold a name declared in the kernel. A loop's extent may be a number, too. */
const NAMING: ReadonlySet<string> = new Set(['name', 'names', 'variable', 'buffer', 'extent']);

function byFirst([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isStatement(value: object, kind: Statement['kind']): boolean {
  return 'kind' in value && value.kind === kind;
}
