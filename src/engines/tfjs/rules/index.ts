import type { NodeOf, OpName } from '../../../graph/ir';
import { STAGES, type Lowering, type Value } from '../lowering';
import { CONTRACT_RULES } from './contract';
import { deviceType } from '../device';
import { ELEMENTWISE_RULES } from './elementwise';
import { INDEXING_RULES } from './indexing';
import { MOVEMENT_RULES } from './movement';
import { REDUCE_RULES } from './reduce';
import type { Rule } from './rule';
import { WINDOW_RULES } from './windows';
import { EngineError } from '../../../contracts';
import { sizeOf } from '../../../graph/ir';

const constant: Rule<'constant'> = (l, node) => {
  const { data, shape, dtype } = node.attributes;
  return l.constant(data, shape, dtype);
};

const table: Rule<'table'> = (l, node) => {
  const { table: resident } = node.attributes;
  return l.constant(resident, node.type.shape, deviceType(resident.dtype));
};

const iota: Rule<'iota'> = (l, node) => {
  const { shape, axis } = node.attributes;
  const stored = shape.map((extent, i) => (i === axis ? extent : 1));
  return l.constant(
    Int32Array.from({ length: shape[axis] }, (_, i) => i),
    stored,
    'int32',
  );
};

const random: Rule<'random'> = (l, node) => {
  const { attributes } = node;
  const size = sizeOf(attributes.shape);
  const result = { shape: attributes.shape, dtype: deviceType(node.type.dtype), batched: true };
  return l.feed(
    `${attributes.stream} ${attributes.distribution.name}`,
    attributes.perStep ? STAGES.step : STAGES.window,
    result,
    (out, { drawer }) => {
      if (drawer === undefined || out instanceof Uint8Array) throw new EngineError('a random op ran without a key.');
      drawer.fill(attributes, size, out);
    },
  );
};

/** One rule an op: a new op does not compile without one. */
export const TFJS_RULES: { readonly [P in OpName]: Rule<P> } = {
  // Given from outside: src/engines/tfjs/plan.ts puts it in place.
  input: () => {
    throw new EngineError('an input has no rule; this is a defect of the tfjs engine.');
  },
  constant,
  table,
  random,
  iota,
  ...ELEMENTWISE_RULES,
  ...CONTRACT_RULES,
  ...REDUCE_RULES,
  ...MOVEMENT_RULES,
  ...INDEXING_RULES,
  ...WINDOW_RULES,
};

/** Appends the calls of one node. */
export function lowerNode<P extends OpName>(l: Lowering, node: NodeOf<P>, inputs: readonly Value[]): Value {
  return TFJS_RULES[node.op](l, node, inputs);
}
