/** Listeners that show a run while it goes on. */
import { Presets, SingleBar } from 'cli-progress';
import type { ThetaDescription } from '../contracts';
import type { RunEvent, RunListener } from '../outer/events';
import { formatMeasurement, formatNumber } from '../report';
import { dataProgress, type ProgressStream } from './data-progress';

/** `learningRate 0.03 → 0.011 → 0.006`: a curve's first, middle and last value; otherwise the values by name. */
export function summariseTheta(description: ThetaDescription | undefined): string {
  if (description === undefined) return '';
  const curves = Object.entries(description.curves ?? {}).map(([name, { value }]) => {
    const picks = [0, Math.floor((value.length - 1) / 2), value.length - 1];
    return `${name} ${[...new Set(picks)].map((i) => formatNumber(value[i])).join(' → ')}`;
  });
  if (curves.length > 0) return curves.slice(0, 2).join(', ');
  return Object.entries(description.values)
    .slice(0, 4)
    .map(([name, value]) => `${name} ${formatNumber(value)}`)
    .join(', ');
}

/** `75 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 100) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const PHASES = {
  compile: 'tracing and compiling',
  'evaluate-before': 'evaluating the start',
  train: 'meta-training',
  'evaluate-after': 'evaluating the result',
} as const;

/** Weight of the newest iteration in the meta-loss that is shown, which is noisy by itself. */
const SMOOTHING = 0.1;
/** Without a terminal a line is printed this many times a run. */
const LINES = 20;

/**
 * Shows meta-loss (an exponential average), θ in natural units and the time left: a bar on a terminal, a line every
 * twentieth of the run elsewhere.
 */
export function progressListener(stream: ProgressStream): RunListener {
  let bar: SingleBar | undefined;
  let smoothed = NaN;
  let iterations = 0;
  let first = 0;
  let startedAt = 0;
  let dropped = 0;
  let counts = '';

  const onData = dataProgress(stream);

  const line = (text: string): void => {
    stream.write(`${text}\n`);
  };
  const stopBar = (): void => {
    bar?.stop();
    bar = undefined;
  };

  const onIteration = (event: Extract<RunEvent, { type: 'iteration' }>): void => {
    const { record } = event;
    const { meanLoss } = record.estimate;
    if (Number.isFinite(meanLoss)) {
      smoothed = Number.isNaN(smoothed) ? meanLoss : smoothed + SMOOTHING * (meanLoss - smoothed);
    }
    dropped += record.estimate.droppedPairs;
    const done = record.iteration + 1;
    if (record.iteration === first) startedAt = record.wallSeconds;
    const perIteration = (record.wallSeconds - startedAt) / Math.max(1, record.iteration - first);
    const left = record.iteration === first ? '…' : formatDuration(perIteration * (iterations - done));
    const payload = {
      loss: formatNumber(smoothed),
      theta: summariseTheta(event.description),
      left,
      dropped: dropped > 0 ? ` | dropped ${counts} ${dropped}` : '',
    };
    if (stream.isTTY === true) {
      bar ??= startBar(stream, iterations, record.iteration);
      bar.update(done, payload);
    } else if (
      done === iterations ||
      Math.floor((done * LINES) / iterations) > Math.floor(((done - 1) * LINES) / iterations)
    ) {
      line(`${done}/${iterations} | meta-loss ${payload.loss} | ${payload.theta} | left ${left}${payload.dropped}`);
    }
  };

  return (event) => {
    switch (event.type) {
      case 'start':
        iterations = event.iterations;
        first = event.firstIteration;
        counts = event.counts;
        line(`problem ${event.problem}, engine ${event.engine} (${event.engineReason})`);
        return;
      case 'phase':
        stopBar();
        line(`${PHASES[event.phase]} …`);
        return;
      case 'evaluation':
        stopBar();
        line(`${event.when}: ${event.measurement.metric} ${formatMeasurement(event.measurement)}`);
        for (const [name, one] of Object.entries(event.measurement.heldOut ?? {})) {
          line(`${event.when}, ${name}: ${one.metric} ${formatMeasurement(one)}`);
        }
        return;
      case 'iteration':
        onIteration(event);
        return;
      case 'checkpoint':
        return;
      case 'notice':
        stopBar();
        line(`note: ${event.text}`);
        return;
      case 'data':
        onData(event);
        return;
      case 'end':
        stopBar();
        return;
    }
  };
}

function startBar(stream: ProgressStream, total: number, done: number): SingleBar {
  const bar = new SingleBar(
    {
      format: '{bar} {value}/{total} | meta-loss {loss} | {theta} | left {left}{dropped}',
      barsize: 20,
      hideCursor: true,
      // cli-progress takes any writable stream; ours is one in use.
      stream: stream as NodeJS.WritableStream,
      fps: 8,
    },
    Presets.shades_classic,
  );
  bar.start(total, done, { loss: '…', theta: '', left: '…', dropped: '' });
  return bar;
}
