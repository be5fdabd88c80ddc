/** Where runs that go on side by side wait for one another, so that what they ask for can be done in one call. */

/** What one run asks for. */
export interface Asked<Request, Answer> {
  readonly run: number;
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Serves requests of one kind: resolves or rejects every one of them, and settles once that is done. */
export type Serve<Request, Answer> = (asked: readonly Asked<Request, Answer>[]) => Promise<void>;

interface Waiting {
  readonly run: number;
  readonly key: object;
  readonly detail: string;
  readonly begin: (together: readonly Waiting[]) => Promise<void>;
  readonly asked: Asked<never, never>;
}

/**
 * Requests are held until every run that is left has one, then served: those of one kind together, kinds one after
 * another. Which runs are served together never depends on how long anything takes.
 */
export class Meeting {
  private readonly present: Set<number>;
  private waiting: Waiting[] = [];

  /** @param runs numbered from 0 */
  constructor(runs: number) {
    this.present = new Set(Array.from({ length: runs }, (_, run) => run));
  }

  /** @param key and `detail`: what the requests that are served together have in common */
  ask<Request, Answer>(
    run: number,
    { key, detail, serve }: { readonly key: object; readonly detail: string; readonly serve: Serve<Request, Answer> },
    request: Request,
  ): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const begin = (together: readonly Waiting[]): Promise<void> =>
        serve(together.map(({ asked }) => asked as unknown as Asked<Request, Answer>));
      const asked = { run, request, resolve, reject } as unknown as Asked<never, never>;
      this.waiting.push({ run, key, detail, begin, asked });
      this.look();
    });
  }

  /** The run asks no more. */
  leave(run: number): void {
    if (this.present.delete(run)) this.look();
  }

  private look(): void {
    const runs = new Set(this.waiting.map(({ run }) => run));
    if (this.waiting.length === 0 || [...this.present].some((run) => !runs.has(run))) return;
    const all = this.waiting.sort((a, b) => a.run - b.run);
    this.waiting = [];
    void this.serveAll(all);
  }

  private async serveAll(all: readonly Waiting[]): Promise<void> {
    const left = new Set(all);
    for (const first of all) {
      if (!left.has(first)) continue;
      // One of each run at most: a run's second request of a kind comes after its first.
      const together: Waiting[] = [];
      for (const one of left) {
        const same = one.key === first.key && one.detail === first.detail;
        if (same && !together.some(({ run }) => run === one.run)) together.push(one);
      }
      for (const one of together) left.delete(one);
      try {
        await first.begin(together);
      } catch (error) {
        for (const { asked } of together) asked.reject(error);
      }
    }
  }
}
