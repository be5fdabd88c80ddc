import { REGISTERED_KINDS } from '../../contracts';
import { EXIT } from '../exit-codes';
import { experimentFiles } from '../experiments';
import { openContainer, type CommonOptions, type Terminal } from '../session';
import { readConfigFile } from './train';

/** What each experiment shows, by name. */
function experiments(): Record<string, string> {
  const described = [...experimentFiles()].map(([name, file]): [string, string] => {
    const { description } = readConfigFile(file);
    return [name, typeof description === 'string' ? description : ''];
  });
  return Object.fromEntries(described);
}

/** Everything that has a name in a configuration, by kind, and the experiments. */
export async function list(options: CommonOptions, terminal: Terminal): Promise<number> {
  const container = await openContainer(options.plugin ?? []);
  const sections: [string, Record<string, string>][] = [
    ['preset', Object.fromEntries(container.names('preset').map((name) => [name, container.preset(name).description]))],
    ['experiment', experiments()],
    ...REGISTERED_KINDS.map((kind): [string, Record<string, string>] => [
      kind,
      Object.fromEntries(container.names(kind).map((name) => [name, container.registration(kind, name).description])),
    ]),
    ['engine', Object.fromEntries(container.names('engine').map((name) => [name, '']))],
  ];
  if (options.json === true) {
    terminal.out.write(`${JSON.stringify(Object.fromEntries(sections), null, 2)}\n`);
    return EXIT.ok;
  }
  for (const [kind, things] of sections) {
    const names = Object.keys(things);
    const width = Math.max(0, ...names.map((name) => name.length));
    const rows = names.map((name) => `  ${name.padEnd(width)}  ${things[name]}`.trimEnd());
    terminal.out.write(`${kind}\n${rows.length > 0 ? rows.join('\n') : '  (none)'}\n\n`);
  }
  return EXIT.ok;
}
