/** Containers and engines for the tests of the outer loop: the reference engine, and what a test registers. */
import { createContainer, type OuterloopContainer, type RegisterModule } from '../../src/container';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import type { EngineProvider, ResolvedConfig, RunEvent } from '../../src/outer';
import { readEvaluations, readMetrics, resumeRun, startRun } from '../../src/outer/run-directory';

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

/** Runs it at once, and in two parts, the first of five iterations: what both have written, but for the time that it took. */
export async function atOnceAndInParts(config: ResolvedConfig, resolver: OuterloopContainer, path: string) {
  const result = await startRun({ config, resolver, out: path });
  const cut = `${path}-in-parts`;
  const controller = new AbortController();
  const abort = (event: RunEvent): void => {
    if (event.type === 'iteration' && event.record.iteration === 4) controller.abort();
  };
  await startRun({ config, resolver, out: cut, listeners: [abort], signal: controller.signal });
  expect(readMetrics(cut)).toHaveLength(5);
  await resumeRun(cut, { resolver });
  const [whole, parts] = [path, cut].map((one) => ({
    lines: readMetrics(one).map(({ wallSeconds: _, ...line }) => line),
    evaluations: { ...readEvaluations(one), wallSeconds: 0 },
  }));
  return { result, whole, parts };
}
