/** `--json`: one JSON object a line. */
import { metricsLine } from '../outer/result';
import type { RunEvent, RunListener } from '../outer/events';

/** Typed arrays as arrays; NaN and infinities, which JSON lacks, as null. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Float64Array || value instanceof Float32Array) return Array.from(value);
  return value;
}

/** Iterations are printed as lines of metrics.jsonl, with `type`. @param more stands in every line */
export function jsonListener(stream: { write(text: string): unknown }, more: object = {}): RunListener {
  return (event: RunEvent) => {
    const line = event.type === 'iteration' ? { type: event.type, ...metricsLine(event.record) } : event;
    stream.write(`${JSON.stringify({ ...line, ...more }, plain)}\n`);
  };
}
