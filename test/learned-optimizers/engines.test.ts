/** Every optimizer on every engine: a window against float64. Reverse windows: test/full/learned-optimizers. */
import { ENGINES } from '../support/engine-table';
import { engineRunsOptimizers } from '../support/optimizer-engines';

/** One particle in each lane of a machine is compiled for minutes at this size; all other engines take it. */
engineRunsOptimizers(
  'forward',
  ENGINES.filter(({ name }) => name !== 'native, lane-major'),
);
