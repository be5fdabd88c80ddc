/**
 * Elementwise loops on the host, a loop an op so that each is compiled for its own op. Used where a backend's kernel is
 * wrong (its NaN, its integers) or slow (wasm and cpu take 150 ns an element when they broadcast an inner axis).
 * Integer results wrap to 32 bits when they are stored; float32 results round once, from float64.
 */
import { erf, floorMod, intDiv, intMod, toInt32 } from '../../../graph/interpreter/scalar';
import type { HostArray } from '../device';

/** `count` elements; each array walks from its offset with its stride. */
type Loop1 = (out: HostArray, o: number, x: HostArray, i: number, is: number, count: number) => void;
type Loop2 = (
  out: HostArray,
  o: number,
  x: HostArray,
  i: number,
  is: number,
  y: HostArray,
  j: number,
  js: number,
  count: number,
) => void;

const add: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] + y[j];
};
const sub: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] - y[j];
};
const mul: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] * y[j];
};
const imul: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = Math.imul(x[i], y[j]);
};
const div: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] / y[j];
};
const idiv: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = intDiv(x[i], y[j]);
};
const mod: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = floorMod(x[i], y[j]);
};
const imod: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = intMod(x[i], y[j]);
};
const pow: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = Math.pow(x[i], y[j]);
};
const atan2: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = Math.atan2(x[i], y[j]);
};
const max: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = Math.max(x[i], y[j]);
};
const min: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = Math.min(x[i], y[j]);
};
const eq: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] === y[j] ? 1 : 0;
};
const ne: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] !== y[j] ? 1 : 0;
};
const lt: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] < y[j] ? 1 : 0;
};
const le: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] <= y[j] ? 1 : 0;
};
const gt: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] > y[j] ? 1 : 0;
};
const ge: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] >= y[j] ? 1 : 0;
};
const and: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] & y[j];
};
const or: Loop2 = (out, o, x, i, is, y, j, js, count) => {
  for (let k = 0; k < count; k++, i += is, j += js) out[o + k] = x[i] | y[j];
};

export type BinaryName =
  | ('add' | 'sub' | 'mul' | 'div' | 'mod' | 'pow' | 'atan2' | 'max' | 'min')
  | ('eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge' | 'and' | 'or');

export const FLOAT_LOOPS: Readonly<Record<BinaryName, Loop2>> = {
  ...{ add, sub, mul, div, mod, pow, atan2, max, min, eq, ne, lt, le, gt, ge, and, or },
};
/** int32 where it differs. */
export const INT_LOOPS: Readonly<Record<BinaryName, Loop2>> = { ...FLOAT_LOOPS, mul: imul, div: idiv, mod: imod };

/** out = condition ? x : y */
export function selectLoop(
  out: HostArray,
  o: number,
  condition: HostArray,
  c: number,
  cs: number,
  x: HostArray,
  i: number,
  is: number,
  y: HostArray,
  j: number,
  js: number,
  count: number,
): void {
  for (let k = 0; k < count; k++, c += cs, i += is, j += js) out[o + k] = condition[c] !== 0 ? x[i] : y[j];
}

const negLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = -x[i];
};
const absLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = Math.abs(x[i]);
};
const signLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = Math.sign(x[i]);
};
const erfLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = erf(x[i]);
};
const log1pLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = Math.log1p(x[i]);
};
const sinLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = Math.sin(x[i]);
};
const cosLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = Math.cos(x[i]);
};
const notLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = 1 - x[i];
};
const truncateLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = toInt32(x[i]);
};
const nonZeroLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = x[i] !== 0 ? 1 : 0;
};
const convertLoop: Loop1 = (out, o, x, i, is, count) => {
  for (let k = 0; k < count; k++, i += is) out[o + k] = x[i];
};

export const UNARY_LOOPS = {
  neg: negLoop,
  abs: absLoop,
  sign: signLoop,
  erf: erfLoop,
  log1p: log1pLoop,
  sin: sinLoop,
  cos: cosLoop,
  not: notLoop,
  truncate: truncateLoop,
  nonZero: nonZeroLoop,
  convert: convertLoop,
} as const satisfies Readonly<Record<string, Loop1>>;
