/** Convolutions and pools as they are written in textbooks: loops over every place, tap and channel, in float64. */
export interface Setting {
  readonly name: string;
  /** [n, h, w, channels]. */
  readonly x: readonly [number, number, number, number];
  /** [h, w, channels, outputs]; of a depthwise one [h, w, channels, multiplier]. */
  readonly filter: readonly [number, number, number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Zeros [top, bottom], [left, right] if it is no word. */
  readonly pad: 'same' | 'valid' | readonly [readonly [number, number], readonly [number, number]];
  readonly depthwise?: boolean;
}

/** Awkward ones: stride > size, even kernels with 'same', dilation, a rest that no window sees, a multiplier. */
export const SETTINGS: readonly Setting[] = [
  { name: 'plain', x: [2, 5, 6, 3], filter: [3, 3, 3, 4], strides: [1, 1], dilations: [1, 1], pad: 'valid' },
  { name: 'same, even kernel', x: [2, 5, 4, 2], filter: [2, 4, 2, 3], strides: [1, 1], dilations: [1, 1], pad: 'same' },
  { name: 'same, strides', x: [1, 7, 6, 2], filter: [3, 2, 2, 2], strides: [2, 3], dilations: [1, 1], pad: 'same' },
  { name: 'a rest', x: [2, 8, 7, 1], filter: [3, 2, 1, 2], strides: [3, 2], dilations: [1, 1], pad: 'valid' },
  { name: 'stride above size', x: [1, 7, 8, 2], filter: [2, 1, 2, 3], strides: [3, 4], dilations: [1, 1], pad: 'same' },
  { name: 'dilated', x: [2, 7, 8, 2], filter: [3, 2, 2, 3], strides: [1, 1], dilations: [2, 3], pad: 'valid' },
  { name: 'dilated, same', x: [1, 5, 6, 2], filter: [3, 3, 2, 2], strides: [1, 1], dilations: [2, 1], pad: 'same' },
  {
    name: 'explicit padding',
    x: [1, 5, 4, 2],
    filter: [3, 3, 2, 2],
    strides: [2, 1],
    dilations: [1, 1],
    pad: [
      [2, 0],
      [1, 3],
    ],
  },
  { name: '1×1', x: [2, 3, 4, 5], filter: [1, 1, 5, 6], strides: [1, 1], dilations: [1, 1], pad: 'same' },
  { name: '1×1, strides', x: [2, 5, 4, 3], filter: [1, 1, 3, 2], strides: [2, 2], dilations: [1, 1], pad: 'same' },
  { name: 'the whole image', x: [2, 4, 3, 2], filter: [4, 3, 2, 5], strides: [1, 1], dilations: [1, 1], pad: 'valid' },
  { name: 'many channels', x: [2, 6, 5, 9], filter: [3, 3, 9, 17], strides: [1, 1], dilations: [1, 1], pad: 'same' },
  {
    name: 'depthwise',
    x: [2, 5, 6, 3],
    filter: [3, 2, 3, 1],
    strides: [1, 1],
    dilations: [1, 1],
    pad: 'same',
    depthwise: true,
  },
  {
    name: 'depthwise, multiplier and strides',
    x: [1, 6, 5, 2],
    filter: [2, 3, 2, 3],
    strides: [2, 2],
    dilations: [1, 1],
    pad: 'same',
    depthwise: true,
  },
  {
    name: 'depthwise, dilated',
    x: [1, 7, 6, 2],
    filter: [3, 2, 2, 2],
    strides: [1, 1],
    dilations: [2, 2],
    pad: 'valid',
    depthwise: true,
  },
];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** First place of a window and the number of windows, by the formulas that TensorFlow documents for its paddings. */
export function lineOf(
  extent: number,
  size: number,
  stride: number,
  dilation: number,
  pad: 'same' | 'valid' | readonly [number, number],
): { readonly out: number; readonly before: number } {
  const span = (size - 1) * dilation + 1;
  if (pad === 'valid') return { out: Math.ceil((extent - span + 1) / stride), before: 0 };
  if (pad === 'same') {
    const out = Math.ceil(extent / stride);
    return { out, before: Math.floor(Math.max(0, (out - 1) * stride + span - extent) / 2) };
  }
  return { out: Math.floor((extent + pad[0] + pad[1] - span) / stride) + 1, before: pad[0] };
}

/** Calls `visit` with the flat places of output, input and filter of every product. */
function products(setting: Setting, visit: (y: number, x: number, filter: number) => void): void {
  const { x, filter, strides, dilations, pad, depthwise = false } = setting;
  const [n, height, width, channels] = x;
  const [kh, kw, , last] = filter;
  const [rows, columns] = [0, 1].map((i) =>
    lineOf(x[i + 1], filter[i], strides[i], dilations[i], typeof pad === 'string' ? pad : pad[i]),
  );
  const outputs = depthwise ? channels * last : last;
  for (let b = 0; b < n; b++)
    for (let i = 0; i < rows.out; i++)
      for (let j = 0; j < columns.out; j++)
        for (let p = 0; p < kh; p++)
          for (let q = 0; q < kw; q++) {
            const row = i * strides[0] - rows.before + p * dilations[0];
            const column = j * strides[1] - columns.before + q * dilations[1];
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            for (let c = 0; c < channels; c++)
              for (let o = 0; o < last; o++)
                visit(
                  ((b * rows.out + i) * columns.out + j) * outputs + (depthwise ? c * last + o : o),
                  ((b * height + row) * width + column) * channels + c,
                  ((p * kw + q) * channels + c) * last + o,
                );
          }
}

export function outputShape({ x, filter, strides, dilations, pad, depthwise = false }: Setting): number[] {
  const [rows, columns] = [0, 1].map(
    (i) => lineOf(x[i + 1], filter[i], strides[i], dilations[i], typeof pad === 'string' ? pad : pad[i]).out,
  );
  return [x[0], rows, columns, depthwise ? x[3] * filter[3] : filter[3]];
}

type Numbers = ArrayLike<number>;

export function convolve(setting: Setting, x: Numbers, filter: Numbers): Float64Array {
  const y = new Float64Array(sizeOf(outputShape(setting)));
  products(setting, (to, from, tap) => (y[to] += x[from] * filter[tap]));
  return y;
}

/** The gradient of Σ g·y by the input and by the filter. */
export function gradients(
  setting: Setting,
  x: Numbers,
  filter: Numbers,
  g: Numbers,
): readonly [Float64Array, Float64Array] {
  const byX = new Float64Array(sizeOf(setting.x));
  const byFilter = new Float64Array(sizeOf(setting.filter));
  products(setting, (to, from, tap) => {
    byX[from] += g[to] * filter[tap];
    byFilter[tap] += g[to] * x[from];
  });
  return [byX, byFilter];
}

export interface Pool {
  readonly name: string;
  readonly x: readonly [number, number, number, number];
  readonly size: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly pad: 'same' | 'valid';
}

export const POOLS: readonly Pool[] = [
  { name: '2×2', x: [2, 4, 6, 3], size: [2, 2], strides: [2, 2], pad: 'valid' },
  { name: '2×2 with a rest', x: [1, 5, 7, 2], size: [2, 2], strides: [2, 2], pad: 'valid' },
  { name: '3×3 that overlap, same', x: [2, 5, 4, 2], size: [3, 3], strides: [2, 2], pad: 'same' },
  { name: '2×3, stride 1, same', x: [1, 4, 5, 2], size: [2, 3], strides: [1, 1], pad: 'same' },
  { name: 'stride above size', x: [1, 7, 8, 2], size: [2, 2], strides: [3, 4], pad: 'valid' },
];

/** What each window of a pool sees of its channel: lists by flat place of the result. */
export function poolWindows({ x: shape, size, strides, pad }: Pool, x: Numbers): number[][] {
  const [n, height, width, channels] = shape;
  const [rows, columns] = [0, 1].map((i) => lineOf(shape[i + 1], size[i], strides[i], 1, pad));
  const seen: number[][] = [];
  for (let b = 0; b < n; b++)
    for (let i = 0; i < rows.out; i++)
      for (let j = 0; j < columns.out; j++)
        for (let c = 0; c < channels; c++) {
          const list: number[] = [];
          for (let p = 0; p < size[0]; p++)
            for (let q = 0; q < size[1]; q++) {
              const row = i * strides[0] - rows.before + p;
              const column = j * strides[1] - columns.before + q;
              if (row >= 0 && row < height && column >= 0 && column < width)
                list.push(x[((b * height + row) * width + column) * channels + c]);
            }
          seen.push(list);
        }
  return seen;
}
