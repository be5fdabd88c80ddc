/** A population of several runs, and the part of it that each run knows. */
import {
  CancelledError,
  EngineError,
  type ArrayBundle,
  type DerivativePopulation,
  type DerivativeResult,
  type ParticleSelection,
  type Perturbation,
  type Population,
  type ResetRequest,
  type WindowResult,
} from '../contracts';
import type { Asked, Meeting } from './meeting';

type Outputs = Readonly<Record<string, Float64Array>>;
type Directed = ParticleSelection & { readonly directions?: Float64Array };
type Window = Directed & { readonly steps: number };
type Reset = ResetRequest & { readonly directions?: Float64Array };

/** The whole population. The part of run i holds `sizes[i]` particles, behind those of the runs before. */
export class JointPopulation {
  readonly firsts: readonly number[];
  private left: number;

  /** @param whole made with as many runs as there are sizes */
  constructor(
    readonly whole: Population,
    readonly sizes: readonly number[],
    private readonly thetaSize: number,
  ) {
    this.firsts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
    this.left = sizes.length;
  }

  /** With its last part. */
  async dispose(): Promise<void> {
    this.left -= 1;
    if (this.left === 0) await this.whole.dispose();
  }

  /** One request for the particles of several; all of them have the form, and the further columns, of the first. */
  merged<R extends Partial<Reset & Window> & ParticleSelection>(requests: readonly Placed<R>[]): R {
    const [{ request: first }] = requests;
    const particles = joined(
      Int32Array,
      requests.map(({ part, request }) => this.inWhole(part, request.particles)),
    );
    const signals = [...new Set(requests.flatMap(({ request: { signal } }) => signal ?? []))];
    const column = (name: 'workers' | 'episodes'): object =>
      first[name] === undefined
        ? {}
        : {
            [name]: joined(
              Int32Array,
              requests.map(({ request }) => request[name]!),
            ),
          };
    return {
      ...first,
      particles,
      perturbation: this.perturbation(requests),
      signal: signals.length < 2 ? signals[0] : AbortSignal.any(signals),
      ...column('workers'),
      ...column('episodes'),
      ...(first.directions === undefined
        ? {}
        : {
            directions: joined(
              Float64Array,
              requests.map(({ request }) => request.directions!),
            ),
          }),
    };
  }

  inWhole(part: number, particles: Int32Array): Int32Array {
    return particles.map((particle) => particle + this.firsts[part]);
  }

  private perturbation(requests: readonly Placed<ParticleSelection>[]): Perturbation {
    const given = requests.map(({ request }) => request.perturbation);
    const [{ form }] = given;
    if (form === 'explicit') {
      const rows = given.flatMap((one) => (one.form === 'explicit' ? [one.thetas] : []));
      return { form, thetas: joined(Float64Array, rows) };
    }
    const theta = new Float64Array(this.sizes.length * this.thetaSize);
    // Of runs that have no particle in the call, rows are not looked at.
    const sigma = new Float64Array(this.sizes.length);
    const keys: Uint32Array[] = [];
    const signs: Int8Array[] = [];
    requests.forEach(({ part, request: { perturbation } }) => {
      if (perturbation.form === 'explicit') return;
      theta.set(perturbation.theta, part * this.thetaSize);
      if (perturbation.form === 'none') return;
      if (typeof perturbation.sigma !== 'number') throw new EngineError('the σ of one run is a number.');
      sigma[part] = perturbation.sigma;
      keys.push(perturbation.keys);
      signs.push(perturbation.signs);
    });
    if (form === 'none') return { form, theta };
    return { form, theta, sigma, keys: joined(Uint32Array, keys), signs: joined(Int8Array, signs) };
  }
}

interface Placed<R> {
  readonly part: number;
  readonly request: R;
}

function joined<T extends Float64Array | Int32Array | Uint32Array | Int8Array>(
  kind: new (length: number) => T,
  arrays: readonly T[],
): T {
  const out = new kind(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    out.set(array, at);
    at += array.length;
  }
  return out;
}

/** A run's own population, as far as it knows. */
export class PopulationPart implements DerivativePopulation {
  readonly size: number;
  private disposed = false;

  /** @param part which of the joint population's; `run` is its number at the meeting */
  constructor(
    private readonly joint: JointPopulation,
    private readonly part: number,
    private readonly run: number,
    private readonly meeting: Meeting,
  ) {
    this.size = joint.sizes[part];
  }

  reset(request: Reset): Promise<void> {
    return this.together('reset', request, (whole, all) => whole.reset(all), noRows);
  }

  advance(request: Window): Promise<WindowResult> {
    return this.together('advance', request, (whole, all) => whole.advance(all), rowsOfWindow);
  }

  differentiate(request: Window): Promise<DerivativeResult> {
    const call = (whole: Population, all: Window): Promise<DerivativeResult> => {
      if (!('differentiate' in whole)) throw new EngineError('differentiate: this program gives no derivatives.');
      return (whole as DerivativePopulation).differentiate(all);
    };
    return this.together('differentiate', request, call, rowsOfDerivatives);
  }

  finish(request: ParticleSelection): Promise<Outputs> {
    return this.together('finish', request, (whole, all) => whole.finish(all), rowsOfOutputs);
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    const { joint, part } = this;
    return joint.whole.copy(joint.inWhole(part, from), joint.inWhole(part, to));
  }

  phases(): Int32Array {
    const first = this.joint.firsts[this.part];
    return this.joint.whole.phases().slice(first, first + this.size);
  }

  async save(): Promise<ArrayBundle> {
    const { whole, firsts } = this.joint;
    const bundle = await whole.save();
    const first = firsts[this.part];
    return Object.fromEntries(
      Object.entries(bundle).map(([name, { shape, data }]) => {
        const width = data.length / whole.size;
        const rows = data.slice(first * width, (first + this.size) * width);
        return [name, { shape: [this.size, ...shape.slice(1)], data: rows }];
      }),
    );
  }

  load(bundle: ArrayBundle): Promise<void> {
    const { joint, part, run, meeting } = this;
    const serve = async (asked: readonly Asked<Placed<ArrayBundle>, undefined>[]): Promise<void> => {
      const all = await joint.whole.save();
      const sound = asked.filter(({ request, reject }) => {
        try {
          checkBundle(request.request, all, joint.sizes[request.part]);
          return true;
        } catch (error) {
          reject(error);
          return false;
        }
      });
      const patched = Object.entries(all).map(([name, { shape, data }]) => {
        const rows = data.slice();
        const width = data.length / joint.whole.size;
        for (const { request } of sound) rows.set(request.request[name].data, joint.firsts[request.part] * width);
        return [name, { shape, data: rows }] as const;
      });
      await joint.whole.load(Object.fromEntries(patched));
      for (const { resolve } of sound) resolve(undefined);
    };
    return meeting.ask(run, { key: joint, detail: 'load', serve }, { part, request: bundle });
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.joint.dispose();
  }

  /** One call for all runs that ask for the like; what fails for all of them is done for each alone. */
  private together<R extends Partial<Reset & Window> & ParticleSelection, A>(
    name: string,
    request: R,
    call: (whole: Population, merged: R) => Promise<A>,
    rows: (answer: A, first: number, count: number) => A,
  ): Promise<A> {
    const { joint, part, run, meeting } = this;
    const serve = async (asked: readonly Asked<Placed<R>, A>[]): Promise<void> => {
      try {
        const answer = await call(joint.whole, joint.merged(asked.map(({ request: placed }) => placed)));
        let at = 0;
        for (const { request: placed, resolve } of asked) {
          const count = placed.request.particles.length;
          resolve(rows(answer, at, count));
          at += count;
        }
      } catch (error) {
        if (asked.length === 1 || error instanceof CancelledError) throw error;
        for (const one of asked) await serve([one]).catch(one.reject);
      }
    };
    const { steps, perturbation, directions } = request;
    const detail = [name, steps, perturbation.form, directions !== undefined].join(' ');
    return meeting.ask(run, { key: joint, detail, serve }, { part, request });
  }
}

/** @throws EngineError unless a bundle has the arrays of the whole population, for `size` particles */
function checkBundle(bundle: Partial<ArrayBundle>, whole: ArrayBundle, size: number): void {
  for (const [name, { shape }] of Object.entries(whole)) {
    const own = bundle[name];
    const expected = [size, ...shape.slice(1)].join(',');
    const got = own === undefined ? 'none' : `[${own.shape.join(',')}]`;
    if (got === `[${expected}]`) continue;
    throw new EngineError(
      `load: expected an array "${name}" of shape [${expected}], got ${got}. ` +
        'The bundle belongs to another problem or population.',
    );
  }
}

const noRows = (): void => undefined;

const rowsOfOutputs = (outputs: Outputs, first: number, count: number): Outputs =>
  Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, values.slice(first, first + count)]));

function rowsOfWindow<R extends WindowResult>(result: R, first: number, count: number): R {
  const { lossSum, lastLoss, metricSums, derivatives } = result;
  const width = (derivatives?.length ?? 0) / lossSum.length;
  return {
    ...result,
    lossSum: lossSum.slice(first, first + count),
    lastLoss: lastLoss.slice(first, first + count),
    metricSums: rowsOfOutputs(metricSums, first, count),
    ...(derivatives === undefined ? {} : { derivatives: derivatives.slice(first * width, (first + count) * width) }),
  };
}

const rowsOfDerivatives = (result: DerivativeResult, first: number, count: number): DerivativeResult =>
  rowsOfWindow(result, first, count);
