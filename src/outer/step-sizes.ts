/**
 * Effective step sizes: how far a training moves each of its tensors, as a multiple of the gradient that it is moved by. Of
 * SGD it is the learning rate; an optimizer that divides by statistics of its gradients goes far where they are small.
 */
import * as tf from '@tensorflow/tfjs';
import { treeFlatten, treeLeaves, type TensorTree } from '../contracts';

/** Points of a course at most. */
const POINTS = 100;

/** Names of step metrics are these and a tensor's. */
const UPDATE = 'squared update of ';
const GRADIENT = 'squared gradient of ';

/** A training's course. */
export interface StepSizes {
  /** Inner steps done by the end of each point, of which there are at most 100. */
  readonly t: readonly number[];
  readonly tensors: readonly TensorStepSizes[];
}

export interface TensorStepSizes {
  /** Its path among the parameters, `layers.0.kernel`; `parameters` where they are one tensor. */
  readonly name: string;
  /**
   * Root mean square of what was added to the tensor's elements over that of their gradients, both over the steps since
   * the point before: √(ΣΔ²/Σg²). Geometric mean over the starts where that is positive and finite, NaN if there are none.
   */
  readonly mean: readonly number[];
  /** From mean/factor to mean·factor is a standard error (of the logarithm, over starts) to either side; 1 of a single start. */
  readonly factor: readonly number[];
}

/**
 * What a step must report for its course to be measured: the mean squares of each tensor's gradient, as the optimizer is given it,
 * and of what the step adds to the tensor, whatever the reason (weight decay counts). Traced.
 */
export function stepSizeMetrics(
  before: TensorTree,
  gradients: TensorTree,
  after: TensorTree,
): Readonly<Record<string, tf.Tensor>> {
  const [given, moved] = [gradients, after].map((tree) => treeFlatten<tf.Tensor>(tree));
  return Object.fromEntries(
    treeLeaves<tf.Tensor>(before).flatMap(({ path, value }, i) => {
      const name = path === '' ? 'parameters' : path;
      return [
        [UPDATE + name, tf.mean(tf.square(tf.sub(moved[i], value)))],
        [GRADIENT + name, tf.mean(tf.square(given[i]))],
      ];
    }),
  );
}

/** Sums of squares of one tensor since the last point, a number a start. */
interface Sums {
  readonly update: Float64Array;
  readonly gradient: Float64Array;
}

/** Listens to the windows of a population that goes through whole trainings in step. */
export class StepSizeRecorder {
  private readonly names: readonly string[];
  private readonly pointSteps: number;
  private sums: readonly Sums[];
  private readonly t: number[] = [];
  private readonly courses: readonly { readonly mean: number[]; readonly factor: number[] }[];

  /** @param metrics what the problem's steps report; without those of `stepSizeMetrics` nothing is recorded */
  constructor(
    metrics: readonly string[],
    private readonly starts: number,
    private readonly horizon: number,
  ) {
    this.names = metrics.filter((name) => name.startsWith(UPDATE)).map((name) => name.slice(UPDATE.length));
    this.pointSteps = Math.ceil(horizon / POINTS);
    this.sums = this.zeros();
    this.courses = this.names.map(() => ({ mean: [], factor: [] }));
  }

  private zeros(): Sums[] {
    const zeros = (): Float64Array => new Float64Array(this.starts);
    return this.names.map(() => ({ update: zeros(), gradient: zeros() }));
  }

  /** After a window: `done` inner steps since the start. Points end with windows. */
  add(metricSums: Readonly<Record<string, Float64Array>>, done: number): void {
    if (this.names.length === 0) return;
    this.names.forEach((name, k) => {
      const { update, gradient } = this.sums[k];
      for (let i = 0; i < this.starts; i++) {
        update[i] += metricSums[UPDATE + name][i];
        gradient[i] += metricSums[GRADIENT + name][i];
      }
    });
    if (done < this.horizon && done - (this.t.at(-1) ?? 0) < this.pointSteps) return;
    this.t.push(done);
    this.sums.forEach(({ update, gradient }, k) => {
      const logs = Array.from(update, (sum, i) => Math.log(sum / gradient[i]) / 2).filter(Number.isFinite);
      const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
      const squares = logs.reduce((sum, x) => sum + (x - mean) ** 2, 0);
      const error = logs.length < 2 ? 0 : Math.sqrt(squares / (logs.length - 1) / logs.length);
      this.courses[k].mean.push(Math.exp(mean));
      this.courses[k].factor.push(Math.exp(error));
    });
    this.sums = this.zeros();
  }

  /** Undefined if the steps do not report what it takes. */
  result(): StepSizes | undefined {
    if (this.names.length === 0) return undefined;
    return { t: this.t, tensors: this.names.map((name, k) => ({ name, ...this.courses[k] })) };
  }
}
