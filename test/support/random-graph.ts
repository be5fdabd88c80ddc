/**
 * Random well-typed graphs over every op, for tests of passes, derivatives and engines. A graph is a function of a list
 * of small integers ("choices"), so that fast-check shrinks it to a few nodes.
 *
 * In the `tame` domain float32 engines can be held against float64: magnitudes stay moderate, functions stay inside
 * their domains, and discontinuous ops (floor, comparisons, argMax …) read only numbers that are exact in float32.
 * In the `any` domain NaN, infinities, −0 and int32 overflow occur.
 */
import * as fc from 'fast-check';
import { GraphBuilder } from '../../src/graph/builder';
import { OP_NAMES } from '../../src/graph/infer';
import { stepContext, type InterpreterContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type OpName, type Shape, type ValueId, type ValueType } from '../../src/graph/ir';
import { bits } from '../../src/random';

export interface RandomGraph {
  readonly graph: Graph;
  /** One a graph input: Float64Array (exact in float32), Int32Array or Uint8Array. */
  readonly feeds: readonly Value[];
  readonly seed: number;
  readonly worker: number;
  readonly episode: number;
  readonly t: number;
}

export interface RandomGraphOptions {
  readonly domain: 'any' | 'tame';
  /** The ops to draw from; all by default. Others still occur where an operand has to be made fit. */
  readonly ops?: readonly OpName[];
  /** At most this many ops; 24 by default. */
  readonly maxOps?: number;
  /** Axes of up to 17 instead of 4. */
  readonly long?: boolean;
}

/** The context of the interpreter for a random graph. */
export function contextOf({ seed, worker, episode, t }: RandomGraph): InterpreterContext {
  return stepContext(seed, worker, episode, t);
}

/** Ops that a random graph adds; the leaves `input` and `constant` are always there. */
export const GENERATED_OPS: readonly OpName[] = OP_NAMES.filter((op) => op !== 'input');

export function randomGraphs(options: RandomGraphOptions): fc.Arbitrary<RandomGraph> {
  const choice = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
  return fc
    .record({
      seed: fc.nat(0xffffffff),
      steps: fc.array(choice, { minLength: 1, maxLength: options.maxOps ?? 24, size: 'max' }),
    })
    .map(({ seed, steps }) => buildRandomGraph(seed, steps, options));
}

/** What is known of a value in the tame domain: |x| ≤ bound, and whether float32 holds it exactly. */
interface Known {
  readonly bound: number;
  readonly exact: boolean;
}

const EXTENTS: readonly number[] = [1, 2, 3, 4];
/** With vectors that fill and leave a rest, and long enough for padded rows and values worth making again. */
const LONG_EXTENTS: readonly number[] = [1, 5, 12, 17];
const TABLE_ROWS = 5;
/** Larger values are squashed before an op that enlarges them. */
const MODERATE = 4;
const SPECIAL = [NaN, Infinity, -Infinity, -0, 0, 1, -1, 1e30, -1e-30];

class RandomGraphMaker {
  readonly builder = new GraphBuilder('random');
  private readonly known = new Map<ValueId, Known>();
  private readonly pool: ValueId[] = [];
  private choices: readonly number[] = [];
  private next = 0;

  constructor(
    private readonly seed: number,
    private readonly tame: boolean,
    private readonly extents: readonly number[] = EXTENTS,
  ) {
    const shape = [this.extents[seed % 4], this.extents[(seed >>> 2) % 4], this.extents[(seed >>> 4) % 4]];
    const leaf = (name: string, type: ValueType): void =>
      void this.put(this.builder.input(name, type), type.dtype === 'int32' ? 8 : 4, true);
    leaf('x', { shape: shape.slice(0, 2), dtype: 'float32' });
    leaf('y', { shape: shape.slice(1), dtype: 'float32' });
    leaf('s', { shape: [], dtype: 'float32' });
    leaf('n', { shape: shape.slice(0, 1), dtype: 'int32' });
    leaf('t', { shape: [], dtype: 'int32' });
    leaf('p', { shape: shape.slice(0, 2), dtype: 'bool' });
    this.put(this.builder.constant(Float32Array.of(0.5), [], 'float32'), 1, true);
    this.put(this.builder.constant(Float32Array.from(this.numbers(99, shape[1])), [shape[1]], 'float32'), 4, true);
    if (!tame) this.put(this.builder.constant(Float32Array.of(-0), [], 'float32'), 1, true);
  }

  /** Multiples of 1/8 in [−4, 4), with repeats so that ties occur; now and then a special value in the `any` domain. */
  numbers(salt: number, count: number): Float64Array {
    const words = bits([this.seed, salt], 2 * count);
    return Float64Array.from({ length: count }, (_, i) =>
      !this.tame && words[2 * i + 1] % 5 === 0
        ? Math.fround(SPECIAL[(words[2 * i + 1] >>> 8) % SPECIAL.length])
        : ((words[2 * i] % 64) - 32) / 8,
    );
  }

  feed(type: ValueType, salt: number): Value {
    const numbers = this.numbers(salt, sizeOf(type.shape));
    if (type.dtype === 'bool') return Uint8Array.from(numbers, (x) => (x > 0 ? 1 : 0));
    // Beyond what three extents index, so that gather has to clamp.
    return type.dtype === 'int32' ? Int32Array.from(numbers, (x) => Math.round(2 * x)) : numbers;
  }

  step(op: OpName, choices: readonly number[]): void {
    this.choices = choices;
    this.next = 0;
    this.grow(op);
  }

  outputs(choices: readonly number[]): ValueId[] {
    const usable = this.pool;
    const last = usable.slice(-4);
    return [...last, ...choices.slice(0, 2).map((choice) => usable[choice % usable.length])];
  }

  private take(limit: number): number {
    return (this.choices[this.next++ % this.choices.length] + this.next) % limit;
  }

  private put(id: ValueId, bound: number, exact: boolean): ValueId {
    this.known.set(id, { bound, exact });
    this.pool.push(id);
    return id;
  }

  private of(id: ValueId): Known {
    return this.known.get(id) ?? { bound: 4, exact: false };
  }

  private isFloat(id: ValueId): boolean {
    return this.builder.type(id).dtype === 'float32';
  }

  /** A value of the pool that satisfies `ok`; the leaves make sure that there is one. */
  private pick(ok: (id: ValueId) => boolean): ValueId {
    const fitting = this.pool.filter(ok);
    // Later values more often, and the last one most: deep graphs, in which patterns of two ops occur.
    const recent = fitting.slice(-6);
    const preference = this.take(4);
    if (preference < 2) return fitting[fitting.length - 1];
    return preference === 2 ? fitting[this.take(fitting.length)] : recent[this.take(recent.length)];
  }

  private pickFloat(): ValueId {
    return this.pick((id) => this.isFloat(id));
  }

  private pickExactFloat(): ValueId {
    return this.pick((id) => this.isFloat(id) && (!this.tame || this.of(id).exact));
  }

  private pickInt(): ValueId {
    return this.pick((id) => this.builder.type(id).dtype === 'int32');
  }

  private pickNumber(): ValueId {
    return this.take(3) === 0 ? this.pickInt() : this.pickFloat();
  }

  private pickAny(): ValueId {
    return this.pick(() => true);
  }

  /** The value within ±4: through tanh, or mod 8 for integers. */
  private moderate(id: ValueId): ValueId {
    if (!this.tame || this.of(id).bound <= MODERATE) return id;
    if (this.isFloat(id)) return this.put(this.builder.op('tanh', id), 1, false);
    return this.put(this.builder.binary('mod', id, this.builder.fill(4, [], 'int32')), 4, true);
  }

  /** |x| + ½ in the tame domain. */
  private positive(id: ValueId): ValueId {
    if (!this.tame) return id;
    const sum = this.builder.binary('add', this.builder.op('abs', id), this.builder.fill(0.5, []));
    return this.put(sum, this.of(id).bound + 0.5, this.of(id).exact);
  }

  /** A second operand of the first one's shape: one of the pool that broadcasts to it, or a fresh constant. */
  private partner(id: ValueId, ok: (other: ValueId) => boolean): ValueId {
    const { shape, dtype } = this.builder.type(id);
    if (this.take(4) === 0) {
      // What rewrites look for.
      const value = dtype === 'bool' ? this.take(2) : [0, 1, -1, this.tame || dtype === 'int32' ? 2 : -0][this.take(4)];
      const splat = this.builder.fill(value, shape, dtype === 'uint8' ? 'bool' : dtype);
      this.known.set(splat, { bound: 2, exact: true });
      if (ok(splat)) return splat;
    }
    const fits = (from: Shape): boolean => {
      const lead = shape.length - from.length;
      return lead >= 0 && from.every((extent, axis) => extent === 1 || extent === shape[lead + axis]);
    };
    const fitting = this.pool.filter(
      (other) => this.builder.type(other).dtype === dtype && fits(this.builder.shape(other)) && ok(other),
    );
    const other = fitting[this.take(fitting.length)];
    const full = this.builder.broadcast(other, shape);
    if (full !== other) this.known.set(full, this.of(other));
    return full;
  }

  private grow(op: OpName): void {
    const { builder } = this;
    const inexact = (id: ValueId, bound: number): void => void this.put(id, bound, false);
    const same = (id: ValueId, source: ValueId): void => {
      const { bound, exact } = this.of(source);
      this.put(id, bound, exact);
    };
    switch (op) {
      case 'input':
        return;
      case 'constant': {
        const count = 1 + this.take(6);
        this.put(builder.constant(Float32Array.from(this.numbers(this.take(999), count)), [count], 'float32'), 4, true);
        return;
      }
      case 'table':
      case 'gather': {
        const indices = this.pickInt();
        if (op === 'gather' && this.take(2) === 0) {
          const rows = this.pick((id) => builder.shape(id).length > 0);
          if (builder.shape(rows).length + builder.shape(indices).length <= 4) {
            same(builder.op('gather', rows, indices), rows);
            return;
          }
        }
        const values = Uint8Array.from({ length: TABLE_ROWS * 2 }, (_, i) => (i * 37) % 16);
        const table = builder.table({ name: 'rows', values, dtype: 'uint8', rows: TABLE_ROWS, rowShape: [2] });
        this.put(builder.cast(builder.op('gather', table, indices), 'float32'), 16, true);
        return;
      }
      case 'random': {
        const distribution = (
          [{ name: 'uniform' }, { name: 'normal' }, { name: 'integer', low: -3, high: 5 }] as const
        )[this.take(3)];
        const shape = Array.from({ length: this.take(3) }, () => this.extents[this.take(4)]);
        const random = builder.emit('random', [], {
          stream: this.take(2) === 0 ? 'user' : 'batch',
          perStep: this.take(2) === 0,
          path: [this.take(4)],
          distribution,
          shape,
        });
        this.put(random, 6, distribution.name !== 'normal');
        return;
      }
      case 'iota': {
        const shape = [this.extents[this.take(4)], this.extents[this.take(4)]];
        this.put(builder.emit('iota', [], { shape, axis: this.take(2) }), 4, true);
        return;
      }
      case 'neg':
      case 'abs':
      case 'identity':
      case 'stopGradient': {
        const x = op === 'neg' || op === 'abs' ? this.pickNumber() : this.pickAny();
        same(builder.op(op, x), x);
        return;
      }
      case 'sign':
      case 'floor':
      case 'ceil':
      case 'round': {
        const x = op === 'sign' && this.take(3) === 0 ? this.pickInt() : this.pickExactFloat();
        this.put(builder.op(op, x), this.of(x).bound + 1, true);
        return;
      }
      case 'exp':
      case 'expm1':
        inexact(builder.op(op, this.moderate(this.pickFloat())), 60);
        return;
      case 'log':
      case 'rsqrt':
      case 'sqrt':
      case 'log1p':
        inexact(builder.op(op, this.positive(this.pickFloat())), 12);
        return;
      case 'sin':
      case 'cos':
      case 'atan':
      case 'tanh':
      case 'sigmoid':
      case 'erf': {
        const x = this.pickFloat();
        inexact(builder.op(op, op === 'sin' || op === 'cos' ? this.moderate(x) : x), 2);
        return;
      }
      case 'isNan':
      case 'isFinite':
        this.put(builder.op(op, this.pickFloat()), 1, true);
        return;
      case 'not':
        this.put(builder.op(op, this.pickBool()), 1, true);
        return;
      case 'cast': {
        const x = this.take(2) === 0 ? this.pickExactFloat() : this.pick((id) => !this.isFloat(id));
        const dtype = (['float32', 'int32', 'bool'] as const)[this.take(3)];
        this.put(builder.emit('cast', [x], { dtype }), this.of(x).bound, true);
        return;
      }
      case 'add':
      case 'sub':
      case 'mul': {
        const x = this.moderate(this.pickNumber());
        const y = this.moderate(this.partner(x, () => true));
        // Integers of a few bits stay exact; so do few multiples of 1/8, but that is not followed up.
        this.put(builder.op(op, x, y), MODERATE * MODERATE, !this.isFloat(x));
        return;
      }
      case 'div':
      case 'mod': {
        const x =
          this.take(3) === 0 ? this.pickInt() : op === 'mod' ? this.pickExactFloat() : this.moderate(this.pickFloat());
        const isFloat = this.isFloat(x);
        const y = this.partner(x, (other) => !this.tame || op === 'div' || this.of(other).exact);
        const divisor = isFloat ? this.positive(y) : y;
        this.put(builder.op(op, x, divisor), isFloat && op === 'div' ? 2 * this.of(x).bound : 40, !isFloat);
        return;
      }
      case 'pow': {
        const x = this.positive(this.moderate(this.pickFloat()));
        const y = this.partner(x, () => true);
        inexact(builder.op('pow', x, this.tame ? builder.op('tanh', y) : y), 12);
        return;
      }
      case 'atan2': {
        const x = this.pickFloat();
        inexact(builder.op('atan2', x, this.positive(this.partner(x, () => true))), 4);
        return;
      }
      case 'max':
      case 'min': {
        const x = this.pickNumber();
        const y = this.partner(x, () => true);
        this.put(
          builder.op(op, x, y),
          Math.max(this.of(x).bound, this.of(y).bound),
          this.of(x).exact && this.of(y).exact,
        );
        return;
      }
      case 'eq':
      case 'ne':
      case 'lt':
      case 'le':
      case 'gt':
      case 'ge': {
        const x = this.take(3) === 0 ? this.pickInt() : this.pickExactFloat();
        const y = this.partner(x, (other) => !this.tame || this.of(other).exact);
        this.put(builder.op(op, x, y), 1, true);
        return;
      }
      case 'and':
      case 'or': {
        const x = this.pickBool();
        this.put(
          builder.op(
            op,
            x,
            this.partner(x, () => true),
          ),
          1,
          true,
        );
        return;
      }
      case 'select': {
        const x = this.pickAny();
        const y = this.partner(x, () => true);
        const zeros = builder.fill(this.take(2), builder.shape(x), 'bool');
        const conditions = this.pool.filter(
          (id) => builder.type(id).dtype === 'bool' && builder.shape(id).join() === builder.shape(x).join(),
        );
        const condition = conditions.length > 0 ? conditions[this.take(conditions.length)] : zeros;
        this.put(
          builder.op('select', condition, x, y),
          Math.max(this.of(x).bound, this.of(y).bound),
          this.of(x).exact && this.of(y).exact,
        );
        return;
      }
      case 'matmul': {
        const left = this.asMatrix(this.moderate(this.pickFloat()));
        const transposeA = this.take(2) === 0;
        const inner = builder.shape(left)[builder.shape(left).length - (transposeA ? 2 : 1)];
        const width = this.extents[this.take(4)];
        const batch = builder.shape(left).slice(0, -2);
        const transposeB = this.take(2) === 0;
        const tail = transposeB ? [width, inner] : [inner, width];
        const found = this.pool.find(
          (id) => this.isFloat(id) && builder.shape(id).join() === [...batch, ...tail].join(),
        );
        const values = Float32Array.from(this.numbers(this.take(99), inner * width), (x) => x / 4);
        const right =
          found === undefined
            ? builder.broadcast(builder.constant(values, tail, 'float32'), [...batch, ...tail])
            : this.moderate(found);
        inexact(builder.emit('matmul', [left, right], { transposeA, transposeB }), 64);
        return;
      }
      case 'reduceSum':
      case 'reduceMax':
      case 'reduceMin': {
        const x = op === 'reduceSum' ? this.moderate(this.pickNumber()) : this.pickNumber();
        const axes = builder.shape(x).flatMap((extent, axis) => (extent > 0 && this.take(2) === 0 ? [axis] : []));
        const { bound, exact } = this.of(x);
        const sums = op === 'reduceSum';
        this.put(builder.emit(op, [x], { axes }), sums ? 64 : bound, sums ? !this.isFloat(x) : exact);
        return;
      }
      case 'argMax':
      case 'argMin': {
        const ok = (id: ValueId): boolean => builder.shape(id).length > 0 && (!this.tame || this.of(id).exact);
        const x = this.pick((id) => ['float32', 'int32'].includes(builder.type(id).dtype) && ok(id));
        this.put(builder.emit(op, [x], { axis: this.take(builder.shape(x).length) }), 8, true);
        return;
      }
      case 'broadcast': {
        const x = this.pick((id) => builder.shape(id).length < 4);
        const shape = builder.shape(x).map((extent) => (extent === 1 ? this.extents[this.take(4)] : extent));
        same(
          builder.emit('broadcast', [x], {
            shape: this.take(2) === 0 ? shape : [this.extents[this.take(4)], ...shape],
          }),
          x,
        );
        return;
      }
      case 'reshape': {
        const x = this.pickAny();
        const shape = builder.shape(x);
        const size = sizeOf(shape);
        const target = [
          [size],
          [1, ...shape.slice(0, 3), ...(shape.length > 3 ? [shape[3]] : [])],
          [...shape].reverse(),
        ][this.take(3)];
        same(builder.emit('reshape', [x], { shape: target.length > 4 ? [size] : target }), x);
        return;
      }
      case 'transpose': {
        const x = this.pick((id) => builder.shape(id).length > 0);
        const perm = builder.shape(x).map((_, axis) => axis);
        for (let i = perm.length - 1; i > 0; i--) {
          const j = this.take(i + 1);
          [perm[i], perm[j]] = [perm[j], perm[i]];
        }
        same(builder.emit('transpose', [x], { perm }), x);
        return;
      }
      case 'slice': {
        const x = this.pick((id) => builder.shape(id).length > 0);
        const strides = builder.shape(x).map(() => 1 + this.take(3));
        const begin = builder.shape(x).map((extent) => this.take(extent));
        const size = builder.shape(x).map((extent, i) => 1 + this.take(Math.ceil((extent - begin[i]) / strides[i])));
        same(builder.emit('slice', [x], { begin, size, strides }), x);
        return;
      }
      case 'pad': {
        const x = this.pick((id) => sizeOf(builder.shape(id)) <= 64);
        const amounts = (): number[] => builder.shape(x).map(() => this.take(3) % 2);
        same(builder.emit('pad', [x], { low: amounts(), high: amounts(), interior: amounts() }), x);
        return;
      }
      case 'windows':
      case 'foldWindows': {
        const x = this.pick(
          (id) =>
            builder.shape(id).length > 0 &&
            builder.shape(id).length < 4 &&
            builder.type(id).dtype !== 'uint8' &&
            sizeOf(builder.shape(id)) <= 128,
        );
        const shape = builder.shape(x);
        const axis = this.take(shape.length);
        const axes = axis + 1 < shape.length && this.take(2) === 0 ? [axis, axis + 1] : [axis];
        const sizes = axes.map((each) => 1 + this.take(Math.min(3, Math.max(1, shape[each]))));
        const strides = axes.map(() => 1 + this.take(3));
        const dilations = axes.map((each, i) => (sizes[i] * 2 - 1 <= shape[each] ? 1 + this.take(2) : 1));
        const seen = builder.emit('windows', [x], { axes, sizes, strides, dilations });
        if (op === 'windows' || builder.type(x).dtype === 'bool') {
          same(seen, x);
          return;
        }
        const moderate = this.moderate(seen);
        const extents = axes.map((each) => shape[each]);
        const folded = builder.emit('foldWindows', [moderate], { axes, extents, strides, dilations });
        this.put(folded, 64, !this.isFloat(x));
        return;
      }
      case 'concat': {
        const x = this.pick((id) => builder.shape(id).length > 0 && sizeOf(builder.shape(id)) <= 64);
        const axis = this.take(builder.shape(x).length);
        const others = [x, this.partner(x, () => true)].slice(this.take(2));
        const inputs = [x, ...others];
        const bound = Math.max(...inputs.map((id) => this.of(id).bound));
        this.put(
          builder.emit('concat', inputs, { axis }),
          bound,
          inputs.every((id) => this.of(id).exact),
        );
        return;
      }
      case 'reverse': {
        const x = this.pickAny();
        const axes = builder.shape(x).flatMap((_, axis) => (this.take(2) === 0 ? [axis] : []));
        same(builder.emit('reverse', [x], { axes }), x);
        return;
      }
      case 'scatterAdd': {
        const updates = this.moderate(
          this.pick((id) => builder.type(id).dtype !== 'bool' && builder.shape(id).length > 0),
        );
        const shape = builder.shape(updates);
        const counts = shape.slice(0, 1);
        const found = this.pool.find(
          (id) => builder.type(id).dtype === 'int32' && builder.shape(id).join() === counts.join(),
        );
        const indices = found ?? builder.emit('iota', [], { shape: counts, axis: 0 });
        this.put(
          builder.emit('scatterAdd', [indices, updates], { rows: 1 + this.take(4) }),
          64,
          !this.isFloat(updates),
        );
        return;
      }
    }
  }

  private pickBool(): ValueId {
    return this.pick((id) => this.builder.type(id).dtype === 'bool');
  }

  /** A matrix of the same numbers. */
  private asMatrix(id: ValueId): ValueId {
    const shape = this.builder.shape(id);
    return shape.length >= 2 ? id : this.builder.reshape(id, [1, sizeOf(shape)]);
  }
}

/** Values with more elements stop the growth of a graph. */
const MAX_ELEMENTS = 2000;
const MAX_LONG_ELEMENTS = 60_000;

export function buildRandomGraph(
  seed: number,
  steps: readonly (readonly number[])[],
  options: RandomGraphOptions,
): RandomGraph {
  const ops = options.ops ?? GENERATED_OPS;
  const long = options.long === true;
  const maker = new RandomGraphMaker(seed, options.domain === 'tame', long ? LONG_EXTENTS : EXTENTS);
  const total = (): number =>
    Array.from({ length: maker.builder.size }, (_, id) => sizeOf(maker.builder.shape(id))).reduce((a, b) => a + b, 0);
  for (const choices of steps) {
    if (total() > (long ? MAX_LONG_ELEMENTS : MAX_ELEMENTS)) break;
    maker.step(ops[choices[0] % ops.length], choices.slice(1));
  }
  const graph = maker.builder.finish(maker.outputs(steps[0]));
  const feeds = graph.inputs.map((id, i) => maker.feed(graph.nodes[id].type, i));
  return { graph, feeds, seed: seed % 1000, worker: seed % 7, episode: seed % 5, t: seed % 11 };
}
