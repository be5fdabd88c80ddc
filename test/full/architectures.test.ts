/** Every learned architecture on every engine (test/support/architecture-suite.ts). */
import { ARCHITECTURES, deriveAndTrain, followOracles } from '../support/architecture-suite';
import { ENGINES } from '../support/engine-table';

// Where every number has a register, a compiler's time grows with the square of their number.
followOracles(ENGINES, ({ most }) => ARCHITECTURES.filter(({ size }) => most === undefined || size <= 16));
deriveAndTrain(ARCHITECTURES);
