/** What each op computes at one position (or one a lane): one rule an op. */
import { EngineError } from '../../../contracts';
import { sizeOf, type NodeOf, type OpName, type Shape, type ValueId } from '../../../graph/ir';
import { tapsOf, unwindowed, windowed, windowSizes } from '../../../graph/windows';
import { binary, convert, fma, i32, select, unary, zero } from '../nest/builder';
import type { BinaryOp, Expr, RegisterType, UnaryOp } from '../nest/ir';
import { at, plus, shifted, times, type Position } from './affine';
import type { Emitter } from './emit';

type Rule<P extends OpName> = (emitter: Emitter, node: NodeOf<P>, positions: readonly Position[]) => Expr;

function one(op: UnaryOp): Rule<OpName> {
  return (emitter, { inputs }, positions) => emitter.emit(unary(op, emitter.at(inputs[0], positions)));
}

function two(op: BinaryOp): Rule<OpName> {
  return (emitter, { inputs: [a, b] }, positions) =>
    emitter.emit(binary(op, emitter.at(a, positions), emitter.at(b, positions)));
}

/** Movement: the operand's element that stands there. */
function elsewhere<P extends OpName>(
  move: (node: NodeOf<P>, positions: readonly Position[], emitter: Emitter) => readonly Position[],
): Rule<P> {
  return (emitter, node, positions) => emitter.at(node.inputs[0], move(node, positions, emitter));
}

function refuse(emitter: Emitter, { op }: NodeOf<OpName>): never {
  throw new EngineError(`${emitter.graph.name}: ${op} was asked for element by element, which no fragment may do.`);
}

/** The factors, if the node is a float32 product that nothing else reads. */
function factorsOf(emitter: Emitter, id: ValueId): readonly [ValueId, ValueId] | undefined {
  const { op, inputs, type } = emitter.node(id);
  return op === 'mul' && type.dtype === 'float32' && emitter.usedOnce(id) ? [inputs[0], inputs[1]] : undefined;
}

function sum(emitter: Emitter, node: NodeOf<'add'>, positions: readonly Position[]): Expr {
  const [a, b] = node.inputs;
  for (const [product, other] of [
    [a, b],
    [b, a],
  ]) {
    const factors = factorsOf(emitter, product);
    if (factors === undefined || product === other) continue;
    const [x, y] = factors.map((id) => emitter.at(id, positions));
    return emitter.emit(fma(x, y, emitter.at(other, positions)));
  }
  return two('add')(emitter, node, positions);
}

/** Of two products neither is rounded alone: x·x − x·x is to stay 0, and x² − y² not negative for x = y. */
function difference(emitter: Emitter, node: NodeOf<'sub'>, positions: readonly Position[]): Expr {
  const [a, b] = node.inputs;
  const left = factorsOf(emitter, a);
  const right = factorsOf(emitter, b);
  if (left !== undefined && right === undefined && emitter.node(b).op !== 'mul') {
    const [x, y] = left.map((id) => emitter.at(id, positions));
    return emitter.emit(fma(x, y, unary('neg', emitter.at(b, positions))));
  }
  if (right !== undefined && left === undefined && emitter.node(a).op !== 'mul') {
    const [x, y] = right.map((id) => emitter.at(id, positions));
    return emitter.emit(fma(unary('neg', x), y, emitter.at(a, positions)));
  }
  return two('sub')(emitter, node, positions);
}

export function registerType(dtype: NodeOf<OpName>['type']['dtype']): RegisterType {
  return dtype === 'float32' ? 'f32' : dtype === 'bool' ? 'mask' : 'i32';
}

function constant(emitter: Emitter, node: NodeOf<'constant'>): Expr {
  const { data, dtype } = node.attributes;
  if (data.length !== 1) return refuse(emitter, node);
  return { kind: 'literal', type: registerType(dtype), value: data[0] };
}

function cast(emitter: Emitter, node: NodeOf<'cast'>, positions: readonly Position[]): Expr {
  return emitter.emit(convert(registerType(node.type.dtype), emitter.at(node.inputs[0], positions)));
}

/** Runs of axes of both shapes with one size: within them, and nowhere across, elements change places. */
function reshaped(emitter: Emitter, from: Shape, to: Shape, positions: readonly Position[]): Position[] {
  const result = from.map(() => at(0));
  let source = from.length - 1;
  let target = to.length - 1;
  while (source >= 0) {
    const last = source;
    let size = from[source--];
    let position = at(0);
    let reached = 1;
    while (reached !== size) {
      if (reached < size) {
        if (to[target] !== 1) position = plus(position, times(positions[target], reached));
        reached *= to[target--];
      } else size *= from[source--];
    }
    for (let axis = last; axis > source; axis--) {
      if (from[axis] === 1) continue;
      // What is left over is the leading axis of the run.
      size /= from[axis];
      if (size === 1) {
        result[axis] = position;
        break;
      }
      [position, result[axis]] = emitter.divide(position, from[axis]);
    }
  }
  return result;
}

/** Which of `extent` elements, put `step` apart from `low` on, stands at a position; none of them: undefined. */
function spreadAt(
  emitter: Emitter,
  position: Position,
  extent: number,
  low: number,
  step: number,
): { readonly position: Position; readonly masks: readonly Expr[] } | undefined {
  const last = (extent - 1) * step;
  const moved = shifted(position, -low);
  const range = emitter.range(moved);
  if (range !== undefined && (range[1] < 0 || range[0] > last)) return undefined;
  const { position: clamped, inside } = emitter.guard(moved, 0, last);
  const [quotient, rest] = emitter.divide(clamped, step);
  const rests = emitter.range(rest);
  if (rests !== undefined && rests[0] > 0) return undefined;
  const masks = inside === undefined ? [] : [inside];
  if (rests?.[1] !== 0) masks.push(emitter.emit(binary('eq', emitter.number(rest), i32(0)), 'm'));
  return { position: quotient, masks };
}

function allOf(emitter: Emitter, masks: readonly Expr[]): Expr {
  return masks.reduce((a, b) => emitter.emit(binary('and', a, b), 'm'));
}

/** Zeros around, and between if the padding has an interior. */
function pad(emitter: Emitter, node: NodeOf<'pad'>, positions: readonly Position[]): Expr {
  const { low, interior } = node.attributes;
  const [operand] = node.inputs;
  const { shape } = emitter.node(operand).type;
  const type = registerType(node.type.dtype);
  if (sizeOf(shape) === 0) return zero(type);
  const masks: Expr[] = [];
  const inner: Position[] = [];
  for (const [axis, extent] of shape.entries()) {
    const found = spreadAt(emitter, positions[axis], extent, low[axis], interior[axis] + 1);
    if (found === undefined) return zero(type);
    inner.push(found.position);
    masks.push(...found.masks);
  }
  const value = emitter.at(operand, inner);
  return masks.length === 0 ? value : emitter.emit(select(allOf(emitter, masks), value, zero(type)));
}

/** The sum of what each tap of the windows, in their order, has at the element. */
function foldWindows(emitter: Emitter, node: NodeOf<'foldWindows'>, positions: readonly Position[]): Expr {
  const { axes, strides, dilations } = node.attributes;
  const [operand] = node.inputs;
  const { shape } = emitter.node(operand).type;
  const type = registerType(node.type.dtype);
  if (sizeOf(shape) === 0) return zero(type);
  let sum: Expr | undefined;
  for (const tap of tapsOf(windowSizes(shape, axes))) {
    const masks: Expr[] = [];
    const places = axes.map((axis, i): Position | undefined => {
      const found = spreadAt(emitter, positions[axis], shape[axis], tap[i] * dilations[i], strides[i]);
      if (found !== undefined) masks.push(...found.masks);
      return found?.position;
    });
    if (places.includes(undefined)) continue;
    const inner = windowed(
      positions,
      axes,
      (i) => places[i]!,
      (i) => at(tap[i]),
    );
    const value = emitter.at(operand, inner);
    const term = masks.length === 0 ? value : emitter.emit(select(allOf(emitter, masks), value, zero(type)));
    sum = sum === undefined ? term : emitter.emit(binary('add', sum, term));
  }
  return sum ?? zero(type);
}

function concat(emitter: Emitter, node: NodeOf<'concat'>, positions: readonly Position[]): Expr {
  const { axis } = node.attributes;
  const position = positions[axis];
  const range = emitter.range(position) ?? [0, node.type.shape[axis] - 1];
  let start = 0;
  const parts: { readonly id: ValueId; readonly start: number; readonly extent: number }[] = [];
  for (const id of node.inputs) {
    const extent = emitter.node(id).type.shape[axis];
    if (extent > 0 && start <= range[1] && start + extent > range[0]) parts.push({ id, start, extent });
    start += extent;
  }
  // From the last part to the first: each is chosen where its mask holds.
  let result: Expr | undefined;
  for (const part of parts.reverse()) {
    const moved = shifted(position, -part.start);
    const { position: inner, inside } =
      parts.length === 1 ? { position: moved, inside: undefined } : emitter.guard(moved, 0, part.extent - 1);
    const value = emitter.at(
      part.id,
      positions.map((other, i) => (i === axis ? inner : other)),
    );
    result = result === undefined || inside === undefined ? value : emitter.emit(select(inside, value, result));
  }
  return result ?? refuse(emitter, node);
}

function gather(emitter: Emitter, node: NodeOf<'gather'>, positions: readonly Position[]): Expr {
  const [operand, indices] = node.inputs;
  const last = emitter.node(operand).type.shape[0] - 1;
  const rank = emitter.node(indices).type.shape.length;
  const rest = positions.slice(rank);
  if (last === 0) return emitter.at(operand, [at(0), ...rest]);
  const row = (at: readonly Position[]): Position => {
    const looked = emitter.at(indices, at);
    const inside =
      looked.kind === 'literal'
        ? i32(Math.min(Math.max(looked.value, 0), last))
        : binary('min', binary('max', looked, i32(0)), i32(last));
    return emitter.dynamic(inside, last);
  };
  const places = positions.slice(0, rank);
  const found = row(places);
  if (emitter.node(operand).op === 'table') emitter.prefetch(operand, places, row);
  return emitter.at(operand, [found, ...rest]);
}

/** A new op does not compile without a rule. */
export const ELEMENT_RULES: { readonly [P in OpName]: Rule<P> } = {
  input: refuse,
  constant,
  table: refuse,
  random: refuse,
  iota: (emitter, node, positions) => emitter.number(positions[node.attributes.axis]),

  neg: one('neg'),
  abs: one('abs'),
  sign: one('sign'),
  floor: one('floor'),
  ceil: one('ceil'),
  round: one('round'),
  exp: one('exp'),
  expm1: one('expm1'),
  log: one('log'),
  log1p: one('log1p'),
  sqrt: one('sqrt'),
  rsqrt: one('rsqrt'),
  sin: one('sin'),
  cos: one('cos'),
  atan: one('atan'),
  tanh: one('tanh'),
  sigmoid: one('sigmoid'),
  erf: one('erf'),
  isNan: one('isNan'),
  isFinite: one('isFinite'),
  not: one('not'),
  identity: elsewhere((_, positions) => positions),
  stopGradient: elsewhere((_, positions) => positions),
  cast,

  add: sum,
  sub: difference,
  mul: two('mul'),
  div: two('div'),
  mod: two('mod'),
  pow: two('pow'),
  atan2: two('atan2'),
  max: two('max'),
  min: two('min'),
  eq: two('eq'),
  ne: two('ne'),
  lt: two('lt'),
  le: two('le'),
  gt: two('gt'),
  ge: two('ge'),
  and: two('and'),
  or: two('or'),
  select: (emitter, { inputs: [condition, a, b] }, positions) =>
    emitter.emit(select(emitter.at(condition, positions), emitter.at(a, positions), emitter.at(b, positions))),

  matmul: refuse,
  reduceSum: refuse,
  reduceMax: refuse,
  reduceMin: refuse,
  argMax: refuse,
  argMin: refuse,

  broadcast: elsewhere(({ inputs, type }, positions, emitter) => {
    const { shape } = emitter.node(inputs[0]).type;
    const lead = type.shape.length - shape.length;
    return shape.map((extent, axis) => (extent === 1 ? at(0) : positions[lead + axis]));
  }),
  reshape: elsewhere(({ inputs, type }, positions, emitter) =>
    reshaped(emitter, emitter.node(inputs[0]).type.shape, type.shape, positions),
  ),
  transpose: elsewhere(({ attributes: { perm } }, positions) => {
    const result = new Array<Position>(perm.length);
    perm.forEach((axis, i) => (result[axis] = positions[i]));
    return result;
  }),
  slice: elsewhere(({ attributes: { begin, strides } }, positions) =>
    positions.map((position, axis) => shifted(times(position, strides[axis]), begin[axis])),
  ),
  pad,
  windows: elsewhere(({ attributes: { axes, strides, dilations } }, positions) =>
    unwindowed(positions, axes, (i, place, within) => plus(times(place, strides[i]), times(within, dilations[i]))),
  ),
  foldWindows,
  concat,
  reverse: elsewhere(({ attributes: { axes }, type: { shape } }, positions) =>
    positions.map((position, axis) => (axes.includes(axis) ? shifted(times(position, -1), shape[axis] - 1) : position)),
  ),
  gather,
  scatterAdd: refuse,
};
