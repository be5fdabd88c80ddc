/** θ between its two forms: the tree of tensors that problems see and the float64 vector that outer loops move. */
import * as tf from '@tensorflow/tfjs';
import {
  ShapeError,
  treeFlatten,
  treeLeaves,
  treeUnflatten,
  type LearnedOptimizer,
  type TensorTree,
  type ThetaDescription,
  type ThetaLayout,
  type UnrolledProblem,
} from '../contracts';
import { EagerRandom, foldIn, seedKey, STREAMS } from '../random';

function initialTree(problem: Pick<UnrolledProblem, 'initTheta'>, seed: number): TensorTree {
  return problem.initTheta(new EagerRandom(foldIn(seedKey(seed), STREAMS.theta)));
}

/** Leaves in tree order, each row-major, one after the other. */
export function layoutOf(tree: TensorTree): ThetaLayout {
  let offset = 0;
  const leaves = treeLeaves(tree).map(({ path, value }) => {
    const leaf = { path, shape: value.shape, offset, size: value.size };
    offset += value.size;
    return leaf;
  });
  return { size: offset, leaves };
}

/** Where the leaves of a problem's θ lie in the vector, without compiling anything. */
export function thetaLayout(problem: Pick<UnrolledProblem, 'initTheta'>): ThetaLayout {
  let layout: ThetaLayout = { size: 0, leaves: [] };
  tf.tidy(() => {
    // Any seed: only the structure is used.
    layout = layoutOf(initialTree(problem, 0));
  });
  return layout;
}

/** The same, of an optimizer by itself. */
export function layoutOfOptimizer(optimizer: LearnedOptimizer): ThetaLayout {
  // Only the structure is used, of the optimizer's θ as of any problem's.
  return thetaLayout({ initTheta: (random) => optimizer.initTheta(random) });
}

/** A name for each number of θ: its leaf's path, with an index where the leaf has several (`kernel[3]`). */
export function coordinateNames(layout: ThetaLayout): string[] {
  return layout.leaves.flatMap(({ path, size }) => {
    const leaf = path === '' ? 'theta' : path;
    return size === 1 ? [leaf] : Array.from({ length: size }, (_, i) => `${leaf}[${i}]`);
  });
}

/** θ₀ of a run: `initTheta` with the key of the run's seed, as one vector. */
export function initialTheta(problem: Pick<UnrolledProblem, 'initTheta'>, seed: number): Float64Array {
  let theta = new Float64Array(0);
  tf.tidy(() => {
    const tree = initialTree(problem, seed);
    const layout = layoutOf(tree);
    theta = new Float64Array(layout.size);
    treeFlatten(tree).forEach((leaf, i) => theta.set(leaf.dataSync(), layout.leaves[i].offset));
  });
  return theta;
}

/** What θ means to a person, if the problem says. */
export function describeTheta(problem: UnrolledProblem, theta: Float64Array): ThetaDescription | undefined {
  if (problem.describeTheta === undefined) return undefined;
  let description: ThetaDescription | undefined;
  tf.tidy(() => {
    // Any seed: only the structure is used.
    const like = initialTree(problem, 0);
    const layout = layoutOf(like);
    if (layout.size !== theta.length) {
      throw new ShapeError(`θ of ${String(theta.length)} numbers; "${problem.name}" has ${String(layout.size)}.`);
    }
    const leaves = layout.leaves.map(({ shape, offset, size }) =>
      tf.tensor(Float32Array.from(theta.subarray(offset, offset + size)), [...shape], 'float32'),
    );
    description = problem.describeTheta?.(treeUnflatten(like, leaves));
  });
  return description;
}

/** Euclidean norm. */
export function norm(vector: Float64Array): number {
  let sum = 0;
  for (const x of vector) sum += x * x;
  return Math.sqrt(sum);
}

export function allFinite(vector: Float64Array): boolean {
  return vector.every(Number.isFinite);
}
