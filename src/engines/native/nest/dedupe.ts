/**
 * Kernels that are equal up to the names of what they declare are emitted once: a deep network has many layers of one
 * shape, and compiling is what a program's start is spent on. Long ones that differ only in how often their outermost loops
 * run (a network over the parameters of tensors of several sizes) share one body, which gets the extents.
 */
import { index, i32, read } from './builder';
import type { Kernel, Statement } from './ir';

/** The kernels of one program, callees before their callers, under names that are unique and C-safe. */
export interface KernelTable {
  readonly entries: readonly { readonly name: string; readonly kernel: Kernel }[];
  /** The name under which a kernel (or one equal to it) is emitted. @throws Error for a kernel that was not given. */
  nameOf(kernel: Kernel): string;
}

/** Statements from which on bodies are shared; in shorter ones a compiler had better know how often a loop runs. */
const SHARED_STATEMENTS = 60;

/** Collects the kernels and all that they call. The first of equal ones gives the name. */
export function tableOf(kernels: Iterable<Kernel>): KernelTable {
  const entries: Entry[] = [];
  const bySketch = new Map<string, Entry[]>();
  const byKernel = new Map<Kernel, string>();
  const taken = new Set<string>();
  const nameOf = (kernel: Kernel): string => {
    const name = byKernel.get(kernel);
    if (name === undefined) throw new Error(`kernel "${kernel.name}" is not in the table`);
    return name;
  };

  const add = (kernel: Kernel): void => {
    if (byKernel.has(kernel)) return;
    for (const callee of calleesOf(kernel.body)) add(callee);
    const sketch = sketchOf(kernel);
    const alike = bySketch.get(sketch) ?? [];
    bySketch.set(sketch, alike);
    const entry = new Entry(kernel, nameOf);
    const equal = alike.find((other) => other.equals(entry));
    if (equal === undefined) {
      entry.name = freshName(kernel.name, taken);
      entries.push(entry);
      alike.push(entry);
    }
    byKernel.set(kernel, equal?.name ?? entry.name);
  };
  for (const kernel of kernels) add(kernel);

  const bodies = new Map<Entry, Entry>();
  for (const alike of bySketch.values()) {
    for (const family of familiesOf(alike)) {
      const { body, calls } = sharedBody(family);
      const shared = new Entry(body, nameOf);
      shared.name = freshName(body.name, taken);
      byKernel.set(body, shared.name);
      bodies.set(family[0], shared);
      family.forEach((entry, i) => (entry.kernel = calls[i]));
    }
  }
  return {
    entries: entries.flatMap((entry) => {
      const body = bodies.get(entry);
      return body === undefined ? [entry] : [body, entry];
    }),
    nameOf,
  };
}

class Entry {
  name = '';
  private known: Structure | undefined;

  constructor(
    public kernel: Kernel,
    private readonly nameOf: (callee: Kernel) => string,
  ) {}

  /** Made when it is first asked for: few kernels look like another one. */
  get structure(): Structure {
    return (this.known ??= structureOf(this.kernel, this.nameOf));
  }

  equals({ structure: { text, extents } }: Entry): boolean {
    const own = this.structure;
    return own.text === text && own.extents.every((extent, i) => extent === extents[i]);
  }
}

function freshName(wanted: string, taken: Set<string>): string {
  const base = `k_${wanted.replace(/[^A-Za-z0-9]+/g, '_')}`;
  let name = base;
  for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
  taken.add(name);
  return name;
}

function calleesOf(body: readonly Statement[]): Kernel[] {
  return body.flatMap((s) => {
    if (s.kind === 'loop') return calleesOf(s.body);
    if (s.kind === 'if') return calleesOf(s.then);
    return s.kind === 'call' ? [s.kernel] : [];
  });
}

/** Whether how often the statement, of a kernel's own body, runs may be left to the caller. */
function isOpen(s: Statement): s is Extract<Statement, { kind: 'loop' }> & { readonly extent: number } {
  return s.kind === 'loop' && s.unroll !== true && typeof s.extent === 'number';
}

/** The same for kernels that are equal, or are but for the extents of their outermost loops; quickly made. */
function sketchOf({ inline, buffers, scalars, body }: Kernel): string {
  const kinds = (statements: readonly Statement[], outermost: boolean): string =>
    statements
      .map((s) => {
        if (s.kind === 'note') return '';
        if (s.kind === 'if') return `if(${kinds(s.then, false)})`;
        if (s.kind !== 'loop') return s.kind;
        const extent = typeof s.extent === 'string' || (outermost && isOpen(s)) ? '' : s.extent;
        return `${extent}/${s.step}(${kinds(s.body, false)})`;
      })
      .join();
  const memories = buffers.map(({ memory, written }) => `${memory}${written ? '!' : ''}`);
  return [inline === true, memories, scalars.map(({ type }) => type), kinds(body, true)].join(';');
}

interface Structure {
  /** Equal for kernels that do the same, but for `extents`. */
  readonly text: string;
  /** Of the open loops, in order. */
  readonly extents: readonly number[];
  /** All that the kernel names. */
  readonly names: ReadonlySet<string>;
}

/**
 * Names become numbers in the order of their first appearance, notes are left out, callees are named by `nameOf`.
 */
function structureOf(kernel: Kernel, nameOf: (callee: Kernel) => string): Structure {
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
  const extents: number[] = [];
  const open = kernel.body.map((s): Statement => {
    if (!isOpen(s)) return s;
    extents.push(s.extent);
    return { ...s, extent: 0 };
  });
  text(open, '');
  return { text: parts.join(' '), extents, names: new Set(numbers.keys()) };
}

/** Members of the IR that hold a name declared in the kernel. A loop's extent may be a number, too. */
const NAMING: ReadonlySet<string> = new Set(['name', 'names', 'variable', 'buffer', 'extent']);

function byFirst([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isStatement(value: object, kind: Statement['kind']): boolean {
  return 'kind' in value && value.kind === kind;
}

function statementCount(body: readonly Statement[]): number {
  return body.reduce((sum, s) => {
    if (s.kind === 'note') return sum;
    return sum + 1 + (s.kind === 'loop' ? statementCount(s.body) : s.kind === 'if' ? statementCount(s.then) : 0);
  }, 0);
}

/** Of kernels of one sketch, those that may share a body; families of one are left out. */
function familiesOf(alike: readonly Entry[]): Entry[][] {
  if (alike.length < 2 || alike[0].kernel.inline === true) return [];
  if (statementCount(alike[0].kernel.body) < SHARED_STATEMENTS) return [];
  const families = new Map<string, Entry[]>();
  for (const entry of alike) {
    const { text } = entry.structure;
    families.set(text, [...(families.get(text) ?? []), entry]);
  }
  return [...families.values()].filter(({ length }) => length > 1);
}

/** The first kernel with those extents as parameters that are not the same in all, and for each kernel a call of it. */
function sharedBody(family: readonly Entry[]): { readonly body: Kernel; readonly calls: readonly Kernel[] } {
  const all = family.map(({ structure }) => structure.extents);
  const { kernel, structure } = family[0];
  const parameters = new Map<number, string>();
  all[0].forEach((extent, loop) => {
    if (all.every((extents) => extents[loop] === extent)) return;
    let name = `extent${loop}`;
    while (structure.names.has(name)) name += '_';
    parameters.set(loop, name);
  });
  let loop = 0;
  const body: Kernel = {
    ...kernel,
    scalars: [...kernel.scalars, ...[...parameters.values()].map((name) => ({ name, type: 'i32' as const }))],
    body: kernel.body.map((s) => (isOpen(s) ? { ...s, extent: parameters.get(loop++) ?? s.extent } : s)),
  };
  const calls = family.map(({ kernel: { name, buffers, scalars } }, i): Kernel => {
    const given = scalars.map((scalar) => read(scalar.name, scalar.type, 'scalar'));
    const extents = [...parameters.keys()].map((each) => i32(all[i][each]));
    const places = buffers.map((buffer) => ({ buffer: buffer.name, index: index() }));
    return {
      name,
      buffers,
      scalars,
      body: [{ kind: 'call', kernel: body, buffers: places, scalars: [...given, ...extents] }],
    };
  });
  return { body, calls };
}
