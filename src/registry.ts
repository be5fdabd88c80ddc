/** What has a name: the container that modules and plugins register with. It has nothing of its own; `container.ts` fills it. */
import 'reflect-metadata';
import { Container } from 'inversify';
import {
  PluginError,
  REGISTERED_KINDS,
  UnknownNameError,
  type Dataset,
  type FactoryContext,
  type Plugin,
  type Preset,
  type Registered,
  type RegisteredKind,
  type Registrar,
  type Registration,
} from './contracts';
import type { EngineOptions } from './engines';
import { nearNames, type EngineProvider, type OpenedEngine, type ResolvedKind, type Resolver } from './outer/resolver';

/** What is bound for each registered name. */
type Values = { [K in RegisteredKind]: Registration<Registered[K]> } & { preset: Preset };
type Kind = keyof Values;

interface Entry<K extends Kind = Kind> {
  readonly kind: K;
  readonly name: string;
  readonly value: Values[K];
  /** Which module brought it, for errors. */
  readonly origin: string;
}

/** A module of registered things: the folders' and the plugins'. */
export interface RegisterModule {
  /** For errors: `tasks`, or a plugin's file. */
  readonly origin: string;
  register(registrar: Registrar): void;
}

const KINDS: readonly Kind[] = [...REGISTERED_KINDS, 'preset'];
const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/i;
/** What a kind is bound to in the container. */
const identifiers: Readonly<Record<Kind, symbol>> = Object.freeze(
  Object.fromEntries(KINDS.map((kind) => [kind, Symbol(`outerloop.${kind}`)])) as Record<Kind, symbol>,
);
const DATASETS = Symbol('outerloop.loaded-datasets');
const ENGINES = Symbol('outerloop.engines');

function isRegistration(value: unknown): value is Registration<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { create?: unknown }).create === 'function';
}

/** Collects what a module registers, before any of it counts. @throws PluginError */
function collect(module: RegisterModule): Entry[] {
  const { origin } = module;
  const entries: Entry[] = [];
  const add = (kind: Kind, name: unknown, value: Values[Kind]): void => {
    if (typeof name !== 'string' || !NAME.test(name)) {
      throw new PluginError(
        `${origin}: the name of a ${kind} is letters and digits with single "-", "_" or "." between; got ${JSON.stringify(name) as string | undefined}.`,
      );
    }
    entries.push({ kind, name, value, origin });
  };
  const method =
    (kind: RegisteredKind) =>
    (name: string, registerable: unknown): void => {
      if (isRegistration(registerable)) add(kind, name, registerable as Values[Kind]);
      else if (typeof registerable === 'function') {
        const make = registerable as (context: FactoryContext) => Registered[RegisteredKind];
        add(kind, name, { description: '', create: (_options, context) => make(context) } as Values[Kind]);
      } else {
        throw new PluginError(`${origin}: ${kind} "${name}" needs a function or {description, options?, create}.`);
      }
    };
  const methods = Object.fromEntries(REGISTERED_KINDS.map((kind) => [kind, method(kind)]));
  const preset: Registrar['preset'] = (name, value) => {
    if (typeof (value as Partial<Preset> | undefined)?.config !== 'object') {
      throw new PluginError(`${origin}: preset "${name}" needs {description, config}.`);
    }
    add('preset', name, value);
  };
  module.register({ ...methods, preset } as Registrar);
  return entries;
}

/** The container with the methods that the outer loop and the library call; inversify stays inside. */
export class OuterloopContainer implements Resolver {
  private readonly container = new Container();

  constructor(engines: EngineProvider) {
    this.container.bind(ENGINES).toConstantValue(engines);
    this.container.bind(DATASETS).toConstantValue(new Map<string, Promise<Dataset>>());
  }

  /**
   * Adds what a plugin registers: all of it, or nothing.
   * @param origin what errors call the plugin, e.g. its file
   * @throws PluginError if it is no plugin, or a name is taken
   */
  use(plugin: Plugin, origin = 'plugin'): this {
    if ((plugin as Partial<Plugin> | undefined)?.outerloopPlugin !== 1 || typeof plugin.register !== 'function') {
      throw new PluginError(`${origin} is no plugin: expected what definePlugin(…) returns.`);
    }
    return this.load({ origin, register: (registrar) => plugin.register(registrar) });
  }

  /** @throws PluginError if a name is taken; nothing is registered then */
  load(module: RegisterModule): this {
    const fresh = new Map<string, Entry>();
    for (const entry of collect(module)) {
      const { kind, name } = entry;
      const taken = fresh.get(`${kind} ${name}`) ?? this.entries(kind).find((other) => other.name === name);
      if (taken !== undefined) {
        throw new PluginError(
          `${module.origin}: ${kind} "${name}" is registered already, by ${taken.origin}. Give it another name.`,
        );
      }
      fresh.set(`${kind} ${name}`, entry);
    }
    for (const entry of fresh.values()) this.container.bind(identifiers[entry.kind]).toConstantValue(entry);
    return this;
  }

  names(kind: ResolvedKind): readonly string[] {
    if (kind === 'engine') return this.container.get<EngineProvider>(ENGINES).names();
    return this.entries(kind)
      .map(({ name }) => name)
      .sort();
  }

  registration<K extends RegisteredKind>(
    kind: K,
    name: string,
    path: readonly string[] = [],
  ): Registration<Registered[K]> {
    return this.entry<K>(kind, name, path).value as Registration<Registered[K]>;
  }

  preset(name: string): Preset {
    return this.entry('preset', name, []).value;
  }

  cachedDataset(key: string, load: () => Promise<Dataset>): Promise<Dataset> {
    const loaded = this.container.get<Map<string, Promise<Dataset>>>(DATASETS);
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const loading = load();
    loaded.set(key, loading);
    // A failed load is tried again when it is next asked for.
    loading.catch(() => loaded.delete(key));
    return loading;
  }

  async openEngine(name: string, options: EngineOptions = {}): Promise<OpenedEngine> {
    const engines = this.names('engine');
    if (!engines.includes(name)) throw new UnknownNameError('engine', name, nearNames(name, engines), engines);
    return this.container.get<EngineProvider>(ENGINES).open(name, options);
  }

  private entries<K extends Kind>(kind: K): readonly Entry<K>[] {
    const identifier = identifiers[kind];
    return this.container.isBound(identifier) ? this.container.getAll<Entry<K>>(identifier) : [];
  }

  private entry<K extends Kind>(kind: K, name: string, path: readonly string[]): Entry<K> {
    const entries = this.entries(kind);
    const found = entries.find((entry) => entry.name === name);
    if (found !== undefined) return found;
    const known = this.names(kind);
    throw new UnknownNameError(kind, name, nearNames(name, known), known, path);
  }
}
