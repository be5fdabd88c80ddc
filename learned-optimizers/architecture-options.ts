/** Options that learned architectures share, and how a call from code is checked. */
import { z } from 'zod';
import { ConfigurationError } from '../src/contracts';

const positive = z.number({ error: 'a positive number' }).positive({ error: 'a positive number' });
const width = z.int({ error: 'a positive integer' }).positive({ error: 'a positive integer' });
const decay = z
  .number({ error: 'a number from 0 to below 1' })
  .min(0, { error: 'a number from 0 to below 1' })
  .lt(1, { error: 'a number from 0 to below 1' });

export const architectureOptions = {
  positive,
  width,
  decay,
  widths: z.array(width, { error: 'a list of widths' }),
  decays: z.array(decay, { error: 'a list of decays' }).min(1, { error: 'at least one decay' }),
  scales: z.array(positive, { error: 'a list of time scales' }).min(1, { error: 'at least one time scale' }),
};

/** The options with defaults filled in. @throws ConfigurationError for the first that is wrong, naming it */
export function checkArchitecture<S extends z.ZodType>(schema: S, given: unknown): z.output<S> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue.code === 'unrecognized_keys') {
    throw new ConfigurationError('optimizer', 'no other option than those it has', `"${issue.keys.join('", "')}"`);
  }
  const got = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], given);
  throw new ConfigurationError(
    `optimizer.${issue.path.join('.')}`,
    issue.message,
    got === undefined ? 'nothing' : JSON.stringify(got),
  );
}
