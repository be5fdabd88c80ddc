import { STREAMS, type Stream } from '../../../random';
import type { DrawKey } from '../plan/program';

/** Keys of the calls of one function: each is derived once, at the start of the window or of the step. */
export class Keys {
  private readonly names = new Map<string, string>();
  readonly once: string[] = [];
  readonly perStep: string[] = [];
  private readonly streams = new Map<Stream, string>();

  name(key: DrawKey): string {
    const id = JSON.stringify([key.stream, key.perStep, key.path]);
    const known = this.names.get(id);
    if (known !== undefined) return known;
    const name = `key${this.names.size}`;
    this.names.set(id, name);
    const lines = key.perStep ? this.perStep : this.once;
    const episode = this.episode(key.stream);
    lines.push(`uint32_t ${name}[2] = {${episode}[0], ${episode}[1]};`);
    if (key.perStep) lines.push(`ol_fold(${name}, (uint32_t)*t);`);
    for (const word of key.path) lines.push(`ol_fold(${name}, ${word >>> 0}u);`);
    return name;
  }

  private episode(stream: Stream): string {
    let name = this.streams.get(stream);
    if (name === undefined) {
      name = `episode_${stream}`;
      this.streams.set(stream, name);
      this.once.push(
        `uint32_t ${name}[2];`,
        `ol_episode_key(seed[0], seed[1], ${STREAMS[stream]}u, (uint32_t)worker, (uint32_t)episode, ${name});`,
      );
    }
    return name;
  }
}
