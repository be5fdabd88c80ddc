import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { ConfigurationError, PRESET_FORMS, type ConfigObject } from '../../contracts';
import { parseOverride, resolveConfig, withForm, type Override, type RunListener } from '../../outer';
import { startRun } from '../../outer/run-directory';
import { jsonListener } from '../json';
import { concludeRun } from '../outcome';
import { progressListener } from '../progress';
import {
  engineLimits,
  interruptible,
  openContainer,
  type CommonOptions,
  type LimitOptions,
  type Terminal,
} from '../session';

export interface TrainOptions extends CommonOptions, LimitOptions {
  readonly set?: readonly string[];
  readonly seed?: string;
  readonly engine?: string;
  readonly output?: string;
  readonly tensorboard?: boolean;
}

/** `train` only: at most one of the two forms of a preset. */
export interface FormOptions {
  /** The short form of the preset. */
  readonly quick?: boolean;
  /** The shortest. */
  readonly demo?: boolean;
  /** The folder of a run that this one's θ₀ is the θ of. */
  readonly warmStart?: string;
}

const FILE = /\.(ya?ml|json)$/i;

/** What a YAML (or JSON) file holds. @throws ConfigurationError if it cannot be read or is no YAML */
export function readYaml(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new ConfigurationError(path, 'a configuration file', code, 'Name a preset or a .yaml file.');
  }
  const document = parseDocument(text);
  if (document.errors.length > 0) {
    throw new ConfigurationError(path, 'YAML', document.errors[0].message.split('\n')[0].replace(/[.:]$/, ''));
  }
  return document.toJS() as unknown;
}

/** A configuration file. `run`, which config.json of a run folder records, is no setting. */
export function readConfigFile(path: string): ConfigObject {
  const value = readYaml(path);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigurationError(path, 'keys and values', value === null ? 'an empty file' : 'something else');
  }
  const { run: _, ...config } = value as ConfigObject;
  return config;
}

/** A preset's name or a file, as configuration; plugin paths of a file are relative to it. */
export function readInput(target: string): { config: ConfigObject; plugins: string[]; label: string } {
  const isFile = FILE.test(target) || (existsSync(target) && statSync(target).isFile());
  if (!isFile) return { config: { preset: target }, plugins: [], label: target };
  const config = readConfigFile(target);
  const given = Array.isArray(config.plugins) ? config.plugins.filter((file) => typeof file === 'string') : [];
  const plugins = given.map((file) => resolve(dirname(target), file));
  const preset = typeof config.preset === 'string' ? config.preset : basename(target, extname(target));
  // Recorded as absolute paths: the run's config.json lies in another folder than this file.
  return { config: plugins.length === 0 ? config : { ...config, plugins }, plugins, label: preset };
}

/** `runs/mnist-lr-20261122-231500`, with a number behind it if that is taken. */
function defaultFolder(label: string): string {
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const base = join('runs', `${label.replace(/[^\w.-]+/g, '-')}-${stamp}`);
  let path = base;
  for (let n = 2; existsSync(path); n++) path = `${base}-${n}`;
  return path;
}

/** How a run is shown: JSON lines on standard output, progress on standard error, or nothing. */
export function listenersFor(options: CommonOptions, terminal: Terminal): RunListener[] {
  if (options.json === true) return [jsonListener(terminal.out)];
  return options.quiet === true ? [] : [progressListener(terminal.err)];
}

export async function train(target: string, options: TrainOptions & FormOptions, terminal: Terminal): Promise<number> {
  const limits = engineLimits(options);
  const input = readInput(target);
  const plugins = [...new Set([...input.plugins, ...(options.plugin ?? []).map((file) => resolve(file))])];
  const resolver = await openContainer(plugins);
  const overrides: Override[] = (options.set ?? []).map(parseOverride);
  if (options.seed !== undefined) overrides.push(parseOverride(`seed=${options.seed}`));
  if (options.engine !== undefined) overrides.push({ key: 'engine', value: options.engine });
  if (options.warmStart !== undefined) overrides.push({ key: 'warmStart', value: resolve(options.warmStart) });
  const form = PRESET_FORMS.find((name) => options[name] === true);
  const given = form === undefined ? input.config : withForm(input.config, form, resolver);
  const config = resolveConfig(given, overrides, resolver);
  const out = options.output ?? defaultFolder(form === undefined ? input.label : `${input.label}-${form}`);
  const { tensorboard } = options;
  const result = await interruptible(terminal, (signal) =>
    startRun({
      config,
      resolver,
      out,
      plugins,
      limits,
      tensorboard,
      listeners: listenersFor(options, terminal),
      signal,
    }),
  );
  return concludeRun(result, options, terminal);
}
