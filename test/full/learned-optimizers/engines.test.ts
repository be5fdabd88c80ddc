/** Reverse windows through the updates of every optimizer, on every engine. */
import { ENGINES } from '../../support/engine-table';
import { engineRunsOptimizers } from '../../support/optimizer-engines';

/** One particle in each lane of a machine is compiled for minutes at this size; all other engines take it. */
engineRunsOptimizers(
  'reverse',
  ENGINES.filter(({ name }) => name !== 'native, lane-major'),
);
