/** How far a data set has come. */
import { Presets, SingleBar } from 'cli-progress';
import type { DataProgress } from '../contracts';

/** Where lines and bars go; `process.stderr` in use, a string in tests. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Without a terminal a line is printed each time that this many percent more have come. */
const STEP = 20;

/** `55 MB`, `1.2 GB`. */
export function formatBytes(bytes: number): string {
  return bytes < 999.5e6 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A bar on a terminal, lines elsewhere; one data set after another. */
export function dataProgress(stream: ProgressStream): (progress: DataProgress) => void {
  let bar: SingleBar | undefined;
  let next = 0;
  return ({ dataset, done, total, over }) => {
    if (stream.isTTY === true) {
      const payload = { dataset, have: formatBytes(done), all: formatBytes(total) };
      if (bar === undefined) {
        bar = new SingleBar(
          {
            format: 'fetching {dataset} {bar} {have} of {all}',
            barsize: 20,
            hideCursor: true,
            // cli-progress takes any writable stream; ours is one in use.
            stream: stream as NodeJS.WritableStream,
            fps: 8,
          },
          Presets.shades_classic,
        );
        bar.start(total, done, payload);
      }
      bar.update(done, payload);
      if (over) {
        bar.stop();
        bar = undefined;
      }
      return;
    }
    // A fetch that starts anew counts from zero again.
    if (done === 0) next = 0;
    const percent = Math.floor((100 * done) / total);
    if (percent < next || (over && done < total)) return;
    stream.write(`fetching ${dataset}: ${percent} % of ${formatBytes(total)}\n`);
    next = percent === 100 ? 0 : (Math.floor(percent / STEP) + 1) * STEP;
  };
}
