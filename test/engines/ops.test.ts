import { OP_NAMES } from '../../src/graph/infer';
import { ENGINES } from '../support/engine-table';
import { COVERED_OPS, opSuite } from '../support/op-suite';

test('every op has a case', () => {
  expect(OP_NAMES.filter((op) => !COVERED_OPS.has(op))).toEqual(['input']);
});

// Programs in which particles lie in lanes are small and many: test/full.
opSuite(ENGINES.filter(({ name }) => name !== 'native, lane-major'));
