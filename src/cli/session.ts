/** What every command needs: where to print, a container with the plugins of the command line, and Ctrl-C. */
import { resolve } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { createContainer, type OuterloopContainer } from '../container';
import type { EngineLimits } from '../engines';
import { byteOption, integerOption } from './options';
import { loadFromProject } from './packages';
import { loadPlugin } from './plugin-loader';

/** Where a command prints: results to `out`, progress and messages to `err`. */
export interface Terminal {
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
}

/** Options that several commands share. */
export interface CommonOptions {
  readonly plugin?: readonly string[];
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Options of commands that run on an engine. */
export interface LimitOptions {
  readonly memory?: string;
  readonly threads?: string;
}

/** What the engine may take of the machine; OUTERLOOP_THREADS stands for an absent `--threads`. @throws ConfigurationError */
export function engineLimits(
  options: LimitOptions,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): EngineLimits {
  const memoryBytes = byteOption('--memory', options.memory);
  const variable = environment.OUTERLOOP_THREADS === '' ? undefined : environment.OUTERLOOP_THREADS;
  const threads = integerOption('--threads', options.threads, 1) ?? integerOption('OUTERLOOP_THREADS', variable, 1);
  return { ...(memoryBytes === undefined ? {} : { memoryBytes }), ...(threads === undefined ? {} : { threads }) };
}

/** A container with everything built in and the plugins of these files, each once. @throws PluginError */
export async function openContainer(plugins: readonly string[]): Promise<OuterloopContainer> {
  // TensorFlow.js greets every Node user with a paragraph of advice otherwise; doctor gives it when asked.
  tf.enableProdMode();
  const container = createContainer({ loadPackage: loadFromProject });
  const loaded = new Set<string>();
  for (const file of plugins) {
    const path = resolve(file);
    if (!loaded.has(path)) container.use(await loadPlugin(file), file);
    loaded.add(path);
  }
  return container;
}

/** Whether escape codes may be written, by the conventions of NO_COLOR and FORCE_COLOR. */
export function hasColour(stream: NodeJS.WriteStream): boolean {
  if (process.env.NO_COLOR !== undefined && process.env.NO_COLOR !== '') return false;
  if (process.env.FORCE_COLOR !== undefined && process.env.FORCE_COLOR !== '0') return true;
  return stream.isTTY;
}

/**
 * Runs `work` with a signal that the first SIGINT or SIGTERM aborts, so that a checkpoint is written; the second one
 * ends the process.
 * @param said What is printed at the first one.
 */
export async function interruptible<R>(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<R>,
  said = 'interrupted: stopping at the next checkpoint or the last one (again to stop at once)',
): Promise<R> {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130);
    terminal.err.write(`\n${said}\n`);
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
