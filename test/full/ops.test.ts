/** The op suite where every op is a program of its own size: compiled for particles in lanes. */
import { ENGINES } from '../support/engine-table';
import { opSuite } from '../support/op-suite';

opSuite(ENGINES.filter(({ name }) => name === 'native, lane-major'));
