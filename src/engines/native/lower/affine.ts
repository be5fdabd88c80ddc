/** Positions within a value while code is emitted: affine in loop variables, the lane, and i32 vectors that were computed. */
import { addIndex, scaleIndex } from '../nest/builder';
import type { Index } from '../nest/ir';
import type { Coordinate } from './fragment';

/** In lane l: index + l·lanes + Σ factor·vector_l. */
export interface Position extends Coordinate {
  /** Names of i32 vectors, such as rows looked up for each lane. */
  readonly vectors: readonly { readonly variable: string; readonly factor: number }[];
}

export type Range = readonly [low: number, high: number];

const NOTHING: Index = { offset: 0, terms: [] };

export function at(offset: number): Position {
  return { index: { offset, terms: [] }, lanes: 0, vectors: [] };
}

export function ofVariable(variable: string): Position {
  return { index: { offset: 0, terms: [{ variable, factor: 1 }] }, lanes: 0, vectors: [] };
}

export function ofVector(variable: string): Position {
  return { index: NOTHING, lanes: 0, vectors: [{ variable, factor: 1 }] };
}

export function ofCoordinate({ index, lanes }: Coordinate): Position {
  return { index: addIndex(index), lanes, vectors: [] };
}

export function plus(a: Position, b: Position): Position {
  if (isNumber(a)) return shifted(b, a.index.offset);
  if (isNumber(b)) return shifted(a, b.index.offset);
  const vectors = addIndex({ offset: 0, terms: a.vectors }, { offset: 0, terms: b.vectors }).terms;
  return { index: addIndex(a.index, b.index), lanes: a.lanes + b.lanes, vectors };
}

export function times(a: Position, by: number): Position {
  if (by === 1) return a;
  if (by === 0) return at(0);
  return {
    index: scaleIndex(a.index, by),
    lanes: a.lanes * by,
    vectors: scaleIndex({ offset: 0, terms: a.vectors }, by).terms,
  };
}

export function shifted(a: Position, by: number): Position {
  return by === 0 ? a : { ...a, index: { offset: a.index.offset + by, terms: a.index.terms } };
}

export function isNumber(a: Position): boolean {
  return a.lanes === 0 && a.index.terms.length === 0 && a.vectors.length === 0;
}

/** Factor of a loop variable. */
export function factorOf(a: Position, variable: string): number {
  return a.index.terms.find((term) => term.variable === variable)?.factor ?? 0;
}

/** Two positions have one text exactly if they are equal. */
export function textOf({ index, lanes, vectors }: Position): string {
  const terms = [...index.terms, ...vectors].map(({ variable, factor }) => `${variable}*${factor}`).sort();
  return `${index.offset}+${lanes}l+${terms.join('+')}`;
}
