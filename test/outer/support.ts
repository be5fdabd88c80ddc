/** Containers and engines for the tests of the outer loop: the reference engine, and what a test registers. */
import { createContainer, type OuterloopContainer, type RegisterModule } from '../../src/container';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import type { EngineProvider } from '../../src/outer';

export const referenceEngines: EngineProvider = {
  names: () => ['auto', 'reference'],
  open: (name) =>
    Promise.resolve({
      engine: new ReferenceEngine(),
      reason: name === 'auto' ? 'the only one here' : 'as asked for',
    }),
};

export function testContainer(...extra: RegisterModule[]): OuterloopContainer {
  const container = createContainer({ engines: referenceEngines });
  for (const module of extra) container.load(module);
  return container;
}
