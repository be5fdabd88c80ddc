/** Type and width of an expression; the rules of ir.ts. */
import type { BinaryOp, Expr, MemoryType, RegisterType, UnaryOp, Width } from './ir';

export interface ValueKind {
  readonly type: RegisterType;
  readonly width: Width;
}

const COMPARISONS: ReadonlySet<BinaryOp> = new Set(['eq', 'ne', 'lt', 'le', 'gt', 'ge']);

/** Whether the op gives a mask from two numbers. */
export function isComparison(op: BinaryOp): boolean {
  return COMPARISONS.has(op);
}

/** What the op gives for an operand of that type. */
export function unaryType(op: UnaryOp, operand: RegisterType): RegisterType {
  return op === 'isNan' || op === 'isFinite' ? 'mask' : operand;
}

/** What a load from such memory gives. */
export function loadedType(memory: MemoryType): RegisterType {
  return memory === 'f32' ? 'f32' : 'i32';
}

/** A vector if any is. */
export function widest(...widths: readonly Width[]): Width {
  return widths.includes('vector') ? 'vector' : 'scalar';
}

/** Does not check; verify.ts does. */
export function typeOf(expr: Expr): ValueKind {
  switch (expr.kind) {
    case 'read':
      return { type: expr.type, width: expr.width };
    case 'literal':
      return { type: expr.type, width: 'scalar' };
    case 'position':
      return { type: 'i32', width: 'scalar' };
    case 'ramp':
      return { type: 'i32', width: 'vector' };
    case 'load':
      return { type: loadedType(expr.memory), width: expr.width };
    case 'gather':
      return { type: loadedType(expr.memory), width: 'vector' };
    case 'unary': {
      const a = typeOf(expr.a);
      return { type: unaryType(expr.op, a.type), width: a.width };
    }
    case 'binary': {
      const a = typeOf(expr.a);
      const width = widest(a.width, typeOf(expr.b).width);
      return { type: isComparison(expr.op) ? 'mask' : a.type, width };
    }
    case 'fma':
      return { type: 'f32', width: widest(typeOf(expr.a).width, typeOf(expr.b).width, typeOf(expr.c).width) };
    case 'select': {
      const a = typeOf(expr.a);
      return { type: a.type, width: widest(typeOf(expr.condition).width, a.width, typeOf(expr.b).width) };
    }
    case 'convert':
      return { type: expr.to, width: typeOf(expr.a).width };
    case 'shift':
      return { type: 'u32', width: typeOf(expr.a).width };
    case 'mulHigh':
      return { type: 'u32', width: widest(typeOf(expr.a).width, typeOf(expr.b).width) };
    case 'across':
      return { type: typeOf(expr.a).type, width: 'scalar' };
    case 'sums':
      return { type: 'f32', width: 'vector' };
  }
}
