/**
 * The engines that conformance tests run on. One that is not installed is skipped, and test/reporter.js lists it at the
 * end, unless OUTERLOOP_REQUIRE (names, separated by commas) asks for it: then its tests and the run fail.
 */
import { createEngine, TfjsEngine, type GraphEngine } from '../../src/engines';
import { NativeEngine } from '../../src/engines/native/engine';
import { skippedEngines } from './optional-engines';

export interface EngineUnderTest {
  readonly name: string;
  readonly open: () => Promise<GraphEngine>;
  /** float64 throughout: no tolerance for float32. */
  readonly exact: boolean;
  /** A particle's bits do not depend on which other particles a call names. */
  readonly independent: boolean;
  /** Draws its noise, and may sum a window's losses, in float32. */
  readonly compiled?: boolean;
  /** Cases of the op suite that one program of a compiled engine holds. */
  readonly together?: number;
  /**
   * Numbers of outputs and inputs that one program holds, and cases of the op suite with more are left out: where every
   * number has a register or a place on the stack, a compiler's time grows with the square of their number.
   */
  readonly most?: number;
  /** int32 kernels that compute in float32: integers are exact below 2²⁴ only. */
  readonly smallIntegers?: boolean;
}

function named(name: string, properties: { readonly exact?: boolean; readonly independent?: boolean } = {}) {
  const { exact = false, independent = true } = properties;
  return { name, exact, independent, open: async () => (await createEngine(name)).engine };
}

/**
 * Windows compiled for this machine, as it comes and with every choice that a machine, a variable or a cost rule could
 * make otherwise.
 */
const NATIVE: readonly EngineUnderTest[] = [
  { ...named('native'), compiled: true },
  // The rule of cost takes at most 256 numbers.
  { ...compiled('native, lane-major', { OUTERLOOP_NATIVE_MODE: 'lane-major' }), together: 8, most: 2048 },
  compiled('native, particle-major on AVX2', {
    OUTERLOOP_NATIVE_MODE: 'particle-major',
    ...(process.arch === 'x64' ? { OUTERLOOP_NATIVE_ISA: 'avx2' } : {}),
  }),
];

function compiled(name: string, environment: Readonly<Record<string, string>>): EngineUnderTest {
  const open = (): Promise<GraphEngine> => NativeEngine.open({ environment: { ...process.env, ...environment } });
  return { name, exact: false, independent: true, compiled: true, open };
}

const OPTIONAL: Readonly<Record<string, readonly EngineUnderTest[]>> = {
  native: NATIVE,
  // TensorFlow splits products by the number of rows, so that sums of other lengths are formed.
  'tfjs:node': [named('tfjs:node', { independent: false })],
  'tfjs:node-gpu': [named('tfjs:node-gpu', { independent: false })],
};

/** The cpu backend as if its memory were a GPU's: the calls that tfjs:node and GPUs get, on every machine. */
const OPAQUE: EngineUnderTest = {
  name: 'tfjs:cpu by kernels alone',
  exact: false,
  independent: true,
  // TensorFlow.js' cpu kernels; the engine tfjs:cpu has loops of its own for integers.
  smallIntegers: true,
  open: () => TfjsEngine.open('tfjs:cpu', 'cpu', { memory: 'opaque' }),
};

export const ENGINES: readonly EngineUnderTest[] = [
  named('reference', { exact: true }),
  named('tfjs:cpu'),
  OPAQUE,
  named('tfjs:wasm'),
  ...Object.keys(OPTIONAL)
    .filter((name) => !skippedEngines().includes(name))
    .flatMap((name) => OPTIONAL[name]),
];
