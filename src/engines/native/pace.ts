/** What calls have taken, for a guess at what the next one will take. */

/** A call that took longer counts for so much more at most: threads that wait for a processor say nothing of the work. */
const HICCUP = 1.5;

/** Time of a call's jobs: spread evenly over its threads, and of all threads together. */
export interface Took {
  readonly nanoseconds: number;
  readonly work: number;
}

/** Calls of one kind, by their particles and steps. */
export class Pace {
  private count = 0;
  private steps = 0;
  private nanoseconds = Infinity;
  private work = Infinity;

  /**
   * Nanoseconds that a call takes at most, by the last one; Infinity before the first. What does not grow with particles
   * or steps counts as if it did where there are more of them, and in full where there are fewer.
   */
  atMost(count: number, steps: number): number {
    if (this.count === 0) return Infinity;
    return this.nanoseconds * Math.max(1, count / this.count) * Math.max(1, steps / this.steps);
  }

  /** Nanoseconds that a call takes if all of it grows with particles and steps. */
  likely(count: number, steps: number): number {
    return this.count === 0 ? Infinity : this.nanoseconds * (count / this.count) * (steps / this.steps);
  }

  /** Nanoseconds of all threads together, if all of it grows with particles and steps; Infinity before the first call. */
  workOf(count: number, steps: number): number {
    return this.count === 0 ? Infinity : this.work * (count / this.count) * (steps / this.steps);
  }

  took(count: number, steps: number, { nanoseconds, work }: Took): void {
    if (count === 0) return;
    const most = count === this.count && steps === this.steps ? HICCUP * this.nanoseconds : Infinity;
    this.count = count;
    this.steps = steps;
    this.nanoseconds = Math.min(nanoseconds, most);
    this.work = work;
  }
}
