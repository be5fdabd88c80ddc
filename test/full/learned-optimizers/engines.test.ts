/** Reverse windows through the updates of every optimizer, on every engine. */
import { ALL_OPTIMIZERS } from '../../support/all-optimizers';
import { ENGINES } from '../../support/engine-table';
import { engineRunsOptimizers } from '../../support/optimizer-engines';

const isLaneMajor = (name: string): boolean => name === 'native, lane-major';

engineRunsOptimizers(
  'reverse',
  ENGINES.filter(({ name }) => !isLaneMajor(name)),
);

/** With a particle in each lane of a machine, all of them in one program would be compiled for minutes. */
describe.each(Object.entries(ALL_OPTIMIZERS))('%s alone', (name, optimizer) => {
  engineRunsOptimizers(
    'reverse',
    ENGINES.filter((engine) => isLaneMajor(engine.name)),
    { [name]: optimizer },
  );
});
