/**
 * The engines that conformance tests run on. One that is not installed is skipped, and test/reporter.js lists it at the
 * end, unless OUTERLOOP_REQUIRE (names, separated by commas) asks for it: then its tests and the run fail.
 */
import { createEngine, TfjsEngine, type GraphEngine } from '../../src/engines';
import optionalPackages from './optional-engines.json';

export interface EngineUnderTest {
  readonly name: string;
  readonly open: () => Promise<GraphEngine>;
  /** float64 throughout: no tolerance for float32. */
  readonly exact: boolean;
  /** A particle's bits do not depend on which other particles a call names. */
  readonly independent: boolean;
  /** int32 kernels that compute in float32: integers are exact below 2²⁴ only. */
  readonly smallIntegers?: boolean;
}

function named(name: string, properties: { readonly exact?: boolean; readonly independent?: boolean } = {}) {
  const { exact = false, independent = true } = properties;
  return { name, exact, independent, open: async () => (await createEngine(name)).engine };
}

/** Optional engines and the package that each needs. */
const OPTIONAL = [
  // TensorFlow splits products by the number of rows, so that sums of other lengths are formed.
  { engine: named('tfjs:node', { independent: false }), package: optionalPackages['tfjs:node'] },
  { engine: named('tfjs:node-gpu', { independent: false }), package: optionalPackages['tfjs:node-gpu'] },
] as const;

const required = (process.env.OUTERLOOP_REQUIRE ?? '').split(',').filter((name) => name !== '');

function installed(packageName: string): boolean {
  try {
    require.resolve(packageName);
    return true;
  } catch {
    return false;
  }
}

const SKIPPED_ENGINES: readonly string[] = OPTIONAL.filter(
  (row) => !installed(row.package) && !required.includes(row.engine.name),
).map((row) => row.engine.name);

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
  ...OPTIONAL.map((row) => row.engine).filter(({ name }) => !SKIPPED_ENGINES.includes(name)),
];
