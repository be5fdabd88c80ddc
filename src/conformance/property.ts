/** What every registered thing of a kind must hold to: one function a property, for `outerloop check` and for the tests alike. */
import { OuterloopError } from '../contracts';

/** A property that does not hold. Says what was expected, what was got, and what to do. */
export class PropertyError extends OuterloopError {
  constructor(
    readonly expected: string,
    readonly got: string,
    readonly advice: string,
  ) {
    super(`expected ${expected}, got ${got}. ${advice}`);
  }
}

/** Why a property cannot be held against a subject, such as gradients where there are none. */
export type Inapplicable = string;

export interface Property<Subject> {
  /** What holds, as a phrase: `the key decides init`. */
  readonly name: string;
  /** Others make no sense without it, and are not checked if it fails. */
  readonly first?: boolean;
  /** Undefined if it holds. @throws PropertyError, or what the subject itself throws */
  check(subject: Subject): Promise<Inapplicable | undefined> | Inapplicable | undefined;
}

/** A thing that is made anew for every look at it: what it keeps between two of them is found. */
export type Make<T> = () => T | Promise<T>;

/** The first place where two lists of numbers differ in their bits (NaN equals NaN), in words; undefined if there is none. */
export function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): string | undefined {
  if (a.length !== b.length) return `${a.length} numbers and ${b.length}`;
  for (let i = 0; i < a.length; i++) {
    if (!Object.is(a[i], b[i])) return `${String(a[i])} and ${String(b[i])} at number ${i}`;
  }
  return undefined;
}

/** The same of lists by name. */
export function firstNamedDifference(
  a: Readonly<Record<string, ArrayLike<number>>>,
  b: Readonly<Record<string, ArrayLike<number>>>,
): string | undefined {
  const names = [Object.keys(a), Object.keys(b)].map((keys) => keys.sort().join(', '));
  if (names[0] !== names[1]) return `leaves ${names[0]} and ${names[1]}`;
  for (const name of Object.keys(a)) {
    const difference = firstDifference(a[name], b[name]);
    if (difference !== undefined) return `${name === '' ? 'leaf' : `"${name}"`}: ${difference}`;
  }
  return undefined;
}

export const KEYED =
  'Draw every number from the `random` that is handed in; no Math.random, no tf.random, no counter outside.';
