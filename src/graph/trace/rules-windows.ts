/**
 * Convolution, pooling and enlarging as what they consist of: padding, windows, and products or reductions of these. The
 * kernels that tfjs's own gradients call are the derivatives of the same values.
 */
import { backend_util } from '@tensorflow/tfjs';
import type {
  AvgPoolAttrs,
  Conv2DAttrs,
  FusedConv2DAttrs,
  MaxPoolAttrs,
  ResizeNearestNeighborAttrs,
} from '@tensorflow/tfjs';
import type { ValueId } from '../ir';
import { vjp } from '../vjp';
import type { KernelCall, KernelRule } from './kernel';
import { activate } from './rules-contraction';

type Shape4 = [number, number, number, number];

/** What tfjs's Conv2DInfo and those of pooling say of the windows over height and width. */
type Geometry = Pick<
  backend_util.Conv2DInfo,
  | 'outHeight'
  | 'outWidth'
  | 'effectiveFilterHeight'
  | 'effectiveFilterWidth'
  | 'filterHeight'
  | 'filterWidth'
  | 'strideHeight'
  | 'strideWidth'
  | 'dilationHeight'
  | 'dilationWidth'
  | 'padInfo'
>;

interface Line {
  readonly out: number;
  /** From the first to the last element of a window. */
  readonly span: number;
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
}

function linesOf(info: Geometry): readonly Line[] {
  return [
    {
      out: info.outHeight,
      span: info.effectiveFilterHeight,
      size: info.filterHeight,
      stride: info.strideHeight,
      dilation: info.dilationHeight,
      before: info.padInfo.top,
    },
    {
      out: info.outWidth,
      span: info.effectiveFilterWidth,
      size: info.filterWidth,
      stride: info.strideWidth,
      dilation: info.dilationWidth,
      before: info.padInfo.left,
    },
  ];
}

/** [n, h, w, …] with zeros around as the windows need them; what none of them sees may be left. */
function padded(k: KernelCall, x: ValueId, lines: readonly Line[]): ValueId {
  const shape = k.shape(x);
  const after = lines.map(({ out, span, stride, before }, i) => (out - 1) * stride + span - before - shape[i + 1]);
  const none = [0, 0, 0, 0];
  const low = [0, lines[0].before, lines[1].before, 0];
  const high = [0, Math.max(0, after[0]), Math.max(0, after[1]), 0];
  return [...low, ...high].every((n) => n === 0) ? x : k.g.emit('pad', [x], { low, high, interior: none });
}

/** [n, h, w, c] → [n, places, places, size, size, c]. */
function windowsOf(k: KernelCall, x: ValueId, lines: readonly Line[]): ValueId {
  const seen = k.g.emit('windows', [x], {
    axes: [1, 2],
    sizes: lines.map(({ size }) => size),
    strides: lines.map(({ stride }) => stride),
    dilations: lines.map(({ dilation }) => dilation),
  });
  const [, height, width] = k.shape(seen);
  // Rounding down, or a padding that is wider than it need be, leaves windows over that tfjs does not look at.
  return height === lines[0].out && width === lines[1].out
    ? seen
    : k.g.emit('slice', [seen], {
        begin: k.shape(seen).map(() => 0),
        size: [k.shape(seen)[0], lines[0].out, lines[1].out, ...k.shape(seen).slice(3)],
        strides: k.shape(seen).map(() => 1),
      });
}

function checkFormat(k: KernelCall, dataFormat: string): void {
  if (dataFormat !== 'NHWC') k.refuse("dataFormat 'NHWC' (channels last)", `'${dataFormat}'`);
}

/** Of all kernels of convolution; those of depthwise gradients bring no format: there is only one. */
interface ConvolutionAttributes extends Pick<Conv2DAttrs, 'strides' | 'pad' | 'dimRoundingMode'> {
  readonly dataFormat?: string;
  readonly dilations?: [number, number] | number;
}

function infoOf(
  k: KernelCall,
  xShape: readonly number[],
  filterShape: readonly number[],
  attributes: ConvolutionAttributes,
  depthwise = false,
): backend_util.Conv2DInfo {
  const { strides, pad, dataFormat, dilations, dimRoundingMode } = attributes;
  checkFormat(k, dataFormat ?? 'NHWC');
  return backend_util.computeConv2DInfo(
    [...xShape] as Shape4,
    [...filterShape] as Shape4,
    strides,
    dilations ?? 1,
    pad,
    dimRoundingMode,
    depthwise,
  );
}

/** Patches times filter: one row a window, one column an output channel. */
function convolution(k: KernelCall, x: ValueId, filter: ValueId, attributes: ConvolutionAttributes): ValueId {
  const { g } = k;
  const lines = linesOf(infoOf(k, k.shape(x), k.shape(filter), attributes));
  const [height, width, inputs, outputs] = k.shape(filter);
  const patch = height * width * inputs;
  const seen = windowsOf(k, padded(k, x, lines), lines);
  const [batch, rows, columns] = k.shape(seen);
  const product = g.emit(
    'matmul',
    [g.reshape(seen, [batch * rows * columns, patch]), g.reshape(filter, [patch, outputs])],
    { transposeA: false, transposeB: false },
  );
  return g.reshape(product, [batch, rows, columns, outputs]);
}

/** Every channel on its own: filter [h, w, channels, multiplier]. */
function depthwise(k: KernelCall, x: ValueId, filter: ValueId, attributes: ConvolutionAttributes): ValueId {
  const { g } = k;
  const lines = linesOf(infoOf(k, k.shape(x), k.shape(filter), attributes, true));
  const seen = windowsOf(k, padded(k, x, lines), lines);
  const [batch, rows, columns, height, width, channels] = k.shape(seen);
  const multiplier = k.shape(filter)[3];
  const spread = g.reshape(seen, [batch, rows, columns, height, width, channels, 1]);
  const sum = g.reduceSum(g.binary('mul', spread, filter), [3, 4]);
  return g.reshape(sum, [batch, rows, columns, channels * multiplier]);
}

type Convolution = typeof convolution;

/** Cotangent of an operand that `forward` is linear in, so that it does not matter what the operand is. */
function backward(
  k: KernelCall,
  forward: (operand: ValueId) => ValueId,
  shape: readonly number[],
  cotangent: ValueId,
): ValueId {
  const operand = k.g.op('identity', k.g.fill(0, shape));
  return vjp(k.g, [{ value: forward(operand), cotangent }], [operand])[0];
}

const backwardInput =
  (forward: Convolution): KernelRule<ConvolutionAttributes & { readonly inputShape: readonly number[] }> =>
  (k, attributes) => {
    const filter = k.float(k.input('filter'));
    const { inputShape } = attributes;
    return backward(k, (x) => forward(k, x, filter, attributes), inputShape, k.float(k.input('dy')));
  };

const backwardFilter =
  (forward: Convolution): KernelRule<ConvolutionAttributes & { readonly filterShape: readonly number[] }> =>
  (k, attributes) => {
    const x = k.float(k.input('x'));
    const { filterShape } = attributes;
    return backward(k, (filter) => forward(k, x, filter, attributes), filterShape, k.float(k.input('dy')));
  };

const plain =
  (forward: Convolution): KernelRule<ConvolutionAttributes> =>
  (k, attributes) =>
    forward(k, k.float(k.input('x')), k.float(k.input('filter')), attributes);

const fused =
  (forward: Convolution): KernelRule<FusedConv2DAttrs> =>
  (k, attributes) => {
    const sum = plain(forward)(k, attributes) as ValueId;
    const bias = k.optional('bias');
    return activate(k, bias === undefined ? sum : k.g.binary('add', sum, bias), attributes);
  };

type PoolAttributes = Pick<MaxPoolAttrs, 'filterSize' | 'strides' | 'pad' | 'dimRoundingMode'>;

function poolLines(k: KernelCall, x: ValueId, { filterSize, strides, pad, dimRoundingMode }: PoolAttributes) {
  return linesOf(
    backend_util.computePool2DInfo([...k.shape(x)] as Shape4, filterSize, strides, 1, pad, dimRoundingMode),
  );
}

/** The largest element of each window; padding is none. */
function maxPool(k: KernelCall, x: ValueId, attributes: PoolAttributes): ValueId {
  const lines = poolLines(k, x, attributes);
  const [, height, width] = k.shape(x);
  const zeros = padded(k, x, lines);
  const inside = zeros === x ? undefined : padded(k, k.g.fill(1, [1, height, width, 1], 'bool'), lines);
  const around = inside === undefined ? x : k.g.select(inside, zeros, k.scalar(-Infinity));
  return k.g.emit('reduceMax', [windowsOf(k, around, lines)], { axes: [3, 4] });
}

/** The mean of each window, padding not counted. */
function avgPool(k: KernelCall, x: ValueId, attributes: PoolAttributes): ValueId {
  const { g } = k;
  const lines = poolLines(k, x, attributes);
  const sum = g.reduceSum(windowsOf(k, padded(k, x, lines), lines), [3, 4]);
  const [, height, width] = k.shape(x);
  const [rows, columns] = lines.map(({ out, size, stride, before }, i) =>
    Array.from({ length: out }, (_, place) => {
      const first = place * stride - before;
      return Math.min(first + size, i === 0 ? height : width) - Math.max(first, 0);
    }),
  );
  const counts = Float32Array.from(rows.flatMap((row) => columns.map((column) => row * column)));
  return g.binary('div', sum, g.constant(counts, [1, rows.length, columns.length, 1], 'float32'));
}

const poolGradient =
  (forward: typeof maxPool): KernelRule<PoolAttributes> =>
  (k, attributes) => {
    // A wrt of its own: the input may be a constant, or what the cotangent was made from.
    const x = k.g.op('identity', k.float(k.input('input')));
    return vjp(k.g, [{ value: forward(k, x, attributes), cotangent: k.float(k.input('dy')) }], [x])[0];
  };

type ResizeGradAttributes = Pick<ResizeNearestNeighborAttrs, 'alignCorners'>;

/** Every pixel a whole number of times along each axis. */
function enlarge(k: KernelCall, x: ValueId, size: readonly number[], alignCorners: boolean): ValueId {
  const { g } = k;
  const [batch, height, width, channels] = k.shape(x);
  const [down, across] = [size[0] / height, size[1] / width];
  if (alignCorners || !Number.isInteger(down) || !Number.isInteger(across)) {
    k.refuse('a whole multiple of the size, without alignCorners', `${height}×${width} to ${size.join('×')}`);
  }
  const apart = g.reshape(x, [batch, height, 1, width, 1, channels]);
  const spread = g.broadcast(apart, [batch, height, down, width, across, channels]);
  return g.reshape(spread, [batch, size[0], size[1], channels]);
}

export const WINDOW_RULES = {
  Conv2D: plain(convolution),
  Conv2DBackpropInput: backwardInput(convolution),
  Conv2DBackpropFilter: backwardFilter(convolution),
  DepthwiseConv2dNative: plain(depthwise),
  DepthwiseConv2dNativeBackpropInput: backwardInput(depthwise),
  DepthwiseConv2dNativeBackpropFilter: backwardFilter(depthwise),
  FusedConv2D: fused(convolution),
  FusedDepthwiseConv2D: fused(depthwise),
  MaxPool: (k, attributes: MaxPoolAttrs) => maxPool(k, k.float(k.input('x')), attributes),
  MaxPoolGrad: poolGradient(maxPool),
  AvgPool: (k, attributes: AvgPoolAttrs) => avgPool(k, k.float(k.input('x')), attributes),
  AvgPoolGrad: poolGradient(avgPool),
  ResizeNearestNeighbor: (k, { size, alignCorners }: ResizeNearestNeighborAttrs) =>
    enlarge(k, k.float(k.input('images')), size, alignCorners),
  ResizeNearestNeighborGrad: (k, { alignCorners }: ResizeGradAttributes) => {
    const dy = k.float(k.input('dy'));
    const [, height, width] = k.shape(dy);
    const enlarged = (x: ValueId): ValueId => enlarge(k, x, [height, width], alignCorners);
    return backward(k, enlarged, k.shape(k.input('images')), dy);
  },
} satisfies Record<string, KernelRule>;
