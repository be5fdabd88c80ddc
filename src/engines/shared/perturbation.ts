/** The θ that each particle runs with, and the weighted sums of the same noise (conventions.md, "Particles and noise"). */
import { EngineError, type Perturbation } from '../../contracts';
import { fillNormals, type Key } from '../../random';
import type { EntryRuns } from './runs';
import { PairMap } from './pair-map';

function expectLength(what: string, length: number, expected: number): void {
  if (length !== expected) throw new EngineError(`${what}: expected ${expected} numbers, got ${length}.`);
}

/** Positions that have the same two-word key, in order of first appearance. */
function groupKeys(keys: Uint32Array): number[][] {
  const groups = new PairMap<number[]>();
  const all: number[][] = [];
  for (let i = 0; 2 * i < keys.length; i++) {
    const group = groups.get(keys[2 * i], keys[2 * i + 1]);
    if (group === undefined) {
      const fresh = [i];
      groups.set(keys[2 * i], keys[2 * i + 1], fresh);
      all.push(fresh);
    } else group.push(i);
  }
  return all;
}

function keyAt(keys: Uint32Array, i: number): Key {
  return [keys[2 * i], keys[2 * i + 1]];
}

/**
 * @param runs whose θ and σ it has
 * @throws EngineError if an array of the perturbation has another length.
 */
export function checkPerturbation(perturbation: Perturbation, m: number, dim: number, runs = 1): void {
  if (perturbation.form === 'explicit') {
    expectLength('explicit perturbation, thetas', perturbation.thetas.length, m * dim);
    return;
  }
  expectLength(`${perturbation.form} perturbation, theta`, perturbation.theta.length, runs * dim);
  if (perturbation.form === 'none') return;
  expectLength('gaussian perturbation, keys', perturbation.keys.length, 2 * m);
  expectLength('gaussian perturbation, signs', perturbation.signs.length, m);
  expectLength('gaussian perturbation, sigma', sigmasOf(perturbation.sigma).length, runs);
}

/** σ of each run. */
export function sigmasOf(sigma: number | Float64Array): Float64Array {
  return typeof sigma === 'number' ? Float64Array.of(sigma) : sigma;
}

/** @throws EngineError unless there is a key of two words for each weight. */
export function checkCombination(keys: Uint32Array, weights: Float64Array): void {
  expectLength('combine, keys', keys.length, 2 * weights.length);
}

/**
 * θ of each of `m` particles, [m × dim] row-major in float64. Antithetic partners have equal keys; their noise is drawn
 * once.
 * @param runs of the particles, where there are several
 * @throws EngineError if an array of the perturbation has another length.
 */
export function thetaRows(perturbation: Perturbation, m: number, dim: number, runs?: EntryRuns): Float64Array {
  checkPerturbation(perturbation, m, dim, runs?.count);
  if (perturbation.form === 'explicit') return perturbation.thetas;
  const { theta } = perturbation;
  const rows = new Float64Array(m * dim);
  const run = (i: number): number => runs?.of[i] ?? 0;
  for (let i = 0; i < m; i++) rows.set(theta.subarray(run(i) * dim, (run(i) + 1) * dim), i * dim);
  if (perturbation.form === 'none') return rows;

  const { keys, signs } = perturbation;
  const sigmas = sigmasOf(perturbation.sigma);
  const noise = new Float64Array(dim);
  for (const group of groupKeys(keys)) {
    fillNormals(keyAt(keys, group[0]), noise);
    for (const i of group) {
      const scale = signs[i] * sigmas[run(i)];
      for (let j = 0; j < dim; j++) rows[i * dim + j] += scale * noise[j];
    }
  }
  return rows;
}

/** Σᵢ weights[i]·noise(keysᵢ) in float64, summed in the order given. */
export function combineNoise(keys: Uint32Array, weights: Float64Array, dim: number): Float64Array {
  checkCombination(keys, weights);
  const sum = new Float64Array(dim);
  const noise = new Float64Array(dim);
  for (let i = 0; i < weights.length; i++) {
    fillNormals(keyAt(keys, i), noise);
    for (let j = 0; j < dim; j++) sum[j] += weights[i] * noise[j];
  }
  return sum;
}
