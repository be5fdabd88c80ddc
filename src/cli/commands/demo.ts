import { EngineUnavailableError } from '../../contracts';
import { createEngine } from '../../engines';
import { loadFromProject } from '../packages';
import { engineLimits, type Terminal } from '../session';
import { train, type TrainOptions } from './train';

export type DemoOptions = Omit<TrainOptions, 'engine'>;

const FULL = 'mnist-lr';
const SMALL = 'mnist-lr-small';

/**
 * What `npm start` runs: the published MLP on MNIST where the native engine runs, and a problem that portable engines get
 * through in a minute elsewhere. A line on standard error says which of the two it is, and why.
 */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<number> {
  try {
    const { engine } = await createEngine('native', loadFromProject, engineLimits(options));
    const { compiler } = engine.fingerprint ?? {};
    await engine.dispose();
    terminal.err.write(
      `${FULL} on engine native, compiled by ${compiler}; it is ${SMALL} where there is no C compiler\n`,
    );
  } catch (error) {
    if (!(error instanceof EngineUnavailableError)) throw error;
    terminal.err.write(`${SMALL} instead of ${FULL}: ${error.message}\n`);
    return train(SMALL, options, terminal);
  }
  return train(FULL, { ...options, engine: 'native' }, terminal);
}
