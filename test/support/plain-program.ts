/**
 * An UnrollProgram in plain TypeScript, float64, without graph or engine: statistical tests of estimators run on it fast
 * and independently of what engines compute. It follows src/contracts/engine.ts to the letter.
 */
import type { UnrolledProblem } from '../../src/contracts';
import { normals } from '../../src/random/draws';
import { plainDerivative } from './plain-derivative';
import { fail, PlainPopulation, type PlainProblem, type PlainProgram } from './plain-population';

export type { PlainProblem, PlainProgram } from './plain-population';

/** A program of a plain problem. */
export function plainProgram(problem: PlainProblem): PlainProgram {
  // Noise is asked for once a window by each partner and once by combine; the keys of one population repeat for long.
  const cache = new Map<number, Float32Array>();
  const noiseOf = (k0: number, k1: number): Float32Array => {
    // 53 of the 64 bits: two keys of a test that agree in them are not to be expected (4096² / 2⁵⁴).
    const id = k0 * 2 ** 21 + (k1 >>> 11);
    const found = cache.get(id);
    if (found !== undefined) return found;
    if (cache.size > 4096) cache.clear();
    const noise = normals([k0, k1], problem.thetaSize);
    cache.set(id, noise);
    return noise;
  };
  const unused = () => fail('a plain problem has no graph');
  const unrolled: UnrolledProblem = {
    name: problem.name,
    horizon: problem.horizon,
    ...(problem.horizonSchedule === undefined ? {} : { horizonSchedule: problem.horizonSchedule }),
    initTheta: unused,
    initState: unused,
    step: unused,
  };
  const program: PlainProgram = {
    engine: 'plain',
    problem: unrolled,
    theta: {
      size: problem.thetaSize,
      leaves: [{ path: '', shape: [problem.thetaSize], offset: 0, size: problem.thetaSize }],
    },
    stateSize: problem.stateSize,
    metrics: problem.metric ? ['metric'] : [],
    finishes: [],
    steps: 0,
    calls: [],
    record: false,
    derivativePrograms: 0,
    directionsChange: false,
    createPopulation: ({ size }) => Promise.resolve(new PlainPopulation(program, problem, noiseOf, size)),
    combine: (keys, weights) => {
      const sum = new Float64Array(problem.thetaSize);
      weights.forEach((weight, i) => {
        const noise = noiseOf(keys[2 * i], keys[2 * i + 1]);
        for (let k = 0; k < sum.length; k++) sum[k] += weight * noise[k];
      });
      return Promise.resolve(sum);
    },
    differentiate: (differentiation) => plainDerivative(program, problem, noiseOf, differentiation),
    dispose: () => Promise.resolve(),
  };
  return program;
}
