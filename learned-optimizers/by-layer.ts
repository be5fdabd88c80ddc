/**
 * Hyperparameters that differ between layers: `learningRate: { embed: 0.1, rest: { kernel: meta.log(0.01), bias: 0.02 } }`,
 * a tree like the upper part of the parameters' own. `rest` stands for the children that have no entry beside it.
 */
import { z } from 'zod';
import {
  checkHyperParameter,
  ConfigurationError,
  hyperConfig,
  isSchedule,
  isTreeContainer,
  MetaParameter,
  resolveHyperParameter,
  treeFlatten,
  type FactoryContext,
  type HyperConfig,
  type HyperParameter,
  type HyperRange,
  type TensorTree,
} from '../src/contracts';

/** One for all, or a list or record by layer and parameter. */
export type LayerHyperParameter = HyperParameter | HyperByLayer;
export type HyperByLayer = readonly LayerHyperParameter[] | { readonly [layer: string]: LayerHyperParameter };

/** Stands for the children that are not named. */
const REST = 'rest';

/** A hyperparameter is neither a list nor a plain record, but for a schedule. */
function isByLayer(value: LayerHyperParameter): value is HyperByLayer {
  return isTreeContainer(value) && !isSchedule(value);
}

function childrenOf<T extends LayerHyperParameter | TensorTree>(container: readonly T[] | object): [string, T][] {
  return Object.entries(container as Readonly<Record<string, T>>);
}

/** With `fn` of each hyperparameter, its dotted key from `key` on, in its place. */
export function mapLayers(
  value: LayerHyperParameter,
  key: string,
  fn: (value: HyperParameter, key: string) => HyperParameter,
): LayerHyperParameter {
  if (!isByLayer(value)) return fn(value, key);
  const children = childrenOf<LayerHyperParameter>(value).map(
    ([name, child]) => [name, mapLayers(child, `${key}.${name}`, fn)] as const,
  );
  return Array.isArray(value) ? children.map(([, child]) => child) : Object.fromEntries(children);
}

/** Like `checkHyperParameter`, of each. @throws ConfigurationError */
export function checkLayers(key: string, value: LayerHyperParameter, range: HyperRange): void {
  if (!isByLayer(value)) {
    checkHyperParameter(key, value, range);
    return;
  }
  const children = childrenOf<LayerHyperParameter>(value);
  if (children.length === 0) throw new ConfigurationError(key, 'numbers by layer', 'none');
  for (const [name, child] of children) checkLayers(`${key}.${name}`, child, range);
}

/** Every hyperparameter by its dotted key: `learningRate.rest.kernel`. */
export function flatHyper(
  hyper: Readonly<Record<string, LayerHyperParameter>>,
): Readonly<Record<string, HyperParameter>> {
  const flat: Record<string, HyperParameter> = {};
  for (const [name, value] of Object.entries(hyper)) {
    mapLayers(value, name, (one, key) => (flat[key] = one));
  }
  return flat;
}

const missing = (key: string): ConfigurationError =>
  new ConfigurationError(key, `a number for this layer or parameter, or ${REST}`, 'none');

/** The dotted key of each leaf of `params`, in flattening order. @throws ConfigurationError */
function keysAlong(value: LayerHyperParameter, params: TensorTree, key: string): string[] {
  if (!isByLayer(value)) return treeFlatten(params).map(() => key);
  const given = new Map(childrenOf<LayerHyperParameter>(value));
  if (!isTreeContainer(params)) {
    throw new ConfigurationError(key, 'one number, as there are no layers below', [...given.keys()].join(', '));
  }
  const names = Object.keys(params);
  const there = names.join(', ');
  if (Array.isArray(value)) {
    if (!Array.isArray(params)) throw new ConfigurationError(key, `a record by ${there}`, 'a list');
    if (given.size !== names.length) {
      throw new ConfigurationError(
        key,
        `as many numbers as the list of parameters has (${names.length})`,
        `${given.size}`,
      );
    }
  } else {
    if (Array.isArray(params) && params.every((child) => !isTreeContainer(child))) {
      throw new ConfigurationError(
        key,
        'parameters with names',
        `a list of ${names.length} tensors`,
        'Hyperparameters by name need the names of the task that they were tuned on; `model.fit` and C hand over a list.',
      );
    }
    const unknown = [...given.keys()].find((name) => name !== REST && !names.includes(name));
    if (unknown !== undefined) {
      throw new ConfigurationError(
        `${key}.${unknown}`,
        `a layer or parameter there is (${there}) or ${REST}`,
        `"${unknown}"`,
      );
    }
  }
  // In the order of flattening.
  const sorted = Array.isArray(params) ? names : names.sort();
  return sorted.flatMap((name) => {
    const entry = given.has(name) ? name : REST;
    const child = given.get(entry);
    if (child === undefined) throw missing(`${key}.${name}`);
    return keysAlong(child, (params as Readonly<Record<string, TensorTree>>)[name], `${key}.${entry}`);
  });
}

/** Leaves of the parameters, by index in flattening order, that share all hyperparameters. */
export interface LayerGroup<K extends string> {
  readonly leaves: readonly number[];
  /** Dotted key of each hyperparameter. */
  readonly keys: Readonly<Record<K, string>>;
}

/**
 * The parameters in groups, whose order is that of their first leaves.
 * @throws ConfigurationError for a layer or parameter that there is not, or that has no number; it names those there are.
 */
export function layerGroups<K extends string>(
  hyper: Readonly<Record<K, LayerHyperParameter>>,
  params: TensorTree,
): readonly LayerGroup<K>[] {
  const names = Object.keys(hyper) as K[];
  const along = names.map((name) => keysAlong(hyper[name], params, name));
  const groups = new Map<string, { leaves: number[]; keys: Record<K, string> }>();
  treeFlatten(params).forEach((_, leaf) => {
    const keys = along.map((each) => each[leaf]);
    const identity = JSON.stringify(keys);
    const group = groups.get(identity);
    if (group !== undefined) group.leaves.push(leaf);
    else {
      const record = Object.fromEntries(names.map((name, i) => [name, keys[i]])) as Record<K, string>;
      groups.set(identity, { leaves: [leaf], keys: record });
    }
  });
  return [...groups.values()];
}

/** Whether one of them differs between layers. */
export function hasLayers(hyper: Readonly<Record<string, LayerHyperParameter>>): boolean {
  return Object.values(hyper).some(isByLayer);
}

/** As configured: schedules are yet to be made. */
export type LayerHyperConfig =
  HyperConfig | { readonly layers: Readonly<Record<string, LayerHyperConfig>> | readonly LayerHyperConfig[] };

/** A record without a `name`, which a schedule has, or a list, is by layer. */
export function layerHyperConfig(range: HyperRange = {}): z.ZodType<LayerHyperConfig> {
  const single = hyperConfig(range);
  const isLayers = (input: unknown): input is object =>
    typeof input === 'object' && input !== null && !(input instanceof MetaParameter) && !('name' in input);
  return z.unknown().transform((input, context): LayerHyperConfig => {
    const read = (node: unknown, path: (string | number)[]): LayerHyperConfig => {
      if (isLayers(node)) {
        const entries = Object.entries(node);
        if (entries.length === 0) context.addIssue({ code: 'custom', message: 'numbers by layer', path, input });
        const isList = Array.isArray(node);
        const children = entries.map(
          ([name, child]) => [name, read(child, [...path, isList ? Number(name) : name])] as const,
        );
        return { layers: isList ? children.map(([, child]) => child) : Object.fromEntries(children) };
      }
      const result = single.safeParse(node);
      if (result.success) return result.data;
      for (const issue of result.error.issues) {
        context.addIssue({ code: 'custom', message: issue.message, path: [...path, ...issue.path], input });
      }
      return z.NEVER;
    };
    return read(input, []);
  });
}

/** Makes the schedules; `key` for errors. */
export async function resolveLayers(
  config: LayerHyperConfig,
  context: FactoryContext,
  key: string,
): Promise<LayerHyperParameter> {
  if (typeof config === 'number' || !('layers' in config)) return resolveHyperParameter(config, context, key);
  const children: [string, LayerHyperParameter][] = [];
  for (const [name, child] of Object.entries(config.layers)) {
    children.push([name, await resolveLayers(child, context, `${key}.${name}`)]);
  }
  return Array.isArray(config.layers) ? children.map(([, child]) => child) : Object.fromEntries(children);
}
