/** `outerloop/browser`: learned optimizers in a page. Nothing here needs Node; TensorFlow.js is the page's own. */
import { registerLearnedOptimizers } from '../learned-optimizers';
import { EngineUnavailableError, WeightsError, type Plugin } from './contracts';
import {
  buildOptimizer,
  registerTrainable,
  trainableFromBytes,
  type TrainableOptimizer,
  type TrainableOptions,
} from './deploy';
import { OuterloopContainer } from './registry';

export { definePlugin, WeightsError } from './contracts';
export { TrainableOptimizer, type TrainableOptions } from './deploy';
export { version } from './outer/version';

export interface BrowserOptions extends TrainableOptions {
  /** Optimizers beside the built-in ones. */
  readonly plugins?: readonly Plugin[];
}

function containerOf(plugins: readonly Plugin[]): OuterloopContainer {
  const container = new OuterloopContainer({
    names: () => [],
    open: (name) =>
      Promise.reject(new EngineUnavailableError(name, 'a page has no engines of its own', 'Meta-train in Node.')),
  });
  container.load({ origin: 'learned-optimizers', register: registerLearnedOptimizers });
  for (const plugin of plugins) container.use(plugin);
  return container;
}

/**
 * An optimizer that `outerloop export` wrote, for `model.compile`, `minimize` and `applyGradients`.
 * @param source its address, or its bytes
 * @throws WeightsError for what cannot be fetched, is damaged, or is of an optimizer that is not known here
 */
export async function loadOptimizer(
  source: string | URL | ArrayBuffer | Uint8Array,
  options: BrowserOptions = {},
): Promise<TrainableOptimizer> {
  const container = containerOf(options.plugins ?? []);
  if (source instanceof Uint8Array) return trainableFromBytes(source, 'the given bytes', container, options);
  if (source instanceof ArrayBuffer) {
    return trainableFromBytes(new Uint8Array(source), 'the given bytes', container, options);
  }
  const address = String(source);
  const response = await fetch(address).catch((error: unknown) => {
    throw new WeightsError(`${address} cannot be fetched. Check the address and the server's CORS settings.`, {
      cause: error,
    });
  });
  if (!response.ok)
    throw new WeightsError(`${address} cannot be fetched: ${String(response.status)} ${response.statusText}.`);
  return trainableFromBytes(new Uint8Array(await response.arrayBuffer()), address, container, options);
}

/** Lets `tf.loadLayersModel` read models that were saved with such an optimizer. */
export function registerOptimizers({ plugins = [] }: Pick<BrowserOptions, 'plugins'> = {}): void {
  const container = containerOf(plugins);
  registerTrainable((weights) => buildOptimizer(weights, 'the optimizer of the saved model', container));
}
