/** Fragments to loop nests. */
import type { Target } from '../nest/ir';
import { lowerDraw } from './draw';
import type { Fragment, Lowered } from './fragment';
import { lowerRows } from './lanes';
import { lowerMap } from './map';
import { lowerProduct } from './product';
import { lowerReduce } from './reduce';
import { lowerScatter } from './scatter';

type Lowering = (fragment: Fragment, target: Target) => Lowered;

const LOWERINGS: { readonly [K in Fragment['kind']]: Lowering } = {
  map: lowerMap,
  product: lowerProduct,
  reduce: lowerReduce,
  rows: lowerRows,
  draw: lowerDraw,
  scatter: lowerScatter,
};

export function lowerFragment(fragment: Fragment, target: Target): Lowered {
  return LOWERINGS[fragment.kind](fragment, target);
}
