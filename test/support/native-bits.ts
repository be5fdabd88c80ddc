/** Runs of small problems on the native engine whose bits are compared: in any grouping, in any process. */
import { createHash } from 'node:crypto';
import type { ArrayBundle, Perturbation, WindowResult } from '../../src/contracts';
import type { NativeUnrollProgram } from '../../src/engines/native/program';

const SEED = 71;
/** More than a block of the widest machine has lanes. */
export const SIZE = 133;
const STEPS = 3;
export const ALL = Int32Array.from({ length: SIZE }, (_, i) => i);
const WORKERS = ALL.map((i) => i >> 1);
const EPISODES = ALL.map((i) => i % 4);

/** Rows of θ for some particles. */
function explicit(thetas: Float64Array, width: number, particles: Int32Array): Perturbation {
  const rows = new Float64Array(particles.length * width);
  particles.forEach((p, i) => rows.set(thetas.subarray(p * width, (p + 1) * width), i * width));
  return { form: 'explicit', thetas: rows };
}

export interface Outcome {
  readonly state: ArrayBundle;
  /** Loss sum, last loss and metric sums by particle: of the whole windows, one after the other. */
  readonly numbers: number[][];
}

/** Two windows of `STEPS` steps, particles in the given groups. */
export async function run(
  program: NativeUnrollProgram,
  thetas: Float64Array,
  groups: readonly Int32Array[] = [ALL],
): Promise<Outcome> {
  const population = await program.createPopulation({ size: SIZE, seed: SEED });
  const width = program.theta.size;
  const numbers: number[][] = [];
  for (const particles of groups) {
    const workers = particles.map((p) => WORKERS[p]);
    const episodes = particles.map((p) => EPISODES[p]);
    await population.reset({ particles, workers, episodes, perturbation: explicit(thetas, width, particles) });
  }
  for (let w = 0; w < 2; w++) {
    const rows: number[][] = [];
    for (const particles of groups) {
      const perturbation = explicit(thetas, width, particles);
      const result = await population.advance({ particles, perturbation, steps: STEPS });
      particles.forEach((p, i) => (rows[p] = columnsOf(result).map((column) => column[i])));
    }
    numbers.push(...rows);
  }
  const state = await population.save();
  await population.dispose();
  return { state, numbers };
}

function columnsOf({ lossSum, lastLoss, metricSums }: WindowResult): Float64Array[] {
  return [lossSum, lastLoss, ...Object.values(metricSums)];
}

/** One text for all bits, NaN and the sign of zero included. */
export function bitsOf({ state, numbers }: Outcome): string {
  const hash = createHash('sha256').update(Float64Array.from(numbers.flat()));
  for (const name of Object.keys(state).sort()) {
    const { data } = state[name];
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
