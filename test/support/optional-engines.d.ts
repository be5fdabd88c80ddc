export const OPTIONAL_ENGINES: Readonly<Record<string, () => boolean>>;
/** Names in OUTERLOOP_REQUIRE. */
export function required(): string[];
/** Engines that are missing and not required, by name. */
export function skippedEngines(): string[];
