/**
 * Products: one matmul and what is done to its elements, as one kernel. cost.ts says which loops a product becomes.
 */
import type { ValueId } from '../../../../graph/ir';
import { addIndex, index, NestBuilder, scaleIndex } from '../../nest/builder';
import type { BufferParameter, Index, Target } from '../../nest/ir';
import { Emitter } from '../emit';
import type { BufferUse, Fragment, Lowered } from '../fragment';
import { broadcastForm } from './broadcast';
import type { Matrix, ProductContext } from './context';
import { planProduct, type ProductPlan } from './cost';
import { dotForm } from './dot';
import { ProductEpilogue } from './epilogue';
import { pack, packedBytes } from './pack';
import { layoutOf, rolesOf, shapeOf, type OperandSide } from './shape';

export { planProduct, productCost, productPlans, type ProductPlan } from './cost';
export { levelsOf, shapeOf, type ProductSpec } from './shape';

/**
 * The kernel of a fragment of kind `product`. Its buffers may alias as far as a store may lie where an operand of the
 * epilogue lies that is read only at the element written; never an operand of the matmul. `plan` overrides the choice of
 * loops, for tests and measurements.
 */
export function lowerProduct(fragment: Fragment, target: Target, plan?: ProductPlan): Lowered {
  const shape = shapeOf(fragment);
  const chosen = plan ?? planProduct(shape.spec, target);
  const roles = rolesOf(shape.spec, chosen.swapped);
  const builder = new NestBuilder();

  const parameters: BufferParameter[] = [];
  const buffers: BufferUse[] = [];
  const operands = new Map<ValueId, string>();
  const stores = new Map<ValueId, string>();
  const inside = new Set(fragment.members);
  for (const value of new Set(fragment.members.flatMap((id) => fragment.graph.nodes[id].inputs))) {
    if (inside.has(value)) continue;
    const name = `v${value}`;
    operands.set(value, name);
    parameters.push({ name, memory: layoutOf(fragment, value).memory, written: false });
    buffers.push({ kind: 'operand', value });
  }
  for (const value of fragment.stores) {
    const name = `out${value}`;
    stores.set(value, name);
    parameters.push({ name, memory: layoutOf(fragment, value).memory, written: true });
    buffers.push({ kind: 'store', value });
  }
  const workspace = 'work';
  const packs = chosen.form === 'broadcast' && (chosen.packing === 'copy' || chosen.packing === 'transpose');
  if (packs) {
    parameters.push({ name: workspace, memory: 'f32', written: true });
    buffers.push({ kind: 'workspace', bytes: packedBytes(roles.columns, roles.depth, target.lanes) });
  }

  // One emitter for each number of lanes in use: their memories do not mix.
  const emitters = new Map<number | undefined, Emitter>();
  const emitterOf = (count: number | undefined): Emitter => {
    const options = { names: builder.names, lanes: target.lanes, buffers: operands, body: builder, count };
    const emitter = emitters.get(count) ?? new Emitter(fragment, options);
    emitters.set(count, emitter);
    return emitter;
  };
  const epilogue = new ProductEpilogue(fragment, shape.root, builder, operands, stores, emitterOf, chosen.swapped);
  builder.note(describe(shape.spec, chosen));
  epilogue.hoist();

  const write = (batch: readonly Index[]): void => {
    if (batch.length < shape.batch.length) {
      builder.loop(
        shape.batch[batch.length],
        (i) => {
          write([...batch, i]);
        },
        { prefix: 'g' },
      );
      return;
    }
    const matrixOf = (side: OperandSide, { outer, depth }: { outer: number; depth: number }): Matrix => ({
      buffer: operands.get(side.value)!,
      origin: addIndex(...batch.map((each, axis) => scaleIndex(each, side.batch[axis]))),
      outer,
      depth,
    });
    const [left, right] = chosen.swapped ? [shape.b, shape.a] : [shape.a, shape.b];
    const context: ProductContext = {
      builder,
      target,
      roles,
      left: matrixOf(left, roles.left),
      right: matrixOf(right, roles.right),
      epilogue,
      firstRow: index(0),
      workspace,
    };
    epilogue.enter(batch);
    if (chosen.form === 'dot') dotForm(context, chosen.tile);
    else broadcastForm(context, chosen, pack(context, chosen.packing));
  };
  write([]);
  return { kernel: builder.kernel({ name: 'product', buffers: parameters }), buffers };
}

function describe({ batch, m, n, k }: { batch: number; m: number; n: number; k: number }, plan: ProductPlan): string {
  const size = `${batch === 1 ? '' : `${batch} × `}[${m},${k}]·[${k},${n}]`;
  const lanes = plan.swapped ? 'm' : 'n';
  if (plan.form === 'dot') return `product ${size}: k in lanes, tiles of ${plan.tile.rows}×${plan.tile.columns}`;
  if (plan.width === 1) return `product ${size}: scalars`;
  const tiles = plan.groups.map(({ rows, columns }) => `${rows}×${columns}`).join(', ');
  return `product ${size}: ${lanes} in lanes, tiles of ${tiles} vectors, ${plan.packing} packing`;
}
