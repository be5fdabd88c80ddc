/** `outerloop check`: a plugin file against the properties that everything built in has. */
import { createContainer, type OuterloopContainer } from '../../container';
import { ConfigurationError, PluginError, REGISTERED_KINDS, type ConfigObject, type Plugin } from '../../contracts';
import { checkAll, type Named, type Outcome } from '../../conformance';
import { parseOverride } from '../../outer';
import { EXIT } from '../exit-codes';
import { loadFromProject } from '../packages';
import { loadPlugin } from '../plugin-loader';
import { openContainer, type CommonOptions, type Terminal } from '../session';

export interface CheckCommandOptions extends CommonOptions {
  readonly set?: readonly string[];
}

/** `sine.hidden=4` → { sine: { hidden: 4 } }. @throws ConfigurationError */
function optionsByName(set: readonly string[]): Record<string, ConfigObject> {
  const options: Record<string, ConfigObject> = {};
  for (const text of set) {
    const { key, value } = parseOverride(text);
    const dot = key.indexOf('.');
    if (dot < 0) throw new ConfigurationError('--set', 'NAME.key=value, such as sine.hidden=4', `"${text}"`);
    const name = key.slice(0, dot);
    options[name] = { ...options[name], [key.slice(dot + 1)]: value };
  }
  return options;
}

/** What one container has and the other has not. */
function added(before: OuterloopContainer, after: OuterloopContainer): Named[] {
  return [...REGISTERED_KINDS, 'preset' as const].flatMap((kind) => {
    const known = new Set(before.names(kind));
    return after
      .names(kind)
      .filter((name) => !known.has(name))
      .map((name) => ({ kind, name }));
  });
}

/** Prints a line for each property; EXIT.failure if one fails. @throws PluginError, ConfigurationError */
export async function check(file: string, options: CheckCommandOptions, { out }: Terminal): Promise<number> {
  const byName = optionsByName(options.set ?? []);
  // Others that it needs; this also quiets TensorFlow.js.
  const without = await openContainer(options.plugin ?? []);
  const others: Plugin[] = await Promise.all((options.plugin ?? []).map(loadPlugin));
  const plugin = await loadPlugin(file);
  const fresh = (): OuterloopContainer => {
    const container = createContainer({ loadPackage: loadFromProject });
    for (const other of others) container.use(other);
    return container.use(plugin, file);
  };
  const registered = added(without, fresh());
  if (registered.length === 0) {
    throw new PluginError(`plugin ${file} registers nothing. Call task, optimizer, … within definePlugin(…).`);
  }
  const counts = { pass: 0, fail: 0, skip: 0 };
  const onOutcome = (outcome: Outcome): void => {
    counts[outcome.outcome]++;
    out.write(options.json === true ? `${JSON.stringify({ type: 'property', ...outcome })}\n` : `${line(outcome)}\n`);
  };
  await checkAll({ registered, fresh, options: byName, onOutcome });
  out.write(
    options.json === true
      ? `${JSON.stringify({ type: 'check', file, ...counts })}\n`
      : `\n${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped\n`,
  );
  return counts.fail === 0 ? EXIT.ok : EXIT.failure;
}

/** The reason of a failure goes below, since it says what to do. */
function line({ kind, name, property, outcome, reason }: Outcome): string {
  const text = `${outcome}  ${kind} "${name}": ${property}`;
  if (reason === undefined) return text;
  return outcome === 'fail' ? `${text}\n      ${reason}` : `${text} (${reason})`;
}
