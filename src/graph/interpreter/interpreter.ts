/**
 * The reference interpreter: what every op means, for one particle. Floats are computed and held in float64, so that
 * it is also the yardstick of the engines, which compute in float32.
 */
import { OuterloopError, ShapeError } from '../../contracts';
import { formatType, sizeOf, type Graph, type NodeOf, type OpName, type ValueId } from '../ir';
import { INTERPRETER_RULES } from './rules';
import { allocate, type FloatStorage, type InterpreterContext, type Kernel, type Value } from './value';

export interface InterpreterOptions {
  /**
   * How float32 values are held: `float64` (the default) never rounds them; `float32` rounds every op's result once,
   * which is what an engine does whose kernels are correctly rounded.
   */
  readonly floats?: FloatStorage;
}

export interface CompiledInterpreter {
  readonly graph: Graph;
  /**
   * One value an output, row-major, in arrays of its own. `feeds` holds one a graph input and is only read.
   * @throws ShapeError if the number of feeds or of their elements is wrong.
   */
  run(feeds: readonly Value[], context: InterpreterContext): Value[];
}

const NO_CONTEXT: InterpreterContext = {
  key: () => {
    throw new OuterloopError('a random op was run without a context; this is a defect of the interpreter.');
  },
  t: 0,
};

/** Allocates every buffer and computes once what depends on constants only. */
export function compileInterpreter(graph: Graph, options: InterpreterOptions = {}): CompiledInterpreter {
  const floats = options.floats ?? 'float64';
  const values = new Array<Value>(graph.nodes.length);
  const fixed = new Array<boolean>(graph.nodes.length);
  const kernels: Kernel[] = [];

  const compileNode = <P extends OpName>(node: NodeOf<P>, id: ValueId): Kernel =>
    INTERPRETER_RULES[node.op]({
      node,
      id,
      operands: node.inputs.map((input) => graph.nodes[input].type),
      buffer: () => (values[id] = allocate(node.type.dtype, sizeOf(node.type.shape), floats)),
      hold: (value) => {
        values[id] = value;
        return () => undefined;
      },
    });

  graph.nodes.forEach((node, id) => {
    fixed[id] = node.op !== 'input' && node.op !== 'random' && node.inputs.every((input) => fixed[input]);
    const kernel = compileNode<OpName>(node, id);
    if (fixed[id]) kernel(values, NO_CONTEXT);
    else kernels.push(kernel);
  });

  const inputs = graph.inputs.map((id) => {
    const { type } = graph.nodes[id];
    return { id, type, size: sizeOf(type.shape) };
  });

  return {
    graph,
    run(feeds, context) {
      if (feeds.length !== graph.inputs.length) {
        throw new ShapeError(`${graph.name}: expected ${graph.inputs.length} feeds, got ${feeds.length}.`);
      }
      for (let i = 0; i < feeds.length; i++) {
        const { id, type, size } = inputs[i];
        if (feeds[i].length !== size) {
          throw new ShapeError(
            `${graph.name}: feed ${i} is ${formatType(type)}, expected ${size} numbers, got ${feeds[i].length}.`,
          );
        }
        const rounds = floats === 'float32' && type.dtype === 'float32' && feeds[i].BYTES_PER_ELEMENT !== 4;
        values[id] = rounds ? Float32Array.from(feeds[i]) : feeds[i];
      }
      for (const kernel of kernels) kernel(values, context);
      // Copies: a run's results stay as they are when the next run overwrites the buffers, and may be fed to it.
      return graph.outputs.map((id) => {
        const { dtype, shape } = graph.nodes[id].type;
        const out = allocate(dtype, sizeOf(shape), floats);
        out.set(values[id]);
        return out;
      });
    },
  };
}

/** Runs a graph once. */
export function interpret(
  graph: Graph,
  feeds: readonly Value[],
  context: InterpreterContext,
  options: InterpreterOptions = {},
): Value[] {
  return compileInterpreter(graph, options).run(feeds, context);
}
