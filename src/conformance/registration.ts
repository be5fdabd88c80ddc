/** Properties of how a thing is registered: its options. */
import { ConfigurationError, OuterloopError, type ConfigObject, type RegisteredKind } from '../contracts';
import { fillDefaults, parseOptions } from '../outer/config-check';
import type { Resolver } from '../outer';
import { PropertyError, type Property } from './property';

export interface RegistrationSubject {
  readonly kind: RegisteredKind;
  readonly name: string;
  /** Options that it can be made with. */
  readonly options: ConfigObject;
  readonly resolver: Resolver;
  /** Makes it. */
  readonly make: (options: ConfigObject) => Promise<unknown>;
}

const isMade: Property<RegistrationSubject> = {
  name: 'is made from its options as a file holds them',
  first: true,
  check: async ({ kind, name, options, resolver, make }) => {
    const { options: schema } = resolver.registration(kind, name);
    await make(options).catch((error: unknown) => {
      if (!(error instanceof ConfigurationError) || !error.key.startsWith(`${kind}.`)) throw error;
      throw new PropertyError(error.expected, `${error.got} (${error.key})`, `Give it by --set ${name}.KEY=VALUE.`);
    });
    const filled = fillDefaults(schema, options);
    const read = JSON.parse(JSON.stringify(filled)) as ConfigObject;
    const again = JSON.stringify(fillDefaults(schema, read));
    if (again !== JSON.stringify(filled)) {
      const advice = 'Defaults are plain data that the schema takes: numbers, strings, lists.';
      throw new PropertyError(`options ${JSON.stringify(filled)} again`, again, advice);
    }
    await make(read);
    return undefined;
  },
};

const UNKNOWN = 'surelyNoOption';

const refusesUnknown: Property<RegistrationSubject> = {
  name: 'refuses an option that it does not have, by name',
  check: ({ kind, name, options, resolver }) => {
    const advice = 'Describe the options by z.strictObject({…}).';
    try {
      parseOptions(resolver.registration(kind, name), { ...options, [UNKNOWN]: 1 }, kind, `${kind} "${name}"`);
    } catch (error) {
      if (error instanceof OuterloopError && error.message.includes(UNKNOWN)) return undefined;
      throw new PropertyError(`an error that names "${UNKNOWN}"`, `"${String(error)}"`, advice);
    }
    throw new PropertyError(`an error for option "${UNKNOWN}"`, 'none', advice);
  },
};

export const REGISTRATION_PROPERTIES: readonly Property<RegistrationSubject>[] = [isMade, refusesUnknown];
