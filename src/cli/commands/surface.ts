import { extname } from 'node:path';
import { CancelledError, ConfigurationError, UnknownNameError, UserError, type UnrolledProblem } from '../../contracts';
import {
  coordinateNames,
  describeTheta,
  gridThetas,
  initialTheta,
  measureThetas,
  nearNames,
  spread,
  thetaLayout,
  type PreparedRun,
} from '../../outer';
import { writeJson, writeWhole } from '../../outer/run-directory';
import {
  leastPoint,
  renderSurface,
  surfaceJson,
  surfaceNotes,
  surfaceTable,
  type Surface,
  type SurfaceAxis,
  type SurfacePoint,
} from '../../report';
import { EXIT } from '../exit-codes';
import {
  commandLine,
  noticeLines,
  openInput,
  prepareInput,
  readRuns,
  recordedThetas,
  type LabelledRun,
  type MeasureOptions,
  type RecordedTheta,
} from '../measured';
import { integerOption } from '../options';
import { shown } from '../outcome';
import { engineLimits, hasColour, interruptible, type Terminal } from '../session';
import { stepProgress } from '../step-progress';
import { tableText } from '../terminal';
import { pagePath } from './compare';

export interface SurfaceOptions extends MeasureOptions {
  readonly grid?: string;
  readonly axes?: string;
  readonly range?: string;
  readonly seeds?: string;
  readonly steps?: string;
}

/** `20x30`: columns and rows. @throws ConfigurationError */
function gridOption(text: string | undefined): readonly [number, number] {
  const match = /^(\d{1,5})x(\d{1,5})$/.exec(text ?? '20x20');
  const sizes = [Number(match?.[1]), Number(match?.[2])] as const;
  if (sizes.every((size) => size >= 2)) return sizes;
  throw new ConfigurationError('--grid', 'columns x rows, both from 2 up, such as 20x20', `"${text ?? ''}"`);
}

type Range = readonly [number, number];

/** `-8:-1,0:5`. @throws ConfigurationError */
function rangeOption(text: string | undefined): readonly [Range, Range] | undefined {
  if (text === undefined) return undefined;
  const ranges = text
    .split(',')
    .map((part) => part.split(':').map((word) => (word.trim() === '' ? NaN : Number(word))));
  const sound = ranges.length === 2 && ranges.every(([a, b, ...rest]) => rest.length === 0 && a < b && isFinite(b - a));
  if (!sound) {
    const expected = 'low:high,low:high for the two axes, in stored coordinates, such as -8:-1,0:5';
    throw new ConfigurationError('--range', expected, `"${text}"`);
  }
  return ranges as unknown as readonly [Range, Range];
}

/** Coordinates of the two axes. @throws UserError, UnknownNameError, ConfigurationError */
function axesOption(text: string | undefined, names: readonly string[], problem: string): readonly [number, number] {
  if (names.length < 2) {
    throw new UserError(
      `a surface needs two coordinates of θ, and ${problem} has ${names.length === 1 ? `one (${names[0]})` : 'none'}. ` +
        'Take a preset with more, or wrap another hyperparameter with meta.*.',
    );
  }
  if (text === undefined) return [0, 1];
  const given = text.split(',').map((name) => name.trim());
  if (given.length !== 2 || given[0] === given[1]) {
    throw new ConfigurationError('--axes', 'two different coordinates of θ, such as a,b', `"${text}"`);
  }
  const indices = given.map((name) => {
    const index = names.indexOf(name);
    if (index >= 0) return index;
    throw new UnknownNameError('coordinate of θ', name, nearNames(name, names), names.slice(0, 30));
  });
  return [indices[0], indices[1]];
}

/** Inner steps of an episode that are run. @throws ConfigurationError */
function stepsOption(text: string | undefined, { problem }: PreparedRun['plan']): number {
  const steps = integerOption('--steps', text, 1);
  if (steps === undefined && !Number.isFinite(problem.horizon)) {
    throw new ConfigurationError('--steps', `a number of steps, since ${problem.name} has no end`, 'nothing');
  }
  if (steps !== undefined && steps > problem.horizon) {
    throw new ConfigurationError('--steps', `at most the horizon ${problem.horizon}`, String(steps));
  }
  return steps ?? problem.horizon;
}

/** So many σ to each side of θ₀ are shown if nothing else is asked for. */
const SIGMAS = 10;
/** The same, where the estimator has no σ. */
const REACH = 1;

/** A range that holds θ₀ with its surroundings, and all paths with a margin. */
function rangeAround(start: number, sigma: unknown, visited: readonly number[]): Range {
  const reach = typeof sigma === 'number' ? SIGMAS * sigma : REACH;
  const low = visited.reduce((a, b) => Math.min(a, b), start);
  const high = visited.reduce((a, b) => Math.max(a, b), start);
  const margin = 0.1 * (high - low);
  return [Math.min(start - reach, low - margin), Math.max(start + reach, high + margin)];
}

/** What a stored coordinate means, with the others at θ₀; undefined if the problem does not say. */
function naturalOf(
  problem: UnrolledProblem,
  theta: Float64Array,
  coordinate: number,
  name: string,
): SurfaceAxis['natural'] {
  const at = (stored: number): number | undefined =>
    describeTheta(
      problem,
      theta.map((value, i) => (i === coordinate ? stored : value)),
    )?.values[name];
  return at(theta[coordinate]) === undefined ? undefined : (stored) => at(stored) ?? NaN;
}

interface Path extends LabelledRun {
  readonly thetas: readonly RecordedTheta[];
}

const MOST_POINTS = 400;

/** At most 400 of them, the last one included. */
function thinned(thetas: readonly RecordedTheta[]): RecordedTheta[] {
  const stride = Math.ceil(thetas.length / MOST_POINTS);
  return thetas.filter((_, i) => (thetas.length - 1 - i) % stride === 0);
}

/** The meta-loss on a grid over two coordinates of θ, with paths of runs. */
export async function surface(target: string, options: SurfaceOptions, terminal: Terminal): Promise<number> {
  const output = pagePath(options.output, 'surface.html');
  const [columns, rows] = gridOption(options.grid);
  const ranges = rangeOption(options.range);
  const workers = integerOption('--seeds', options.seeds, 1) ?? 1;
  const limits = engineLimits(options);
  const input = await openInput(target, options);
  const prepared = await prepareInput(input, [], terminal);
  const { problem, settings } = prepared.plan;
  const layout = thetaLayout(problem);
  const names = coordinateNames(layout);
  const [cx, cy] = axesOption(options.axes, names, problem.name);
  const steps = stepsOption(options.steps, prepared.plan);
  const paths = readRuns(input.label, prepared, options.runs ?? []).map((one): Path => {
    const thetas = recordedThetas(prepared, one.run);
    if (thetas.length > 0) return { ...one, thetas };
    throw new UserError(`${one.run.path} has recorded no θ: it has no checkpoint yet. Leave it out.`);
  });
  const start = initialTheta(problem, settings.seed);
  const { sigma } = prepared.config.estimator;
  const axes = ([cx, cy] as const).map((coordinate, i) => {
    const visited = paths.flatMap(({ thetas }) => thetas.map(({ theta }) => theta[coordinate]));
    const [low, high] = ranges?.[i] ?? rangeAround(start[coordinate], sigma, visited);
    const natural = naturalOf(problem, start, coordinate, names[coordinate]);
    const values = spread(low, high, i === 0 ? columns : rows);
    return { name: names[coordinate], coordinate, values, ...(natural === undefined ? {} : { natural }) };
  });
  const [x, y] = axes;

  const opened = await input.resolver.openEngine(prepared.config.engine, {
    ...limits,
    notice: noticeLines(options, terminal),
  });
  const quiet = options.quiet === true || options.json === true;
  try {
    if (!quiet) {
      terminal.err.write(`problem ${problem.name}, engine ${opened.engine.name} (${opened.reason})\n`);
      terminal.err.write(
        `${columns} × ${rows} points, ${workers} ${workers === 1 ? 'episode' : 'episodes'} of ${steps} inner steps each\n`,
      );
    }
    const program = await opened.engine.compile(problem);
    try {
      const grid = gridThetas(start, x, y);
      const ends = paths.map(({ thetas }) => thetas[thetas.length - 1].theta);
      const thetas = new Float64Array(grid.length + (1 + ends.length) * start.length);
      [grid, start, ...ends].reduce((offset, part) => {
        thetas.set(part, offset);
        return offset + part.length;
      }, 0);
      const begun = performance.now();
      const progress = quiet ? undefined : stepProgress(terminal.err, steps, 'inner steps of all points');
      const measured = await interruptible(
        terminal,
        (signal) =>
          measureThetas(program, {
            thetas,
            steps,
            workers,
            seed: settings.seed,
            signal,
            onSteps: (done) => progress?.update(done),
          }).finally(() => progress?.stop()),
        'interrupted: nothing is written',
      );
      const pointAt = (row: number): SurfacePoint => ({
        x: thetas[row * start.length + cx],
        y: thetas[row * start.length + cy],
        mean: measured.mean[row],
        standardError: measured.standardError[row],
      });
      const points = Array.from({ length: columns * rows }, (_, i) => pointAt(i));
      const flags = { set: options.set, seed: options.seed, engine: options.engine, plugin: options.plugin };
      const shape = { grid: options.grid, axes: options.axes, range: options.range, seeds: options.seeds };
      const result: Surface = {
        title: input.label,
        x,
        y,
        points,
        start: pointAt(points.length),
        paths: paths.map(({ label, run, thetas: own }, i) => ({
          label,
          path: run.path,
          points: thinned(own).map(({ iteration, theta }) => ({ iteration, x: theta[cx], y: theta[cy] })),
          end: pointAt(points.length + 1 + i),
        })),
        engine: opened.engine.name,
        seed: settings.seed,
        workers,
        steps,
        horizon: problem.horizon,
        thetaSize: start.length,
        seconds: (performance.now() - begun) / 1000,
        config: prepared.config,
        reproduce: commandLine('surface', target, { ...flags, ...shape, steps: options.steps, runs: options.runs }),
      };
      await conclude(result, output, options, terminal);
      return EXIT.ok;
    } finally {
      await program.dispose();
    }
  } catch (error) {
    if (error instanceof CancelledError) return EXIT.interrupted;
    throw error;
  } finally {
    await opened.engine.dispose();
  }
}

/** Writes the page and the numbers, and prints the least value and where it is. */
async function conclude(result: Surface, output: string, options: SurfaceOptions, { out }: Terminal): Promise<void> {
  const numbers = output.slice(0, -extname(output).length) + '.json';
  writeJson(numbers, surfaceJson(result));
  writeWhole(output, await renderSurface(result));
  if (options.json === true) {
    const least = leastPoint(result) ?? null;
    const axes = [result.x.name, result.y.name];
    const line = { type: 'surface', title: result.title, axes, least, start: result.start, report: output, numbers };
    out.write(`${JSON.stringify(line)}\n`);
    return;
  }
  if (options.quiet !== true) {
    out.write(`${tableText(surfaceTable(result), { colour: hasColour(out) })}\n`);
    for (const note of surfaceNotes(result)) out.write(`${note}\n`);
    out.write('\n');
  }
  out.write(`surface: ${shown(output)}\nnumbers: ${shown(numbers)}\n`);
}
