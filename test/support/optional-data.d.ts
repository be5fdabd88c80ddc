export const FETCHED_SETS: readonly string[];
export function fetchSets(): ReadonlyMap<string, string>;
