/**
 * Which loops a fragment runs in. It is first watched as it is emitted with one variable an axis: what it reads tells where
 * an axis has to be split (a reshape), where its range falls apart (concat, pad), and which neighbours can be one loop.
 */
import type { Shape, ValueId } from '../../../graph/ir';
import { addIndex, substituteIndex } from '../nest/builder';
import type { Index } from '../nest/ir';
import { Names } from '../nest/names';
import { factorOf, type Position } from './affine';
import { coordinate, Emitter } from './emit';
import type { Coordinate, Fragment } from './fragment';

/** Variables of a domain stand for themselves only while a fragment is watched; then each is placed in a loop. */
export interface Axis {
  readonly variable: string;
  readonly extent: number;
  /** Of a reduction. */
  readonly reduced: boolean;
}

export interface Domain {
  readonly axes: readonly Axis[];
  /** The position along each axis of the shape, in the variables. */
  readonly coordinates: readonly Coordinate[];
}

export function domainOf(shape: Shape, reduced: readonly number[] = []): Domain {
  const axes = shape.map((extent, i) => ({ variable: `v${i}`, extent, reduced: reduced.includes(i) }));
  return { axes, coordinates: axes.map(({ variable }) => coordinate(variable)) };
}

export function extentsOf(domains: readonly Domain[]): Map<string, number> {
  return new Map(domains.flatMap(({ axes }) => axes.map(({ variable, extent }) => [variable, extent] as const)));
}

/** With some axes in the place of one; `by` is the axis in their variables. */
function replaced(domain: Domain, variable: string, by: Index, parts: readonly Axis[]): Domain {
  return {
    axes: domain.axes.flatMap((axis) => (axis.variable === variable ? parts : [axis])),
    coordinates: domain.coordinates.map(({ index, lanes }) => ({
      index: substituteIndex(index, variable, by),
      lanes,
    })),
  };
}

function split(domain: Domain, axis: Axis, by: number): Domain {
  const { variable, extent, reduced } = axis;
  const outer = { variable: `${variable}o`, extent: extent / by, reduced };
  const inner = { variable: `${variable}i`, extent: by, reduced };
  const terms = [
    { variable: outer.variable, factor: by },
    { variable: inner.variable, factor: 1 },
  ];
  return replaced(domain, variable, { offset: 0, terms }, [outer, inner]);
}

/** What the parts of an axis see that is cut before each of the positions. */
function cut(domain: Domain, { variable, extent, reduced }: Axis, positions: readonly number[]): Domain[] {
  const starts = [0, ...positions];
  return starts.map((start, i) => {
    const part = { variable: `${variable}_${i}`, extent: (starts[i + 1] ?? extent) - start, reduced };
    const by = addIndex({ offset: start, terms: [{ variable: part.variable, factor: 1 }] });
    return replaced(domain, variable, by, [part]);
  });
}

export interface Observation {
  readonly accesses: Position[];
  readonly borders: { readonly position: Position; readonly border: number }[];
  readonly splits: { readonly variable: string; readonly by: number }[];
}

/** Emits into nothing. `visit` asks for values, and adds to the accesses what it would store. */
export type Visit = (emitter: Emitter, domain: Domain, accesses: Position[]) => void;

function observe(fragment: Fragment, domain: Domain, visit: Visit): Observation {
  const seen: Observation = { accesses: [], borders: [], splits: [] };
  const emitter = new Emitter(fragment, {
    names: new Names(),
    lanes: 1,
    buffers: everyBuffer(fragment),
    body: { append: () => undefined },
    extents: extentsOf([domain]),
    watcher: {
      access: (position) => void seen.accesses.push(position),
      border: (position, border) => void seen.borders.push({ position, border }),
      split: (variable, by) => void seen.splits.push({ variable, by }),
    },
  });
  visit(emitter, domain, seen.accesses);
  return seen;
}

function everyBuffer(fragment: Fragment): Map<ValueId, string> {
  return new Map(Array.from(fragment.layouts.keys(), (id) => [id, `b${id}`]));
}

/** The domain with its axes split as the fragment's reshapes ask for. */
function refined(fragment: Fragment, domain: Domain, visit: Visit): { domain: Domain; seen: Observation } {
  const seen = observe(fragment, domain, visit);
  for (const { variable, by } of seen.splits) {
    const axis = domain.axes.find((each) => each.variable === variable);
    if (axis !== undefined && by > 1 && axis.extent > by && axis.extent % by === 0) {
      return refined(fragment, split(domain, axis, by), visit);
    }
  }
  return { domain, seen };
}

/** Where the variable crosses the borders: strictly inside of its range, ascending. */
function crossings(axis: Axis, borders: Observation['borders'], variables: ReadonlySet<string>): number[] {
  const found = new Set<number>();
  for (const { position, border } of borders) {
    const factor = factorOf(position, axis.variable);
    const others = position.index.terms.some(({ variable }) => variable !== axis.variable || !variables.has(variable));
    if (factor === 0 || others) continue;
    const reached = (border - position.index.offset) / factor;
    found.add(factor > 0 ? Math.ceil(reached) : Math.floor(reached) + 1);
  }
  return [...found].filter((at) => at > 0 && at < axis.extent).sort((a, b) => a - b);
}

/** Loops over a box of the domain. */
export interface Region {
  readonly domain: Domain;
  /** Joined axes, under the variable of the innermost; outer ones first. Of extent 2 or more. */
  readonly loops: readonly Axis[];
  /** Variables that are 0 all the time. */
  readonly zeros: readonly string[];
}

/** More parts than this are not worth their code: then each element asks where it lies. */
const MOST_REGIONS = 40;

/** The domain as one region. Undefined if it is empty. With `ordered`, reduced axes are passed as they stand. */
export function wholeRegion(fragment: Fragment, start: Domain, visit: Visit, ordered = false): Region | undefined {
  if (start.axes.some(({ extent }) => extent === 0)) return undefined;
  const { domain, seen } = refined(fragment, start, visit);
  return joined(domain, seen.accesses, ordered);
}

/** Boxes that together are the domain, each of which sees only one part of a concat or pad along an axis. */
export function regionsOf(fragment: Fragment, start: Domain, visit: Visit): Region[] {
  if (start.axes.some(({ extent }) => extent === 0)) return [];
  const regions: Region[] = [];
  const waiting = [start];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { domain, seen } = refined(fragment, next, visit);
    const variables = new Set(domain.axes.map(({ variable }) => variable));
    const parts = domain.axes
      .map((axis) => ({ axis, positions: crossings(axis, seen.borders, variables) }))
      .find(({ positions }) => positions.length > 0);
    if (parts === undefined || regions.length + waiting.length + parts.positions.length >= MOST_REGIONS) {
      regions.push(joined(domain, seen.accesses));
    } else waiting.push(...cut(domain, parts.axis, parts.positions).reverse());
  }
  return regions;
}

/** Two axes are one loop if in every access a step of the outer is as long as all steps of the inner. */
function joined(domain: Domain, accesses: readonly Position[], ordered = false): Region {
  const loops = domain.axes.filter(({ extent }) => extent > 1);
  const zeros = domain.axes.filter(({ extent }) => extent === 1).map(({ variable }) => variable);
  const pair = (): [number, number] | undefined => {
    for (const [i, outer] of loops.entries()) {
      for (const [j, inner] of loops.entries()) {
        if (i === j || outer.reduced !== inner.reduced || (ordered && inner.reduced)) continue;
        const fits = (access: Position): boolean =>
          factorOf(access, outer.variable) === factorOf(access, inner.variable) * inner.extent;
        if (accesses.every(fits)) return [i, j];
      }
    }
    return undefined;
  };
  for (let found = pair(); found !== undefined; found = pair()) {
    const [i, j] = found;
    zeros.push(loops[i].variable);
    loops[j] = { ...loops[j], extent: loops[i].extent * loops[j].extent };
    loops.splice(i, 1);
  }
  return { domain, loops, zeros };
}
