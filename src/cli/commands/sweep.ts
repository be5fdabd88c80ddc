import { basename, dirname, extname, join, resolve } from 'node:path';
import { DivergenceError, OuterloopError, type ConfigObject } from '../../contracts';
import {
  expandSweep,
  groupsOfShape,
  inMember,
  parseOverride,
  prepareRun,
  sideBySide,
  type Override,
  type Resolver,
} from '../../outer';
import {
  openSweep,
  placeMembers,
  readRecordedRun,
  resumeRun,
  startRun,
  type PlacedMember,
  type RecordedRun,
} from '../../outer/run-directory';
import { compareRuns, objectiveKey } from '../../report';
import { EXIT } from '../exit-codes';
import { sweepFile } from '../experiments';
import { jsonListener } from '../json';
import { quoted, shown, writeReport } from '../outcome';
import {
  engineLimits,
  interruptible,
  openContainer,
  type CommonOptions,
  type LimitOptions,
  type Terminal,
} from '../session';
import { concludeComparison } from './compare';
import { listenersFor, readConfigFile } from './train';

export interface SweepOptions extends CommonOptions, LimitOptions {
  readonly set?: readonly string[];
  readonly engine?: string;
  readonly output?: string;
  readonly quick?: boolean;
  readonly dryRun?: boolean;
  readonly allowDifferentMachine?: boolean;
  readonly separate?: boolean;
}

interface Failure {
  readonly folder: string;
  readonly message: string;
}

/** Everything that a member's run needs beside the member. */
interface Shared {
  readonly resolver: Resolver;
  readonly plugins: readonly string[];
  readonly options: SweepOptions;
  readonly terminal: Terminal;
}

/** The sweep's plugins, as files from here. */
function pluginFiles(file: string, input: ConfigObject, options: SweepOptions): string[] {
  const listed = Array.isArray(input.plugins) ? input.plugins.filter((name) => typeof name === 'string') : [];
  const own = listed.map((name) => resolve(dirname(file), name));
  return [...new Set([...own, ...(options.plugin ?? []).map((name) => resolve(name))])];
}

const STATES = { new: 'to run', unfinished: 'to go on with', diverged: 'diverged', done: 'done' } as const;

/** Whether nothing is left to run of it. */
const isOver = ({ state, member }: PlacedMember): boolean =>
  state === 'done' || (state === 'diverged' && member.mayDiverge);

function printPlan(path: string, placed: readonly PlacedMember[], { json }: SweepOptions, { out }: Terminal): void {
  if (json === true) {
    for (const { folder, state } of placed) out.write(`${JSON.stringify({ type: 'run', folder, state })}\n`);
    return;
  }
  const width = Math.max(...placed.map(({ folder }) => folder.length));
  for (const one of placed) {
    const again = one.state === 'diverged' && !isOver(one) ? ', to go on with' : '';
    out.write(`${one.folder.padEnd(width)}  ${STATES[one.state]}${again}\n`);
  }
  const left = placed.filter((one) => !isOver(one)).length;
  out.write(`\n${placed.length} runs in ${shown(resolve(path))}, ${left} of them to run\n`);
}

/**
 * Builds what each run that is left needs, and opens its engine, so that a mistake is found before the first one starts;
 * runs that differ by their seed need the same.
 */
async function checkParts(placed: readonly PlacedMember[], resolver: Resolver): Promise<void> {
  const left = placed.filter((one) => !isOver(one));
  for (const engine of new Set(left.map(({ member }) => member.config.engine))) {
    await (await resolver.openEngine(engine)).engine.dispose();
  }
  const distinct = new Map(left.map((one) => [JSON.stringify({ ...one.member.config, seed: 0 }), one] as const));
  for (const { member } of distinct.values()) {
    try {
      await prepareRun(member.config, resolver);
    } catch (error) {
      throw inMember(error, member);
    }
  }
}

/** Runs or resumes one member. Returns whether it was interrupted. */
async function runMember(
  one: PlacedMember,
  shared: Shared,
  signal: AbortSignal,
  listeners = listenersFor(shared.options, shared.terminal),
): Promise<boolean> {
  const { resolver, plugins, options } = shared;
  const limits = engineLimits(options);
  const { allowDifferentMachine } = options;
  const result =
    one.state === 'new'
      ? await startRun({ config: one.member.config, resolver, out: one.path, plugins, limits, listeners, signal })
      : await resumeRun(one.path, { resolver, limits, allowDifferentMachine, listeners, signal });
  if (!result.interrupted) await writeReport(one.path, result);
  return result.interrupted;
}

/** An end by numbers that are not finite, of a run that may end so. */
function tellDivergence({ folder }: PlacedMember, error: DivergenceError, { options, terminal }: Shared): void {
  const { iteration, message } = error;
  if (options.json === true) {
    terminal.out.write(`${JSON.stringify({ type: 'divergence', folder, iteration, message })}\n`);
  } else if (options.quiet !== true) {
    terminal.err.write(`diverged at iteration ${iteration}, which the sweep says it may: ${message}\n`);
  }
}

/** Says which run comes now, and how far it is. */
function tellMember(one: PlacedMember, placed: readonly PlacedMember[], { options, terminal }: Shared): void {
  if (options.json === true) {
    terminal.out.write(`${JSON.stringify({ type: 'run', folder: one.folder, state: one.state })}\n`);
  } else if (options.quiet !== true) {
    const over = one.state === 'done' ? ': done already' : ': diverged already';
    const again = isOver(one) ? over : one.state === 'new' ? '' : ': going on';
    terminal.err.write(`[${placed.indexOf(one) + 1}/${placed.length}] ${one.folder}${again}\n`);
  }
}

/**
 * What went wrong with a member, unless it is a divergence that the sweep expects.
 * @param among others that went on at the same time
 */
function failureOf(one: PlacedMember, error: unknown, shared: Shared, among = false): Failure[] {
  const { options, terminal } = shared;
  if (error instanceof DivergenceError && one.member.mayDiverge) {
    tellDivergence(one, error, shared);
    return [];
  }
  const known = error instanceof OuterloopError;
  const message = `${known ? '' : 'internal: '}${error instanceof Error ? error.message : String(error)}`;
  if (options.json === true) {
    terminal.out.write(`${JSON.stringify({ type: 'failure', folder: one.folder, message })}\n`);
  } else terminal.err.write(`failed: ${among ? `${one.folder}: ` : ''}${message}\n`);
  return [{ folder: one.folder, message }];
}

interface Ended {
  readonly failures: readonly Failure[];
  readonly interrupted: boolean;
}

/** Runs members of one shape: side by side, where the engine can keep them in one population. */
async function runGroup(
  group: readonly PlacedMember[],
  placed: readonly PlacedMember[],
  shared: Shared,
  signal: AbortSignal,
): Promise<Ended> {
  const { options, terminal, resolver } = shared;
  const failures: Failure[] = [];
  const opened =
    group.length === 1 || options.separate === true
      ? undefined
      : await resolver.openEngine(group[0].member.config.engine, engineLimits(options));
  if (opened?.engine.sharesPopulations !== true) {
    await opened?.engine.dispose();
    for (const one of group) {
      if (signal.aborted) return { failures, interrupted: true };
      tellMember(one, placed, shared);
      try {
        if (await runMember(one, shared, signal)) return { failures, interrupted: true };
      } catch (error) {
        failures.push(...failureOf(one, error, shared));
      }
    }
    return { failures, interrupted: false };
  }
  for (const one of group) tellMember(one, placed, shared);
  if (options.json !== true && options.quiet !== true) {
    terminal.err.write(`these ${group.length} runs share a population; below, the first of them\n`);
  }
  const ends = await sideBySide(group, resolver, opened, (one, sharing) => {
    const { folder } = one;
    const listeners =
      options.json === true ? [jsonListener(terminal.out, { folder })] : one === group[0] ? undefined : [];
    return runMember(one, { ...shared, resolver: sharing }, signal, listeners);
  });
  ends.forEach((end, i) => {
    if (end.status === 'rejected') failures.push(...failureOf(group[i], end.reason, shared, true));
  });
  return { failures, interrupted: ends.some((end) => end.status === 'fulfilled' && end.value) };
}

/** Runs what is left, shape by shape. A run that fails is told, and the others go on. */
async function runAll(placed: readonly PlacedMember[], shared: Shared, signal: AbortSignal): Promise<Ended> {
  const failures: Failure[] = [];
  for (const one of placed) if (isOver(one)) tellMember(one, placed, shared);
  const left = placed.filter((one) => !isOver(one));
  for (const group of groupsOfShape(left, ({ member }) => member.config)) {
    if (signal.aborted) return { failures, interrupted: true };
    const ended = await runGroup(group, placed, shared, signal);
    failures.push(...ended.failures);
    if (ended.interrupted) return { failures, interrupted: true };
  }
  return { failures, interrupted: false };
}

/** A failed run that has done something is compared as far as it came. */
function readable({ path }: PlacedMember): RecordedRun[] {
  try {
    return [readRecordedRun(path)];
  } catch (error) {
    if (error instanceof OuterloopError) return [];
    throw error;
  }
}

/** One table and page for each objective of the sweep. */
async function compareAll(path: string, placed: readonly PlacedMember[], shared: Shared): Promise<void> {
  const { options, terminal } = shared;
  const byObjective = new Map<string, { presets: Set<string>; runs: RecordedRun[] }>();
  for (const one of placed) {
    for (const run of readable(one)) {
      const key = objectiveKey(run);
      const group = byObjective.get(key) ?? { presets: new Set<string>(), runs: [] };
      group.presets.add(one.member.preset);
      group.runs.push(run);
      byObjective.set(key, group);
    }
  }
  const taken = new Map<string, number>();
  for (const { presets, runs } of byObjective.values()) {
    const label = byObjective.size === 1 ? '' : `-${[...presets].join('+')}`;
    const nth = (taken.get(label) ?? 0) + 1;
    taken.set(label, nth);
    const page = join(path, `comparison${label}${nth === 1 ? '' : `-${String(nth)}`}.html`);
    try {
      await concludeComparison(compareRuns(runs), page, options, terminal);
    } catch (error) {
      if (!(error instanceof OuterloopError)) throw error;
      terminal.err.write(`no comparison: ${error.message}\n`);
    }
  }
}

/** The same command again. */
function again(target: string, options: SweepOptions): string {
  const { quick, output, set, engine, plugin, separate, memory, threads } = options;
  const words = [
    target,
    ...(quick === true ? ['--quick'] : []),
    ...(set ?? []).flatMap((one) => ['--set', one]),
    ...(engine === undefined ? [] : ['--engine', engine]),
    ...(plugin ?? []).flatMap((file) => ['--plugin', file]),
    ...(memory === undefined ? [] : ['--memory', memory]),
    ...(threads === undefined ? [] : ['--threads', threads]),
    ...(separate === true ? ['--separate'] : []),
    ...(output === undefined ? [] : ['--output', output]),
  ];
  return ['outerloop', 'sweep', ...words.map(quoted)].join(' ');
}

/**
 * Every run of a sweep file; what is done stays, what was cut goes on.
 * @param target a file, or the name of an experiment that ships with the package
 */
export async function sweep(target: string, options: SweepOptions, terminal: Terminal): Promise<number> {
  engineLimits(options);
  const file = sweepFile(target);
  const input = readConfigFile(file);
  const plugins = pluginFiles(file, input, options);
  const resolver = await openContainer(plugins);
  const overrides: Override[] = (options.set ?? []).map(parseOverride);
  if (options.engine !== undefined) overrides.push({ key: 'engine', value: options.engine });
  const quick = options.quick === true;
  const members = expandSweep(input, overrides, resolver, quick);
  const path = options.output ?? join('runs', `${basename(file, extname(file))}${quick ? '-quick' : ''}`);
  const placed = placeMembers(path, members);
  if (options.dryRun === true) {
    printPlan(path, placed, options, terminal);
    return EXIT.ok;
  }
  await checkParts(placed, resolver);
  const shared: Shared = { resolver, plugins, options, terminal };
  const lock = openSweep(path, placed);
  try {
    const { failures, interrupted } = await interruptible(terminal, (signal) => runAll(placed, shared, signal));
    if (interrupted) {
      if (options.json === true) terminal.out.write(`${JSON.stringify({ type: 'interrupted', directory: path })}\n`);
      else terminal.err.write(`go on with: ${again(target, options)}\n`);
      return EXIT.interrupted;
    }
    await compareAll(path, placed, shared);
    if (options.json !== true) terminal.out.write(`sweep:   ${shown(resolve(path))}\n`);
    if (failures.length === 0) return EXIT.ok;
    terminal.err.write(`${failures.length} of ${placed.length} runs failed:\n`);
    for (const { folder, message } of failures) terminal.err.write(`  ${folder}: ${message}\n`);
    return EXIT.failure;
  } finally {
    lock.release();
  }
}
