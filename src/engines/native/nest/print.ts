/** Text of kernels, for golden tests and for errors. Deterministic; close to how one would write the loops by hand. */
import type { BinaryOp, Expr, Index, Kernel, RegisterType, Statement } from './ir';
import { typeOf } from './types';

/** The kernel's head, its statements one a line, nested bodies indented by two. */
export function printKernel(kernel: Kernel): string {
  const buffers = kernel.buffers.map(({ name, memory, written }) => `${written ? 'out ' : ''}${memory} ${name}[]`);
  const scalars = kernel.scalars.map(({ name, type }) => `${type} ${name}`);
  const head = `${kernel.inline === true ? 'inline ' : ''}${kernel.name}(${[...buffers, ...scalars].join(', ')}) {`;
  return [head, ...kernel.body.flatMap((s) => statementLines(s, 1)), '}'].join('\n');
}

/** The first line of a statement. */
export function printStatement(statement: Statement): string {
  return statementLines(statement, 0)[0];
}

export function printIndex({ offset, terms }: Index): string {
  const parts = terms.map(({ variable, factor }) => (factor === 1 ? variable : `${variable}*${factor}`));
  if (offset !== 0 || parts.length === 0) parts.push(String(offset));
  return parts.join(' + ').replace(/\+ -/g, '- ');
}

function statementLines(s: Statement, depth: number): string[] {
  const pad = '  '.repeat(depth);
  const block = (head: string, body: readonly Statement[]): string[] => [
    `${pad}${head} {`,
    ...body.flatMap((each) => statementLines(each, depth + 1)),
    `${pad}}`,
  ];
  const one = (text: string): string[] => [pad + text];
  switch (s.kind) {
    case 'loop': {
      const step = s.step === 1 ? '' : ` step ${s.step}`;
      return block(`${s.unroll === true ? 'unrolled ' : ''}for ${s.variable} < ${s.extent}${step}`, s.body);
    }
    case 'if':
      return block(`if ${printExpr(s.condition)}`, s.then);
    case 'let':
      return one(`${s.hold === true ? 'held ' : ''}${kindText(s.value)} ${s.name} = ${printExpr(s.value)}`);
    case 'var': {
      const { type, width } = typeOf(s.value);
      return one(`var ${shortKind(type, (s.width ?? width) === 'vector')} ${s.name} = ${printExpr(s.value)}`);
    }
    case 'set':
      return one(`${s.name} = ${printExpr(s.value)}`);
    case 'store': {
      const place = `${s.buffer}[${printIndex(s.index)}${lanesText(s)}]`;
      return one(`${place} = ${s.memory} ${printExpr(s.value)}`);
    }
    case 'scatter': {
      const place = `${s.buffer}[${printIndex(s.index)} + ${printExpr(s.offsets)}${countText(s.count)}]`;
      return one(`${place} = ${s.memory} ${printExpr(s.value)}`);
    }
    case 'local':
      return one(`local ${s.memory} ${s.buffer}[${s.length}]`);
    case 'threefry':
      return one(
        `${s.names.join(', ')} = ${s.width} threefry(${[...s.key, ...s.counter].map((e) => printExpr(e)).join(', ')})`,
      );
    case 'normals':
      return one(`${s.names.join(', ')} = ${s.width} normals(${s.words.map((e) => printExpr(e)).join(', ')})`);
    case 'prefetch':
      return one(`prefetch${s.write === true ? ' for writing' : ''} ${s.buffer}[${printIndex(s.index)}]`);
    case 'call': {
      const buffers = s.buffers.map(({ buffer, index }) => `&${buffer}[${printIndex(index)}]`);
      return one(`${s.kernel.name}(${[...buffers, ...s.scalars.map((e) => printExpr(e))].join(', ')})`);
    }
    case 'transpose': {
      const side = ({ buffer, index, stride }: typeof s.from): string => `${buffer}[${printIndex(index)} by ${stride}]`;
      return one(`${side(s.to)} = transposed ${side(s.from)} (${s.rows} rows of ${s.columns})`);
    }
    case 'note':
      return one(`# ${s.text.replace(/\s+/g, ' ')}`);
  }
}

/** ` : lanes` of a vector access, with its stride and its count if they say something. */
function lanesText(at: { width: string; stride?: number; count?: number }): string {
  if (at.width === 'scalar') return '';
  return ` : lanes${at.stride === undefined || at.stride === 1 ? '' : `*${at.stride}`}${countText(at.count)}`;
}

function countText(count: number | undefined): string {
  return count === undefined ? '' : `, first ${count}`;
}

/** `f32`, and `f32v` for a vector. */
function shortKind(type: RegisterType, vector: boolean): string {
  return `${type}${vector ? 'v' : ''}`;
}
function kindText(e: Expr): string {
  const { type, width } = typeOf(e);
  return shortKind(type, width === 'vector');
}

const OPERATORS: Partial<Record<BinaryOp, string>> = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  eq: '==',
  ne: '!=',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
  and: '&',
  or: '|',
  xor: '^',
};

export function printExpr(e: Expr): string {
  const call = (name: string, ...operands: readonly Expr[]): string =>
    `${name}(${operands.map((operand) => printExpr(operand)).join(', ')})`;
  switch (e.kind) {
    case 'read':
      return e.name;
    case 'literal':
      return literalText(e.type, e.value);
    case 'position':
      return `(${printIndex(e.index)})`;
    case 'ramp':
      return 'ramp';
    case 'load':
      return `${e.memory === 'u8' ? 'u8 ' : ''}${e.buffer}[${printIndex(e.index)}${lanesText(e)}]`;
    case 'gather':
      return `${e.memory === 'u8' ? 'u8 ' : ''}${e.buffer}[${printIndex(e.index)} + ${printExpr(e.offsets)}${countText(e.count)}]`;
    case 'unary':
      return call(e.op, e.a);
    case 'binary': {
      const operator = OPERATORS[e.op];
      return operator === undefined ? call(e.op, e.a, e.b) : `(${printExpr(e.a)} ${operator} ${printExpr(e.b)})`;
    }
    case 'fma':
      return call('fma', e.a, e.b, e.c);
    case 'select':
      return call('select', e.condition, e.a, e.b);
    case 'convert':
      return call(e.to, e.a);
    case 'shift':
      return `(${printExpr(e.a)} ${e.direction === 'left' ? '<<' : '>>'} ${e.by})`;
    case 'mulHigh':
      return call('mulHigh', e.a, e.b);
    case 'across':
      return `${e.op}Across(${printExpr(e.a)}${countText(e.count)})`;
    case 'sums':
      return call('sums', ...e.parts);
  }
}

/** A float with a point, so that its type can be told. */
function literalText(type: RegisterType, value: number): string {
  if (type === 'mask') return value === 0 ? 'false' : 'true';
  if (Object.is(value, -0)) return type === 'f32' ? '-0.0' : '0';
  const text = String(value);
  if (type === 'u32') return `${text}u`;
  return type === 'f32' && /^-?\d+$/.test(text) ? `${text}.0` : text;
}
