/**
 * A rough count of what statements cost, in vector instructions: for choosing between loop nests that compute the same.
 * The numbers are throughputs on AVX-512 and AVX2 cores (Agner Fog, instruction tables) rounded to what decides.
 */
import type { BinaryOp, Expr, MemoryType, Statement, Target, UnaryOp } from '../nest/ir';
import { typeOf } from '../nest/types';

const UNARY: Partial<Record<UnaryOp, number>> = {
  exp: 12,
  expm1: 20,
  log: 16,
  log1p: 24,
  sqrt: 8,
  rsqrt: 10,
  sin: 20,
  cos: 20,
  atan: 24,
  tanh: 20,
  sigmoid: 20,
  erf: 24,
};
const BINARY: Partial<Record<BinaryOp, number>> = { div: 5, mod: 12, pow: 40, atan2: 40, max: 2, min: 2 };

/** Bytes are widened, integers divided lane by lane. */
function access(memory: MemoryType, lanes: number, stride: number, partial: boolean): number {
  const regular = memory === 'u8' ? 2 : 1;
  if (stride === 1) return partial ? regular + 1 : regular;
  return lanes * 0.75 + (partial ? 1 : 0);
}

function costOfExpr(expr: Expr, target: Target): number {
  const { lanes } = target;
  const of = (part: Expr): number => costOfExpr(part, target);
  switch (expr.kind) {
    case 'literal':
    case 'read':
    case 'ramp':
      return 0;
    case 'position':
      return 0.5;
    case 'load':
      return expr.width === 'scalar' ? 1 : access(expr.memory, lanes, expr.stride ?? 1, expr.count !== undefined);
    case 'gather':
      return of(expr.offsets) + access(expr.memory, lanes, 0, expr.count !== undefined);
    case 'unary':
      return of(expr.a) + (UNARY[expr.op] ?? 1);
    case 'binary': {
      const { type, width } = typeOf(expr.a);
      const serial = type === 'i32' && (expr.op === 'div' || expr.op === 'mod');
      return of(expr.a) + of(expr.b) + (serial ? (width === 'vector' ? 8 * lanes : 8) : (BINARY[expr.op] ?? 1));
    }
    case 'mulHigh':
      return of(expr.a) + of(expr.b) + 5;
    case 'fma':
      return of(expr.a) + of(expr.b) + of(expr.c) + 1;
    case 'select':
      return of(expr.condition) + of(expr.a) + of(expr.b) + 1;
    case 'convert':
    case 'shift':
      return of(expr.a) + 1;
    case 'across':
      return of(expr.a) + 2 * Math.log2(lanes) + (expr.count === undefined ? 0 : 1);
    case 'sums':
      return expr.parts.reduce((sum, part) => sum + of(part), 0) + 4 * Math.log2(lanes);
  }
}

/** Of running the statements once. */
export function costOf(statements: readonly Statement[], target: Target): number {
  return statements.reduce((sum, statement) => sum + costOfStatement(statement, target), 0);
}

function costOfStatement(statement: Statement, target: Target): number {
  const { lanes } = target;
  switch (statement.kind) {
    case 'loop': {
      const rounds = typeof statement.extent === 'number' ? Math.ceil(statement.extent / statement.step) : 16;
      return 2 + rounds * (costOf(statement.body, target) + (statement.unroll === true ? 0 : 0.5));
    }
    case 'let':
    case 'var':
    case 'set':
      return costOfExpr(statement.value, target);
    case 'store':
      return (
        costOfExpr(statement.value, target) +
        (statement.width === 'scalar'
          ? 1
          : access(statement.memory, lanes, statement.stride ?? 1, statement.count !== undefined))
      );
    case 'scatter':
      return costOfExpr(statement.value, target) + lanes;
    case 'if':
      return 1 + costOf(statement.then, target);
    case 'threefry':
      return 75;
    case 'normals':
      return 60;
    case 'transpose':
      return statement.rows * Math.log2(lanes);
    case 'call':
      return 10 + costOf(statement.kernel.body, target);
    case 'local':
    case 'prefetch':
    case 'note':
      return 0;
  }
}
