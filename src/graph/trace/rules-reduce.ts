/** Reductions, softmax, scans and batch normalisation. */
import { util, type CumsumAttrs, type FusedBatchNormAttrs, type MaxAttrs, type SoftmaxAttrs } from '@tensorflow/tfjs';
import type { ArgMaxAttrs, MeanAttrs, ProdAttrs, SumAttrs, TopKAttrs } from '@tensorflow/tfjs';
import { sizeOf, type ValueId } from '../ir';
import type { KernelCall, KernelRule } from './kernel';

type Axes = number | readonly number[] | null | undefined;

function parseAxes(k: KernelCall, x: ValueId, axis: Axes): number[] {
  const shape = [...k.shape(x)];
  return util.parseAxisParam((axis ?? null) as number[], shape).sort((a, b) => a - b);
}

/** Applies a reduction that removes `axes`, and puts them back as ones for `keepDims`. */
function reduced(
  k: KernelCall,
  x: ValueId,
  axes: readonly number[],
  keepDims: boolean,
  reduce: (x: ValueId) => ValueId,
): ValueId {
  const result = axes.length === 0 ? x : reduce(x);
  return keepDims ? restore(k, result, x, axes) : result;
}

/** The reduced value with its reduced axes back as ones. */
function restore(k: KernelCall, result: ValueId, x: ValueId, axes: readonly number[]): ValueId {
  return k.g.reshape(
    result,
    k.shape(x).map((extent, i) => (axes.includes(i) ? 1 : extent)),
  );
}

const extremum =
  (op: 'reduceMax' | 'reduceMin'): KernelRule<Partial<MaxAttrs> & SumAttrs> =>
  (k, { reductionIndices, axis, keepDims }) => {
    const x = k.numeric(k.input('x'));
    // tfjs calls the axes of Max by another name than those of Min.
    const axes = parseAxes(k, x, reductionIndices ?? axis);
    const result = reduced(k, x, axes, keepDims, (y) => k.g.emit(op, [y], { axes }));
    return k.isShift ? k.g.op('stopGradient', result) : result;
  };

/** All and any as minimum and maximum of 0 and 1. */
const boolReduction =
  (op: 'reduceMax' | 'reduceMin'): KernelRule<SumAttrs> =>
  (k, { axis, keepDims }) => {
    const x = k.input('x');
    const axes = parseAxes(k, x, axis);
    const numbers = reduced(k, k.g.cast(x, 'int32'), axes, keepDims, (y) => k.g.emit(op, [y], { axes }));
    return k.g.cast(numbers, 'bool');
  };

const argReduction =
  (op: 'argMax' | 'argMin'): KernelRule<ArgMaxAttrs> =>
  (k, { axis }) => {
    const x = k.numeric(k.input('x'));
    return k.g.emit(op, [x], { axis: parseAxes(k, x, axis)[0] });
  };

function sliceAxis(k: KernelCall, x: ValueId, axis: number, begin: number, end: number): ValueId {
  const shape = k.shape(x);
  if (begin === 0 && end === shape[axis]) return x;
  return k.g.emit('slice', [x], {
    begin: shape.map((_, i) => (i === axis ? begin : 0)),
    size: shape.map((extent, i) => (i === axis ? end - begin : extent)),
    strides: shape.map(() => 1),
  });
}

/** Product along one axis by halving, which any op set has: ⌈log₂ n⌉ products. */
function productAlong(k: KernelCall, x: ValueId, axis: number): ValueId {
  const shape = k.shape(x);
  const rest = shape.filter((_, i) => i !== axis);
  let extent = shape[axis];
  if (extent === 0) return k.g.fill(1, rest, k.dtype(x) as 'float32' | 'int32');
  let y = x;
  while (extent > 1) {
    const middle = extent >> 1;
    const product = k.g.op('mul', sliceAxis(k, y, axis, 0, middle), sliceAxis(k, y, axis, middle, 2 * middle));
    y = extent % 2 === 0 ? product : k.g.emit('concat', [product, sliceAxis(k, y, axis, 2 * middle, extent)], { axis });
    extent -= middle;
  }
  return k.g.reshape(y, rest);
}

/**
 * Cumulative sums or products by doubling (Hillis and Steele): ⌈log₂ n⌉ steps, and unlike a product with a triangular
 * matrix an infinity does not turn its neighbours into NaN.
 */
const scan =
  (op: 'add' | 'mul', neutral: 0 | 1): KernelRule<CumsumAttrs> =>
  (k, attributes) => {
    const { exclusive, reverse } = attributes;
    const x = k.numeric(k.input('x'));
    const shape = k.shape(x);
    const axis = parseAxes(k, x, attributes.axis)[0];
    const extent = shape[axis];
    const shifted = (y: ValueId, by: number): ValueId => {
      const padding = k.g.fill(
        neutral,
        shape.map((size, i) => (i === axis ? by : size)),
        k.dtype(y) as 'float32' | 'int32',
      );
      const kept = reverse ? sliceAxis(k, y, axis, by, extent) : sliceAxis(k, y, axis, 0, extent - by);
      return k.g.emit('concat', reverse ? [kept, padding] : [padding, kept], { axis });
    };
    let y = exclusive && extent > 0 ? shifted(x, 1) : x;
    for (let by = 1; by < extent; by *= 2) y = k.g.op(op, y, shifted(y, by));
    return y;
  };

/** Shifted by the maximum, which cancels and so needs no derivative. */
function softmax(k: KernelCall, logits: ValueId, axis: number): ValueId {
  const { g } = k;
  const axes = [axis];
  const most = restore(k, g.emit('reduceMax', [logits], { axes }), logits, axes);
  const powers = g.op('exp', g.binary('sub', logits, g.op('stopGradient', most)));
  return g.binary('div', powers, restore(k, g.reduceSum(powers, axes), logits, axes));
}

export const REDUCTION_RULES = {
  Sum: (k, { axis, keepDims }: SumAttrs) => {
    const x = k.numeric(k.input('x'));
    const axes = parseAxes(k, x, axis);
    return reduced(k, x, axes, keepDims, (y) => k.g.reduceSum(y, axes));
  },
  Mean: (k, { axis, keepDims }: MeanAttrs) => {
    const x = k.float(k.input('x'));
    const axes = parseAxes(k, x, axis);
    const count = sizeOf(axes.map((i) => k.shape(x)[i]));
    const sum = reduced(k, x, axes, keepDims, (y) => k.g.reduceSum(y, axes));
    return k.g.binary('div', sum, k.scalar(count));
  },
  Prod: (k, { axis, keepDims }: ProdAttrs) => {
    const x = k.numeric(k.input('x'));
    const axes = parseAxes(k, x, axis);
    return reduced(k, x, axes, keepDims, (y) => axes.reduceRight((product, i) => productAlong(k, product, i), y));
  },
  Max: extremum('reduceMax'),
  Min: extremum('reduceMin'),
  All: boolReduction('reduceMin'),
  Any: boolReduction('reduceMax'),
  ArgMax: argReduction('argMax'),
  ArgMin: argReduction('argMin'),
  TopK: (k, attributes: TopKAttrs) => {
    if (attributes.k !== 1) k.refuse('k = 1', `k = ${attributes.k}`);
    const x = k.numeric(k.input('x'));
    const shape = k.shape(x);
    const axis = shape.length - 1;
    return [
      restore(k, k.g.emit('reduceMax', [x], { axes: [axis] }), x, [axis]),
      restore(k, k.g.emit('argMax', [x], { axis }), x, [axis]),
    ];
  },
  Softmax: (k, { dim }: SoftmaxAttrs) => {
    const logits = k.float(k.input('logits'));
    return softmax(k, logits, parseAxes(k, logits, dim)[0]);
  },
  Cumsum: scan('add', 0),
  Cumprod: scan('mul', 1),
  /** Operands along the last axis, as tfjs hands them over. */
  FusedBatchNorm: (k, { varianceEpsilon }: Partial<FusedBatchNormAttrs>) => {
    const { g } = k;
    const deviation = g.binary('add', k.input('variance'), k.scalar(varianceEpsilon ?? 0.001));
    const [scale, offset] = [k.optional('scale'), k.optional('offset')];
    const inverse = g.op('rsqrt', deviation);
    const factor = scale === undefined ? inverse : g.binary('mul', inverse, scale);
    const scaled = g.binary('mul', g.binary('sub', k.input('x'), k.input('mean')), factor);
    return offset === undefined ? scaled : g.binary('add', scaled, offset);
  },
} satisfies Record<string, KernelRule>;
