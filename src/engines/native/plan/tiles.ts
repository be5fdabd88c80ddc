/** A function that is split along its rows: the graphs that it becomes, and where they meet in memory. */
import { sizeOf, type Graph, type ValueType } from '../../../graph/ir';
import { bytesOfRow, splitRows, type RowTiles, type TileBody, type TileLimits } from '../passes';
import { align } from './arena';
import type { Bound, Goal } from './function';
import type { Place } from './program';
import type { Tables } from './tables';
import { bytesOf, denseLayout, spanOf } from './views';

export interface SplitFunction {
  /** In the order in which they run; none if the function stays as it is. */
  readonly tiles: readonly TileFunction[];
  readonly rest: Graph;
  /** Where inputs that are no θ, state or t lie: of `rest`, and of any of the tiles' graphs. */
  readonly partials: ReadonlyMap<string, Bound>;
  readonly partialBytes: number;
}

export interface TileFunction {
  readonly count: number;
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Bound>;
  readonly goals: readonly Goal[];
}

/** Splits a graph along rows as often as it can be. Results of tiles lie in `window`, which nothing else may use. */
export function splitFunction(graph: Graph, tables: Tables, limits?: TileLimits): SplitFunction {
  const tiles: TileFunction[] = [];
  const partials = new Map<string, Bound>();
  let partialBytes = 0;
  let rest = graph;
  // Every time, what is left has no values of these rows.
  for (let found = splitRows(rest, limits); found !== undefined; found = splitRows(rest, limits)) {
    const inputs = new Map(partials);
    const types = typesOfInputs(found.rest);
    const offsets = found.partials.map((name): number => {
      const layout = denseLayout(types.get(name)!);
      const offset = partialBytes;
      partials.set(name, { place: { arena: 'window', offset }, layout });
      partialBytes += align(spanOf(layout) * bytesOf(layout.memory));
      return offset;
    });
    let before = 0;
    for (const body of found.bodies) {
      tiles.push({
        count: body.count,
        graph: body.graph,
        inputs: new Map([...inputs, ...rowsOf(found, body, tables)]),
        goals: body.graph.outputs.map((id, n): Goal => {
          const layout = denseLayout(body.graph.nodes[id].type);
          const bytes = sizeOf(layout.shape) * bytesOf(layout.memory);
          return { place: { arena: 'window', offset: offsets[n] + before * bytes, perTile: bytes }, layout };
        }),
      });
      before += body.count;
    }
    rest = found.rest;
  }
  return { tiles, rest, partials, partialBytes };
}

function typesOfInputs(graph: Graph): Map<string, ValueType> {
  return new Map(graph.nodes.flatMap((node) => (node.op === 'input' ? [[node.attributes.name, node.type]] : [])));
}

/** Where the rows of the first tile of a body lie, and how far on those of the next. */
function rowsOf({ rows }: RowTiles, body: TileBody, tables: Tables): [string, Bound][] {
  const types = typesOfInputs(body.graph);
  return rows.map(({ name, source, first }) => {
    const table =
      source.op === 'table' ? tables.table(source.attributes.table) : tables.constant(source.attributes.data);
    const bytes = bytesOfRow(source);
    const place: Place = {
      arena: 'table',
      table,
      offset: (first + body.first) * bytes,
      perTile: body.rows * bytes,
    };
    return [name, { place, layout: denseLayout(types.get(name)!) }];
  });
}
