/** An optimizer of ours as one of TensorFlow.js: `model.compile({ optimizer })`, `minimize`, `applyGradients`. */
import * as tf from '@tensorflow/tfjs';
import {
  OuterloopError,
  ShapeError,
  treeFlatten,
  treeLeaves,
  treeMap,
  treeUnflatten,
  UserError,
  WeightsError,
  type LearnedOptimizer,
  type TensorTree,
  type UpdateRule,
} from '../contracts';
import { EagerRandom, foldIn, seedKey } from '../random';
import { decodeWeights, encodeWeights, type OptimizerWeights } from './weights-file';

/** A variable of the user's that is trained. */
interface Trained {
  readonly name: string;
  readonly variable: tf.Variable;
}

/** An optimizer that is built. */
interface Parts {
  readonly name: string;
  readonly rules: UpdateRule;
  readonly theta: TensorTree;
}

/** As TensorFlow.js has it, which does not export it. */
interface NamedTensor {
  name: string;
  tensor: tf.Tensor;
}
type Named = tf.NamedTensorMap | NamedTensor[];
type Gradient = tf.Tensor | null | undefined;

const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** JSON of what TensorFlow.js saves with a model. Words of one case only: it rewrites names of keys. */
interface SavedConfig extends tf.serialization.ConfigDict {
  /** The file of weights in base 64. */
  readonly file: string;
  readonly seed: number;
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** How the name in a file of weights becomes an optimizer. */
export type BuildParts = (weights: OptimizerWeights) => Promise<LearnedOptimizer>;

/**
 * Trains variables of TensorFlow.js by an optimizer with fixed θ. The t-th call of `applyGradients` is the inner step t;
 * its state is kept between the calls, in the order in which variables are given.
 *
 * - A variable whose gradient is missing (null) stays as it is; its state sees a gradient of zeros.
 * - All gradients of a step are given at once, by `minimize`, `model.fit` or one call of `applyGradients`.
 * - `getWeights` and `setWeights` hold the whole state: training goes on with the bits that it would have had.
 */
export class TrainableOptimizer extends tf.Optimizer {
  /** @nocollapse */
  static readonly className: string = 'OuterloopOptimizer';

  private parts?: Parts;
  private state?: TensorTree;
  /** Shapes of the variables that the state is for. */
  private shapes?: readonly (readonly number[])[];
  /** What `setWeights` gave before the first step. */
  private restored?: readonly NamedTensor[];
  private loss?: tf.Scalar;
  private failure?: unknown;
  /** Settled once the optimizer can be used; only one that was read with a saved model has to be waited for. */
  readonly ready: Promise<void>;

  constructor(
    readonly weights: OptimizerWeights,
    optimizer: LearnedOptimizer | Promise<LearnedOptimizer>,
    private readonly seed = 0,
  ) {
    super();
    if (optimizer instanceof Promise) {
      this.ready = optimizer.then((built) => this.build(built));
      // Said by the first step, or by whoever awaits `ready`.
      this.ready.catch((error: unknown) => (this.failure = error));
    } else {
      this.build(optimizer);
      this.ready = Promise.resolve();
    }
  }

  private build(optimizer: LearnedOptimizer): void {
    const { layout, theta } = this.weights;
    let like: TensorTree = [];
    // Only the structure is used.
    tf.tidy(() => {
      like = optimizer.initTheta(new EagerRandom(seedKey(0)));
    });
    const leaves = layout.leaves.map(({ shape, offset, size }) =>
      tf.keep(tf.tensor(theta.slice(offset, offset + size), [...shape], 'float32')),
    );
    const tree = treeUnflatten(like, leaves);
    const rules = optimizer.optimizer(tree);
    this.parts = { name: optimizer.name, rules: rules.eager ?? rules, theta: tree };
  }

  /** As TensorFlow.js' own, and an architecture may look at the loss. */
  override minimize(f: () => tf.Scalar, returnCost = false, varList?: tf.Variable[]): tf.Scalar | null {
    const { value, grads } = this.computeGradients(f, varList);
    this.loss = value;
    try {
      this.applyGradients(varList === undefined ? grads : varList.map(({ name }) => ({ name, tensor: grads[name] })));
    } finally {
      this.loss = undefined;
      tf.dispose(grads);
    }
    if (returnCost) return value;
    value.dispose();
    return null;
  }

  /** @throws ShapeError for variables other than those that the state is for, or that are not float32 */
  override applyGradients(variableGradients: Named): void {
    const { rules } = this.usable();
    const given: { name: string; tensor: Gradient }[] = Array.isArray(variableGradients)
      ? variableGradients
      : Object.entries(variableGradients).map(([name, tensor]) => ({ name, tensor }));
    const trained = given.map(({ name }) => this.variableNamed(name));
    this.checkShapes(trained);
    const loss = this.loss;
    const t = this.iterations;
    const key = foldIn(seedKey(this.seed), t);
    const before = this.state;
    let updated: readonly tf.Tensor[] = [];
    let state: TensorTree = [];
    tf.tidy(() => {
      const params = trained.map(({ variable }) => variable as tf.Tensor);
      const result = rules.update({
        params,
        gradients: given.map(({ tensor }, i) => tensor ?? tf.zerosLike(params[i])),
        state: before ?? this.initialState(params, rules),
        t: tf.scalar(t, 'int32'),
        get loss(): tf.Scalar {
          if (loss !== undefined) return loss;
          throw new UserError(
            'this optimizer looks at the loss: train by minimize or model.fit, not by applyGradients.',
          );
        },
        random: new EagerRandom(key),
      });
      // Clones, as an optimizer may hand a tensor through.
      updated = (result.params as readonly tf.Tensor[]).map((tensor) => tf.keep(tf.clone(tensor)));
      state = treeMap(result.state, (leaf) => tf.keep(tf.clone(leaf)));
    });
    trained.forEach(({ variable }, i) => {
      const missing = given[i].tensor === null || given[i].tensor === undefined;
      if (!missing) variable.assign(updated[i]);
    });
    tf.dispose([...updated]);
    this.forget();
    this.state = state;
    this.shapes ??= trained.map(({ variable }) => [...variable.shape]);
    this.incrementIterations();
  }

  private usable(): Parts {
    if (this.parts !== undefined) return this.parts;
    if (this.failure instanceof Error) throw this.failure;
    throw new OuterloopError(
      'the optimizer is not built yet, or was disposed of. Await its `ready` before the first step.',
    );
  }

  private variableNamed(name: string): Trained {
    const variable = (tf.engine().registeredVariables as Readonly<Record<string, tf.Variable | undefined>>)[name];
    if (variable === undefined) throw new ShapeError(`there is no variable "${name}" to be trained.`);
    if (variable.dtype === 'float32') return { name, variable };
    throw new ShapeError(
      `variable "${name}": expected float32, got ${variable.dtype}. Take it out of what is trained (trainable: false).`,
    );
  }

  private checkShapes(trained: readonly Trained[]): void {
    const { shapes } = this;
    if (shapes === undefined) return;
    const same =
      shapes.length === trained.length &&
      trained.every(({ variable }, i) => shapeText(variable.shape) === shapeText(shapes[i]));
    if (same) return;
    const text = (all: readonly (readonly number[])[]): string => all.map(shapeText).join(' ');
    throw new ShapeError(
      `the state of this optimizer is for variables of the shapes ${text(shapes)}, got ` +
        `${text(trained.map(({ variable }) => variable.shape))}. Load an optimizer of its own for each model.`,
    );
  }

  /** The state before the first step: that of `init`, or what was restored. */
  private initialState(params: TensorTree, rules: UpdateRule): TensorTree {
    const fresh = rules.init(params);
    const { restored } = this;
    if (restored === undefined) return fresh;
    const leaves = treeLeaves(fresh);
    const stranger = restored.find(({ name }) => !name.startsWith(this.stateName('')));
    if (stranger !== undefined) {
      throw new WeightsError(
        `the restored state has a tensor "${stranger.name}", expected names such as "${this.stateName('…')}": it is that of ` +
          'another optimizer or of another version. Restore it to the optimizer that it was saved from.',
      );
    }
    const fits =
      leaves.length === restored.length &&
      leaves.every(
        ({ path, value }, i) =>
          this.stateName(path) === restored[i].name && shapeText(value.shape) === shapeText(restored[i].tensor.shape),
      );
    if (!fits) {
      throw new ShapeError(
        `the restored state has ${String(restored.length)} tensors of other shapes than the ${String(leaves.length)} ` +
          'that these variables need. Restore it for the model that it was saved with.',
      );
    }
    return treeUnflatten(
      fresh,
      restored.map(({ tensor }) => tensor),
    );
  }

  /** Name of a tensor of the state: whose it is, and by which version of it. */
  private stateName(path: string): string {
    return `${this.usable().name}@${String(this.weights.featureVersion)}/${path}`;
  }

  /** The step, and the state's tensors in their order; before the first step, those that were restored. */
  override async getWeights(): Promise<NamedTensor[]> {
    const saved =
      this.state === undefined
        ? (this.restored ?? [])
        : treeLeaves(this.state).map(({ path, value }) => ({ name: this.stateName(path), tensor: value }));
    return [await this.saveIterations(), ...saved];
  }

  /** The first step throws: ShapeError for the state of other variables, WeightsError for that of another optimizer or version. */
  override async setWeights(weightValues: NamedTensor[]): Promise<void> {
    const values = await this.extractIterations(weightValues);
    this.forget();
    this.shapes = undefined;
    this.restored =
      values.length === 0 ? undefined : values.map(({ name, tensor }) => ({ name, tensor: tf.keep(tf.clone(tensor)) }));
  }

  override getConfig(): SavedConfig {
    return { file: toBase64(encodeWeights(this.weights)), seed: this.seed };
  }

  /** Frees θ and state. */
  override dispose(): void {
    this.forget();
    if (this.parts !== undefined) tf.dispose(treeFlatten(this.parts.theta));
    this.parts = undefined;
  }

  /** Frees the state, restored or not. */
  private forget(): void {
    if (this.state !== undefined) tf.dispose(treeFlatten(this.state));
    this.restored?.forEach(({ tensor }) => tensor.dispose());
    this.state = undefined;
    this.restored = undefined;
  }
}

/**
 * Makes TensorFlow.js know the class, so that models that were saved with their optimizer are read with it.
 * @param build how names in files become optimizers
 */
export function registerTrainable(build: BuildParts): void {
  class Bound extends TrainableOptimizer {
    static override fromConfig<T extends tf.serialization.Serializable>(
      _cls: tf.serialization.SerializableConstructor<T>,
      config: tf.serialization.ConfigDict,
    ): T {
      const { file, seed } = config as SavedConfig;
      const weights = decodeWeights(fromBase64(file), 'the optimizer of the saved model');
      return new TrainableOptimizer(weights, build(weights), seed) as unknown as T;
    }
  }
  tf.serialization.registerClass(Bound);
}
