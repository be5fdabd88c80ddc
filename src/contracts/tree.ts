/**
 * Trees: nested plain objects and arrays whose leaves are tensors (or anything else that is neither a plain object nor
 * an array). Flattening order, everywhere in Outerloop: depth first; arrays by index; objects by key in ascending
 * UTF-16 code-unit order (`Array.prototype.sort` without a comparator), whatever the order of insertion.
 */
import { ShapeError } from './errors';

/** A nesting of plain objects and arrays with leaves of type `T`. A bare leaf is a tree. */
export type Tree<T> = T | readonly Tree<T>[] | { readonly [key: string]: Tree<T> };

/** A leaf with its dotted path, e.g. `layers.0.kernel`; the path of a bare leaf is ''. */
export interface TreeLeaf<T> {
  readonly path: string;
  readonly value: T;
}

type Container = readonly unknown[] | Readonly<Record<string, unknown>>;

/** True for arrays and for objects whose prototype is `Object.prototype` or null; class instances are leaves. */
export function isTreeContainer(value: unknown): value is Container {
  if (Array.isArray(value)) return true;
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Compared by name too, since a plugin may be loaded in another realm (jest runs tests in one).
  return (
    prototype === null ||
    prototype === Object.prototype ||
    (Object.getPrototypeOf(prototype) === null && Object.prototype.hasOwnProperty.call(prototype, 'isPrototypeOf'))
  );
}

function childKeys(container: Container): string[] {
  return Array.isArray(container) ? Array.from(container.keys(), String) : Object.keys(container).sort();
}

function child(container: Container, key: string): unknown {
  return (container as Readonly<Record<string, unknown>>)[key];
}

/** All leaves in flattening order, with their paths. */
export function treeLeaves<T>(tree: Tree<T>): TreeLeaf<T>[] {
  const leaves: TreeLeaf<T>[] = [];
  const visit = (node: unknown, path: string): void => {
    if (isTreeContainer(node)) {
      for (const key of childKeys(node)) visit(child(node, key), path === '' ? key : `${path}.${key}`);
    } else {
      leaves.push({ path, value: node as T });
    }
  };
  visit(tree, '');
  return leaves;
}

/** The leaves' values in flattening order. */
export function treeFlatten<T>(tree: Tree<T>): T[] {
  return treeLeaves(tree).map((leaf) => leaf.value);
}

/** A tree of the same structure with every leaf replaced by `fn(leaf, path)`, called in flattening order. */
export function treeMap<T, R>(tree: Tree<T>, fn: (value: T, path: string) => R): Tree<R> {
  const visit = (node: unknown, path: string): unknown => {
    if (!isTreeContainer(node)) return fn(node as T, path);
    const children = childKeys(node).map(
      (key) => [key, visit(child(node, key), path === '' ? key : `${path}.${key}`)] as const,
    );
    return Array.isArray(node) ? children.map(([, value]) => value) : Object.fromEntries(children);
  };
  return visit(tree, '') as Tree<R>;
}

/**
 * A tree of the structure of `like` whose leaves are `values` in flattening order.
 * @throws ShapeError if the number of values is not the number of leaves.
 */
export function treeUnflatten<R>(like: Tree<unknown>, values: readonly R[]): Tree<R> {
  let next = 0;
  const tree = treeMap(like, () => values[next++]);
  if (next !== values.length) {
    throw new ShapeError(`tree of ${String(next)} leaves cannot be filled with ${String(values.length)} values.`);
  }
  return tree;
}

/**
 * Maps over two trees of one structure.
 * @throws ShapeError naming the first path that one of them lacks.
 */
export function treeMap2<A, B, R>(a: Tree<A>, b: Tree<B>, fn: (a: A, b: B, path: string) => R): Tree<R> {
  const difference = treeDifference(a, b);
  if (difference !== undefined) throw new ShapeError(`trees differ: ${difference}.`);
  const bs = treeFlatten(b);
  let next = 0;
  return treeMap(a, (value, path) => fn(value, bs[next++], path));
}

/** Undefined if both trees have one structure, else a sentence that names the first difference. */
export function treeDifference(a: Tree<unknown>, b: Tree<unknown>): string | undefined {
  const pathsA = treeLeaves(a).map((leaf) => leaf.path);
  const pathsB = treeLeaves(b).map((leaf) => leaf.path);
  const missing = pathsA.find((path) => !pathsB.includes(path));
  if (missing !== undefined) return `expected a leaf "${missing}", found none`;
  const extra = pathsB.find((path) => !pathsA.includes(path));
  if (extra !== undefined) return `unexpected leaf "${extra}"`;
  return undefined;
}
