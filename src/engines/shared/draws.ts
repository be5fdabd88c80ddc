/** Random ops drawn on the host: every element follows from (seed, worker, episode, t) and the op's path. */
import type { NodeOf } from '../../graph/ir';
import { episodeKey, fillNormals, foldIn, integers, uniforms, type Key, type Stream } from '../../random';
import { PairMap } from './pair-map';

type RandomAttributes = NodeOf<'random'>['attributes'];

/** The integers that key the draws of the particles of one call. */
export interface DrawContext {
  readonly seed: number;
  readonly workers: Int32Array;
  readonly episodes: Int32Array;
  readonly t: Int32Array;
}

/** Keys of the particles of one call, with the part that does not change during the call computed once. */
export class Drawer {
  private readonly episodeKeys = new Map<Stream, Key[]>();
  /** First particle of the call with the same worker and episode: an antithetic partner, or the particle itself. */
  private readonly partners: Int32Array;

  constructor(private readonly context: DrawContext) {
    const first = new PairMap<number>();
    this.partners = context.workers.map((worker, i) => {
      const episode = context.episodes[i];
      const partner = first.get(worker, episode);
      if (partner === undefined) first.set(worker, episode, i);
      return partner ?? i;
    });
  }

  /** The particle before `i` that sees the same numbers as `i`, or `i` itself. */
  source(i: number, perStep: boolean): number {
    const partner = this.partners[i];
    return !perStep || this.context.t[partner] === this.context.t[i] ? partner : i;
  }

  key(i: number, attributes: RandomAttributes): Key {
    const { seed, workers, episodes, t } = this.context;
    const { stream, perStep, path } = attributes;
    let keys = this.episodeKeys.get(stream);
    if (keys === undefined) {
      keys = Array.from(workers, (worker, p) => episodeKey(seed, stream, worker, episodes[p]));
      this.episodeKeys.set(stream, keys);
    }
    let key = perStep ? foldIn(keys[i], t[i]) : keys[i];
    for (const word of path) key = foldIn(key, word);
    return key;
  }

  /** Draws for all particles into `out` [particles × size], partners' numbers once. */
  fill(attributes: RandomAttributes, size: number, out: Float32Array | Int32Array): void {
    for (let i = 0; i < this.partners.length; i++) {
      const source = this.source(i, attributes.perStep);
      if (source !== i) out.copyWithin(i * size, source * size, (source + 1) * size);
      else drawInto(this.key(i, attributes), attributes, out.subarray(i * size, (i + 1) * size));
    }
  }
}

function drawInto(key: Key, { distribution }: RandomAttributes, out: Float32Array | Int32Array): void {
  if (distribution.name === 'integer') out.set(integers(key, out.length, distribution.low, distribution.high));
  else if (distribution.name === 'uniform') out.set(uniforms(key, out.length));
  // `normal` is float32, so `out` is; Threefry fills it in place.
  else fillNormals(key, out as Float32Array);
}
