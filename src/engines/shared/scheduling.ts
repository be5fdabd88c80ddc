/** Runs asynchronous calls one after another, in the order in which they were made. */
export class Sequence {
  private last: Promise<unknown> = Promise.resolve();

  run<T>(call: () => Promise<T>): Promise<T> {
    const result = this.last.then(call);
    // A call that failed must not fail those after it.
    this.last = result.catch(() => undefined);
    return result;
  }
}

/** Gives the event loop a turn now and then, so that signals, progress bars and timers run during a long window. */
export class Breather {
  private last = Date.now();

  constructor(private readonly everyMilliseconds = 60) {}

  async breathe(): Promise<void> {
    if (Date.now() - this.last < this.everyMilliseconds) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.last = Date.now();
  }
}
