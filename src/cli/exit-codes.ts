/** What the shell sees; documented in the README and in `outerloop --help`. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;
