/** The one place where the container is composed: built-in modules, engines, and what plugins add. */
import { registerDatasets } from '../datasets';
import { registerLearnedOptimizers } from '../learned-optimizers';
import { registerMetaTrainers } from '../meta-trainers';
import { registerTasks } from '../tasks';
import { createEngine, ENGINE_NAMES, type LoadPackage } from './engines';
import type { EngineProvider } from './outer';
import { OuterloopContainer, type RegisterModule } from './registry';

export { OuterloopContainer, type RegisterModule } from './registry';

/** Everything that ships with Outerloop. */
export const BUILT_IN_MODULES: readonly RegisterModule[] = [
  { origin: 'tasks', register: registerTasks },
  { origin: 'learned-optimizers', register: registerLearnedOptimizers },
  { origin: 'meta-trainers', register: registerMetaTrainers },
  { origin: 'datasets', register: registerDatasets },
];

export interface ContainerOptions {
  /** By default those of this machine. */
  readonly engines?: EngineProvider;
  /** How optional packages of engines are loaded; by default as Outerloop's own modules are. */
  readonly loadPackage?: LoadPackage;
  /** By default everything built in. */
  readonly modules?: readonly RegisterModule[];
}

/** A container of its own: nothing is shared with another, loaded data sets included. */
export function createContainer(options: ContainerOptions = {}): OuterloopContainer {
  const container = new OuterloopContainer(
    options.engines ?? {
      names: () => ENGINE_NAMES,
      open: (name, engineOptions) => createEngine(name, options.loadPackage, engineOptions),
    },
  );
  for (const module of options.modules ?? BUILT_IN_MODULES) container.load(module);
  return container;
}
