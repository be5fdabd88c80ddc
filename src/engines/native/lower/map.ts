/** Elementwise and movement ops as loops over the shape of what they store. */
import type { Target } from '../nest/ir';
import { ofCoordinate } from './affine';
import { domainOf, extentsOf, regionsOf, type Axis, type Region, type Visit } from './domain';
import { offsetIn } from './emit';
import type { Fragment, Lowered } from './fragment';
import { Frame, layoutOf, zerosOf } from './frame';

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
  for (const region of regions) writeRegion(frame, region, cheapestLanes(fragment, target, region));
  return frame.finish();
}

function cheapestLanes(fragment: Fragment, target: Target, region: Region): Axis | undefined {
  const extents = extentsOf([region.domain]);
  let best: { readonly axis?: Axis; readonly cost: number } = { cost: Infinity };
  // Of equals the innermost, then vectors: the last that is not worse.
  for (const axis of [undefined, ...region.loops]) {
    const frame = new Frame(fragment, target, extents);
    writeRegion(frame, region, axis);
    if (frame.cost <= best.cost) best = { axis, cost: frame.cost };
  }
  return best.axis;
}

function writeRegion(frame: Frame, region: Region, lanes: Axis | undefined): void {
  const { emitter } = frame;
  const placed = zerosOf(region);
  frame.loops(
    frame.body,
    region.loops.filter((axis) => axis !== lanes),
    placed,
    (inner) => {
      if (lanes === undefined) {
        emitter.place(placed);
        frame.store(inner, region.domain.coordinates);
        return;
      }
      frame.lanes(inner, lanes.extent, (block, at) => {
        placed.set(lanes.variable, at);
        emitter.place(placed);
        frame.store(block, region.domain.coordinates);
      });
    },
  );
}
