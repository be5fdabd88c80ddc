/**
 * The definition of every op: plain loops over typed arrays, one rule an op. int32 arithmetic wraps to 32 bits (what
 * storing into an Int32Array does). A sum of one element is that element.
 */
import { bits, fillNormals, foldIn, scaleWord } from '../../random';
import { sizeOf, type OpName } from '../ir';
import { reductionOrder, rowMajorStrides, stridedIndices, windowIndices } from './indexing';
import { matmulKernel } from './matmul';
import { erf, floorMod, intDiv, intMod, roundHalfToEven, sigmoid, toInt32 } from './scalar';
import type { Kernel, Rule, Site, Value } from './value';

const NOTHING: Kernel = () => undefined;

type Unary = (x: number) => number;
type Binary = (x: number, y: number) => number;

function unary(f: Unary): (site: Site<OpName>) => Kernel {
  return (site) => {
    const [a] = site.node.inputs;
    const out = site.buffer();
    return (values) => {
      const x = values[a];
      for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
    };
  };
}

function binary(f: Binary, onInt: Binary = f): (site: Site<OpName>) => Kernel {
  const loop = (fn: Binary) => (x: Value, y: Value, out: Value) => {
    for (let i = 0; i < out.length; i++) out[i] = fn(x[i], y[i]);
  };
  return binaryLoop(loop(f), loop(onInt));
}

type BinaryLoop = (x: Value, y: Value, out: Value) => void;

/** Loops written out, for the ops that small problems mostly consist of: no call per element. */
function binaryLoop(loop: BinaryLoop, onInt = loop): (site: Site<OpName>) => Kernel {
  return (site) => {
    const [a, b] = site.node.inputs;
    const out = site.buffer();
    const run = site.operands[0].dtype === 'int32' ? onInt : loop;
    return (values) => run(values[a], values[b], out);
  };
}

function compare(holds: (x: number, y: number) => boolean): (site: Site<OpName>) => Kernel {
  return binary((x, y) => (holds(x, y) ? 1 : 0));
}

/** The same numbers under another id or shape. */
function alias(site: Site<OpName>): Kernel {
  const [a] = site.node.inputs;
  const { id } = site;
  return (values) => {
    values[id] = values[a];
  };
}

/** out[i] = operand[indices[i]]. */
function move(site: Site<OpName>, indices: Int32Array): Kernel {
  const [a] = site.node.inputs;
  const out = site.buffer();
  return (values) => {
    const x = values[a];
    for (let i = 0; i < out.length; i++) out[i] = x[indices[i]];
  };
}

/** Calls `reduce` for every element of the result with where its operands stand. */
function reduction(
  site: Site<OpName>,
  axes: readonly number[],
  reduce: (x: Value, order: Int32Array | undefined, from: number, to: number) => number,
): Kernel {
  const [a] = site.node.inputs;
  const { shape } = site.operands[0];
  const order = reductionOrder(shape, axes);
  const count = sizeOf(axes.map((axis) => shape[axis]));
  const out = site.buffer();
  return (values) => {
    const x = values[a];
    for (let o = 0; o < out.length; o++) out[o] = reduce(x, order, o * count, (o + 1) * count);
  };
}

function sumRange(x: Value, order: Int32Array | undefined, from: number, to: number): number {
  if (from === to) return 0;
  let sum = x[order === undefined ? from : order[from]];
  for (let i = from + 1; i < to; i++) sum += x[order === undefined ? i : order[i]];
  return sum;
}

function wrappingSumRange(x: Value, order: Int32Array | undefined, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum = (sum + x[order === undefined ? i : order[i]]) | 0;
  return sum;
}

/** `pick` is Math.max or Math.min: NaN wins. */
function extremeRange(pick: Binary) {
  return (x: Value, order: Int32Array | undefined, from: number, to: number): number => {
    let best = x[order === undefined ? from : order[from]];
    for (let i = from + 1; i < to; i++) best = pick(best, x[order === undefined ? i : order[i]]);
    return best;
  };
}

/** Offset of the first element that no other `beats`. */
function firstRange(beats: (x: number, y: number) => boolean) {
  return (x: Value, order: Int32Array | undefined, from: number, to: number): number => {
    let best = from;
    let value = x[order === undefined ? from : order[from]];
    for (let i = from + 1; i < to; i++) {
      const candidate = x[order === undefined ? i : order[i]];
      if (beats(candidate, value)) {
        best = i;
        value = candidate;
      }
    }
    return best - from;
  };
}

function clampRow(row: number, rows: number): number {
  return row < 0 ? 0 : row >= rows ? rows - 1 : row;
}

/** One rule an op: a new op does not compile without one. */
export const INTERPRETER_RULES: { readonly [P in OpName]: Rule<P> } = {
  // The value is put into its place by the run.
  input: () => NOTHING,
  constant: (site) => {
    const { data, dtype } = site.node.attributes;
    if (dtype !== 'float32') return site.hold(data);
    // Widened (or copied) into the storage chosen for floats.
    const out = site.buffer();
    out.set(data);
    return NOTHING;
  },
  // Read in place, never copied: a table may be large and is shared.
  table: (site) => site.hold(site.node.attributes.table.values),
  random: (site) => {
    const { stream, perStep, path, distribution } = site.node.attributes;
    const out = site.buffer();
    return (_, context) => {
      let key = context.key(stream);
      if (perStep) key = foldIn(key, context.t);
      for (const word of path) key = foldIn(key, word);
      if (distribution.name === 'normal') {
        fillNormals(key, out as Float64Array | Float32Array);
        return;
      }
      const words = bits(key, out.length);
      if (distribution.name === 'uniform') {
        for (let i = 0; i < out.length; i++) out[i] = (words[i] >>> 8) * 2 ** -24;
      } else {
        const { low, high } = distribution;
        for (let i = 0; i < out.length; i++) out[i] = low + scaleWord(words[i], high - low);
      }
    };
  },
  iota: (site) => {
    const { shape, axis } = site.node.attributes;
    const strides = shape.map((_, i) => (i === axis ? 1 : 0));
    return site.hold(stridedIndices(shape, strides));
  },

  neg: unary((x) => -x),
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundHalfToEven),
  exp: unary(Math.exp),
  expm1: unary(Math.expm1),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  sqrt: unary(Math.sqrt),
  rsqrt: unary((x) => 1 / Math.sqrt(x)),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  atan: unary(Math.atan),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  erf: unary(erf),
  isNan: unary((x) => (Number.isNaN(x) ? 1 : 0)),
  isFinite: unary((x) => (Number.isFinite(x) ? 1 : 0)),
  not: unary((x) => 1 - x),
  identity: alias,
  stopGradient: alias,
  cast: (site) => {
    const from = site.operands[0].dtype;
    const to = site.node.attributes.dtype;
    if (from === to) return alias(site);
    if (to === 'bool') return unary((x) => (x !== 0 ? 1 : 0))(site);
    return unary(from === 'float32' ? toInt32 : (x) => x)(site);
  },

  add: binaryLoop((x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] + y[i];
  }),
  sub: binaryLoop((x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = x[i] - y[i];
  }),
  mul: binaryLoop(
    (x, y, out) => {
      for (let i = 0; i < out.length; i++) out[i] = x[i] * y[i];
    },
    (x, y, out) => {
      for (let i = 0; i < out.length; i++) out[i] = Math.imul(x[i], y[i]);
    },
  ),
  div: binaryLoop(
    (x, y, out) => {
      for (let i = 0; i < out.length; i++) out[i] = x[i] / y[i];
    },
    (x, y, out) => {
      for (let i = 0; i < out.length; i++) out[i] = intDiv(x[i], y[i]);
    },
  ),
  mod: binary(floorMod, intMod),
  pow: binary(Math.pow),
  atan2: binary(Math.atan2),
  max: binaryLoop((x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = Math.max(x[i], y[i]);
  }),
  min: binaryLoop((x, y, out) => {
    for (let i = 0; i < out.length; i++) out[i] = Math.min(x[i], y[i]);
  }),
  eq: compare((x, y) => x === y),
  ne: compare((x, y) => x !== y),
  lt: compare((x, y) => x < y),
  le: compare((x, y) => x <= y),
  gt: compare((x, y) => x > y),
  ge: compare((x, y) => x >= y),
  and: binary((x, y) => x & y),
  or: binary((x, y) => x | y),
  select: (site) => {
    const [condition, a, b] = site.node.inputs;
    const out = site.buffer();
    return (values) => {
      const chosen = values[condition];
      const x = values[a];
      const y = values[b];
      for (let i = 0; i < out.length; i++) out[i] = chosen[i] !== 0 ? x[i] : y[i];
    };
  },

  matmul: matmulKernel,

  reduceSum: (site) =>
    reduction(site, site.node.attributes.axes, site.node.type.dtype === 'int32' ? wrappingSumRange : sumRange),
  reduceMax: (site) => reduction(site, site.node.attributes.axes, extremeRange(Math.max)),
  reduceMin: (site) => reduction(site, site.node.attributes.axes, extremeRange(Math.min)),
  argMax: (site) =>
    reduction(
      site,
      [site.node.attributes.axis],
      firstRange((x, y) => x > y),
    ),
  argMin: (site) =>
    reduction(
      site,
      [site.node.attributes.axis],
      firstRange((x, y) => x < y),
    ),

  broadcast: (site) => {
    const from = site.operands[0].shape;
    const { shape } = site.node.attributes;
    if (sizeOf(from) === 1) {
      const [a] = site.node.inputs;
      const out = site.buffer();
      return (values) => out.fill(values[a][0]);
    }
    const strides = rowMajorStrides(from);
    const lead = shape.length - from.length;
    return move(
      site,
      stridedIndices(
        shape,
        shape.map((_, axis) => (axis < lead || from[axis - lead] === 1 ? 0 : strides[axis - lead])),
      ),
    );
  },
  reshape: alias,
  transpose: (site) => {
    const strides = rowMajorStrides(site.operands[0].shape);
    const { perm } = site.node.attributes;
    return move(
      site,
      stridedIndices(
        site.node.type.shape,
        perm.map((axis) => strides[axis]),
      ),
    );
  },
  slice: (site) => {
    const { begin, size, strides } = site.node.attributes;
    const steps = rowMajorStrides(site.operands[0].shape);
    const offset = begin.reduce((sum, start, axis) => sum + start * steps[axis], 0);
    return move(
      site,
      stridedIndices(
        size,
        steps.map((step, axis) => step * strides[axis]),
        offset,
      ),
    );
  },
  pad: (site) => {
    const [a] = site.node.inputs;
    const { low, interior } = site.node.attributes;
    const steps = rowMajorStrides(site.node.type.shape);
    const offset = low.reduce((sum, before, axis) => sum + before * steps[axis], 0);
    const target = stridedIndices(
      site.operands[0].shape,
      steps.map((step, axis) => step * (1 + interior[axis])),
      offset,
    );
    // The other elements of the fresh buffer are zeros and stay so.
    const out = site.buffer();
    return (values) => {
      const x = values[a];
      for (let i = 0; i < target.length; i++) out[target[i]] = x[i];
    };
  },
  windows: (site) => {
    const { axes, strides, dilations } = site.node.attributes;
    return move(site, windowIndices(site.node.type.shape, site.operands[0].shape, { axes, strides, dilations }));
  },
  foldWindows: (site) => {
    const [a] = site.node.inputs;
    const target = windowIndices(site.operands[0].shape, site.node.type.shape, site.node.attributes);
    const out = site.buffer();
    // Of one element: that element.
    const first = new Uint8Array(target.length);
    const met = new Set<number>();
    target.forEach((to, i) => {
      if (met.has(to)) return;
      met.add(to);
      first[i] = 1;
    });
    return (values) => {
      const x = values[a];
      for (let i = 0; i < target.length; i++) {
        if (first[i] === 1) out[target[i]] = x[i];
        else out[target[i]] += x[i];
      }
    };
  },
  concat: (site) => {
    const { axis } = site.node.attributes;
    const { inputs } = site.node;
    const steps = rowMajorStrides(site.node.type.shape);
    let start = 0;
    const targets = site.operands.map(({ shape }) => {
      const target = stridedIndices(shape, steps, start * steps[axis]);
      start += shape[axis];
      return target;
    });
    const out = site.buffer();
    return (values) => {
      targets.forEach((target, operand) => {
        const x = values[inputs[operand]];
        for (let i = 0; i < target.length; i++) out[target[i]] = x[i];
      });
    };
  },
  reverse: (site) => {
    const { shape } = site.operands[0];
    const { axes } = site.node.attributes;
    const steps = rowMajorStrides(shape);
    const offset = axes.reduce((sum, axis) => sum + (shape[axis] - 1) * steps[axis], 0);
    return move(
      site,
      stridedIndices(
        shape,
        steps.map((step, axis) => (axes.includes(axis) ? -step : step)),
        offset,
      ),
    );
  },
  gather: (site) => {
    const [operand, indices] = site.node.inputs;
    const [rows, ...rowShape] = site.operands[0].shape;
    const width = sizeOf(rowShape);
    const out = site.buffer();
    return (values) => {
      const table = values[operand];
      const index = values[indices];
      for (let i = 0; i < index.length; i++) {
        const from = clampRow(index[i], rows) * width;
        for (let j = 0; j < width; j++) out[i * width + j] = table[from + j];
      }
    };
  },
  scatterAdd: (site) => {
    const [indices, updates] = site.node.inputs;
    const { rows } = site.node.attributes;
    const out = site.buffer();
    const width = out.length / rows;
    return (values) => {
      const index = values[indices];
      const x = values[updates];
      out.fill(0);
      for (let i = 0; i < index.length; i++) {
        const to = clampRow(index[i], rows) * width;
        for (let j = 0; j < width; j++) out[to + j] += x[i * width + j];
      }
    };
  },
};
