/** Writes `outerloop.mjs` and `outerloop.min.js` to a folder. */
export function bundle(folder: string): Promise<void>;
