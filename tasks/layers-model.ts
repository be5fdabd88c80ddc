/** A tf.LayersModel as a task. The model itself is left exactly as it was. */
import * as tf from '@tensorflow/tfjs';
import {
  ConfigurationError,
  type Batch,
  type Dataset,
  type KeyedRandom,
  type Task,
  type TaskLoss,
  type TensorTree,
} from '../src/contracts';
import { checkInitializer, initialise, type InitializerConfig } from './layers/initializers';
import { checkLayers, initializerOf, keyed, movesAverages } from './layers/layers';
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

/**
 * A model with its weights told apart: those that are trained (slots of the params), averages that training moves (slots of
 * the state), and those that stay.
 */
class LayersBinding {
  private readonly layers: readonly tf.layers.Layer[];
  private readonly trained: Slot[] = [];
  private readonly averages: Slot[] = [];
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
        const name = weightName(variable);
        const isAverage = movesAverages(layer) && AVERAGES.includes(name);
        const weight = bind(layer, variable, (isTrained || isAverage) && init === 'fresh');
        if (isTrained) this.trained.push({ layer: index, name, weight });
        else if (isAverage) this.averages.push({ layer: index, name, weight });
        else this.fixed.push(weight);
      }
    });
  }

  /** Whether training moves anything beside the params. */
  get hasState(): boolean {
    return this.averages.length > 0;
  }

  /** {[layer's index]: {kernel, bias, …}}: indices, since names number all models of the process. */
  init(random: KeyedRandom): TensorTree {
    return this.start(this.trained, random);
  }

  /** {[layer's index]: {moving_mean, moving_variance}}. */
  initState(random: KeyedRandom): TensorTree {
    return this.start(this.averages, random);
  }

  private start(slots: readonly Slot[], random: KeyedRandom): TensorTree {
    const params: Record<string, Record<string, tf.Tensor>> = {};
    slots.forEach(({ layer, name, weight }, i) => {
      const { initializer, shape, value, what } = weight;
      (params[`layer${layer}`] ??= {})[name] =
        initializer === undefined
          ? tf.tensor(value!, [...shape])
          : initialise(initializer, shape, random.foldIn(i), what);
    });
    return params;
  }

  /**
   * Output of the model with these params, and its regularisation losses; it trains, with noise and on the batch's own
   * moments, only with `random`. Without a state the averages are those that the model had.
   */
  apply(params: TensorTree, xs: tf.Tensor, state?: TensorTree, random?: KeyedRandom): Applied {
    const training = random !== undefined;
    const shadowed: (readonly [object, string, PropertyDescriptor | undefined])[] = [];
    const shadow = (object: object, property: string, value: unknown): void => {
      shadowed.push([object, property, Object.getOwnPropertyDescriptor(object, property)]);
      Object.defineProperty(object, property, { value, configurable: true, writable: true });
    };
    const written: tf.Tensor[] = [];
    const ends: (() => void)[] = [];
    try {
      for (const { layer, name, weight } of this.trained) {
        const tensor = (params as Weights)[`layer${layer}`][name];
        shadow(weight.variable, 'read', () => tensor);
      }
      for (const { variable, value, shape } of this.fixed) {
        const tensor = tf.tensor(value!, [...shape]);
        shadow(variable, 'read', () => tensor);
      }
      const averages = this.averages.map(({ layer, name, weight: { variable, value, shape } }) => {
        const at = `layer${layer}`;
        let now = state === undefined ? tf.tensor(value!, [...shape]) : (state as Weights)[at][name];
        shadow(variable, 'read', () => now);
        // The layer writes within a tidy of its own.
        shadow(variable, 'write', (next: tf.Tensor) => {
          now = tf.keep(next);
          written.push(now);
        });
        return { at, name, value: () => now };
      });
      this.layers.forEach((layer, i) => ends.push(keyed(layer, random?.foldIn(i), shadow)));
      const output = this.model.apply(xs, { training }) as tf.Tensor;
      const after: Record<string, Record<string, tf.Tensor>> = {};
      for (const { at, name, value } of averages) (after[at] ??= {})[name] = tf.clone(value());
      return { output, regularisation: training ? this.model.calculateLosses() : [], state: after };
    } finally {
      for (const end of ends) end();
      tf.dispose(written);
      for (const [object, property, own] of shadowed.reverse()) {
        if (own === undefined) Reflect.deleteProperty(object, property);
        else Object.defineProperty(object, property, own);
      }
    }
  }
}

type Weights = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;

interface Applied {
  readonly output: tf.Tensor;
  readonly regularisation: readonly tf.Tensor[];
  /** Averages after the call. */
  readonly state: TensorTree;
}

/** Weights of batch normalisation that are not trained. */
const AVERAGES: readonly string[] = ['moving_mean', 'moving_variance'];

function bind(layer: tf.layers.Layer, variable: tf.LayerVariable, fresh: boolean): BoundWeight {
  const name = weightName(variable);
  const what = `model.${layer.name}.${name}`;
  const shape = variable.shape.map((extent) => extent!);
  // Values are copied now: during a trace the model's variables must not be touched.
  const value = fresh && variable.trainable ? undefined : Float32Array.from(variable.read().dataSync());
  if (!fresh) return { variable, shape, what, value };
  const initializer = initializerOf(layer, name);
  if (initializer === undefined) {
    throw new ConfigurationError(what, 'a weight with an initialiser', 'none', "Use init: 'keep'.");
  }
  checkInitializer(initializer, what);
  return { variable, shape, what, value, initializer };
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
 * A tf.LayersModel as a task: its trainable weights are the params, its loss (with dropout, and with the layers'
 * regularisers) what inner training minimises, and batch normalisation's averages are state. `metrics` include `loss`,
 * without dropout and regularisers, normalised by the averages.
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
    const trained = (params: TensorTree, { xs, ys }: Batch, random: KeyedRandom, before?: TensorTree): TaskLoss => {
      const { output, regularisation, state } = binding.apply(params, xs, before, random);
      return { loss: regularisation.reduce<tf.Tensor>((sum, term) => tf.add(sum, term), lossOf(ys, output)), state };
    };
    return {
      name: 'layers-model',
      dataset,
      batchSize,
      init: (random) => binding.init(random),
      loss: (params, batch, random) => trained(params, batch, random).loss,
      ...(binding.hasState && {
        initState: (_: TensorTree, random: KeyedRandom) => binding.initState(random),
        lossWithState: trained,
      }),
      metrics: (params, { xs, ys }, state) => {
        const { output } = binding.apply(params, xs, state);
        const values = Object.entries(metrics).map(([name, metric]) => [name, metric(ys, output)] as const);
        return { loss: lossOf(ys, output), ...Object.fromEntries(values) };
      },
    };
  });
}
