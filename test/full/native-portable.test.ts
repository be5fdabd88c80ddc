/** The op suite with code that counts on nothing: vectors of four, no fused multiply-add. */
import { NativeEngine } from '../../src/engines/native/engine';
import { HAS_COMPILER } from '../support/native';
import { opSuite } from '../support/op-suite';

const row = (mode: 'particle-major' | 'lane-major', together: number) => ({
  name: `native on any processor, ${mode}`,
  exact: false,
  independent: true,
  compiled: true,
  together,
  open: () =>
    NativeEngine.open({
      environment: { ...process.env, OUTERLOOP_NATIVE_ISA: 'generic', OUTERLOOP_NATIVE_MODE: mode },
    }),
});

if (HAS_COMPILER) opSuite([row('particle-major', 12), row('lane-major', 6)]);
else test.skip('there is no C compiler', () => undefined);
