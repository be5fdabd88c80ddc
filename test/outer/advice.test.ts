/** Every rule of advice.ts on made streams and on real runs, and silence on healthy ones. */
import type { ConfigObject, Estimate } from '../../src/contracts';
import { createAdvisor } from '../../src/outer/advice';
import { train } from '../../src/library';

interface Made {
  readonly meanLoss?: number;
  readonly droppedPairs?: number;
  readonly diagnostics?: Estimate['diagnostics'];
}

/** What is said of a made stream, with the iteration after which it was. */
function said(make: (i: number) => Made, { iterations = 400, lockstepEpisodes = false } = {}): [number, string][] {
  const advise = createAdvisor({ lockstepEpisodes, counts: 'workers' });
  return Array.from({ length: iterations }, (_, iteration) => {
    const { meanLoss = 1, droppedPairs = 0, diagnostics = {} } = make(iteration);
    const estimate: Estimate = {
      gradient: Float64Array.of(1),
      meanLoss,
      innerSteps: 1,
      burnInSteps: 0,
      validPairs: 10 - droppedPairs,
      droppedPairs,
      metrics: {},
      diagnostics,
    };
    const rest = {
      theta: Float64Array.of(0),
      gradientNorm: 1,
      updateNorm: 1,
      innerSteps: 1,
      burnInSteps: 0,
      wallSeconds: 1,
    };
    return advise({ iteration, estimate, ...rest }).map((text): [number, string] => [iteration + 1, text]);
  }).flat();
}

const falling = (i: number): number => 2 / (1 + i / 100);

describe('noise', () => {
  const noise = (i: number): Made => ({ diagnostics: { signalToNoise: i % 2 === 0 ? 0.8 : 1.1 } });

  test('alone, and no progress: said once, as soon as the start and now can be compared', () => {
    // √((0.64 + 1.21)/2) = 0.96.
    expect(said(noise)).toEqual([
      [
        100,
        expect.stringMatching(/^the gradient was mostly noise for 50 iterations \(signal-to-noise 0\.96; .*more pairs/),
      ],
    ]);
  });

  test('is not named where the loss falls, where the signal is clear, or where nothing is known of it', () => {
    expect(said((i) => ({ ...noise(i), meanLoss: falling(i) }))).toEqual([]);
    expect(said(() => ({ diagnostics: { signalToNoise: 1.3 } }))).toEqual([]);
    expect(said(() => ({}))).toEqual([]);
  });
});

describe('staleness', () => {
  const stale = (value: number) => (): Made => ({ diagnostics: { staleness: value, signalToNoise: 3 } });

  test('beyond half of the noise, and no progress', () => {
    expect(said(stale(0.6))).toEqual([
      [
        100,
        expect.stringMatching(/^θ moves by 0\.6 times the length of the noise.* gpes with a smaller noisePeriod\.$/),
      ],
    ]);
    expect(said(stale(0.4))).toEqual([]);
    expect(said((i) => ({ ...stale(0.6)(), meanLoss: falling(i) }))).toEqual([]);
  });
});

describe('lost workers', () => {
  const lost =
    (exploded: number) =>
    (i: number): Made => ({
      // 20 % from iteration 100 on; the loss itself falls.
      droppedPairs: i < 100 ? 0 : 2,
      meanLoss: falling(i),
      diagnostics: { explodedWorkers: i < 100 ? 0 : exploded },
    });

  test('more than a tenth over 20 iterations: by what their losses were', () => {
    // 2·11/200 is the first share above 10 %.
    expect(said(lost(0))).toEqual([
      [111, expect.stringMatching(/^11 % of the workers .* NaN or infinite\. A lower outer/)],
    ]);
    expect(said(lost(2))).toEqual([[111, expect.stringMatching(/^11 % .*their gradients are not\. A shorter window/)]]);
  });

  test('now and then one is no reason', () => {
    expect(said((i) => ({ droppedPairs: i % 2 }))).toEqual([]);
  });
});

describe('a rising loss', () => {
  const rising = (i: number): Made => ({ meanLoss: Math.exp(i / 150) });

  test('eight blocks of 25 in a row', () => {
    expect(said(rising)).toEqual([
      [
        200,
        expect.stringMatching(/^the loss has risen for 200 iterations, from 1\.1 to 3\.5: a lower outer learning rate/),
      ],
    ]);
  });

  test('is not named where it is slight, broken off, or the course of an episode', () => {
    expect(said((i) => ({ meanLoss: 1 + i / 1000 }))).toEqual([]);
    expect(said((i) => ({ meanLoss: 1 + (i % 150) / 50 }))).toEqual([]);
    expect(said(rising, { lockstepEpisodes: true })).toEqual([]);
  });

  test('of losses below zero, too', () => {
    expect(said((i) => ({ meanLoss: -1 + i / 200 }))).toHaveLength(1);
  });
});

describe('real runs', () => {
  const notices = async (config: ConfigObject): Promise<string[]> => {
    const texts: string[] = [];
    await train(
      { preset: 'influence-balancing', engine: 'reference', iterations: 300, ...config },
      { onEvent: (event) => event.type === 'notice' && texts.push(event.text) },
    );
    return texts;
  };

  test('TBPTT-10 on influence balancing, which diverges, is told so', async () => {
    expect(await notices({ estimator: { name: 'tbptt', window: 10, windowLoss: 'last' } })).toEqual([
      expect.stringMatching(/^the loss has risen .* the gradient is biased/),
    ]);
  });

  test('RTRL on the same, which converges, hears nothing', async () => {
    expect(await notices({ estimator: { name: 'rtrl', window: 1 } })).toEqual([]);
  });
});
