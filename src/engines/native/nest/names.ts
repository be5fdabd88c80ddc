/** Names of variables in one kernel: x0, x1 … Unique whatever the prefixes. */
export class Names {
  private next = 0;

  fresh(prefix = 'x'): string {
    return `${prefix}${this.next++}`;
  }
}
