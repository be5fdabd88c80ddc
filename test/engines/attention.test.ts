/** A head of attention on every engine, by products of batches and by einsum: values, gradients, and gradients of these. */
import * as tf from '@tensorflow/tfjs';
import type { Inner, TensorTree, UnrolledProblem } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { traceFunction } from '../../src/graph/trace';
import { vjpGraph } from '../../src/graph/vjp';
import { ENGINES } from '../support/engine-table';
import { expectDerivatives, float, withOutputs } from '../support/jacobian';
import { expectNear, stateAfterStep } from '../support/one-step';

/** Sentences, words, features, width of the head. */
const [N, T, D, H] = [2, 5, 4, 3];
const SHAPES = { x: [N, T, D], query: [D, H], key: [D, H], value: [D, H] } as const;
type Name = keyof typeof SHAPES;
const NAMES = Object.keys(SHAPES) as Name[];
type Weights = Record<Name, tf.Tensor>;

const numbers = (shape: readonly number[], phase: number): Float32Array =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(2.17 * i + phase));
const PHASES: Record<Name, number> = { x: 0.3, query: 1.1, key: 2.6, value: 4.2 };
const values = (name: Name): Float32Array => numbers(SHAPES[name], PHASES[name]);

/** softmax(Q·Kᵀ/√h)·V (Vaswani et al. 2017, eq. 1). */
const FORMS: Readonly<Record<string, (weights: Weights) => tf.Tensor>> = {
  products: ({ x, query, key, value }) => {
    const [q, k, v] = [query, key, value].map((w) => tf.matMul(x, tf.expandDims(w, 0)));
    return tf.matMul(tf.softmax(tf.div(tf.matMul(q, k, false, true), Math.sqrt(H))), v);
  },
  einsum: ({ x, query, key, value }) => {
    const [q, k, v] = [query, key, value].map((w) => tf.einsum('ntd,dh->nth', x, w));
    return tf.einsum('nts,nsh->nth', tf.softmax(tf.div(tf.einsum('nth,nsh->nts', q, k), Math.sqrt(H))), v);
  },
};

/** The same in loops over float64; √h is the float32 that constants are. */
function attention(): Float64Array {
  const [x, query, key, value] = NAMES.map(values);
  const projected = (w: Float32Array, n: number, t: number, h: number): number =>
    Array.from({ length: D }, (_, d) => x[(n * T + t) * D + d] * w[d * H + h]).reduce((a, b) => a + b, 0);
  const result = new Float64Array(N * T * H);
  for (let n = 0; n < N; n++)
    for (let t = 0; t < T; t++) {
      const powers = Array.from({ length: T }, (_, s) => {
        let score = 0;
        for (let h = 0; h < H; h++) score += projected(query, n, t, h) * projected(key, n, s, h);
        return Math.exp(score / Math.fround(Math.sqrt(H)));
      });
      const sum = powers.reduce((a, b) => a + b, 0);
      for (let h = 0; h < H; h++)
        result[(n * T + t) * H + h] = powers.reduce((all, p, s) => all + (p / sum) * projected(value, n, s, h), 0);
    }
  return result;
}

function problem(form: (weights: Weights) => tf.Tensor): UnrolledProblem {
  const loss = (weights: Weights): tf.Tensor => tf.sum(tf.sin(tf.mul(form(weights), 2)));
  const step = (weights: Weights, inner: Inner): Record<string, TensorTree> => {
    const first = inner.grad<Weights>(loss)(weights);
    const second = inner.grad<Weights>((at) => {
      const gradient = inner.grad<Weights>(loss)(at);
      return NAMES.map((name) => tf.sum(tf.square(gradient[name]))).reduce((a, b) => tf.add(a, b));
    })(weights);
    return { y: form(weights), first, second };
  };
  return {
    name: 'attention',
    horizon: Infinity,
    initTheta: () => Object.fromEntries(NAMES.map((name) => [name, tf.tensor(values(name), [...SHAPES[name]])])),
    initState: () => {
      const zeros = (): TensorTree => Object.fromEntries(NAMES.map((name) => [name, tf.zeros([...SHAPES[name]])]));
      return { y: tf.zeros([N, T, H]), first: zeros(), second: zeros() };
    },
    step: (theta, _, inner) => ({ state: step(theta as Weights, inner), loss: tf.scalar(0) }),
  };
}

beforeAll(() => tf.setBackend('cpu'));

test.each(Object.keys(FORMS))('%s: first and second derivatives = central differences', (name) => {
  const graph = traceFunction(
    name,
    (...tensors) => FORMS[name](Object.fromEntries(NAMES.map((leaf, i) => [leaf, tensors[i]])) as Weights),
    NAMES.map((leaf) => float(...SHAPES[leaf])),
  );
  const feeds = NAMES.map((leaf) => Float64Array.from(values(leaf)));
  expectDerivatives(graph, feeds);
  const reverse = vjpGraph(graph);
  const g = Float64Array.from(numbers([N, T, H], 0.9));
  expectDerivatives(withOutputs(reverse, reverse.outputs.slice(1)), [...feeds, g]);
});

// Three nested products, written out number by number, keep a compiler busy for minutes.
const USUAL = ENGINES.filter(({ name }) => name !== 'native, lane-major');

describe.each(USUAL)('$name', ({ open, exact }) => {
  let engine: GraphEngine;
  let reference: GraphEngine;
  beforeAll(async () => {
    engine = await open();
    reference = await ENGINES[0].open();
  });
  afterAll(() => engine.dispose());

  test.each(Object.keys(FORMS))(
    '%s',
    async (name) => {
      const unrolled = problem(FORMS[name]);
      const [got, expected] = [await stateAfterStep(engine, unrolled), await stateAfterStep(reference, unrolled)];
      // A few dozen float32 roundings, and their growth in two derivatives.
      const tolerance = exact ? 1e-13 : 5e-6;
      expectNear(got['state.y'], attention(), tolerance, 'values');
      for (const order of ['first', 'second'])
        for (const leaf of NAMES) {
          const path = `state.${order}.${leaf}`;
          expectNear(got[path], expected[path], order === 'first' ? tolerance : 8 * tolerance, path);
        }
    },
    300_000,
  );
});
