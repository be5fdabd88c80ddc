/** A tf.LayersModel of dense layers as a task. The model itself is left exactly as it was. */
import * as tf from '@tensorflow/tfjs';
import {
  ConfigurationError,
  type Batch,
  type Dataset,
  type KeyedRandom,
  type Task,
  type TensorTree,
} from '../src/contracts';
import { checkInitializer, initialise, type InitializerConfig } from './layers/initializers';
import { meanOf, type LayersLoss, type LayersMetric, type LossFunction } from './layers/losses';
import { checkPositiveInteger, withData, type MaybeLoading, type TaskOn } from './with-data';

export interface LayersModelTaskOptions<D extends MaybeLoading = MaybeLoading> {
  readonly data: D;
  /** By name, or (yTrue, yPred) → one number a row; class labels reach a function as int32 [batch]. */
  readonly loss: LayersLoss | LossFunction;
  /** Reported, and possible objectives; by default `accuracy` if the data set has class labels. */
  readonly metrics?: readonly LayersMetric[] | Readonly<Record<string, LayersMetric | LossFunction>>;
  /** 32 by default, as in `model.fit`. */
  readonly batchSize?: number;
  /**
   * `fresh` (default): every episode re-runs each layer's initialiser with the episode's key. `keep`: every episode
   * starts from the weights that the model has now.
   */
  readonly init?: 'fresh' | 'keep';
}

/** Layers that compute with the kernels of dense networks. */
const PLAIN_LAYERS: readonly string[] = [
  ...['InputLayer', 'Dense', 'Activation', 'Flatten', 'Reshape', 'Permute', 'RepeatVector', 'Embedding'],
  ...['ReLU', 'LeakyReLU', 'ELU', 'ThresholdedReLU', 'PReLU', 'Softmax', 'LayerNormalization'],
  ...['Add', 'Multiply', 'Average', 'Maximum', 'Minimum', 'Concatenate'],
];

/** Layers that draw numbers in training: what each does to its input, from a keyed generator. */
const NOISE_LAYERS: Readonly<
  Record<string, (x: tf.Tensor, config: Readonly<Record<string, unknown>>, random: KeyedRandom) => tf.Tensor>
> = {
  Dropout: (x, config, random) => {
    const rate = Number(config.rate);
    if (!(rate > 0 && rate < 1)) return x;
    const noiseShape = (config.noiseShape ?? x.shape) as readonly (number | null)[];
    const draws = random.uniform(noiseShape.map((extent, axis) => extent ?? x.shape[axis]));
    return tf.mul(x, tf.mul(tf.cast(tf.greaterEqual(draws, rate), 'float32'), 1 / (1 - rate)));
  },
  GaussianNoise: (x, config, random) => tf.add(x, random.normal(x.shape, { std: Number(config.stddev) })),
  GaussianDropout: (x, config, random) => {
    const rate = Number(config.rate);
    if (!(rate > 0 && rate < 1)) return x;
    return tf.mul(x, random.normal(x.shape, { mean: 1, std: Math.sqrt(rate / (1 - rate)) }));
  },
};

/** A weight of the model, where its value comes from at the start of an episode. */
interface BoundWeight {
  readonly variable: tf.LayerVariable;
  readonly shape: readonly number[];
  /** Absent: the value is kept. */
  readonly initializer?: InitializerConfig;
  /** The value when the task was made, if it is kept or not trained. */
  readonly value?: Float32Array;
  /** Layer and weight, for errors. */
  readonly what: string;
}

/** The layers of a model, those of models inside it included, in order. */
function leafLayers(model: tf.LayersModel): tf.layers.Layer[] {
  return model.layers.flatMap((layer) => (layer instanceof tf.LayersModel ? leafLayers(layer) : [layer]));
}

function checkLayers(layers: readonly tf.layers.Layer[]): void {
  const known = [...PLAIN_LAYERS, ...Object.keys(NOISE_LAYERS)];
  const unsupported = layers.filter((layer) => !known.includes(layer.getClassName()));
  if (unsupported.length > 0) {
    throw new ConfigurationError(
      'model',
      `layers among ${known.join(', ')}`,
      unsupported.map((layer) => `"${layer.name}" (${layer.getClassName()})`).join(', '),
      'Write the network as a task of your own, with init and loss as functions.',
    );
  }
  for (const layer of layers) {
    for (const [key, value] of Object.entries(layer.getConfig())) {
      if (/constraint$/i.test(key) && Boolean(value)) {
        throw new ConfigurationError(`model.${layer.name}.${key}`, 'no constraint', JSON.stringify(value));
      }
    }
  }
}

/** `dense_Dense1/kernel_2` → `kernel`. */
function weightName(variable: tf.LayerVariable): string {
  return (variable.originalName.split('/').pop() ?? '').replace(/_\d+$/, '');
}

/** One weight of one layer, and its slot in the params tree. */
interface Slot {
  readonly layer: number;
  readonly name: string;
  readonly weight: BoundWeight;
}

/** A model with its weights told apart: those that are trained (slots of the params) and those that stay. */
class LayersBinding {
  private readonly layers: readonly tf.layers.Layer[];
  private readonly trained: Slot[] = [];
  private readonly fixed: BoundWeight[] = [];

  constructor(
    private readonly model: tf.LayersModel,
    init: 'fresh' | 'keep',
  ) {
    this.layers = leafLayers(model);
    checkLayers(this.layers);
    const trainable = new Set(model.trainableWeights);
    this.layers.forEach((layer, index) => {
      for (const variable of layer.weights) {
        const isTrained = trainable.has(variable);
        const weight = bind(layer, variable, isTrained && init === 'fresh');
        if (isTrained) this.trained.push({ layer: index, name: weightName(variable), weight });
        else this.fixed.push(weight);
      }
    });
  }

  /** {[layer's index]: {kernel, bias, …}}: indices, since names number all models of the process. */
  init(random: KeyedRandom): TensorTree {
    const params: Record<string, Record<string, tf.Tensor>> = {};
    this.trained.forEach(({ layer, name, weight }, i) => {
      const { initializer, shape, value, what } = weight;
      (params[`layer${layer}`] ??= {})[name] =
        initializer === undefined
          ? tf.tensor(value!, [...shape])
          : initialise(initializer, shape, random.foldIn(i), what);
    });
    return params;
  }

  /** Output of the model with these params, and its regularisation losses; noise only with `random`. */
  apply(params: TensorTree, xs: tf.Tensor, random?: KeyedRandom): { output: tf.Tensor; regularisation: tf.Tensor[] } {
    return this.with(params, random, () => ({
      output: this.model.apply(xs, { training: random !== undefined }) as tf.Tensor,
      regularisation: random === undefined ? [] : this.model.calculateLosses(),
    }));
  }

  /** Runs with the layers reading `params` and drawing from `random`: own properties that shadow the classes' methods. */
  private with<T>(params: TensorTree, random: KeyedRandom | undefined, body: () => T): T {
    const shadowed: (readonly [object, string])[] = [];
    const shadow = (object: object, method: string, value: unknown): void => {
      Object.defineProperty(object, method, { value, configurable: true });
      shadowed.push([object, method]);
    };
    const tree = params as Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;
    try {
      for (const { layer, name, weight } of this.trained) {
        const tensor = tree[`layer${layer}`][name];
        shadow(weight.variable, 'read', () => tensor);
      }
      for (const { variable, value, shape } of this.fixed) {
        const tensor = tf.tensor(value!, [...shape]);
        shadow(variable, 'read', () => tensor);
      }
      this.layers.forEach((layer, i) => {
        if (!Object.hasOwn(NOISE_LAYERS, layer.getClassName())) return;
        const noise = NOISE_LAYERS[layer.getClassName()];
        const config = layer.getConfig();
        const generator = random?.foldIn(i);
        shadow(layer, 'call', (inputs: tf.Tensor | tf.Tensor[]) => {
          const x = Array.isArray(inputs) ? inputs[0] : inputs;
          return generator === undefined ? x : noise(x, config, generator);
        });
      });
      return body();
    } finally {
      for (const [object, method] of shadowed) Reflect.deleteProperty(object, method);
    }
  }
}

function bind(layer: tf.layers.Layer, variable: tf.LayerVariable, fresh: boolean): BoundWeight {
  const name = weightName(variable);
  const what = `model.${layer.name}.${name}`;
  const shape = variable.shape.map((extent) => extent!);
  // Values are copied now: during a trace the model's variables must not be touched.
  if (!fresh) return { variable, shape, what, value: Float32Array.from(variable.read().dataSync()) };
  const initializer = layer.getConfig()[`${name}Initializer`] as unknown as InitializerConfig | undefined;
  if (initializer === undefined) {
    throw new ConfigurationError(what, 'a weight with an initialiser', 'none', "Use init: 'keep'.");
  }
  checkInitializer(initializer, what);
  return { variable, shape, what, initializer };
}

function checkModel(model: tf.LayersModel, data: Dataset): void {
  if (!(model instanceof tf.LayersModel)) {
    throw new ConfigurationError(
      'model',
      'a function that returns a tf.LayersModel of the same @tensorflow/tfjs',
      typeof model,
    );
  }
  // A sequential model has no outputs until a layer says its input shape.
  if ((model.outputs as readonly unknown[] | undefined)?.[0] === undefined) {
    throw new ConfigurationError('model', 'a model with an input shape', 'none', 'Give the first layer an inputShape.');
  }
  if (model instanceof tf.Sequential && !model.built) model.build();
  if (model.inputs.length !== 1 || model.outputs.length !== 1) {
    const got = `${model.inputs.length} and ${model.outputs.length}`;
    throw new ConfigurationError('model', 'one input and one output', got);
  }
  const expected = model.inputs[0].shape.slice(1);
  const fits =
    expected.length === data.inputShape.length && expected.every((e, i) => e === null || e === data.inputShape[i]);
  if (!fits) {
    throw new ConfigurationError(
      'data',
      `inputs of the model's shape [${expected.join(',')}]`,
      `"${data.name}" with [${data.inputShape.join(',')}]`,
    );
  }
}

function metricsOf(metrics: LayersModelTaskOptions['metrics'], data: Dataset): Readonly<Record<string, LossFunction>> {
  const chosen = metrics ?? (data.classes === undefined ? [] : ['accuracy' as const]);
  const named: [string, LayersMetric | LossFunction][] = Array.isArray(chosen)
    ? (chosen as readonly LayersMetric[]).map((name) => [name, name])
    : Object.entries(chosen as Readonly<Record<string, LayersMetric | LossFunction>>);
  return Object.fromEntries(named.map(([name, metric]) => [name, meanOf(metric, 'task.metrics')]));
}

/**
 * A dense tf.LayersModel as a task: its trainable weights are the params, its loss (with dropout, and with the layers'
 * regularisers) what inner training minimises. `metrics` include `loss`, without dropout and regularisers.
 *
 * `model` is called once. The model that it returns is only read: neither its weights nor its compiled optimizer are
 * touched, and it can be used on.
 * @throws ConfigurationError for layers or initialisers that have no keyed form (named), several inputs or outputs, or
 * data of another shape.
 */
export function layersModelTask<D extends MaybeLoading>(
  model: () => tf.LayersModel,
  options: LayersModelTaskOptions<D>,
): TaskOn<D> {
  const { batchSize = 32, init = 'fresh' } = options;
  checkPositiveInteger('task.batchSize', batchSize);
  const lossOf = meanOf(options.loss, 'task.loss');
  return withData(options.data, (dataset): Task => {
    const made = model();
    checkModel(made, dataset);
    const metrics = metricsOf(options.metrics, dataset);
    const binding = new LayersBinding(made, init);
    return {
      name: 'layers-model',
      dataset,
      batchSize,
      init: (random) => binding.init(random),
      loss: (params, { xs, ys }: Batch, random) => {
        const { output, regularisation } = binding.apply(params, xs, random);
        return regularisation.reduce<tf.Tensor>((sum, term) => tf.add(sum, term), lossOf(ys, output));
      },
      metrics: (params, { xs, ys }) => {
        const { output } = binding.apply(params, xs);
        const values = Object.entries(metrics).map(([name, metric]) => [name, metric(ys, output)] as const);
        return { loss: lossOf(ys, output), ...Object.fromEntries(values) };
      },
    };
  });
}
