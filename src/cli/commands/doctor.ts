import { createEngine, probeEngines } from '../../engines';
import { theseVersions, thisMachine } from '../../outer/run-directory';
import { EXIT } from '../exit-codes';
import { loadFromProject } from '../packages';
import { openContainer, type CommonOptions, type Terminal } from '../session';

/** Which engines run here, which one `auto` takes, and what the others lack. */
export async function doctor(options: CommonOptions, terminal: Terminal): Promise<number> {
  await openContainer(options.plugin ?? []);
  const { out } = terminal;
  const versions = theseVersions();
  const machine = thisMachine();
  const probes = await probeEngines(loadFromProject);
  const { engine, reason } = await createEngine('auto', loadFromProject);
  const auto = { engine: engine.name, reason };
  await engine.dispose();
  if (options.json === true) {
    out.write(`${JSON.stringify({ versions, machine, engines: probes, auto }, null, 2)}\n`);
    return EXIT.ok;
  }
  out.write(`outerloop ${versions.outerloop}, Node ${versions.node}, TensorFlow.js ${versions.tfjs}\n`);
  out.write(`${machine.cpu} (${machine.platform} ${machine.architecture})\n\nengines\n`);
  const width = Math.max(...probes.map(({ name }) => name.length));
  for (const { name, description, available, reason: why, details = {} } of probes) {
    out.write(
      `  ${available ? 'yes' : 'no '}  ${name.padEnd(width)}  ${description}${available ? '' : `\n       ${why}`}\n`,
    );
    const labels = Math.max(...Object.keys(details).map(({ length }) => length));
    for (const [label, text] of Object.entries(details)) out.write(`       ${label.padEnd(labels)}  ${text}\n`);
  }
  out.write(`\nauto takes ${auto.engine}: ${auto.reason}\n`);
  return EXIT.ok;
}
