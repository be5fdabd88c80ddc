/** Runs that go on side by side and share an engine, its programs and their populations (shared-engine.ts). */
import type { Registered, RegisteredKind, Registration, Preset, Dataset, UnrolledProblem } from '../contracts';
import type { EngineOptions } from '../engines';
import { canonical, problemKey } from './prepare';
import type { ResolvedConfig } from './config';
import type { OpenedEngine, ResolvedKind, Resolver } from './resolver';
import { SharedEngine } from './shared-engine';

/** Most runs in one population: what goes wrong in one machine's death is theirs together. */
const MOST_RUNS = 16;

/** Options of an estimator that leave its windows as they are. */
const FREE: readonly string[] = ['sigma', 'shaping', 'clip'];

/** What runs must agree in for their windows to be the same calls: all but seeds, rates, σ and how long they go on. */
function shapeOf(config: ResolvedConfig): string {
  const estimator = Object.entries(config.estimator).filter(([key]) => !FREE.includes(key));
  return canonical({ engine: config.engine, estimator: Object.fromEntries(estimator), problem: problemKey(config) });
}

/** Groups of runs whose shapes agree, in the order of their first members. */
export function groupsOfShape<T>(runs: readonly T[], configOf: (run: T) => ResolvedConfig): T[][] {
  const groups: T[][] = [];
  const open = new Map<string, T[]>();
  for (const run of runs) {
    // Several tasks have a population each, and draw members of a family by the run's seed: such a run is a group of its own.
    if (configOf(run).tasks !== undefined) {
      groups.push([run]);
      continue;
    }
    const shape = shapeOf(configOf(run));
    let group = open.get(shape);
    if (group === undefined || group.length === MOST_RUNS) {
      group = [];
      open.set(shape, group);
      groups.push(group);
    }
    group.push(run);
  }
  return groups;
}

/**
 * Calls `go` for all members at once, each with a resolver whose engine is a share of one, and whose problems are the
 * same objects. Every call has to end; what they give, in order.
 * @throws EngineError if the engine keeps one run a population
 */
export async function sideBySide<T, R>(
  members: readonly T[],
  resolver: Resolver,
  opened: OpenedEngine,
  go: (member: T, resolver: Resolver) => Promise<R>,
): Promise<PromiseSettledResult<R>[]> {
  const shared = new SharedEngine(opened.engine, members.length);
  const problems = new Map<string, Promise<UnrolledProblem>>();
  const cachedProblem = (key: string, build: () => Promise<UnrolledProblem>): Promise<UnrolledProblem> => {
    const known = problems.get(key) ?? build();
    problems.set(key, known);
    return known;
  };
  return Promise.allSettled(
    members.map(async (member, run) => {
      const engine = shared.of(run);
      try {
        return await go(member, new SharingResolver(resolver, { engine, reason: opened.reason }, cachedProblem));
      } finally {
        // A run that failed before it asked for its engine.
        await engine.dispose();
      }
    }),
  );
}

class SharingResolver implements Resolver {
  constructor(
    private readonly resolver: Resolver,
    private readonly opened: OpenedEngine,
    readonly cachedProblem: NonNullable<Resolver['cachedProblem']>,
  ) {}

  names(kind: ResolvedKind): readonly string[] {
    return this.resolver.names(kind);
  }

  registration<K extends RegisteredKind>(kind: K, name: string, path?: readonly string[]): Registration<Registered[K]> {
    return this.resolver.registration(kind, name, path);
  }

  preset(name: string): Preset {
    return this.resolver.preset(name);
  }

  cachedDataset(key: string, load: () => Promise<Dataset>): Promise<Dataset> {
    return this.resolver.cachedDataset(key, load);
  }

  openEngine(_name: string, _options?: EngineOptions): Promise<OpenedEngine> {
    return Promise.resolve(this.opened);
  }
}
