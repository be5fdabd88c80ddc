/** Text of graphs, for errors and for tests that show what a pass makes. */
import { formatType, type ConstantData, type Graph, type Node, type ValueId } from './ir';

/** Constants of more elements are abbreviated. */
const SHOWN_ELEMENTS = 8;

/** One line a node; inputs stand in the head, and `return` lists the outputs. Deterministic. */
export function printGraph(graph: Graph): string {
  const head = graph.inputs.map((id) => {
    const node = graph.nodes[id];
    return `%${String(id)} ${node.op === 'input' ? node.attributes.name : '?'}: ${formatType(node.type)}`;
  });
  const body = graph.nodes.flatMap((node, id) => (node.op === 'input' ? [] : [`  ${printNode(node, id)}`]));
  const outputs = graph.outputs.map((id) => `%${String(id)}`).join(', ');
  return [`${graph.name}(${head.join(', ')}) {`, ...body, `  return ${outputs}`, '}'].join('\n');
}

/** `%3 = slice(%1) begin=[0] size=[2] strides=[1] : float32[2]`. */
export function printNode(node: Node, id: ValueId): string {
  const operands = node.inputs.map((input) => `%${String(input)}`).join(', ');
  const attributes = attributeText(node);
  const parts = [operands === '' ? node.op : `${node.op}(${operands})`, attributes].filter((part) => part !== '');
  return `%${String(id)} = ${parts.join(' ')} : ${formatType(node.type)}`;
}

function attributeText(node: Node): string {
  switch (node.op) {
    case 'constant':
      return dataText(node.attributes.data);
    case 'table':
      return node.attributes.table.name;
    case 'input':
      return node.attributes.name;
    case 'random': {
      const { stream, perStep, path, distribution } = node.attributes;
      const range = distribution.name === 'integer' ? `[${distribution.low},${distribution.high})` : '';
      return `${distribution.name}${range} ${stream}${perStep ? '/t' : ''}/${path.join('/')}`;
    }
    // Their attribute is the type that is printed anyway.
    case 'broadcast':
    case 'reshape':
    case 'cast':
      return '';
    case 'iota':
      return `axis=${node.attributes.axis}`;
    default:
      return attributeList(node.attributes);
  }
}

/** `begin=[0] size=[2]`. */
export function attributeList(attributes: object): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(' ');
}

function dataText(data: ConstantData): string {
  const shown = Array.from(data.subarray(0, SHOWN_ELEMENTS), (x) => (Object.is(x, -0) ? '-0' : String(x)));
  if (data.length === 1) return shown[0];
  return `[${shown.join(', ')}${data.length > SHOWN_ELEMENTS ? `, … ${data.length - SHOWN_ELEMENTS} more` : ''}]`;
}
