/** Taps of one output coordinate on the input axis. */
interface Tap {
  readonly low: number;
  readonly high: number;
  /** Weight of `high`; `low` has the rest. */
  readonly weight: number;
}

/** Half-pixel centres: output i looks at input (i + ½)·from/to − ½, clamped to the image. */
function taps(from: number, to: number): Tap[] {
  return Array.from({ length: to }, (_, i) => {
    const centre = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(centre);
    return { low, high: Math.min(low + 1, from - 1), weight: centre - low };
  });
}

/**
 * Bilinear resize of uint8 images [rows, height, width, channels] to [rows, size, size, channels]: half-pixel centres, no
 * antialiasing, which is `tf.image.resize` of TensorFlow 2 and `tf.image.resizeBilinear(…, false, true)` of
 * TensorFlow.js. Interpolated in float64, then rounded to the nearest integer (halves up), so that tables stay uint8:
 * the rounding moves a pixel by at most 1/510 of the full range.
 */
export function resizeBilinear(
  images: {
    readonly pixels: Uint8Array;
    readonly rows: number;
    readonly height: number;
    readonly width: number;
    readonly channels: number;
  },
  size: number,
): Uint8Array {
  const { pixels, rows, height, width, channels } = images;
  const vertical = taps(height, size);
  const horizontal = taps(width, size);
  const out = new Uint8Array(rows * size * size * channels);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const start = row * height * width * channels;
    for (const y of vertical) {
      const top = start + y.low * width * channels;
      const bottom = start + y.high * width * channels;
      for (const x of horizontal) {
        for (let c = 0; c < channels; c++) {
          const left = x.low * channels + c;
          const right = x.high * channels + c;
          const upper = pixels[top + left] * (1 - x.weight) + pixels[top + right] * x.weight;
          const lower = pixels[bottom + left] * (1 - x.weight) + pixels[bottom + right] * x.weight;
          // Stored in a Uint8Array, a positive number loses its fraction.
          out[at++] = upper * (1 - y.weight) + lower * y.weight + 0.5;
        }
      }
    }
  }
  return out;
}
