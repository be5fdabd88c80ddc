/**
 * What an update by a learned optimizer costs within `model.fit`: beside the model's own `variableGrads`, of a 784-128-10
 * network at batch 128, op by op as TensorFlow.js runs both.
 */
import * as tf from '@tensorflow/tfjs';
import { adafacMlp, perParameterMlp } from '../learned-optimizers';
import type { LearnedOptimizer, TensorTree, UnrolledProblem } from '../src/contracts';
import { TrainableOptimizer } from '../src/deploy';
import { createEngine } from '../src/engines';
import { initialTheta, layoutOfOptimizer } from '../src/outer';
import { EagerRandom, seedKey } from '../src/random';
import { worseOf } from './candidates/engine-process';

export const FIT_CASES: readonly LearnedOptimizer[] = [perParameterMlp(), adafacMlp()];

const WIDTHS = [784, 128, 10] as const;
const BATCH = 128;
/** Updates that are held against float64. */
const CHECKED = 3;
/** Of a loss, relative. Steps are of 1e-3, and the square roots of what is nearly zero magnify their rounding. */
const TOLERANCE = 1e-5;
/** A round has so many of each, in turn. */
const CALLS = 3;

interface Values {
  readonly shape: number[];
  readonly values: Float32Array;
}

/** Weights and biases layer by layer, then inputs in [0, 1) and classes as one-hot rows. */
function startValues(): { readonly params: readonly Values[]; readonly xs: Values; readonly ys: Values } {
  tf.engine().startScope();
  try {
    const random = new EagerRandom(seedKey(0));
    const valuesOf = (tensor: tf.Tensor): Values => ({
      shape: tensor.shape,
      values: Float32Array.from(tensor.dataSync()),
    });
    const params = WIDTHS.slice(1).flatMap((out, i) => [
      valuesOf(random.normal([WIDTHS[i], out], { std: 1 / Math.sqrt(WIDTHS[i]) })),
      valuesOf(tf.zeros([out])),
    ]);
    const classes = tf.oneHot(random.integer([BATCH], 0, WIDTHS[2]), WIDTHS[2]);
    return {
      params,
      xs: valuesOf(random.uniform([BATCH, WIDTHS[0]])),
      ys: valuesOf(tf.cast(classes, 'float32')),
    };
  } finally {
    tf.engine().endScope();
  }
}

const tensorOf = ({ values, shape }: Values): tf.Tensor => tf.tensor(values, shape);

/** Losses before each of the first updates, by the float64 reference engine. */
export async function expectedFitLosses(index: number): Promise<number[]> {
  const optimizer = FIT_CASES[index];
  const { params: start, xs, ys } = startValues();
  const logits = ([k1, b1, k2, b2]: readonly tf.Tensor[]): tf.Tensor => {
    const hidden = tf.relu(tf.add(tf.matMul(tensorOf(xs) as tf.Tensor2D, k1 as tf.Tensor2D), b1));
    return tf.add(tf.matMul(hidden as tf.Tensor2D, k2 as tf.Tensor2D), b2);
  };
  const problem: UnrolledProblem = {
    name: 'fit',
    horizon: CHECKED,
    initTheta: (random) => optimizer.initTheta(random),
    initState: (theta) => {
      const params = start.map(tensorOf);
      return { params, state: optimizer.optimizer(theta).init(params) };
    },
    step: (theta, before, inner) => {
      const { params, state } = before as { params: TensorTree; state: TensorTree };
      const { value, gradient } = inner.valueAndGrad((tree: TensorTree) =>
        tf.losses.softmaxCrossEntropy(tensorOf(ys), logits(tree as tf.Tensor[])),
      )(params);
      const { t, random } = inner;
      const made = optimizer.optimizer(theta).update({ params, gradients: gradient, state, t, loss: value, random });
      return { state: made, loss: value };
    },
  };
  const { engine } = await createEngine('reference');
  const program = await engine.compile(problem);
  const population = await program.createPopulation({ size: 1, seed: 0 });
  const one = {
    particles: Int32Array.of(0),
    perturbation: { form: 'none', theta: Float64Array.from(thetaOf(optimizer)) },
  } as const;
  await population.reset({ ...one, workers: Int32Array.of(0), episodes: Int32Array.of(0) });
  const losses: number[] = [];
  for (let t = 0; t < CHECKED; t++) losses.push((await population.advance({ ...one, steps: 1 })).lossSum[0]);
  await engine.dispose();
  return losses;
}

/** θ₀ as a file of weights would hold it. */
function thetaOf(optimizer: LearnedOptimizer): Float32Array {
  return Float32Array.from(initialTheta({ initTheta: (random) => optimizer.initTheta(random) }, 0));
}

/** Seconds of one call, each the mean of a round's. */
export interface FitRound {
  readonly gradients: number;
  readonly update: number;
}

/** A model in training on one backend. */
export class FitRounds {
  private constructor(
    private readonly optimizer: TrainableOptimizer,
    private readonly variables: readonly tf.Variable[],
    private readonly loss: () => tf.Scalar,
  ) {}

  /** @param engine one of the tfjs engines, whose backend it runs on */
  static async start(engine: string, index: number): Promise<FitRounds> {
    // Loads the backend; a cpu engine has nothing to load.
    const opened = (await createEngine(engine)).engine as { readonly device?: { readonly backendName: string } };
    if (opened.device === undefined) throw new Error(`engine ${engine} runs on no TensorFlow.js backend`);
    await tf.setBackend(opened.device.backendName);
    const { params, xs, ys } = startValues();
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [WIDTHS[0]], units: WIDTHS[1], activation: 'relu' }),
        tf.layers.dense({ units: WIDTHS[2] }),
      ],
    });
    model.setWeights(params.map(tensorOf));
    const [inputs, classes] = [tensorOf(xs), tensorOf(ys)];
    const variables = model.trainableWeights.map((weight) => weight.read() as tf.Variable);
    const learned = FIT_CASES[index];
    const optimizer = new TrainableOptimizer(
      {
        optimizer: { name: learned.name },
        featureVersion: 1,
        layout: layoutOfOptimizer(learned),
        theta: thetaOf(learned),
        record: {},
      },
      learned,
    );
    return new FitRounds(optimizer, variables, () =>
      tf.tidy(() => tf.losses.softmaxCrossEntropy(classes, model.apply(inputs) as tf.Tensor).asScalar()),
    );
  }

  /** @throws Error if training does not have the expected losses */
  check(expected: readonly number[]): string {
    let worst = 0;
    for (const loss of expected) {
      const cost = this.optimizer.minimize(this.loss, true, [...this.variables])!;
      worst = worseOf(worst, Math.abs(cost.dataSync()[0] / loss - 1));
      cost.dispose();
    }
    const what = `losses of ${expected.length} steps differ from float64 by ${worst.toExponential(1)}`;
    if (!(worst <= TOLERANCE)) throw new Error(`${what}; at most ${TOLERANCE} is right`);
    return what;
  }

  /** Both end on the host: a number of the result is read. */
  round(): FitRound {
    const seconds = { gradients: 0, update: 0 };
    for (let call = 0; call < CALLS; call++) {
      const start = performance.now();
      const { value, grads } = tf.variableGrads(this.loss, [...this.variables]);
      value.dataSync();
      const between = performance.now();
      this.optimizer.applyGradients(grads);
      this.variables[this.variables.length - 1].dataSync();
      const end = performance.now();
      tf.dispose([value, ...Object.values(grads)]);
      seconds.gradients += (between - start) / 1000 / CALLS;
      seconds.update += (end - between) / 1000 / CALLS;
    }
    return seconds;
  }
}
