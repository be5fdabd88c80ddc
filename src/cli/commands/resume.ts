import { readRunConfig, resumeRun } from '../../outer/run-directory';
import { integerOption } from '../options';
import { concludeRun } from '../outcome';
import { recordedPlugins } from '../recorded-plugins';
import {
  engineLimits,
  interruptible,
  openContainer,
  type CommonOptions,
  type LimitOptions,
  type Terminal,
} from '../session';
import { listenersFor } from './train';

export interface ResumeOptions extends CommonOptions, LimitOptions {
  readonly allowDifferentMachine?: boolean;
  readonly checkpoint?: string;
  readonly engine?: string;
  readonly tensorboard?: boolean;
}

export async function resume(directory: string, options: ResumeOptions, terminal: Terminal): Promise<number> {
  const checkpoint = integerOption('--checkpoint', options.checkpoint, 0);
  const limits = engineLimits(options);
  const { run } = readRunConfig(directory);
  const resolver = await openContainer(recordedPlugins(run.plugins, options.plugin));
  const result = await interruptible(terminal, (signal) =>
    resumeRun(directory, {
      resolver,
      engine: options.engine,
      limits,
      checkpoint,
      allowDifferentMachine: options.allowDifferentMachine,
      tensorboard: options.tensorboard,
      listeners: listenersFor(options, terminal),
      signal,
    }),
  );
  return concludeRun(result, options, terminal);
}
