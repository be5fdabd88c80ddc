/** Reductions on the host over [outer, count, inner] → [outer, inner]; sums in float64, rounded once. */
import type { HostArray } from '../device';

export type Reduction = (out: HostArray, x: HostArray, outer: number, count: number, inner: number) => void;

/** Rows at a time, so that memory is read in order whatever `inner` is. */
function sum(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  if (inner === 1) {
    for (let o = 0, i = 0; o < outer; o++) {
      let total = 0;
      for (let k = 0; k < count; k++) total += x[i++];
      out[o] = total;
    }
    return;
  }
  const totals = new Float64Array(inner);
  for (let o = 0, i = 0; o < outer; o++) {
    totals.fill(0);
    for (let k = 0; k < count; k++) for (let j = 0; j < inner; j++) totals[j] += x[i++];
    for (let j = 0; j < inner; j++) out[o * inner + j] = totals[j];
  }
}

/** int32 sums wrap; partial sums stay exact in float64 for 2²¹ terms, and ToInt32 is a homomorphism. */
function wrappingSum(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let total = 0;
      for (let k = 0; k < count; k++) total = (total + x[(o * count + k) * inner + j]) | 0;
      out[o * inner + j] = total;
    }
  }
}

/** Math.max: NaN wins. */
function max(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let best = x[o * count * inner + j];
      for (let k = 1; k < count; k++) best = Math.max(best, x[(o * count + k) * inner + j]);
      out[o * inner + j] = best;
    }
  }
}

function min(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let best = x[o * count * inner + j];
      for (let k = 1; k < count; k++) best = Math.min(best, x[(o * count + k) * inner + j]);
      out[o * inner + j] = best;
    }
  }
}

/** Position of the first that no other exceeds. */
function argMax(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let at = 0;
      let best = x[o * count * inner + j];
      for (let k = 1; k < count; k++) {
        const value = x[(o * count + k) * inner + j];
        if (value > best) {
          best = value;
          at = k;
        }
      }
      out[o * inner + j] = at;
    }
  }
}

function argMin(out: HostArray, x: HostArray, outer: number, count: number, inner: number): void {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      let at = 0;
      let best = x[o * count * inner + j];
      for (let k = 1; k < count; k++) {
        const value = x[(o * count + k) * inner + j];
        if (value < best) {
          best = value;
          at = k;
        }
      }
      out[o * inner + j] = at;
    }
  }
}

export const REDUCTIONS = { sum, wrappingSum, max, min, argMax, argMin } as const satisfies Record<string, Reduction>;
