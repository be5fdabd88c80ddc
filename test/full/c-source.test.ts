/** Every optimizer as C, with the compiler's checks of memory and of undefined behaviour: buffers end where tensors do. */
import { UNNAMED_OPTIMIZERS } from '../support/all-optimizers';
import { ARCHITECTURES } from '../support/architecture-suite';
import { stepsInC } from '../support/c-optimizer-suite';

stepsInC(
  [
    ...ARCHITECTURES.map(({ name, make, small }) => ({ name, make: small ?? make })),
    ...Object.entries(UNNAMED_OPTIMIZERS).map(([name, made]) => ({ name, make: () => made.forHorizon?.(20) ?? made })),
  ],
  [['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']],
);
