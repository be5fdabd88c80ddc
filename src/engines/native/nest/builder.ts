/** Writes loop nests: constructors of expressions and indices, and a builder that keeps the open bodies and the names. */
import type {
  BinaryOp,
  BufferParameter,
  Expr,
  Index,
  Kernel,
  MemoryType,
  Read,
  RegisterType,
  ScalarParameter,
  Statement,
  UnaryOp,
  Width,
} from './ir';
import { Names } from './names';
import { typeOf } from './types';

export { Names } from './names';
export { typeOf, type ValueKind } from './types';

// Indices.

/** offset + Σ factors[variable]·variable. Zero factors are dropped. */
export function index(offset = 0, factors: Readonly<Record<string, number>> = {}): Index {
  return addIndex({
    offset,
    terms: Object.entries(factors).map(([variable, factor]) => ({ variable, factor })),
  });
}

/** The index that is just this variable. */
export function variableIndex(variable: string, factor = 1): Index {
  return index(0, { [variable]: factor });
}

/** The sum; terms of one variable are joined and sorted by first mention. */
export function addIndex(...indices: readonly Index[]): Index {
  let offset = 0;
  const factors = new Map<string, number>();
  for (const each of indices) {
    offset += each.offset;
    for (const { variable, factor } of each.terms) factors.set(variable, (factors.get(variable) ?? 0) + factor);
  }
  const terms = [...factors].filter(([, factor]) => factor !== 0).map(([variable, factor]) => ({ variable, factor }));
  return { offset, terms };
}

export function scaleIndex(of: Index, by: number): Index {
  return addIndex({
    offset: of.offset * by,
    terms: of.terms.map(({ variable, factor }) => ({ variable, factor: factor * by })),
  });
}

export function shiftIndex(of: Index, by: number): Index {
  return { offset: of.offset + by, terms: of.terms };
}

/** The index with a variable replaced by an index. */
export function substituteIndex(of: Index, variable: string, by: Index): Index {
  return addIndex(
    { offset: of.offset, terms: [] },
    ...of.terms.map((term) =>
      term.variable === variable ? scaleIndex(by, term.factor) : { offset: 0, terms: [term] },
    ),
  );
}

// Expressions.

export function f32(value: number): Expr {
  return { kind: 'literal', type: 'f32', value };
}
export function i32(value: number): Expr {
  return { kind: 'literal', type: 'i32', value };
}
export function u32(value: number): Expr {
  return { kind: 'literal', type: 'u32', value };
}
export function maskLiteral(value: boolean): Expr {
  return { kind: 'literal', type: 'mask', value: value ? 1 : 0 };
}
/** The number 0 (false) of a type. */
export function zero(type: RegisterType): Expr {
  return { kind: 'literal', type, value: 0 };
}
export function read(name: string, type: RegisterType, width: Width): Read {
  return { kind: 'read', name, type, width };
}
/** Scalar i32. */
export function position(of: Index): Expr {
  return { kind: 'position', index: of };
}
/** Vector i32: 0, 1, 2 … */
export function ramp(): Expr {
  return { kind: 'ramp' };
}
export function unary(op: UnaryOp, a: Expr): Expr {
  return { kind: 'unary', op, a };
}
export function binary(op: BinaryOp, a: Expr, b: Expr): Expr {
  return { kind: 'binary', op, a, b };
}
export function add(a: Expr, b: Expr): Expr {
  return binary('add', a, b);
}
export function sub(a: Expr, b: Expr): Expr {
  return binary('sub', a, b);
}
export function mul(a: Expr, b: Expr): Expr {
  return binary('mul', a, b);
}
/** a·b + c, rounded once. */
export function fma(a: Expr, b: Expr, c: Expr): Expr {
  return { kind: 'fma', a, b, c };
}
export function select(condition: Expr, a: Expr, b: Expr): Expr {
  return { kind: 'select', condition, a, b };
}
/** The operand itself if it has that type already. */
export function convert(to: RegisterType, a: Expr): Expr {
  return typeOf(a).type === to ? a : { kind: 'convert', to, a };
}
export function shift(direction: 'left' | 'right', by: number, a: Expr): Expr {
  return { kind: 'shift', direction, by, a };
}
export function mulHigh(a: Expr, b: Expr): Expr {
  return { kind: 'mulHigh', a, b };
}
/** Scalar from a vector; `count`: of the first lanes. */
export function across(op: 'sum' | 'max' | 'min', a: Expr, count?: number): Expr {
  return { kind: 'across', op, a, ...(count !== undefined && { count }) };
}

/** How lanes of a vector access lie: lane l at index + l·stride (1 unless told); only the first `count` are touched. */
export interface LaneAccess {
  readonly stride?: number;
  readonly count?: number;
}

/** One element. */
export function loadScalar(buffer: string, memory: MemoryType, at: Index): Expr {
  return { kind: 'load', buffer, memory, index: at, width: 'scalar' };
}
/** One element a lane. */
export function loadVector(buffer: string, memory: MemoryType, at: Index, lanes: LaneAccess = {}): Expr {
  return { kind: 'load', buffer, memory, index: at, width: 'vector', ...given(lanes) };
}
/** Lane l reads index + offsets_l. */
export function gather(buffer: string, memory: MemoryType, at: Index, offsets: Expr, count?: number): Expr {
  return { kind: 'gather', buffer, memory, index: at, offsets, ...(count !== undefined && { count }) };
}

/** Without members that are undefined, and without a stride that says nothing. */
function given({ stride, count }: LaneAccess): LaneAccess {
  return { ...(stride !== undefined && stride !== 1 && { stride }), ...(count !== undefined && { count }) };
}

/**
 * Statements in the order of the calls. `loop` and `when` open a body for the length of their callback. Values that
 * `let`, `var`, `threefry` and `normals` return are reads of the new names.
 */
export class NestBuilder {
  private body: Statement[] = [];

  constructor(readonly names = new Names()) {}

  /** What has been written into the open body. */
  get statements(): readonly Statement[] {
    return this.body;
  }

  append(...statements: readonly Statement[]): void {
    this.body.push(...statements);
  }

  /** What `write` writes, as a list of its own. */
  collect(write: () => void): readonly Statement[] {
    const outer = this.body;
    const inner: Statement[] = [];
    this.body = inner;
    try {
      write();
    } finally {
      this.body = outer;
    }
    return inner;
  }

  let(value: Expr, prefix = 'x', hold = false): Read {
    const name = this.names.fresh(prefix);
    this.body.push({ kind: 'let', name, value, ...(hold && { hold }) });
    const { type, width } = typeOf(value);
    return read(name, type, width);
  }

  /** A scalar i32 `let` that indices may use. */
  letIndex(value: Expr, prefix = 'o'): Index {
    return variableIndex(this.let(value, prefix).name);
  }

  /** A variable with a first value; of that width, or as wide as told. */
  var(value: Expr, width?: Width, prefix = 'v'): Read {
    const name = this.names.fresh(prefix);
    const kind = typeOf(value);
    const wider = width !== undefined && width !== kind.width;
    this.body.push({ kind: 'var', name, value, ...(wider && { width }) });
    return read(name, kind.type, width ?? kind.width);
  }

  set(variable: Read, value: Expr): void {
    this.body.push({ kind: 'set', name: variable.name, value });
  }

  /**
   * for (variable = 0; variable < extent; variable += step). The callback gets the variable as an index. A loop with one
   * round is written without a loop, one with none not at all.
   */
  loop(
    extent: number | string,
    write: (variable: Index) => void,
    options: { readonly step?: number; readonly unroll?: boolean; readonly prefix?: string } = {},
  ): void {
    const { step = 1, unroll, prefix = 'i' } = options;
    if (typeof extent === 'number' && extent <= step) {
      if (extent > 0) write(index(0));
      return;
    }
    const variable = this.names.fresh(prefix);
    const body = this.collect(() => {
      write(variableIndex(variable));
    });
    this.body.push({ kind: 'loop', variable, extent, step, ...(unroll !== undefined && { unroll }), body });
  }

  /** Runs what is written if the scalar mask holds. */
  when(condition: Expr, write: () => void): void {
    this.body.push({ kind: 'if', condition, then: this.collect(write) });
  }

  /** One element, from a scalar. */
  storeScalar(buffer: string, memory: MemoryType, at: Index, value: Expr): void {
    this.body.push({ kind: 'store', buffer, memory, index: at, value, width: 'scalar' });
  }

  /** One element a lane; a scalar goes to all. */
  storeVector(buffer: string, memory: MemoryType, at: Index, value: Expr, lanes: LaneAccess = {}): void {
    this.body.push({ kind: 'store', buffer, memory, index: at, value, width: 'vector', ...given(lanes) });
  }

  scatter(buffer: string, memory: MemoryType, at: Index, offsets: Expr, value: Expr, count?: number): void {
    const some = count !== undefined && { count };
    this.body.push({ kind: 'scatter', buffer, memory, index: at, offsets, value, ...some });
  }

  /** A buffer of the kernel's own; gives its name. */
  local(memory: MemoryType, length: number, prefix = 'local'): string {
    const buffer = this.names.fresh(prefix);
    this.body.push({ kind: 'local', buffer, memory, length });
    return buffer;
  }

  /** The two words of a block. */
  threefry(key: readonly [Expr, Expr], counter: readonly [Expr, Expr], width: Width): readonly [Read, Read] {
    const names = [this.names.fresh('w'), this.names.fresh('w')] as const;
    this.body.push({ kind: 'threefry', names, key, counter, width });
    return [read(names[0], 'u32', width), read(names[1], 'u32', width)];
  }

  /** Two normals of two words. */
  normals(words: readonly [Expr, Expr], width: Width): readonly [Read, Read] {
    const names = [this.names.fresh('z'), this.names.fresh('z')] as const;
    this.body.push({ kind: 'normals', names, words, width });
    return [read(names[0], 'f32', width), read(names[1], 'f32', width)];
  }

  prefetch(buffer: string, at: Index, write = false): void {
    this.body.push({ kind: 'prefetch', buffer, index: at, ...(write && { write }) });
  }

  call(
    kernel: Kernel,
    buffers: readonly { readonly buffer: string; readonly index: Index }[],
    scalars: readonly Expr[] = [],
  ): void {
    this.body.push({ kind: 'call', kernel, buffers, scalars });
  }

  note(text: string): void {
    this.body.push({ kind: 'note', text });
  }

  /** The kernel of everything written. */
  kernel(head: {
    readonly name: string;
    readonly buffers: readonly BufferParameter[];
    readonly scalars?: readonly ScalarParameter[];
    readonly inline?: boolean;
  }): Kernel {
    const { name, buffers, scalars = [], inline } = head;
    return { name, buffers, scalars, body: this.body, ...(inline !== undefined && { inline }) };
  }
}
