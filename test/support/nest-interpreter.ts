/**
 * Runs loop nests in JavaScript: the meaning of src/engines/native/nest/ir.ts, one number after another, on typed arrays,
 * with every access checked. Lowering is tested with it where there is no compiler, and rendered C is held against it.
 */
import { erf, floorMod, intDiv, intMod, roundHalfToEven, sigmoid, toInt32 } from '../../src/graph/interpreter/scalar';
import { threefry2x32 } from '../../src/random';
import type {
  BinaryOp,
  Expr,
  Index,
  Kernel,
  MemoryType,
  RegisterType,
  Statement,
  UnaryOp,
} from '../../src/engines/native/nest/ir';
import { printStatement } from '../../src/engines/native/nest/print';
import { typeOf } from '../../src/engines/native/nest/types';

/** f32 memory may be held in float64. A subarray is a buffer that begins where the subarray does. */
export type NestBuffer = Float32Array | Float64Array | Int32Array | Uint8Array;

export interface NestRun {
  readonly lanes: number;
  /** float32 (the default): every op is rounded, fma once. float64: nothing is. */
  readonly precision?: 'float32' | 'float64';
}

/**
 * Runs a kernel: buffers and scalars in its order. Written buffers are changed in place.
 * @throws Error, with the statement, for an access outside a buffer, a write to a buffer that is not `written`, a read of a
 *   name or a local element that has no value, a `count` above the lanes.
 */
export function runNest(
  kernel: Kernel,
  buffers: readonly NestBuffer[],
  scalars: readonly number[],
  run: NestRun,
): void {
  if (buffers.length !== kernel.buffers.length || scalars.length !== kernel.scalars.length) {
    throw new Error(
      `${kernel.name} takes ${kernel.buffers.length} buffers and ${kernel.scalars.length} scalars, got ${buffers.length} and ${scalars.length}`,
    );
  }
  new Run(
    kernel,
    buffers.map((data) => ({ data, base: 0 })),
    scalars,
    run,
  ).start();
}

interface Region {
  readonly data: NestBuffer;
  readonly base: number;
  /** Of a local buffer: which elements have been written. */
  readonly known?: Uint8Array;
}

interface Place extends Region {
  readonly memory: MemoryType;
  readonly written: boolean;
}

/** One number, or one a lane. Masks are 0 and 1, u32 are not negative. */
type Lanes = readonly number[];

class Run {
  private readonly buffers = new Map<string, Place>();
  private readonly values = new Map<string, Lanes>();
  private readonly lanes: number;
  private readonly round: (x: number) => number;

  constructor(
    private readonly kernel: Kernel,
    regions: readonly Region[],
    scalars: readonly number[],
    private readonly how: NestRun,
  ) {
    this.lanes = how.lanes;
    this.round = how.precision === 'float64' ? (x) => x : Math.fround;
    kernel.buffers.forEach(({ name, memory, written }, i) => {
      if (!fits(regions[i].data, memory)) throw new Error(`${kernel.name}: buffer ${name} is to hold ${memory}`);
      this.buffers.set(name, { ...regions[i], memory, written });
    });
    kernel.scalars.forEach(({ name, type }, i) => {
      this.values.set(name, [
        type === 'f32' ? this.round(scalars[i]) : type === 'u32' ? scalars[i] >>> 0 : scalars[i] | 0,
      ]);
    });
  }

  start(): void {
    this.body(this.kernel.body);
  }

  private body(statements: readonly Statement[]): void {
    for (const statement of statements) {
      try {
        this.statement(statement);
      } catch (error) {
        if (!(error instanceof Error) || error.message.includes('\n')) throw error;
        throw new Error(`${error.message}\n  in ${this.kernel.name}: ${printStatement(statement)}`, { cause: error });
      }
    }
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case 'loop': {
        const extent = typeof s.extent === 'number' ? s.extent : this.value(s.extent)[0];
        for (let i = 0; i < extent; i += s.step) {
          this.values.set(s.variable, [i]);
          this.body(s.body);
        }
        this.values.delete(s.variable);
        return;
      }
      case 'let':
        this.values.set(s.name, this.eval(s.value));
        return;
      case 'var':
        this.values.set(s.name, s.width === 'vector' ? this.vector(s.value) : this.eval(s.value));
        return;
      case 'set':
        this.values.set(s.name, this.value(s.name).length > 1 ? this.vector(s.value) : this.scalar(s.value));
        return;
      case 'store': {
        const value = s.width === 'vector' ? this.vector(s.value) : this.scalar(s.value);
        const at = this.index(s.index);
        const count = s.width === 'vector' ? this.count(s.count) : 1;
        for (let l = 0; l < count; l++) this.write(s.buffer, s.memory, at + l * (s.stride ?? 1), value[l]);
        return;
      }
      case 'scatter': {
        const value = this.vector(s.value);
        const offsets = this.vector(s.offsets);
        const at = this.index(s.index);
        for (let l = 0; l < this.count(s.count); l++) this.write(s.buffer, s.memory, at + offsets[l], value[l]);
        return;
      }
      case 'local': {
        const float = this.how.precision === 'float64' ? Float64Array : Float32Array;
        const data = new (s.memory === 'f32' ? float : s.memory === 'i32' ? Int32Array : Uint8Array)(s.length);
        const known = new Uint8Array(s.length);
        this.buffers.set(s.buffer, { data, base: 0, known, memory: s.memory, written: true });
        return;
      }
      case 'if':
        if (this.scalar(s.condition)[0] !== 0) this.body(s.then);
        return;
      case 'threefry':
        this.pair(s.names, s.width, [...s.key, ...s.counter], ([k0, k1, c0, c1]) => {
          const words = new Uint32Array(2);
          threefry2x32(k0, k1, c0, c1, words, 0);
          return [words[0], words[1]];
        });
        return;
      case 'normals':
        // src/random/draws.ts, fillNormals.
        this.pair(s.names, s.width, s.words, ([a, b]) => {
          const radius = Math.sqrt(-2 * Math.log(((a >>> 8) + 1) * 2 ** -24));
          const angle = 2 * Math.PI * ((b >>> 8) * 2 ** -24);
          return [this.round(radius * Math.cos(angle)), this.round(radius * Math.sin(angle))];
        });
        return;
      case 'prefetch':
        // May point anywhere.
        this.buffer(s.buffer);
        this.index(s.index);
        return;
      case 'call': {
        const regions = s.buffers.map(({ buffer, index }) => {
          const { data, base, known } = this.buffer(buffer);
          return { data, base: base + this.index(index), ...(known !== undefined && { known }) };
        });
        const scalars = s.scalars.map((scalar) => this.scalar(scalar)[0]);
        new Run(s.kernel, regions, scalars, this.how).start();
        return;
      }
      case 'transpose': {
        const [from, to] = [s.from, s.to].map(({ index }) => this.index(index));
        for (let row = 0; row < s.rows; row++) {
          for (let column = 0; column < s.columns; column++) {
            const x = this.read(s.from.buffer, 'f32', from + row * s.from.stride + column);
            this.write(s.to.buffer, 'f32', to + column * s.to.stride + row, x);
          }
        }
        return;
      }
      case 'note':
        return;
    }
  }

  private pair(
    names: readonly [string, string],
    width: string,
    operands: readonly Expr[],
    of: (words: readonly number[]) => readonly [number, number],
  ): void {
    const words = operands.map((e) => (width === 'vector' ? this.vector(e) : this.scalar(e)));
    const results = words[0].map((_, l) => of(words.map((word) => word[l])));
    names.forEach((name, i) =>
      this.values.set(
        name,
        results.map((result) => result[i]),
      ),
    );
  }

  // Names, places and memory.

  private value(name: string): Lanes {
    const value = this.values.get(name);
    if (value === undefined) throw new Error(`${name} has no value`);
    return value;
  }

  private buffer(name: string): Place {
    const place = this.buffers.get(name);
    if (place === undefined) throw new Error(`there is no buffer ${name}`);
    return place;
  }

  private index({ offset, terms }: Index): number {
    return terms.reduce((sum, { variable, factor }) => sum + factor * this.value(variable)[0], offset);
  }

  private count(count: number | undefined): number {
    if (count !== undefined && !(count >= 1 && count <= this.lanes)) throw new Error(`count ${count}`);
    return count ?? this.lanes;
  }

  private locate(name: string, memory: MemoryType, at: number): Place {
    const place = this.buffer(name);
    if (place.memory !== memory) throw new Error(`${name} holds ${place.memory}, not ${memory}`);
    const index = place.base + at;
    if (!Number.isInteger(at) || index < 0 || index >= place.data.length) {
      throw new Error(`${name}[${at}] is outside, at ${index} of ${place.data.length} elements`);
    }
    return place;
  }

  private read(name: string, memory: MemoryType, at: number): number {
    const place = this.locate(name, memory, at);
    if (place.known?.[place.base + at] === 0) throw new Error(`${name}[${at}] is read before it is written`);
    return place.data[place.base + at];
  }

  private write(name: string, memory: MemoryType, at: number, x: number): void {
    const place = this.locate(name, memory, at);
    if (!place.written) throw new Error(`${name} is not said to be written`);
    place.data[place.base + at] = x;
    if (place.known !== undefined) place.known[place.base + at] = 1;
  }

  // Expressions.

  private scalar(e: Expr): Lanes {
    const value = this.eval(e);
    if (value.length !== 1) throw new Error('a vector where a scalar is expected');
    return value;
  }

  private vector(e: Expr): Lanes {
    const value = this.eval(e);
    return value.length === 1 ? this.each(() => value[0]) : value;
  }

  private each(of: (lane: number) => number): Lanes {
    return Array.from({ length: this.lanes }, (_, l) => of(l));
  }

  /** Lane by lane; scalars stand for all lanes. */
  private map(operands: readonly Expr[], of: (...numbers: number[]) => number): Lanes {
    const values = operands.map((e) => this.eval(e));
    const length = Math.max(...values.map((value) => value.length));
    return Array.from({ length }, (_, l) => of(...values.map((value) => (value.length === 1 ? value[0] : value[l]))));
  }

  private eval(e: Expr): Lanes {
    switch (e.kind) {
      case 'read': {
        const value = this.value(e.name);
        if (value.length > 1 !== (e.width === 'vector')) throw new Error(`${e.name} is no ${e.width}`);
        return value;
      }
      case 'literal':
        return [e.type === 'f32' ? this.round(e.value) : e.value];
      case 'position':
        return [this.index(e.index)];
      case 'ramp':
        return this.each((l) => l);
      case 'load': {
        const at = this.index(e.index);
        if (e.width === 'scalar') return [this.read(e.buffer, e.memory, at)];
        const count = this.count(e.count);
        return this.each((l) => (l < count ? this.read(e.buffer, e.memory, at + l * (e.stride ?? 1)) : 0));
      }
      case 'gather': {
        const at = this.index(e.index);
        const offsets = this.vector(e.offsets);
        const count = this.count(e.count);
        return this.each((l) => (l < count ? this.read(e.buffer, e.memory, at + offsets[l]) : 0));
      }
      case 'unary': {
        const f = UNARY[e.op];
        const wrap = this.wrapper(typeOf(e).type);
        return this.map([e.a], (x) => wrap(f(x)));
      }
      case 'binary': {
        const { type } = typeOf(e.a);
        const f = type === 'f32' ? BINARY[e.op] : (INTEGER[e.op] ?? BINARY[e.op]);
        const wrap = this.wrapper(typeOf(e).type);
        return this.map([e.a, e.b], (x, y) => wrap(f(x, y)));
      }
      case 'fma':
        return this.how.precision === 'float64'
          ? this.map([e.a, e.b, e.c], (a, b, c) => a * b + c)
          : this.map([e.a, e.b, e.c], fusedFloat32);
      case 'select':
        return this.map([e.condition, e.a, e.b], (condition, a, b) => (condition !== 0 ? a : b));
      case 'convert': {
        const { type } = typeOf(e.a);
        if (e.to === 'mask') return this.map([e.a], (x) => (x !== 0 ? 1 : 0));
        const wrap = this.wrapper(e.to);
        return this.map([e.a], (x) => wrap(type === 'f32' && e.to === 'i32' ? toInt32(x) : x));
      }
      case 'shift':
        return this.map([e.a], (x) => (e.direction === 'left' ? (x << e.by) >>> 0 : x >>> e.by));
      case 'mulHigh':
        return this.map([e.a, e.b], (a, b) => Number((BigInt(a) * BigInt(b)) >> 32n));
      case 'across': {
        const { type } = typeOf(e.a);
        return [this.across(e.op, this.vector(e.a).slice(0, this.count(e.count)), this.wrapper(type))];
      }
      case 'sums': {
        const sums = e.parts.map((part) => this.across('sum', this.vector(part), this.round));
        return this.each((l) => sums[l] ?? 0);
      }
    }
  }

  /** Halves are joined until one is left: the order that the C prelude has for `across`. */
  private across(op: 'sum' | 'max' | 'min', values: Lanes, wrap: (x: number) => number): number {
    const join = op === 'sum' ? (a: number, b: number) => wrap(a + b) : op === 'max' ? Math.max : Math.min;
    const neutral = op === 'sum' ? -0 : op === 'max' ? -Infinity : Infinity;
    let rest = this.each((l) => values[l] ?? neutral);
    while (rest.length > 1) {
      const half = rest.length / 2;
      const low = rest.slice(0, half);
      rest = low.map((x, l) => join(x, rest[l + half]));
    }
    return rest[0];
  }

  /** To a number of that type. */
  private wrapper(type: RegisterType): (x: number) => number {
    if (type === 'f32') return this.round;
    return type === 'i32' ? (x) => x | 0 : type === 'u32' ? (x) => x >>> 0 : (x) => x;
  }
}

function fits(data: NestBuffer, memory: MemoryType): boolean {
  if (memory === 'f32') return data instanceof Float32Array || data instanceof Float64Array;
  return memory === 'i32' ? data instanceof Int32Array : data instanceof Uint8Array;
}

const bool = (holds: boolean): number => (holds ? 1 : 0);

const UNARY: Record<UnaryOp, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  atan: Math.atan,
  tanh: Math.tanh,
  sigmoid,
  erf,
  isNan: (x) => bool(Number.isNaN(x)),
  isFinite: (x) => bool(Number.isFinite(x)),
  not: (x) => 1 - x,
};

const BINARY: Record<BinaryOp, (x: number, y: number) => number> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  mod: floorMod,
  max: Math.max,
  min: Math.min,
  pow: Math.pow,
  atan2: Math.atan2,
  eq: (x, y) => bool(x === y),
  ne: (x, y) => bool(x !== y),
  lt: (x, y) => bool(x < y),
  le: (x, y) => bool(x <= y),
  gt: (x, y) => bool(x > y),
  ge: (x, y) => bool(x >= y),
  and: (x, y) => x & y,
  or: (x, y) => x | y,
  xor: (x, y) => x ^ y,
};

/** Where int32 and uint32 differ from float32; results are wrapped to the type. */
const INTEGER: Partial<Record<BinaryOp, (x: number, y: number) => number>> = {
  mul: Math.imul,
  div: intDiv,
  mod: intMod,
};

/**
 * a·b + c of float32 numbers, rounded to float32 once. a·b is exact in float64; the sum is rounded to odd there, from
 * which rounding again cannot err (Boldo and Melquiond 2008).
 */
export function fusedFloat32(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  if (!Number.isFinite(sum)) return Math.fround(sum);
  const part = sum - product;
  const error = product - (sum - part) + (c - part);
  if (error === 0) return Math.fround(sum);
  const words = new BigInt64Array(new Float64Array([sum]).buffer);
  if ((words[0] & 1n) === 0n) words[0] += error > 0 === sum > 0 ? 1n : -1n;
  return Math.fround(new Float64Array(words.buffer)[0]);
}
