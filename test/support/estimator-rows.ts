/** The conformance tables of the evolutionary and of the gradient estimators: a new one is one row here. */
import type { GradientEstimator } from '../../src/contracts';
import type { EngineCapability } from '../../src/contracts';
import { bptt, dodge, fullEs, gpes, nres, pes, pesAnalytic, rtrl, tbptt, truncatedEs, uoro } from '../../meta-trainers';
import type { Shaping } from '../../meta-trainers/estimators/shaping';

export const HORIZON = 12;
export const WINDOW = 3;

export interface CommonSettings {
  readonly pairs: number;
  readonly sigma: number;
  readonly shaping?: Shaping;
  readonly clip?: number;
}
export interface StartSettings {
  readonly lockstep?: boolean;
  readonly offsets?: 'stratified' | 'independent';
}

export interface EstimatorRow {
  readonly label: string;
  /** As registered. */
  readonly name: string;
  readonly make: (settings: CommonSettings & StartSettings) => GradientEstimator;
  /** Inner steps that one noise lasts. */
  readonly noisePeriod: number;
  /** Since when a window's particles are perturbed: what the estimate's mean is the gradient of. */
  readonly perturbed: 'persistent' | 'truncated';
  /** Inner steps that one estimate scores. */
  readonly scoredSteps: number;
  readonly particlesPerPair: 2 | 3;
  readonly canUnlock: boolean;
}

const window = WINDOW;
const persistent = { perturbed: 'persistent', particlesPerPair: 2, scoredSteps: WINDOW, canUnlock: true } as const;

export const estimatorRows: readonly EstimatorRow[] = [
  {
    ...persistent,
    label: 'full-es',
    name: 'full-es',
    make: ({ lockstep: _lockstep, offsets: _offsets, ...settings }) => fullEs(settings),
    noisePeriod: HORIZON,
    scoredSteps: HORIZON,
    canUnlock: false,
  },
  {
    label: 'truncated-es',
    name: 'truncated-es',
    make: (settings) => truncatedEs({ ...settings, window }),
    noisePeriod: WINDOW,
    perturbed: 'truncated',
    scoredSteps: WINDOW,
    particlesPerPair: 3,
    canUnlock: true,
  },
  { ...persistent, label: 'pes', name: 'pes', make: (settings) => pes({ ...settings, window }), noisePeriod: WINDOW },
  // 6 divides the horizon 12, 9 does not.
  ...[6, 9].map((noisePeriod) => ({
    ...persistent,
    label: `gpes, K=${noisePeriod}`,
    name: 'gpes',
    make: (settings: CommonSettings & StartSettings) => gpes({ ...settings, window, noisePeriod }),
    noisePeriod,
  })),
  {
    ...persistent,
    label: 'nres',
    name: 'nres',
    make: (settings) => nres({ ...settings, window }),
    noisePeriod: HORIZON,
  },
];

/** How a gradient estimator's estimate is defined: test/support/gradient-by-hand.ts. */
export type GradientKind = 'detached' | 'carried' | 'direction' | 'rank-one' | 'analytic';

export interface GradientSettings extends StartSettings {
  readonly workers: number;
  readonly clip?: number;
}

export interface GradientRow {
  readonly label: string;
  /** As registered. */
  readonly name: string;
  readonly make: (settings: GradientSettings) => GradientEstimator;
  /** The same as data. */
  readonly config: Readonly<Record<string, string | number>>;
  readonly kind: GradientKind;
  readonly loss: 'mean' | 'last';
  readonly capability: EngineCapability;
  /** Inner steps that one estimate scores. */
  readonly scoredSteps: number;
  readonly particlesPerWorker: number;
  readonly canUnlock: boolean;
}

/** Of PES+Analytic, whose workers are pairs. */
export const SIGMA = 0.5;

const ofWindows = { loss: 'mean', scoredSteps: WINDOW, particlesPerWorker: 1, canUnlock: true } as const;

const analytic = {
  ...ofWindows,
  name: 'pes-analytic',
  kind: 'analytic',
  capability: 'reverse',
  particlesPerWorker: 2,
} as const;

export const gradientRows: readonly GradientRow[] = [
  {
    ...ofWindows,
    label: 'tbptt',
    name: 'tbptt',
    make: (settings) => tbptt({ ...settings, window }),
    config: { window },
    kind: 'detached',
    capability: 'reverse',
  },
  {
    ...ofWindows,
    label: 'tbptt, last loss',
    name: 'tbptt',
    make: (settings) => tbptt({ ...settings, window, windowLoss: 'last' }),
    config: { window, windowLoss: 'last' },
    kind: 'detached',
    loss: 'last',
    capability: 'reverse',
  },
  {
    ...ofWindows,
    label: 'bptt',
    name: 'bptt',
    make: ({ lockstep: _lockstep, offsets: _offsets, ...settings }) => bptt(settings),
    config: {},
    kind: 'carried',
    capability: 'reverse',
    scoredSteps: HORIZON,
    canUnlock: false,
  },
  {
    ...ofWindows,
    label: 'rtrl',
    name: 'rtrl',
    make: (settings) => rtrl({ ...settings, window }),
    config: { window },
    kind: 'carried',
    capability: 'tangent',
  },
  {
    ...ofWindows,
    label: 'uoro',
    name: 'uoro',
    make: (settings) => uoro({ ...settings, window }),
    config: { window },
    kind: 'rank-one',
    capability: 'tangent',
  },
  {
    ...ofWindows,
    label: 'dodge',
    name: 'dodge',
    make: (settings) => dodge({ ...settings, window }),
    config: { window },
    kind: 'direction',
    capability: 'tangent',
  },
  {
    ...analytic,
    label: 'pes-analytic',
    make: ({ workers, ...settings }) => pesAnalytic({ ...settings, pairs: workers, sigma: SIGMA, window }),
    config: { window, sigma: SIGMA },
  },
  {
    ...analytic,
    label: 'pes-analytic, W=T',
    make: ({ workers, ...settings }) => pesAnalytic({ ...settings, pairs: workers, sigma: SIGMA, window: HORIZON }),
    config: { window: HORIZON, sigma: SIGMA },
    scoredSteps: HORIZON,
    canUnlock: false,
  },
];
