/** Checks a kernel against the rules of ir.ts: run on what lowering made, before it is rendered. */
import { NestError } from './errors';
import type { BinaryOp, Expr, Index, Kernel, MemoryType, RegisterType, Statement, Target, UnaryOp, Width } from './ir';
import { printExpr, printStatement } from './print';
import { typeOf, type ValueKind } from './types';

export { NestError } from './errors';

/**
 * @throws NestError, naming the kernel and the statement, for: a name declared twice or used outside its body; operands or
 *   memory of the wrong type; a vector where a scalar is meant; an unknown or unwritten buffer; a `count` that is not
 *   1 … lanes; an index over anything but loop variables, scalar i32 `let`s and i32 parameters.
 */
export function verifyKernel(kernel: Kernel, target: Target): void {
  new Verifier(kernel, target).run();
}

/** What a name stands for. */
interface Declared extends ValueKind {
  readonly what: 'let' | 'var' | 'parameter' | 'loop';
}

const UNARY_TYPES: { readonly [P in UnaryOp]: readonly RegisterType[] } = {
  neg: ['f32', 'i32'],
  abs: ['f32', 'i32'],
  sign: ['f32', 'i32'],
  floor: ['f32'],
  ceil: ['f32'],
  round: ['f32'],
  exp: ['f32'],
  expm1: ['f32'],
  log: ['f32'],
  log1p: ['f32'],
  sqrt: ['f32'],
  rsqrt: ['f32'],
  sin: ['f32'],
  cos: ['f32'],
  atan: ['f32'],
  tanh: ['f32'],
  sigmoid: ['f32'],
  erf: ['f32'],
  isNan: ['f32'],
  isFinite: ['f32'],
  not: ['mask'],
};

const BINARY_TYPES: { readonly [P in BinaryOp]: readonly RegisterType[] } = {
  add: ['f32', 'i32', 'u32'],
  sub: ['f32', 'i32', 'u32'],
  mul: ['f32', 'i32', 'u32'],
  div: ['f32', 'i32'],
  mod: ['f32', 'i32'],
  max: ['f32', 'i32'],
  min: ['f32', 'i32'],
  pow: ['f32'],
  atan2: ['f32'],
  eq: ['f32', 'i32', 'u32'],
  ne: ['f32', 'i32', 'u32'],
  lt: ['f32', 'i32', 'u32'],
  le: ['f32', 'i32', 'u32'],
  gt: ['f32', 'i32', 'u32'],
  ge: ['f32', 'i32', 'u32'],
  and: ['mask', 'i32', 'u32'],
  or: ['mask', 'i32', 'u32'],
  xor: ['mask', 'i32', 'u32'],
};

/** From each type to which. */
const CONVERSIONS: { readonly [P in RegisterType]: readonly RegisterType[] } = {
  f32: ['f32', 'i32', 'mask'],
  i32: ['i32', 'f32', 'u32', 'mask'],
  u32: ['u32', 'f32', 'i32'],
  mask: ['mask', 'f32', 'i32'],
};

/** What each memory type takes. */
const STORED: { readonly [P in MemoryType]: readonly RegisterType[] } = {
  f32: ['f32', 'mask'],
  i32: ['i32', 'mask'],
  u8: ['i32', 'mask'],
};

class Verifier {
  /** Visible now. */
  private readonly scope = new Map<string, Declared>();
  private readonly buffers = new Map<string, { readonly memory: MemoryType; readonly written: boolean }>();
  /** Ever declared. */
  private readonly declared = new Set<string>();
  private current: Statement | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly target: Target,
  ) {}

  run(): void {
    for (const { name, memory, written } of this.kernel.buffers) {
      this.declareName(name);
      this.buffers.set(name, { memory, written });
    }
    for (const { name, type } of this.kernel.scalars) this.declare(name, { type, width: 'scalar', what: 'parameter' });
    this.body(this.kernel.body);
  }

  private check(holds: boolean, problem: () => string): void {
    if (holds) return;
    throw new NestError(this.kernel.name, this.current === undefined ? '' : printStatement(this.current), problem());
  }

  private declareName(name: string): void {
    this.check(!this.declared.has(name), () => `${name} is declared twice`);
    this.declared.add(name);
  }

  private declare(name: string, as: Declared): void {
    this.declareName(name);
    this.scope.set(name, as);
  }

  private body(statements: readonly Statement[]): void {
    const outer = new Set([...this.scope.keys(), ...this.buffers.keys()]);
    for (const statement of statements) {
      this.current = statement;
      this.statement(statement);
    }
    for (const visible of [this.scope, this.buffers]) {
      for (const name of [...visible.keys()]) if (!outer.has(name)) visible.delete(name);
    }
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case 'loop':
        this.check(Number.isInteger(s.step) && s.step >= 1, () => `step ${s.step}, expected 1 or more`);
        if (typeof s.extent === 'number') {
          this.check(Number.isInteger(s.extent) && s.extent >= 0, () => `extent ${String(s.extent)}`);
        } else {
          const extent = this.scope.get(s.extent);
          this.check(
            extent?.what === 'parameter' && extent.type === 'i32',
            () => `extent ${String(s.extent)} is no i32 parameter`,
          );
        }
        this.declare(s.variable, { type: 'i32', width: 'scalar', what: 'loop' });
        this.body(s.body);
        this.scope.delete(s.variable);
        return;
      case 'let':
        this.declare(s.name, { ...this.expr(s.value), what: 'let' });
        return;
      case 'var': {
        const { type, width } = this.expr(s.value);
        this.check(
          width === 'scalar' || s.width !== 'scalar',
          () => 'a vector is the first value of a scalar variable',
        );
        this.declare(s.name, { type, width: s.width ?? width, what: 'var' });
        return;
      }
      case 'set': {
        const variable = this.scope.get(s.name);
        this.check(variable?.what === 'var', () => `${s.name} is no variable here`);
        const { type, width } = this.expr(s.value);
        this.check(
          type === variable?.type && (width === 'scalar' || variable.width === 'vector'),
          () => `a ${width} ${type} for a ${variable?.width ?? ''} ${variable?.type ?? ''}`,
        );
        return;
      }
      case 'store':
        this.destination(s.buffer, s.memory, s.index);
        this.stored(s.value, s.memory, s.width);
        this.lanes(s);
        return;
      case 'scatter':
        this.destination(s.buffer, s.memory, s.index);
        this.offsets(s.offsets);
        this.stored(s.value, s.memory, 'vector');
        this.lanes({ width: 'vector', ...(s.count !== undefined && { count: s.count }) });
        return;
      case 'local':
        this.check(Number.isInteger(s.length) && s.length >= 1, () => `length ${s.length}`);
        this.declareName(s.buffer);
        this.buffers.set(s.buffer, { memory: s.memory, written: true });
        return;
      case 'if': {
        const { type, width } = this.expr(s.condition);
        this.check(
          type === 'mask' && width === 'scalar',
          () => `the condition is a ${width} ${type}, expected a scalar mask`,
        );
        this.body(s.then);
        return;
      }
      case 'threefry':
        this.pair(s.names, s.width, 'u32', [...s.key, ...s.counter]);
        return;
      case 'normals':
        this.pair(s.names, s.width, 'f32', s.words);
        return;
      case 'prefetch':
        this.buffer(s.buffer);
        this.index(s.index);
        return;
      case 'call':
        this.call(s);
        return;
      case 'transpose':
        this.source(s.from.buffer, 'f32', s.from.index);
        this.destination(s.to.buffer, 'f32', s.to.index);
        this.count(s.rows);
        this.count(s.columns);
        return;
      case 'note':
        return;
    }
  }

  private pair(names: readonly [string, string], width: Width, type: RegisterType, operands: readonly Expr[]): void {
    for (const operand of operands) {
      const kind = this.expr(operand);
      this.check(
        kind.type === 'u32' && (kind.width === 'scalar' || width === 'vector'),
        () => `${printExpr(operand)} is a ${kind.width} ${kind.type}, expected u32 as ${width}`,
      );
    }
    for (const name of names) this.declare(name, { type, width, what: 'let' });
  }

  private call({ kernel, buffers, scalars }: Extract<Statement, { kind: 'call' }>): void {
    this.check(
      buffers.length === kernel.buffers.length && scalars.length === kernel.scalars.length,
      () =>
        `${kernel.name} takes ${kernel.buffers.length} buffers and ${kernel.scalars.length} scalars, got ${buffers.length} and ${scalars.length}`,
    );
    buffers.forEach(({ buffer, index }, i) => {
      const { memory, written } = kernel.buffers[i];
      if (written) this.destination(buffer, memory, index);
      else this.source(buffer, memory, index);
    });
    scalars.forEach((scalar, i) => {
      const { type, width } = this.expr(scalar);
      const expected = kernel.scalars[i].type;
      this.check(
        type === expected && width === 'scalar',
        () => `${printExpr(scalar)} is a ${width} ${type}, expected a scalar ${expected}`,
      );
    });
  }

  // Memory.

  private buffer(name: string): { readonly memory: MemoryType; readonly written: boolean } {
    const buffer = this.buffers.get(name);
    if (buffer === undefined) throw new NestError(this.kernel.name, this.shown(), `there is no buffer ${name} here`);
    return buffer;
  }

  private shown(): string {
    return this.current === undefined ? '' : printStatement(this.current);
  }

  private source(name: string, memory: MemoryType, index: Index): void {
    const buffer = this.buffer(name);
    this.check(buffer.memory === memory, () => `${name} holds ${buffer.memory}, not ${memory}`);
    this.index(index);
  }

  private destination(name: string, memory: MemoryType, index: Index): void {
    this.source(name, memory, index);
    this.check(this.buffer(name).written, () => `${name} is not said to be written`);
  }

  private index({ offset, terms }: Index): void {
    this.check(Number.isSafeInteger(offset), () => `offset ${offset}`);
    for (const { variable, factor } of terms) {
      const known = this.scope.get(variable);
      this.check(Number.isSafeInteger(factor), () => `factor ${factor} of ${variable}`);
      this.check(
        known !== undefined && known.what !== 'var' && known.type === 'i32' && known.width === 'scalar',
        () => `index over ${variable}, which is no loop variable, i32 parameter or scalar i32 let here`,
      );
    }
  }

  private stored(value: Expr, memory: MemoryType, width: Width): void {
    const kind = this.expr(value);
    this.check(STORED[memory].includes(kind.type), () => `a ${kind.type} is stored to ${memory}`);
    this.check(kind.width === 'scalar' || width === 'vector', () => 'a vector is stored as a scalar');
  }

  private lanes(access: { readonly width: Width; readonly stride?: number; readonly count?: number }): void {
    const { width, stride, count } = access;
    this.check(width === 'vector' || (stride === undefined && count === undefined), () => 'a scalar has no lanes');
    this.check(stride === undefined || Number.isSafeInteger(stride), () => `stride ${String(stride)}`);
    if (count !== undefined) this.count(count);
  }

  private count(count: number): void {
    const { lanes } = this.target;
    this.check(Number.isInteger(count) && count >= 1 && count <= lanes, () => `${count} lanes of ${lanes}`);
  }

  private offsets(offsets: Expr): void {
    const { type } = this.expr(offsets);
    this.check(type === 'i32', () => `offsets are ${type}, expected i32`);
  }

  // Expressions.

  private operand(e: Expr, allowed: readonly RegisterType[], of: string): ValueKind {
    const kind = this.expr(e);
    this.check(
      allowed.includes(kind.type),
      () => `${of} of ${kind.type} ${printExpr(e)}, expected ${allowed.join(' or ')}`,
    );
    return kind;
  }

  private expr(e: Expr): ValueKind {
    switch (e.kind) {
      case 'read': {
        const known = this.scope.get(e.name);
        this.check(known !== undefined, () => `${e.name} is not declared here`);
        this.check(
          known?.type === e.type && known.width === e.width,
          () => `${e.name} is a ${known?.width ?? ''} ${known?.type ?? ''}, read as a ${e.width} ${e.type}`,
        );
        break;
      }
      case 'literal':
        this.check(isLiteral(e.type, e.value), () => `${e.value} is no ${e.type}`);
        break;
      case 'position':
        this.index(e.index);
        break;
      case 'ramp':
        break;
      case 'load':
        this.source(e.buffer, e.memory, e.index);
        this.lanes(e);
        break;
      case 'gather':
        this.source(e.buffer, e.memory, e.index);
        this.offsets(e.offsets);
        if (e.count !== undefined) this.count(e.count);
        break;
      case 'unary':
        this.operand(e.a, UNARY_TYPES[e.op], e.op);
        break;
      case 'binary': {
        const a = this.operand(e.a, BINARY_TYPES[e.op], e.op);
        this.operand(e.b, [a.type], e.op);
        break;
      }
      case 'fma':
        for (const operand of [e.a, e.b, e.c]) this.operand(operand, ['f32'], 'fma');
        break;
      case 'select': {
        this.operand(e.condition, ['mask'], 'select');
        this.operand(e.b, [this.expr(e.a).type], 'select');
        break;
      }
      case 'convert': {
        const { type } = this.expr(e.a);
        this.check(CONVERSIONS[type].includes(e.to), () => `there is no conversion from ${type} to ${e.to}`);
        break;
      }
      case 'shift':
        this.operand(e.a, ['u32'], 'shift');
        this.check(Number.isInteger(e.by) && e.by >= 0 && e.by < 32, () => `a shift by ${e.by}`);
        break;
      case 'mulHigh':
        for (const operand of [e.a, e.b]) this.operand(operand, ['u32'], 'mulHigh');
        break;
      case 'across': {
        const { width } = this.operand(e.a, ['f32', 'i32'], e.op);
        this.check(width === 'vector', () => `${e.op} across a scalar`);
        if (e.count !== undefined) this.count(e.count);
        break;
      }
      case 'sums':
        this.check(
          e.parts.length >= 1 && e.parts.length <= 4,
          () => `sums of ${e.parts.length} vectors, expected 1 to 4`,
        );
        for (const part of e.parts) {
          const { width } = this.operand(part, ['f32'], 'sums');
          this.check(width === 'vector', () => 'sums over a scalar');
        }
        break;
    }
    return typeOf(e);
  }
}

function isLiteral(type: RegisterType, value: number): boolean {
  switch (type) {
    case 'f32':
      return true;
    case 'i32':
      return Number.isInteger(value) && value === (value | 0);
    case 'u32':
      return Number.isInteger(value) && value === value >>> 0;
    case 'mask':
      return value === 0 || value === 1;
  }
}
