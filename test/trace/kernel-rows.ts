/** TensorFlow.js expressions, each run eagerly on tfjs-cpu and traced: one row or more a kernel rule. */
import * as tf from '@tensorflow/tfjs';

type Fn = (...tensors: tf.Tensor[]) => tf.Tensor | tf.Tensor[];

export interface Operand {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'bool';
  readonly values: readonly number[];
}

export interface Row {
  readonly name: string;
  readonly fn: Fn;
  readonly operands: readonly Operand[];
  /** Largest error relative to max(1, |expected|); absent: see kernels.test.ts. */
  readonly tolerance?: number;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Irregular numbers in (low, high); `phase` tells operands apart. */
export function floats(shape: readonly number[], low = -2, high = 2, phase = 0): Operand {
  const values = Array.from(
    { length: sizeOf(shape) },
    (_, i) => low + (high - low) * (0.5 + 0.5 * Math.sin(7.3 * i + phase + 0.4)),
  );
  return { shape, dtype: 'float32', values };
}

export function ints(shape: readonly number[], values: readonly number[]): Operand {
  return { shape, dtype: 'int32', values };
}

const bools = (shape: readonly number[], values: readonly number[]): Operand => ({ shape, dtype: 'bool', values });
const listed = (...values: number[]): Operand => ({ shape: [values.length], dtype: 'float32', values });

/** Kinks, ties, large and small magnitudes, and what is no number. */
const wild = listed(
  NaN,
  Infinity,
  -Infinity,
  0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  6,
  7,
  30,
  -30,
  100,
  -100,
  1e-20,
  -1e-3,
);
const finite = { ...wild, values: wild.values.slice(3), shape: [wild.values.length - 3] };
const positive = listed(0, 1e-20, 1e-3, 0.5, 1, 2, 30, 1e20, Infinity, NaN);
const unit = listed(-1, -0.999, -0.5, -1e-3, 0, 1e-3, 0.5, 0.999, 1);
const [a23, b23] = [floats([2, 3]), floats([2, 3], -2, 2, 1)];
const matrix = floats([3, 4]);
const cube = floats([2, 3, 4]);
const whole = ints([6], [-7, -2, 0, 1, 3, 8]);
const pixels = floats([2, 5, 6, 3]);
const taps = floats([3, 2, 3, 4], -1, 1);
const image = (x: tf.Tensor): tf.Tensor4D => x as tf.Tensor4D;
const filterOf = image;
const divisors = ints([6], [3, -2, 5, -1, -2, 3]);

const unary = (name: string, fn: (x: tf.Tensor) => tf.Tensor, operand: Operand, tolerance?: number): Row => ({
  name,
  fn,
  operands: [operand],
  ...(tolerance === undefined ? {} : { tolerance }),
});
const row = (name: string, fn: Fn, ...operands: Operand[]): Row => ({ name, fn, operands });

/** Of sums of up to 64 products, each of which rounds. */
const sums = (name: string, fn: Fn, ...operands: Operand[]): Row => ({
  ...row(name, fn, ...operands),
  tolerance: 64 * 2 ** -24,
});

/** A kernel without an op of its own in tfjs's public face. */
const kernel = (name: string, inputs: Record<string, tf.Tensor>, attributes: Record<string, unknown>): tf.Tensor =>
  tf.engine().runKernel(name, inputs, attributes as never);

export const ROWS: readonly Row[] = [
  // Elementwise, one operand.
  unary('abs', tf.abs, wild),
  unary('abs of int32', tf.abs, whole),
  unary('neg', tf.neg, wild),
  unary('sign', tf.sign, finite),
  unary('floor', tf.floor, wild),
  unary('ceil', tf.ceil, wild),
  unary('round, half to even', tf.round, wild),
  unary('exp', tf.exp, wild),
  unary('exp of int32 is float32', tf.exp, ints([4], [-1, 0, 1, 2])),
  unary('expm1', tf.expm1, wild),
  unary('expm1 of int32 truncates', tf.expm1, ints([4], [-1, 0, 1, 2])),
  unary('log', tf.log, positive),
  unary('log1p', tf.log1p, positive),
  unary('sqrt', tf.sqrt, positive),
  unary('rsqrt', tf.rsqrt, positive),
  unary('square', tf.square, wild),
  unary('square of int32', tf.square, whole),
  unary('reciprocal', tf.reciprocal, wild),
  unary('sin', tf.sin, finite),
  unary('cos', tf.cos, finite),
  unary('tan', tf.tan, unit),
  unary('asin', tf.asin, unit),
  unary('acos', tf.acos, unit),
  unary('atan', tf.atan, wild),
  unary('sinh', tf.sinh, wild),
  unary('cosh', tf.cosh, wild),
  unary('tanh', tf.tanh, wild),
  unary('asinh', tf.asinh, finite),
  unary('acosh', tf.acosh, listed(1, 1.001, 1.5, 2, 10, 1e4)),
  unary('atanh', tf.atanh, unit),
  unary('sigmoid', tf.sigmoid, wild),
  // tfjs-cpu uses Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7.
  unary('erf', tf.erf, finite, 3e-7),
  unary('relu', tf.relu, wild),
  unary('relu of int32', tf.relu, whole),
  unary('relu6', tf.relu6, wild),
  unary('leakyRelu', (x) => tf.leakyRelu(x, 0.3), wild),
  row('prelu', (x, alpha) => tf.prelu(x, alpha), floats([2, 3]), floats([3], 0, 1)),
  unary('elu', tf.elu, wild),
  unary('selu', tf.selu, wild),
  unary('softplus', tf.softplus, finite),
  unary('logSigmoid', tf.logSigmoid, finite),
  unary('step', (x) => tf.step(x), wild),
  unary('step with a slope', (x) => tf.step(x, 0.25), wild),
  unary('clipByValue', (x) => tf.clipByValue(x, -1, 2.5), wild),
  unary('isNaN', tf.isNaN, wild),
  unary('isInf', tf.isInf, wild),
  unary('isFinite', tf.isFinite, wild),
  unary('logicalNot', tf.logicalNot, bools([3], [1, 0, 1])),
  unary('cast to int32 truncates', (x) => x.toInt(), listed(-2.9, -0.5, 0, 0.5, 2.9)),
  unary('cast to bool', (x) => x.toBool(), listed(0, 1, -2, 0.5)),
  unary('cast of bool', (x) => x.toFloat(), bools([3], [1, 0, 1])),
  unary('clone', (x) => x.clone(), a23),
  unary('zerosLike', tf.zerosLike, a23),
  unary('onesLike of int32', tf.onesLike, whole),
  unary('fill', (x) => x.add(tf.fill([2, 3], 1.5)), a23),
  unary(
    'constants',
    (x) =>
      x
        .mul(tf.tensor([[1, 2, 3]]))
        .add(tf.ones([2, 3]))
        .add(0.1),
    a23,
  ),

  // Elementwise, two operands.
  row('add', tf.add, a23, b23),
  row('add, broadcast', tf.add, floats([2, 1, 3]), floats([4, 1])),
  row('add of int32 and float32', tf.add, whole, floats([6])),
  row('add of int32 and bool', tf.add, whole, bools([6], [1, 0, 1, 1, 0, 0])),
  row('sub', tf.sub, a23, b23),
  row('sub of int32', tf.sub, whole, divisors),
  row('mul', tf.mul, a23, b23),
  row('mul of int32', tf.mul, whole, divisors),
  row('div', tf.div, a23, b23),
  row('div by zero', tf.div, listed(1, -1, 0), listed(0, 0, 0)),
  row('div of int32 floors', tf.div, whole, divisors),
  row('divNoNan', tf.divNoNan, listed(1, 2, 0), listed(0, 4, 0)),
  row('floorDiv of int32', tf.floorDiv, whole, divisors),
  row('floorDiv of float32 is int32', tf.floorDiv, a23, b23),
  row('mod', tf.mod, listed(-5.5, 5.5, -5.5, 5.5, 0), listed(2, -2, -2, 2, 3)),
  row('mod of int32', tf.mod, whole, divisors),
  row('pow', tf.pow, floats([2, 3], 0.1, 3), b23),
  row('pow of int32', tf.pow, ints([4], [2, 3, -3, 7]), ints([4], [5, 4, 3, 0])),
  row('atan2', tf.atan2, a23, b23),
  row('maximum', tf.maximum, listed(1, 2, NaN, 3), listed(2, 1, 1, 3)),
  row('minimum', tf.minimum, listed(1, 2, NaN, 3), listed(2, 1, 1, 3)),
  row('minimum of int32', tf.minimum, whole, divisors),
  row('squaredDifference', tf.squaredDifference, a23, b23),
  row('addN', (...x) => tf.addN(x), a23, b23, floats([2, 3], 0, 1, 2)),
  row('eluGrad', (dy, y) => kernel('EluGrad', { dy, y }, {}), a23, b23),
  row('equal', tf.equal, whole, divisors),
  row('equal of bool', tf.equal, bools([2], [1, 0]), bools([2], [1, 1])),
  row('notEqual', tf.notEqual, whole, divisors),
  row('less', tf.less, whole, divisors),
  row('lessEqual', tf.lessEqual, whole, divisors),
  row('greater of int32 and float32', tf.greater, whole, floats([6])),
  row('greaterEqual', tf.greaterEqual, whole, divisors),
  row('logicalAnd', tf.logicalAnd, bools([4], [1, 1, 0, 0]), bools([4], [1, 0, 1, 0])),
  row('logicalOr', tf.logicalOr, bools([4], [1, 1, 0, 0]), bools([4], [1, 0, 1, 0])),
  row('logicalXor', tf.logicalXor, bools([4], [1, 1, 0, 0]), bools([4], [1, 0, 1, 0])),
  row('where', (c, x, y) => tf.where(c, x, y), bools([2, 1], [1, 0]), a23, floats([1, 3])),
  row('where upcasts', (c, x, y) => tf.where(c, x, y), bools([6], [1, 0, 1, 0, 0, 1]), whole, floats([6])),

  // Reductions.
  unary('sum', (x) => tf.sum(x), cube),
  unary('sum over axes', (x) => tf.sum(x, [0, -1]), cube),
  unary('sum keeps dims', (x) => tf.sum(x, 1, true), cube),
  unary('sum of bool is int32', (x) => tf.sum(x), bools([4], [1, 0, 1, 1])),
  unary('sum of int32', (x) => tf.sum(x), whole),
  unary('mean', (x) => tf.mean(x, 1), cube),
  unary('mean of int32 is float32', (x) => tf.mean(x), whole),
  unary('prod over an odd axis', (x) => tf.prod(x, 1), floats([2, 7])),
  unary('prod over axes', (x) => tf.prod(x, [0, 2], true), cube),
  unary('prod of int32', (x) => tf.prod(x), ints([3], [2, -3, 4])),
  unary('max', (x) => tf.max(x, 2), cube),
  unary('max of int32', (x) => tf.max(x), whole),
  unary('min keeps dims', (x) => tf.min(x, [0, 2], true), cube),
  unary('all', (x) => tf.all(x, 1), bools([2, 3], [1, 1, 1, 1, 0, 1])),
  unary('any', (x) => tf.any(x, 1, true), bools([2, 3], [0, 0, 0, 1, 0, 1])),
  unary('argMax', (x) => tf.argMax(x, 1), cube),
  unary('argMax, ties', (x) => tf.argMax(x), listed(1, 3, 3, 2)),
  unary('argMin', (x) => tf.argMin(x, -1), cube),
  row(
    'topk of one',
    (x) => {
      const top = tf.topk(x, 1);
      return [top.values, top.indices];
    },
    matrix,
  ),
  unary('softmax', (x) => tf.softmax(x), floats([3, 4], -50, 50)),
  unary('logSoftmax', (x) => tf.logSoftmax(x), floats([3, 4], -50, 50)),
  unary('logSumExp', (x) => tf.logSumExp(x, 1), floats([3, 4], 50, 90)),
  unary('cumsum', (x) => tf.cumsum(x, 1), cube),
  unary('cumsum, exclusive', (x) => tf.cumsum(x, 0, true), floats([5, 2])),
  unary('cumsum, reverse', (x) => tf.cumsum(x, 1, false, true), floats([2, 5])),
  unary('cumsum, exclusive and reverse', (x) => tf.cumsum(x, 0, true, true), floats([7])),
  unary('cumsum beside an infinity', (x) => tf.cumsum(x), listed(1, 2, Infinity, 3)),
  unary('cumprod', (x) => tf.cumprod(x, 1), floats([2, 5])),
  unary('cumprod, exclusive and reverse', (x) => tf.cumprod(x, 0, true, true), floats([5])),
  unary('norm', (x) => tf.norm(x), matrix),
  row(
    'moments',
    (x) => {
      const m = tf.moments(x, [0]);
      return [m.mean, m.variance];
    },
    matrix,
  ),
  row(
    'batchNorm',
    (x, m, v, o, s) =>
      tf.batchNorm(x as tf.Tensor2D, m as tf.Tensor1D, v as tf.Tensor1D, o as tf.Tensor1D, s as tf.Tensor1D, 0.01),
    matrix,
    floats([4]),
    floats([4], 0.5, 2),
    floats([4], -1, 1, 1),
    floats([4], 0.5, 1, 2),
  ),
  row(
    'batchNorm without scale',
    (x, m, v) => tf.batchNorm(x as tf.Tensor2D, m as tf.Tensor1D, v as tf.Tensor1D),
    matrix,
    floats([4]),
    floats([4], 0.5, 2),
  ),

  // Movement.
  unary('reshape', (x) => x.reshape([4, -1]), cube),
  unary('flatten', (x) => x.flatten(), cube),
  unary('expandDims', (x) => tf.expandDims(x, -2), matrix),
  unary('squeeze', (x) => tf.squeeze(x), floats([1, 3, 1])),
  unary('transpose', (x) => tf.transpose(x, [2, 0, 1]), cube),
  unary('transpose of a matrix', (x) => tf.transpose(x), matrix),
  unary('tile', (x) => tf.tile(x, [2, 1, 3]), cube),
  unary('tile of ones', (x) => tf.tile(x, [3, 1]), floats([1, 4])),
  unary('broadcastTo', (x) => tf.broadcastTo(x, [2, 3, 4]), floats([3, 1])),
  unary('slice', (x) => tf.slice(x, [1, 0, 2], [1, -1, 2]), cube),
  unary('stridedSlice', (x) => tf.stridedSlice(x, [0, 1], [3, 4], [2, 2]), matrix),
  unary('stridedSlice, backward', (x) => tf.stridedSlice(x, [-1, 3], [-4, 0], [-1, -2]), matrix),
  unary('stridedSlice, masks', (x) => tf.stridedSlice(x, [1, 0, 1], [2, 0, 3], [1, 1, 1], 0, 2, 0, 0, 1), cube),
  unary(
    'stridedSlice, new axis and ellipsis',
    (x) => tf.stridedSlice(x, [0, 0, 1], [0, 0, 3], [1, 1, 1], 0, 0, 2, 1, 0),
    cube,
  ),
  unary(
    'pad',
    (x) =>
      tf.pad(x, [
        [1, 0],
        [0, 2],
      ]),
    matrix,
  ),
  unary('pad with a value', (x) => tf.pad(x, [[1, 2]], -1.5), listed(1, 2)),
  row('concat', (x, y) => tf.concat([x, y, x], -1), a23, floats([2, 1])),
  row('concat of one', (x) => tf.concat([x], 0), a23),
  row('stack', (x, y) => tf.stack([x, y], 1), a23, b23),
  row('stack of one', (x) => tf.stack([x], -1), a23),
  row('unstack', (x) => tf.unstack(x, 1), cube),
  row('split', (x) => tf.split(x, 2, 2), cube),
  row('split by sizes', (x) => tf.split(x, [1, -1], 1), cube),
  unary('reverse', (x) => tf.reverse(x, [0, -1]), cube),
  unary('range', (x) => tf.range(0, 6, 1, 'int32').add(x), floats([6])),
  unary('range of float32', (x) => tf.range(1, -0.9, -0.5).add(x), floats([4])),
  unary('range going down', (x) => tf.range(4, 1, -1, 'int32').add(x), floats([3])),
  unary('linspace of one', (x) => tf.linspace(-1, 2, 1).mul(x), floats([1])),
  unary('linspace', (x) => tf.linspace(-1, 2, 5).mul(x), floats([5])),

  // Indexing.
  row('gather', (x, i) => tf.gather(x, i), matrix, ints([2], [2, 0])),
  row('gather along the middle', (x, i) => tf.gather(x, i, 1), cube, ints([2, 2], [2, 0, 1, 1])),
  row('gather of bool', (x, i) => tf.gather(x, i), bools([3], [1, 0, 1]), ints([4], [2, 1, 0, 1])),
  row('gatherND', (x, i) => tf.gatherND(x, i), cube, ints([3, 2], [0, 1, 1, 2, 1, 0])),
  row('scatterND', (i, u) => tf.scatterND(i, u, [3, 4]), ints([4, 2], [0, 1, 2, 3, 0, 1, 1, 0]), floats([4])),
  row(
    'unsortedSegmentSum leaves strangers out',
    (x, i) => tf.unsortedSegmentSum(x, i as tf.Tensor1D, 3),
    floats([5, 2]),
    ints([5], [2, 0, 2, 5, -1]),
  ),
  row('oneHot', (i) => tf.oneHot(i, 4), ints([2, 2], [3, 0, 5, 1])),
  row('oneHot with values', (i) => tf.oneHot(i, 3, 0.9, 0.1, 'float32'), ints([2], [2, 0])),

  // Contraction.
  row('matMul', (x, y) => tf.matMul(x, y), matrix, floats([4, 5])),
  row('matMul, both transposed', (x, y) => tf.matMul(x, y, true, true), matrix, floats([5, 3])),
  row('matMul of a batch', (x, y) => tf.matMul(x, y), cube, floats([2, 4, 5])),
  row('matMul of a batch by one matrix', (x, y) => tf.matMul(x, y, false, true), cube, floats([1, 5, 4])),
  row('matMul, batches broadcast', (x, y) => tf.matMul(x, y, true), floats([1, 4, 3]), floats([2, 4, 5])),
  row('matMul of int32', (x, y) => tf.matMul(x, y), ints([2, 2], [1, 2, 3, 4]), ints([2, 2], [5, -6, 7, 8])),
  row('dot', (x, y) => tf.dot(x, y), floats([4]), floats([4], -1, 1)),
  row('outerProduct', (x, y) => tf.outerProduct(x as tf.Tensor1D, y as tf.Tensor1D), floats([3]), floats([4])),
  ...(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'] as const).map((activation) =>
    row(
      `fused matMul, ${activation}`,
      (a, b, bias) => tf.fused.matMul({ a, b, bias, activation }),
      matrix,
      floats([4, 5]),
      floats([5], -1, 1),
    ),
  ),
  row(
    'fused matMul, prelu',
    (a, b, preluActivationWeights) => tf.fused.matMul({ a, b, activation: 'prelu', preluActivationWeights }),
    matrix,
    floats([4, 5]),
    floats([1, 5], 0, 1),
  ),
  ...(['ij,jk->ik', 'ij,jk->ki', 'ij,jk->i'] as const).map((equation) =>
    row(`einsum ${equation}`, (x, y) => tf.einsum(equation, x, y), matrix, floats([4, 5])),
  ),
  row('einsum bij,bjk->bik', (x, y) => tf.einsum('bij,bjk->bik', x, y), cube, floats([2, 4, 5])),
  row('einsum bi,bi->bi', (x, y) => tf.einsum('bi,bi->bi', x, y), a23, b23),
  row('einsum i,j->ij', (x, y) => tf.einsum('i,j->ij', x, y), floats([3]), floats([4])),
  row('einsum ij->ji', (x) => tf.einsum('ij->ji', x), matrix),
  row('einsum ij->j', (x) => tf.einsum('ij->j', x), matrix),

  // Windows; test/trace/convolution.test.ts has the awkward ones.
  row('conv2d', (x, f) => tf.conv2d(image(x), filterOf(f), 2, 'same'), pixels, taps),
  row('conv2d of one picture', (x, f) => tf.conv2d(x as tf.Tensor3D, filterOf(f), 1, 1), floats([4, 5, 3]), taps),
  row(
    'conv1d',
    (x, f) => tf.conv1d(x as tf.Tensor3D, f as tf.Tensor3D, 2, 'same'),
    floats([2, 7, 3]),
    floats([2, 3, 4]),
  ),
  row(
    'conv2dTranspose',
    (x, f) => tf.conv2dTranspose(image(x), filterOf(f), [2, 9, 11, 4], 2, 'same'),
    floats([2, 5, 6, 2]),
    floats([3, 2, 4, 2]),
  ),
  row(
    'depthwiseConv2d',
    (x, f) => tf.depthwiseConv2d(image(x), filterOf(f), [2, 1], 'valid'),
    pixels,
    floats([2, 3, 3, 2]),
  ),
  sums(
    'separableConv2d',
    (x, f, p) => tf.separableConv2d(image(x), filterOf(f), filterOf(p), 1, 'same'),
    pixels,
    floats([3, 3, 3, 2]),
    floats([1, 1, 6, 4]),
  ),
  ...(['linear', 'relu', 'elu'] as const).map((activation) =>
    row(
      `fused conv2d, ${activation}`,
      (x, f, b) =>
        tf.fused.conv2d({
          x: image(x),
          filter: filterOf(f),
          strides: 1,
          pad: 'same',
          bias: b,
          activation,
        }),
      pixels,
      taps,
      floats([4]),
    ),
  ),
  row(
    'fused depthwiseConv2d',
    (x, f, b) =>
      tf.fused.depthwiseConv2d({
        x: image(x),
        filter: filterOf(f),
        strides: [1, 1],
        pad: 'same',
        bias: b,
        activation: 'relu6',
      }),
    pixels,
    floats([2, 2, 3, 2]),
    floats([6]),
  ),
  sums(
    'gradients of conv2d',
    (x, f) => tf.grads((a, b) => tf.sum(tf.square(tf.conv2d(image(a), filterOf(b), 2, 'same'))))([x, f]),
    pixels,
    taps,
  ),
  sums(
    'gradients of depthwiseConv2d',
    (x, f) => tf.grads((a, b) => tf.sum(tf.square(tf.depthwiseConv2d(image(a), filterOf(b), 1, 'same'))))([x, f]),
    pixels,
    floats([2, 2, 3, 2]),
  ),
  row('maxPool', (x) => tf.maxPool(image(x), [3, 2], 2, 'same'), pixels),
  row('avgPool', (x) => tf.avgPool(image(x), [3, 2], 2, 'same'), pixels),
  row('resizeNearestNeighbor', (x) => tf.image.resizeNearestNeighbor(image(x), [10, 18]), pixels),
  // Of one picture: tfjs-cpu mixes several up.
  row(
    'gradient of resizeNearestNeighbor',
    (x) => tf.grad((a) => tf.sum(tf.square(tf.image.resizeNearestNeighbor(image(a), [10, 12]))))(x),
    floats([1, 5, 6, 3]),
  ),
  row('gradient of maxPool', (x) => tf.grad((a) => tf.sum(tf.square(tf.maxPool(image(a), 3, 2, 'same'))))(x), pixels),
  // With 'same', tfjs-cpu divides by the window's size here, and by what lies inside on the way there.
  row(
    'gradient of avgPool',
    (x) => tf.grad((a) => tf.sum(tf.square(tf.avgPool(image(a), [2, 3], 2, 'valid'))))(x),
    pixels,
  ),

  // Losses and metrics.
  row(
    'softmaxCrossEntropy',
    (x, y) => tf.losses.softmaxCrossEntropy(tf.oneHot(y as tf.Tensor1D, 4), x),
    floats([3, 4], -9, 9),
    ints([3], [1, 3, 0]),
  ),
  row(
    'sigmoidCrossEntropy',
    (y, x) => tf.losses.sigmoidCrossEntropy(y.toFloat(), x),
    bools([4], [1, 0, 1, 0]),
    floats([4], -9, 9),
  ),
  row('meanSquaredError', (y, x) => tf.losses.meanSquaredError(y, x), a23, b23),
  row('huberLoss', (y, x) => tf.losses.huberLoss(y, x), a23, b23),
  row('logLoss', (y, x) => tf.losses.logLoss(y, x), listed(0, 1, 1), listed(0.2, 0.7, 0.9)),
  row('hingeLoss', (y, x) => tf.losses.hingeLoss(y, x), listed(0, 1, 1), listed(0.2, 0.7, -0.9)),
  row('cosineDistance', (y, x) => tf.losses.cosineDistance(y, x, 1), a23, b23),
  row(
    'absoluteDifference, weighted',
    (y, x, w) => tf.losses.absoluteDifference(y, x, w),
    a23,
    b23,
    floats([2, 1], 0, 1),
  ),
  row(
    'categoricalCrossentropy of layers',
    (y, x) => tf.metrics.categoricalCrossentropy(tf.oneHot(y, 4), tf.softmax(x)),
    ints([3], [1, 3, 0]),
    matrix,
  ),
  row(
    'sparseCategoricalAccuracy of layers',
    (y, x) => tf.metrics.sparseCategoricalAccuracy(y, x),
    ints([3, 1], [1, 3, 0]),
    matrix,
  ),
  row(
    'confusionMatrix',
    (y, x) => tf.math.confusionMatrix(y as tf.Tensor1D, x as tf.Tensor1D, 3),
    ints([4], [0, 1, 2, 1]),
    ints([4], [0, 2, 2, 1]),
  ),
];
