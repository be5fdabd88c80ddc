import { ConfigurationError } from '../contracts';

/** The value of a flag that takes an integer of at least `least`. @throws ConfigurationError */
export function integerOption(flag: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
    throw new ConfigurationError(flag, `an integer of at least ${least}`, `"${text}"`);
  }
  return value;
}
