/** Loop nests as C. Everything that knows C's syntax is here and in the texts beside it. */
import { tableOf, type KernelTable } from '../nest/dedupe';
import { NestError } from '../nest/errors';
import { LOCAL_BYTES, MEMORY_BYTES } from '../nest/ir';
import type {
  BinaryOp,
  Expr,
  Index,
  Kernel,
  MemoryType,
  RegisterType,
  Statement,
  Target,
  UnaryOp,
  Width,
} from '../nest/ir';
import { printStatement } from '../nest/print';
import { typeOf, type ValueKind } from '../nest/types';
import { PRELUDE } from './prelude';

/** What a body may be written out to, in statements; longer loops stay loops. */
const UNROLLED_STATEMENTS = 4096;

const MEMORY_TYPES: Record<MemoryType, string> = { f32: 'ol_f32', i32: 'ol_i32', u8: 'ol_u8' };
const MEMORY_SUFFIX: Record<MemoryType, string> = { f32: 'f', i32: 'i', u8: 'b' };
const SCALAR_TYPES: Record<RegisterType, string> = { f32: 'float', i32: 'int32_t', u32: 'uint32_t', mask: 'int' };
const VECTOR_TYPES: Record<RegisterType, string> = { f32: 'olv', i32: 'oli', u32: 'olu', mask: 'olm' };
const SUFFIX: Record<RegisterType, string> = { f32: 'f', i32: 'i', u32: 'u', mask: 'm' };

/** What of C the text may use. */
export interface Dialect {
  /** Before `void` of a function that the driver calls, and of one that only kernels call. */
  readonly function: string;
  readonly inline: string;
  /** Before and after the declaration of a buffer whose vectors are to be aligned. */
  readonly aligned: readonly [string, string];
  /** Whether C's operators work on vectors, and hints to the compiler are understood. */
  readonly extensions: boolean;
  readonly nan: string;
  readonly infinity: string;
}

/** GCC's and Clang's, after `PRELUDE`. Every translation unit of the library may call a kernel. */
const GNU: Dialect = {
  function: '__attribute__((noinline, visibility("hidden")))',
  inline: 'OL_FN',
  aligned: ['', ' __attribute__((aligned(64)))'],
  extensions: true,
  nan: '__builtin_nanf("")',
  infinity: '__builtin_inff()',
};

/** The text that stands before the kernels of a program; `texts` follow the prelude (mathematics, randomness). */
export function renderHead(target: Target, texts: readonly string[]): string {
  return [`#define OL_LANES ${target.lanes}`, PRELUDE, ...texts, ''].join('\n');
}

/**
 * C functions of all kernels of a table, callees first: buffers, then scalars, in the kernel's order.
 * @throws NestError for what cannot be rendered.
 */
export function renderKernels(table: KernelTable, target: Target, dialect: Dialect = GNU): string {
  return table.entries
    .map(({ name, kernel }) => new KernelRenderer(kernel, name, table, target, dialect).render())
    .join('\n');
}

/** Declarations of kernels that another unit has. */
export function renderPrototypes(entries: KernelTable['entries']): string {
  return entries
    .filter(({ kernel }) => kernel.inline !== true)
    .map(({ name, kernel }) => `${renderSignature(kernel, name)};\n`)
    .join('');
}

/** One kernel with what it calls. */
export function renderKernel(kernel: Kernel, target: Target): string {
  return renderKernels(tableOf([kernel]), target);
}

/** How the kernel's head reads in C, without a semicolon or a body. */
export function renderSignature(kernel: Kernel, name: string): string {
  const names = new CNames();
  return signature(kernel, name, names, GNU);
}

/** Where a line of rendered source (1-based) comes from: the kernel, and the last note before it. */
export function originOfLine(source: string, line: number): { kernel: string; note?: string } | undefined {
  const lines = source.split('\n');
  let note: string | undefined;
  for (let i = Math.min(line, lines.length) - 1; i >= 0; i--) {
    const kernel = KERNEL_MARK.exec(lines[i]);
    if (kernel !== null) return { kernel: kernel[1], ...(note !== undefined && { note }) };
    // The end of a function, unless it is the line asked for.
    if (lines[i] === '}' && i !== line - 1) return undefined;
    note ??= NOTE_MARK.exec(lines[i])?.[1];
  }
  return undefined;
}
const KERNEL_MARK = /^\/\/ kernel: (.*)$/;
const NOTE_MARK = /^\s*\/\/ note: (.*)$/;

/** In a line comment: no line may end in a backslash or go on in the next. */
function commentText(text: string): string {
  return text.replace(/[\r\n\\]+/g, ' ').trim();
}

/** Names of one function: those of the nest where C allows them. */
class CNames {
  private readonly names = new Map<string, string>();
  private readonly taken = new Set<string>();

  of(name: string): string {
    let safe = this.names.get(name);
    if (safe === undefined) {
      // Letters and a number are no keyword, type or macro; all else ends in an underscore, as nothing of the prelude does.
      const base = /^[A-Za-z]+[0-9]+$/.test(name) ? name : `${name.replace(/[^A-Za-z0-9]+/g, '_')}_`;
      safe = /^[A-Za-z]/.test(base) ? base : `v${base}`;
      for (let n = 2; this.taken.has(safe); n++) safe = `${base}${n}_`;
      this.names.set(name, safe);
      this.taken.add(safe);
    }
    return safe;
  }
}

function signature(kernel: Kernel, name: string, names: CNames, dialect: Dialect): string {
  const buffers = kernel.buffers.map(
    ({ name: buffer, memory, written }) => `${written ? '' : 'const '}${MEMORY_TYPES[memory]} *${names.of(buffer)}`,
  );
  const scalars = kernel.scalars.map(({ name: scalar, type }) => `${SCALAR_TYPES[type]} ${names.of(scalar)}`);
  const head = kernel.inline === true ? dialect.inline : dialect.function;
  return `${head} void ${name}(${[...buffers, ...scalars].join(', ') || 'void'})`;
}

class KernelRenderer {
  private readonly names = new CNames();
  private readonly lines: string[] = [];
  /** Type and width of what was declared. */
  private readonly kinds = new Map<string, ValueKind>();
  /** Names of values that cannot be NaN. */
  private readonly numbers = new Set<string>();
  private localBytes = 0;
  private current: Statement | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly name: string,
    private readonly table: KernelTable,
    private readonly target: Target,
    private readonly dialect: Dialect,
  ) {}

  render(): string {
    this.lines.push(`// kernel: ${commentText(this.kernel.name)}`);
    this.lines.push(`${signature(this.kernel, this.name, this.names, this.dialect)} {`);
    this.body(this.kernel.body, 1);
    this.lines.push('}', '');
    return this.lines.join('\n');
  }

  private fail(problem: string): NestError {
    return new NestError(this.kernel.name, this.current === undefined ? '' : printStatement(this.current), problem);
  }

  private body(statements: readonly Statement[], depth: number): void {
    for (const statement of statements) {
      this.current = statement;
      this.statement(statement, depth);
    }
  }

  private line(depth: number, text: string): void {
    this.lines.push('  '.repeat(depth) + text);
  }

  private statement(s: Statement, depth: number): void {
    switch (s.kind) {
      case 'loop':
        this.loop(s, depth);
        return;
      case 'let':
        if (this.isNumber(s.value)) this.numbers.add(s.name);
        this.declare(depth, s.hold === true ? '' : 'const ', s.name, s.value);
        if (s.hold === true && this.dialect.extensions) this.line(depth, `OL_HOLD(${this.names.of(s.name)});`);
        return;
      case 'var':
        this.declare(depth, '', s.name, s.value, s.width);
        return;
      case 'set': {
        const width = this.kinds.get(s.name)?.width ?? 'scalar';
        this.line(depth, `${this.names.of(s.name)} = ${this.as(s.value, width)};`);
        return;
      }
      case 'store':
        this.store(s, depth);
        return;
      case 'scatter': {
        const value = this.asMemory(s.value, s.memory, 'vector');
        const args = [this.address(s.buffer, s.index), this.as(s.offsets, 'vector'), value, this.count(s.count)];
        this.line(depth, `ol_scatter_${MEMORY_SUFFIX[s.memory]}(${args.join(', ')});`);
        return;
      }
      case 'local': {
        this.localBytes += MEMORY_BYTES[s.memory] * s.length;
        if (this.localBytes > LOCAL_BYTES) {
          throw this.fail(
            `local buffers of ${this.localBytes} bytes; they lie on a thread's stack and may have ${LOCAL_BYTES}. Make it a workspace.`,
          );
        }
        const name = this.names.of(s.buffer);
        const [before, after] = this.dialect.aligned;
        this.line(depth, `${before}${MEMORY_TYPES[s.memory]} ${name}[${s.length}]${after};`);
        return;
      }
      case 'if':
        this.line(depth, `if (${this.expr(s.condition)}) {`);
        this.body(s.then, depth + 1);
        this.line(depth, '}');
        return;
      case 'threefry':
        this.pair(depth, 'ol_threefry', 'u32', s.names, s.width, [...s.key, ...s.counter]);
        return;
      case 'normals':
        this.pair(depth, 'ol_normals', 'f32', s.names, s.width, s.words);
        return;
      case 'prefetch':
        if (!this.dialect.extensions) return;
        this.line(depth, `__builtin_prefetch(${this.address(s.buffer, s.index)}, ${s.write === true ? 1 : 0}, 3);`);
        return;
      case 'call': {
        const buffers = s.buffers.map(({ buffer, index }) => this.address(buffer, index));
        const scalars = s.scalars.map((scalar) => this.expr(scalar));
        this.line(depth, `${this.table.nameOf(s.kernel)}(${[...buffers, ...scalars].join(', ')});`);
        return;
      }
      case 'transpose': {
        const { from, to, rows, columns } = s;
        const full = rows === this.target.lanes && columns === this.target.lanes;
        const args = [
          this.address(from.buffer, from.index),
          String(from.stride),
          this.address(to.buffer, to.index),
          String(to.stride),
          ...(full ? [] : [String(rows), String(columns)]),
        ];
        this.line(depth, `${full ? 'ol_transpose' : 'ol_transpose_n'}(${args.join(', ')});`);
        return;
      }
      case 'note':
        this.line(depth, `// note: ${commentText(s.text)}`);
        return;
    }
  }

  private loop(s: Extract<Statement, { kind: 'loop' }>, depth: number): void {
    const variable = this.names.of(s.variable);
    if (s.unroll === true && typeof s.extent === 'number') {
      const rounds = Math.ceil(s.extent / s.step);
      if (rounds * statementCount(s.body) <= UNROLLED_STATEMENTS) {
        for (let i = 0; i < s.extent; i += s.step) {
          this.line(depth, '{');
          this.line(depth + 1, `const ol_int ${variable} = ${i};`);
          this.body(s.body, depth + 1);
          this.line(depth, '}');
        }
        return;
      }
    }
    const extent = typeof s.extent === 'number' ? String(s.extent) : this.names.of(s.extent);
    const next = s.step === 1 ? `${variable}++` : `${variable} += ${s.step}`;
    this.line(depth, `for (ol_int ${variable} = 0; ${variable} < ${extent}; ${next}) {`);
    this.body(s.body, depth + 1);
    this.line(depth, '}');
  }

  private declare(depth: number, qualifier: string, name: string, value: Expr, width?: Width): void {
    const kind = typeOf(value);
    const actual = { type: kind.type, width: width ?? kind.width };
    this.kinds.set(name, actual);
    this.line(depth, `${qualifier}${cType(actual)} ${this.names.of(name)} = ${this.as(value, actual.width)};`);
  }

  /** Two results by address. */
  private pair(
    depth: number,
    callee: string,
    type: RegisterType,
    names: readonly [string, string],
    width: Width,
    operands: readonly Expr[],
  ): void {
    const [a, b] = names.map((name) => this.names.of(name));
    for (const name of names) this.kinds.set(name, { type, width });
    const args = [...operands.map((operand) => this.as(operand, width)), `&${a}`, `&${b}`].join(', ');
    this.line(depth, `${cType({ type, width })} ${a}, ${b};`);
    this.line(depth, `${callee}${width === 'vector' ? '' : '1'}(${args});`);
  }

  private store(s: Extract<Statement, { kind: 'store' }>, depth: number): void {
    const address = this.address(s.buffer, s.index);
    const value = this.asMemory(s.value, s.memory, s.width);
    if (s.width === 'scalar') {
      const cast = s.memory === 'u8' ? `(ol_u8)${value}` : value;
      this.line(depth, `*(${address}) = ${cast};`);
      return;
    }
    const form = `ol_store_${MEMORY_SUFFIX[s.memory]}`;
    const { stride = 1 } = s;
    const text =
      stride !== 1
        ? `${form}_s(${address}, ${stride}, ${value}, ${this.count(s.count)})`
        : this.partial(s.count)
          ? `${form}_n(${address}, ${value}, ${this.count(s.count)})`
          : `${form}(${address}, ${value})`;
    this.line(depth, `${text};`);
  }

  private partial(count: number | undefined): boolean {
    return count !== undefined && count < this.target.lanes;
  }

  private count(count: number | undefined): string {
    return String(Math.min(count ?? this.target.lanes, this.target.lanes));
  }

  private index({ offset, terms }: Index): string {
    const parts = terms.map(({ variable, factor }) => {
      const name = this.isLoopVariable(variable) ? this.names.of(variable) : `(ol_int)${this.names.of(variable)}`;
      return factor === 1 ? name : `${name} * ${factor}`;
    });
    if (offset !== 0 || parts.length === 0) parts.push(String(offset));
    return parts.join(' + ').replace(/\+ -/g, '- ');
  }

  private address(buffer: string, index: Index): string {
    const name = this.names.of(buffer);
    const at = this.index(index);
    return at === '0' ? name : `${name} + ${at}`;
  }

  /** The value as wide as wanted. */
  private as(value: Expr, width: Width): string {
    const kind = typeOf(value);
    const text = this.expr(value);
    if (kind.width === width) return text;
    if (width === 'scalar') throw this.fail('a vector where a scalar is expected');
    return `ol_splat_${SUFFIX[kind.type]}(${text})`;
  }

  /** A truth value as a number of the memory's type. */
  private asMemory(value: Expr, memory: MemoryType, width: Width): string {
    const text = this.as(value, width);
    if (typeOf(value).type !== 'mask') return text;
    return `ol_m_to_${memory === 'f32' ? 'f' : 'i'}${width === 'vector' ? '' : '1'}(${text})`;
  }

  private expr(e: Expr): string {
    switch (e.kind) {
      case 'read':
        return this.read(e.name);
      case 'literal':
        return literal(e.type, e.value, this.dialect);
      case 'position':
        return `(int32_t)(${this.index(e.index)})`;
      case 'ramp':
        return 'ol_ramp()';
      case 'load':
        return this.load(e);
      case 'gather': {
        const args = [this.address(e.buffer, e.index), this.as(e.offsets, 'vector'), this.count(e.count)];
        return `ol_gather_${MEMORY_SUFFIX[e.memory]}(${args.join(', ')})`;
      }
      case 'unary':
        return this.unary(e.op, e.a);
      case 'binary':
        return this.binary(e.op, e.a, e.b);
      case 'fma':
        return this.apply('ol_fma', [e.a, e.b, e.c]);
      case 'select':
        return this.apply(`ol_select_${SUFFIX[typeOf(e.a).type]}`, [e.condition, e.a, e.b]);
      case 'convert': {
        const { type } = typeOf(e.a);
        if (type === e.to) return this.expr(e.a);
        return this.apply(`ol_${SUFFIX[type]}_to_${SUFFIX[e.to]}`, [e.a]);
      }
      case 'shift':
        if (!this.dialect.extensions && typeOf(e.a).width === 'vector') {
          return `ol_shift_${e.direction}_u(${this.expr(e.a)}, ${e.by})`;
        }
        return `(${this.expr(e.a)} ${e.direction === 'left' ? '<<' : '>>'} ${e.by})`;
      case 'mulHigh':
        return this.apply('ol_mulHigh', [e.a, e.b]);
      case 'across':
        return `ol_${e.op}_across_${SUFFIX[typeOf(e.a).type]}(${this.as(e.a, 'vector')}, ${this.count(e.count)})`;
      case 'sums':
        return `ol_sums${e.parts.length}(${e.parts.map((part) => this.as(part, 'vector')).join(', ')})`;
    }
  }

  private read(name: string): string {
    return this.isLoopVariable(name) ? `(int32_t)${this.names.of(name)}` : this.names.of(name);
  }

  /** These are wider than int32, so that offsets are computed without overflow and sign extension. */
  private isLoopVariable(name: string): boolean {
    return !this.kinds.has(name) && !this.kernel.scalars.some((scalar) => scalar.name === name);
  }

  private load(e: Extract<Expr, { kind: 'load' }>): string {
    const address = this.address(e.buffer, e.index);
    if (e.width === 'scalar') return e.memory === 'u8' ? `(int32_t)*(${address})` : `*(${address})`;
    const form = `ol_load_${MEMORY_SUFFIX[e.memory]}`;
    const { stride = 1 } = e;
    if (stride !== 1) return `${form}_s(${address}, ${stride}, ${this.count(e.count)})`;
    return this.partial(e.count) ? `${form}_n(${address}, ${this.count(e.count)})` : `${form}(${address})`;
  }

  /** A function of the prelude, in its vector or scalar form. */
  private apply(name: string, operands: readonly Expr[]): string {
    const width: Width = operands.some((operand) => typeOf(operand).width === 'vector') ? 'vector' : 'scalar';
    return `${name}${width === 'vector' ? '' : '1'}(${operands.map((operand) => this.as(operand, width)).join(', ')})`;
  }

  private unary(op: UnaryOp, a: Expr): string {
    const { type } = typeOf(a);
    switch (op) {
      case 'neg':
        return type === 'f32' && this.operators(a) ? `(-${this.expr(a)})` : this.apply(`ol_neg_${SUFFIX[type]}`, [a]);
      case 'abs':
      case 'sign':
      case 'not':
        return this.apply(`ol_${op}_${SUFFIX[type]}`, [a]);
      default:
        return this.apply(`ol_${op}`, [a]);
    }
  }

  /** Whether C's operators work on it. */
  private operators(e: Expr): boolean {
    return this.dialect.extensions || typeOf(e).width === 'scalar';
  }

  /** Cannot be NaN. */
  private isNumber(e: Expr): boolean {
    if (e.kind === 'literal') return !Number.isNaN(e.value);
    return e.kind === 'read' ? this.numbers.has(e.name) : e.kind === 'convert' && typeOf(e.a).type !== 'f32';
  }

  private binary(op: BinaryOp, a: Expr, b: Expr): string {
    const { type } = typeOf(a);
    if (type === 'f32' && (op === 'max' || op === 'min')) {
      if (this.isNumber(b)) return this.apply(`ol_${op}_number`, [a, b]);
      if (this.isNumber(a)) return this.apply(`ol_${op}_number`, [b, a]);
    }
    const operator = this.operators(a) && this.operators(b) ? OPERATORS[type][op] : undefined;
    if (operator === undefined) return this.apply(FLOAT_ONLY.has(op) ? `ol_${op}` : `ol_${op}_${SUFFIX[type]}`, [a, b]);
    const width = typeOf({ kind: 'binary', op, a, b }).width;
    return `(${this.as(a, width)} ${operator} ${this.as(b, width)})`;
  }
}

const FLOAT_ONLY: ReadonlySet<BinaryOp> = new Set(['pow', 'atan2']);

/** Where C's operator does what the nest says, for a scalar and for a vector. */
const OPERATORS: Record<RegisterType, Partial<Record<BinaryOp, string>>> = {
  f32: { add: '+', sub: '-', mul: '*', div: '/' },
  i32: { and: '&', or: '|', xor: '^' },
  u32: { add: '+', sub: '-', mul: '*', and: '&', or: '|', xor: '^' },
  mask: {},
};

function cType({ type, width }: ValueKind): string {
  return (width === 'vector' ? VECTOR_TYPES : SCALAR_TYPES)[type];
}

/** Statements when all that is marked so has been written out. */
function statementCount(body: readonly Statement[]): number {
  let count = 0;
  for (const s of body) {
    if (s.kind === 'loop') {
      const rounds = s.unroll === true && typeof s.extent === 'number' ? Math.ceil(s.extent / s.step) : 1;
      count += 1 + rounds * statementCount(s.body);
    } else count += s.kind === 'if' ? 1 + statementCount(s.then) : 1;
  }
  return count;
}

function literal(type: RegisterType, value: number, dialect: Dialect): string {
  switch (type) {
    case 'f32':
      return floatText(value, dialect);
    case 'i32':
      return value === -2147483648 ? 'INT32_MIN' : value < 0 ? `(${value})` : String(value);
    case 'u32':
      return `${value >>> 0}u`;
    case 'mask':
      return value === 0 ? '0' : '1';
  }
}

/** The float32 nearest to the number, exactly. */
export function floatLiteral(value: number): string {
  return floatText(value, GNU);
}

/** The same in another dialect. */
export function floatText(value: number, { nan, infinity }: Dialect): string {
  const x = Math.fround(value);
  if (Number.isNaN(x)) return nan;
  const sign = x < 0 || Object.is(x, -0) ? '-' : '';
  const size = Math.abs(x);
  let text: string;
  if (size === Infinity) text = infinity;
  else if (Number.isInteger(size) && size < 2 ** 24) text = `${size}.0f`;
  else {
    const word = new Uint32Array(new Float32Array([size]).buffer)[0];
    const exponent = word >>> 23;
    const digits = ((word & 0x7fffff) << 1).toString(16).padStart(6, '0').replace(/0+$/, '');
    const [lead, power] = exponent === 0 ? ['0', -126] : ['1', exponent - 127];
    text = `0x${lead}${digits === '' ? '' : `.${digits}`}p${power}f`;
  }
  return sign === '' ? text : `(-${text})`;
}
