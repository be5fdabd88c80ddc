import { evaluateRun, readRunConfig } from '../../outer/run-directory';
import { formatMeasurement } from '../../report';
import { EXIT } from '../exit-codes';
import { checkpointOption, integerOption } from '../options';
import { recordedPlugins } from '../recorded-plugins';
import { engineLimits, openContainer, type CommonOptions, type LimitOptions, type Terminal } from '../session';

export interface EvaluateOptions extends CommonOptions, LimitOptions {
  readonly particles?: string;
  readonly seed?: string;
  readonly checkpoint?: string;
  readonly engine?: string;
}

export async function evaluate(directory: string, options: EvaluateOptions, terminal: Terminal): Promise<number> {
  const particles = integerOption('--particles', options.particles, 1);
  const seed = integerOption('--seed', options.seed, 0);
  const checkpoint = checkpointOption(options.checkpoint);
  const limits = engineLimits(options);
  const { run } = readRunConfig(directory);
  const resolver = await openContainer(recordedPlugins(run.plugins, options.plugin));
  const measurement = await evaluateRun(directory, {
    resolver,
    engine: options.engine,
    limits,
    particles,
    seed,
    checkpoint,
  });
  terminal.out.write(
    options.json === true
      ? `${JSON.stringify(measurement)}\n`
      : `${measurement.metric}: ${formatMeasurement(measurement)}\n`,
  );
  return EXIT.ok;
}
