/** A map from pairs of integers; no string is made of them, since it is asked for every particle of every window. */
export class PairMap<T> {
  private readonly rows = new Map<number, Map<number, T>>();

  get(a: number, b: number): T | undefined {
    return this.rows.get(a)?.get(b);
  }

  set(a: number, b: number, value: T): void {
    const row = this.rows.get(a);
    if (row === undefined) this.rows.set(a, new Map([[b, value]]));
    else row.set(b, value);
  }
}
