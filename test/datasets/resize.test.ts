import * as tf from '@tensorflow/tfjs';
import { resizeBilinear } from '../../datasets/resize';
import { mnist } from '../../datasets';
import { uniforms } from '../../src/random';

/**
 * The definition, in another form than the code's: each output is the sum over ALL input pixels of its value times the
 * product of two triangles of width one input pixel, the sampling point clamped to the image.
 */
function definition(pixels: Uint8Array, height: number, width: number, size: number): Float64Array {
  const triangle = (distance: number): number => Math.max(0, 1 - Math.abs(distance));
  const point = (i: number, from: number): number =>
    Math.min(from - 1, Math.max(0, ((2 * i + 1) * from - size) / (2 * size)));
  const out = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          out[i * size + j] += pixels[y * width + x] * triangle(point(i, height) - y) * triangle(point(j, width) - x);
        }
      }
    }
  }
  return out;
}

const noise = (count: number): Uint8Array => Uint8Array.from(uniforms([7, 11], count), (u) => Math.floor(u * 256));

test.each([
  [28, 28, 8],
  [28, 28, 14],
  [28, 28, 32],
  [28, 28, 9],
  [5, 7, 3],
  [5, 7, 1],
  [1, 1, 4],
])('%i × %i to %i: the nearest integers to the float64 definition', (height, width, size) => {
  const pixels = noise(height * width);
  const got = resizeBilinear({ pixels, rows: 1, height, width, channels: 1 }, size);
  const expected = definition(pixels, height, width, size);
  expect(got.length).toBe(size * size);
  // Rounding moves a value by half at most; 1e-9 is for sums that fall on a half only up to float64 rounding.
  const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - got[i])), 0);
  expect(worst).toBeLessThanOrEqual(0.5 + 1e-9);
});

test('halves are rounded up, and a constant image stays constant', () => {
  const pixels = Uint8Array.of(0, 1, 0, 1);
  expect([...resizeBilinear({ pixels, rows: 1, height: 2, width: 2, channels: 1 }, 1)]).toEqual([1]);
  const white = new Uint8Array(28 * 28).fill(255);
  expect(new Set(resizeBilinear({ pixels: white, rows: 1, height: 28, width: 28, channels: 1 }, 9))).toEqual(
    new Set([255]),
  );
});

test('rows and channels are resized on their own', () => {
  const planes = [noise(30), noise(60).slice(30), noise(90).slice(60), noise(120).slice(90)];
  // Two rows of two channels, interleaved.
  const pixels = new Uint8Array(120);
  planes.forEach((plane, p) => plane.forEach((value, i) => (pixels[(p >> 1) * 60 + 2 * i + (p & 1)] = value)));
  const got = resizeBilinear({ pixels, rows: 2, height: 5, width: 6, channels: 2 }, 4);
  planes.forEach((plane, p) => {
    const alone = resizeBilinear({ pixels: plane, rows: 1, height: 5, width: 6, channels: 1 }, 4);
    expect([...alone].map((_, i) => got[(p >> 1) * 32 + 2 * i + (p & 1)])).toEqual([...alone]);
  });
});

test('agrees with TensorFlow.js on MNIST, within rounding to integers', async () => {
  const rows = 20;
  const full = (await mnist()).splits.test.xs.table.values;
  const small = (await mnist({ size: 8 })).splits.test.xs.table.values;
  const expected = tf.tidy(() =>
    tf.image
      .resizeBilinear(
        tf.tensor4d(Float32Array.from(full.subarray(0, rows * 784)), [rows, 28, 28, 1]),
        [8, 8],
        false,
        true,
      )
      .dataSync(),
  );
  // Half for the rounding, and float32 interpolation of numbers up to 255: four roundings of 2⁻²⁴·256.
  const tolerance = 0.5 + 4 * 2 ** -16;
  expected.forEach((value, i) => expect(Math.abs(value - small[i])).toBeLessThanOrEqual(tolerance));
  expect(Math.max(...expected)).toBeGreaterThan(200);
});
