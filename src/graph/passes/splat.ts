import type { GraphBuilder } from '../builder';
import type { ValueId } from '../ir';

/** A constant of more elements is not searched. */
const MAX_SEARCHED = 4096;

/** The number that every element of a constant value is; undefined if it is not constant, varies or is empty. */
export function splatOf(builder: GraphBuilder, id: ValueId): number | undefined {
  const node = builder.node(id);
  switch (node.op) {
    case 'constant': {
      const { data } = node.attributes;
      if (data.length === 0 || data.length > MAX_SEARCHED) return undefined;
      return data.every((x) => Object.is(x, data[0])) ? data[0] : undefined;
    }
    case 'broadcast':
    case 'reshape':
    case 'transpose':
    case 'windows':
      return splatOf(builder, node.inputs[0]);
    default:
      return undefined;
  }
}

/**
 * True if no element of a float32 value can be −0, so that adding +0 leaves it as it is. (−0 + 0 is +0.) False if that
 * takes long to tell: it looks a few nodes deep, and not into large constants.
 */
export function neverNegativeZero(builder: GraphBuilder, id: ValueId, depth = 4): boolean {
  const node = builder.node(id);
  const operand = (index: number): boolean => depth > 0 && neverNegativeZero(builder, node.inputs[index], depth - 1);
  switch (node.op) {
    case 'constant': {
      const { data } = node.attributes;
      return data.length <= MAX_SEARCHED && data.every((x) => !Object.is(x, -0));
    }
    // Integers have one zero.
    case 'cast':
      return builder.type(node.inputs[0]).dtype !== 'float32';
    case 'abs':
    case 'exp':
    case 'sigmoid':
      return true;
    case 'random':
      return node.attributes.distribution.name !== 'normal';
    // A sum is −0 only if both are.
    case 'add':
      return operand(0) || operand(1);
    case 'select':
      return operand(1) && operand(2);
    case 'broadcast':
    case 'reshape':
    case 'transpose':
    case 'slice':
    case 'windows':
    case 'pad':
    case 'reverse':
    case 'gather':
    case 'identity':
    case 'stopGradient':
      return operand(0);
    default:
      return false;
  }
}
