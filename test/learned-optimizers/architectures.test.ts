/** Conformance of learned architectures (test/support/architecture-suite.ts); the slow half is in test/full. */
import { ARCHITECTURES, deriveAndTrain, followOracles } from '../support/architecture-suite';
import { ENGINES } from '../support/engine-table';

const named = (...names: string[]) => ARCHITECTURES.filter(({ name }) => names.includes(name));

// 35 799 weights take seconds in a float64 interpreter, as every network does in a compiler.
followOracles(
  ENGINES.filter(({ name }) => name === 'reference' || name === 'native'),
  ({ name }) =>
    name === 'native' ? named('per-parameter-mlp') : ARCHITECTURES.filter((row) => row.name !== 'rnn-mlp'),
);
deriveAndTrain(named('learnable-sgdm', 'per-parameter-mlp'));
