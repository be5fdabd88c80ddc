/** How far θ has moved since each worker's present noise was drawn. */
import type { ArrayBundle, NamedArray } from '../../src/contracts';
import { foldIn } from '../../src/random/keys';
import { readArray } from './episodes';

/** Numbers kept a worker, whatever θ's size. */
const WIDTH = 64;
const NAME = 'noiseOrigins';

/**
 * Keeps, for each worker, θ as it was when its noise was drawn: θ itself up to 64 numbers, beyond that a count sketch of 64
 * (Charikar, Chen, Farach-Colton 2002: every coordinate is added, with a fixed random sign, to one of 64 sums), whose
 * squared distances have the right mean and a relative standard deviation of √(2/64). So an estimator that keeps
 * nothing of θ's size goes on doing so.
 */
export class NoiseOrigins {
  private readonly width: number;
  /** [workers × width]; NaN where it is not known. */
  private readonly origins: Float64Array;
  private readonly signs?: Int8Array;

  constructor(
    private readonly workers: number,
    size: number,
  ) {
    this.width = Math.min(size, WIDTH);
    this.origins = new Float64Array(workers * this.width).fill(NaN);
    if (size > WIDTH) {
      const signs = new Int8Array(size);
      let word = 0;
      for (let k = 0; k < size; k++) {
        if (k % 32 === 0) word = foldIn([0, 0], k / 32)[0];
        signs[k] = (word >>> (k % 32)) & 1 ? 1 : -1;
      }
      this.signs = signs;
    }
  }

  /** These workers draw their noise while θ is this. */
  drawn(workers: Int32Array, theta: Float64Array): void {
    const row = this.reduced(theta);
    for (let i = 0; i < workers.length; i++) this.origins.set(row, workers[i] * this.width);
  }

  /** Mean over workers of ‖θ − θ when the noise was drawn‖; NaN if that is known of none. */
  meanDistance(theta: Float64Array): number {
    const { origins, width } = this;
    const row = this.reduced(theta);
    let sum = 0;
    let known = 0;
    for (let w = 0; w < this.workers; w++) {
      let squares = 0;
      for (let k = 0; k < width; k++) squares += (row[k] - origins[w * width + k]) ** 2;
      if (Number.isNaN(squares)) continue;
      sum += Math.sqrt(squares);
      known++;
    }
    return sum / known;
  }

  save(): Record<string, NamedArray> {
    return { [NAME]: { shape: [this.workers, this.width], data: this.origins.slice() } };
  }

  /** A bundle that was written before these were kept leaves them unknown until noise is drawn anew. */
  load(bundle: ArrayBundle): void {
    if (NAME in bundle) this.origins.set(readArray(bundle, NAME, Float64Array, this.origins.length));
    else this.origins.fill(NaN);
  }

  private reduced(theta: Float64Array): Float64Array {
    const { signs, width } = this;
    if (signs === undefined) return theta;
    const sums = new Float64Array(width);
    for (let k = 0; k < theta.length; k++) sums[k % width] += signs[k] * theta[k];
    return sums;
  }
}
