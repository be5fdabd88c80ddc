/** Matrix products of a per-lane graph that are too large to unroll: register tiles of outputs × vectors in flight. */
import type { NodeOf, ValueId } from '../../../../graph/ir';
import { index as indexOf, shiftIndex } from '../../nest/builder';
import type { Expr, Index, Statement } from '../../nest/ir';
import type { Reader, Ref } from './dag';
import { flat, sameButForOnes, type Evaluator } from './evaluate';
import type { Home } from './home';
import type { Epilogue } from './tiles';

function productNode(evaluator: Evaluator, id: ValueId): NodeOf<'matmul'> {
  const node = evaluator.node(id);
  if (node.op !== 'matmul') throw new Error('no product; this is a defect of the lane code.');
  return node;
}

function innerSize(evaluator: Evaluator, node: NodeOf<'matmul'>): number {
  const shape = evaluator.shape(node.inputs[0]);
  return shape[shape.length - (node.attributes.transposeA ? 2 : 1)];
}

/** Whether a product is written out, term by term. */
export function isUnrolledProduct(evaluator: Evaluator, id: ValueId): boolean {
  const node = productNode(evaluator, id);
  return evaluator.size(id) * innerSize(evaluator, node) <= evaluator.options.unrollProduct;
}

/**
 * Computes a product, and what stands on it element by element up to `target`, into the target's tile. A register tile is
 * `block` outputs along the axis of the operand that all lanes share (the columns if both vary), times the vectors in
 * flight; that and one vector of each and a splat fit the registers.
 */
export function writeProduct(evaluator: Evaluator, { product, between }: Epilogue, target: ValueId, home: Home): void {
  const { dag, tiles } = evaluator;
  const node = productNode(evaluator, product);
  const { shape } = node.type;
  const rank = shape.length;
  const [a, b] = node.inputs;
  const alongRows = evaluator.varying(b) && !evaluator.varying(a);
  const along = alongRows ? rank - 2 : rank - 1;
  const across = alongRows ? rank - 1 : rank - 2;
  const extent = shape[along];
  const limit = Math.max(1, Math.floor((evaluator.options.registers - dag.vectors - 1) / dag.vectors));
  // Blocks of two sizes that differ by one: a last block of few outputs would wait for its own sums.
  const blocks = Math.ceil(extent / limit);
  const block = Math.floor(extent / blocks);
  const larger = extent - blocks * block;

  const addend = product === target ? undefined : findAddend(evaluator, product);
  const known = addend?.sum ?? product;

  tiles.over([...shape.slice(0, rank - 2), shape[across]], (outer) => {
    const tile = (start: Index, outputs: number): void => {
      const places = Array.from({ length: outputs }, (_, o) => {
        const at = [...outer.slice(0, rank - 2), indexOf(0), indexOf(0)];
        at[across] = outer[rank - 2];
        at[along] = shiftIndex(start, o);
        return at;
      });
      const sumAt = (at: readonly Index[]): Index[] => squeeze(shape, at, evaluator.shape(known));
      const starts = places.map((at) => (addend === undefined ? undefined : evaluator.value(addend.start, sumAt(at))));
      const sums = accumulate(evaluator, node, product, places, starts);
      places.forEach((at, o) => evaluator.define(known, sumAt(at), sums[o]));
      for (const at of places) {
        for (const id of between) {
          if (id <= known) continue;
          const here = squeeze(shape, at, evaluator.shape(id));
          evaluator.define(id, here, evaluator.compute(id, here));
        }
        const there = squeeze(shape, at, evaluator.shape(target));
        const value = known === target ? evaluator.value(target, there) : evaluator.compute(target, there);
        tiles.store(home, flat(evaluator.shape(target), there), value);
      }
    };
    const run = (outputs: number, count: number, first: number): void =>
      void dag.loop(
        count * outputs,
        outputs,
        (start) => evaluator.within(() => tile(shiftIndex(start, first), outputs)),
        { attached: true },
      );
    run(block + 1, larger, 0);
    run(block, blocks - larger, larger * (block + 1));
  });
}

/** What all lanes share and is added to the product, and nothing else is done with it: the sums start from it. */
function findAddend(
  evaluator: Evaluator,
  product: ValueId,
): { readonly sum: ValueId; readonly start: ValueId } | undefined {
  let below = product;
  let reader = evaluator.onlyReader(product);
  while (reader !== undefined && evaluator.node(reader).op === 'reshape') {
    below = reader;
    reader = evaluator.onlyReader(reader);
  }
  if (reader === undefined || evaluator.node(reader).op !== 'add') return undefined;
  const [a, b] = evaluator.node(reader).inputs;
  const start = a === below ? b : a;
  const same = sameButForOnes(evaluator.shape(product), evaluator.shape(reader));
  return evaluator.varying(start) || !same ? undefined : { sum: reader, start };
}

/** start + Σₖ a·b at some places of the result; gives the sums. */
function accumulate(
  evaluator: Evaluator,
  node: NodeOf<'matmul'>,
  product: ValueId,
  places: readonly (readonly Index[])[],
  starts: readonly (Ref | undefined)[],
): readonly Ref[] {
  const { dag } = evaluator;
  const { transposeA, transposeB } = node.attributes;
  const [a, b] = node.inputs;
  const width = evaluator.varying(product) ? 'vector' : 'scalar';
  const copies = width === 'vector' ? dag.vectors : 1;
  const sums = places.map(() => Array.from({ length: copies }, () => dag.names.fresh('a')));
  const zero: Expr = { kind: 'literal', type: 'f32', value: 0 };
  const before = (read: Reader): readonly Statement[] =>
    sums.flatMap((names, o) =>
      names.map((name, u) => {
        const start = starts[o];
        return { kind: 'var', name, value: start === undefined ? zero : read(start, u), width };
      }),
    );
  const block = dag.loop(
    innerSize(evaluator, node),
    1,
    (k) => {
      places.forEach((at, o) => {
        const lead = at.slice(0, at.length - 2);
        const [i, j] = at.slice(at.length - 2);
        const left = evaluator.value(a, [...lead, ...(transposeA ? [k, i] : [i, k])]);
        const right = evaluator.value(b, [...lead, ...(transposeB ? [j, k] : [k, j])]);
        dag.effect([left, right], (read) =>
          sums[o].map((name, u) => {
            const sum: Expr = { kind: 'read', name, type: 'f32', width };
            return { kind: 'set', name, value: { kind: 'fma', a: read(left, u), b: read(right, u), c: sum } };
          }),
        );
      });
    },
    { attached: true, before, args: starts.filter((start) => start !== undefined) },
  );
  return sums.map((names) => dag.variable((u) => names[u], 'f32', width, dag.current, [block]));
}

/** The coordinates in a shape that differs by axes of extent 1 only. */
function squeeze(from: readonly number[], at: readonly Index[], to: readonly number[]): Index[] {
  const kept = at.filter((_, axis) => from[axis] !== 1);
  let next = 0;
  return to.map((extent) => (extent === 1 ? indexOf(0) : kept[next++]));
}
