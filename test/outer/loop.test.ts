import {
  CancelledError,
  DivergenceError,
  type Estimate,
  type GradientEstimator,
  type OuterOptimizer,
  type UnrollProgram,
} from '../../src/contracts';
import {
  averagedTheta,
  initialState,
  INVALID_ITERATIONS,
  runOuterLoop,
  type LoopOptions,
  type LoopState,
  type RunEvent,
} from '../../src/outer';

/** Gradient descent at a constant rate; counts its updates in its state. */
const descent = (rate: number): OuterOptimizer => ({
  name: 'descent',
  init: () => ({ updates: { shape: [1], data: Float64Array.of(0) } }),
  update: (theta, gradient, state) => ({
    theta: theta.map((x, i) => x - rate * gradient[i]),
    state: { updates: { shape: [1], data: Float64Array.of(state.updates.data[0] + 1) } },
  }),
});

const VALID = {
  meanLoss: 1,
  innerSteps: 10,
  burnInSteps: 2,
  validPairs: 3,
  droppedPairs: 1,
  metrics: {},
  diagnostics: {},
};

/**
 * The gradient of ½‖θ‖², plus the number of estimates that the workers have made, so that workers matter to θ.
 * `broken(iteration)`: no valid pair then.
 */
function estimator(broken: (iteration: number) => boolean = () => false, bias = 0): GradientEstimator {
  return {
    name: 'exact',
    needs: [],
    populate: (program) => {
      let made = 0;
      return Promise.resolve({
        program,
        next: () => made++,
        save: () => Promise.resolve({ made: { shape: [1], data: Int32Array.of(made) } }),
        load: (bundle: Parameters<Awaited<ReturnType<GradientEstimator['populate']>>['load']>[0]) => {
          made = bundle.made.data[0];
          return Promise.resolve();
        },
        dispose: () => Promise.resolve(),
      });
    },
    estimate: (theta, population, iteration): Promise<Estimate> => {
      const made = (population as unknown as { next(): number }).next();
      return Promise.resolve(
        broken(iteration)
          ? { ...VALID, gradient: new Float64Array(theta.length), meanLoss: NaN, validPairs: 0, droppedPairs: 4 }
          : { ...VALID, gradient: theta.map((x) => x + bias * made) },
      );
    },
  };
}

const START = Float64Array.of(4, -8);
const MADE = { shape: [1], data: Int32Array.of(1) };

interface Loop {
  readonly events: RunEvent[];
  readonly saved: LoopState[];
  readonly end: Promise<LoopState>;
}

function loop(options: Partial<LoopOptions> & { readonly saveAt?: (iteration: number) => boolean } = {}): Loop {
  const events: RunEvent[] = [];
  const saved: LoopState[] = [];
  const outerOptimizer = options.outerOptimizer ?? descent(0.25);
  let done = 0;
  const end = runOuterLoop({
    program: {} as UnrollProgram,
    estimator: estimator(),
    outerOptimizer,
    seed: 0,
    iterations: 6,
    start: initialState(START, outerOptimizer, options.thetaAverage !== undefined),
    checkpoints: {
      due: () => options.saveAt?.(done) ?? false,
      write: (state) => {
        saved.push(state);
        return Promise.resolve(`state ${String(state.iteration)}`);
      },
    },
    ...options,
    listener: (event) => {
      if (event.type === 'iteration') done = event.record.iteration + 1;
      events.push(event);
      options.listener?.(event);
    },
  });
  return { events, saved, end };
}

const iterations = (events: readonly RunEvent[]) =>
  events.flatMap((event) => (event.type === 'iteration' ? [event.record] : []));

test('descends: θ = (1 − α)^n θ₀, norms and counters as they are by hand', async () => {
  const { events, end } = loop();
  // 0.75^6 is exact in binary, as are its products with 4 and 8.
  expect(Array.from((await end).theta)).toEqual([4 * 0.75 ** 6, -8 * 0.75 ** 6]);
  const records = iterations(events);
  expect(records.map(({ iteration }) => iteration)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(records.map(({ innerSteps }) => innerSteps)).toEqual([10, 20, 30, 40, 50, 60]);
  expect(records.map(({ burnInSteps }) => burnInSteps)).toEqual([2, 4, 6, 8, 10, 12]);
  expect(records[0].gradientNorm).toBe(Math.sqrt(80));
  expect(records[0].updateNorm).toBe(Math.sqrt(80) / 4);
  expect(Array.from(START)).toEqual([4, -8]);
});

test('events: every iteration, then the checkpoint that it was due for, and one at the end', async () => {
  const { events, end } = loop({ iterations: 4, saveAt: (iteration) => iteration === 2 });
  await end;
  expect(events.map((event) => (event.type === 'checkpoint' ? event.path : event.type))).toEqual([
    'iteration',
    'iteration',
    'state 2',
    'iteration',
    'iteration',
    'state 4',
  ]);
});

test('from any state it ends with the same bits, average, workers and optimizer included', async () => {
  const options = { iterations: 9, thetaAverage: 0.9, estimator: estimator((i) => i === 4, 0.01) };
  const whole = loop({ ...options, saveAt: () => true });
  const expected = await whole.end;
  // No state is kept from an iteration without a valid pair.
  expect(whole.saved.map(({ iteration }) => iteration)).toEqual([1, 2, 3, 4, 6, 7, 8, 9]);
  for (const start of whole.saved) {
    const resumed = loop({ ...options, start });
    expect({ ...(await resumed.end), wallSeconds: 0 }).toEqual({
      ...expected,
      wallSeconds: 0,
      population: resumed.saved.length > 0 ? undefined : start.population,
    });
    const lines = iterations(whole.events).slice(start.iteration);
    expect(iterations(resumed.events).map(({ theta }) => theta)).toEqual(lines.map(({ theta }) => theta));
  }
});

test('the average weighs θ of n updates ago with dⁿ, weights summing to 1', async () => {
  const decay = 0.5;
  const state = await loop({ iterations: 3, thetaAverage: decay }).end;
  const thetas = [1, 2, 3].map((n) => 4 * 0.75 ** n);
  const weights = [0.25, 0.5, 1];
  const mean = thetas.reduce((sum, x, i) => sum + weights[i] * x, 0) / 1.75;
  expect(averagedTheta(state, decay)[0]).toBeCloseTo(mean, 14);
  expect(averagedTheta({ iteration: 0, theta: START, average: new Float64Array(2) }, decay)).toBe(START);
});

test('an iteration without a valid pair moves neither θ nor the optimizer', async () => {
  const { events, saved, end } = loop({ iterations: 3, estimator: estimator((iteration) => iteration === 1) });
  await end;
  const records = iterations(events);
  expect(records[1].theta).toEqual(records[0].theta);
  expect(records[1].updateNorm).toBe(0);
  expect(saved[0].optimizer.updates.data[0]).toBe(2);
});

test('ten iterations in a row without a valid pair end the run, nine do not', async () => {
  const nine = loop({ iterations: 12, estimator: estimator((i) => i >= 2 && i < 2 + INVALID_ITERATIONS - 1) });
  expect((await nine.end).iteration).toBe(12);
  const ten = loop({ iterations: 20, saveAt: (i) => i === 2, estimator: estimator((i) => i >= 3) });
  await expect(ten.end).rejects.toThrow(DivergenceError);
  await expect(ten.end).rejects.toThrow(
    /no valid pair in 10 outer iterations in a row.*iterations 3 to 12, 4 pairs dropped.*state 13/,
  );
  await expect(ten.end).rejects.toMatchObject({ iteration: 3 });
  // θ of the last valid iteration.
  expect(Array.from(ten.saved.at(-1)!.theta)).toEqual([4 * 0.75 ** 3, -8 * 0.75 ** 3]);
});

describe('θ that is not finite ends the run', () => {
  const diverging: Partial<LoopOptions> = {
    iterations: 6,
    outerOptimizer: {
      ...descent(0.25),
      update: (theta, gradient, state, i) =>
        i === 3 ? { theta: theta.map(() => NaN), state } : descent(0.25).update(theta, gradient, state, i),
    },
  };

  test('and writes nothing: the last regular checkpoint goes on to the bits of a run that did not diverge', async () => {
    const options = { iterations: 6, estimator: estimator(undefined, 0.01) };
    const { saved, events, end } = loop({ ...options, ...diverging, saveAt: (iteration) => iteration === 2 });
    await expect(end).rejects.toThrow(
      /θ is not finite after outer iteration 3 .*The last good checkpoint is state 2\./,
    );
    expect(saved.map(({ iteration }) => iteration)).toEqual([2]);
    expect(iterations(events)).toHaveLength(3);
    const resumed = await loop({ ...options, start: saved[0] }).end;
    expect(resumed.theta).toEqual((await loop(options).end).theta);
  });

  test.each([
    ['before the first checkpoint', {}, 'There is no checkpoint yet.'],
    [
      'after a resumption',
      { start: { ...initialState(START, descent(0.25), false), iteration: 1, population: { made: MADE } } },
      'The last good checkpoint is that of iteration 1, which this run went on from.',
    ],
    ['without checkpoints', { checkpoints: undefined }, 'The run keeps no checkpoints.'],
  ])('%s it says so', async (_when, options: Partial<LoopOptions>, message) => {
    const { saved, end } = loop({ ...diverging, ...options });
    await expect(end).rejects.toThrow(message);
    expect(saved).toEqual([]);
  });
});

test('an abort ends the loop after the running iteration, with a checkpoint', async () => {
  const controller = new AbortController();
  const { saved, end } = loop({
    signal: controller.signal,
    listener: (event) => {
      if (event.type === 'iteration' && event.record.iteration === 2) controller.abort();
    },
  });
  expect((await end).iteration).toBe(3);
  expect(saved.map(({ iteration }) => iteration)).toEqual([3]);
});

describe('an iteration that does not end within the grace', () => {
  /** Iteration `long` lasts until it is cancelled. */
  const stuck = (long: number): GradientEstimator => {
    const quick = estimator(undefined, 0.01);
    return {
      ...quick,
      estimate: async (theta, population, iteration, signal) => {
        const estimate = await quick.estimate(theta, population, iteration);
        if (iteration < long) return estimate;
        return new Promise((_, reject) => {
          signal?.addEventListener('abort', () => reject(new CancelledError('cancelled')));
        });
      },
    };
  };
  const abortedIn = (long: number, options: Partial<Parameters<typeof loop>[0]> = {}): Loop => {
    const controller = new AbortController();
    const running = loop({ ...options, estimator: stuck(long), grace: 20, signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    return running;
  };

  test('is cancelled; nothing of it is kept, and the run goes on from its last checkpoint to the same bits', async () => {
    const { saved, events, end } = abortedIn(3, { saveAt: (iteration) => iteration === 2 });
    expect(await end).toMatchObject({ iteration: 3 });
    expect(iterations(events)).toHaveLength(3);
    expect(saved.map(({ iteration }) => iteration)).toEqual([2]);
    const options = { estimator: estimator(undefined, 0.01) };
    expect((await loop({ ...options, start: saved[0] }).end).theta).toEqual((await loop(options).end).theta);
  });

  test('and is the first leaves the start', async () => {
    const { saved, end } = abortedIn(0);
    expect((await end).theta).toEqual(START);
    expect(saved).toMatchObject([{ iteration: 0 }]);
    expect(saved[0].population).toBeUndefined();
  });

  test('within the grace it is waited for', async () => {
    const controller = new AbortController();
    const slow: GradientEstimator = {
      ...estimator(),
      estimate: async (theta, _population, _iteration, signal) => {
        controller.abort();
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect(signal?.aborted).toBe(false);
        return { ...VALID, gradient: theta };
      },
    };
    const { saved, end } = loop({ estimator: slow, signal: controller.signal });
    expect((await end).iteration).toBe(1);
    expect(saved.map(({ iteration }) => iteration)).toEqual([1]);
  });

  test('a measurement on the way is cancelled with its iteration', async () => {
    const controller = new AbortController();
    const { saved, events, end } = loop({
      grace: 0,
      signal: controller.signal,
      saveAt: () => true,
      evaluate: {
        every: 2,
        measure: (_theta, signal) => {
          controller.abort();
          return new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new CancelledError('cancelled')));
          });
        },
      },
    });
    expect((await end).iteration).toBe(1);
    expect(iterations(events)).toHaveLength(1);
    expect(saved.map(({ iteration }) => iteration)).toEqual([1]);
  });
});

describe('patience', () => {
  /** What each θ on the way is worth, by its first number, which is 4·0.75ⁿ. */
  const judged = (value: (x: number) => number, patience?: number, minimise = true): LoopOptions['evaluate'] => ({
    every: 1,
    ...(patience === undefined ? {} : { patience }),
    measure: ([x]) =>
      Promise.resolve({
        metric: 'distance',
        minimise,
        mean: value(x),
        standardError: 0,
        n: 1,
        values: [value(x)],
        curve: { name: 'loss', t: [], value: [] },
      }),
  });
  const distance = (x: number): number => Math.abs(x - 1);
  const N = 30;

  test.each([1, 2, 3, 7])(
    '%d: ends so many evaluations after the best, which is 4·0.75⁵ where 1 is best',
    async (n) => {
      const { events, end } = loop({ iterations: N, evaluate: judged(distance, n) });
      const { iteration, best } = await end;
      expect(iteration).toBe(5 + n);
      expect(iterations(events)).toHaveLength(5 + n);
      expect(best).toMatchObject({ iteration: 5, innerSteps: 50, since: n, measurement: { mean: 1 - 4 * 0.75 ** 5 } });
      expect(Array.from(best!.theta)).toEqual([4 * 0.75 ** 5, -8 * 0.75 ** 5]);
    },
  );

  test('the last evaluation counts, and none is one too many', async () => {
    const ended = async (patience?: number, total = N): Promise<number> =>
      (await loop({ iterations: total, evaluate: judged(distance, patience) }).end).iteration;
    // Nothing is evaluated after the last iteration: the ninth is not known to be the fourth in a row.
    expect(await Promise.all([ended(), ended(3, 8), ended(4, 9)])).toEqual([N, 8, 9]);
  });

  test('better is more, where more is better; an equal is none; NaN is worse than any number', async () => {
    const more = await loop({ iterations: N, evaluate: judged((x) => -distance(x), 2, false) }).end;
    expect([more.iteration, more.best!.iteration]).toEqual([7, 5]);
    const same = await loop({ iterations: N, evaluate: judged(() => 1, 4) }).end;
    expect([same.iteration, same.best!.iteration]).toEqual([5, 1]);
    const late = await loop({ iterations: N, evaluate: judged((x) => (x > 2 ? NaN : distance(x)), 4) }).end;
    expect([late.iteration, late.best!.iteration]).toEqual([9, 5]);
    const lost = await loop({ iterations: N, evaluate: judged((x) => (x < 2 ? NaN : distance(x)), 4) }).end;
    expect([lost.iteration, lost.best!.iteration]).toEqual([6, 2]);
  });

  test('from any state it ends alike, from its end at once', async () => {
    const options = { iterations: N, evaluate: judged(distance, 3), thetaAverage: 0.5 };
    const whole = loop({ ...options, saveAt: () => true });
    const expected = await whole.end;
    expect(expected.iteration).toBeLessThan(N);
    for (const start of whole.saved) {
      const { population: _, ...end } = await loop({ ...options, start }).end;
      expect({ ...end, wallSeconds: 0 }).toEqual({ ...expected, wallSeconds: 0 });
    }
  });
});

test('timers get their turn although no estimate ever leaves the microtask queue', async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const busy: GradientEstimator = {
    ...estimator(),
    estimate: (theta) => {
      const until = performance.now() + 20;
      while (performance.now() < until);
      return Promise.resolve({ ...VALID, gradient: theta });
    },
  };
  await loop({ iterations: 10, estimator: busy }).end;
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(0);
});
