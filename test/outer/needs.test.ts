/** Estimators that ask for more than an engine or an objective has: refused before any step, with nothing on disk. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CapabilityError, DifferentiationError } from '../../src/contracts';
import { ReferenceEngine } from '../../src/engines/reference/engine';
import type { EngineProvider } from '../../src/outer';
import { resolveConfig } from '../../src/outer';
import { startRun } from '../../src/outer/run-directory';
import { createContainer } from '../../src/container';
import { temporaryFolder } from './compiled';

class ForwardOnly extends ReferenceEngine {
  override readonly capabilities = new Set(['forward'] as const);
}

const enginesOf = (make: () => ReferenceEngine): EngineProvider => ({
  names: () => ['auto', 'forward-only'],
  open: () => Promise.resolve({ engine: make(), reason: 'a test' }),
});

const ESTIMATORS = [
  ['tbptt', { window: 5 }, 'reverse'],
  ['bptt', {}, 'reverse'],
  ['pes-analytic', { window: 5, pairs: 2, sigma: 0.1 }, 'reverse'],
  ['rtrl', { window: 5 }, 'tangent'],
  ['uoro', { window: 5 }, 'tangent'],
  ['dodge', { window: 5 }, 'tangent'],
] as const;

const folder = temporaryFolder();

async function failure(make: () => ReferenceEngine, config: Parameters<typeof resolveConfig>[0]): Promise<unknown> {
  const resolver = createContainer({ engines: enginesOf(make) });
  const out = join(folder, 'run');
  const resolved = resolveConfig({ ...config, engine: 'auto', iterations: 2 }, [], resolver);
  const error: unknown = await startRun({ config: resolved, resolver, out }).catch((caught: unknown) => caught);
  expect(existsSync(out)).toBe(false);
  expect((error as Error).message).not.toContain('\n');
  expect(error).toMatchObject({ exitCode: 2 });
  return error;
}

test.each(ESTIMATORS)(
  '%s on an engine without the windows: names engine, windows, estimator, and what goes instead',
  async (name, options, capability) => {
    const error = await failure(() => new ForwardOnly(), { preset: 'quadratic', estimator: { name, ...options } });
    expect(error).toBeInstanceOf(CapabilityError);
    expect((error as Error).message).toBe(
      `engine "reference" has no ${capability} windows. The estimator "${name}" needs them: ` +
        'choose another engine, or an evolutionary estimator such as nres.',
    );
  },
);

// One that goes back and one that goes forward; the rest ask the engine in the same way.
test.each(ESTIMATORS.filter(([name]) => name === 'tbptt' || name === 'uoro'))(
  '%s on an accuracy, which has no derivative: names the evolutionary estimators',
  async (name, options) => {
    const error = await failure(() => new ReferenceEngine(), {
      preset: 'mnist-lr-small',
      task: { name: 'mlp', hidden: [4], batchSize: 2 },
      horizon: 10,
      estimator: { name, ...options },
    });
    expect(error).toBeInstanceOf(DifferentiationError);
    expect((error as Error).message).toMatch(/has no derivative.*nres, pes, gpes, full-es or truncated-es\.$/);
  },
);
