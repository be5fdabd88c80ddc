/**
 * An optimizer's update as a function of the gradient and of what the gradient was before: the picture that papers of learned
 * optimizers show (Metz et al. 2019, 2020; Maheswaranathan et al. 2021), in a form that asks nothing of the architecture.
 *
 * Every pair (gradient, past gradient) of the grid is a parameter of one vector. Its gradient was the past one at all steps
 * before t; at t it is the present one. Whatever an optimizer keeps (momenta, second moments, hidden states) is thus what it
 * would be. Parameters stay at zero, the loss at one. Features that are divided by their root mean square over the tensor
 * see that of the grid.
 */
import type { LearnedOptimizer } from '../contracts';
import { compileInterpreter, stepContext, type Value } from '../graph/interpreter';
import { sizeOf, type Graph } from '../graph/ir';
import { optimise } from '../graph/passes';
import { traceUpdate, type UpdateGraphs } from '../graph/trace';
import type { RunResult } from '../outer/result';
import { SHARED, renderSvg, type Chart } from './charts';
import { formatNumber } from './page';

/** The gradients of the grid, in multiples of `GRADIENT_SCALE`: the middle 95 % of a normal distribution. */
const AXIS: readonly number[] = Array.from({ length: 17 }, (_, i) => (i - 8) / 4);

/** A gradient of 1 on the axes. It counts only for optimizers that are not indifferent to scale. */
const GRADIENT_SCALE = 0.01;

/** Arithmetic that the steps before t may come to, about a second's: later times are left out. */
const MOST_OPERATIONS = 4e8;

/** What the pictures show, for those who read them. */
export const UPDATE_MAP_NOTE =
  'What is added to a parameter that is zero, by its gradient at step t and by what its gradient was at all steps before (at t = 0 ' +
  'there are none). Each picture is one tensor of so many parameters; the loss is 1 throughout.';

export interface UpdateMap {
  readonly optimizer: string;
  /** One a time; `updates` has one number a pair, the gradient moving fastest: what is added to the parameter. */
  readonly times: readonly { readonly t: number; readonly updates: Float64Array }[];
}

function operationsOf({ nodes }: Graph): number {
  return nodes.reduce((sum, { op, type, inputs }) => {
    if (op !== 'matmul') return sum + sizeOf(type.shape);
    return sum + sizeOf(type.shape) * (nodes[inputs[0]].type.shape.at(-1) ?? 1);
  }, 0);
}

/** A graph of `traceUpdate`, optimised, run in float64 on inputs by name. */
function runner(graph: Graph): (inputs: ReadonlyMap<string, Value>, t: number) => Value[] {
  const ready = optimise(graph);
  const compiled = compileInterpreter(ready);
  const names = ready.inputs.map((id) => {
    const node = ready.nodes[id];
    return node.op === 'input' ? node.attributes.name : '';
  });
  return (inputs, t) =>
    compiled.run(
      names.map((name) => inputs.get(name)!),
      stepContext(0, 0, 0, t),
    );
}

/** t = 0, a tenth of the horizon, and its end, as far as the steps up to there are no more than `most`. */
function timesOf(horizon: number, most: number): number[] {
  const last = Math.min(Number.isFinite(horizon) ? horizon - 1 : 1000, most);
  return [...new Set([0, Math.round(last / 10), last])];
}

/**
 * @param theta as stored
 * @param horizon inner steps of an episode, or Infinity
 */
export function updateMap(optimizer: LearnedOptimizer, theta: ArrayLike<number>, horizon: number): UpdateMap {
  const pairs = AXIS.length ** 2;
  const graphs: UpdateGraphs = traceUpdate(optimizer.forHorizon?.(horizon) ?? optimizer, [[pairs]]);
  const { state, update } = graphs;
  const init = runner(graphs.init);
  const whole = runner(update);
  // What only the parameters need, such as a network over them, is left out of the steps before.
  const onlyState: Graph = { ...update, outputs: update.outputs.slice(0, state.length) };
  const advance = runner(onlyState);
  const most = Math.floor(MOST_OPERATIONS / Math.max(1, operationsOf(optimise(onlyState))));

  const zeros = new Float64Array(pairs);
  const fixed = new Map<string, Value>([
    ...graphs.theta.leaves.map(({ path, offset, size }): [string, Value] => [
      path === '' ? 'theta' : `theta.${path}`,
      Float64Array.from({ length: size }, (_, i) => theta[offset + i]),
    ]),
    ['state.params.0', zeros],
    ['state.gradients.0', zeros],
    ['state.loss', Float64Array.of(1)],
    ...state.map(({ path }): [string, Value] => [`state.${path}`, zeros]),
    ['t', Int32Array.of(0)],
  ]);
  const withState = (values: readonly Value[], t: number, gradients: Float64Array): Map<string, Value> => {
    const inputs = new Map(fixed);
    state.forEach(({ path }, i) => inputs.set(`state.${path}`, values[i]));
    return inputs.set('t', Int32Array.of(t)).set('state.gradients.0', gradients);
  };
  const gradientOf = (of: (pair: number) => number): Float64Array =>
    Float64Array.from({ length: pairs }, (_, pair) => GRADIENT_SCALE * AXIS[of(pair)]);
  const present = gradientOf((pair) => pair % AXIS.length);
  const past = gradientOf((pair) => Math.floor(pair / AXIS.length));

  let values = init(fixed, 0);
  let t = 0;
  const times = timesOf(horizon, most).map((time) => {
    for (; t < time; t++) values = advance(withState(values, t, past), t);
    const after = whole(withState(values, time, present), time);
    return { t: time, updates: Float64Array.from(after[state.length]) };
  });
  return { optimizer: optimizer.name, times };
}

/**
 * Whether θ is weights that mean nothing to a person, and not only hyperparameters: what it is called in natural units does
 * not account for all of it.
 */
export function isLearned(optimizer: LearnedOptimizer, { layout, description }: RunResult): boolean {
  if (optimizer.describeTheta === undefined) return layout.size > 0;
  return description !== undefined && Object.keys(description.values).length < layout.size;
}

/** `optimizer,t,gradient,pastGradient,update`, a line a pair. */
export function updateMapCsv(maps: readonly UpdateMap[]): string {
  const lines = maps.flatMap(({ optimizer, times }) =>
    times.flatMap(({ t, updates }) =>
      Array.from(updates, (update, pair) =>
        [optimizer, t, ...pairAt(pair).map((x) => GRADIENT_SCALE * x), update].join(','),
      ),
    ),
  );
  return ['optimizer,t,gradient,pastGradient,update', ...lines, ''].join('\n');
}

const pairAt = (pair: number): [number, number] => [AXIS[pair % AXIS.length], AXIS[Math.floor(pair / AXIS.length)]];

const SIDE = 190;
const HALF = (AXIS[1] - AXIS[0]) / 2;

/** A heat map a time, side by side; one scale of colours for all of them, white where nothing happens. */
export async function updateMapChart({ optimizer, times }: UpdateMap): Promise<Chart> {
  const largest = times.reduce(
    (most, { updates }) => updates.reduce((a, x) => (Number.isFinite(x) ? Math.max(a, Math.abs(x)) : a), most),
    0,
  );
  const bound = largest === 0 ? 1 : largest;
  const axis = (name: string, field: string, title: string) => ({
    [name]: { field, type: 'quantitative', title, scale: { domain: [AXIS[0] - HALF, -AXIS[0] + HALF], nice: false } },
    [`${name}2`]: { field: `${field}End` },
  });
  const units = times.map(({ t, updates }) => ({
    title: `t = ${t}`,
    width: SIDE,
    height: SIDE,
    data: {
      values: Array.from(updates, (update, pair) => {
        const [g, m] = pairAt(pair);
        return {
          g: g - HALF,
          gEnd: g + HALF,
          m: m - HALF,
          mEnd: m + HALF,
          update: Number.isFinite(update) ? update : null,
        };
      }),
    },
    mark: { type: 'rect', clip: true },
    encoding: {
      ...axis('x', 'g', 'gradient'),
      ...axis('y', 'm', 'gradient at all steps before'),
      color: {
        field: 'update',
        type: 'quantitative',
        title: 'Δw',
        scale: { domain: [-bound, 0, bound], range: ['#d55e00', '#ffffff', '#0072b2'] },
        legend: { gradientLength: SIDE * 0.8, format: '.1~e' },
      },
    },
  }));
  const spec = { ...SHARED, hconcat: units };
  return {
    title: `Update by ${optimizer}, largest ${formatNumber(largest)}; gradients in multiples of ${GRADIENT_SCALE}`,
    // The parts are built apart, where their literal types are lost.
    svg: await renderSvg(spec as unknown as Parameters<typeof renderSvg>[0]),
  };
}
