/** Properties of what moves θ. */
import type { ArrayBundle, OuterOptimizer } from '../contracts';
import { firstDifference, firstNamedDifference, PropertyError, type Make, type Property } from './property';

const STEPS = 200;
const START = [1, -2, 0.5];
const numbersOf = (bundle: ArrayBundle): Record<string, ArrayLike<number>> =>
  Object.fromEntries(Object.entries(bundle).map(([name, { data }]) => [name, data]));

const pure: Property<Make<OuterOptimizer>> = {
  name: 'a step is a function of θ, gradient and state, which it leaves as they are',
  check: async (make) => {
    const optimizer = await make();
    const state = optimizer.init(START.length);
    const [theta, gradient, before] = [Float64Array.from(START), Float64Array.of(0.3, 0.1, -2), structuredClone(state)];
    const one = optimizer.update(theta, gradient, state, 0);
    const two = (await make()).update(theta, gradient, structuredClone(before), 0);
    const changed =
      firstDifference(theta, START) ??
      firstDifference(gradient, [0.3, 0.1, -2]) ??
      firstNamedDifference(numbersOf(state), numbersOf(before));
    if (changed !== undefined) throw new PropertyError('inputs as they were', changed, 'Copy before you change.');
    const differs =
      firstDifference(one.theta, two.theta) ?? firstNamedDifference(numbersOf(one.state), numbersOf(two.state));
    if (differs === undefined) return undefined;
    throw new PropertyError('the same step twice', differs, 'Keep everything in the state that is handed in and out.');
  },
};

const minimises: Property<Make<OuterOptimizer>> = {
  name: 'it goes down: ½‖θ‖² is less after 200 steps',
  check: async (make) => {
    const optimizer = await make();
    let theta: Float64Array = Float64Array.from(START);
    let state = optimizer.init(START.length);
    const square = (x: Float64Array): number => 0.5 * x.reduce((sum, y) => sum + y * y, 0);
    const before = square(theta);
    for (let i = 0; i < STEPS; i++) ({ theta, state } = optimizer.update(theta, theta.slice(), state, i));
    const after = square(theta);
    if (after < before) return undefined;
    throw new PropertyError(`less than ${before}`, String(after), 'A step goes against the gradient: minimise.');
  },
};

export const OUTER_OPTIMIZER_PROPERTIES: readonly Property<Make<OuterOptimizer>>[] = [pure, minimises];
