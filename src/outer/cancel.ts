import { CancelledError } from '../contracts';

/** Undefined if the work was cancelled. */
export async function unlessCancelled<R>(work: Promise<R>): Promise<R | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CancelledError) return undefined;
    throw error;
  }
}

/** A signal that is aborted `milliseconds` after the given one is; `dispose` of it when nothing listens any more. */
export function afterGrace(
  signal: AbortSignal | undefined,
  milliseconds: number,
): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => controller.abort(), milliseconds);
  };
  if (signal?.aborted === true) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    dispose: () => {
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(timer);
    },
  };
}
