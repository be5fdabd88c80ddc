export const BROWSER: 'browser';
export function browserPath(): string | undefined;
