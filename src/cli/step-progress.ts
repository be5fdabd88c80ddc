/** How far a measurement has come, whose steps cost the same: a bar on a terminal, lines elsewhere. */
import { Presets, SingleBar } from 'cli-progress';
import type { ProgressStream } from './data-progress';
import { formatDuration } from './progress';

export interface StepProgress {
  /** After some steps, the first time without an end in sight. @param what is being done, if that changes */
  update(done: number, what?: string): void;
  stop(): void;
}

/** Without a terminal a line is printed this many times, if it takes long at all. */
const LINES = 10;
/** From this many seconds on, the time that it will take is told after the first steps. */
const LONG = 10;

/** @param unit of what is counted, e.g. `inner steps` */
export function stepProgress(stream: ProgressStream, total: number, unit: string): StepProgress {
  let bar: SingleBar | undefined;
  let last = 0;
  let told = false;
  let long = false;
  /** Where the pace is counted from: the first steps bring memory and caches along. */
  let first: { readonly at: number; readonly done: number } | undefined;
  return {
    update: (done, what = '') => {
      const now = performance.now();
      const moved = first !== undefined && done > first.done;
      const seconds = moved ? (now - first!.at) / 1000 / (done - first!.done) : NaN;
      const left = Number.isFinite(seconds) ? formatDuration(seconds * (total - done)) : '…';
      if (first === undefined) first = { at: now, done };
      else if (moved && !told) {
        told = true;
        long = seconds * total >= LONG;
        if (long) {
          bar?.stop();
          bar = undefined;
          stream.write(`it will take about ${formatDuration(seconds * (total - done))}\n`);
        }
      }
      if (stream.isTTY === true) {
        if (bar === undefined) {
          bar = new SingleBar(
            {
              format: '{bar} {value}/{total} {unit}{what} | left {left}',
              barsize: 20,
              hideCursor: true,
              // cli-progress takes any writable stream; ours is one in use.
              stream: stream as NodeJS.WritableStream,
              fps: 8,
            },
            Presets.shades_classic,
          );
          bar.start(total, done, { unit, what: '', left });
        }
        bar.update(done, { unit, what: what === '' ? '' : ` | ${what}`, left });
      } else if (long && Math.floor((done * LINES) / total) > Math.floor((last * LINES) / total)) {
        stream.write(`${done}/${total} ${unit}${what === '' ? '' : ` | ${what}`} | left ${left}\n`);
      }
      last = done;
    },
    stop: () => bar?.stop(),
  };
}
