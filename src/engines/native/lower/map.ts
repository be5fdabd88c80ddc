/** Elementwise and movement ops as loops over the shape of what they store. */
import type { Statement, Target } from '../nest/ir';
import { ofCoordinate } from './affine';
import { domainOf, extentsOf, regionsOf, type Axis, type Region, type Visit } from './domain';
import { offsetIn } from './emit';
import type { Fragment, Lowered } from './fragment';
import { Frame, layoutOf, zerosOf } from './frame';
import { transposed } from './transpose';

/**
 * Loops over the stores' shape. Axes that all accesses see alike are one loop; a concat or pad has a loop for each of its
 * parts; lanes run along the axis that costs least, or along none.
 */
export function lowerMap(fragment: Fragment, target: Target): Lowered {
  const { shape } = fragment.graph.nodes[fragment.stores[0]].type;
  const visit: Visit = (emitter, { coordinates }, accesses) => {
    for (const id of fragment.stores) {
      emitter.value(id, coordinates);
      accesses.push(offsetIn(layoutOf(fragment, id), coordinates.map(ofCoordinate)));
    }
  };
  const regions = regionsOf(fragment, domainOf(shape), visit);
  const extents = extentsOf(regions.map(({ domain }) => domain));
  const frame = new Frame(fragment, target, extents);
  if (regions.length === 1) {
    const scalar = new Frame(fragment, target, extents);
    writeMap(scalar, regions[0], undefined);
    const blocks = scalar.head.length === 0 ? transposed(scalar.body, target, scalar.names) : undefined;
    if (blocks !== undefined) return scalar.finish([], blocks);
  }
  for (const region of regions) writeMap(frame, region, cheapestLanes(fragment, target, region));
  return frame.finish();
}

/** @param prepare Called before the stores of each element are evaluated. */
export function cheapestLanes(
  fragment: Fragment,
  target: Target,
  region: Region,
  prepare?: (frame: Frame) => void,
): Axis | undefined {
  const extents = extentsOf([region.domain]);
  let best: { readonly axis?: Axis; readonly cost: number } = { cost: Infinity };
  // Of equals the innermost, then vectors: the last that is not worse.
  for (const axis of [undefined, ...region.loops]) {
    const frame = new Frame(fragment, target, extents);
    writeMap(frame, region, axis, prepare);
    if (frame.cost <= best.cost) best = { axis, cost: frame.cost };
  }
  return best.axis;
}

/** All stores at all elements of a region. */
export function writeMap(
  frame: Frame,
  region: Region,
  lanes: Axis | undefined,
  prepare?: (frame: Frame) => void,
): void {
  const placed = zerosOf(region);
  const store = (statements: Statement[]): void => {
    frame.emitter.place(placed);
    prepare?.(frame);
    frame.store(statements, region.domain.coordinates);
  };
  const outer = region.loops.filter((axis) => axis !== lanes);
  frame.emitter.lookAhead(lanes === undefined ? undefined : outer.at(-1));
  frame.loops(frame.body, outer, placed, (inner) => {
    if (lanes === undefined) {
      store(inner);
      return;
    }
    frame.lanes(inner, lanes.extent, (block, at) => {
      placed.set(lanes.variable, at);
      store(block);
    });
  });
}
