/**
 * The op suite with code for NEON: compiled by a cross compiler, run under qemu-user. Debian's packages
 * gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static; skipped where they are not.
 */
import { ForeignEngine, starts, type ForeignMachine } from '../support/foreign-engine';
import { opSuite } from '../support/op-suite';

const COMPILER = 'aarch64-linux-gnu-gcc';
const EMULATOR = 'qemu-aarch64-static';
const missing = [COMPILER, EMULATOR].filter((program) => !starts(program));
const machine: ForeignMachine = {
  target: { lanes: 4, registers: 32 },
  compiler: COMPILER,
  flags: [],
  emulator: [EMULATOR],
};
const row = (mode: 'particle-major' | 'lane-major', together: number, most?: number) => ({
  name: `NEON, ${mode}`,
  exact: false,
  independent: true,
  compiled: true,
  together,
  ...(most === undefined ? {} : { most }),
  // Straight-line code of tens of thousands of lines takes the cross compiler's optimiser minutes.
  open: () =>
    Promise.resolve(new ForeignEngine({ ...machine, mode, flags: mode === 'lane-major' ? ['-O1'] : machine.flags })),
});

if (missing.length > 0) {
  test.skip(`code for NEON: ${missing.join(' and ')} are missing`, () => undefined);
} else {
  opSuite([row('particle-major', 24), row('lane-major', 8, 2048)]);
}
